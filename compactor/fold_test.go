package compactor

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// world is a file tree in memory with a clock, as agents see it.
type world struct {
	now     int64
	entries map[string]event.Entry // by path; "/" is the root
}

func newWorld() *world {
	w := &world{now: 1_700_000_000e9, entries: map[string]event.Entry{}}
	w.entries["/"] = event.Entry{Type: event.Directory, Mode: 0o755, MtimeNs: w.tick()}
	return w
}

func (w *world) tick() int64 { w.now += 1e9; return w.now }

func (w *world) below(dir string) (paths []string) {
	for p := range w.entries {
		if strings.HasPrefix(p, childParent(dir)) && p != "/" {
			paths = append(paths, p)
		}
	}
	sort.Strings(paths)
	return paths
}

func (w *world) dirs() (paths []string) {
	for p, e := range w.entries {
		if e.Type == event.Directory {
			paths = append(paths, p)
		}
	}
	sort.Strings(paths)
	return paths
}

// put creates or changes an entry, and changes its directory's mtime.
func (w *world) put(path string, e event.Entry) {
	_, e.Name = event.Split(path)
	w.entries[path] = e
	w.stir(up(path))
}

func (w *world) stir(dir string) {
	d := w.entries[dir]
	d.MtimeNs = w.now
	w.entries[dir] = d
}

func (w *world) remove(path string) {
	for _, p := range w.below(path) {
		delete(w.entries, p)
	}
	delete(w.entries, path)
	w.stir(up(path))
}

func (w *world) putEvent(path string) event.Event {
	return event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: w.tick(), Path: path, Atomic: true, Entry: w.entries[path]}
}

func (w *world) deleteEvent(path string) event.Event {
	return event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: w.tick(), Path: path}
}

func (w *world) listEvent(dir string, how event.Evidence) event.Event {
	ev := event.Event{Kind: event.Listing, Evidence: how, ObservedAt: w.tick(), Path: dir, Entry: w.entries[dir]}
	for _, p := range w.below(dir) {
		if up(p) == dir {
			ev.Entries = append(ev.Entries, w.entries[p])
		}
	}
	slices.SortFunc(ev.Entries, func(a, b event.Entry) int { return strings.Compare(a.Name, b.Name) })
	return ev
}

// step makes one random change and returns the events of one who watches.
func (w *world) step(t *rapid.T) []event.Event {
	dirs := w.dirs()
	dir := rapid.SampledFrom(dirs).Draw(t, "dir")
	name := rapid.SampledFrom([]string{"a", "a-b", "b", "c", "c!", "d\n", "\xff"}).Draw(t, "name")
	path := event.Join(dir, name)
	old, exists := w.entries[path]
	w.tick()
	var evs []event.Event
	switch what := rapid.SampledFrom([]string{"file", "file", "dir", "link", "delete", "rename", "utimes"}).Draw(t, "what"); {
	case what == "delete" && exists:
		w.remove(path)
		evs = append(evs, w.deleteEvent(path))
	case what == "rename" && exists:
		to := event.Join(rapid.SampledFrom(dirs).Draw(t, "to dir"), rapid.SampledFrom([]string{"x", "y"}).Draw(t, "to name"))
		if strings.HasPrefix(to+"/", path+"/") || w.entries[to].Type == event.Directory {
			return nil
		}
		moved := map[string]event.Entry{to: old}
		for _, p := range w.below(path) {
			moved[to+strings.TrimPrefix(p, path)] = w.entries[p]
		}
		w.remove(path)
		maps.Copy(w.entries, moved)
		w.put(to, old)
		evs = append(evs, w.deleteEvent(path), w.putEvent(to))
		for _, p := range w.below(to) {
			evs = append(evs, w.putEvent(p))
		}
		evs = append(evs, w.putEvent(up(to)))
	case what == "utimes" && exists:
		old.MtimeNs = w.now - int64(rapid.IntRange(-100, 1000).Draw(t, "age"))*1e9
		w.entries[path] = old
		return []event.Event{w.putEvent(path)}
	case exists && old.Type == event.Directory && what == "dir":
		return nil
	case exists && old.Type == event.Directory: // something else takes its place
		w.remove(path)
		evs = append(evs, w.deleteEvent(path))
		w.tick()
		w.put(path, event.Entry{Type: event.File, MtimeNs: w.now, Size: 1})
		evs = append(evs, w.putEvent(path))
	case what == "dir":
		w.put(path, event.Entry{Type: event.Directory, Mode: 0o700, MtimeNs: w.now, Size: 4096})
		evs = append(evs, w.putEvent(path))
	case what == "link":
		w.put(path, event.Entry{Type: event.Symlink, MtimeNs: w.now, Target: "t", Size: 1})
		evs = append(evs, w.putEvent(path))
	default:
		e := event.Entry{Type: event.File, MtimeNs: w.now, Size: drawSize(t, "size")}
		if links := rapid.Uint32Range(0, 2).Draw(t, "links"); links > 0 {
			e.Inode = event.Inode{Links: links, Allocated: drawSize(t, "allocated"), CtimeNs: w.now}
		}
		w.put(path, e)
		evs = append(evs, w.putEvent(path))
	}
	return append(evs, w.putEvent(up(path)))
}

