package event

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/fustor/fustor/internal/event/segmentpb"
)

// recordWriter encodes, hashes and compresses the records of one segment after the other. It is used by one goroutine at a time.
type recordWriter struct {
	progress
	w          io.Writer
	compressor *zstd.Encoder
	hash       *xxhash.Digest
	buffer     []byte
	block      segmentpb.Record_Block
	record     segmentpb.Record // holds block
	err        error            // of a write: nothing more is written
}

// progress is how far a recordWriter is.
type progress struct {
	raw        int64 // bytes given to the compressor
	n          int64 // bytes that came out of it
	rawAtWrite int64 // raw, when the last of them did
}

func newRecordWriter() (*recordWriter, error) {
	compressor, err := zstd.NewWriter(nil,
		zstd.WithWindowSize(Window),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("set up compression: %w", err)
	}
	return &recordWriter{compressor: compressor, hash: xxhash.New()}, nil
}

// reset begins another segment, whatever became of the one before.
func (r *recordWriter) reset(w io.Writer) {
	r.w, r.progress, r.err = w, progress{}, nil
	r.compressor.Reset((*compressed)(r))
	r.hash.Reset()
}

// writeBlock writes a block and empties it.
func (r *recordWriter) writeBlock(b *blockEncoder) {
	r.block.Block = &b.block
	r.record.Record = &r.block
	r.write(&r.record)
	b.reset()
}

// write writes a record and its length, unless a write has failed before.
func (r *recordWriter) write(record *segmentpb.Record) {
	if r.err != nil {
		return
	}
	// The length is known only once the record is encoded: leave room for it in front.
	buffer, err := proto.MarshalOptions{}.MarshalAppend(append(r.buffer[:0], make([]byte, binary.MaxVarintLen64)...), record)
	if err != nil {
		r.err = fmt.Errorf("encode segment: %w", err)
		return
	}
	r.buffer = buffer
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(buffer)-len(length)))
	framed := buffer[len(length)-n:]
	copy(framed, length[:n])
	_, _ = r.hash.Write(framed) // never fails
	r.raw += int64(len(framed))
	if _, err := r.compressor.Write(framed); err != nil {
		r.err = fmt.Errorf("write segment: %w", err)
	}
}

// close writes what the compressor still has.
func (r *recordWriter) close() error {
	if err := r.compressor.Close(); err != nil {
		r.err = fmt.Errorf("write segment: %w", err)
	}
	return r.err
}

// compressed is a recordWriter as what its compressor writes to.
type compressed recordWriter

func (c *compressed) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.rawAtWrite = c.raw
	return n, err
}
