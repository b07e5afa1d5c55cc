package explore

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/cases"
	"github.com/fustor/fustor/testkit/sessiontest"
	"github.com/fustor/fustor/testkit/sim"
)

// shelf is a view whose session reports one new file with each segment.
type shelf struct {
	t       *testing.T
	w       *World
	session string
	term    uint64
	sent    int
	version uint64 // of head, as it was written last
}

func newShelf(t *testing.T, w *World) *shelf {
	s, inner := &shelf{t: t, w: w}, w.Store
	w.Store = sessiontest.New(inner, w.Clock, time.Second, func(key string, _, _ []byte, _ time.Duration) {
		if key != layout.Head(view) {
			return
		}
		m, _, err := manifest.Load(context.Background(), inner, view)
		if err != nil || m.Version != s.version+1 {
			t.Errorf("version %d is followed by %+v, %v", s.version, m, err)
			return
		}
		s.version = m.Version
		if m.Counted.Segments > uint64(s.sent) || m.Counted.Segments != m.Counted.Events || m.Totals.Files != int64(m.Counted.Segments) {
			t.Errorf("of %d segments, version %d has %+v, %+v", s.sent, m.Version, m.Counted, m.Totals)
		}
	})
	clock := store.NewClock(w.Clock.Now)
	l, err := session.NewLedger(clock.Watch(w.Store), clock, bytesOf{rand.New(rand.NewPCG(1, 1))})
	if err != nil {
		t.Fatal(err)
	}
	state, err := l.Create(t.Context(), session.Application{View: view, Task: "a", Agent: "a", Source: "fs://a/data", TimeoutSeconds: (24 * time.Hour).Seconds()})
	if err != nil {
		t.Fatal(err)
	}
	s.session, s.term = state.Record.ID, state.Term
	return s
}

// send writes the next segment.
func (s *shelf) send(ctx context.Context, st store.Store) {
	var b bytes.Buffer
	w, err := event.NewWriter(&b, event.Header{View: view, Session: s.session, Agent: "a", Source: "fs://a/data", Seq: uint64(s.sent), Term: s.term, CreatedAt: 1, Nonce: fmt.Sprint(s.sent)})
	if err != nil {
		s.t.Error(err)
		return
	}
	name := fmt.Sprintf("file-%d", s.sent)
	at := s.w.Clock.Now().UnixNano() + int64(s.sent)
	err = w.Add(&event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: at, Path: "/" + name, Atomic: true,
		Entry: event.Entry{Name: name, Type: event.File, Size: 1, MtimeNs: at}})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	key := layout.Segment(view, s.session, uint64(s.sent))
	s.sent++
	if _, err := store.Swap(ctx, st, key, b.Bytes(), ""); err != nil && ctx.Err() == nil {
		s.t.Error(err)
	}
}

