package compactor

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// For who has a view only for a while, as a function has: work in steps that each commit, and none begun that would not end
// in time.

const (
	// leastStep is the time below which no step is begun: a few requests to the store.
	leastStep = time.Second
	// wholeShare is the share of the time there is that a step gets at least, however long it took before. Without it,
	// one that was cut off once would never be tried again.
	wholeShare = 0.8
)

// Worked is what Work has done.
type Worked struct {
	Segments int // folded
	Merges   int
	// Done: nothing was left to do. Otherwise whoever works on the view next goes on from there.
	Done bool
}

// pace is how long the longest steps of a view took. A fold is bounded by its batch, a merge by its layers, so the last
// ones tell of the next.
type pace struct{ fold, merge time.Duration }

// Work folds and merges a view until nothing is left to do or the time before ctx's deadline no longer fits another step.
// Each step commits by itself and none after the deadline; one that the deadline cuts off has changed nothing and is no
// error. A panic is one.
func (c *Compactor) Work(ctx context.Context, view string) (done Worked, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("work on view %s: panic: %v\n%s", view, v, debug.Stack())
		}
	}()
	w := &work{c: c, ctx: ctx, view: view, begun: time.Now(), done: &done}
	for {
		folded, err := w.step(func(p *pace) *time.Duration { return &p.fold }, w.fold)
		if err != nil || !folded {
			return done, err
		}
		before := done
		if fits, err := w.step(func(p *pace) *time.Duration { return &p.merge }, w.merge); err != nil || !fits {
			return done, err
		}
		if w.folded == 0 && before == done {
			done.Done = true
			return done, nil
		}
	}
}

// work is one call of Work.
type work struct {
	c      *Compactor
	ctx    context.Context
	view   string
	begun  time.Time
	folded int // by the last fold
	done   *Worked
}

// step does one step if it fits, and remembers how long it took. It reports whether the step came to its end.
func (w *work) step(longest func(*pace) *time.Duration, do func() error) (bool, error) {
	w.c.mu.Lock()
	p := w.c.paces[w.view]
	w.c.mu.Unlock()
	if !w.fits(*longest(&p)) {
		return false, nil
	}
	began := time.Now()
	err := do()
	w.c.mu.Lock()
	p = w.c.paces[w.view]
	took := longest(&p)
	*took = max(*took, time.Since(began))
	w.c.paces[w.view] = p
	w.c.mu.Unlock()
	if err != nil && w.ctx.Err() != nil {
		return false, nil // cut off; what was written without a commit is left to retention
	}
	return err == nil, err
}

func (w *work) fold() (err error) {
	w.folded, err = w.c.Fold(w.ctx, w.view)
	w.done.Segments += w.folded
	return err
}

func (w *work) merge() error {
	merged, err := w.c.Merge(w.ctx, w.view)
	if merged {
		w.done.Merges++
	}
	return err
}

// fits reports whether a step that took so long before will end before the deadline.
func (w *work) fits(took time.Duration) bool {
	deadline, ok := w.ctx.Deadline()
	if !ok {
		return w.ctx.Err() == nil
	}
	left, whole := time.Until(deadline), deadline.Sub(w.begun)
	return left > leastStep && left >= min(2*took, time.Duration(wholeShare*float64(whole)))
}

// Tend looks after a view that is at rest: sessions that have ended and are folded to their end leave the roster, and
// objects that no version needs are removed, the latter at most four times in a grace and only once for each version.
// What ctx cuts off is done the next time.
func (c *Compactor) Tend(ctx context.Context, view string) error {
	if err := c.tend(ctx, view); err != nil {
		return fmt.Errorf("tend view %s: %w", view, err)
	}
	return nil
}
