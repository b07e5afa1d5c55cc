package compactor

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

func (h *harness) admin() *admin.Admin {
	h.Helper()
	a, err := admin.New(admin.Options{Store: h.store, Now: time.Now, Random: rand.Reader})
	if err != nil {
		h.Fatalf("%v", err)
	}
	return a
}

func putFile(path string, at int64) event.Event {
	return event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: at, Path: path, Atomic: true, Entry: event.Entry{Name: path[1:], Type: event.File, Size: 1, MtimeNs: at}}
}

// TestResetForgetsEverything is under way when a view is reset, nothing of before comes back: not by a fold or a merge, nor by segments
// that were not folded yet or that a session still sends.
func TestResetForgetsEverything(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	old := h.teller("old")
	old.tell(putFile("/before", 1e9))
	old.send()
	h.once()
	if _, there := h.present()["/before"]; !there {
		t.Fatal("the view does not have the file in the first place")
	}
	old.tell(putFile("/unfolded", 2e9))
	old.send()
	// A fold has read all that it needs, and is about to publish.
	before := h.head()

	epoch, err := h.admin().Reset(h.ctx, viewName)
	if err != nil {
		t.Fatal(err)
	}
	if m := h.head(); m.Epoch != epoch || m.Ready() || m.Rows() != 0 || len(m.Sessions) != 0 || m.Version != before.Version+1 || m.Parent != before.Key() {
		t.Fatalf("after the reset: %+v", m.Manifest)
	}
	if _, err := h.c.publish(h.ctx, before, "fold", func(m *manifest.Manifest) error { m.Totals.Files = 99; return nil }); !errors.Is(err, store.ErrLost) {
		t.Errorf("a job of before published: %v", err)
	}
	old.tell(putFile("/late", 3e9))
	old.send()
	if n := h.fold(); n != 0 || len(h.present()) != 0 {
		t.Errorf("%d old segments were folded: %v", n, h.present())
	}
	if _, err := h.c.ledger.Beat(h.ctx, viewName, old.id, session.Beat{}); !errors.Is(err, session.ErrGone) {
		t.Errorf("the old session lives: %v", err)
	}

	fresh := h.teller("old") // the same task, at once
	if fresh.term != 2 {
		t.Errorf("the new session has term %d", fresh.term)
	}
	fresh.tell(putFile("/after", 4e9))
	fresh.send()
	h.once()
	rows := h.present()
	if _, there := rows["/after"]; !there || len(rows) != 2 {
		t.Errorf("the new epoch has %v", rows)
	}
}

// TestResetBeforeTheFirstVersion fold of a view that has no version yet is held off too.
func TestResetBeforeTheFirstVersion(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	s := h.teller("old")
	s.tell(putFile("/before", 1e9))
	s.send()
	before := h.head() // version 0
	if _, err := h.admin().Reset(h.ctx, viewName); err != nil {
		t.Fatal(err)
	}
	if _, err := h.c.publish(h.ctx, before, "fold", func(*manifest.Manifest) error { return nil }); !errors.Is(err, store.ErrLost) {
		t.Errorf("a first version of before the reset was published: %v", err)
	}
	h.once()
	if len(h.present()) != 0 {
		t.Errorf("%v", h.present())
	}
}

// TestCompactorCompletesAReset resets a view may die after the decision: the compactor does the rest.
func TestCompactorCompletesAReset(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	s := h.teller("old")
	s.tell(putFile("/before", 1e9))
	s.send()
	h.once()
	epoch, err := h.c.ledger.NewEpoch(h.ctx, viewName)
	if err != nil {
		t.Fatal(err)
	}
	fresh := h.teller("new")
	fresh.tell(putFile("/after", 2e9))
	fresh.send()
	h.once()
	rows := h.present()
	if _, back := rows["/before"]; back || len(rows) != 2 || h.head().Epoch != epoch {
		t.Errorf("epoch %s, not %s: %v", h.head().Epoch, epoch, rows)
	}
	if _, err := h.c.ledger.Beat(h.ctx, viewName, s.id, session.Beat{}); !errors.Is(err, session.ErrGone) {
		t.Errorf("the old session lives: %v", err)
	}
}

// TestResetsBesideFolds, folds and new sessions at once: what the view has in the end is of its last epoch alone.
func TestResetsBesideFolds(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	stop, folded := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(folded)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := h.c.Once(h.ctx, viewName); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for round := range 12 {
		s := h.teller("task")
		for i := range 5 {
			s.tell(putFile("/round"+string(rune('a'+round)), int64(round+1)*1e9+int64(i)))
			s.send()
		}
		if _, err := h.admin().Reset(h.ctx, viewName); err != nil {
			t.Fatal(err)
		}
	}
	last := h.teller("task")
	last.tell(putFile("/last", 100e9))
	last.send()
	close(stop)
	<-folded
	h.once()
	if rows := h.present(); len(rows) != 2 {
		t.Errorf("the last epoch has %v", rows)
	}
}

// TestRetentionAfterAReset an epoch leaves goes: the sessions leave the roster without being folded to their end, and their segments go.
func TestRetentionAfterAReset(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{Grace: time.Nanosecond})
	h.keep(history.Policy{})
	s := h.teller("old")
	s.tell(putFile("/before", 1e9))
	s.send()
	h.once()
	s.tell(putFile("/unfolded", 2e9))
	s.send()
	if _, err := h.admin().Reset(h.ctx, viewName); err != nil {
		t.Fatal(err)
	}
	h.once()
	if err := h.c.ledger.Forget(h.ctx, viewName, time.Nanosecond, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if r, _, err := session.ReadRoster(h.ctx, h.store, viewName); err != nil || len(r.Sessions) != 0 || r.Epoch == "" {
		t.Errorf("the roster has %+v, %v", r, err)
	}
	would, err := h.c.Retention(h.ctx, viewName, true)
	if err != nil {
		t.Fatal(err)
	}
	did, err := h.c.Retention(h.ctx, viewName, false)
	if err != nil || len(did) != len(would) || len(did) < 4 {
		t.Errorf("retention would have removed %v, and removed %v, %v", would, did, err)
	}
	for _, prefix := range []string{layout.AllSegments(viewName), layout.Layers(viewName)} {
		if page, err := h.store.List(h.ctx, prefix, "", 0); err != nil || len(page.Items) != 0 {
			t.Errorf("%s still has %v, %v", prefix, page.Items, err)
		}
	}
}