// compactor is one of a process of its own.
func (s *shelf) compactor(name string, st store.Store, o compactor.Options) *compactor.Compactor {
	o.Store, o.Now, o.Random = st, s.w.Clock.Now, bytesOf{rand.New(rand.NewPCG(2, xxhash.Sum64String(name)))}
	c, err := compactor.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// goes starts an actor with a compactor. Errors of requests that were lost are its own affair.
func (s *shelf) goes(name string, o compactor.Options, do func(ctx context.Context, c *compactor.Compactor)) {
	s.w.Go(s.t, name, func(ctx context.Context, st store.Store) { do(ctx, s.compactor(name, st, o)) })
}

func fold(ctx context.Context, c *compactor.Compactor)   { _, _ = c.Fold(ctx, view) }
func merge(ctx context.Context, c *compactor.Compactor)  { _, _ = c.Merge(ctx, view) }
func retain(ctx context.Context, c *compactor.Compactor) { _, _ = c.Retain(ctx, view) }

// must folds or merges where nothing is lost.
func (s *shelf) must(what func(context.Context, string) (int, error)) {
	if _, err := what(s.t.Context(), view); err != nil {
		s.t.Fatal(err)
	}
}

// ends has a compactor that comes later fold what is left: then each segment counts once, and nothing that the view needs is missing.
func (s *shelf) ends() {
	c := s.compactor("later", s.w.Store, compactor.Options{MaxDeltas: 1})
	for range s.sent + 1 {
		s.must(c.Fold)
	}
	m, _, err := manifest.Load(s.t.Context(), s.w.Store, view)
	if err != nil {
		s.t.Fatal(err)
	}
	if n := uint64(s.sent); m.Counted.Segments != n || m.Counted.Events != n || m.Totals.Files != int64(n) {
		s.t.Errorf("of %d segments the view has %+v, %+v", n, m.Counted, m.Totals)
	}
	if err := c.CheckLayers(s.t.Context(), view); err != nil {
		s.t.Error(err)
	}
	for merged := true; merged; {
		if merged, err = c.Merge(s.t.Context(), view); err != nil {
			s.t.Fatal(err)
		}
	}
}

// outside folds and merges once before there is a bubble (testing/synctest): coders that all compactors share must not be made in one.
func outside(t *testing.T) {
	w := &World{Clock: sessiontest.NewClock(time.Time{})}
	w.Store = sim.NewStore(w.Clock.Now)
	s := newShelf(t, w)
	c := s.compactor("outside", w.Store, compactor.Options{})
	for range 3 {
		s.send(t.Context(), w.Store)
		s.must(c.Fold)
	}
	s.ends()
}

// TestVersionsInEveryOrder: whatever the order and the fault, versions follow each other, a segment is folded once, and nothing that is
// referred to is removed.
func TestVersionsInEveryOrder(t *testing.T) {
	outside(t)
	for _, c := range []struct {
		name    string
		options Options
		program Program
	}{
		{"two fold the same", Options{Lost: 1}, func(t *testing.T, w *World) func() {
			s := newShelf(t, w)
			for range 2 {
				s.send(t.Context(), w.Store)
			}
			s.goes("one", compactor.Options{}, fold)
			s.goes("two", compactor.Options{}, fold)
			return s.ends
		}},
		{"a fold beside its sender", Options{Lost: 1}, func(t *testing.T, w *World) func() {
			s := newShelf(t, w)
			s.send(t.Context(), w.Store)
			s.goes("one", compactor.Options{}, func(ctx context.Context, c *compactor.Compactor) { fold(ctx, c); fold(ctx, c) })
			w.Go(t, "sender", s.send)
			return s.ends
		}},
		{"a fold beside a merge", Options{Lost: 1}, func(t *testing.T, w *World) func() {
			s := newShelf(t, w)
			c := s.compactor("before", w.Store, compactor.Options{})
			for range 3 {
				s.send(t.Context(), w.Store)
				s.must(c.Fold)
			}
			s.send(t.Context(), w.Store)
			s.goes("one", compactor.Options{}, fold)
			s.goes("two", compactor.Options{MaxDeltas: 1, PartitionRows: 2, InlinePartitions: 2}, merge) // into leaves
			return s.ends
		}},
		{"a merge beside a merge", Options{Lost: 1}, func(t *testing.T, w *World) func() {
			s := newShelf(t, w)
			few := compactor.Options{MaxDeltas: 1, PartitionRows: 2, ClaimRows: 1}
			c := s.compactor("before", w.Store, few)
			for range 4 {
				s.send(t.Context(), w.Store)
				s.must(c.Fold)
				if _, err := c.Merge(t.Context(), view); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				s.send(t.Context(), w.Store)
				s.must(c.Fold)
			}
			s.goes("one", few, merge)
			s.goes("two", few, merge)
			return s.ends
		}},
		{"a fold beside retention", Options{Lost: 1}, func(t *testing.T, w *World) func() {
			s := newShelf(t, w)
			leaves := compactor.Options{MaxDeltas: 1, PartitionRows: 2, InlinePartitions: 1}
			c := s.compactor("before", w.Store, leaves)
			for range 3 {
				s.send(t.Context(), w.Store)
				s.must(c.Fold)
				if _, err := c.Merge(t.Context(), view); err != nil {
					t.Fatal(err)
				}
			}
			w.Clock.Advance(3 * time.Hour) // past the grace
			s.send(t.Context(), w.Store)
			s.goes("one", leaves, fold)
			s.goes("two", leaves, retain)
			return s.ends
		}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			explored(t, cases.Of(100), c.options, c.program)
		})
	}
}
