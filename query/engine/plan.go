package engine

import (
	"context"
	"errors"
	"slices"
	"sort"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/layer"
)

// plan is what a search reads of a range of keys: the row groups that the indexes of the layers do not rule out, cut into shards
// that can be searched independently of each other.
type plan struct {
	chosen  map[*layer.Layer][]bool // by row group
	shards  []shard
	skipped int64 // row groups of the range that the indexes rule out
}

// shard is a part of the range of keys, and the chosen row groups that may have rows in it.
type shard struct {
	from, until layer.Key
	groups      []layer.GroupRef
	bytes       int64 // of the row groups in the store
}

const (
	// firstShardBytes is about how much a search reads for each of its first shards. That may be enough for a page, so it is
	// little; later shards grow to eight times as much, which is four row groups of a base partition, or more of a delta.
	firstShardBytes = 64 << 10
	// planReads is how many indexes are read in parallel; they are small.
	planReads = 64
)

// searchRanges cuts the range of a search below a path where base partitions begin, and returns the bounds: the first is from, the last until.
// A search with a limit may find enough in the first partition. Then it does not read the indexes of the others. Without a limit
// there is one range. With many partitions the ranges grow: they begin at partitions 1, 16, 136, ….
func (v *Version) searchRanges(ctx context.Context, path string, from, until layer.Key, limit int) ([]layer.Key, error) {
	of, root := keyRange{from, until}, one(layer.KeyOf(path))
	if limit == 0 {
		return []layer.Key{from, until}, v.ReadError(v.rows.ahead(ctx, root, of))
	}
	bounds, next := []layer.Key{from}, 1
	err := v.rows.starts(ctx, of, root, func(first layer.Key, before int) {
		if before >= next && first.Compare(from) > 0 {
			bounds = append(bounds, first)
			next = 8 * (before + 1)
		}
	})
	return append(bounds, until), v.ReadError(err)
}

// groupChoice are the row groups of one layer, and which of them the search reads.
type groupChoice struct {
	layer   *layer.Layer
	groups  []layer.Group
	chosen  []bool
	skipped int64
}

// plan reads the indexes of all layers that have keys of the range, and chooses row groups.
func (v *Version) plan(ctx context.Context, s *Search, from, until layer.Key) (*plan, error) {
	view, err := v.rows.through(ctx, s.gate, keyRange{from, until})
	if err != nil {
		return nil, v.ReadError(err)
	}
	var choices []*groupChoice
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(planReads)
	for i, l := range slices.Concat(view.Deltas(), view.Base()) {
		if info := l.Info(); info.Last.Compare(from) < 0 || info.First.Compare(until) >= 0 {
			continue
		}
		c := &groupChoice{layer: l}
		choices = append(choices, c)
		isBase := i >= len(view.Deltas())
		g.Go(func() error { return v.chooseGroups(gctx, s, c, isBase, from, until) })
	}
	if err := g.Wait(); err != nil {
		return nil, v.ReadError(err)
	}
	p := &plan{chosen: map[*layer.Layer][]bool{}}
	for _, c := range choices {
		p.chosen[c.layer] = c.chosen
		p.skipped += c.skipped
	}
	p.makeShards(choices, from, until)
	return p, nil
}

// chooseGroups decides which row groups of a layer the search reads.
func (v *Version) chooseGroups(ctx context.Context, s *Search, c *groupChoice, isBase bool, from, until layer.Key) (err error) {
	if c.groups, err = c.layer.Groups(ctx); err != nil {
		return err
	}
	var named []*layer.GroupSet
	for _, needle := range s.needles {
		groups, err := v.mayHave(ctx, c.layer, needle)
		if err != nil {
			return err
		}
		named = append(named, groups)
	}
	mayMatch := func(i int) bool {
		return len(named) == 0 || slices.ContainsFunc(named, func(groups *layer.GroupSet) bool { return groups.Has(i) })
	}
	either, err := v.mayHave(ctx, c.layer, s.either)
	if err != nil {
		return err
	}
	c.chosen = make([]bool, len(c.groups))
	for i := range c.groups {
		group := &c.groups[i]
		if group.Last.Compare(from) < 0 || group.First.Compare(until) >= 0 {
			continue
		}
		// Attributes rule out groups of the base only. A row of a delta may no longer match by size, say, and still hides the row of
		// the base that does. Names rule out groups of both, as the two rows have the same name.
		c.chosen[i] = mayMatch(i) && (either.Has(i) || s.inSubtrees(group)) && !(isBase && s.excludes(group))
		if !c.chosen[i] {
			c.skipped++
		}
	}
	return nil
}

// mayHave are the row groups of a layer whose names may have a needle.
func (v *Version) mayHave(ctx context.Context, l *layer.Layer, n *layer.Needle) (*layer.GroupSet, error) {
	groups, err := l.MayHave(ctx, n)
	if err != nil {
		return v.withoutIndex(l, err)
	}
	return groups, nil
}

// withoutIndex handles a damaged search index: it chooses all row groups, so that the answer stays right, and logs that once. The
// next merge of the partition writes a new index.
func (v *Version) withoutIndex(l *layer.Layer, err error) (*layer.GroupSet, error) {
	var damaged *layer.FormatError
	if !errors.As(err, &damaged) {
		return nil, err
	}
	if _, warned := v.damaged.LoadOrStore(l.Info().ID, true); !warned && v.log != nil {
		v.log.Warn("a search index is damaged; searches read the whole layer until a merge writes a new index", "view", v.Manifest.View, "error", err)
	}
	return nil, nil
}

// makeShards cuts the range into shards. Each begins where a chosen row group begins, so that few groups lie in two shards.
func (p *plan) makeShards(choices []*groupChoice, from, until layer.Key) {
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
			p.shards = append(p.shards, shard{from: at, until: s.key})
			at, bytes = s.key, 0
		}
		bytes += s.bytes
	}
	p.shards = append(p.shards, shard{from: at, until: until})
	for _, c := range choices {
		for i, chosen := range c.chosen {
			if chosen {
				p.assign(c, i)
			}
		}
	}
	p.shards = slices.DeleteFunc(p.shards, func(s shard) bool { return len(s.groups) == 0 })
}

// assign adds a chosen row group to every shard that it may have rows in.
func (p *plan) assign(c *groupChoice, i int) {
	g := &c.groups[i]
	first := sort.Search(len(p.shards), func(j int) bool { return p.shards[j].until.Compare(g.First) > 0 })
	for j := first; j < len(p.shards) && p.shards[j].from.Compare(g.Last) <= 0; j++ {
		s := &p.shards[j]
		s.groups = append(s.groups, layer.GroupRef{Layer: c.layer, Group: i})
		s.bytes += g.Bytes
	}
}

// skip says which row groups a layer.Cursor passes over: those that were not chosen.
func (p *plan) skip(l *layer.Layer, i int, _ *layer.Group) bool {
	chosen := p.chosen[l]
	return i >= len(chosen) || !chosen[i]
}
