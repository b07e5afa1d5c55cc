// Package report answers what storage admins ask about a whole subtree: what is largest, who owns it, how old it is, what is empty,
// what may be duplicates, what grew.
//
// Every report is a function of the layers of a version, and reads no clock. It reads a few columns of the rows below one directory,
// span by span, and holds only its answer in memory; Duplicates says how much more it holds. No report counts removed rows. Package
// query serves the reports over HTTP.
package report

import (
	"context"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// readAhead is how many bytes of a layer a report reads with one request.
const readAhead = 4 << 20

// Scope is what a report is about: a directory of a version, with everything below it.
type Scope struct {
	View *layer.View
	Root *evidence.Row // a directory
}

// pass is one pass over the rows below the root.
type pass struct {
	ctx     context.Context
	scope   Scope
	columns []layer.Column
	skip    func(*layer.Group) bool // row groups of the base to pass over; nil: none
}

// span is rows from to to-1 of a block, with the columns of the pass in their order. Some of the rows may be removed.
type span struct {
	block    *layer.Block
	from, to int
	types    *layer.Numbers
	removed  *layer.Numbers // nil: no row of the block is removed
	columns  []*layer.Numbers
}

// is reports whether row i is of a type, and not removed.
func (s *span) is(i int, kind event.Type) bool {
	return event.Type(s.types.At(i)) == kind && s.present(i)
}

func (s *span) present(i int) bool { return s.removed == nil || s.removed.At(i) == 0 }

// each calls f with every span, which is good until f returns.
func (p pass) each(f func(*span) error) error {
	parent := p.scope.Root.ChildParent()
	c := p.scope.View.Cursor(p.ctx).Until(subtreeEnd(parent)).ReadAhead(readAhead)
	if p.skip != nil {
		c.SkipBase(p.skip)
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
		if err := f(s); err != nil {
			return err
		}
	}
	return c.Err()
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
