package report

import (
	"cmp"
	"context"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// sized is a row's key, by the bytes that it counts for.
type sized struct {
	bytes int64
	key   layer.Key
}

// compare puts what is larger, and of equals what comes first, first.
func (a sized) compare(b sized) int {
	return cmp.Or(cmp.Compare(b.bytes, a.bytes), a.key.Compare(b.key))
}

// Largest are the files with the most bytes, or the directories whose subtrees have them, the largest first, at most n.
// Of equal ones those that come first in key order are taken.
func (s Scope) Largest(ctx context.Context, kind event.Type, n int) ([]evidence.Row, error) {
	top := best[sized]{n: n, compare: sized.compare}
	p := pass{ctx: ctx, scope: s, columns: []layer.Column{layer.ColumnSize}}
	if kind == event.Directory {
		p.columns[0] = layer.ColumnSubBytes
	} else {
		p.skip = func(g *layer.Group) bool { last, full := top.full(); return full && g.MaxSize <= last.bytes }
	}
	err := p.each(func(s *span) error {
		for i := s.from; i < s.to; i++ {
			bytes := s.columns[0].At(i)
			// Rows come in key order: one that is as large as the last comes behind it.
			if last, full := top.full(); full && bytes <= last.bytes || !s.is(i, kind) {
				continue
			}
			k := s.block.Key(i)
			top.offer(sized{bytes, layer.Key{Parent: strings.Clone(k.Parent), Name: strings.Clone(k.Name)}}) // the block may go
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]evidence.Row, len(top.items))
	for i, item := range top.sorted() {
		if _, err := s.View.Get(ctx, item.key, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}
