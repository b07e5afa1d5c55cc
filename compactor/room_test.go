package compactor

import (
	"bytes"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/viewconfig"
)

// allow sets how many entries the view may have, for compactors that have not read its settings yet.
func (h *harness) allow(entries int64) {
	h.Helper()
	config := viewconfig.Default(viewName)
	config.StalenessSeconds, config.MaxEntries = 0, entries
	if err := viewconfig.Save(h.ctx, h.store, config); err != nil {
		h.Fatalf("save config: %v", err)
	}
	h.c.configs.Forget(viewName)
}

// TestFullViewTakesNoNewNames: a view has as many entries as it may. What it has is kept current, what was left out is named once, and
// deletes make room.
func TestFullViewTakesNoNewNames(t *testing.T) {
	var log bytes.Buffer
	h := newHarness(t, t.TempDir(), 0, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	h.allow(4)
	w := newWorld()
	s := h.teller("one")
	for _, name := range []string{"/a", "/b", "/c", "/d", "/e"} {
		w.put(name, event.Entry{Type: event.File, Size: 1, MtimeNs: w.tick()})
	}
	s.tell(w.listEvent("/", event.Snapshot))
	s.send()
	h.once()
	if got := slices.Sorted(maps.Keys(h.present())); !slices.Equal(got, []string{"/", "/a", "/b", "/c"}) {
		t.Fatalf("a view of four entries has %q", got)
	}
	m := h.head()
	if m.Full == nil || m.Full.Names != 2 || m.Full.Limit != 4 || len(m.Refused) != 1 || m.RefusedCount != 1 {
		t.Fatalf("full: %+v, refused: %+v", m.Full, m.Refused)
	}
	if r := m.Refused[0]; r.Session != s.id || r.Seq != 0 || r.Agent != "one" || r.Names != 2 || r.At != m.FoldedAt || !strings.Contains(r.Reason, "--max-entries") {
		t.Errorf("refused: %+v", r)
	}

	// What it has is followed. A new directory with a file in it would be two.
	w.put("/a", event.Entry{Type: event.File, Size: 9, MtimeNs: w.tick()})
	w.remove("/b")
	put := w.putEvent("/a")
	put.Path, put.Entry = "/new/f", event.Entry{Name: "f", Type: event.File, Size: 1, MtimeNs: 9}
	s.tell(w.putEvent("/a"), put, w.deleteEvent("/b"))
	s.send()
	h.once()
	rows := h.present()
	if got := slices.Sorted(maps.Keys(rows)); !slices.Equal(got, []string{"/", "/a", "/c"}) || rows["/a"].Size != 9 {
		t.Fatalf("after a delete: %q, /a has %d bytes", got, rows["/a"].Size)
	}
	w.put("/f", event.Entry{Type: event.File, Size: 1, MtimeNs: w.tick()})
	s.tell(w.putEvent("/f"), put)
	s.send()
	h.once()
	if got := slices.Sorted(maps.Keys(h.present())); !slices.Equal(got, []string{"/", "/a", "/c", "/f"}) {
		t.Fatalf("with room for one: %q", got)
	}
	if m := h.head(); len(m.Refused) != 3 || m.RefusedCount != 3 || m.Full.Names != 4 {
		t.Errorf("full: %+v, refused: %+v", m.Full, m.Refused)
	}
	if n := strings.Count(log.String(), "the view is full"); n != 1 {
		t.Errorf("the log says it %d times:\n%s", n, log.String())
	}

	// With room again, the leader's session ends once, and the scan of the next one clears the mark.
	h.allow(100)
	h.once()
	if m := h.head(); !m.Full.Rescan {
		t.Fatalf("full: %+v", m.Full)
	}
	if _, err := h.c.ledger.Alive(h.ctx, viewName, s.id); err == nil {
		t.Error("the session goes on")
	}
	before := h.head().Version
	if h.once(); h.head().Version != before {
		t.Error("it is told again")
	}
	next := h.teller("one")
	next.tell(event.Event{Kind: event.Marked, Evidence: event.Snapshot, ObservedAt: w.tick(), Path: "/", Mark: event.Mark{Kind: event.SnapshotBegin}},
		w.listEvent("/", event.Snapshot))
	next.send()
	h.once()
	compare(h, w)
	if m := h.head(); m.Full != nil {
		t.Errorf("after the scan it is full: %+v", m.Full)
	}
}

// TestAssumedDirectoryNeedsRoomOnce: directories that are assumed for a name count with the first one in them.
func TestAssumedDirectoryNeedsRoomOnce(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	h.allow(5)
	w := newWorld()
	s := h.teller("one")
	s.tell(w.listEvent("/", event.Snapshot))
	for _, path := range []string{"/x/y/f", "/x/y/g", "/x/y/h"} {
		put := w.putEvent("/")
		put.Path, put.Entry = path, event.Entry{Name: path[5:], Type: event.File, MtimeNs: 9}
		s.tell(put)
	}
	s.send()
	h.once()
	if got := slices.Sorted(maps.Keys(h.present())); !slices.Equal(got, []string{"/", "/x", "/x/y", "/x/y/f", "/x/y/g"}) {
		t.Errorf("a view of five entries has %q", got)
	}
}

// TestFullViewByAnyEvents: whatever is said, a view never has more entries than it may, its totals are exact, and whenever a name was left
// out its segment is named.
func TestFullViewByAnyEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSaying(t, false)
		way := s.drawTelling(t, "way")
		limit := rapid.Int64Range(1, 6).Draw(t, "limit")
		var whole map[string]string // if it had no limit; that takes as long again
		if rapid.IntRange(0, 2).Draw(t, "compare") == 0 {
			whole = s.told(t, way)
		}
		var full *harness
		var m version
		seen := s.toldTo(t, way, func(h *harness) {
			config := viewconfig.Default(viewName)
			config.StalenessSeconds, config.MaxEntries = lawStaleness.Seconds(), limit
			if err := viewconfig.Save(h.ctx, h.store, config); err != nil {
				t.Fatal(err)
			}
			full = h
		}, func() {
			if m = full.head(); m.Entries() > limit {
				t.Fatalf("%d entries, of %d", m.Entries(), limit)
			}
		})
		for _, r := range m.Refused {
			if r.Names == 0 || r.Seq >= m.Sessions[r.Session].Next+1 {
				t.Fatalf("refused: %+v, session %+v", r, m.Sessions[r.Session])
			}
		}
		if whole == nil {
			return
		}
		if int64(len(whole)) <= limit && m.Full == nil && difference(whole, seen) != "" {
			t.Fatal("it was never full, but lacks something: " + difference(whole, seen))
		}
		if int64(len(whole)) > limit && m.Full == nil {
			t.Fatalf("%d entries do not fit, and nothing was left out of %d", len(whole), limit)
		}
	})
}

