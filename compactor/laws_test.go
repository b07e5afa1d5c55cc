package compactor

import (
	"fmt"
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
	for range rapid.IntRange(1, 3).Draw(t, "sessions") {
		s.local = append(s.local, rapid.Bool().Draw(t, "local") || os.Getenv("LAWLOCAL") != "")
		var evs []event.Event
		for range rapid.IntRange(1, 7).Draw(t, "events") {
			evs = append(evs, drawEvent(t, times[0], realtimeOnly))
			times = times[1:]
		}
		s.events = append(s.events, evs)
	}
	return s
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
		e.Size = int64(rapid.IntRange(0, 2).Draw(t, "size"))
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

// told folds a saying: the sessions' segments come in a drawn interleaving that keeps each session's order, cut and folded
// at drawn places. It returns what readers can see.
func (s saying) told(t *rapid.T, label string) map[string]string {
	dir, err := os.MkdirTemp(fastTemp(), "fustor-law-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	h := newHarness(t, dir, lawStaleness, Options{BatchClaims: rapid.SampledFrom([]int{1, 5, 1000}).Draw(t, label+" batch"), MaxDeltas: 2, PartitionRows: 5})
	var tellers []*teller
	rest := slices.Clone(s.events)
	for range rest {
		tellers = append(tellers, h.teller(fmt.Sprint("s", len(tellers))))
	}
	slices.SortFunc(tellers, func(a, b *teller) int { return strings.Compare(a.id, b.id) }) // as folds take them
	for i, x := range tellers {
		x.agent, x.local, x.leads = fmt.Sprint("s", i), s.local[i], 1<<60
	}
	for {
		var open []int
		for i := range rest {
			if len(rest[i]) > 0 {
				open = append(open, i)
			}
		}
		if len(open) == 0 {
			break
		}
		i := rapid.SampledFrom(open).Draw(t, label+" next")
		n := rapid.IntRange(1, len(rest[i])).Draw(t, label+" cut")
		tellers[i].tell(rest[i][:n]...)
		tellers[i].send()
		rest[i] = rest[i][n:]
		if rapid.Bool().Draw(t, label+" fold") {
			h.fold()
		}
		if rapid.IntRange(0, 5).Draw(t, label+" merge") == 0 {
			h.merge()
		}
	}
	for h.fold() > 0 {
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

// Law: for any sessions and events, every interleaving of their segments that keeps each session's order, and every split
// of them into folds and merges, comes to the same rows.
func TestLawInterleavingsConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSaying(t, false)
		if diff := difference(s.told(t, "one"), s.told(t, "two")); diff != "" {
			for i := range s.events {
				for _, ev := range s.events[i] {
					t.Logf("session %d local %v: %+v", i, s.local[i], ev)
				}
			}
			t.Fatal(diff)
		}
	})
}
