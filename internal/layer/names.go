package layer

import (
	"context"

	"github.com/fustor/fustor/internal/diskcache"
)

// ScanNames is Block.ScanNames for row groups, in order. Of a row group that the cache lacks it reads the keys alone, which are a third, and has
// the cache keep them compressed, where they take an eighth of a block with its keys.
func (l *Layer) ScanNames(ctx context.Context, groups []int, may func(group int, names *CodedNames) bool, scan func(group int, text string, offsets []uint32)) error {
	x, err := l.index(ctx)
	if err != nil {
		return err
	}
	blocks := make([]*Block, len(groups))
	var missing []cacheKey
	for i, g := range groups {
		if blocks[i] = l.cache.peek(l.cacheKey(g)); blocks[i] == nil && x.groups[g].namesApart() {
			missing = append(missing, l.namesKey(g))
		}
	}
	read := map[cacheKey]cached{}
	if len(missing) > 0 {
		// What an error leaves out is read with all that belongs to it, below, which says what is wrong where.
		read, _ = l.cache.loadMany(ctx, missing, func(ctx context.Context, keys []cacheKey) (map[cacheKey]cached, error) {
			return l.readNames(ctx, x, keys)
		})
	}
	for i, g := range groups {
		scanGroup := func(text string, offsets []uint32) { scan(g, text, offsets) }
		mayBe := func(names *CodedNames) bool { return may(g, names) }
		if held := read[l.namesKey(g)].page; held != nil {
			chunk, err := parseNames(held, x.groups[g].Rows)
			if err == nil {
				err = scanNames(held, chunk, mayBe, scanGroup)
			}
			if err == nil {
				continue
			}
		}
		if blocks[i] == nil {
			found, err := l.blocks(ctx, groups[i:i+1])
			if err != nil {
				return err
			}
			blocks[i] = found[0]
		}
		if err := blocks[i].ScanNames(mayBe, scanGroup); err != nil {
			return err
		}
	}
	return nil
}

// namesApart reports whether the names can be had without the rest of the row group.
func (g *Group) namesApart() bool { return g.Keys > 0 && !g.NotUTF8 }

// namesKey is the cache's key of a row group's keys as they are stored.
func (l *Layer) namesKey(i int) cacheKey {
	k := l.cacheKey(i)
	k.names = true
	return k
}

func (l *Layer) readNames(ctx context.Context, x *index, keys []cacheKey) (map[cacheKey]cached, error) {
	wanted := inOrder(keys)
	extents := make([]byteRange, len(wanted))
	for i, g := range wanted {
		extents[i] = x.groups[g].keysExtent()
	}
	bodies := make([][]byte, len(wanted))
	err := l.readRanges(ctx, diskcache.Names, extents, func(i int, body []byte) error {
		spend(ctx, Cost{Groups: 1})
		if !extents[i].valid(body) {
			return errChunk
		}
		bodies[i] = body
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make(map[cacheKey]cached, len(wanted))
	for i, g := range wanted {
		out[l.namesKey(g)] = cached{page: bodies[i]}
	}
	return out, nil
}