// TestTombstonesAreBounded: deletes of names that nobody knows do not fill a view.
func TestTombstonesAreBounded(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	h.allow(3)
	w := newWorld()
	s := h.teller("one")
	s.tell(w.listEvent("/", event.Snapshot))
	s.send()
	h.once()
	m := *h.head().Manifest
	room := roomIn(&m, 3)
	if room.stones != 4*3+moreTombstones || room.entries != 2 {
		t.Fatalf("room: %+v", room)
	}
	room.stones = 1
	b := newBatch(0, observationDefaults{})
	for _, path := range []string{"/x", "/y"} {
		ev := w.deleteEvent(path)
		b.add(&ev, &origin{session: s.id, seq: 7})
	}
	walk, err := h.c.resolve(h.ctx, &m, evidence.Rules{}, b, &turn{claims: 100}, room)
	if err != nil {
		t.Fatal(err)
	}
	defer walk.close()
	if all := room.refusals(); len(all) != 1 || all[0].Names != 1 || all[0].Seq != 7 {
		t.Errorf("refused: %+v", all)
	}
}

// TestRefusedSegmentIsNamedOnce: what is wrong with a segment is in the manifest, which readers have.
func TestRefusedSegmentIsNamedOnce(t *testing.T) {
	var log bytes.Buffer
	h := newHarness(t, t.TempDir(), 0, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	w := newWorld()
	bad, good := h.teller("bad"), h.teller("good")
	good.tell(w.listEvent("/", event.Snapshot))
	good.send()
	if _, err := h.store.Create(h.ctx, "views/"+viewName+"/segments/"+bad.id+"/00000000000000000000.zst", []byte("no segment")); err != nil {
		t.Fatal(err)
	}
	h.once()
	h.c = h.compactor(Options{})
	h.once()
	m := h.head()
	if len(m.Refused) != 1 || m.RefusedCount != 1 || m.Refused[0].Session != bad.id || m.Refused[0].Agent != "bad" || m.Refused[0].Names != 0 || m.Refused[0].Reason == "" {
		t.Errorf("refused: %+v", m.Refused)
	}
	if n := strings.Count(log.String(), "is damaged"); n != 1 {
		t.Errorf("the log says it %d times:\n%s", n, log.String())
	}
	if o, err := session.List(h.ctx, h.store, viewName); err != nil || len(o.Sessions) != 2 {
		t.Errorf("sessions: %+v, %v", o, err)
	}
}
