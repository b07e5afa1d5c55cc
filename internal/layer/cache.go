package layer

import (
	"context"
	"math"

	"github.com/maypok86/otter/v2"

	"github.com/fustor/fustor/internal/diskcache"
)

// Cache keeps indexes, pages of search indexes and decoded row groups of any number of layers, up to a budget. Readers of the same thing at the
// same time wait for one read. It is safe for concurrent use; one Cache belongs to one store.
type Cache struct {
	entries *otter.Cache[cacheKey, cached]
	budget  int64            // bytes
	disk    *diskcache.Cache // what of the store is at hand; nil: nothing
}

type cacheKey struct {
	view, id string
	group    int  // -1 is the index, -2-i page i of the search index
	names    bool // its keys alone, as they are stored
}

// cached is one of them.
type cached struct {
	index *index
	block *Block
	page  []byte // of the search index, or the keys of a row group; compressed
}

// NewCache makes a cache of about that many bytes. What a row group weighs follows the columns that were decoded.
func NewCache(budgetBytes int64) *Cache { return NewCacheOn(nil, budgetBytes) }

// NewCacheOn is NewCache with a cache on disk beneath it, for what questions read: indexes, names, and row groups one by one. What is read to
// be streamed or copied does not go there.
func NewCacheOn(disk *diskcache.Cache, budgetBytes int64) *Cache {
	return &Cache{disk: disk, budget: budgetBytes, entries: otter.Must(&otter.Options[cacheKey, cached]{
		MaximumWeight: uint64(max(1, budgetBytes)),
		Weigher:       func(_ cacheKey, v cached) uint32 { return uint32(min(v.bytes(), math.MaxUint32)) },
	})}
}

// Bytes is how much the cache holds.
func (c *Cache) Bytes() int64 { return int64(c.entries.WeightedSize()) }

// keyedSize is about how many bytes of memory a byte of a row group with its keys becomes.
const keyedSize = 3

// Spacious reports whether the cache may hold so many bytes of row groups with their keys, and has room for some.
func (c *Cache) Spacious(bytes int64) bool {
	return bytes <= c.budget/keyedSize && c.Bytes() < c.budget/8*7
}

func (v cached) bytes() int64 {
	if v.block != nil {
		return v.block.size.Load()
	}
	if v.index == nil {
		return 128 + int64(len(v.page))
	}
	n := int64(256)
	for i := range v.index.groups {
		g := &v.index.groups[i]
		n += 192 + int64(len(g.First.Parent)+len(g.First.Name)+len(g.Last.Parent)+len(g.Last.Name))
	}
	return n
}

func (c *Cache) load(ctx context.Context, k cacheKey, load func(context.Context) (cached, error)) (cached, error) {
	if v, ok := c.entries.GetIfPresent(k); ok {
		spend(ctx, Cost{Hits: 1})
		return v, nil
	}
	return c.entries.Get(ctx, k, otter.LoaderFunc[cacheKey, cached](func(ctx context.Context, _ cacheKey) (cached, error) {
		v, err := load(ctx)
		if err == nil {
			c.watch(k, v)
		}
		return v, err
	}))
}

// loadMany is load of several at once; load reads those that are missing. Each key is read once, whoever asks for it.
// After an error some are missing.
func (c *Cache) loadMany(ctx context.Context, keys []cacheKey, load func(context.Context, []cacheKey) (map[cacheKey]cached, error)) (map[cacheKey]cached, error) {
	missed := int64(0)
	found, err := c.entries.BulkGet(ctx, keys, otter.BulkLoaderFunc[cacheKey, cached](func(ctx context.Context, missing []cacheKey) (map[cacheKey]cached, error) {
		missed += int64(len(missing))
		out, err := load(ctx, missing)
		if err != nil {
			return nil, err
		}
		for k, v := range out {
			c.watch(k, v)
		}
		return out, nil
	}))
	if err == nil {
		spend(ctx, Cost{Hits: max(0, int64(len(keys))-missed)})
	}
	return found, err
}

// watch has a block's growth weighed.
func (c *Cache) watch(k cacheKey, v cached) {
	if v.block != nil {
		v.block.grown = func(b *Block) { c.reweigh(k, b) }
	}
}

// reweigh notes that a block has grown, if it is still here.
func (c *Cache) reweigh(k cacheKey, b *Block) {
	c.entries.Compute(k, func(old cached, _ bool) (cached, otter.ComputeOp) {
		if old.block != b {
			return old, otter.CancelOp
		}
		return old, otter.WriteOp
	})
}

// block is a block if it is here.
func (c *Cache) block(k cacheKey) *Block {
	v, _ := c.entries.GetIfPresent(k)
	return v.block
}

// peek is block without counting as a use.
func (c *Cache) peek(k cacheKey) *Block {
	e, _ := c.entries.GetEntryQuietly(k)
	return e.Value.block
}

// has reports whether something is here, without counting as a use.
func (c *Cache) has(k cacheKey) bool {
	_, ok := c.entries.GetEntryQuietly(k)
	return ok
}
