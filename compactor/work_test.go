package compactor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/sim"
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

// TestStepsCutOffBecomeShorter: a merge whose step a deadline cut off, as the store hung, is begun again with half the time
// for its rows, and so on; once the view is done a step may take as long as ever.
func TestStepsCutOffBecomeShorter(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	s := &hanging{Store: h.store, what: "/layers/"}
	h.store = s
	folds := h.compactor(Options{MaxDeltas: 100})
	w, teller := newWorld(), h.teller("a")
	for _, name := range []string{"/a", "/b", "/c"} {
		w.put(name, event.Entry{Type: event.File, Size: 1, MtimeNs: w.tick()})
		teller.tell(w.listEvent("/", event.Audit))
		teller.send()
		if _, err := folds.Fold(t.Context(), viewName); err != nil {
			t.Fatal(err)
		}
	}
	before := h.head().Version
	c := h.compactor(Options{MaxDeltas: 1})
	s.on.Store(true)
	for cut := range 3 {
		if got := c.timeForRows(viewName, time.Minute); got != time.Minute>>cut {
			t.Fatalf("after %d steps that were cut off, one takes rows for %v", cut, got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		did, err := c.Work(ctx, viewName, 50*time.Millisecond)
		cancel()
		if err != nil || did != (Done{More: true}) || h.head().Version != before {
			t.Fatalf("with a store that hangs it did %+v, %v, and version %d became %d", did, err, before, h.head().Version)
		}
	}
	if s.hung.Load() != 3 {
		t.Fatalf("%d of 3 steps were cut off while they wrote a layer", s.hung.Load())
	}
	s.on.Store(false)
	if did, err := c.Work(t.Context(), viewName, 0); err != nil || did.More || did.Merges == 0 {
		t.Fatalf("with a store that works it did %+v, %v", did, err)
	}
	if got := c.timeForRows(viewName, time.Minute); got != time.Minute {
		t.Errorf("when all is done a step takes rows for %v of a minute", got)
	}
}

// TestWorkDoesAllThereIs and counts it; so does Once.
func TestWorkDoesAllThereIs(t *testing.T) {
	for _, once := range []bool{false, true} {
		h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
		h.c = h.compactor(Options{MaxDeltas: 1, PartitionRows: 2, BatchClaims: 16, JobLimit: time.Minute})
		w, s := newWorld(), h.teller("one")
		s.tell(w.listEvent("/", event.Snapshot))
		for i := range 24 {
			path := fmt.Sprintf("/f%02d", i)
			w.put(path, event.Entry{Type: event.File, MtimeNs: w.tick()})
			s.tell(w.putEvent(path), w.putEvent("/"))
			s.send()
		}
		done, more := Done{}, false
		h.c.o.OnCommit = func(m *manifest.Manifest) {
			if m.Reason == "merge" {
				done.Merges++
			}
		}
		did, err := Done{}, error(nil)
		if once {
			did.Segments, err = h.c.Once(h.ctx, viewName)
			did.Merges = done.Merges
		} else {
			did, err = h.c.Work(h.ctx, viewName, 2*time.Minute)
			more = did.More
		}
		if err != nil || more || did.Segments != 24 || did.Merges != done.Merges || did.Merges < 3 {
			t.Errorf("it did %+v, %v; %d merges", did, err, done.Merges)
		}
		if h.fold() > 0 || h.merge() {
			t.Error("there was more")
		}
		compare(h, w)
	}
}

// TestWorkBetweenFoldAndMerge: what is left of the time counts after a fold, too; and an error that is none of the deadline is one.
func TestWorkBetweenFoldAndMerge(t *testing.T) {
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	h.c = h.compactor(Options{MaxDeltas: 1})
	w, s := newWorld(), h.teller("one")
	for _, path := range []string{"/a", "/b"} {
		w.put(path, event.Entry{Type: event.File, MtimeNs: w.tick()})
		s.tell(w.putEvent(path), w.putEvent("/"))
		s.send()
		if path == "/a" {
			h.fold()
		}
	}
	ctx, cancel := context.WithTimeout(h.ctx, time.Hour)
	defer cancel()
	margin := time.Hour - 50*time.Millisecond
	h.c.o.OnCommit = func(*manifest.Manifest) { <-time.After(100 * time.Millisecond) }
	if did, err := h.c.Work(ctx, viewName, margin); err != nil || did != (Done{Segments: 1, More: true}) {
		t.Errorf("with time for a fold alone it did %+v, %v", did, err)
	}
	h.c.countCutOff(viewName)
	if h.c.timeForRows(viewName, time.Hour) != time.Hour/2 {
		t.Error("what was cut off is not counted")
	}
	h.c.o.OnCommit = func(*manifest.Manifest) {}
	if did, err := h.c.Work(ctx, viewName, time.Second); err != nil || did.Segments != 0 || did.Merges == 0 || did.More {
		t.Errorf("it did %+v, %v", did, err)
	}
	if h.c.timeForRows(viewName, time.Hour) != time.Hour {
		t.Error("what was cut off is remembered after all is done")
	}
	cut, stop := context.WithTimeout(h.ctx, time.Hour)
	stop()
	if did, err := h.c.Work(cut, viewName, time.Second); !errors.Is(err, context.Canceled) || did.More {
		t.Errorf("stopped it did %+v, %v", did, err)
	}
	for range 2 * maxHalvings {
		h.c.countCutOff(viewName)
	}
	if h.c.timeForRows(viewName, time.Hour) != time.Hour>>maxHalvings {
		t.Error("a step has no time at all")
	}
}
