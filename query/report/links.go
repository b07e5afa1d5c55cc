package report

import (
	"context"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/values"
)

// LinksOnce are the root's allocated bytes, and those of names of files with several names, where such a file below the root counts
// once. The totals say below which directories such files are, so only row groups on the way to those, and with them, are read; if the
// totals are saturated, everything that the filter wants is. It holds the inodes of such files in memory, about 40 bytes each.
//
// The totals of the root must be of what counts. Where that is Within, admit says it of the directories below.
func (s Scope) LinksOnce(ctx context.Context, of Admission, admit Admit) (allocated, linked int64, err error) {
	sub := &s.Root.Sub
	if sub.LinkedAllocated == 0 || of == Nothing {
		return sub.Allocated, sub.LinkedAllocated, nil
	}
	l := &linkedFiles{ctx: ctx, view: s.View, admit: admit, counted: map[int64]bool{}}
	if sub.Allocated == values.MaxSum {
		return l.all(s)
	}
	err = l.in(s.Root.ChildParent(), of)
	return sub.Allocated - l.further, sub.LinkedAllocated - l.further, err
}

type linkedFiles struct {
	ctx     context.Context
	view    *layer.View
	admit   Admit
	counted map[int64]bool // by inode
	further int64          // allocated bytes of further names of counted files
}

// all sums up everything at and below a root, but for further names.
func (l *linkedFiles) all(s Scope) (allocated, linked int64, err error) {
	allocated = s.Root.Allocated
	p := pass{ctx: l.ctx, scope: s, columns: linkedColumns}
	err = p.each(func(s *span) error {
		for i := s.from; i < s.to; i++ {
			switch links := s.columns[0].At(i); {
			case !s.present(i) || links == 0:
			case links == 1 || s.is(i, event.Directory):
				allocated = values.Sum(allocated, allocatedAt(s, i))
			case !l.again(s, i):
				allocated, linked = values.Sum(allocated, allocatedAt(s, i)), values.Sum(linked, allocatedAt(s, i))
			}
		}
		return nil
	})
	return allocated, linked, err
}

var linkedColumns = []layer.Column{layer.ColumnLinks, layer.ColumnInode, layer.ColumnSize, layer.ColumnAllocatedExcess, layer.ColumnSubLinkedAllocated}

// in adds up the further names in a directory, and in what counts below it.
func (l *linkedFiles) in(parent string, of Admission) error {
	type inside struct {
		parent string
		of     Admission
	}
	var below []inside
	var dir evidence.Row
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
				if s.columns[4].At(i) == 0 {
					continue
				}
				a := of
				if of == Within {
					err := s.directory(i, &dir)
					if err == nil {
						a, err = l.admit(&dir)
					}
					if err != nil {
						return err
					}
				}
				if a != Nothing {
					below = append(below, inside{parent + b.Name(i) + "/", a})
				}
			case s.columns[0].At(i) > 1:
				if l.again(s, i) {
					l.further += allocatedAt(s, i)
				}
			}
		}
	}
	if err := c.Err(); err != nil {
		return err
	}
	for _, d := range below {
		if err := l.in(d.parent, d.of); err != nil {
			return err
		}
	}
	return nil
}

// again reports whether the file of row i of a span, which has several names, was counted by another of them.
func (l *linkedFiles) again(s *span, i int) bool {
	inode := s.columns[1].At(i)
	if inode == 0 { // nothing tells it from others
		return false
	}
	again := l.counted[inode]
	l.counted[inode] = true
	return again
}

// allocatedAt is what row i of a span with linkedColumns occupies.
func allocatedAt(s *span, i int) int64 { return event.Rounded(s.columns[2].At(i)) + s.columns[3].At(i) }
