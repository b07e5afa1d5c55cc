package compactor

import (
	"context"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
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
	h.c.o.Memory = headsShare * (2*one + one/2)
	for range 2 {
		for _, view := range []string{"a", "b", "c", "a"} {
			h.c.remember(version{&manifest.Manifest{View: view}, view})
			if n := int64(len(h.c.known)); n > 2 || h.c.known[view].etag != view || h.c.knownFor != n*one {
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
