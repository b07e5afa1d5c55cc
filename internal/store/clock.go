package store

import (
	"context"
	"sync"
	"time"
)

// Clock tells the store's time from the local clock and the offset between the two, which it measures on every
// answer of the store.
//
// An answer that was asked for at local time a and had come at b, and says that the store's clock showed D, proves that
// store - local is within (D - b, D + r - a), where r is the resolution of D: one second on S3, whose Date has whole
// seconds. The intersection of what many answers prove is much narrower than a second; it is widened as it ages, since
// clocks drift, and given up for the newest answer where they contradict (a clock was set). Time never runs backwards,
// but for a correction of more than maxHeld. Safe for concurrent use.
type Clock struct {
	now func() time.Time

	mu        sync.Mutex
	known     bool
	low, high int64 // bounds of store - local, ns
	at        int64 // local time of the newest answer, ns; 0: the local clock may have been set since
	last      int64 // what Now returned last
}

const (
	drift   = 5000             // one part in so many is how fast the bounds widen
	maxSpan = 15 * time.Second // of what one answer leaves open
	maxAge  = 5 * time.Second  // of the last answer, for Measured
	maxHeld = 10 * time.Second // how far back the time may be corrected by standing still
)

// NewClock returns a clock that knows nothing yet and so shows local time.
func NewClock(now func() time.Time) *Clock { return &Clock{now: now} }

// Observe takes in that the store's clock showed date in an answer to a request sent and answered at these local times.
func (c *Clock) Observe(date, sent, answered time.Time) {
	if date.IsZero() {
		return
	}
	resolution := int64(1)
	if date.Nanosecond() == 0 {
		resolution = int64(time.Second)
	}
	// Wall time throughout: the monotonic clock stands still while a machine sleeps.
	at := answered.UnixNano()
	low, high := date.UnixNano()-at, date.UnixNano()+resolution-sent.UnixNano()
	c.mu.Lock()
	defer c.mu.Unlock()
	if high < low || high-low > int64(maxSpan) { // the local clock was set meanwhile, or the answer took too long to tell
		c.at = 0
		return
	}
	if c.known {
		widen := max(0, at-c.at) / drift
		if l, h := max(low, c.low-widen), min(high, c.high+widen); l <= h {
			low, high, at = l, h, max(at, c.at)
		}
	}
	c.known, c.low, c.high, c.at = true, low, high, at
}

// Now is the store's time, ns since 1970.
func (c *Clock) Now() int64 {
	local := c.now().UnixNano()
	c.mu.Lock()
	defer c.mu.Unlock()
	t := local + c.low + (c.high-c.low)/2
	if t < c.last && c.last-t < int64(maxHeld) {
		return c.last
	}
	c.last = t
	return t
}

// Measured is Now if the store has answered within the last seconds, otherwise 0: before its first answer, and after the
// local clock was set, Now may be hours off.
func (c *Clock) Measured() int64 {
	local := c.now().UnixNano()
	c.mu.Lock()
	fresh := c.known && local >= c.at-int64(maxAge) && local-c.at <= int64(maxAge)
	c.mu.Unlock()
	if !fresh {
		return 0
	}
	return c.Now()
}

// Watch returns s with every answer observed by the clock.
func (c *Clock) Watch(s Store) Store { return &watched{Store: s, clock: c} }

type watched struct {
	Store
	clock *Clock
}

// Unwrap returns the store that is watched.
func (w *watched) Unwrap() Store { return w.Store }

func (w *watched) Get(ctx context.Context, key string) (Object, error) {
	sent := w.clock.now()
	object, err := w.Store.Get(ctx, key)
	w.clock.Observe(object.Date, sent, w.clock.now())
	return object, err
}

func (w *watched) GetIfChanged(ctx context.Context, key, etag string) (Object, error) {
	sent := w.clock.now()
	object, err := w.Store.GetIfChanged(ctx, key, etag)
	w.clock.Observe(object.Date, sent, w.clock.now())
	return object, err
}

func (w *watched) Put(ctx context.Context, key string, body []byte) (Meta, error) {
	sent := w.clock.now()
	meta, err := w.Store.Put(ctx, key, body)
	w.clock.Observe(meta.Date, sent, w.clock.now())
	return meta, err
}

func (w *watched) Create(ctx context.Context, key string, body []byte) (Meta, error) {
	sent := w.clock.now()
	meta, err := w.Store.Create(ctx, key, body)
	w.clock.Observe(meta.Date, sent, w.clock.now())
	return meta, err
}

func (w *watched) Replace(ctx context.Context, key string, body []byte, etag string) (Meta, error) {
	sent := w.clock.now()
	meta, err := w.Store.Replace(ctx, key, body, etag)
	w.clock.Observe(meta.Date, sent, w.clock.now())
	return meta, err
}

func (w *watched) List(ctx context.Context, prefix, after string, limit int) (Page, error) {
	sent := w.clock.now()
	page, err := w.Store.List(ctx, prefix, after, limit)
	w.clock.Observe(page.Date, sent, w.clock.now())
	return page, err
}
