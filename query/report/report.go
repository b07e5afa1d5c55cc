// Package report answers what storage admins ask about a whole subtree: what is largest, who owns it, how old it is, what is empty,
// what is odd, what may be duplicates, what grew.
//
// Every report is a function of the layers of a version, and reads no clock. It reads a few columns of the rows below one directory,
// span by span, and holds only its answer in memory; Duplicates says how much more it holds. No report counts removed rows, or those
// that the filter of its scope leaves out. Package query serves the reports over HTTP.
package report

import (
	"context"
	"slices"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// readAhead is how many bytes of a layer a report reads with one request.
const readAhead = 4 << 20

// Scope is what a report is about: a directory of a version, with everything below it that a filter keeps.
type Scope struct {
	View   *layer.View
	Root   *evidence.Row // a directory
	Filter *Filter       // nil: everything
}

// Filter is what a reader wants of the entries below a directory. The engine makes it of a search.
type Filter struct {
	// Excludes reports whether no row of a row group of the base can be wanted.
	Excludes func(*layer.Group) bool
	// Rows appends to rows, which is empty, those of the rows from to to-1 of a block that are wanted, in order.
	Rows func(rows []uint32, b *layer.Block, from, to int) ([]uint32, error)
}

// pass is one pass over the rows below the root.
type pass struct {
	ctx     context.Context
	scope   Scope
	columns []layer.Column
	skip    func(*layer.Group) bool // row groups of the base to pass over; nil: none
}

// span is rows from to to-1 of a block, with the columns of the pass in their order. Some of the rows may be removed, or not be wanted.
type span struct {
	block    *layer.Block
	from, to int
	types    *layer.Numbers
	removed  *layer.Numbers // nil: no row of the block is removed
	columns  []*layer.Numbers
	wanted   []bool   // by row of the block; nil: the scope has no filter
	rows     []uint32 // those that are wanted
}

// is reports whether row i is of a type, and present.
func (s *span) is(i int, kind event.Type) bool {
	return event.Type(s.types.At(i)) == kind && s.present(i)
}

// present reports whether row i is wanted, and not removed.
func (s *span) present(i int) bool {
	return (s.removed == nil || s.removed.At(i) == 0) && (s.wanted == nil || s.wanted[i])
}

// choose notes which rows of the span a filter wants, and reports whether there are any.
func (s *span) choose(f *Filter) (some bool, err error) {
	if f == nil {
		return true, nil
	}
	if s.rows, err = f.Rows(s.rows[:0], s.block, s.from, s.to); err != nil {
		return false, err
	}
	s.wanted = slices.Grow(s.wanted[:0], s.block.Len())[:s.block.Len()]
	clear(s.wanted)
	for _, i := range s.rows {
		s.wanted[i] = true
	}
	return len(s.rows) > 0, nil
}

// each calls f with every span, which is good until f returns.
func (p pass) each(f func(*span) error) error {
	parent := p.scope.Root.ChildParent()
	c := p.scope.View.Cursor(p.ctx).Until(subtreeEnd(parent)).ReadAhead(readAhead)
	if skip := p.skipped(); skip != nil {
		c.SkipBase(skip)
	}
	s := &span{columns: make([]*layer.Numbers, len(p.columns))}
	for ok := c.Seek(layer.Key{Parent: parent}); ok; ok = c.NextSpan() {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		b, from, to := c.Span()
		g := b.Group()
		if g.Removed == g.Rows {
			continue
		}
		if err := s.open(b, p.columns, g.Removed > 0); err != nil {
			return err
		}
		s.from, s.to = from, to
		some, err := s.choose(p.scope.Filter)
		if err != nil {
			return err
		}
		if !some {
			continue
		}
		if err := f(s); err != nil {
			return err
		}
	}
	return c.Err()
}

// skipped says which row groups of the base the pass leaves out; nil: none.
func (p pass) skipped() func(*layer.Group) bool {
	f := p.scope.Filter
	switch {
	case f == nil:
		return p.skip
	case p.skip == nil:
		return f.Excludes
	}
	return func(g *layer.Group) bool { return p.skip(g) || f.Excludes(g) }
}

// open decodes the columns of a block, unless the span has them already.
func (s *span) open(b *layer.Block, columns []layer.Column, removed bool) (err error) {
	if s.block == b {
		return nil
	}
	s.block = nil
	if s.types, err = b.Numbers(layer.ColumnType); err != nil {
		return err
	}
	s.removed = nil
	if removed {
		if s.removed, err = b.Numbers(layer.ColumnRemoved); err != nil {
			return err
		}
	}
	for i, c := range columns {
		if s.columns[i], err = b.Numbers(c); err != nil {
			return err
		}
	}
	s.block = b
	return nil
}

// subtreeEnd is the first key after everything below the directory whose entries have that parent: '0' comes after '/'.
func subtreeEnd(parent string) layer.Key {
	return layer.Key{Parent: parent[:len(parent)-1] + "0"}
}
