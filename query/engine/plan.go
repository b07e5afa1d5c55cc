package engine

import (
	"context"
	"errors"
	"slices"
	"sort"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/layer"
)

// plan is what a search has to look at of a range of keys: the row groups that the layers' indexes do not rule out, in
// shards that can be looked at independently.
type plan struct {
	chosen  map[*layer.Layer][]bool // by row group
	shards  []searchShard
	skipped int64 // row groups in the range that are ruled out
}

// searchShard is a part of the range, and the row groups that may have rows of it.
type searchShard struct {
	from, until layer.Key
	places      []layer.GroupRef
	bytes       int64 // of the row groups in the store
}

const (
	// firstShardBytes is about how much the first shards have to read, as that may be enough; it doubles to eight times
	// that: four row groups of a base partition, more of a delta.
	firstShardBytes = 64 << 10
	// planReads is how many indexes are read at the same time; they are small.
	planReads = 64
)

// stretches cuts a range of keys where base partitions begin: the first bound is from, the last until. A search with a
// limit may well find enough in the first partition, and does not read the indexes of the others then.
func (v *Version) stretches(from, until layer.Key, limit int) []layer.Key {
	bounds := []layer.Key{from}
	if limit > 0 {
		n, next := 0, 1
		for _, l := range v.view.Base() {
			first := l.Info().First
			if first.Compare(from) <= 0 || first.Compare(until) >= 0 {
				continue
			}
			if n++; n == next {
				bounds = append(bounds, first)
				next = 8 * (next + 1)
			}
		}
	}
	return append(bounds, until)
}

// choice is what is chosen of one layer.
type choice struct {
	layer   *layer.Layer
	groups  []layer.Group
	chosen  []bool
	skipped int64
}

// plan asks the indexes of all layers that have keys from from up to until.
func (v *Version) plan(ctx context.Context, w *Search, from, until layer.Key) (*plan, error) {
	var choices []*choice
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(planReads)
	for i, l := range slices.Concat(v.view.Deltas(), v.view.Base()) {
		if info := l.Info(); info.Last.Compare(from) < 0 || info.First.Compare(until) >= 0 {
			continue
		}
		c := &choice{layer: l}
		choices = append(choices, c)
		isBase := i >= len(v.view.Deltas())
		g.Go(func() error { return v.choose(gctx, w, c, isBase, from, until) })
	}
	if err := g.Wait(); err != nil {
		return nil, v.fail(err)
	}
	p := &plan{chosen: map[*layer.Layer][]bool{}}
	for _, c := range choices {
		p.chosen[c.layer] = c.chosen
		p.skipped += c.skipped
	}
	p.cut(choices, from, until)
	return p, nil
}

// choose decides which row groups of a layer are looked at.
func (v *Version) choose(ctx context.Context, w *Search, c *choice, isBase bool, from, until layer.Key) (err error) {
	if c.groups, err = c.layer.Groups(ctx); err != nil {
		return err
	}
	named, err := c.layer.MayHave(ctx, w.needle)
	if err != nil {
		if named, err = v.withoutIndex(c.layer, err); err != nil {
			return err
		}
	}
	c.chosen = make([]bool, len(c.groups))
	for i := range c.groups {
		group := &c.groups[i]
		if group.Last.Compare(from) < 0 || group.First.Compare(until) >= 0 {
			continue
		}
		// A delta's row may have lost what a search wants and hides the row below that has it. Their names are the same.
		c.chosen[i] = named.Has(i) && !(isBase && w.none(group))
		if !c.chosen[i] {
			c.skipped++
		}
	}
	return nil
}

// withoutIndex goes on where a search index is damaged: all row groups are looked at, so that the answer is right all
// the same, and the log says so. The next merge of the partition makes a new one.
func (v *Version) withoutIndex(l *layer.Layer, err error) (*layer.GroupSet, error) {
	var damaged *layer.FormatError
	if !errors.As(err, &damaged) {
		return nil, err
	}
	if _, warned := v.damaged.LoadOrStore(l.Info().ID, true); !warned && v.log != nil {
		v.log.Warn("a search index is damaged; its layer is searched without it, until a merge writes a new one", "view", v.Manifest.View, "error", err)
	}
	return nil, nil
}

// cut makes shards: they begin where chosen row groups do.
func (p *plan) cut(choices []*choice, from, until layer.Key) {
	type start struct {
		key   layer.Key
		bytes int64
	}
	var starts []start
	any := false
	for _, c := range choices {
		for i, chosen := range c.chosen {
			if !chosen {
				continue
			}
			any = true
			if g := &c.groups[i]; g.First.Compare(from) > 0 {
				starts = append(starts, start{g.First, g.Bytes})
			}
		}
	}
	if !any {
		return
	}
	slices.SortFunc(starts, func(a, b start) int { return a.key.Compare(b.key) })
	at, bytes := from, int64(0)
	for _, s := range starts {
		if bytes >= firstShardBytes<<min(3, len(p.shards)/2) && s.key != at {
			p.shards = append(p.shards, searchShard{from: at, until: s.key})
			at, bytes = s.key, 0
		}
		bytes += s.bytes
	}
	p.shards = append(p.shards, searchShard{from: at, until: until})
	for _, c := range choices {
		for i, chosen := range c.chosen {
			if chosen {
				p.assign(c, i)
			}
		}
	}
	p.shards = slices.DeleteFunc(p.shards, func(s searchShard) bool { return len(s.places) == 0 })
}

// assign gives a row group to all shards that it has rows of.
func (p *plan) assign(c *choice, i int) {
	g := &c.groups[i]
	first := sort.Search(len(p.shards), func(j int) bool { return p.shards[j].until.Compare(g.First) > 0 })
	for j := first; j < len(p.shards) && p.shards[j].from.Compare(g.Last) <= 0; j++ {
		s := &p.shards[j]
		s.places = append(s.places, layer.GroupRef{Layer: c.layer, Group: i})
		s.bytes += g.Bytes
	}
}

// skip is the cursor's view of the plan.
func (p *plan) skip(l *layer.Layer, i int, _ *layer.Group) bool {
	chosen := p.chosen[l]
	return i >= len(chosen) || !chosen[i]
}
