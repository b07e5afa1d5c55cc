package report

import (
	"context"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layer"
)

// FurtherNames is how many bytes of the root's allocated bytes are those of further names of files: without them, a file with several
// names below the root counts once. The totals say below which directories such files are, so only row groups on the way to those, and
// with them, are read. It holds the inodes of such files in memory, about 40 bytes each.
func (s Scope) FurtherNames(ctx context.Context) (int64, error) {
	l := &linkedFiles{ctx: ctx, view: s.View, counted: map[int64]bool{}}
	if s.Root.Sub.LinkedAllocated == 0 {
		return 0, nil
	}
	err := l.in(s.Root.ChildParent())
	return l.further, err
}

type linkedFiles struct {
	ctx     context.Context
	view    *layer.View
	counted map[int64]bool // by inode
	further int64
}

var linkedColumns = []layer.Column{layer.ColumnLinks, layer.ColumnInode, layer.ColumnSize, layer.ColumnAllocatedExcess, layer.ColumnSubLinkedAllocated}

// in adds up the further names in a directory and everything below it.
func (l *linkedFiles) in(parent string) error {
	var below []string
	c := l.view.Cursor(l.ctx).Until(layer.Key{Parent: parent + "\x00"}).ReadAhead(readAhead)
	s := &span{columns: make([]*layer.Numbers, len(linkedColumns))}
	for ok := c.Seek(layer.Key{Parent: parent}); ok; ok = c.NextSpan() {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		b, from, to := c.Span()
		if err := s.open(b, linkedColumns, b.Group().Removed > 0); err != nil {
			return err
		}
		for i := from; i < to; i++ {
			switch {
			case !s.present(i):
			case s.is(i, event.Directory):
				if s.columns[4].At(i) > 0 {
					below = append(below, strings.Clone(parent+b.Name(i)+"/"))
				}
			case s.columns[0].At(i) > 1:
				l.add(s, i)
			}
		}
	}
	if err := c.Err(); err != nil {
		return err
	}
	for _, dir := range below {
		if err := l.in(dir); err != nil {
			return err
		}
	}
	return nil
}

// add counts row i of a span, a name of a file with several.
func (l *linkedFiles) add(s *span, i int) {
	inode := s.columns[1].At(i)
	if inode == 0 { // nothing tells it from others
		return
	}
	if !l.counted[inode] {
		l.counted[inode] = true
		return
	}
	l.further += event.Rounded(s.columns[2].At(i)) + s.columns[3].At(i)
}
