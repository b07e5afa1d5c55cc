package compactor

import (
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// deepPaths are in a tree whose names come in another order than the directories of these names: "a-b/" is before "a/".
var deepPaths = func() (paths []string) {
	names := []string{"a", "a-b", "a.", "b"}
	for _, x := range names {
		paths = append(paths, "/"+x)
		for _, y := range names {
			paths = append(paths, "/"+x+"/"+y)
			for _, z := range names {
				paths = append(paths, "/"+x+"/"+y+"/"+z)
			}
		}
	}
	return paths
}()

// drawDeepEvent draws an event of a tree of three levels.
func drawDeepEvent(t *rapid.T, at int64) event.Event {
	path := rapid.SampledFrom(deepPaths).Draw(t, "path")
	_, name := event.Split(path)
	ev := event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: at, Path: path}
	switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
	case what < 4:
		ev.Atomic = rapid.Bool().Draw(t, "atomic")
		ev.Entry = drawDeepEntry(t, name, at, event.File, event.Directory, event.Directory, event.Symlink)
	case what < 6:
		ev.Kind = event.Delete
	default:
		ev.Kind, ev.Evidence = event.Listing, rapid.SampledFrom([]event.Evidence{event.Snapshot, event.Audit, event.OnDemand}).Draw(t, "evidence")
		if rapid.IntRange(0, 3).Draw(t, "root") == 0 {
			ev.Path, name = "/", ""
		}
		ev.Entry = drawDeepEntry(t, name, at, event.Directory)
		for _, n := range []string{"a", "a-b", "a.", "b"} {
			if rapid.IntRange(0, 3).Draw(t, "listed") > 0 {
				ev.Entries = append(ev.Entries, drawDeepEntry(t, n, at, event.File, event.Directory, event.Directory))
			}
		}
	}
	return ev
}

func drawDeepEntry(t *rapid.T, name string, at int64, kinds ...event.Type) event.Entry {
	e := drawEntry(t, name, at, kinds...)
	e.UID, e.GID, e.Links = rapid.Uint32Range(0, 1).Draw(t, "uid"), 0, 1
	e.Mode = rapid.SampledFrom([]uint32{0o700, 0o755}).Draw(t, "mode")
	return e
}

// outcome is all that a fold would publish of a batch.
func outcome(t tb, r *resolved) (rows []evidence.Row, rest string) {
	if err := r.changes(func(row *evidence.Row) error {
		rows = append(rows, *row)
		return nil
	}); err != nil {
		t.Fatalf("read the rows: %v", err)
	}
	return rows, fmt.Sprintf("totals %+v, %d stale, suspects %v", r.totals, r.stale, r.suspects.list())
}

// TestPartsAreAsOneWalk: whatever is folded upon whatever, a batch that is divided changes the same rows to the same as one that is not.
func TestPartsAreAsOneWalk(t *testing.T) {
	parted, most := 0, 0
	defer func() {
		if !t.Failed() && (parted == 0 || most < 3) {
			t.Errorf("%d batches were divided, into %d parts at most: that shows nothing", parted, most)
		}
	}()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(fastTemp(), "fustor-parts-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		h := newHarness(rt, dir, lawStaleness, Options{Workers: 1, MaxDeltas: 2, PartitionRows: 20})
		tellers := []*teller{h.teller("one"), h.teller("two")}
		for _, s := range tellers {
			s.leads = 1 << 60
		}
		at := int64(1_000e9)
		for range rapid.IntRange(1, 5).Draw(rt, "folds") {
			for range rapid.IntRange(1, 25).Draw(rt, "events") {
				at += rapid.SampledFrom([]int64{1e9, 7e9, 50e9}).Draw(rt, "later")
				ev := drawDeepEvent(rt, at-rapid.SampledFrom([]int64{0, 0, 30e9, 300e9}).Draw(rt, "late"))
				s := rapid.SampledFrom(tellers).Draw(rt, "by")
				s.local = rapid.Bool().Draw(rt, "local")
				s.tell(ev)
				if rapid.Bool().Draw(rt, "sent") {
					s.send()
				}
			}
			for _, s := range tellers {
				s.send()
			}
			head, rules := h.head(), evidence.Rules{Hot: 30e9, Staleness: int64(lawStaleness)}
			resolve := func(workers int) *resolved {
				c, turn := h.compactor(Options{Workers: workers, WorkerClaims: 1}), &turn{large: true, claims: 1 << 10, bytes: 1 << 20, of: h.c.turns.large}
				in, err := c.readBatch(h.ctx, head.Manifest, rules, turn)
				turn.end()
				if err != nil {
					rt.Fatalf("read the batch: %v", err)
				}
				r, err := c.resolve(h.ctx, head.Manifest, rules, in.batch, turn, noLimit())
				if err != nil {
					rt.Fatalf("resolve it with %d workers: %v", workers, err)
				}
				return r
			}
			one, parts := resolve(1), resolve(rapid.IntRange(2, 40).Draw(rt, "workers"))
			if n := len(parts.parts); n > 1 {
				parted, most = parted+1, max(most, n)
			}
			want, wantRest := outcome(rt, one)
			got, rest := outcome(rt, parts)
			one.close()
			parts.close()
			if rest != wantRest || !slices.Equal(got, want) {
				var from []string
				for _, p := range parts.parts {
					from = append(from, p.from)
				}
				rt.Fatalf("in parts from %q it is\n%s\n%s\n\nand as one\n%s\n%s", from, rest, listed(got), wantRest, listed(want))
			}
			h.fold()
			if rapid.Bool().Draw(rt, "merge") {
				h.merge()
			}
		}
	})
}

