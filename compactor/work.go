package compactor

import (
	"context"
	"errors"
	"time"
)

// Done is what Work did.
type Done struct {
	Segments int  // folded
	Merges   int  // steps of merges
	More     bool // there is more to do
}

// Work folds and merges a view until nothing is left to do, or until less than margin is left before the deadline of
// ctx, and says whether there is more: whoever is called again then goes on where it ended. A step of a merge takes
// no further rows once only margin is left; margin is what it takes to write and publish a layer of a partition, or to
// fold a batch. A job that is under way when the deadline comes publishes nothing. Without a deadline it does all.
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
		stop := time.Now().Add(jobLimit / 4 * 3)
		if bounded && end.Add(-margin).Before(stop) {
			stop = end.Add(-margin)
		}
		jobCtx, cancel := context.WithTimeout(ctx, jobLimit)
		merged, err := c.mergeUntil(jobCtx, view, stop)
		cancel()
		if err != nil {
			return over(err)
		}
		if merged {
			done.Merges++
		}
		if n == 0 && !merged {
			return done, nil
		}
	}
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
