package query

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
	places      []layer.Place
	bytes       int64 // of the row groups in the store
}

const (
	// shardGroups is how many row groups a shard has at most. The first shards have fewer, as they may be enough.
	shardGroups = 4
	// planReads is how many indexes are read at the same time; they are small.
	planReads = 64
)

// choice is what is chosen of one layer.
type choice struct {
	layer   *layer.Layer
	groups  []layer.Group
	chosen  []bool
	skipped int64
}

// plan asks the indexes of all layers that have keys from from up to until.
func (v *version) plan(ctx context.Context, w *wanted, from, until layer.Key) (*plan, error) {
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
func (v *version) choose(ctx context.Context, w *wanted, c *choice, isBase bool, from, until layer.Key) (err error) {
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
func (v *version) withoutIndex(l *layer.Layer, err error) (*layer.GroupSet, error) {
	var damaged *layer.FormatError
	if !errors.As(err, &damaged) {
		return nil, err
	}
	if _, warned := v.damaged.LoadOrStore(l.Info().ID, true); !warned && v.log != nil {
		v.log.Warn("a search index is damaged; its layer is searched without it, until a merge writes a new one", "view", v.m.View, "error", err)
	}
	return nil, nil
}

// cut makes shards: they begin where chosen row groups do.
func (p *plan) cut(choices []*choice, from, until layer.Key) {
	var starts []layer.Key
	any := false
	for _, c := range choices {
		for i, chosen := range c.chosen {
			if !chosen {
				continue
			}
			any = true
			if first := c.groups[i].First; first.Compare(from) > 0 {
				starts = append(starts, first)
			}
		}
	}
	if !any {
		return
	}
	slices.SortFunc(starts, layer.Key.Compare)
	at := from
	for i, n := 0, 1; i < len(starts); i += n {
		n = min(shardGroups, 1+len(p.shards)/2)
		if starts[i] == at {
			continue
		}
		p.shards = append(p.shards, searchShard{from: at, until: starts[i]})
		at = starts[i]
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
		s.places = append(s.places, layer.Place{Layer: c.layer, Group: i})
		s.bytes += g.Bytes
	}
}

// skip is the cursor's view of the plan.
func (p *plan) skip(l *layer.Layer, i int, _ *layer.Group) bool {
	chosen := p.chosen[l]
	return i >= len(chosen) || !chosen[i]
}
