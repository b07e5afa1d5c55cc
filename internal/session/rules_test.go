package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

// stored reads an object of the world's store.
func stored[T any](w *world, key string) (value T) {
	w.t.Helper()
	o, err := w.store.Get(w.ctx, key)
	if err == nil {
		o.Body, err = seal.Open(key, o.Body)
	}
	if err == nil {
		err = json.Unmarshal(o.Body, &value)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return value
}

// put writes an object of the world's store.
func (w *world) put(key string, value any) {
	w.t.Helper()
	body, err := seal.JSON(key, value)
	if err == nil {
		_, err = w.store.Put(w.ctx, key, body)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestWhatIsKeptOfASession: its record and the roster have what its agent said of itself, and both lists of sessions show it, also once it is over.
func TestWhatIsKeptOfASession(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	l := w.ledgers[0]
	st, err := l.Create(w.ctx, session.Application{View: view, Task: "task", Agent: "agent", Source: "fs://h/x", ClientIP: "10.0.0.1", TimeoutSeconds: 30, Dialect: "v2",
		Holder: session.Holder{Key: "k", Secret: strings.Repeat("s", session.MinSecret)}})
	if err != nil {
		t.Fatal(err)
	}
	id := st.Record.ID
	r, err := session.Read(w.ctx, w.store, view, id)
	if err != nil || r.Task != "task" || r.Agent != "agent" || r.Source != "fs://h/x" || r.ClientIP != "10.0.0.1" || r.TimeoutSeconds != 30 || r.Dialect != "v2" || r.Key != "k" || r.Secret == "" {
		t.Errorf("record %+v, %v", r, err)
	}
	e := stored[session.Roster](w, layout.Roster(view)).Sessions[id]
	if e.Task != "task" || e.Agent != "agent" || e.TimeoutSeconds != 30 || e.Key != "k" || e.CreatedAt != r.CreatedAt || e.Ended || !e.MayBeOf("fs://h/x") || e.MayBeOf("fs://h/y") {
		t.Errorf("entry of the roster %+v", e)
	}
	if leading, err := session.Leader(w.ctx, w.store, view); err != nil || leading.Session != id || leading.Agent != "agent" {
		t.Errorf("leader %+v, %v", leading, err)
	}
	if s, err := l.Standing(w.ctx, view, id); err != nil || !s.Leads || s.Term != 1 {
		t.Errorf("standing %+v, %v", s, err)
	}
	over := func(reason string) {
		t.Helper()
		o, err := session.List(w.ctx, w.store, view)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range o.Sessions {
			if r := s.Record; r.ID == id && (!r.Ended || r.EndedReason != reason || r.Task != "task" || r.Agent != "agent" || r.TimeoutSeconds != 30 || s.Leads || s.Lives) {
				t.Errorf("over: %+v", s)
			}
		}
	}
	if err := l.End(w.ctx, view, id, session.Closed); err != nil {
		t.Fatal(err)
	}
	over(session.Closed)
	w.create(l, "other") // marks in the roster what has ended
	over("")
	epoch, err := l.NewEpoch(w.ctx, view)
	if roster := stored[session.Roster](w, layout.Roster(view)); err != nil || epoch == "" || roster.Epoch != epoch || roster.EpochNumber == 0 {
		t.Errorf("epoch %q: %+v, %v", epoch, roster, err)
	}
	over(session.Reset)
}

// TestSessionsOfAKey: a key has as many live sessions as it may, and no more; those that ended do not count.
func TestSessionsOfAKey(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	create := func(task, key string) (session.State, error) {
		return w.ledgers[0].Create(w.ctx, session.Application{View: view, Task: task, TimeoutSeconds: 30, Holder: session.Holder{Key: key}, OfKey: 2})
	}
	first, err := create("a", "k")
	_, second := create("b", "k")
	if err != nil || second != nil {
		t.Fatal(err, second)
	}
	var full *session.KeyFullError
	if _, err := create("c", "k"); !errors.As(err, &full) || full.Live != 2 || full.Most != 2 || full.Ended {
		t.Errorf("a third: %v", err)
	}
	if _, err := create("d", "other"); err != nil {
		t.Errorf("of another key: %v", err)
	}
	if err := w.ledgers[0].End(w.ctx, view, first.Record.ID, session.Closed); err != nil {
		t.Fatal(err)
	}
	if _, err := create("c", "k"); err != nil {
		t.Errorf("after the end of one: %v", err)
	}
}

// TestLeaseThatSaysItsEnd: a lease may say that its session is over. Nobody leads then, and the others follow until they may take it.
func TestLeaseThatSaysItsEnd(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	leader, follower := w.create(w.ledgers[0], "a"), w.create(w.ledgers[0], "b")
	w.clock.Advance(15 * time.Second) // the lease is old enough not to be believed from memory
	w.put(layout.Lease(view), session.Lease{Term: 1, Session: leader.Record.ID, Nonce: "n", TTLSeconds: 30, Ended: true})
	l := w.newLedger()
	if s, err := l.Standing(w.ctx, view, leader.Record.ID); err != nil || s.Leads {
		t.Errorf("standing %+v, %v", s, err)
	}
	if r, err := l.Leader(w.ctx, view); err != nil || r.ID != "" {
		t.Errorf("leader %+v, %v", r, err)
	}
	want(t, "the follower", w.beat(l, follower.Record.ID), false, 1)
	if _, err := l.Beat(w.ctx, view, leader.Record.ID, session.Beat{}); !errors.Is(err, session.ErrGone) {
		t.Errorf("the leader: %v", err)
	}
}

// TestEndedSessionFreesItsTask, whatever a lease of its reign still says.
func TestEndedSessionFreesItsTask(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	l := w.ledgers[0]
	old := w.create(l, "a")
	if err := l.End(w.ctx, view, old.Record.ID, session.TimedOut); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(31 * time.Second)
	body, err := seal.JSON(layout.Lease(view), session.Lease{Term: 1, Session: old.Record.ID, Nonce: "n", TTLSeconds: 30, Ended: true})
	if err == nil {
		_, err = w.store.Replace(w.ctx, layout.Lease(view), body, w.etag(layout.Lease(view)))
	}
	if err != nil {
		t.Fatal(err)
	}
	want(t, "the next of its task", w.create(l, "a"), false, 1)
}

// TestLeaderThatNoRosterNames does not lead.
func TestLeaderThatNoRosterNames(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	w.create(w.ledgers[0], "a")
	w.put(layout.Roster(view), session.Roster{Nonce: "n"})
	if leading, err := session.Leader(w.ctx, w.store, view); err != nil || leading.Session != "" {
		t.Errorf("%+v, %v", leading, err)
	}
}

// timeless is a store whose answers to writes do not say when the object was written, as those of S3.
type timeless struct{ store.Store }

func (s timeless) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	m, err := s.Store.Create(ctx, key, body)
	m.LastModified = time.Time{}
	return m, err
}

func (s timeless) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	m, err := s.Store.Replace(ctx, key, body, etag)
	m.LastModified = time.Time{}
	return m, err
}

// TestWritesWithoutTimes are as old as the answer to them: what was just written is not read again.
func TestWritesWithoutTimes(t *testing.T) {
	var costs []store.Counts
	for _, wrap := range []func(store.Store) store.Store{func(s store.Store) store.Store { return s }, func(s store.Store) store.Store { return timeless{s} }} {
		w := newWorld(t, 0, time.Second)
		l := ledgerOn(t, wrap(w.counted), w.clock)
		st := w.create(l, "a")
		before := w.counted.Counts()
		w.clock.Advance(time.Second)
		want(t, "the leader", w.beat(l, st.Record.ID), true, 1)
		if s, err := l.Standing(w.ctx, view, st.Record.ID); err != nil || !s.Leads {
			t.Errorf("%+v, %v", s, err)
		}
		cost := w.counted.Counts().Sub(before)
		cost.BytesIn, cost.BytesOut = 0, 0
		costs = append(costs, cost)
	}
	if costs[0] != costs[1] {
		t.Errorf("a heartbeat right after the beginning costs %+v, and %+v where writes have no times", costs[0], costs[1])
	}
}

// TestMendedObjects: a roster is made again of the records of its epoch, and a record of what the roster says.
func TestMendedObjects(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	l := w.ledgers[0]
	a, b := w.create(l, "a"), w.create(l, "b")
	roster := stored[session.Roster](w, layout.Roster(view))
	entry := roster.Sessions[b.Record.ID]
	// The roster has lost a, and names what cannot be a session, and one of another epoch.
	w.put(layout.Roster(view), session.Roster{Epoch: roster.Epoch, Nonce: "n", Sessions: map[string]session.RosterEntry{
		b.Record.ID: entry, "../x": entry, "01ARZ3NDEKTSV4RRFFQ69G5FAV": {Task: "z", Epoch: "before"}}})
	if err := l.MendRoster(w.ctx, view, roster.Epoch, 7); err != nil {
		t.Fatal(err)
	}
	mended := stored[session.Roster](w, layout.Roster(view))
	if len(mended.Sessions) != 2 || mended.Sessions[a.Record.ID].Task != "a" || mended.Sessions[b.Record.ID].Task != "b" || mended.Epoch != roster.Epoch || mended.EpochNumber != 7 || mended.Nonce == "n" {
		t.Errorf("%+v", mended)
	}
	if _, err := w.store.Put(w.ctx, layout.Session(view, b.Record.ID), []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	if err := l.MendRecord(w.ctx, view, b.Record.ID, entry); err != nil {
		t.Fatal(err)
	}
	if r, err := session.Read(w.ctx, w.store, view, b.Record.ID); err != nil || !r.Ended || r.EndedReason != session.ByAdmin || r.Task != "b" || r.Agent != "b" || r.TimeoutSeconds != 30 || r.ID != b.Record.ID || r.View != view || r.Epoch != entry.Epoch || r.CreatedAt != entry.CreatedAt {
		t.Errorf("%+v, %v", r, err)
	}
}
