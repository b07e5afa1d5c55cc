package report

import (
	"cmp"
	"context"
	"math"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// sizedKey is the key of a row and its bytes.
type sizedKey struct {
	bytes int64
	key   layer.Key
}

// compare orders by bytes, descending, then by key.
func (a sizedKey) compare(b sizedKey) int {
	return cmp.Or(cmp.Compare(b.bytes, a.bytes), a.key.Compare(b.key))
}

// Largest are the files with the most bytes, or the directories whose subtrees have them, the largest first, at most n.
// The key decides between equal ones.
func (s Scope) Largest(ctx context.Context, kind event.Type, n int) ([]evidence.Row, error) {
	top := topN[sizedKey]{limit: n, compare: sizedKey.compare}
	p := pass{ctx: ctx, scope: s, columns: []layer.Column{layer.ColumnSize}}
	if kind == event.Directory {
		p.columns[0] = layer.ColumnSubBytes
	} else {
		p.skip = func(g *layer.Group) bool { last, full := top.full(); return full && g.MaxSize <= last.bytes }
	}
	err := p.each(func(s *span) error {
		for i := s.from; i < s.to; i++ {
			bytes := s.columns[0].At(i)
			// Rows come in key order, so a row that equals the last in bytes comes after it.
			if last, full := top.full(); full && bytes <= last.bytes || !s.is(i, kind) {
				continue
			}
			k := s.block.Key(i)
			top.offer(sizedKey{bytes, layer.Key{Parent: strings.Clone(k.Parent), Name: strings.Clone(k.Name)}}) // the strings would hold the block in memory
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.rowsOf(ctx, &top)
}

// rowsOf reads the rows of top, the first one first.
func (s Scope) rowsOf(ctx context.Context, top *topN[sizedKey]) ([]evidence.Row, error) {
	out := make([]evidence.Row, len(top.items))
	for i, item := range top.sorted() {
		if _, err := s.View.Get(ctx, item.key, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// LargestSums is Largest for directories whose sums are those of what another scope wants: all has the same root. The rows that it returns
// have these sums as their totals. It reads all rows of both, and holds the sums of at most MaxFiltered directories.
func (s Scope) LargestSums(ctx context.Context, all Scope, n int) ([]evidence.Row, error) {
	sums := map[string]evidence.Totals{}
	err := all.sumBelow(ctx, math.MaxInt, func(path string, t evidence.Totals) error {
		sum, known := sums[path]
		if !known {
			if len(sums) == MaxFiltered {
				return ErrTooManyDirectories
			}
			path, sum = strings.Clone(path), nothing
		}
		sums[path] = sum.Plus(t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	top := topN[sizedKey]{limit: n, compare: sizedKey.compare}
	err = pass{ctx: ctx, scope: s}.each(func(s *span) error {
		for i := s.from; i < s.to; i++ {
			if s.is(i, event.Directory) {
				k := layer.Key{Parent: strings.Clone(s.block.Parent(i)), Name: strings.Clone(s.block.Name(i))}
				top.offer(sizedKey{sums[k.Parent+k.Name].Bytes, k})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out, err := s.rowsOf(ctx, &top)
	for i := range out {
		out[i].Sub = sums[out[i].Path()]
	}
	return out, err
}
