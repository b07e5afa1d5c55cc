package compactor

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// lawStaleness is that of the views under test, in the seconds that events are apart.
const lawStaleness = 20 * time.Second

// saying is what some sessions say, each in its order.
type saying struct {
	local  []bool
	events [][]event.Event
}

// drawSaying draws any events at all: nothing makes them agree with each other, or come in the order of their times.
func drawSaying(t *rapid.T, realtimeOnly bool) saying {
	s := saying{}
	times := rapid.Permutation(seconds(60)).Draw(t, "times")
	looks := looksAt{}
	for range rapid.IntRange(1, 3).Draw(t, "sessions") {
		s.local = append(s.local, rapid.Bool().Draw(t, "local") || os.Getenv("LAWLOCAL") != "")
		var evs []event.Event
		for range rapid.IntRange(1, 7).Draw(t, "events") {
			if ev := drawEvent(t, times[0], realtimeOnly); looks.take(&ev) {
				evs = append(evs, ev)
			}
			times = times[1:]
		}
		s.events = append(s.events, evs)
	}
	return s
}

// looksAt counts the listings of each directory. The law holds for as many looks at a path within evidence.Memory as a
// history holds: those by the listings of its directory, and by its own.
type looksAt map[string]int

// take counts an event. It reports false, and does not count it, where there would be too many.
func (l looksAt) take(ev *event.Event) bool {
	if ev.Kind != event.Listing {
		return true
	}
	l[ev.Path]++
	if max(l["/"]+l["/a"], l["/a"]+l["/a/b"]) <= evidence.MaxObservations {
		return true
	}
	l[ev.Path]--
	return false
}

func seconds(n int) (at []int64) {
	for i := range n {
		at = append(at, 1_000e9+int64(i)*1e9)
	}
	return at
}

func drawEntry(t *rapid.T, name string, at int64, kinds ...event.Type) event.Entry {
	e := event.Entry{Name: name, Type: rapid.SampledFrom(kinds).Draw(t, "type"), Mode: 0o644}
	e.MtimeNs = at - rapid.SampledFrom([]int64{15e8, 55e8, 405e8}).Draw(t, "age")
	if e.Type == event.File {
		e.Size = rapid.SampledFrom([]int64{0, 1, 2, math.MaxInt64}).Draw(t, "size")
	}
	return e
}

func drawEvent(t *rapid.T, at int64, realtimeOnly bool) event.Event {
	what := rapid.SampledFrom([]string{"put", "put", "delete", "list", "list", "list"}).Draw(t, "what")
	if realtimeOnly && what == "list" {
		what = "put"
	}
	ev := event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: at}
	switch what {
	case "put":
		ev.Path = rapid.SampledFrom([]string{"/a", "/a/b", "/a/b/c", "/a/d", "/e"}).Draw(t, "path")
		_, name := event.Split(ev.Path)
		ev.Atomic = rapid.Bool().Draw(t, "atomic")
		ev.Entry = drawEntry(t, name, at, event.File, event.Directory, event.Symlink)
	case "delete":
		ev.Kind, ev.Path = event.Delete, rapid.SampledFrom([]string{"/a", "/a/b", "/a/b/c", "/e"}).Draw(t, "path")
	case "list":
		ev.Kind, ev.Path = event.Listing, rapid.SampledFrom([]string{"/", "/", "/a", "/a", "/a/b"}).Draw(t, "path")
		ev.Evidence = rapid.SampledFrom([]event.Evidence{event.Snapshot, event.Audit, event.OnDemand}).Draw(t, "evidence")
		_, name := event.Split(ev.Path)
		ev.Entry = drawEntry(t, name, at, event.Directory)
		for _, n := range []string{"a", "b", "d"} {
			if rapid.Bool().Draw(t, "listed") {
				ev.Entries = append(ev.Entries, drawEntry(t, n, at, event.File, event.Directory))
			}
		}
	}
	return ev
}

// telling is one way in which a saying comes to be folded: its sessions' segments in an order that keeps each session's.
type telling struct {
	batch   int // Options.BatchClaims
	workers int // Options.Workers
	steps   []tellingStep
}

// tellingStep is a segment with the next n events of a session, and what the compactor does then.
type tellingStep struct {
	session, n  int
	fold, merge bool
}

