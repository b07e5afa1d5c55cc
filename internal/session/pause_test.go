package session_test

import (
	"slices"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/session"
)

func (w *world) pause(l *session.Ledger, id string) session.State {
	w.t.Helper()
	st, err := l.Beat(w.ctx, view, id, session.Beat{Paused: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// A leader that is paused gives up its lease at once and lives on; another leads in the next term; once it is resumed it
// runs again. Whichever process hears of it.
func TestPausedLeaderGivesUpItsLease(t *testing.T) {
	for _, resolution := range []time.Duration{1, time.Second} {
		w := newWorld(t, 2, resolution)
		leader, follower := w.create(w.ledgers[0], "a"), w.create(w.ledgers[1], "b")
		w.clock.Advance(20 * time.Second) // its record is older than half of its time-out: only the lease proves that it lives
		want(t, "leader, renewed", w.beat(w.ledgers[0], leader.Record.ID), true, 1)
		want(t, "follower", w.beat(w.ledgers[1], follower.Record.ID), false, 1)
		w.clock.Advance(15 * time.Second)
		want(t, "leader, paused", w.pause(w.ledgers[1], leader.Record.ID), false, 1)
		for _, l := range w.ledgers { // idempotent, also where an old lease is remembered
			want(t, "leader, paused again", w.pause(l, leader.Record.ID), false, 1)
		}
		o, err := session.List(w.ctx, w.store, view)
		at := slices.IndexFunc(o.Sessions, func(s session.Status) bool { return s.Record.ID == leader.Record.ID })
		if err != nil || o.Leader != "" || len(o.Sessions) != 2 || at < 0 || !o.Sessions[at].Lives || !o.Sessions[at].Record.Paused {
			t.Fatalf("paused: %+v, %v", o, err)
		}
		want(t, "follower takes over", w.beat(w.ledgers[0], follower.Record.ID), true, 2)
		for range 5 { // it lives by its record
			w.clock.Advance(20 * time.Second)
			want(t, "paused", w.pause(w.ledgers[0], leader.Record.ID), false, 2)
			want(t, "new leader", w.beat(w.ledgers[1], follower.Record.ID), true, 2)
		}
		want(t, "resumed", w.beat(w.ledgers[1], leader.Record.ID), false, 2)
		want(t, "new leader, paused", w.pause(w.ledgers[1], follower.Record.ID), false, 2)
		want(t, "resumed, free lease", w.beat(w.ledgers[0], leader.Record.ID), true, 3)
		w.terms.verify(t)
	}
}

// A view whose only session is paused has no leader, and no process gives it the lease by mistake; a new session leads.
func TestPausedSessionTakesNoLease(t *testing.T) {
	w := newWorld(t, 2, time.Second)
	st, err := w.ledgers[0].Create(w.ctx, session.Application{View: view, Task: "a", TimeoutSeconds: 30, Paused: true})
	if err != nil || st.Leads || !st.Record.Paused {
		t.Fatalf("%+v, %v", st, err)
	}
	for i := range 6 {
		w.clock.Advance(9 * time.Second)
		want(t, "paused", w.pause(w.ledgers[i%2], st.Record.ID), false, 0)
	}
	w.pause(w.ledgers[0], st.Record.ID)
	before := w.counted.Counts()
	for range 10 {
		w.clock.Advance(10 * time.Second)
		w.pause(w.ledgers[0], st.Record.ID)
	}
	if cost := w.counted.Counts().Sub(before); cost.Put != 3 || cost.List != 0 || cost.Get > 10 { // nobody renews a lease that would tell of it
		t.Errorf("10 heartbeats of a paused session: %+v", cost)
	}
	want(t, "another", w.create(w.ledgers[1], "b"), true, 1)
	w.clock.Advance(61 * time.Second)
	w.wantGone(w.ledgers[0], st.Record.ID)
	w.terms.verify(t)
}

// What the record says of the agent's state is written when it changes, though a leader has no other reason to.
func TestLeadersStateIsWritten(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	id := w.create(w.ledgers[0], "a").Record.ID
	for _, state := range []any{"snapshot", "watching", map[string]any{"no": "text"}} {
		w.clock.Advance(10 * time.Second)
		if _, err := w.ledgers[0].Beat(w.ctx, view, id, session.Beat{AgentStatus: statusOf(t, map[string]any{"state": state})}); err != nil {
			t.Fatal(err)
		}
		r, err := w.newLedger().Alive(w.ctx, view, id)
		if s, isText := state.(string); err != nil || isText && r.AgentStatus.State != s {
			t.Errorf("%v: %+v, %v", state, r.AgentStatus, err)
		}
	}
}

// A heartbeat that says "paused" comes through another process after one has renewed the record and before it takes the lease.
func TestPausedOnTheWayToTheLease(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	leader, other := w.create(w.ledgers[0], "a"), w.create(w.ledgers[0], "b")
	if err := w.ledgers[0].End(w.ctx, view, leader.Record.ID, session.Closed); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(10 * time.Second)
	slow := &before{Store: w.store, key: layout.Lease(view)}
	slow.hook = func() { want(t, "paused", w.pause(w.ledgers[0], other.Record.ID), false, 1) }
	st, err := ledgerOn(t, slow, w.clock).Beat(w.ctx, view, other.Record.ID, session.Beat{})
	if err != nil || slow.hook != nil || st.Leads {
		t.Fatalf("%+v, %v; was the lease asked for: %v", st, err, slow.hook == nil)
	}
	if lease := w.lease(); lease.Session != "" {
		t.Errorf("a session that is paused keeps the lease: %+v", lease)
	}
	w.terms.verify(t)
}
