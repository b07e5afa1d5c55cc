package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
)

// TestTermsNeverGoBack takes the lease away, damages it, or puts an older one back: whoever leads next has a term above all that were
// given.
func TestTermsNeverGoBack(t *testing.T) {
	for name, harm := range map[string]func(w *world, old []byte) error{
		"gone": func(w *world, _ []byte) error { return w.store.Delete(w.ctx, layout.Lease(view)) },
		"damaged": func(w *world, old []byte) error {
			_, err := w.store.Put(w.ctx, layout.Lease(view), old[:len(old)-3])
			return err
		},
		"older": func(w *world, old []byte) error { _, err := w.store.Put(w.ctx, layout.Lease(view), old); return err },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, time.Second)
			first := w.create(w.ledgers[0], "a").Record.ID
			old, err := w.store.Get(w.ctx, layout.Lease(view))
			if err != nil {
				t.Fatal(err)
			}
			var last session.State
			for range 3 {
				if err := w.ledgers[0].End(w.ctx, view, first, session.Closed); err != nil {
					t.Fatal(err)
				}
				last = w.create(w.ledgers[0], "a")
				first = last.Record.ID
			}
			w.head(func(m *manifest.Manifest) { m.Term, m.Epoch = last.Term-1, "e" }) // the last term's segments are not folded
			if err := harm(w, old.Body); err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(50 * time.Second)
			next, err := w.newLedger().Create(w.ctx, session.Application{View: view, Task: "b", TimeoutSeconds: 30})
			if err != nil || !next.Leads || next.Term <= last.Term {
				t.Errorf("term %d after %d: %+v, %v", next.Term, last.Term, next, err)
			}
		})
	}
}

// TestOldLeaseOfALivingLeader is put back, or was never right: the leader takes a term above what head proves with the next write of
// its record.
func TestOldLeaseOfALivingLeader(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	id := w.create(w.ledgers[0], "a").Record.ID
	w.head(func(m *manifest.Manifest) { m.Term, m.Epoch = 7, "e" })
	w.clock.Advance(10 * time.Second)
	state, err := w.newLedger().Beat(w.ctx, view, id, session.Beat{AgentStatus: &pipeapi.AgentStatus{Unwatched: 5}})
	if err != nil || !state.Leads || state.Term <= 7 || w.lease().Term != state.Term {
		t.Errorf("%+v, %v; the lease is %+v", state, err, w.lease())
	}
}

// TestLostRosterIsNoNewBeginning: a session does not begin the first epoch of a view that has versions.
func TestLostRosterIsNoNewBeginning(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	w.create(w.ledgers[0], "a")
	w.head(func(m *manifest.Manifest) { m.Epoch = "e" })
	if err := w.store.Delete(w.ctx, layout.Roster(view)); err != nil {
		t.Fatal(err)
	}
	application := session.Application{View: view, Task: "b", TimeoutSeconds: 30}
	if _, err := w.newLedger().Create(w.ctx, application); !errors.Is(err, manifest.ErrWentBack) {
		t.Errorf("beside a head: %v", err)
	}
	if _, err := w.store.Get(w.ctx, layout.Roster(view)); err == nil {
		t.Error("there is a roster")
	}
	if _, err := w.ledgers[0].NewEpoch(w.ctx, view); err != nil { // an administrator may
		t.Fatal(err)
	}
	if _, err := w.newLedger().Create(w.ctx, application); err != nil {
		t.Errorf("after a reset: %v", err)
	}
}
