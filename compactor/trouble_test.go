package compactor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/sim"
)

// fullStore takes no writes while it is full.
type fullStore struct {
	store.Store
	full bool
}

func (s *fullStore) refuse() error {
	if s.full {
		return &fullError{}
	}
	return nil
}

type fullError struct{}

func (*fullError) Error() string { return "no space left on device" }
func (*fullError) Unwrap() error { return syscall.ENOSPC }

func (s *fullStore) Put(ctx context.Context, key string, body []byte) (store.Meta, error) {
	if err := s.refuse(); err != nil {
		return store.Meta{}, err
	}
	return s.Store.Put(ctx, key, body)
}

func (s *fullStore) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	if err := s.refuse(); err != nil {
		return store.Meta{}, err
	}
	return s.Store.Create(ctx, key, body)
}

func (s *fullStore) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	if err := s.refuse(); err != nil {
		return store.Meta{}, err
	}
	return s.Store.Replace(ctx, key, body, etag)
}

// TestStoreThatTakesNoWrites: the compactor says that it is not ready, with the reason, for as long as the store refuses its writes.
func TestStoreThatTakesNoWrites(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	w := newWorld()
	s := h.teller("one")
	s.tell(w.listEvent("/", event.Snapshot))
	s.send()
	h.once()
	w.put("/f", event.Entry{Type: event.File, MtimeNs: w.tick()})
	s.tell(w.putEvent("/f"), w.putEvent("/"))
	s.send()
	full := &fullStore{Store: h.store, full: true}
	h.store = full
	h.c = h.compactor(Options{})
	for range refusals {
		if err := h.c.Ready(); err != nil {
			t.Errorf("after less than %d failures: %v", refusals, err)
		}
		if _, err := h.c.Fold(h.ctx, viewName); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("fold: %v", err)
		}
	}
	if err := h.c.Ready(); err == nil || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), viewName) {
		t.Errorf("it is ready: %v", err)
	}
	full.full = false
	h.once()
	if err := h.c.Ready(); err != nil {
		t.Errorf("the store takes writes again: %v", err)
	}
	compare(h, w)
}

// TestFoldsThatFailAreTold: head says that folds fail, once, after a while; damaged settings at once. It is taken back when they succeed.
func TestFoldsThatFailAreTold(t *testing.T) {
	now := time.Now()
	o := Options{Now: func() time.Time { return now }}
	h := newHarness(t, t.TempDir(), 0, o)
	w := newWorld()
	s := h.teller("one")
	s.tell(w.listEvent("/", event.Snapshot))
	s.send()
	h.once()
	fails := func() {
		t.Helper()
		if _, err := h.c.Fold(h.ctx, viewName); err == nil {
			t.Fatal("the fold does not fail")
		}
	}
	settings, err := h.store.Get(h.ctx, layout.ViewConfig(viewName))
	if err != nil {
		t.Fatal(err)
	}
	at := h.head().Version
	for range 3 {
		if _, err := h.store.Put(h.ctx, layout.ViewConfig(viewName), []byte(`{"view_id":"v","hot_s":-1}`)); err != nil {
			t.Fatal(err)
		}
		h.c.configs.Forget(viewName)
		fails()
	}
	m := h.head()
	if m.Version != at+1 || m.Reason != "trouble" || m.Trouble == nil || m.Trouble.Kind != manifest.BadSettings || !strings.Contains(m.Trouble.Reason, "hot_s") {
		t.Fatalf("version %d after %d: %q, %+v", m.Version, at, m.Reason, m.Trouble)
	}
	other := h.compactor(o)
	if _, err := other.Fold(h.ctx, viewName); !errors.Is(err, viewconfig.ErrInvalid) || h.head().Version != at+1 {
		t.Errorf("another compactor: %v, version %d", err, h.head().Version)
	}
	if _, err := h.store.Put(h.ctx, layout.ViewConfig(viewName), settings.Body); err != nil {
		t.Fatal(err)
	}
	h.c.configs.Forget(viewName)
	h.once()
	if m := h.head(); m.Trouble != nil || m.Version != at+2 {
		t.Fatalf("version %d after %d: %+v", m.Version, at, m.Trouble)
	}

	// The directory for temporary files, or whatever: not at once.
	roster, err := h.store.Get(h.ctx, layout.Roster(viewName))
	if err == nil {
		_, err = h.store.Put(h.ctx, layout.Roster(viewName), []byte("no roster"))
	}
	if err != nil {
		t.Fatal(err)
	}
	fails()
	if m := h.head(); m.Trouble != nil {
		t.Errorf("told at once: %+v", m.Trouble)
	}
	now = now.Add(troubleAfter)
	fails()
	fails()
	if m := h.head(); m.Trouble == nil || m.Trouble.Kind != manifest.FoldsFail || m.Version != at+3 {
		t.Errorf("not told: version %d, %+v", m.Version, m.Trouble)
	}
	if _, err := h.store.Put(h.ctx, layout.Roster(viewName), roster.Body); err != nil {
		t.Fatal(err)
	}
	w.put("/f", event.Entry{Type: event.File, MtimeNs: w.tick()})
	s.tell(w.putEvent("/f"), w.putEvent("/"))
	s.send()
	h.fold()
	if m := h.head(); m.Trouble != nil || m.Version != at+4 {
		t.Errorf("still told: version %d, %+v", m.Version, m.Trouble)
	}
	compare(h, w)
}

