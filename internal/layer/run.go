package layer

import (
	"context"
	"sort"
)

// run is one sorted sequence of layers and a position in it: a view's base, or one of its deltas. It is lazy: as long as the
// position's key is all that is needed, its row group is not read.
type run struct {
	layers      []*Layer // in key order, disjoint
	rank        int      // of two rows of a key, the one of the run with the lower rank counts
	base        bool
	skip        func(l *Layer, i int, g *Group) bool // nil: none
	blockSource func(GroupRef) *Block                // nil: all are read
	ahead       readAhead

	done  bool
	key   Key // of the row at the position
	layer int
	group int
	block *Block // nil while not needed; the position is then the first row of the group
	from  *Layer // that block is of
	row   int
}

// seek goes to the first key at or after k. With io false it gives up, and says so, where it would have to read.
func (r *run) seek(ctx context.Context, k Key, io bool) (ok bool, err error) {
	r.layer = sort.Search(len(r.layers), func(i int) bool { return r.layers[i].info.Last.Compare(k) >= 0 })
	if r.layer == len(r.layers) {
		r.done, r.block = true, nil
		return true, nil
	}
	l := r.layers[r.layer]
	if r.skip == nil && l.info.First.Compare(k) >= 0 {
		r.enter(0, l.info.First)
		return true, nil
	}
	x := l.loaded.Load()
	if x == nil {
		if !io {
			return false, nil
		}
		if x, err = l.index(ctx); err != nil {
			return false, err
		}
	}
	g := sort.Search(len(x.groups), func(i int) bool { return x.groups[i].Last.Compare(k) >= 0 })
	if x.groups[g].First.Compare(k) >= 0 || r.skip != nil && r.skip(l, g, &x.groups[g]) {
		r.enter(g, x.groups[g].First)
		return r.skipUnwanted(ctx, io)
	}
	b := r.cachedBlock(g)
	if b == nil {
		if !io {
			return false, nil
		}
		if b, err = l.Block(ctx, g); err != nil {
			return false, err
		}
	}
	if err := b.LoadKeys(); err != nil {
		return false, err
	}
	r.enter(g, Key{})
	r.block, r.from, r.row = b, l, b.Search(k)
	r.key = b.Key(r.row)
	return true, nil
}

func (r *run) cachedBlock(g int) *Block {
	l := r.layers[r.layer]
	if r.block != nil && r.group == g && r.from == l {
		return r.block
	}
	if b := r.sourced(l, g); b != nil {
		return b
	}
	return l.cache.block(l.cacheKey(g))
}

func (r *run) sourced(l *Layer, g int) *Block {
	if r.blockSource == nil {
		return nil
	}
	return r.blockSource(GroupRef{l, g})
}

// enter goes to the first row of a group.
func (r *run) enter(group int, first Key) {
	r.done, r.group, r.block, r.row, r.key = false, group, nil, 0, first
}

// skipUnwanted goes on from a group that is to be skipped to the first one that is not.
func (r *run) skipUnwanted(ctx context.Context, io bool) (ok bool, err error) {
	if r.skip == nil {
		return true, nil
	}
	for ; r.layer < len(r.layers); r.layer, r.group = r.layer+1, 0 {
		l := r.layers[r.layer]
		x := l.loaded.Load()
		if x == nil {
			if !io {
				return false, nil
			}
			if x, err = l.index(ctx); err != nil {
				return false, err
			}
		}
		for ; r.group < len(x.groups); r.group++ {
			if !r.skip(l, r.group, &x.groups[r.group]) {
				r.enter(r.group, x.groups[r.group].First)
				return true, nil
			}
		}
	}
	r.done, r.block = true, nil
	return true, nil
}

// open reads the position's block; one from blockSource may lack its keys.
func (r *run) open(ctx context.Context) error {
	if r.block != nil {
		return nil
	}
	l := r.layers[r.layer]
	if r.block, r.from = r.sourced(l, r.group), l; r.block != nil {
		return nil
	}
	b, err := r.ahead.block(ctx, l, r.group)
	r.block = b
	return err
}

// moveTo goes to another row of the block, or past its end to what follows.
func (r *run) moveTo(ctx context.Context, row int) error {
	if row < r.block.Len() {
		if err := r.block.LoadKeys(); err != nil {
			return err
		}
		r.row, r.key = row, r.block.Key(row)
		return nil
	}
	x, err := r.layers[r.layer].index(ctx)
	if err != nil {
		return err
	}
	switch {
	case r.group+1 < len(x.groups):
		r.enter(r.group+1, x.groups[r.group+1].First)
	case r.layer+1 < len(r.layers):
		r.layer++
		r.enter(0, r.layers[r.layer].info.First)
	default:
		r.done, r.block = true, nil
		return nil
	}
	_, err = r.skipUnwanted(ctx, true)
	return err
}

// before reports whether r's position comes before o's, or has the same key and wins.
func (r *run) before(o *run) bool {
	if c := r.key.Compare(o.key); c != 0 {
		return c < 0
	}
	return r.rank < o.rank
}
