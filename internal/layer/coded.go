package layer

import (
	"encoding/binary"
	"sync"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
)

// CodedNames are the names of a row group as DELTA_BYTE_ARRAY has them: name i is the first Shared[i] bytes of the name before and
// Rest[Starts[i]:Starts[i+1]]. Looking for a text in them takes less than putting the names together. Numbers may be wrong
// where the row group is not one that fustor writes.
type CodedNames struct {
	Shared []int32
	Starts []uint32
	Rest   string
}

// codedScratch are buffers for CodedNames.
type codedScratch struct {
	shared []int32
	starts []uint32
	rest   []byte
}

var codedScratches = sync.Pool{New: func() any { return &codedScratch{} }}

// checkCoded calls may with the name column's data page as it is stored; true where that cannot be.
func checkCoded(data []byte, c *chunk, may func(*CodedNames) bool) bool {
	n := c.dataSize.values
	if c.dataSize.encoding != format.DeltaByteArray || deltaCount(data) != n {
		return true
	}
	end := packedEnd(data)
	if end < 0 || deltaCount(data[end:]) != n {
		return true
	}
	b := codedScratches.Get().(*codedScratch)
	defer codedScratches.Put(b)
	var packed delta.BinaryPackedEncoding
	var rest delta.LengthByteArrayEncoding
	var err error
	if b.shared, err = packed.DecodeInt32(b.shared[:0], data[:end]); err != nil || len(b.shared) != n {
		return true
	}
	if b.rest, b.starts, err = rest.DecodeByteArray(b.rest, data[end:], b.starts); err != nil || len(b.starts) != n+1 {
		return true
	}
	return may(&CodedNames{b.shared, b.starts, textIn(b.rest)})
}

// packedEnd is how long the DELTA_BINARY_PACKED sequence is that data begins with, whose header deltaCount has checked; -1 where it is longer
// than data.
func packedEnd(data []byte) int {
	at := 0
	next := func() uint64 {
		v, n := binary.Uvarint(data[at:])
		if n <= 0 {
			at = len(data) + 1 // never to be read on from
			return 0
		}
		at += n
		return v
	}
	var header [4]uint64 // values of a block, miniblocks of a block, values, the first of them
	for i := range header {
		if header[i] = next(); at > len(data) {
			return -1
		}
	}
	block, miniblocks := header[0], header[1]
	for left := int64(header[2]) - 1; left > 0; {
		next() // the smallest difference
		if at > len(data) || uint64(len(data)-at) < miniblocks {
			return -1
		}
		widths := data[at:][:miniblocks]
		at += int(miniblocks)
		for _, width := range widths {
			if left <= 0 {
				break
			}
			at += int(block/miniblocks) * int(width) / 8
			left -= int64(block / miniblocks)
		}
		if at > len(data) {
			return -1
		}
	}
	return at
}
