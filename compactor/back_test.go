package compactor

import (
	"errors"
	"fmt"
	"testing"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
)

// TestNothingIsBuiltOnWhatWentBack takes away, or puts back, an object of a view that has several versions. Neither the process that
// knew better nor one that begins then goes on from there, and retention removes nothing that could mend it.
func TestNothingIsBuiltOnWhatWentBack(t *testing.T) {
	for name, harm := range map[string]func(h *harness, first map[string][]byte){
		"head is gone":                  func(h *harness, _ map[string][]byte) { h.remove(layout.Head(viewName)) },
		"head is version 1 again":       func(h *harness, first map[string][]byte) { h.put(layout.Head(viewName), first[layout.Head(viewName)]) },
		"the roster is gone":            func(h *harness, _ map[string][]byte) { h.remove(layout.Roster(viewName)) },
		"the roster is of an old epoch": func(h *harness, first map[string][]byte) { h.put(layout.Roster(viewName), first["epoch"]) },
		"the roster lacks a new session": func(h *harness, first map[string][]byte) {
			h.put(layout.Roster(viewName), first[layout.Roster(viewName)])
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, t.TempDir(), 0, Options{})
			first := map[string][]byte{}
			h.teller("early")
			h.once()
			first["epoch"] = h.body(layout.Roster(viewName))
			if _, err := h.admin().Reset(h.ctx, viewName); err != nil {
				t.Fatal(err)
			}
			s := h.teller("a")
			s.tell(putFile("/a", 1e9))
			s.send()
			h.once()
			first[layout.Head(viewName)], first[layout.Roster(viewName)] = h.body(layout.Head(viewName)), h.body(layout.Roster(viewName))
			late := h.teller("b")
			for i := range 3 {
				late.tell(putFile(fmt.Sprintf("/b%d", i), int64(i+2)*1e9))
				late.send()
				s.tell(putFile(fmt.Sprintf("/a%d", i), int64(i+2)*1e9))
				s.send()
				h.once()
			}
			good, fresh := h.head(), h.compactor(Options{})
			harm(h, first)
			s.tell(putFile("/after", 9e9))
			s.send()
			for who, c := range map[string]*Compactor{"the process": h.c, "another process": fresh} {
				if n, err := c.Fold(h.ctx, viewName); !errors.Is(err, manifest.ErrWentBack) {
					t.Errorf("%s folded %d: %v", who, n, err)
				}
			}
			if removed, err := fresh.Retain(h.ctx, viewName); removed > 0 {
				t.Errorf("retention removed %d: %v", removed, err)
			}
			if m, err := manifest.NewLeaves(0, 0).LoadKey(h.ctx, h.store, viewName, good.Key()); err != nil || m.Version != good.Version {
				t.Errorf("the version that was current: %v", err)
			}
		})
	}
}

// TestFirstVersionAfterDeathAtTheFirstCommit: a manifest of version 1 that was never published is no proof of a head.
func TestFirstVersionAfterDeathAtTheFirstCommit(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	s := h.teller("a")
	s.tell(putFile("/a", 1e9))
	s.send()
	h.once()
	h.remove(layout.Head(viewName))
	if n, err := h.compactor(Options{}).Fold(h.ctx, viewName); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, there := h.present()["/a"]; !there {
		t.Error("the file is not there")
	}
}

func (h *harness) body(key string) []byte {
	h.Helper()
	o, err := h.store.Get(h.ctx, key)
	if err != nil {
		h.Fatalf("%v", err)
	}
	return o.Body
}

func (h *harness) put(key string, body []byte) {
	h.Helper()
	if _, err := h.store.Put(h.ctx, key, body); err != nil {
		h.Fatalf("%v", err)
	}
}

func (h *harness) remove(key string) {
	h.Helper()
	if err := h.store.Delete(h.ctx, key); err != nil {
		h.Fatalf("%v", err)
	}
}