// drawSize is small or, now and then, so large that sums of two or three do not fit.
func drawSize(t *rapid.T, label string) int64 {
	if rapid.IntRange(0, 4).Draw(t, "large "+label) == 0 {
		return rapid.SampledFrom([]int64{math.MaxInt64, math.MaxInt64 - 4095, 1 << 62}).Draw(t, label)
	}
	return int64(rapid.IntRange(0, 1000).Draw(t, label))
}

// TestFoldedViewEqualsTree: a view that has folded everything equals the tree: whether changes were watched or found by listing all directories
// afterwards, however the events are cut into segments, batches and merges, and with two sessions that watch.
func TestFoldedViewEqualsTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(fastTemp(), "fustor-fold-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		h := newHarness(t, dir, 0, Options{
			BatchClaims: rapid.IntRange(1, 40).Draw(t, "batch"), MaxDeltas: rapid.IntRange(1, 4).Draw(t, "deltas"),
			PartitionRows: int64(rapid.IntRange(2, 20).Draw(t, "partition")),
		})
		w := newWorld()
		tellers := []*teller{h.teller("one"), h.teller("two")}
		list := func(how event.Evidence) {
			for _, d := range w.dirs() {
				tellers[0].tell(w.listEvent(d, how))
			}
		}
		list(event.Snapshot)
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			evs := w.step(t)
			switch rapid.IntRange(0, 9).Draw(t, "then") {
			case 0: // nobody saw it; whoever looks afterwards does
				for _, s := range tellers { // what is reported late of a path that was found gone since is not decided yet
					s.send()
				}
				h.once()
				list(event.Audit)
			case 1:
				h.fold()
				fallthrough
			case 2:
				h.merge()
				fallthrough
			default:
				s := rapid.SampledFrom(tellers).Draw(t, "teller")
				s.tell(evs...)
				if rapid.Bool().Draw(t, "send") {
					s.send()
				}
			}
		}
		for _, s := range tellers {
			s.send()
		}
		h.once()
		compare(h, w)
		if before := h.head(); h.fold() != 0 || h.head().Version != before.Version {
			t.Fatalf("folding again changed the view")
		}
	})
}

// fastTemp is where a store of a short test is best: in memory, where there is such a place, as each write is synced.
func fastTemp() string {
	if _, err := os.Stat("/dev/shm"); err == nil {
		return "/dev/shm"
	}
	return ""
}

func compare(h *harness, w *world) {
	h.Helper()
	rows := h.present()
	for path, e := range w.entries {
		r, ok := rows[path]
		if !ok {
			h.Fatalf("%q is missing; tombstone: %+v", path, h.rows()[path])
		}
		if r.Type != e.Type || r.Size != e.Size || r.MtimeNs != e.MtimeNs || r.Target != e.Target || r.Mode != e.Mode {
			h.Fatalf("%q is %+v, want %+v", path, r, e)
		}
	}
	for path := range rows {
		if _, ok := w.entries[path]; !ok {
			h.Fatalf("%q should be gone: %+v", path, rows[path])
		}
	}
}

