package layer

import (
	"context"
	"slices"
	"sort"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/diskcache"
)

const (
	// CoalesceGap is up to how many bytes between two things wanted are read along, rather than asking twice: a link of
	// 100 Mbit/s carries as much in the 20 ms that a request costs.
	CoalesceGap = 256 << 10
	// MaxRange bounds what one request asks for, unless one thing alone is larger.
	MaxRange = 2 << 20
)

// GroupRef names row group Group of a layer.
type GroupRef struct {
	Layer *Layer
	Group int
}

// Held are blocks that were fetched, for Cursor.Hold. They stay whatever the cache does.
type Held map[GroupRef]*Block

// Fetch reads row groups, in parallel; those that lie close to each other are read with one request. What the cache has
// is not read, and what several fetch at the same time is read once. What is read has no keys until they are loaded.
func Fetch(ctx context.Context, groups []GroupRef) (Held, error) {
	byLayer := map[*Layer][]int{}
	for _, p := range groups {
		byLayer[p.Layer] = append(byLayer[p.Layer], p.Group)
	}
	blocks := make([][]*Block, len(groups)) // of one layer each
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReads)
	i := 0
	order := make([]*Layer, 0, len(byLayer))
	for l, wanted := range byLayer {
		slot := &blocks[i]
		order = append(order, l)
		i++
		g.Go(func() (err error) {
			*slot, err = l.blocks(gctx, wanted)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	held := make(Held, len(groups))
	for i, l := range order {
		for j, group := range byLayer[l] {
			held[GroupRef{l, group}] = blocks[i][j]
		}
	}
	return held, nil
}

// blocks are row groups, maybe without their keys.
func (l *Layer) blocks(ctx context.Context, groups []int) ([]*Block, error) {
	x, err := l.index(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]cacheKey, len(groups))
	for i, g := range groups {
		keys[i] = l.cacheKey(g)
	}
	found, _ := l.cache.loadMany(ctx, keys, func(ctx context.Context, missing []cacheKey) (map[cacheKey]cached, error) {
		return l.readBlocks(ctx, x, missing)
	})
	out := make([]*Block, len(groups))
	for i, k := range keys {
		if out[i] = found[k].block; out[i] != nil {
			continue
		}
		// What was read together may have failed for another's sake.
		if out[i], err = l.Block(ctx, groups[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (l *Layer) readBlocks(ctx context.Context, x *index, keys []cacheKey) (map[cacheKey]cached, error) {
	wanted := inOrder(keys)
	ranges := make([]byteRange, len(wanted))
	for i, g := range wanted {
		ranges[i] = x.groups[g].extent()
	}
	blocks := make([]*Block, len(wanted))
	err := l.readRanges(ctx, diskcache.Rows, ranges, func(i int, body []byte) (err error) {
		group := &x.groups[wanted[i]]
		spend(ctx, Cost{Groups: 1})
		blocks[i], err = openBlock(RawGroup{Group: *group, Data: body, object: l.object()})
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make(map[cacheKey]cached, len(wanted))
	for i, g := range wanted {
		out[l.cacheKey(g)] = cached{block: blocks[i]}
	}
	return out, nil
}

// inOrder are the row groups of some keys.
func inOrder(keys []cacheKey) []int {
	groups := make([]int, len(keys))
	for i, k := range keys {
		groups[i] = k.group
	}
	slices.Sort(groups)
	return groups
}

// byteRange is a part of an object.
type byteRange struct {
	offset, bytes int64
	hash          uint64 // the xxHash64 of what is there
}

// extent is all of a row group.
func (g *Group) extent() byteRange { return byteRange{g.Offset, g.Bytes, g.Hash} }

// keysExtent is what ScanNames reads of it.
func (g *Group) keysExtent() byteRange { return byteRange{g.Offset, g.Keys, g.KeysHash} }

func (r *byteRange) valid(body []byte) bool {
	return int64(len(body)) == r.bytes && xxhash.Sum64(body) == r.hash
}

// coalesce groups ranges, in order, that are read with one request each: it returns the ends of the groups.
func coalesce(ranges []byteRange) (ends []int) {
	for i := 0; i < len(ranges); {
		first, end := ranges[i].offset, ranges[i].offset+ranges[i].bytes
		j := i + 1
		for ; j < len(ranges); j++ {
			e := ranges[j]
			if e.offset-end > CoalesceGap || e.offset+e.bytes-first > MaxRange {
				break
			}
			end = e.offset + e.bytes
		}
		ends = append(ends, j)
		i = j
	}
	return ends
}

// readRanges reads parts of the layer's object, given in order, and hands each to use, several at a time. What use gets
// is its own. Parts that are on disk are read there.
func (l *Layer) readRanges(ctx context.Context, kind diskcache.Kind, ranges []byteRange, use func(i int, body []byte) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReads)
	var missing []byteRange
	var numbers []int // of those
	for i, r := range ranges {
		if !l.cache.disk.Has(l.part(kind, r)) {
			missing, numbers = append(missing, r), append(numbers, i)
			continue
		}
		g.Go(func() error {
			body, err := l.readPart(ctx, kind, r)
			if err != nil {
				return err
			}
			return use(i, body)
		})
	}
	from := 0
	for _, end := range coalesce(missing) {
		first, last := missing[from], missing[end-1]
		start := from
		from = end
		g.Go(func() error {
			body, err := l.readRange(ctx, first.offset, last.offset+last.bytes-first.offset)
			if err != nil {
				return err
			}
			for i := start; i < end; i++ {
				r := missing[i]
				at := r.offset - first.offset
				part := body[at : at+r.bytes : at+r.bytes]
				if end-start > 1 { // a block kept must not keep its neighbours
					part = slices.Clone(part)
				}
				if err := use(numbers[i], part); err != nil {
					return err
				}
				l.keep(kind, r, part)
			}
			return nil
		})
	}
	return g.Wait()
}

// readPart is a part of the layer's object, from disk where it is there.
func (l *Layer) readPart(ctx context.Context, kind diskcache.Kind, r byteRange) ([]byte, error) {
	if body := l.cache.disk.Get(l.part(kind, r), r.valid); body != nil {
		spend(ctx, Cost{Hits: 1})
		return body, nil
	}
	body, err := l.readRange(ctx, r.offset, r.bytes)
	if err == nil {
		l.keep(kind, r, body)
	}
	return body, err
}

func (l *Layer) part(kind diskcache.Kind, r byteRange) diskcache.Part {
	return diskcache.Part{Kind: kind, Object: l.object(), Offset: r.offset, Bytes: r.bytes}
}

// keep has a part kept on disk, if it is what the index says it is.
func (l *Layer) keep(kind diskcache.Kind, r byteRange, body []byte) {
	if l.cache.disk != nil && r.valid(body) {
		l.cache.disk.Put(l.part(kind, r), body)
	}
}

// First are the first row groups, most of them at most, that may have keys from from up to until.
func (l *Layer) First(ctx context.Context, from, until Key, most int) ([]GroupRef, error) {
	x, err := l.index(ctx)
	if err != nil {
		return nil, err
	}
	var out []GroupRef
	for g := x.groupAt(from); g < len(x.groups) && len(out) < most && x.groups[g].First.Compare(until) < 0; g++ {
		out = append(out, GroupRef{l, g})
	}
	return out, nil
}

// Cached reports whether the cache has the index and the row groups that First finds.
func (l *Layer) Cached(from, until Key, most int) bool {
	x := l.loaded.Load()
	if x == nil {
		return false
	}
	for g := x.groupAt(from); g < len(x.groups) && most > 0 && x.groups[g].First.Compare(until) < 0; g++ {
		if !l.cache.has(l.cacheKey(g)) {
			return false
		}
		most--
	}
	return true
}

// groupAt is the first row group that ends at or after k.
func (x *index) groupAt(k Key) int {
	return sort.Search(len(x.groups), func(i int) bool { return x.groups[i].Last.Compare(k) >= 0 })
}
