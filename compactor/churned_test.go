package compactor

import (
	"fmt"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/testkit/cputime"
)

// churned is a directory in which many files came and went within the hour, and a few stayed.
type churned struct {
	h     *harness
	s     *teller
	now   int64
	alive []event.Entry // in the order of names
	born  int
}

// newChurned has gone files come and go in /d, and alive ones stay. Of those that went, the kernel told of both of some, of others
// only that they were made, since its queue ran over, and a listing found them gone; others only listings ever saw. local says
// that no look shows an old state.
func newChurned(h *harness, gone, alive int, local bool) *churned {
	s := h.teller("churn")
	s.local, s.leads = local, time.Now().UnixNano()
	c := &churned{h: h, s: s, now: 1_700_000_000e9}
	root := event.Entry{Type: event.Directory, Mode: 0o755, MtimeNs: c.now - 1e9}
	c.s.tell(event.Event{Kind: event.Listing, Evidence: event.Snapshot, ObservedAt: c.now - 1e8, Path: "/", Entry: root}, // the directory comes after it
		event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: c.now, Path: "/d", Atomic: true, Entry: c.dir()})
	for i := range alive {
		path := fmt.Sprintf("/d/alive-%07d", i)
		c.now += 1e5
		put := putOf(path, c.now, 1)
		if c.alive = append(c.alive, put.Entry); i%2 == 0 {
			c.s.tell(put)
		}
	}
	var seen []event.Entry // by one listing
	for i := range gone {
		c.now += 1e5
		put := c.put(fmt.Sprintf("gone-%07d", i))
		switch i % 3 {
		case 0:
			c.s.tell(put, event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: c.now + 1e4, Path: put.Path})
		case 1:
			c.s.tell(put)
		case 2:
			seen = append(seen, put.Entry)
		}
	}
	c.now += 1e9
	c.tellListing(append(c.alive[:alive:alive], seen...))
	c.now += 1e9
	c.tellListing(c.alive)
	c.s.send()
	h.once()
	h.toBase()
	return c
}

func (c *churned) dir() event.Entry {
	return event.Entry{Name: "d", Type: event.Directory, Mode: 0o755, MtimeNs: c.now}
}

func (c *churned) put(name string) event.Event { return putOf("/d/"+name, c.now, 1) }

func (c *churned) tellListing(entries []event.Entry) {
	whole := event.Event{Kind: event.Listing, Evidence: event.Audit, ObservedAt: c.now, Path: "/d", Entry: c.dir(), Entries: entries}
	for piece := range event.SplitListing(&whole, 0) {
		c.s.tell(*piece)
	}
}

// more has the directory listed so many times, with a few files made and deleted in between, and folds that.
func (c *churned) more(listings int) {
	for range listings {
		for range 10 {
			c.now += 1e6
			put := c.put(fmt.Sprintf("late-%07d", c.born))
			c.born++
			c.s.tell(put, event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: c.now + 1e4, Path: put.Path})
		}
		c.now += 3e9
		c.tellListing(c.alive)
	}
	c.s.send()
	c.h.fold()
}

// written is what the newest delta of the view has: its rows, and its bytes.
func (c *churned) written() (rows, bytes int64) {
	m := c.h.head()
	if len(m.Deltas) == 0 {
		return 0, 0
	}
	return m.Deltas[0].Rows, m.Deltas[0].Bytes
}

// TestListingsWriteNoTombstoneAgain fold of listings that lack what was gone before writes what is new, and the directory's row, however many there are.
func TestListingsWriteNoTombstoneAgain(t *testing.T) {
	for _, way := range []struct {
		each  int // listings to a fold
		local bool
	}{{1, false}, {1, true}, {2 * evidence.MaxObservations, true}} {
		t.Run(fmt.Sprintf("%d listings a fold, local %v", way.each, way.local), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, t.TempDir(), 2*time.Minute, Options{})
			c := newChurned(h, 300, 30, way.local)
			want := h.present()
			for fold := range evidence.MaxObservations/way.each + 4 {
				c.more(way.each)
				born := int64(10 * way.each)
				// A directory that may show an old state is found without what was deleted just before only by a later listing.
				if rows, _ := c.written(); rows > 1+born && fold > 1 {
					t.Fatalf("fold %d writes %d rows, %d files came and went", fold, rows, born)
				}
			}
			for path, r := range h.present() {
				if was, ok := want[path]; !ok || r.Type != was.Type || r.Size != was.Size || r.AgentMissing != was.AgentMissing {
					t.Fatalf("%s became %+v, it was %+v", path, r, was)
				}
				delete(want, path)
			}
			if len(want) > 0 {
				t.Fatalf("%d paths are gone", len(want))
			}
		})
	}
}

// BenchmarkFoldListingsOfChurn folds listings of a directory in which many files came and went: what they say of those was
// known, and must not be written again. FUSTOR_BENCH_GONE is how many went.
func BenchmarkFoldListingsOfChurn(b *testing.B) {
	gone := benchNumber(b, "FUSTOR_BENCH_GONE", 200_000)
	for _, each := range []int{1, 5, 20} {
		b.Run(fmt.Sprintf("listings=%d", each), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				h := newHarness(b, b.TempDir(), 2*time.Minute, Options{})
				c := newChurned(h, gone, 3000, true)
				var rows, bytes, n int64
				var took time.Duration
				b.StartTimer()
				for range 12 {
					began := cputime.Used()
					c.more(each)
					one := cputime.Used() - began
					r, size := c.written()
					took, rows, bytes, n = took+one, rows+r, bytes+size, n+1
					b.StopTimer()
					h.toBase()
					b.StartTimer()
				}
				b.ReportMetric(float64(rows)/float64(n), "rows/fold")
				b.ReportMetric(float64(bytes)/float64(n), "B/fold")
				b.ReportMetric(took.Seconds()*1e3/float64(n), "cpu-ms/fold")
			}
		})
	}
}
