package compactor

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/sim"
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

// TestRoomForANameAndWhatIsAbove: a new name takes room for itself and for directories that are assumed for it, once; what is known, and what is gone, takes
// none. A name that nobody knows, present or gone, needs room for a tombstone, and only a tombstone takes that.
func TestRoomForANameAndWhatIsAbove(t *testing.T) {
	directory := func(parent, name string) *node {
		return &node{row: evidence.Row{Parent: parent, Name: name, Type: event.Directory}, known: true}
	}
	file, gone := evidence.Row{Type: event.File}, evidence.Row{Type: event.File, Removed: true}
	for _, c := range []struct {
		what            string
		room            room
		in              string
		was, is         evidence.Row
		known           bool
		admits          bool
		entries, stones int64 // left
		held            int
	}{
		{"without a limit", room{}, "/x/y/", evidence.Row{}, file, false, true, 0, 0, 0},
		{"in a directory that is there", room{limit: 9, entries: 1, stones: 1}, "/there/", evidence.Row{}, file, false, true, 0, 1, 0},
		{"no room for it", room{limit: 9, entries: 0, stones: 1}, "/there/", evidence.Row{}, file, false, false, 0, 1, 0},
		{"no room for what is above", room{limit: 9, entries: 2, stones: 1}, "/x/y/", evidence.Row{}, file, false, false, 2, 1, 0},
		{"room for what is above", room{limit: 9, entries: 3, stones: 1}, "/x/y/", evidence.Row{}, file, false, true, 0, 1, 2},
		{"above is held already", room{limit: 9, entries: 2, stones: 1}, "/held/z/", evidence.Row{}, file, false, true, 0, 1, 2},
		{"it comes again", room{limit: 9, entries: 1, stones: 0}, "/there/", gone, file, true, true, 0, 0, 0},
		{"it comes again, without room", room{limit: 9, entries: 0, stones: 0}, "/there/", gone, file, true, false, 0, 0, 0},
		{"it changes", room{limit: 9, entries: 0, stones: 0}, "/there/", file, file, true, true, 0, 0, 0},
		{"it goes", room{limit: 9, entries: 0, stones: 0}, "/there/", file, gone, true, true, 0, 0, 0},
		{"a tombstone", room{limit: 9, entries: 0, stones: 1}, "/there/", evidence.Row{}, gone, false, true, 0, 0, 0},
		{"no room for a tombstone", room{limit: 9, entries: 5, stones: 0}, "/there/", evidence.Row{}, gone, false, false, 5, 0, 0},
		{"too many tombstones for any new name", room{limit: 9, entries: 5, stones: 0}, "/there/", evidence.Row{}, file, false, false, 5, 0, 0},
		{"above the root", room{limit: 9, entries: 1, stones: 1}, "", evidence.Row{}, evidence.Row{Type: event.Directory}, false, true, 0, 1, 0},
	} {
		w := &walk{room: &c.room, dirs: map[string]*node{"/": directory("", ""), "/there/": directory("/", "there"), "/x/": directory("/", "x"), "/x/y/": directory("/x/", "y"),
			"/held/": {row: evidence.Row{Parent: "/", Name: "held"}, held: true}, "/held/z/": {row: evidence.Row{Parent: "/held/", Name: "z"}}}}
		w.dirs["/x/"].row.Removed, w.dirs["/x/y/"].known = true, false
		v := &visit{walk: w, dir: w.dirs[c.in]}
		if got := v.admits(&resolution{row: c.is, was: c.was, wasKnown: c.known}); got != c.admits {
			t.Errorf("%s: is admitted: %v", c.what, got)
		}
		held := 0
		for n := v.dir; n != nil; n = w.above(n) {
			if n.held {
				held++
			}
		}
		if c.room.entries != c.entries || c.room.stones != c.stones || held != c.held {
			t.Errorf("%s: %+v is left, %d directories are held", c.what, c.room, held)
		}
	}
	of := func(limit int64) room {
		return *roomIn(&manifest.Manifest{Totals: evidence.Totals{Files: 2, Directories: 1}, Deltas: []layer.Info{{Removed: 5}}}, limit)
	}
	for limit, want := range map[int64]room{
		0: {entries: math.MaxInt64, stones: math.MaxInt64}, 10: {limit: 10, entries: 7, stones: 40 + moreTombstones - 5}, 2: {limit: 2, entries: -1, stones: 8 + moreTombstones - 5},
		math.MaxInt64: {limit: math.MaxInt64, entries: math.MaxInt64 - 3, stones: math.MaxInt64},
	} {
		if got := of(limit); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the room in a view of %d: %+v, want %+v", limit, got, want)
		}
	}
}