func listed(rows []evidence.Row) string {
	var s strings.Builder
	for i := range rows {
		fmt.Fprintf(&s, "%+v\n", rows[i])
	}
	return s.String()
}

// TestWhatIsAroundAPart: the directories that its first one is in, and of their entries those that are directories around it or in it.
func TestWhatIsAroundAPart(t *testing.T) {
	names := []string{"", "a", "a-", "a-b", "a-b-c", "a.", "b", "bb", "c"}
	b := newBatch(0, observationDefaults{})
	for _, dir := range []string{"/a-b/b", "/a-b/b/x", "/a", "/c", "/b/a"} {
		ev := event.Event{Kind: event.Delete, Evidence: event.Realtime, Path: dir + "/f"}
		b.add(&ev, &origin{session: "s"})
	}
	b.finish()
	for _, c := range []struct {
		from, until string
		around      []string
		read        string // names that are read in the directories around
	}{
		{"", "/a/", nil, ""},
		{"/", "", []string{""}, `""`},
		{"/a-b/b/", "/a/", []string{"", "/", "/a-b/"}, `"" "a" "a-b" "b"`},
		{"/a-b/b/x/", "", []string{"", "/", "/a-b/", "/a-b/b/"}, `"" "a" "a-b" "b" "c" "b" "x"`},
		{"/a/", "/b/a/", []string{"", "/"}, `"" "a" "a-b" "b"`},
		{"/b/a/", "/c/", []string{"", "/", "/b/"}, `"" "b" "c" "a"`},
		{"/c/", "", []string{"", "/"}, `"" "c"`},
	} {
		p := part{from: c.from, until: c.until}
		if got := p.around(); !slices.Equal(got, c.around) {
			t.Errorf("around the part from %q: %q", c.from, got)
		}
		for _, around := range c.around {
			from, to := p.namesIn(around)
			for _, name := range names {
				if (name == "") != (around == "") {
					continue
				}
				dir := around + name + "/"
				in := name >= from && (to == "" || name < to)
				if p.concerns(dir) && !in {
					t.Errorf("the part from %q until %q has %q, but of the names in %q only those from %q to %q", c.from, c.until, dir, around, from, to)
				}
			}
		}
		var read []string
		for _, g := range p.toRead(b) {
			for i := range g.claims {
				read = append(read, fmt.Sprintf("%q", g.claims[i].name))
			}
		}
		if got := strings.Join(read, " "); got != c.read {
			t.Errorf("from %q until %q it reads %s around it, want %s", c.from, c.until, got, c.read)
		}
	}
	// Where no name begins with a shorter one that comes after it as a directory, only names from the first on are looked at.
	if from, to := (&part{from: "/run_7/x/", until: "/run_9/"}).namesIn("/"); from != "run_7" || to != "run_9/" {
		t.Errorf("names from %q to %q", from, to)
	}
	if from, to := (&part{from: "/run-7/x/", until: "/z/"}).namesIn("/run-7/"); from != "x" || to != "" {
		t.Errorf("names from %q to %q", from, to)
	}
	if from, _ := (&part{from: "/a-b-c/x/"}).namesIn("/"); from != "a" {
		t.Errorf("names from %q", from)
	}
	if from, _ := (&part{from: "/-a/x/"}).namesIn("/"); from != "-a" {
		t.Errorf("names from %q", from)
	}
}

// TestPartsShareADirectory: of a directory that several parts have something of, all changes count, and the newest time of all.
func TestPartsShareADirectory(t *testing.T) {
	a := &node{direct: noChange(), latest: 3, fell: []string{"a"}, opened: []string{"a"}}
	b := &node{direct: noChange(), latest: 7, fell: []string{"b"}, opened: []string{"b"}, closes: true, reopens: true}
	was := evidence.Totals{Files: 1, Directories: 2, Others: 3, Unmeasured: 4, Bytes: 500, Allocated: 600, LinkedAllocated: 700, LatestMtimeNs: 8}
	is := evidence.Totals{Files: 10, Directories: 20, Others: 30, Unmeasured: 40, Bytes: 50, Allocated: 60, LinkedAllocated: 70, LatestMtimeNs: 9}
	a.direct.add(evidence.Totals{Files: 5, Bytes: math.MaxInt64, LatestMtimeNs: 5}, was)
	b.direct.add(was, is)
	want := noChange()
	want.add(evidence.Totals{Files: 5, Bytes: math.MaxInt64, LatestMtimeNs: 5}, is)
	want.added, want.lost = 9, 8
	a.take(b)
	if a.direct != want || a.latest != 7 || !slices.Equal(a.fell, []string{"a", "b"}) || !slices.Equal(a.opened, []string{"a", "b"}) || !a.closes || !a.reopens {
		t.Errorf("together: %+v, want %+v", a, want)
	}
}

