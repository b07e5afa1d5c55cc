package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

// before runs hook once, just before the first Replace of key.
type before struct {
	store.Store
	key  string
	hook func()
}

func (b *before) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	if key == b.key && b.hook != nil {
		hook := b.hook
		b.hook = nil
		hook()
	}
	return b.Store.Replace(ctx, key, body, etag)
}

// The session is closed by one process after another has renewed its record and before it takes the lease.
func TestClosedOnTheWayToTheLease(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	leader, other := w.create(w.ledgers[0], "a"), w.create(w.ledgers[0], "b")
	w.clock.Advance(20 * time.Second)
	want(t, "follower", w.beat(w.ledgers[0], other.Record.ID), false, 1)
	w.clock.Advance(20 * time.Second) // the leader's lease has expired
	slow := &before{Store: w.store, key: layout.Lease(view)}
	slow.hook = func() {
		if err := w.ledgers[0].End(w.ctx, view, other.Record.ID, session.Closed); err != nil {
			t.Error(err)
		}
	}
	w.wantGone(ledgerOn(t, slow, w.clock), other.Record.ID)
	if slow.hook != nil {
		t.Fatal("the lease was not asked for")
	}
	if lease := w.lease(); lease.Session == other.Record.ID {
		t.Errorf("a session that was closed keeps the lease: %+v", lease)
	}
	w.wantGone(w.ledgers[0], leader.Record.ID)
	w.terms.verify(t)
}

// The old leader renews between the follower's look at its lease and the follower's attempt to take it.
func TestLeaderRenewsJustInTime(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	leader, other := w.create(w.ledgers[0], "a"), w.create(w.ledgers[0], "b")
	w.clock.Advance(20 * time.Second)
	w.beat(w.ledgers[0], leader.Record.ID)
	w.beat(w.ledgers[0], other.Record.ID)
	if err := w.ledgers[0].End(w.ctx, view, leader.Record.ID, session.Closed); err != nil {
		t.Fatal(err)
	}
	third := w.create(w.ledgers[0], "c") // takes the free lease at once
	want(t, "third", third, true, 2)
	w.clock.Advance(20 * time.Second)
	slow := &before{Store: w.store, key: layout.Lease(view)}
	slow.hook = func() { want(t, "third", w.beat(w.ledgers[0], third.Record.ID), true, 2) }
	st, err := ledgerOn(t, slow, w.clock).Beat(w.ctx, view, third.Record.ID, session.Beat{})
	if err != nil || slow.hook != nil {
		t.Fatal(err, slow.hook != nil)
	}
	want(t, "third through two processes at once", st, true, 2)
	w.terms.verify(t)
}

func TestAliveEndsWhatIsSilent(t *testing.T) {
	w := newWorld(t, 2, time.Second)
	leader, follower := w.create(w.ledgers[0], "a"), w.create(w.ledgers[0], "b")
	w.clock.Advance(30 * time.Second)
	for _, l := range w.ledgers {
		for _, id := range []string{leader.Record.ID, follower.Record.ID} {
			if r, err := l.Alive(w.ctx, view, id); err != nil || r.ID != id {
				t.Fatal(r, err)
			}
		}
	}
	// The leader's record is old as ever; its lease proves that it lives.
	w.beat(w.ledgers[0], leader.Record.ID)
	w.clock.Advance(10 * time.Second)
	for _, l := range w.ledgers {
		if _, err := l.Alive(w.ctx, view, leader.Record.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Alive(w.ctx, view, follower.Record.ID); !errors.Is(err, session.ErrGone) {
			t.Fatalf("a silent follower: %v", err)
		}
	}
	w.clock.Advance(21 * time.Second)
	if _, err := w.ledgers[0].Alive(w.ctx, view, leader.Record.ID); !errors.Is(err, session.ErrGone) {
		t.Fatalf("a silent leader: %v", err)
	}
}

// unanswered does the first Create of key, runs hook, and then loses the answer.
type unanswered struct {
	store.Store
	key  string
	hook func()
}

func (u *unanswered) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	meta, err := u.Store.Create(ctx, key, body)
	if key == u.key && u.hook != nil && err == nil {
		hook := u.hook
		u.hook = nil
		hook()
		return store.Meta{}, errors.New("connection reset")
	}
	return meta, err
}

// The roster's first write lands, its answer is lost, and another session has entered before it is read back.
func TestEnteredWithoutKnowing(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	var second session.State
	lossy := &unanswered{Store: w.store, key: layout.Roster(view)}
	lossy.hook = func() { second = w.create(w.ledgers[0], "b") }
	first := w.create(ledgerOn(t, lossy, w.clock), "a")
	if lossy.hook != nil {
		t.Fatal("no answer was lost")
	}
	want(t, "second", second, true, 1)
	want(t, "first", first, false, 1)
	want(t, "first, later", w.beat(w.ledgers[0], first.Record.ID), false, 1)
	o, err := session.List(w.ctx, w.store, view)
	if err != nil || len(o.Sessions) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
}
