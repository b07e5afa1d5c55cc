package event

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
)

// What a segment may hold. A Writer keeps to these, and a Reader with the default limits reads whatever keeps to them.
const (
	MaxListingEntries = 64 << 10  // entries of one Listing; SplitListing makes pieces of a larger one
	MaxListingBytes   = 16 << 20  // bytes of the names and targets of one Listing; SplitListing again
	MaxText           = 64 << 10  // bytes of a path, a target, a mark's message, or a field of the header
	MaxBlockBytes     = 1 << 20   // bytes of a record, and of the texts in a block once their prefixes are restored
	MaxSegmentRows    = 1 << 20   // events, listed entries, and directories on the way to them that are not the root
	MaxStoredBytes    = 32 << 20  // bytes of a segment as it is stored: far more than Writers' come to in practice
	MaxSegmentBytes   = 256 << 20 // bytes of a segment before compression, and of all its texts with prefixes restored
	Window            = 1 << 20   // bytes of the Zstandard window, so of history that a reader must keep
)

// maxPathCost bounds the levels of a path times its bytes: what the rows of the directories on its way may take. Whatever one system call
// can name is within it, and any path of long names.
const maxPathCost = 32 << 20

// Fits says why no segment takes a path; nil: it does.
func Fits(path string) error {
	switch n := len(path); {
	case n > MaxText:
		return fmt.Errorf("a path of more than %d bytes", MaxText)
	case n > 4096 && n*strings.Count(path, "/") > maxPathCost:
		return fmt.Errorf("a path of %d bytes with %d levels: their product is more than %d", n, strings.Count(path, "/"), maxPathCost)
	}
	return nil
}

// ErrFull is what Writer.Add returns for an event that would take the segment past MaxSegmentBytes or MaxSegmentRows. The event was not
// added; close the segment and begin the next one with it.
var ErrFull = errors.New("segment is full")

// Limits bound what a Reader spends on a segment. A zero field stands for the constant it names.
type Limits struct {
	MaxUncompressed int64 // bytes of a segment before compression, and of its texts; MaxSegmentBytes
	MaxBlock        int   // bytes of one record, and of one block's restored texts; MaxBlockBytes
	MaxEntries      int   // entries of one listing; MaxListingEntries
	MaxRows         int   // events, entries and directories of a segment; MaxSegmentRows
}

func (l Limits) withDefaults() Limits {
	if l.MaxUncompressed <= 0 {
		l.MaxUncompressed = MaxSegmentBytes
	}
	if l.MaxBlock <= 0 {
		l.MaxBlock = MaxBlockBytes
	}
	if l.MaxEntries <= 0 {
		l.MaxEntries = MaxListingEntries
	}
	if l.MaxRows <= 0 {
		l.MaxRows = MaxSegmentRows
	}
	return l
}

// rowCount counts the rows that a segment is about: its events and entries, and the directories above them, each once.
type rowCount struct {
	rows        int
	directories map[uint64]struct{} // by a hash of the path, whose seed nobody outside knows
	seed        maphash.Seed
	last        string // the path whose directories were counted last
}

func (c *rowCount) reset() {
	c.rows, c.last = 0, ""
	clear(c.directories)
}

// directoriesOf is how many directories on the way to path were not met yet; they then were.
func (c *rowCount) directoriesOf(path string) (fresh int) {
	parent, _ := Split(path)
	if parent == c.last {
		return 0
	}
	c.last = parent
	if c.directories == nil {
		c.directories, c.seed = map[uint64]struct{}{}, maphash.MakeSeed()
	}
	for parent != "" && parent != "/" {
		parent = parent[:len(parent)-1]
		hash := maphash.String(c.seed, parent)
		if _, met := c.directories[hash]; met {
			break
		}
		c.directories[hash] = struct{}{}
		fresh++
		parent, _ = Split(parent)
	}
	return fresh
}

// FormatError says that an object is not a segment, or a damaged one, or one of another version.
type FormatError struct {
	Object string // as it was named to NewReader
	Offset int64  // of the record at fault, bytes into the uncompressed segment
	Reason string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("segment %s: at offset %d of the uncompressed bytes: %s", e.Object, e.Offset, e.Reason)
}