// TestLatestMtimeFollowsDeletion newest file of a deep directory goes: the latest mtime of all directories above follows, though no listing of
// them is in the batch.
func TestLatestMtimeFollowsDeletion(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	w := newWorld()
	s := h.teller("one")
	for _, d := range []string{"/a", "/a/b", "/c"} {
		w.put(d, event.Entry{Type: event.Directory, MtimeNs: 1})
	}
	for i := range 20 {
		w.put(fmt.Sprintf("/a/b/f%02d", i), event.Entry{Type: event.File, MtimeNs: int64(1000 + i), Size: 1})
	}
	w.put("/c/old", event.Entry{Type: event.File, MtimeNs: 1005, Size: 1})
	for _, d := range w.dirs() {
		s.tell(w.listEvent(d, event.Snapshot))
	}
	s.send()
	h.once()
	if got := h.head().Totals.LatestMtimeNs; got != 1019 {
		t.Fatalf("latest mtime is %d", got)
	}
	for i := 19; i >= 0; i-- {
		p := fmt.Sprintf("/a/b/f%02d", i)
		w.remove(p)
		s.tell(w.deleteEvent(p), w.putEvent("/a/b"))
		s.send()
		h.once()
		compare(h, w)
		if got, want := h.head().Totals.LatestMtimeNs, int64(max(1005, 1000+i-1)); got != want {
			t.Fatalf("after the deletion of %s the latest mtime is %d, want %d", p, got, want)
		}
	}
}

// TestListingsOfAnOlderTermAreFenced of a leader whose term is over change nothing, and are counted.
func TestListingsOfAnOlderTermAreFenced(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	w := newWorld()
	old, new := h.teller("old"), h.teller("new")
	w.put("/kept", event.Entry{Type: event.File, Size: 1, MtimeNs: 5})
	old.tell(w.listEvent("/", event.Snapshot))
	old.send()
	h.once()
	new.takes(old.term + 1)
	new.tell(event.Event{Kind: event.Marked, Evidence: event.Snapshot, Path: "/", ObservedAt: w.tick(), Mark: event.Mark{Kind: event.SnapshotBegin}})
	new.send()
	h.once()
	zombie := newWorld() // sees an empty tree, later than anything in the view
	zombie.now = w.now + 1e12
	old.tell(zombie.listEvent("/", event.Audit))
	old.send()
	h.once()
	compare(h, w)
	if got := h.head().Counted.Fenced; got != 1 {
		t.Fatalf("%d listings counted as fenced", got)
	}
}

// TestListingsAfterTheLeaseAreFenced a leader saw while it led counts, however late it comes; what it saw afterwards does not.
func TestListingsAfterTheLeaseAreFenced(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	w := newWorld()
	old, next := h.teller("old"), h.teller("next")
	w.put("/gone", event.Entry{Type: event.File, Size: 1, MtimeNs: 5})
	w.put("/kept", event.Entry{Type: event.File, Size: 1, MtimeNs: 5})
	early := w.listEvent("/", event.Snapshot)
	old.leads = w.now + 1e9
	w.remove("/gone")
	w.tick()
	next.takes(old.term + 1)
	next.leads = w.now + 60e9
	next.tell(w.listEvent("/", event.Snapshot))
	next.send()
	h.once()
	compare(h, w)
	zombie := newWorld() // sees an empty tree after its lease
	zombie.now = w.now + 1e12
	old.tell(early, zombie.listEvent("/", event.Audit))
	old.send()
	h.once()
	compare(h, w)
	if got := h.head().Counted.Fenced; got != 1 {
		t.Fatalf("%d listings counted as fenced", got)
	}
}

// TestHeadNamesSuspects head names the files that may still be written to, until they are closed or their time is over.
func TestHeadNamesSuspects(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	w := newWorld()
	s := h.teller("one")
	s.tell(w.listEvent("/", event.Snapshot))
	writing := func(path string) {
		w.put(path, event.Entry{Type: event.File, MtimeNs: w.tick(), Size: 1})
		ev := w.putEvent(path)
		ev.Atomic = false
		s.tell(ev)
	}
	paths := func() (list []string) {
		s.send()
		h.once()
		for _, x := range h.head().Suspects {
			list = append(list, string(x.Path))
		}
		return list
	}
	writing("/a")
	writing("/b")
	if got := paths(); !slices.Equal(got, []string{"/b", "/a"}) {
		t.Fatalf("suspects are %q", got)
	}
	s.tell(w.putEvent("/a"))
	if got := paths(); !slices.Equal(got, []string{"/b"}) {
		t.Fatalf("after /a was closed, suspects are %q", got)
	}
	w.now += 61e9
	writing("/c")
	if got := paths(); !slices.Equal(got, []string{"/c"}) {
		t.Fatalf("after /b's time, suspects are %q", got)
	}
}

