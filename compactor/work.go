package compactor

import (
	"context"
	"errors"
	"time"
)

// maxHalvings leaves a step of a merge a thousandth of the time at least. However little that is, it takes some rows.
const maxHalvings = 10

// Done is what Work did.
type Done struct {
	Segments int  // folded
	Merges   int  // steps of merges
	More     bool // there is more to do
}

// Work folds and merges a view until nothing is left to do, or until less than margin is left before the deadline of
// ctx, and says whether there is more: whoever is called again then goes on where it ended. A step of a merge takes
// no further rows once only margin is left; margin is what it takes to write and publish a layer of a partition, or to
// fold a batch. A job that is under way when the deadline comes publishes nothing; a merge is then begun again with half
// the time for its rows, so that it comes to an end however slow the store is. Without a deadline it does all.
func (c *Compactor) Work(ctx context.Context, view string, margin time.Duration) (Done, error) {
	done := Done{}
	end, bounded := ctx.Deadline()
	left := func() bool { return !bounded || time.Until(end) > margin }
	over := func(err error) (Done, error) {
		if bounded && errors.Is(err, context.DeadlineExceeded) {
			done.More = true
			return done, nil
		}
		return done, err
	}
	for {
		if !left() {
			done.More = true
			return done, nil
		}
		n, err := c.Fold(ctx, view)
		if err != nil {
			return over(err)
		}
		done.Segments += n
		if !left() {
			done.More = true
			return done, nil
		}
		forRows := c.o.JobLimit / 4 * 3
		if bounded {
			forRows = min(forRows, time.Until(end)-margin)
		}
		jobCtx, cancel := context.WithTimeout(ctx, c.o.JobLimit)
		merged, err := c.mergeUntil(jobCtx, view, time.Now().Add(c.timeForRows(view, forRows)))
		cancel()
		if err != nil {
			if bounded && errors.Is(err, context.DeadlineExceeded) {
				c.countCutOff(view)
			}
			return over(err)
		}
		if merged {
			done.Merges++
		}
		if n == 0 && !merged {
			c.forgetCutOffs(view)
			return done, nil
		}
	}
}

// timeForRows is the time that a step of a merge may take rows for: half of what there is for each one of the view that was
// cut off before it could be published.
func (c *Compactor) timeForRows(view string, whole time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return whole >> c.cutOff[view]
}

func (c *Compactor) countCutOff(view string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutOff[view] = min(c.cutOff[view]+1, maxHalvings)
}

// forgetCutOffs forgets what was cut off, as all of the view is done.
func (c *Compactor) forgetCutOffs(view string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cutOff, view)
}

// Once folds and merges until nothing is left to do, and reports how many segments it folded.
func (c *Compactor) Once(ctx context.Context, view string) (segments int, err error) {
	for {
		n, err := c.Fold(ctx, view)
		if err != nil {
			return segments, err
		}
		segments += n
		merged, err := c.Merge(ctx, view)
		if err != nil {
			return segments, err
		}
		if n == 0 && !merged {
			return segments, nil
		}
	}
}
