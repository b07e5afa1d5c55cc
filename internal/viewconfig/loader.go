package viewconfig

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// KnownFor is how long a configuration is used before the store is asked whether it changed.
const KnownFor = time.Minute

// maxCached bounds the cache; beyond it, all of it is forgotten.
const maxCached = 10_000

// Loader reads configurations and keeps them for a minute. It is safe for concurrent use.
type Loader struct {
	store store.Store
	now   func() time.Time

	mu    sync.Mutex
	known map[string]loaded
}

type loaded struct {
	config Config
	etag   string // empty: there is no object
	until  time.Time
}

// NewLoader returns a Loader; now may be nil for time.Now.
func NewLoader(s store.Store, now func() time.Time) *Loader {
	if now == nil {
		now = time.Now
	}
	return &Loader{store: s, now: now, known: map[string]loaded{}}
}

// Load returns the configuration of view, or Default if it has none. A damaged one is an error that names the object.
func (l *Loader) Load(ctx context.Context, view string) (Config, error) {
	l.mu.Lock()
	have, ok := l.known[view]
	l.mu.Unlock()
	if ok && l.now().Before(have.until) {
		return have.config, nil
	}
	fresh, err := l.fetch(ctx, view, have)
	if err != nil {
		return Config{}, fmt.Errorf("load configuration of view %s: %w", view, err)
	}
	fresh.until = l.now().Add(KnownFor)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxCached {
		clear(l.known)
	}
	l.known[view] = fresh
	return fresh.config, nil
}

// Forget has the next Load of view ask the store.
func (l *Loader) Forget(view string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, view)
}

func (l *Loader) fetch(ctx context.Context, view string, have loaded) (loaded, error) {
	key := layout.ViewConfig(view)
	var object store.Object
	var err error
	if have.etag != "" {
		object, err = l.store.GetIfChanged(ctx, key, have.etag)
	} else {
		object, err = l.store.Get(ctx, key)
	}
	switch {
	case errors.Is(err, store.ErrNotModified):
		return have, nil
	case errors.Is(err, store.ErrNotFound):
		return loaded{config: Default(view)}, nil
	case err != nil:
		return loaded{}, err
	}
	config, err := Decode(key, view, object.Body)
	return loaded{config: config, etag: object.ETag}, err
}

// Save makes c the configuration of its view, whatever was there.
func Save(ctx context.Context, s store.Store, c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	body, err := c.Encode()
	if err != nil {
		return err
	}
	if _, err := s.Put(ctx, layout.ViewConfig(c.View), body); err != nil {
		return fmt.Errorf("save configuration of view %s: %w", c.View, err)
	}
	return nil
}
