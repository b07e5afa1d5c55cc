package v2rows

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/v2api"
)

// staged is one row of an audit as it is staged. A directory is staged twice: among its siblings, and once more before its own
// entries (own), so that whoever reads rows in order knows whose entries follow, and whether any are to.
type staged struct {
	parent, name string // as in rows: parent ends with a slash; of own the directory's path with a slash, and no name
	own          bool
	directory    bool
	skipped      bool // it has not changed, and its files were not sent
	size, mtime  int64
}

func (s *staged) compare(o *staged) int {
	return cmp.Or(strings.Compare(s.parent, o.parent), strings.Compare(s.name, o.name))
}

func (s *staged) entry(name string) event.Entry {
	return v2api.NewEntry(name, s.directory, s.size, s.mtime)
}

// Chunks of staged rows are objects of a bounded size: a zstd frame of rowsMagic and rows, each as flags, its parent unless it is
// that of the row before, its name unless it is own, mtime and size. Texts are their length and bytes, numbers varints.
const (
	rowsMagic = "fustor.rows 1\n"
	window    = 512 << 10
	maxChunk  = 4 << 20 // bytes before compression that a reader takes
)

// chunkSize is about how many bytes before compression a chunk has. Tests make it small.
var chunkSize = 512 << 10

const (
	flagOwn = 1 << iota
	flagDirectory
	flagSkipped
	flagSameParent
)

func (s *staged) flags() (flags byte) {
	if s.own {
		flags |= flagOwn
	}
	if s.directory {
		flags |= flagDirectory
	}
	if s.skipped {
		flags |= flagSkipped
	}
	return flags
}

// chunk is rows on their way into an object.
type chunk struct {
	b      []byte
	parent string
	rows   int
}

func (c *chunk) add(s *staged) {
	if c.rows == 0 {
		c.b = append(c.b[:0], rowsMagic...)
	}
	flags := s.flags()
	if c.rows > 0 && s.parent == c.parent {
		flags |= flagSameParent
	}
	c.b = append(c.b, flags)
	if flags&flagSameParent == 0 {
		c.b = append(binary.AppendUvarint(c.b, uint64(len(s.parent))), s.parent...)
		c.parent = s.parent
	}
	if !s.own {
		c.b = append(binary.AppendUvarint(c.b, uint64(len(s.name))), s.name...)
	}
	c.b = binary.AppendVarint(c.b, s.mtime)
	c.b = binary.AppendVarint(c.b, s.size)
	c.rows++
}

func (c *chunk) full() bool { return len(c.b) >= chunkSize }

// take returns the object's bytes and begins the next chunk.
func (c *chunk) take() []byte {
	body := coder().EncodeAll(c.b, nil)
	c.rows, c.parent = 0, ""
	return body
}

// coder encodes and decodes chunks; several at once.
var coder = sync.OnceValue(func() (c struct {
	*zstd.Encoder
	*zstd.Decoder
}) {
	var err, decoderErr error
	c.Encoder, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(window))
	c.Decoder, decoderErr = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxChunk))
	if err = errors.Join(err, decoderErr); err != nil {
		panic(err) // the options are constant
	}
	return c
})

// chunkReader reads the rows of one object.
type chunkReader struct {
	rest   string
	parent string
}

var errStaged = errors.New("damaged staged rows")

func openChunk(body []byte) (chunkReader, error) {
	raw, err := coder().DecodeAll(body, nil)
	if err != nil {
		return chunkReader{}, fmt.Errorf("%w: %v", errStaged, err)
	}
	rest, ok := strings.CutPrefix(string(raw), rowsMagic)
	if !ok {
		return chunkReader{}, errStaged
	}
	return chunkReader{rest: rest}, nil
}

// next reads a row; not ok is the end.
func (c *chunkReader) next() (s staged, ok bool, err error) {
	if c.rest == "" {
		return s, false, nil
	}
	flags := c.rest[0]
	c.rest = c.rest[1:]
	s.own, s.directory, s.skipped = flags&flagOwn != 0, flags&flagDirectory != 0, flags&flagSkipped != 0
	valid := true
	if flags&flagSameParent == 0 {
		c.parent, valid = c.text()
	}
	s.parent = c.parent
	if valid && !s.own {
		s.name, valid = c.text()
	}
	if valid {
		s.mtime, valid = c.number()
	}
	if valid {
		s.size, valid = c.number()
	}
	if !valid {
		return s, false, errStaged
	}
	return s, true, nil
}

func (c *chunkReader) text() (string, bool) {
	n, size := uvarint(c.rest)
	if size <= 0 || n > uint64(len(c.rest)-size) {
		return "", false
	}
	text := c.rest[size : size+int(n)]
	c.rest = c.rest[size+int(n):]
	return text, true
}

func (c *chunkReader) number() (int64, bool) {
	u, size := uvarint(c.rest)
	if size <= 0 {
		return 0, false
	}
	c.rest = c.rest[size:]
	return int64(u>>1) ^ -int64(u&1), true
}

// uvarint is binary.Uvarint of a string.
func uvarint(s string) (v uint64, n int) {
	for shift := 0; n < len(s) && shift < 64; shift += 7 {
		c := s[n]
		n++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, n
		}
	}
	return 0, 0
}

// stage puts the rows of a batch into the store, in order, under names that sort by when they came.
func (r *Rows) stage(ctx context.Context, view, id string, number uint64, batch *v2api.Batch, name string) error {
	rows := make([]staged, 0, count(batch))
	err := each(batch, func(o observation) error {
		if o.gone {
			return nil // an audit tells of that at its end
		}
		parent, base := event.Split(o.path)
		s := staged{parent: parent, name: base, directory: o.entry.Type == event.Directory, skipped: o.row.AuditSkipped.Value,
			size: o.entry.Size, mtime: o.entry.MtimeNs}
		if o.path != "/" {
			rows = append(rows, s)
		}
		if s.directory {
			s.own, s.parent, s.name = true, childParent(o.path), ""
			rows = append(rows, s)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(rows, func(a, b staged) int { return a.compare(&b) })
	prefix, c, n := fmt.Sprintf("%s0-%020d-%s", layout.Staged(view, id, number), r.o.Now(), name), chunk{}, 0
	put := func() error {
		if c.rows == 0 {
			return nil
		}
		key := fmt.Sprintf("%s-%04d", prefix, n)
		n++
		if _, err := r.o.Store.Put(ctx, key, c.take()); err != nil {
			return fmt.Errorf("stage rows: %w", err)
		}
		return nil
	}
	for i := range rows {
		if i+1 < len(rows) && rows[i].compare(&rows[i+1]) == 0 {
			continue // of two rows of one path the later counts
		}
		if c.add(&rows[i]); c.full() {
			if err := put(); err != nil {
				return err
			}
		}
	}
	return put()
}

// childParent is what parent is in the rows of a directory's entries.
func childParent(dir string) string {
	if dir == "/" {
		return dir
	}
	return dir + "/"
}