// TestPartsOfABatch: parts follow each other, none is empty, and each has about as many names as the others, as far as directories allow.
func TestPartsOfABatch(t *testing.T) {
	b := newBatch(0, observationDefaults{})
	by := &origin{session: "s"}
	for i := range 1000 {
		ev := event.Event{Kind: event.Delete, Evidence: event.Realtime, Path: fmt.Sprintf("/d%02d/f%d", i%100, i)}
		b.add(&ev, by)
	}
	b.finish()
	for most := range 9 {
		parts := b.divide(max(1, most))
		if len(parts) != max(1, most) {
			t.Fatalf("%d parts, not %d", len(parts), most)
		}
		var all []*group
		until := ""
		for i, p := range parts {
			if p.from != until || i > 0 && p.from == "" || p.names == 0 || p.groups[0].parent != p.from {
				t.Errorf("part %d of %d is from %q until %q, of %d names", i, most, p.from, p.until, p.names)
			}
			if first := parts[0].names; p.names < first/2 || p.names > 2*first {
				t.Errorf("part %d of %d has %d names, the first %d", i, most, p.names, first)
			}
			until, all = p.until, append(all, p.groups...)
		}
		if until != "" || !reflect.DeepEqual(all, b.inOrder()) {
			t.Errorf("%d parts end at %q and have %d groups of %d", most, until, len(all), len(b.groups))
		}
	}
}

// TestLargeFoldsWriteSeveralLayers: a fold of many rows writes layers that follow each other, with the same rows as a single one.
func TestLargeFoldsWriteSeveralLayers(t *testing.T) {
	var want map[string]evidence.Row
	for workers := range 6 {
		h := newHarness(t, t.TempDir(), 0, Options{Workers: workers + 1, WorkerClaims: 4, BatchClaims: 1 << 10})
		s := h.teller("one")
		s.leads = 1 << 60
		for i := range 100 {
			ev := event.Event{Kind: event.Listing, Evidence: event.Snapshot, ObservedAt: 1_000e9, Path: fmt.Sprintf("/d%02d", i), Entry: event.Entry{Name: fmt.Sprintf("d%02d", i), Type: event.Directory}}
			for j := range 4 {
				ev.Entries = append(ev.Entries, event.Entry{Name: fmt.Sprint("f", j), Type: event.File, Size: int64(i), MtimeNs: 900e9})
			}
			s.tell(ev)
		}
		s.send()
		h.once()
		m := h.head()
		if n := len(m.Deltas); n != workers+1 || len(deltaRuns(m.Deltas)) != 1 {
			t.Errorf("%d layers in %d runs by %d workers", n, len(deltaRuns(m.Deltas)), workers+1)
		}
		for i, d := range m.Deltas {
			if d.Rows < int64(501/(workers+1)) || i > 0 && m.Deltas[i-1].ID == d.ID {
				t.Errorf("layer %d has %d rows", i, d.Rows)
			}
		}
		rows := h.rows()
		for path, r := range rows {
			r.Agent, r.History = "", "" // of that session
			rows[path] = r
		}
		if want == nil {
			want = rows
		}
		if len(rows) != 501 || !reflect.DeepEqual(rows, want) {
			t.Errorf("%d workers: %d rows", workers+1, len(rows))
		}
	}
}

// TestBatchesOfOnePart: a small batch is not divided, nor one that there may not be room for.
func TestBatchesOfOnePart(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{Workers: 4, WorkerClaims: 100})
	batch := func(names int) *batch {
		b := newBatch(0, observationDefaults{})
		for i := range names {
			ev := event.Event{Kind: event.Delete, Evidence: event.Realtime, Path: fmt.Sprintf("/f%d", i)}
			b.add(&ev, &origin{session: "s"})
		}
		return b
	}
	for _, c := range []struct {
		names int
		large bool
		room  *room
		want  int
	}{
		{80, true, noLimit(), 1}, {230, true, noLimit(), 2}, {5000, true, noLimit(), 4}, {5000, false, noLimit(), 1},
		{230, true, &room{limit: 1, entries: 232, stones: 232}, 2}, {230, true, &room{limit: 1, entries: 231, stones: 232}, 1}, {230, true, &room{limit: 1, entries: 232, stones: 231}, 1},
	} {
		if got := h.c.workers(batch(c.names), &turn{large: c.large}, c.room); got != c.want {
			t.Errorf("%d names with room for %d and %d tombstones: %d parts, want %d", c.names, c.room.entries, c.room.stones, got, c.want)
		}
	}
}
