package iceberg

import (
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
)

// smallWindow is parquet-go's Zstandard with a window of 1 MiB instead of 8. Encoders keep twice their window, and there is one here.
type smallWindow struct{ compress.Codec }

var (
	compressed = smallWindow{&parquet.Zstd}
	encoder    = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true),
			zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	})
)

// Encode compresses src, and overwrites dst with it.
func (smallWindow) Encode(dst, src []byte) ([]byte, error) {
	e, err := encoder()
	if err != nil {
		return nil, err
	}
	return e.EncodeAll(src, dst[:0]), nil
}