// TestRefusedWrites: what the store says to a write, and that a directory for temporary files is full or takes none; nothing else.
func TestRefusedWrites(t *testing.T) {
	for err, want := range map[error]bool{
		written(errors.New("no")): true, syscall.ENOSPC: true, syscall.EDQUOT: true, syscall.EROFS: true, syscall.EIO: false, store.ErrDenied: false, written(nil): false,
	} {
		if got := err != nil && refusedWrite(fmt.Errorf("fold: %w", err)); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
	if err := written(store.ErrDenied); !errors.Is(err, store.ErrDenied) {
		t.Errorf("%v hides what was wrong", err)
	}
}

// TestTroubleIsToldOnce: after a while, or at once where time does not mend it, by one version, whoever else has the same to tell; of another kind again. A
// view without a version has no readers.
func TestTroubleIsToldOnce(t *testing.T) {
	now := time.Unix(1e6, 0)
	fails, settings := errors.New("no space"), fmt.Errorf("hot_s: %w", viewconfig.ErrInvalid)
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	counted := store.Count(h.store)
	h.store = counted
	o := Options{Now: func() time.Time { return now }}
	h.c = h.compactor(o)
	tell := func(c *Compactor, failure error, want uint64, kind string) {
		t.Helper()
		c.figures.folded(viewName, now, false, failure)
		c.tell(h.ctx, viewName, failure)
		m, _, err := manifest.LoadRoot(h.ctx, h.store, viewName)
		if want == 0 && errors.Is(err, manifest.ErrNoHead) {
			return
		}
		if err != nil || m.Version != want || kind == "" && m.Trouble != nil || kind != "" && (m.Trouble == nil || m.Trouble.Kind != kind) {
			t.Errorf("version %d, want %d: %+v, %v", m.Version, want, m.Trouble, err)
		}
	}
	tell(h.c, settings, 0, "")
	if _, err := h.c.publish(h.ctx, h.head(), "fold", func(*manifest.Manifest) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := h.c.recovered(h.ctx, h.head()); err != nil || h.head().Version != 1 {
		t.Errorf("nothing was wrong: version %d, %v", h.head().Version, err)
	}
	c, other := h.compactor(o), h.compactor(o)
	tell(c, fails, 1, "")
	tell(other, fails, 1, "")
	since := now
	now = now.Add(troubleAfter - 1)
	tell(c, fails, 1, "")
	now = now.Add(1)
	tell(c, fails, 2, manifest.FoldsFail)
	if m := h.head(); m.Trouble.Since != since.UnixNano() || !strings.Contains(m.Trouble.Reason, "no space") {
		t.Errorf("told: %+v", m.Trouble)
	}
	before := counted.Counts()
	c.tell(h.ctx, viewName, fails)
	if counted.Counts() != before {
		t.Error("who has told asks again")
	}
	tell(other, fails, 2, manifest.FoldsFail)
	before = counted.Counts()
	other.tell(h.ctx, viewName, fails)
	if counted.Counts() != before {
		t.Error("who has seen that it is told asks again")
	}
	tell(h.compactor(o), settings, 3, manifest.BadSettings)
	if err := h.c.recovered(h.ctx, h.head()); err != nil || h.head().Version != 4 || h.head().Trouble != nil {
		t.Errorf("recovered: version %d, %+v, %v", h.head().Version, h.head().Trouble, err)
	}
}

// TestReadyForAWhile: a compactor is ready until folds have failed for long.
func TestReadyForAWhile(t *testing.T) {
	now := time.Unix(1e6, 0)
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	h.c = h.compactor(Options{Now: func() time.Time { return now }})
	h.c.figures.folded(viewName, now, false, errors.New("the store is away"))
	if now = now.Add(failingLong); h.c.Ready() != nil {
		t.Error("not ready at once")
	}
	now = now.Add(1)
	var e *httpapi.Error
	if err := h.c.Ready(); !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || e.Hint == "" || !strings.Contains(e.Detail, "the store is away") {
		t.Errorf("ready: %+v", err)
	}
}