// TestWhoSpokeOfWhatWasLeftOut: the segments of each claim and each listing that has the name are named, those that only have it looked up, or speak of
// others, are not.
func TestWhoSpokeOfWhatWasLeftOut(t *testing.T) {
	segment := func(session string, seq uint64) *origin {
		return &origin{session: session, seq: seq, agent: "agent of " + session}
	}
	claim := func(name string, verb evidence.Verb, by *origin) namedClaim {
		return namedClaim{name: name, verb: verb, by: by}
	}
	has := func(by *origin, names ...string) *listing {
		l := &listing{by: by}
		for _, name := range names {
			l.entries = append(l.entries, event.Entry{Name: name})
		}
		return l
	}
	w := &walk{room: &room{limit: 9}}
	v := &visit{walk: w, group: &group{parent: "/", claims: []namedClaim{claim("a", evidence.Exists, segment("other", 1)), claim("b", 0, segment("looks up", 1)),
		claim("b", evidence.Exists, segment("one", 2)), claim("b", evidence.Exists, segment("one", 1)), claim("b", evidence.Exists, segment("later", 1))}}, claimsPassed: 4,
		listings: []*listing{has(segment("four", 1), "b"), has(segment("five", 1), "a", "b"), has(segment("six", 1), "a", "b"), has(segment("seven", 1), "b")},
		passed:   []int{1, 2, 1, 0}}
	r := &resolution{row: evidence.Row{Parent: "/", Name: "b", Size: 7}}
	r.Changed = true
	if v.leaveOut(r, layer.Key{Parent: "/", Name: "b"}); r.Changed || r.row != (evidence.Row{Parent: "/", Name: "b"}) {
		t.Errorf("it became %+v", r)
	}
	r.Changed, r.was, r.wasKnown = true, evidence.Row{Parent: "/", Name: "b", Size: 3}, true
	if v.leaveOut(r, layer.Key{Parent: "/", Name: "b"}); r.Changed || r.row != r.was {
		t.Errorf("it became %+v", r)
	}
	var got []string
	for _, one := range w.room.refusals() {
		got = append(got, fmt.Sprint(one.Session, " ", one.Seq, " ", one.Names))
		if one.Agent != "agent of "+one.Session || !strings.Contains(one.Reason, "has 9 entries") {
			t.Errorf("%+v", one)
		}
	}
	if want := []string{"five 1 2", "four 1 2", "one 1 2", "one 2 2"}; !slices.Equal(got, want) {
		t.Errorf("these spoke of it: %q, want %q", got, want)
	}
	m := &manifest.Manifest{FoldedAt: 1}
	if w.room.recordIn(m); m.Full == nil || m.Full.Names != 8 || m.Full.Limit != 9 || len(m.Refused) != 4 {
		t.Errorf("full: %+v, refused: %+v", m.Full, m.Refused)
	}
	alone := &visit{walk: &walk{room: &room{limit: 9}}, group: &group{parent: "/", claims: []namedClaim{claim("b", evidence.Exists, segment("one", 1))}}, claimsPassed: 1}
	alone.leaveOut(r, layer.Key{Parent: "/", Name: "b"})
	if m = (&manifest.Manifest{}); len(alone.room.left) != 1 {
		t.Errorf("one claim alone: %+v", alone.room.left)
	} else if alone.room.recordIn(m); m.Full == nil || m.Full.Names != 1 {
		t.Errorf("one name: %+v", m.Full)
	}
	m = &manifest.Manifest{}
	if (&room{limit: 9}).recordIn(m); m.Full != nil || m.Refused != nil {
		t.Errorf("nothing was left out: %+v, %+v", m.Full, m.Refused)
	}
}

// TestFullViewIsFilledAgain once it may have more entries, or has a quarter of them free.
func TestFullViewIsFilledAgain(t *testing.T) {
	for _, c := range []struct {
		full         *manifest.Full
		has, may     int64
		again, asked bool
	}{
		{nil, 1, 100, false, false}, {&manifest.Full{Limit: 100}, 76, 100, false, false}, {&manifest.Full{Limit: 100}, 75, 100, true, true}, {&manifest.Full{Limit: 100}, 100, 101, true, true},
		{&manifest.Full{Limit: 100}, 76, 99, false, false}, {&manifest.Full{Limit: 100}, 100, 0, true, true}, {&manifest.Full{Limit: 100, Rescan: true}, 1, 0, true, false},
	} {
		h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
		h.c = h.compactor(Options{})
		if _, err := h.c.publish(h.ctx, h.head(), "fold", func(m *manifest.Manifest) error {
			m.Full, m.Totals.Files = c.full, c.has
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := h.c.fillAgain(h.ctx, h.head(), viewconfig.Config{MaxEntries: c.may}); err != nil {
			t.Fatal(err)
		}
		if m := h.head(); (m.Full != nil && m.Full.Rescan) != c.again || (m.Version == 2) != c.asked {
			t.Errorf("with %d entries of %d: version %d, %+v", c.has, c.may, m.Version, m.Full)
		}
	}
}
