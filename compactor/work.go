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
// ctx, and says whether there is more: whoever is called again then goes on where it ended. margin is what it takes to
// fold a batch, or to write and publish a layer. A job that is under way when the deadline comes publishes nothing.
// Without a deadline it does all.
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
		merged, err := c.Merge(ctx, view)
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
