package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// heads is a cache of the heads of views. A head that was checked within ttl is taken from memory. An older one is checked by its
// ETag, with one request however many calls wait for it.
type heads struct {
	store   store.Store
	ttl     time.Duration
	now     func() time.Time
	flights singleflight.Group

	mu     sync.Mutex
	known  map[string]cachedHead
	bytes  int64 // of those known, about
	budget int64
	// invalidated counts the calls of invalidate. A request that began before such a call does not count as a check.
	invalidated uint64
	// waiting are closed when the head of a view is another, or may be.
	waiting map[string]chan struct{}
}

type cachedHead struct {
	manifest *manifest.Manifest
	bytes    int64 // about
	etag     string
	checked  time.Time
}

// newHeads returns a cache of about budget bytes. Beyond that it drops heads in no order.
func newHeads(st store.Store, ttl time.Duration, now func() time.Time, budget int64) *heads {
	return &heads{store: st, ttl: ttl, now: now, budget: budget, known: map[string]cachedHead{}, waiting: map[string]chan struct{}{}}
}

// current is the view's newest version. manifest.ErrNoHead where it has none.
func (h *heads) current(ctx context.Context, view string) (*manifest.Manifest, error) {
	return h.within(ctx, view, h.ttl)
}

// within is the view's newest version, as of age ago or later; of a cache that takes nothing from memory, as of now.
func (h *heads) within(ctx context.Context, view string, age time.Duration) (*manifest.Manifest, error) {
	if s, ok := h.get(view); ok && h.ttl >= 0 && h.now().Sub(s.checked) < age {
		return s.manifest, nil
	}
	flight := h.flights.DoChan(view, func() (any, error) {
		// The request serves all calls that wait for it, so it does not end with the call that began it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), headTimeout)
		defer cancel()
		return h.revalidate(ctx, view)
	})
	select {
	case r := <-flight:
		m, _ := r.Val.(*manifest.Manifest)
		return m, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const headTimeout = 30 * time.Second

func (h *heads) revalidate(ctx context.Context, view string) (*manifest.Manifest, error) {
	h.mu.Lock()
	old, invalidated := h.known[view], h.invalidated
	h.mu.Unlock()
	checked := h.now() // before the request, as its answer may be as old as its beginning
	m, etag, err := manifest.LoadRootIfChanged(ctx, h.store, view, old.etag)
	switch {
	case errors.Is(err, store.ErrNotModified):
		m, etag = old.manifest, old.etag
	case err != nil:
		h.drop(view)
		return nil, err
	}
	if err := m.Follows(old.manifest); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget(view)
	n := m.Memory()
	for v := range h.known {
		if h.bytes+n <= h.budget {
			break
		}
		h.forget(v)
	}
	h.bytes += n
	if h.invalidated != invalidated {
		checked = time.Time{}
	}
	h.known[view] = cachedHead{m, n, etag, checked}
	if m != old.manifest {
		h.wake(view)
	}
	return m, nil
}

// news is closed when the head of a view is another than now, or may be.
func (h *heads) news(view string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.waiting[view]
	if c == nil {
		c = make(chan struct{})
		h.waiting[view] = c
	}
	return c
}

// wake wakes those who wait for news of a view, under the lock.
func (h *heads) wake(view string) {
	if c := h.waiting[view]; c != nil {
		close(c)
		delete(h.waiting, view)
	}
}

func (h *heads) get(view string) (cachedHead, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.known[view]
	return s, ok
}

func (h *heads) drop(view string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget(view)
}

// forget drops a head, under the lock.
func (h *heads) forget(view string) {
	h.bytes -= h.known[view].bytes
	delete(h.known, view)
}

// invalidate makes the next call ask the store.
func (h *heads) invalidate(view string) {
	h.flights.Forget(view)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.invalidated++
	h.wake(view)
	if s, ok := h.known[view]; ok {
		s.checked = time.Time{}
		h.known[view] = s
	}
}
