package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// The base partitions of a large view are in leaves (package manifest). A question reads those of the keys that it asks for, all at once.
// What was read serves every version that has the leaf: after a fold nothing is read again.

// leaves is a cache of what is in leaves.
type leaves struct {
	store   store.Store
	flights singleflight.Group
	known   *otter.Cache[string, []layer.Info] // by the leaf's key
}

// newLeaves returns a cache of about budget bytes.
func newLeaves(st store.Store, budget int64) *leaves {
	return &leaves{store: st, known: otter.Must(&otter.Options[string, []layer.Info]{
		MaximumWeight: uint64(max(1, budget)), Weigher: func(_ string, parts []layer.Info) uint32 { return uint32(manifest.MemoryOf(parts)) },
	})}
}

// read is what a leaf has.
func (l *leaves) read(ctx context.Context, view string, f *manifest.Leaf) ([]layer.Info, error) {
	key := layout.Leaf(view, f.ID)
	if parts, ok := l.known.GetIfPresent(key); ok {
		return parts, nil
	}
	flight := l.flights.DoChan(key, func() (any, error) {
		// As with heads, the request does not end with the call that began it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), headTimeout)
		defer cancel()
		parts, err := manifest.ReadLeaf(ctx, l.store, view, f)
		if err == nil {
			l.known.Set(key, parts)
		}
		return parts, err
	})
	select {
	case r := <-flight:
		parts, _ := r.Val.([]layer.Info)
		if errors.Is(r.Err, store.ErrNotFound) {
			return nil, &layer.FormatError{Object: key, Reason: "the object is missing", Err: r.Err}
		}
		return parts, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// guarded are the rows of a version.
type guarded struct {
	view *layer.View // without the base, if that is in leaves
	// inLeaves are the base partitions of the version's leaves, those that were asked for.
	inLeaves []openLeaf
	open     func(layer.Info) *layer.Layer
	leaves   *leaves
	name     string // of the view
}

// openLeaf is a leaf, and its partitions once they were read. Whoever asks again finds the same layers.
type openLeaf struct {
	*manifest.Leaf
	parts atomic.Pointer[[]*layer.Layer]
}

// keyRange are the keys from from up to until.
type keyRange struct{ from, until layer.Key }

// one is the range of a single key.
func one(k layer.Key) keyRange { return keyRange{k, keyAfter(k)} }

// below is the range of what is below the directory whose entries have that parent.
func below(parent string) keyRange { return keyRange{layer.Key{Parent: parent}, subtreeEnd(parent)} }

// meets reports whether the leaf may have keys of the range.
func (r keyRange) meets(f *manifest.Leaf) bool {
	return f.Last.Compare(r.from) >= 0 && f.First.Compare(r.until) < 0
}

// guard makes the rows of a version.
func (s *versions) guard(m *manifest.Manifest) (*guarded, error) {
	view, err := layer.OpenView(s.store, m.View, m.Base, m.Deltas, s.cache)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %v", m.Key(), manifest.ErrFormat, err)
	}
	g := &guarded{view: view, inLeaves: make([]openLeaf, len(m.Leaves)), leaves: s.leaves, name: m.View}
	g.open = func(i layer.Info) *layer.Layer { return layer.New(s.store, m.View, i, s.cache) }
	for i := range m.Leaves {
		g.inLeaves[i].Leaf = &m.Leaves[i]
	}
	return g, nil
}

// through are the rows of a range for somebody who passes each through a gate, and emits only what the gate lets through. No gate: the
// version has found that the reader may see everything. Rows of other keys may be missing.
func (g *guarded) through(ctx context.Context, _ *gate, of keyRange) (*layer.View, error) {
	return g.those(ctx, of, nil)
}

// those is through without base partitions of which may rules out all that are in a leaf; nil: none.
func (g *guarded) those(ctx context.Context, of keyRange, may func(*layer.Info) bool) (*layer.View, error) {
	if len(g.inLeaves) == 0 {
		return g.view, nil
	}
	wanted := func(f *manifest.Leaf) bool {
		return of.meets(f) && (may == nil || may(&layer.Info{First: f.First, Last: f.Last, Rows: f.Rows, Removed: f.Removed, Bytes: f.Bytes, Marks: f.Marks}))
	}
	if err := g.read(ctx, wanted); err != nil {
		return nil, err
	}
	var base []*layer.Layer
	for i := range g.inLeaves {
		if l := &g.inLeaves[i]; wanted(l.Leaf) {
			base = append(base, *l.parts.Load()...)
		}
	}
	return layer.NewView(base, g.view.Deltas()), nil
}

// ahead reads the leaves of ranges that are asked for next, so that they wait for each other as little as may be.
func (g *guarded) ahead(ctx context.Context, of ...keyRange) error {
	return g.read(ctx, func(f *manifest.Leaf) bool {
		for _, r := range of {
			if r.meets(f) {
				return true
			}
		}
		return false
	})
}

// read reads those of the leaves that are wanted and were not read yet.
func (g *guarded) read(ctx context.Context, wanted func(*manifest.Leaf) bool) error {
	var reads errgroup.Group
	reads.SetLimit(planReads)
	for i := range g.inLeaves {
		l := &g.inLeaves[i]
		if l.parts.Load() != nil || !wanted(l.Leaf) {
			continue
		}
		reads.Go(func() error {
			infos, err := g.leaves.read(ctx, g.name, l.Leaf)
			if err != nil {
				return err
			}
			parts := make([]*layer.Layer, len(infos))
			for j := range infos {
				parts[j] = g.open(infos[j])
			}
			l.parts.CompareAndSwap(nil, &parts)
			return nil
		})
	}
	return reads.Wait()
}

// starts calls use with the first key of each base partition of a range, in order, and how many partitions are before it in the range. Of
// leaves behind the first it knows only the first partition. With that leaf it reads those of another range, which is asked for next.
func (g *guarded) starts(ctx context.Context, of, next keyRange, use func(first layer.Key, before int)) error {
	n := 0
	each := func(parts []*layer.Layer) {
		for _, l := range parts {
			if info := l.Info(); info.Last.Compare(of.from) >= 0 && info.First.Compare(of.until) < 0 {
				use(info.First, n)
				n++
			}
		}
	}
	each(g.view.Base())
	for i := range g.inLeaves {
		l := &g.inLeaves[i]
		switch {
		case !of.meets(l.Leaf):
		case n == 0:
			if err := g.read(ctx, func(f *manifest.Leaf) bool { return f == l.Leaf || next.meets(f) }); err != nil {
				return err
			}
			each(*l.parts.Load())
		default:
			use(l.First, n)
			n += l.Partitions
		}
	}
	return nil
}