func (s saying) drawTelling(t *rapid.T, label string) telling {
	way := telling{batch: rapid.SampledFrom([]int{1, 5, 1000}).Draw(t, label+" batch"), workers: rapid.IntRange(1, 4).Draw(t, label+" workers")}
	var rest []int
	for _, events := range s.events {
		rest = append(rest, len(events))
	}
	for {
		var open []int
		for i, n := range rest {
			if n > 0 {
				open = append(open, i)
			}
		}
		if len(open) == 0 {
			return way
		}
		step := tellingStep{session: rapid.SampledFrom(open).Draw(t, label+" next")}
		step.n = rapid.IntRange(1, rest[step.session]).Draw(t, label+" cut")
		rest[step.session] -= step.n
		step.fold = rapid.Bool().Draw(t, label+" fold")
		step.merge = rapid.IntRange(0, 5).Draw(t, label+" merge") == 0
		way.steps = append(way.steps, step)
	}
}

// told folds a saying in one way. It returns what readers can see.
func (s saying) told(t tb, way telling) map[string]string {
	return s.toldTo(t, way, func(*harness) {}, func() {})
}

// toldTo is told to a view that is prepared before; each is called after each step.
func (s saying) toldTo(t tb, way telling, prepare func(*harness), each func()) map[string]string {
	dir, err := os.MkdirTemp(fastTemp(), "fustor-law-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer os.RemoveAll(dir)
	h := newHarness(t, dir, lawStaleness, Options{BatchClaims: way.batch, Workers: way.workers, WorkerClaims: 1, MaxDeltas: 2, PartitionRows: 5, InlinePartitions: way.batch % 3})
	prepare(h)
	var tellers []*teller
	for range s.events {
		tellers = append(tellers, h.teller(fmt.Sprint("s", len(tellers))))
	}
	slices.SortFunc(tellers, func(a, b *teller) int { return strings.Compare(a.id, b.id) }) // as folds take them
	for i, x := range tellers {
		x.rename(fmt.Sprint("s", i))
		x.local, x.leads = s.local[i], 1<<60
	}
	rest := slices.Clone(s.events)
	for _, step := range way.steps {
		i := step.session
		tellers[i].tell(rest[i][:step.n]...)
		tellers[i].send()
		rest[i] = rest[i][step.n:]
		if step.fold {
			h.fold()
		}
		if step.merge {
			h.merge()
		}
		each()
	}
	for h.fold() > 0 {
		each()
	}
	h.present()
	return visible(h.rows())
}

// visible is what readers see of the rows that are there.
func visible(rows map[string]evidence.Row) map[string]string {
	seen := map[string]string{}
	for path, r := range rows {
		if !r.Removed {
			seen[path] = fmt.Sprintf("%s mtime=%d size=%d mode=%o missing=%v suspect=%d sub=%+v", r.Type, r.MtimeNs, r.Size, r.Mode, r.AgentMissing, r.SuspectUntil, r.Sub)
		}
	}
	return seen
}

func difference(a, b map[string]string) string {
	var out strings.Builder
	for path, x := range a {
		if y, ok := b[path]; !ok || x != y {
			fmt.Fprintf(&out, "%s: %s\n\tagainst %s\n", path, x, y)
		}
	}
	for path, y := range b {
		if _, ok := a[path]; !ok {
			fmt.Fprintf(&out, "%s: nothing\n\tagainst %s\n", path, y)
		}
	}
	return out.String()
}

// TestLawInterleavingsConverge: for any sessions and events, every interleaving of their segments that keeps each session's order, and every split
// of them into folds and merges, comes to the same rows.
func TestLawInterleavingsConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSaying(t, false)
		one, two := s.drawTelling(t, "one"), s.drawTelling(t, "two")
		if diff := difference(s.told(t, one), s.told(t, two)); diff != "" {
			for i := range s.events {
				for _, ev := range s.events[i] {
					t.Logf("session %d local %v: %+v", i, s.local[i], ev)
				}
			}
			t.Fatal(diff)
		}
	})
}

