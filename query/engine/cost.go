package engine

import (
	"context"
	"sync/atomic"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/store"
)

// Cost counts what the answer to one question reads. A read that several questions wait for is charged to the first of them.
type Cost struct {
	gets    atomic.Int64
	bytes   atomic.Int64
	rows    atomic.Int64
	skipped atomic.Int64
	layers  layer.Meter
}

// Figures are a Cost at one time.
type Figures struct {
	Gets, Bytes   int64 // of the store
	Rows          int64 // rows examined
	GroupsRead    int64 // row groups read
	GroupsSkipped int64 // row groups that indexes ruled out, unread
	CacheHits     int64
}

type costKey struct{}

// WithCost returns a context whose questions are charged to the Cost: that of ctx, if it has one.
func WithCost(ctx context.Context) (context.Context, *Cost) {
	if c, charged := ctx.Value(costKey{}).(*Cost); charged {
		return ctx, c
	}
	c := &Cost{}
	return layer.WithMeter(context.WithValue(ctx, costKey{}, c), &c.layers), c
}

// Figures are the cost until now.
func (c *Cost) Figures() Figures {
	l := c.layers.Cost()
	return Figures{Gets: c.gets.Load(), Bytes: c.bytes.Load(), Rows: c.rows.Load(), GroupsRead: l.Groups, GroupsSkipped: c.skipped.Load(), CacheHits: l.Hits}
}

// costOf is the cost that a context charges; one that is thrown away if it charges none.
func costOf(ctx context.Context) *Cost {
	if c, ok := ctx.Value(costKey{}).(*Cost); ok {
		return c
	}
	return &Cost{}
}

// metered is the store as the engine sees it: it charges reads to the question in the context.
type metered struct{ store.Store }

func (m metered) Get(ctx context.Context, key string) (store.Object, error) {
	o, err := m.Store.Get(ctx, key)
	m.charge(ctx, len(o.Body))
	return o, err
}

func (m metered) GetUpTo(ctx context.Context, key string, most int64) (store.Object, error) {
	o, err := m.Store.GetUpTo(ctx, key, most)
	m.charge(ctx, len(o.Body))
	return o, err
}

func (m metered) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	o, err := m.Store.GetIfChanged(ctx, key, etag)
	m.charge(ctx, len(o.Body))
	return o, err
}

func (m metered) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	b, err := m.Store.GetRange(ctx, key, off, n)
	m.charge(ctx, len(b))
	return b, err
}

func (metered) charge(ctx context.Context, n int) {
	if c, ok := ctx.Value(costKey{}).(*Cost); ok {
		c.gets.Add(1)
		c.bytes.Add(int64(n))
	}
}
