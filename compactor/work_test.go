package compactor

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/store"
)

// hanging is a store whose layers, or whose heads, are written only once the caller has given up: as late as can be.
type hanging struct {
	store.Store
	on   atomic.Bool
	what string
	hung atomic.Int32
}

func (s *hanging) late(ctx context.Context, key string) {
	if s.on.Load() && strings.Contains(key, s.what) {
		s.hung.Add(1)
		<-ctx.Done()
	}
}

func (s *hanging) Put(ctx context.Context, key string, body []byte) (store.Meta, error) {
	if s.late(ctx, key); ctx.Err() != nil {
		return store.Meta{}, ctx.Err()
	}
	return s.Store.Put(ctx, key, body)
}

func (s *hanging) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	if s.late(ctx, key); ctx.Err() != nil {
		return store.Meta{}, ctx.Err()
	}
	return s.Store.Create(ctx, key, body)
}

// TestWorkStopsAtItsDeadline: whatever a step was doing when its time was over, nothing is committed, nothing is lost, and
// it is no failure; the next call does it.
func TestWorkStopsAtItsDeadline(t *testing.T) {
	for _, what := range []string{"/layers/", "/manifests/", "/head"} {
		t.Run(strings.Trim(what, "/"), func(t *testing.T) {
			h := newHarness(t, t.TempDir(), 0, Options{})
			s := &hanging{Store: h.store, what: what}
			h.store = s
			c := h.compactor(Options{})
			w, teller := newWorld(), h.teller("a")
			w.put("/x", event.Entry{Type: event.File, Size: 1, MtimeNs: w.tick()})
			teller.tell(w.listEvent("/", event.Snapshot))
			teller.send()

			s.on.Store(true)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			did, err := c.Work(ctx, viewName, 100*time.Millisecond)
			if err != nil || did != (Done{More: true}) {
				t.Fatalf("cut off by the deadline: %+v, %v", did, err)
			}
			if s.hung.Load() == 0 {
				t.Fatal("the deadline did not come in the middle of a step")
			}
			if v := h.head().Version; v != 0 {
				t.Fatalf("version %d was committed past the deadline", v)
			}
			s.on.Store(false)
			if did, err = c.Work(t.Context(), viewName, time.Second); err != nil || did.More || did.Segments != 1 {
				t.Fatalf("the next call: %+v, %v", did, err)
			}
			if rows := h.present(); len(rows) != 2 {
				t.Errorf("rows %v", rows)
			}
		})
	}
}

// TestWorkBeginsNothingWithinTheMargin: not one request is made where less time is left than a step takes.
func TestWorkBeginsNothingWithinTheMargin(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	counted := store.Count(h.store)
	h.store = counted
	c := h.compactor(Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	before := counted.Counts()
	did, err := c.Work(ctx, viewName, time.Minute)
	if err != nil || did != (Done{More: true}) || counted.Counts() != before {
		t.Errorf("within the margin it did %+v, %v, and asked %+v", did, err, counted.Counts().Sub(before))
	}
	if did, err = c.Work(ctx, viewName, time.Second); err != nil || did != (Done{}) {
		t.Errorf("with time enough it did %+v, %v", did, err)
	}
}
