// Package sleep waits for a time, but no longer than a context lasts. It is the one home of that; everything that waits between tries
// or keeps a rate calls it.
package sleep

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends: then it returns ctx's error.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
