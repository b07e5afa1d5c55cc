package scan

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/internal/event"
)

// Content is what a directory's entries were, so that a later scan can tell whether they still are.
type Content struct {
	// Sum is a hash of the entries. Of subdirectories it has what their own events do not tell: their size and times are in those.
	// The day of the last access counts for files alone, as scans read directories and links.
	Sum uint64
	// Linked: there are files with several names among them, which may change through a name in another directory.
	Linked bool
}

// content gathers a Content, entry by entry in the order of names.
type content struct {
	digest xxhash.Digest
	linked bool
	buffer []byte // what is not in the digest yet, which takes much at once faster
}

const contentBuffer = 2 << 10

func (c *content) reset() {
	c.digest.Reset()
	c.linked, c.buffer = false, c.buffer[:0]
}

func (c *content) add(e *event.Entry) {
	b := append(c.buffer, byte(e.Type))
	number := func(n uint64) { b = binary.LittleEndian.AppendUint64(b, n) }
	number(uint64(e.Mode))
	number(uint64(e.UID)<<32 | uint64(e.GID))
	if e.Type != event.Directory {
		c.linked = c.linked || e.Links > 1
		number(uint64(e.Size))
		number(uint64(e.MtimeNs))
		number(uint64(e.Links))
		number(uint64(e.Allocated))
		number(uint64(e.CtimeNs))
		number(e.ID)
	}
	number(uint64(e.BirthS))
	if e.Type == event.File {
		number(uint64(e.AtimeDay))
	}
	number(uint64(len(e.Name)))
	number(uint64(len(e.ACL)))
	b = append(append(append(b, e.Name...), e.ACL...), e.Target...)
	number(uint64(len(e.Target)))
	if c.buffer = b; len(b) >= contentBuffer {
		c.flush()
	}
}

func (c *content) flush() {
	_, _ = c.digest.Write(c.buffer)
	c.buffer = c.buffer[:0]
}

func (c *content) get() Content {
	c.flush()
	return Content{Sum: c.digest.Sum64(), Linked: c.linked}
}
