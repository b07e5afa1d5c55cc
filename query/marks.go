package query

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// marks are what is doubtful of a range of rows.
type marks struct {
	blindSpot bool
	// ends are when the suspicions of files end, in order, ns: those that had not ended when the marks were read.
	ends []int64
}

// suspects is how many files are suspect at a time, and until when that is so (0: for good).
func (m *marks) suspects(now int64) (n, until int64) {
	i, _ := slices.BinarySearch(m.ends, now+1)
	if i < len(m.ends) {
		until = m.ends[i]
	}
	return int64(len(m.ends) - i), until
}

// marks reads what is doubtful of a path and everything below it. Row groups that have no mark are not read; those of
// the whole version are read once.
func (v *version) marks(ctx context.Context, root *evidence.Row, now int64) (*marks, error) {
	if root.Parent != "" {
		return v.readMarks(ctx, root, now)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.found == nil {
		found, err := v.readMarks(ctx, root, now)
		if err != nil {
			return nil, err
		}
		v.found = found
	}
	return v.found, nil
}

func (v *version) readMarks(ctx context.Context, root *evidence.Row, now int64) (*marks, error) {
	m := &marks{blindSpot: root.AgentMissing}
	if root.Type != event.Directory {
		if root.SuspectUntil > now && root.Type == event.File {
			m.ends = append(m.ends, root.SuspectUntil)
		}
		return m, nil
	}
	parent := root.ChildParent()
	unmarked := func(g *layer.Group) bool { return g.AgentMissing == 0 && g.SuspectUntilNs <= now }
	any, err := v.anyGroup(ctx, layer.Key{Parent: parent}, subtreeEnd(parent), func(g *layer.Group) bool { return !unmarked(g) })
	if err != nil || !any {
		return m, err
	}
	c := v.view.Cursor(ctx).Until(subtreeEnd(parent)).ReadAhead(streamAhead).SkipBase(unmarked)
	for ok := c.Seek(layer.Key{Parent: parent}); ok; ok = c.NextSpan() {
		b, from, to := c.Span()
		if g := b.Group(); unmarked(&g) {
			continue
		}
		if err := m.add(b, from, to, now); err != nil {
			return nil, v.fail(err)
		}
	}
	if err := c.Err(); err != nil {
		return nil, v.fail(err)
	}
	slices.Sort(m.ends)
	return m, nil
}

// add takes in the marks of rows from to to-1 of a block. A removed row may be a blind spot: a deletion that was found
// by looking.
func (m *marks) add(b *layer.Block, from, to int, now int64) error {
	missing, err := b.Numbers(layer.ColumnAgentMissing)
	if err != nil {
		return err
	}
	until, err := b.Numbers(layer.ColumnSuspectUntilNs)
	if err != nil {
		return err
	}
	types, err := b.Numbers(layer.ColumnType)
	if err != nil {
		return err
	}
	removed, err := b.Numbers(layer.ColumnRemoved)
	if err != nil {
		return err
	}
	for i := from; i < to; i++ {
		m.blindSpot = m.blindSpot || missing.At(i) != 0
		if ns := until.At(i); ns > now && removed.At(i) == 0 && event.Type(types.At(i)) == event.File {
			m.ends = append(m.ends, ns)
		}
	}
	return nil
}

// anyGroup reports whether a row group that may have keys from from up to until, in whatever layer, is as asked.
func (v *version) anyGroup(ctx context.Context, from, until layer.Key, is func(*layer.Group) bool) (bool, error) {
	layers := slices.Concat(v.view.Deltas(), v.view.Base())
	layers = slices.DeleteFunc(layers, func(l *layer.Layer) bool {
		info := l.Info()
		return info.Last.Compare(from) < 0 || info.First.Compare(until) >= 0
	})
	groups := make([][]layer.Group, len(layers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, l := range layers {
		g.Go(func() (err error) {
			groups[i], err = l.Groups(gctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return false, v.fail(err)
	}
	for i := range groups {
		for j := range groups[i] {
			if g := &groups[i][j]; g.Last.Compare(from) >= 0 && g.First.Compare(until) < 0 && is(g) {
				return true, nil
			}
		}
	}
	return false, nil
}
