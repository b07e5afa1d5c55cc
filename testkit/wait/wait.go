// Package wait is how tests wait for what others do: for a condition, never for a time, and with a deadline that only what
// never happens runs into.
//
// The tests must hold on a machine five times slower than that of whoever wrote them, with other work on all its cores. A
// generous deadline costs nothing where the condition comes. All packages whose tests wait use it.
package wait

import (
	"testing"
	"time"
)

// Limit is the deadline for what takes up to within on an idle machine: ten times as long, but no more than three minutes
// longer, so that a run ends in time where something never comes.
func Limit(within time.Duration) time.Duration {
	return min(10*within, within+3*time.Minute)
}

// For waits until done says so, and fails the test if that takes longer than Limit(within).
func For(t testing.TB, within time.Duration, what string, done func() bool) {
	t.Helper()
	limit := Limit(within)
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
}