// TestDamagedSegmentEndsItsSession damaged segment ends its session, once, and what other sessions say is folded on.
func TestDamagedSegmentEndsItsSession(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	w := newWorld()
	bad, good := h.teller("bad"), h.teller("good")
	good.tell(w.listEvent("/", event.Snapshot))
	good.send()
	if _, err := h.store.Create(h.ctx, "views/"+viewName+"/segments/"+bad.id+"/00000000000000000000.zst", []byte("no segment")); err != nil {
		t.Fatal(err)
	}
	h.once()
	w.put("/f", event.Entry{Type: event.File, MtimeNs: 1})
	good.tell(w.putEvent("/f"), w.putEvent("/"))
	good.send()
	h.once()
	compare(h, w)
	if _, err := h.c.ledger.Alive(h.ctx, viewName, bad.id); err == nil {
		t.Fatal("the session of the damaged segment lives")
	}
	if !h.head().Sessions[bad.id].Broken {
		t.Fatal("the session is not marked as broken")
	}
	if _, err := h.c.ledger.Alive(h.ctx, viewName, good.id); err != nil {
		t.Fatalf("the other session: %v", err)
	}
}

// TestUnreportedDirectoryIsAssumed realtime put of a file whose directory nobody has reported yet shows the directory too, until it is gone again.
func TestUnreportedDirectoryIsAssumed(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	w := newWorld()
	s := h.teller("one")
	s.tell(w.listEvent("/", event.Snapshot))
	put := w.putEvent("/")
	put.Path, put.Entry = "/x/y/f", event.Entry{Name: "f", Type: event.File, Size: 7, MtimeNs: 9}
	s.tell(put)
	s.send()
	h.once()
	rows := h.present()
	if r := rows["/x/y"]; r.Type != event.Directory || r.ObservedAt != 0 || r.Sub.Bytes != 7 {
		t.Fatalf("/x/y is %+v", r)
	}
	s.tell(w.deleteEvent("/x"))
	s.send()
	h.once()
	compare(h, w)
	var none evidence.Totals
	if r := h.rows()["/x/y/f"]; !r.Removed || r.Sub != none {
		t.Fatalf("/x/y/f is %+v", r)
	}
}

// TestFileWhereADirectoryWas directory goes away, and a file comes in its place before the next fold: nothing that was in it may stay.
func TestFileWhereADirectoryWas(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	w := newWorld()
	s := h.teller("one")
	for _, dir := range []string{"/d", "/d/e"} {
		w.put(dir, event.Entry{Type: event.Directory, MtimeNs: w.tick()})
	}
	w.put("/d/e/f", event.Entry{Type: event.File, MtimeNs: w.tick(), Size: 7})
	s.tell(w.listEvent("/", event.Snapshot), w.listEvent("/d", event.Snapshot), w.listEvent("/d/e", event.Snapshot))
	s.send()
	h.once()
	compare(h, w)
	w.remove("/d")
	s.tell(w.deleteEvent("/d"))
	w.put("/d", event.Entry{Type: event.File, MtimeNs: w.tick(), Size: 1})
	s.tell(w.putEvent("/d"), w.putEvent("/"))
	s.send()
	h.once()
	compare(h, w)
}

// TestLocalAgentsAreBelievedAtOnce an agent was down, a file was replaced by an older one. On a network file system the kernel's word holds for as
// long as a cache may lag; an agent on a local one is believed at once.
func TestLocalAgentsAreBelievedAtOnce(t *testing.T) {
	for _, local := range []bool{true, false} {
		h := newHarness(t, t.TempDir(), 120e9, Options{})
		w := newWorld()
		s := h.teller("one")
		s.local = local
		w.put("/f", event.Entry{Type: event.File, MtimeNs: w.tick(), Size: 1})
		s.tell(w.listEvent("/", event.Snapshot), w.putEvent("/f"))
		s.send()
		w.put("/f", event.Entry{Type: event.File, MtimeNs: 5, Size: 2})
		s.tell(w.listEvent("/", event.Snapshot))
		s.send()
		h.once()
		if got := h.present()["/f"].Size; local && got != 2 || !local && got != 1 {
			t.Errorf("local %v: the size is %d", local, got)
		}
	}
}
