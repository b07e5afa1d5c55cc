package engine

import (
	"sync"
	"time"
)

const (
	// forestTTL is how long it is remembered that a view is a forest, and which members its settings name.
	forestTTL = 15 * time.Second
	// maxForests bounds the forests in memory.
	maxForests = 4096
)

// forests remembers which views are forests, so that a question to one does not begin with a read of the head that it does not have.
type forests struct {
	now func() time.Time

	mu    sync.Mutex
	known map[string]cachedForest
}

type cachedForest struct {
	forest *ForestError
	read   time.Time
}

// get is a forest that was read within forestTTL; nil for every other view.
func (f *forests) get(view string) *ForestError {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.known[view]; ok && f.now().Sub(c.read) < forestTTL {
		return c.forest
	}
	return nil
}

// add remembers a forest, and returns it.
func (f *forests) add(forest *ForestError) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) >= maxForests {
		clear(f.known)
	}
	f.known[forest.View] = cachedForest{forest, f.now()}
	return forest
}

func (f *forests) forget(view string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, view)
}