// TestInterleavingsThatDiverged the law found: each is a saying of few events, one session for each, and two orders in which they were folded, one
// fold for each group, that came to different rows.
func TestInterleavingsThatDiverged(t *testing.T) {
	const local, network = true, false
	put := func(at int64, path string, kind event.Type, mtime float64) event.Event {
		_, name := event.Split(path)
		return event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: at * 1e9, Path: path, Atomic: true, Entry: lawEntry(name, kind, mtime)}
	}
	list := func(at int64, path string, mtime float64, entries ...event.Entry) event.Event {
		_, name := event.Split(path)
		return event.Event{Kind: event.Listing, Evidence: event.Audit, ObservedAt: at * 1e9, Path: path,
			Entry: lawEntry(name, event.Directory, mtime), Entries: entries}
	}
	remove := func(at int64, path string) event.Event {
		return event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: at * 1e9, Path: path}
	}
	for _, c := range []struct {
		name     string
		local    []bool
		events   []event.Event
		one, two [][]int // the events of each fold
		want     map[string]bool
	}{
		{
			// What ended above the path by a look ends less than what the kernel told of the path itself: a client may show an
			// old state, so the listing of /a/b at 1038 may be of before 1019, and not of before 1018.
			name: "told of within staleness before a look that found nothing above", local: []bool{network, network, network, local},
			events: []event.Event{
				list(1026, "/", 1024.5),
				list(1038, "/a/b", 1032.5, lawEntry("d", event.File, 997.5)),
				put(1019, "/a/b", event.Symlink, 978.5),
				put(1059, "/a/b", event.Directory, 1057.5),
			},
			one: [][]int{{0, 1, 2}, {3}}, two: [][]int{{3, 0, 1, 2}},
			want: map[string]bool{"/a/b": true, "/a/b/d": false},
		},
		{
			name: "told of, and all that is known of the path is that it ended", local: []bool{local, local, network},
			events: []event.Event{
				remove(1029, "/a/b"),
				list(1045, "/", 1043.5),
				list(1046, "/a/b", 1040.5, lawEntry("d", event.File, 1005.5)),
			},
			one: [][]int{{2}, {0, 1}}, two: [][]int{{0, 1}, {2}},
			want: map[string]bool{"/a/b": true, "/a/b/d": false},
		},
		{
			name: "a look that may be of before the path's own deletion, which a look above is after", local: []bool{network, local, network},
			events: []event.Event{
				list(1054, "/", 1052.5),
				remove(1051, "/a/b"),
				list(1056, "/a/b", 1015.5),
			},
			one: [][]int{{1, 2}, {0}}, two: [][]int{{2, 1, 0}},
			want: map[string]bool{"/a": false},
		},
		{
			// The listing is of before the first deletion for all but /a/b, whose mtime is later. /a's journal forgets it, and
			// /a/b rests on it: on a local file system, and on one with the session's skew, not on what the view supposes.
			name: "a row outlives the listing that it rests on", local: []bool{local, network, network, network},
			events: []event.Event{
				put(1006, "/e", event.File, 1004.5), // the view's skew is now 1 s
				list(1059, "/a", 1018.5, lawEntry("b", event.File, 1053.5)),
				remove(1044, "/a"),
				put(1054, "/a", event.Symlink, 1048.5),
			},
			one: [][]int{{0, 1}, {2}, {3}}, two: [][]int{{0, 1, 2, 3}},
			want: map[string]bool{"/a": true, "/a/b": false},
		},
		{
			// All that ends with the late report of a file is the listing at 1042, which may show a state from before it. Then the listing at
			// 1040 counts again: /a is a directory, and so are /a/b and /a/d, whose rows are tombstones by then.
			name: "a late end makes a tombstone a directory again", local: []bool{network, network, network, local, network},
			events: []event.Event{
				list(1033, "/", 1029.5, lawEntry("a", event.File, 990.5)),
				list(1051, "/", 1008.5),
				list(1042, "/a", 999.5),
				list(1040, "/a", 1036.5, lawEntry("b", event.Directory, 997.5)),
				put(1034, "/a", event.File, 1032.5),
			},
			one: [][]int{{0, 1, 2}, {3}, {4}}, two: [][]int{{0, 1, 2, 3, 4}},
			want: map[string]bool{"/a": true, "/a/b": true},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := saying{local: c.local}
			for _, ev := range c.events {
				s.events = append(s.events, []event.Event{ev})
			}
			one, two := s.told(t, telling{batch: 1000, steps: folds(c.one)}), s.told(t, telling{batch: 1000, steps: folds(c.two)})
			if diff := difference(one, two); diff != "" {
				t.Fatal(diff)
			}
			for path, there := range c.want {
				if _, ok := one[path]; ok != there {
					t.Errorf("%s is there: %v, want %v", path, ok, there)
				}
			}
		})
	}
}

func lawEntry(name string, kind event.Type, mtime float64) event.Entry {
	return event.Entry{Name: name, Type: kind, Mode: 0o644, MtimeNs: int64(mtime * 1e9)}
}

// folds makes a step of each session with one event, and a fold after each group of them.
func folds(groups [][]int) (steps []tellingStep) {
	for _, g := range groups {
		for i, session := range g {
			steps = append(steps, tellingStep{session: session, n: 1, fold: i == len(g)-1})
		}
	}
	return steps
}
