package event

import (
	"errors"
	"fmt"
)

// What a segment may hold. A Writer keeps to these, and a Reader with the default limits reads whatever keeps to them.
const (
	MaxListingEntries = 64 << 10  // entries of one Listing; SplitListing makes pieces of a larger one
	MaxListingBytes   = 16 << 20  // bytes of the names and targets of one Listing; SplitListing again
	MaxText           = 64 << 10  // bytes of a path, a target, a mark's message, or a field of the header
	MaxBlockBytes     = 1 << 20   // bytes of a record, and of the texts in a block once their prefixes are restored
	MaxSegmentBytes   = 256 << 20 // bytes of a segment before compression, and of all its texts with prefixes restored
	Window            = 1 << 20   // bytes of the Zstandard window, so of history that a reader must keep
)

// ErrFull is what Writer.Add returns for an event that would take the segment past MaxSegmentBytes. The event was not
// added; close the segment and begin the next one with it.
var ErrFull = errors.New("segment is full")

// Limits bound what a Reader spends on a segment. A zero field stands for the constant it names.
type Limits struct {
	MaxUncompressed int64 // bytes of a segment before compression, and of its texts; MaxSegmentBytes
	MaxBlock        int   // bytes of one record, and of one block's restored texts; MaxBlockBytes
	MaxEntries      int   // entries of one listing; MaxListingEntries
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
	return l
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
