package iceberg

import (
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
)

// smallWindow is parquet-go's Zstandard with a window of 1 MiB instead of 8, as encoders keep twice their window. Each file has its own.
type smallWindow struct {
	compress.Codec
	encoder *zstd.Encoder
	err     error
}

func newSmallWindow() *smallWindow {
	z := &smallWindow{Codec: &parquet.Zstd}
	z.encoder, z.err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	return z
}

// Encode compresses src, and overwrites dst with it.
func (z *smallWindow) Encode(dst, src []byte) ([]byte, error) {
	if z.err != nil {
		return nil, z.err
	}
	return z.encoder.EncodeAll(src, dst[:0]), nil
}
