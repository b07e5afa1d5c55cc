package scan

import (
	"context"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/sleep"
)

// Rate bounds how many entries are looked at in a second, by all the scans that share it. It evens them out: no more than a
// tenth of a second's worth comes at once, a directory of few entries counts by its entries, and waiting scans take turns.
type Rate struct {
	each time.Duration // an entry

	mu   sync.Mutex
	next time.Time // when all entries so far have had their time
}

// rateBurst is how far ahead of its time an entry may be looked at.
const rateBurst = 100 * time.Millisecond

// NewRate allows so many entries a second; nil where that is 0: no bound.
func NewRate(perSecond int) *Rate {
	if perSecond <= 0 {
		return nil
	}
	return &Rate{each: max(1, time.Second/time.Duration(perSecond))}
}

// Wait waits until so many entries more may be looked at.
func (r *Rate) Wait(ctx context.Context, entries int) error {
	r.mu.Lock()
	now := time.Now()
	if r.next.Before(now) {
		r.next = now
	}
	wait := r.next.Sub(now) - rateBurst
	r.next = r.next.Add(time.Duration(entries) * r.each)
	r.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	return sleep.For(ctx, wait)
}
