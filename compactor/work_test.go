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
			ctx, cancel := context.WithTimeout(t.Context(), leastStep+100*time.Millisecond)
			defer cancel()
			did, err := c.Work(ctx, viewName)
			if err != nil || did != (Worked{}) {
				t.Fatalf("cut off by the deadline: %+v, %v", did, err)
			}
			if s.hung.Load() == 0 {
				t.Fatal("the deadline did not come in the middle of a step")
			}
			if v := h.head().Version; v != 0 {
				t.Fatalf("version %d was committed past the deadline", v)
			}
			s.on.Store(false)
			if did, err = c.Work(t.Context(), viewName); err != nil || !did.Done || did.Segments != 1 {
				t.Fatalf("the next call: %+v, %v", did, err)
			}
			if rows := h.present(); len(rows) != 2 {
				t.Errorf("rows %v", rows)
			}
		})
	}
}

// TestWorkBeginsOnlyWhatFits: a step that took long is not begun again where there is less time than that.
func TestWorkBeginsOnlyWhatFits(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	counted := store.Count(h.store)
	h.store = counted
	c := h.compactor(Options{})
	work := func(left time.Duration) (Worked, store.Counts) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), left)
		defer cancel()
		before := counted.Counts()
		did, err := c.Work(ctx, viewName)
		if err != nil {
			t.Fatal(err)
		}
		return did, counted.Counts().Sub(before)
	}
	if did, asked := work(leastStep / 2); did.Done || asked != (store.Counts{}) {
		t.Errorf("with less than a step's time it did %+v and asked %+v", did, asked)
	}
	c.paces[viewName] = pace{fold: 0, merge: time.Hour}
	w, teller := newWorld(), h.teller("a")
	teller.tell(w.listEvent("/", event.Snapshot))
	teller.send()
	if did, _ := work(time.Minute); !did.Done || did.Segments != 1 {
		t.Errorf("a step that never fits must be tried with the whole of the time there is: %+v", did)
	}
	for took, want := range map[time.Duration]bool{time.Second: true, 4 * time.Second: true, 6 * time.Second: false, time.Hour: false} {
		if got := fits(t, 10*time.Second, time.Minute, took); got != want {
			t.Errorf("10 s of a minute are left, a step took %v: fits = %v", took, got)
		}
	}
}

// fits asks a call of Work of which so much of the whole time is left.
func fits(t *testing.T, left, whole, took time.Duration) bool {
	ctx, cancel := context.WithTimeout(t.Context(), left)
	defer cancel()
	w := work{ctx: ctx, begun: time.Now().Add(left - whole)}
	return w.fits(took)
}
