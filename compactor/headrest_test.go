package compactor

import (
	"context"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/sim"
)

// headsSent is a store that counts how often it sends head.
type headsSent struct {
	store.Store
	n int
}

func (s *headsSent) sent(key string, o store.Object, err error) (store.Object, error) {
	if err == nil && key == layout.Head(viewName) {
		s.n++
	}
	return o, err
}

func (s *headsSent) Get(ctx context.Context, key string) (store.Object, error) {
	o, err := s.Store.Get(ctx, key)
	return s.sent(key, o, err)
}

func (s *headsSent) GetUpTo(ctx context.Context, key string, most int64) (store.Object, error) {
	o, err := s.Store.GetUpTo(ctx, key, most)
	return s.sent(key, o, err)
}

func (s *headsSent) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	o, err := s.Store.GetIfChanged(ctx, key, etag)
	return s.sent(key, o, err)
}

// TestHeadIsNotReadAgain: a head that this process has read or published, and that is still current, is asked for by its ETag alone, at rest
// and by the next fold; one that another process has published is read.
func TestHeadIsNotReadAgain(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	s := h.teller("one")
	heads, plain := &headsSent{Store: h.store}, h.store
	h.store = heads
	h.c = h.compactor(Options{})
	h.store = plain
	other := h.compactor(Options{})
	observed, told := int64(1_750_000_000e9), uint64(0)
	change := func() {
		t.Helper()
		observed += 1e9
		s.tell(event.Event{Kind: event.Listing, Evidence: event.Snapshot, ObservedAt: observed, Path: "/", Entry: event.Entry{Type: event.Directory},
			Entries: []event.Entry{{Name: "a", Type: event.File, Size: observed % 1000, MtimeNs: observed}}})
		s.send()
		told++
	}
	step := func(what string, want int) {
		t.Helper()
		before := heads.n
		h.fold()
		if got := heads.n - before; got != want {
			t.Errorf("%s: head was sent %d times, want %d", what, got, want)
		}
		if m := h.head(); m.Counted.Segments != told {
			t.Errorf("%s: %d segments are folded, of %d", what, m.Counted.Segments, told)
		}
	}
	change()
	step("the first fold, which resets the view to its epoch", 0)
	step("at rest after a version of its own", 0)
	change()
	step("after a version of its own", 0)
	change()
	if n, err := other.Fold(h.ctx, viewName); err != nil || n != 1 {
		t.Fatalf("%d segments folded: %v", n, err)
	}
	step("after a version of another process", 1)
	step("at rest after that", 0)
	h.c = other
	change()
	step("another process, which knows its own", 0)
}

// TestRememberedHeadsAreBounded by their share of the memory.
func TestRememberedHeadsAreBounded(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	one := (&manifest.Manifest{View: "a"}).Memory()
	h.c.o.Memory = headsShare * 2 * one
	for round := range 2 {
		for i, view := range []string{"a", "b", "c", "a"} {
			h.c.remember(version{&manifest.Manifest{View: view}, view})
			if n := int64(len(h.c.known)); n != 2 && (round > 0 || i > 0) || h.c.known[view].etag != view || h.c.knownFor != n*one {
				t.Fatalf("after %s, %d heads of %d bytes are remembered", view, n, h.c.knownFor)
			}
		}
	}
	h.c.o.Memory = headsShare * (one - 1)
	h.c.remember(version{&manifest.Manifest{View: "a"}, "a"})
	if len(h.c.known) > 0 || h.c.knownFor != 0 {
		t.Fatalf("%d heads of %d bytes are remembered", len(h.c.known), h.c.knownFor)
	}
}

// TestCurrentVersion: head is read once as long as it stays as it is, what is known of it follows it, and a view without one is empty.
func TestCurrentVersion(t *testing.T) {
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	h.c = h.compactor(Options{})
	publish := func() {
		if _, err := h.c.publish(h.ctx, h.head(), "fold", func(m *manifest.Manifest) error { m.Epoch = "e"; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	c := h.compactor(Options{})
	current := func() version {
		v, err := c.current(h.ctx, viewName)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	first := current()
	if seen := c.seen[viewName]; seen == nil || seen.View != viewName || seen.Epoch != "e" || seen.Version != 1 || c.figures.views[viewName].seen.number != 1 {
		t.Errorf("seen: %+v, %+v", seen, c.figures.views[viewName].seen)
	}
	if again := current(); again.Manifest != first.Manifest || again.etag != first.etag {
		t.Error("head was read again")
	}
	publish()
	if v := current(); v.Version != 2 || v.etag == first.etag || c.seen[viewName].Version != 2 || c.figures.views[viewName].seen.number != 2 {
		t.Errorf("version %d, seen: %+v", v.Version, c.seen[viewName])
	}
	if err := h.store.Delete(h.ctx, layout.Head(viewName)); err != nil {
		t.Fatal(err)
	}
	if v := current(); v.Version != 0 || v.View != viewName || v.Format != manifest.Format || v.etag != "" || c.figures.views[viewName].seen.number != 0 {
		t.Errorf("without head: %+v, seen: %+v", v, c.figures.views[viewName].seen)
	}
}
