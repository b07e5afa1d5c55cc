package layer

import (
	"context"
	"sync/atomic"
)

// Cost is what reading took from the store. What came from a Cache costs nothing but is counted.
type Cost struct {
	Gets   int64 `json:"gets"`   // requests
	Bytes  int64 `json:"bytes"`  // of their answers
	Groups int64 `json:"groups"` // row groups among them
	Hits   int64 `json:"hits"`   // indexes, pages of search indexes and row groups that a Cache had
}

// Meter adds up the cost of everything that is read under its context. It is safe for concurrent use.
type Meter struct{ gets, bytes, groups, hits atomic.Int64 }

// Cost is the sum so far.
func (m *Meter) Cost() Cost {
	return Cost{m.gets.Load(), m.bytes.Load(), m.groups.Load(), m.hits.Load()}
}

type meterKey struct{}

// WithMeter has all reading under the context counted by m. A read that several contexts wait for is counted by the
// one that started it.
func WithMeter(ctx context.Context, m *Meter) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

func spend(ctx context.Context, c Cost) {
	if m, ok := ctx.Value(meterKey{}).(*Meter); ok {
		m.gets.Add(c.Gets)
		m.bytes.Add(c.Bytes)
		m.groups.Add(c.Groups)
		m.hits.Add(c.Hits)
	}
}
