package compactor

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
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
