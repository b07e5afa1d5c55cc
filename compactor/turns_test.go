package compactor

import (
	"testing"
)

// TestTurns: a view begins with a small fold, and goes on with large ones as long as it finds much. Each is given back once.
func TestTurns(t *testing.T) {
	c, err := New(Options{Store: newHarness(t, t.TempDir(), 0, Options{}).store, Memory: 256 << 20, BatchClaims: 160})
	if err != nil {
		t.Fatal(err)
	}
	check := func(view string, large bool, claims int, bytes int64) {
		t.Helper()
		turn := c.turn(view)
		if turn.large != large || turn.claims != claims || turn.bytes != bytes || turn.held {
			t.Errorf("the turn of %s: %+v", view, turn)
		}
		of, most := c.turns.small, smallFolds
		if large {
			of, most = c.turns.large, 1
		}
		for range 2 { // what is begun is begun, what is over is over
			if err := turn.begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			if of.TryAcquire(int64(most)) || most > 1 && !of.TryAcquire(int64(most-1)) {
				t.Errorf("the turn of %s is not one of %d", view, most)
			} else if most > 1 {
				of.Release(int64(most - 1))
			}
		}
		for range 2 {
			turn.end()
		}
		if !of.TryAcquire(int64(most)) {
			t.Errorf("the turn of %s is not given back", view)
		}
		of.Release(int64(most))
	}
	check("v", false, 10, 256<<10)
	c.found("v", true)
	check("v", true, 160, 4<<20)
	check("w", false, 10, 256<<10)
	c.found("v", false)
	check("v", false, 10, 256<<10)
	c.o.BatchClaims = 3
	check("v", false, 1, 256<<10)
	for memory, merges := range map[int64]int64{1: 1, 256<<20 - 1: 1, 256 << 20: 1, 512 << 20: 2} {
		if of := newTurns(memory).merges; !of.TryAcquire(merges) || of.TryAcquire(1) {
			t.Errorf("of %d bytes there are not %d merges at once", memory, merges)
		}
	}
}
