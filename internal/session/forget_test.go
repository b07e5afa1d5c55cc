package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

func TestForget(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	ended, unfolded, living := w.create(w.ledgers[0], "a"), w.create(w.ledgers[0], "b"), w.create(w.ledgers[0], "c")
	for _, st := range []session.State{ended, unfolded} {
		if err := w.ledgers[0].End(w.ctx, view, st.Record.ID, session.Closed); err != nil {
			t.Fatal(err)
		}
	}
	folded := func(id string) bool { return id != unfolded.Record.ID }
	left := func(want int) {
		t.Helper()
		w.clock.Advance(10 * time.Second)
		w.beat(w.ledgers[0], living.Record.ID)
		if err := w.newLedger().Forget(w.ctx, view, 15*time.Second, folded); err != nil {
			t.Fatal(err)
		}
		o, err := session.List(w.ctx, w.store, view)
		if err != nil || len(o.Sessions) != want {
			t.Fatalf("%d sessions, want %d, %v", len(o.Sessions), want, err)
		}
	}
	left(3) // within the grace
	left(2)
	if _, err := w.store.Get(w.ctx, layout.Session(view, ended.Record.ID)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("its record is still there: %v", err)
	}
	left(2)
	w.beat(w.ledgers[0], living.Record.ID)
	w.wantGone(w.ledgers[0], ended.Record.ID) // which this process remembers to have ended
}
