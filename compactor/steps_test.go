package compactor

import (
	"context"
	"fmt"
	"maps"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/viewconfig"
)

// TestMergeStepsChangeNothing step of a merge changes what readers see, whatever was merged before it and whatever is folded between steps; and
// steps come to an end, with no more deltas than are allowed.
func TestMergeStepsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(fastTemp(), "fustor-steps-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		h := newHarness(t, dir, 0, Options{MaxDeltas: rapid.IntRange(1, 4).Draw(t, "deltas"), PartitionRows: int64(rapid.IntRange(3, 12).Draw(t, "partition")),
			InlinePartitions: rapid.IntRange(0, 2).Draw(t, "inline")})
		forgetful := rapid.Bool().Draw(t, "forgetful")
		if forgetful {
			config := viewconfig.Default(viewName)
			config.StalenessSeconds, config.TombstoneTTLSeconds = 0, 1e-9
			if err := viewconfig.Save(h.ctx, h.store, config); err != nil {
				t.Fatal(err)
			}
		}
		w := newWorld()
		s := h.teller("one")
		s.tell(w.listEvent("/", event.Snapshot))
		for range rapid.IntRange(1, 5).Draw(t, "steps") {
			for range rapid.SampledFrom([]int{1, 2, 15}).Draw(t, "changes") {
				s.tell(w.step(t)...)
			}
			s.send()
			h.fold()
			for range rapid.IntRange(0, 2).Draw(t, "merges") {
				h.checkedMerge(forgetful)
			}
		}
		for n := 0; h.checkedMerge(forgetful); n++ {
			if n > 200 {
				t.Fatalf("merges do not end: %+v", h.head())
			}
		}
		if n := len(deltaRuns(h.head().Deltas)); n > h.c.o.MaxDeltas {
			t.Fatalf("%d deltas are left, %d are allowed", n, h.c.o.MaxDeltas)
		}
		compare(h, w)
		h.toBase()
		compare(h, w)
	})
}

// checkedMerge does one step, and holds all rows before it against those after it.
func (h *harness) checkedMerge(forgetful bool) bool {
	h.Helper()
	return h.checked(forgetful, h.merge)
}

// checked is checkedMerge of any merge.
func (h *harness) checked(forgetful bool, merge func() bool) bool {
	h.Helper()
	before := h.rows()
	m := h.head()
	if !merge() {
		return false
	}
	after := h.rows()
	if forgetful {
		for path, r := range before {
			if _, ok := after[path]; r.Removed && !ok {
				delete(before, path)
			}
		}
	}
	if !maps.Equal(before, after) {
		for path, r := range before {
			if after[path] != r {
				h.Fatalf("%s is %+v after a merge, and was %+v; from %s to %s", path, after[path], r, shape(m), shape(h.head()))
			}
		}
		h.Fatalf("rows came by a merge; from %s to %s", shape(m), shape(h.head()))
	}
	return true
}

func shape(v version) string {
	s := ""
	for _, l := range v.Base {
		s += fmt.Sprintf(" base %s..%s", l.First.Path(), l.Last.Path())
	}
	for _, l := range v.Deltas {
		s += fmt.Sprintf(" delta %s..%s", l.First.Path(), l.Last.Path())
	}
	return fmt.Sprintf("%s merged %+v", s, v.Merged)
}

// TestMergeStopsInTime merge that is stopped in the middle of a partition has done a part of it, and the next goes on from there.
func TestMergeStopsInTime(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{MaxDeltas: 2})
	w := newWorld()
	s := h.teller("one")
	s.tell(w.listEvent("/", event.Snapshot))
	for range 3 {
		for i := range 2000 {
			path := fmt.Sprintf("/f%04d", i)
			w.put(path, event.Entry{Type: event.File, MtimeNs: w.now, Size: int64(i)})
			s.tell(w.putEvent(path))
		}
		s.tell(w.putEvent("/"))
		s.send()
		h.fold()
	}
	if ok, err := h.c.mergeUntil(h.ctx, viewName, time.Now().Add(-time.Second)); !ok || err != nil {
		t.Fatalf("merged %v: %v", ok, err)
	}
	m := h.head()
	if len(m.Merged) != 1 || m.Merged[0].To == nil || len(m.Deltas) != 3 || len(m.Base) == 0 || m.Base[0].Rows > 1024 {
		t.Fatalf("after a stopped step: %s", shape(m))
	}
	compare(h, w)
	for h.checkedMerge(false) {
	}
	if m := h.head(); len(m.Merged) != 0 || len(m.Deltas) != 0 {
		t.Fatalf("in the end: %s", shape(m))
	}
	compare(h, w)
}

// TestWorkKeepsItsDeadline ends before its deadline, says that there is more, and comes to the end when it is asked again.
func TestWorkKeepsItsDeadline(t *testing.T) {
	h, w := told(t)
	ctx, cancel := context.WithTimeout(h.ctx, time.Minute)
	defer cancel()
	done, err := h.c.Work(ctx, viewName, 2*time.Minute)
	if err != nil || !done.More || done.Segments != 0 {
		t.Fatalf("without time for anything: %+v, %v", done, err)
	}
	for more := true; more; {
		ctx, cancel := context.WithTimeout(h.ctx, time.Minute)
		steps := 0
		h.c.o.OnCommit = func(*manifest.Manifest) {
			if steps++; steps == 2 {
				cancel() // the process is stopped
			}
		}
		done, err := h.c.Work(ctx, viewName, time.Second)
		more = err != nil || done.More
		cancel()
	}
	h.c.o.OnCommit = func(*manifest.Manifest) {}
	if done, err = h.c.Work(h.ctx, viewName, time.Second); err != nil || done.More {
		t.Fatalf("%+v, %v", done, err)
	}
	if got := h.head().Counted.Segments; got != h.sent() {
		t.Fatalf("%d segments counted, %d were sent", got, h.sent())
	}
	compare(h, w)
}

// TestMergedRowsStayAboveOlderDeltas the base has of a delta may not be left out where an older delta has the key too: that would show instead.
func TestMergedRowsStayAboveOlderDeltas(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	w := newWorld()
	s := h.teller("one")
	s.tell(w.listEvent("/", event.Snapshot))
	put := func(size int64, names ...string) {
		for _, name := range names {
			w.put("/"+name, event.Entry{Type: event.File, MtimeNs: w.tick(), Size: size})
			s.tell(w.putEvent("/" + name))
		}
		s.tell(w.putEvent("/"))
		s.send()
		h.fold()
	}
	step := func(p plan) {
		if err := h.c.step(h.ctx, h.head(), p, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		compare(h, w)
	}
	put(1, "a", "b", "c", "d")
	put(2, "a")
	step(plan{span: &span{}})
	put(3, "b")
	old := h.head().Deltas[2].ID
	step(plan{deltas: h.head().Deltas[:2]})
	if m := h.head(); len(m.Merged) != 1 || m.Merged[0].Delta != old {
		t.Fatalf("after the two newest became one: %s", shape(m))
	}
	step(plan{deltas: h.head().Deltas})
	if m := h.head(); len(m.Merged) != 0 || len(m.Deltas) != 1 {
		t.Fatalf("after all became one: %s", shape(m))
	}
}
