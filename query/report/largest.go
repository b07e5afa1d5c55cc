package report

import (
	"cmp"
	"context"
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

// LargestSums is Largest for directories of which not everything counts: side has the same root. The rows that it returns have as their
// totals what counts. It holds the sums of at most MaxFiltered directories, those whose stored totals do not count.
func (s Scope) LargestSums(ctx context.Context, side Side, n int) ([]evidence.Row, error) {
	sums, err := side.admittedSums(ctx, side.Admit)
	if err != nil {
		return nil, err
	}
	top := topN[sizedKey]{limit: n, compare: sizedKey.compare}
	err = pass{ctx: ctx, scope: s, columns: []layer.Column{layer.ColumnSubBytes}}.each(func(s *span) error {
		for i := s.from; i < s.to; i++ {
			if !s.is(i, event.Directory) {
				continue
			}
			bytes := s.columns[0].At(i)
			if known, here := sums[s.block.Parent(i)+s.block.Name(i)]; here {
				bytes = known.Bytes
			}
			if last, full := top.full(); full && bytes <= last.bytes { // rows come in key order
				continue
			}
			top.offer(sizedKey{bytes, layer.Key{Parent: strings.Clone(s.block.Parent(i)), Name: strings.Clone(s.block.Name(i))}})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out, err := s.rowsOf(ctx, &top)
	for i := range out {
		out[i].Sub, _ = sums.of(out[i].Path(), out[i].Sub)
	}
	return out, err
}
