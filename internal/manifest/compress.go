package manifest

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// compressFrom is the size from which on a manifest is kept compressed, bytes of JSON: views of some twenty partitions.
	compressFrom = 8 << 10
	// maxDecoded bounds what a manifest may decompress to, bytes.
	maxDecoded = 64 << 20
)

var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// compressor and decompressor are shared, as they are large. EncodeAll and DecodeAll are safe for concurrent use.
var (
	compressor = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	})
	decompressor = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxDecoded), zstd.WithDecoderLowmem(true))
	})
)

// pack compresses a large body: every commit writes it twice, and every reader of a new version reads it.
func pack(body []byte) ([]byte, error) {
	if len(body) < compressFrom {
		return body, nil
	}
	z, err := compressor()
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	return z.EncodeAll(body, nil), nil
}

// unpack undoes pack.
func unpack(body []byte) ([]byte, error) {
	if !bytes.HasPrefix(body, zstdMagic) {
		return body, nil
	}
	z, err := decompressor()
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	return z.DecodeAll(body, nil)
}
