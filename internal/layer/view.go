package layer

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/store"
)

// View is one version of a view: its base partitions and the deltas over them. A key's row is that of the newest layer
// that has it. It is safe for concurrent use; cursors are not.
type View struct {
	base   []*Layer
	deltas []*Layer
}

// OpenView makes a view of a manifest's layers: base partitions, disjoint and in key order, and deltas, the newest first. It reads nothing: each layer's index is read when a key in the layer's
// range is asked for. It fails where the base partitions overlap or are out of order.
func OpenView(st store.Store, view string, base, deltas []Info, c *Cache) (*View, error) {
	v := &View{}
	for i := range base {
		if i > 0 && base[i-1].Last.Compare(base[i].First) >= 0 {
			return nil, fmt.Errorf("view %s: base partitions %s and %s overlap", view, base[i-1].ID, base[i].ID)
		}
		v.base = append(v.base, New(st, view, base[i], c))
	}
	for _, info := range deltas {
		v.deltas = append(v.deltas, New(st, view, info, c))
	}
	return v, nil
}

// NewView is a view of layers that are open already, in the order of OpenView.
func NewView(base, deltas []*Layer) *View { return &View{base: base, deltas: deltas} }

// Base are the base partitions in key order, Deltas the deltas, the newest first.
func (v *View) Base() []*Layer   { return v.base }
func (v *View) Deltas() []*Layer { return v.deltas }

// Within is the view of those layers with keys from from up to until that may have what is searched for, and of the deltas
// over them, which may have newer rows. It is nil if no layer may.
func (v *View) Within(from, until Key, may func(*Info) bool) *View {
	out := &View{}
	keep := func(l *Layer, older bool) bool {
		return l.info.Last.Compare(from) >= 0 && l.info.First.Compare(until) < 0 && (older || may(&l.info))
	}
	for _, l := range v.base {
		if keep(l, false) {
			out.base = append(out.base, l)
		}
	}
	for i := len(v.deltas) - 1; i >= 0; i-- {
		if keep(v.deltas[i], len(out.base)+len(out.deltas) > 0) {
			out.deltas = append(out.deltas, v.deltas[i])
		}
	}
	if len(out.base)+len(out.deltas) == 0 {
		return nil
	}
	slices.Reverse(out.deltas)
	return out
}

// Load reads the indexes of all layers, in parallel.
func (v *View) Load(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReads)
	for _, layers := range [][]*Layer{v.deltas, v.base} {
		for _, l := range layers {
			g.Go(func() error {
				_, err := l.index(ctx)
				return err
			})
		}
	}
	return g.Wait()
}

// parallelReads bounds the requests that one call has under way.
const parallelReads = 16

// Get sets r to a key's row and reports whether there is one. A removed row is found, with Removed set.
// Only the layers whose range has the key are asked, all at once: two dependent reads at most.
func (v *View) Get(ctx context.Context, k Key, r *evidence.Row) (found bool, err error) {
	layers := v.covering(k)
	for i, l := range layers {
		b, known := l.lookupCached(k)
		if !known {
			return getCold(ctx, layers[i:], k, r)
		}
		if b != nil {
			spend(ctx, Cost{Hits: 1})
		}
		if found, err := rowIn(b, k, r); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// getCold asks layers, the newest first, that were not all read before.
func getCold(ctx context.Context, layers []*Layer, k Key, r *evidence.Row) (found bool, err error) {
	blocks := make([]*Block, len(layers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReads)
	for i, l := range layers {
		g.Go(func() (err error) {
			blocks[i], err = l.lookup(gctx, k)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return false, err
	}
	for _, b := range blocks {
		if found, err := rowIn(b, k, r); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// covering are the layers whose range has the key, the newest first.
func (v *View) covering(k Key) (out []*Layer) {
	for _, l := range v.deltas {
		if l.info.Covers(k) {
			out = append(out, l)
		}
	}
	i := sort.Search(len(v.base), func(i int) bool { return v.base[i].info.Last.Compare(k) >= 0 })
	if i < len(v.base) && v.base[i].info.Covers(k) {
		out = append(out, v.base[i])
	}
	return out
}

// rowIn sets r to a key's row if the block has one; b may be nil.
func rowIn(b *Block, k Key, r *evidence.Row) (found bool, err error) {
	if b == nil {
		return false, nil
	}
	if err := b.LoadKeys(); err != nil {
		return false, err
	}
	i := b.Search(k)
	if i == b.Len() || b.Key(i) != k {
		return false, nil
	}
	return true, b.Row(i, r)
}

// groupOf is the row group whose range has the key; -1 if there is none.
func (x *index) groupOf(k Key) int {
	i := sort.Search(len(x.groups), func(i int) bool { return x.groups[i].Last.Compare(k) >= 0 })
	if i == len(x.groups) || !x.groups[i].Covers(k) {
		return -1
	}
	return i
}

// lookup is the block that has the key if the layer has it, nil if none can.
func (l *Layer) lookup(ctx context.Context, k Key) (*Block, error) {
	x, err := l.index(ctx)
	if err != nil {
		return nil, err
	}
	if i := x.groupOf(k); i >= 0 {
		return l.Block(ctx, i)
	}
	return nil, nil
}

// lookupCached is lookup without reading; known is false where that is not possible.
func (l *Layer) lookupCached(k Key) (b *Block, known bool) {
	x := l.loaded.Load()
	if x == nil {
		return nil, false
	}
	i := x.groupOf(k)
	if i < 0 {
		return nil, true
	}
	b = l.cache.block(l.cacheKey(i))
	return b, b != nil
}
