package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// cost is what one call took, for the answer's Fustor-Cost header. Reads that calls share are charged to the first.
type cost struct {
	started time.Time
	gets    atomic.Int64
	bytes   atomic.Int64
}

type costKey struct{}

func withCost(ctx context.Context, started time.Time) (context.Context, *cost) {
	c := &cost{started: started}
	return context.WithValue(ctx, costKey{}, c), c
}

// write sets the header: what was read from the store until now, and the milliseconds that it took.
func (c *cost) write(h http.Header, now time.Time) {
	ms := float64(now.Sub(c.started).Microseconds()) / 1000
	h.Set("Fustor-Cost", fmt.Sprintf("gets=%d, bytes=%d, ms=%.3f", c.gets.Load(), c.bytes.Load(), ms))
}

// metered is the store as the handlers see it: it charges reads to the call in the context, and learns how far this
// machine's clock is from the store's.
type metered struct {
	store.Store
	clock *storeClock
}

func (m metered) Get(ctx context.Context, key string) (store.Object, error) {
	o, err := m.Store.Get(ctx, key)
	m.note(ctx, o.Meta, len(o.Body), err)
	return o, err
}

func (m metered) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	o, err := m.Store.GetIfChanged(ctx, key, etag)
	m.note(ctx, o.Meta, len(o.Body), err)
	return o, err
}

func (m metered) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	b, err := m.Store.GetRange(ctx, key, off, n)
	m.note(ctx, store.Meta{}, len(b), err)
	return b, err
}

func (m metered) note(ctx context.Context, meta store.Meta, n int, err error) {
	if c, ok := ctx.Value(costKey{}).(*cost); ok {
		c.gets.Add(1)
		c.bytes.Add(int64(n))
	}
	if (err == nil || errors.Is(err, store.ErrNotModified)) && !meta.Date.IsZero() {
		m.clock.learn(meta.Date)
	}
}

// storeClock tells the store's time: this machine's, put right by the Date of the store's answers where the two are
// further apart than Dates, which are whole seconds, and latencies explain.
type storeClock struct {
	now    func() time.Time
	offset atomic.Int64 // ns
}

const clockTolerance = 2 * time.Second

func (c *storeClock) learn(date time.Time) {
	offset := date.Sub(c.now())
	if offset.Abs() <= clockTolerance {
		offset = 0
	}
	c.offset.Store(int64(offset))
}

// nowNs is the store's time, ns.
func (c *storeClock) nowNs() int64 { return c.now().UnixNano() + c.offset.Load() }

// costWriter sets the header before the answer begins.
type costWriter struct {
	http.ResponseWriter
	cost    *cost
	now     func() time.Time
	written bool
}

func (w *costWriter) WriteHeader(status int) {
	if !w.written {
		w.written = true
		w.cost.write(w.Header(), w.now())
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *costWriter) Write(b []byte) (int, error) {
	if !w.written {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap serves http.ResponseController and the frame.
func (w *costWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
