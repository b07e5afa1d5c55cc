package compactor

import (
	"errors"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// TestCheckLayers: a layer that is missing, or has another length, is found though there is nothing to fold.
func TestCheckLayers(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	if err := h.c.CheckLayers(h.ctx, viewName); err != nil {
		t.Errorf("of a view without a version: %v", err)
	}
	w := newWorld()
	w.put("/f", event.Entry{Type: event.File, MtimeNs: 1})
	s := h.teller("one")
	s.tell(w.listEvent("/", event.Snapshot))
	s.send()
	h.once()
	if err := h.c.CheckLayers(h.ctx, viewName); err != nil {
		t.Error(err)
	}
	key := layout.Layer(viewName, h.head().Deltas[0].ID)
	good, err := h.store.Get(h.ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	check := func(reason string) {
		t.Helper()
		var e *layer.FormatError
		if n, err := h.c.Once(h.ctx, viewName); n != 0 || err != nil {
			t.Fatalf("%d segments, %v", n, err)
		}
		if err := h.c.CheckLayers(h.ctx, viewName); !errors.As(err, &e) || e.Object != key || !strings.Contains(err.Error(), reason) {
			t.Errorf("%v, want %q of %s", err, reason, key)
		}
	}
	if err := h.store.Delete(h.ctx, key); err != nil {
		t.Fatal(err)
	}
	check("the object is missing")
	if err := h.c.CheckLayers(h.ctx, viewName); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if _, err := h.store.Put(h.ctx, key, good.Body[:10]); err != nil {
		t.Fatal(err)
	}
	check("it has 10 bytes instead of ")
	if _, err := h.store.Put(h.ctx, key, good.Body); err != nil {
		t.Fatal(err)
	}
	if err := h.c.CheckLayers(h.ctx, viewName); err != nil {
		t.Error(err)
	}
}
