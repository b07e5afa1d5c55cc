// Package sessiontest gives tests a store whose clock is theirs, so that time-outs are waited for by turning a hand and
// not by sleeping. It changes only what a store says of time; the objects and their races are those of the store below.
package sessiontest

import (
	"context"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// Clock is a clock that only goes when told to.
type Clock struct {
	mu sync.Mutex
	t  time.Time
}

// NewClock shows start, or a fixed time if it is zero.
func NewClock(start time.Time) *Clock {
	if start.IsZero() {
		start = time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC)
	}
	return &Clock{t: start}
}

// Now is what the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// Advance turns the hand.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// Store is a store whose Date and LastModified are those of a Clock, cut to a resolution as S3 does.
type Store struct {
	store.Store
	clock      *Clock
	resolution time.Duration
	onWrite    func(key string, old, written []byte, age time.Duration)

	mu       sync.Mutex
	modified map[string]time.Time
}

// New wraps inner. OnWrite, if not nil, sees every successful Create and Replace in their true order: the body before,
// nil if none, the body after, and how old the body before was.
func New(inner store.Store, clock *Clock, resolution time.Duration, onWrite func(key string, old, written []byte, age time.Duration)) *Store {
	return &Store{Store: inner, clock: clock, resolution: resolution, onWrite: onWrite, modified: map[string]time.Time{}}
}

// Unwrap returns the store below.
func (s *Store) Unwrap() store.Store { return s.Store }

func (s *Store) stamp(m store.Meta, key string) store.Meta {
	m.Date = s.clock.Now().Truncate(s.resolution)
	m.LastModified = s.modified[key].Truncate(s.resolution)
	return m
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object, err := s.Store.Get(ctx, key)
	object.Meta = s.stamp(object.Meta, key)
	return object, err
}

// GetUpTo implements store.Store.
func (s *Store) GetUpTo(ctx context.Context, key string, most int64) (store.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object, err := s.Store.GetUpTo(ctx, key, most)
	object.Meta = s.stamp(object.Meta, key)
	return object, err
}

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	return s.write(ctx, key, body, func() (store.Meta, error) { return s.Store.Create(ctx, key, body) })
}

// Replace implements store.Store.
func (s *Store) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	return s.write(ctx, key, body, func() (store.Meta, error) { return s.Store.Replace(ctx, key, body, etag) })
}

func (s *Store) write(ctx context.Context, key string, body []byte, do func() (store.Meta, error)) (store.Meta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var old store.Object
	if s.onWrite != nil {
		old, _ = s.Store.Get(ctx, key) // none before a Create
	}
	meta, err := do()
	if err != nil {
		return store.Meta{Date: s.clock.Now().Truncate(s.resolution)}, err
	}
	if s.onWrite != nil {
		s.onWrite(key, old.Body, body, s.clock.Now().Sub(s.modified[key]))
	}
	s.modified[key] = s.clock.Now()
	return s.stamp(meta, key), nil
}
