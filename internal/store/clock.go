package store

import (
	"context"
	"sync"
	"time"
)

// Offset is how far another clock is from the local one, as its answers prove. All times are ns. The zero Offset knows nothing.
//
// An answer that was asked for at local time a and had come at b, and says that the other clock showed D, proves that
// other - local is within (D - b, D + r - a), where r is the resolution of D. The intersection of what many answers prove is
// much narrower than one of them. For example, an answer that took 7 s proves the offset to 7 s; after one that took 10 ms it
// proves nothing new, and changes nothing. The bounds are widened as they age, since clocks drift, and given up for the newest
// answer where the two contradict (a clock was set).
type Offset struct {
	known     bool
	low, high int64
	at        int64 // local time of the newest answer
	doubted   bool
}

// drift: one part in so many is how fast the bounds widen.
const drift = 5000

// Observe takes in an answer to a request sent and answered at these local times: the other clock showed so much, by this
// resolution.
func (o *Offset) Observe(shown, resolution, sent, answered int64) {
	low, high, at := shown-answered, shown+resolution-sent, answered
	if o.known && !o.doubted {
		widen := max(0, at-o.at) / drift
		if l, h := max(low, o.low-widen), min(high, o.high+widen); l <= h {
			low, high, at = l, h, max(at, o.at)
		}
	}
	o.known, o.doubted, o.low, o.high, o.at = true, false, low, high, at
}

// Doubt says that one of the clocks may have been set since the newest answer: the next one alone counts.
func (o *Offset) Doubt() { o.doubted = true }

// Known reports whether there was an answer.
func (o *Offset) Known() bool { return o.known }

// Value is the middle of the bounds; 0 where nothing is known.
func (o *Offset) Value() int64 { return o.low + (o.high-o.low)/2 }

// Clock tells the store's time from the local clock and the Offset between the two, which it measures on every answer of the
// store. The resolution is one second on S3, whose Date has whole seconds. Time never runs backwards, but for a correction of
// more than maxHeld. Safe for concurrent use.
type Clock struct {
	now func() time.Time

	mu     sync.Mutex
	offset Offset
	last   int64 // what Now returned last
}

const (
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
	span := at - sent.UnixNano() + resolution // of what the answer leaves open
	c.mu.Lock()
	defer c.mu.Unlock()
	if span < 0 || span > int64(maxSpan) { // the local clock was set meanwhile, or the answer took too long to tell
		c.offset.Doubt()
		return
	}
	c.offset.Observe(date.UnixNano(), resolution, sent.UnixNano(), at)
}

// Now is the store's time, ns since 1970.
func (c *Clock) Now() int64 {
	local := c.now().UnixNano()
	c.mu.Lock()
	defer c.mu.Unlock()
	t := local + c.offset.Value()
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
	at := c.offset.at
	fresh := c.offset.known && !c.offset.doubted && local >= at-int64(maxAge) && local-at <= int64(maxAge)
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

func (w *watched) GetUpTo(ctx context.Context, key string, most int64) (Object, error) {
	sent := w.clock.now()
	object, err := w.Store.GetUpTo(ctx, key, most)
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
