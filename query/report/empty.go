package report

import (
	"context"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// EmptyDirectories calls f for the directories below the root that have no entries, in key order from a key on. The
// row is good until f returns.
func (s Scope) EmptyDirectories(ctx context.Context, from layer.Key, f func(*evidence.Row) error) error {
	var row evidence.Row
	p := pass{ctx: ctx, scope: s, columns: []layer.Column{layer.ColumnSubDirectories, layer.ColumnSubFiles, layer.ColumnSubOthers},
		skip: func(g *layer.Group) bool { return g.Last.Compare(from) < 0 }}
	return p.each(func(s *span) error {
		for i := s.block.SearchFrom(s.from, from); i < s.to; i++ {
			// The totals of a subtree count its directory, so an empty one has 1 directory.
			if !s.is(i, event.Directory) || s.columns[0].At(i) != 1 || s.columns[1].At(i) != 0 || s.columns[2].At(i) != 0 {
				continue
			}
			if err := s.block.Row(i, &row); err != nil {
				return err
			}
			if err := f(&row); err != nil {
				return err
			}
		}
		return nil
	})
}
