package compactor

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"
)

// A process has one Memory and any number of views. What they do at once is bounded by turns, which are given in the order in which they
// were asked for, so that a view which always has much to do delays the others by one of its turns and no more:
//
//	small folds   smallFolds at once, of a sixteenth of a batch each
//	large folds   one at once, of a batch
//	merges        one at once for each 256 MiB, of one view as many as there are processors
//
// A view begins with small folds. One that finds more gives up what it has read, and waits for a large one.
const (
	smallFolds = 4
	smallShare = 16
	mergeBytes = 256 << 20
)

// turns are those of one process.
type turns struct {
	small, large, merges *semaphore.Weighted
	// mergesAtOnce is how many merges there may be.
	mergesAtOnce int

	mu      sync.Mutex
	isLarge map[string]bool // views whose last fold was large
}

func newTurns(memory int64) *turns {
	merges := max(1, memory/mergeBytes)
	return &turns{
		small: semaphore.NewWeighted(smallFolds), large: semaphore.NewWeighted(1), merges: semaphore.NewWeighted(merges),
		mergesAtOnce: int(min(merges, int64(runtime.GOMAXPROCS(0)))),
		isLarge:      map[string]bool{},
	}
}

// turn is one fold's: how much it may take, and what it has to give back.
type turn struct {
	large  bool
	claims int   // names of its batch
	bytes  int64 // of a segment that is read with others
	of     *semaphore.Weighted
	held   bool
}

// errLarge: there is more to fold than a small fold takes.
var errLarge = errors.New("more than a small fold takes")

// turn is that of the view's next fold. It is not begun.
func (c *Compactor) turn(view string) *turn {
	c.turns.mu.Lock()
	defer c.turns.mu.Unlock()
	if c.turns.isLarge[view] {
		return &turn{large: true, claims: c.o.BatchClaims, bytes: c.o.Memory / 64, of: c.turns.large}
	}
	return &turn{claims: max(1, c.o.BatchClaims/smallShare), bytes: c.o.Memory / 1024, of: c.turns.small}
}

// found notes how much a view had to fold, for its next turn.
func (c *Compactor) found(view string, large bool) {
	c.turns.mu.Lock()
	defer c.turns.mu.Unlock()
	if large {
		c.turns.isLarge[view] = true
	} else {
		delete(c.turns.isLarge, view)
	}
}

// begin waits until it is the fold's turn.
func (t *turn) begin(ctx context.Context) error {
	if t.held {
		return nil
	}
	if err := t.of.Acquire(ctx, 1); err != nil {
		return err
	}
	t.held = true
	return nil
}

func (t *turn) end() {
	if t.held {
		t.of.Release(1)
		t.held = false
	}
}
