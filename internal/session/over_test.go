package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/session"
)

// A follower that rests, and is ended through another process while nobody holds the lease, hears of it with its next heartbeat: whether
// it is paused, so that it does not write its record to take the lease, or somebody else has taken the lease since.
func TestRestingFollowerHearsOfItsEnd(t *testing.T) {
	for _, paused := range []bool{true, false} {
		w := newWorld(t, 2, time.Second)
		leader, follower := w.pair(w.ledgers[0])
		other := w.create(w.ledgers[0], "c").Record.ID
		b := w.sent(1)
		b.Paused = paused
		w.says(w.ledgers[0], follower, b)
		for _, id := range []string{leader, follower} {
			if err := w.ledgers[1].End(w.ctx, view, id, session.Closed); err != nil {
				t.Fatal(err)
			}
		}
		if !paused {
			if st := w.says(w.ledgers[0], other, w.sent(1)); !st.Leads {
				t.Fatal("nobody else leads")
			}
		}
		w.clock.Advance(time.Second)
		if _, err := w.ledgers[0].Beat(w.ctx, view, follower, b); !errors.Is(err, session.ErrGone) {
			t.Errorf("paused %v: %v", paused, err)
		}
	}
}
