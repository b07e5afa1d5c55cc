package v2rows

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/v2api"
	"github.com/fustor/fustor/testkit/sessiontest"
)

const view = "research"

// dying is a store that a process has until it is killed: from some request on it answers none, and of that one it may have done
// what was asked.
type dying struct {
	store.Store
	left  atomic.Int64
	lands bool
}

// errDead is one that nobody waits for to pass.
var errDead = fmt.Errorf("the process is dead: %w", store.ErrDenied)

func (d *dying) Unwrap() store.Store { return d.Store }

// allow reports whether a request is made, and whether its answer comes.
func (d *dying) allow() (made, answered bool) {
	left := d.left.Add(-1)
	return left > 0 || left == 0 && d.lands, left > 0
}

func (d *dying) write(f func() (store.Meta, error)) (store.Meta, error) {
	made, answered := d.allow()
	if made {
		if m, err := f(); answered {
			return m, err
		}
	}
	return store.Meta{}, errDead
}

func (d *dying) Get(ctx context.Context, key string) (store.Object, error) {
	if _, answered := d.allow(); !answered {
		return store.Object{}, errDead
	}
	return d.Store.Get(ctx, key)
}

func (d *dying) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	if _, answered := d.allow(); !answered {
		return store.Page{}, errDead
	}
	return d.Store.List(ctx, prefix, after, limit)
}

func (d *dying) Put(ctx context.Context, key string, body []byte) (store.Meta, error) {
	return d.write(func() (store.Meta, error) { return d.Store.Put(ctx, key, body) })
}

func (d *dying) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	return d.write(func() (store.Meta, error) { return d.Store.Create(ctx, key, body) })
}

func (d *dying) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	return d.write(func() (store.Meta, error) { return d.Store.Replace(ctx, key, body, etag) })
}

func (d *dying) Delete(ctx context.Context, key string) error {
	_, err := d.write(func() (store.Meta, error) { return store.Meta{}, d.Store.Delete(ctx, key) })
	return err
}

// world is a store with a session that leads.
type world struct {
	*testing.T
	store store.Store
	clock *sessiontest.Clock
	id    string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := local.Open(inMemory(t))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, clock: sessiontest.NewClock(time.Time{})}
	w.store = sessiontest.New(dir, w.clock, time.Nanosecond, nil)
	ledger := w.ledger(w.store)
	state, err := ledger.Create(t.Context(), session.Application{View: view, Task: "a:p", Agent: "a", TimeoutSeconds: 86400, Dialect: session.V2})
	if err != nil || !state.Leads {
		t.Fatal(state, err)
	}
	w.id = state.Record.ID
	return w
}

// inMemory is a directory in memory where there is one: hundreds of stores would wait for a disk otherwise.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fustor-v2rows-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (w *world) ledger(s store.Store) *session.Ledger {
	w.Helper()
	clock := store.NewClock(w.clock.Now)
	l, err := session.NewLedger(clock.Watch(s), clock, rand.Reader)
	if err != nil {
		w.Fatal(err)
	}
	return l
}

// process is an ingest process on a store.
func (w *world) process(s store.Store) *Rows {
	w.Helper()
	now := func() int64 { return w.clock.Now().UnixNano() }
	r, err := New(Options{Store: s, Ledger: w.ledger(s), Now: now, Measured: now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler),
		OnSegment: func(string, string, uint64, int) {}, InRequest: true})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// take sends a batch as a request.
func (w *world) take(r *Rows, body []byte) error {
	w.Helper()
	var batch v2api.Batch
	if err := json.Unmarshal(body, &batch); err != nil {
		w.Fatal(err)
	}
	_, err := r.Take(w.Context(), view, w.id, &batch, body)
	return err
}

// events are all that the session's segments say.
func (w *world) events() (all []event.Event) {
	w.Helper()
	for seq := uint64(0); ; seq++ {
		o, err := w.store.Get(w.Context(), layout.Segment(view, w.id, seq))
		if errors.Is(err, store.ErrNotFound) {
			return all
		}
		if err != nil {
			w.Fatal(err)
		}
		reader, err := event.NewReader("segment", bytes.NewReader(o.Body), event.Limits{})
		for err == nil {
			var ev *event.Event
			if ev, err = reader.Next(); err == nil {
				kept := *ev
				kept.Entries = slices.Clone(ev.Entries)
				all = append(all, kept)
			}
		}
		if err != io.EOF {
			w.Fatal(err)
		}
	}
}

// small makes the sizes small, so that few rows are many runs, chunks, pieces and segments.
func small(t *testing.T) {
	t.Helper()
	segment, piece, fan, chunk := roundSegment, pieceEntries, fanIn, chunkSize
	roundSegment, pieceEntries, fanIn, chunkSize = 9, 4, 3, 200
	t.Cleanup(func() { roundSegment, pieceEntries, fanIn, chunkSize = segment, piece, fan, chunk })
}

// audit is the bodies of an audit of a made tree, and what it says: each directory with its entries.
func audit(t *testing.T) (bodies [][]byte, want map[string][]string) {
	t.Helper()
	want = map[string][]string{"/": {}}
	rows := []v2api.Row{{Path: "/", Size: v2api.Whole(1), Modified: v2api.Seconds(5e9), IsDirectory: v2api.Of(true)}}
	for d := range 5 {
		dir := fmt.Sprintf("/d%d", d)
		want["/"] = append(want["/"], dir[1:])
		want[dir] = []string{}
		rows = append(rows, v2api.Row{Path: v2api.Text(dir), Size: v2api.Whole(1), Modified: v2api.Seconds(5e9), IsDirectory: v2api.Of(true)})
		for f := range 2 * d {
			name := fmt.Sprintf("f%02d\xff", f)
			want[dir] = append(want[dir], name)
			rows = append(rows, v2api.Row{Path: v2api.Text(dir + "/" + name), Size: v2api.Whole(int64(f)), Modified: v2api.Seconds(5e9)})
		}
	}
	rnd := mathrand.New(mathrand.NewPCG(1, 2))
	rnd.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	rows = append(rows, rows[:5]...) // some are there twice
	for batch := range slices.Chunk(rows, 5) {
		bodies = append(bodies, body(t, false, batch))
	}
	return append(bodies, body(t, true, nil)), want
}

func body(t *testing.T, end bool, rows []v2api.Row) []byte {
	t.Helper()
	events := []any{}
	if len(rows) > 0 {
		events = append(events, map[string]any{"event_type": "update", "rows": rows})
	}
	b, err := json.Marshal(map[string]any{"events": events, "source_type": "audit", "is_end": end})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// says holds the segments against what an audit says, once.
func (w *world) says(want map[string][]string) {
	w.Helper()
	got, ends, last, at := map[string][]string{}, 0, map[string]string{}, int64(0)
	for _, ev := range w.events() {
		switch ev.Kind {
		case event.Listing:
			if got[ev.Path] == nil {
				got[ev.Path] = []string{}
			}
			if ev.From != last[ev.Path] {
				w.Fatalf("a listing of %s begins at %q where the one before ended at %q", ev.Path, ev.From, last[ev.Path])
			}
			if last[ev.Path] = ev.To; ev.From == "" {
				at = ev.ObservedAt
			}
			if ev.ObservedAt != at {
				w.Fatalf("two pieces of the listing of %s have two times", ev.Path)
			}
			for _, e := range ev.Entries {
				got[ev.Path] = append(got[ev.Path], e.Name)
			}
		case event.Marked:
			if ev.Mark.Kind == event.AuditEnd {
				ends++
			}
		default:
			w.Fatalf("an audit says %+v", ev)
		}
	}
	if ends != 1 || fmt.Sprint(got) != fmt.Sprint(want) {
		w.Fatalf("%d audits end; they list\n%q\nwant\n%q", ends, got, want)
	}
	page, err := w.store.List(w.Context(), layout.AllStaging(view), "", 0)
	if err != nil || len(page.Items) != 1 {
		w.Fatalf("%d objects are staged, %v", len(page.Items), err)
	}
}

// An audit whose process is killed at any request to the store is finished by another, once the agent repeats its request, and says
// everything once.
func TestRoundsSurviveKills(t *testing.T) {
	small(t)
	bodies, want := audit(t)
	for _, lands := range []bool{false, true} {
		for at := int64(1); ; at++ {
			w := newWorld(t)
			d := &dying{Store: w.store, lands: lands}
			d.left.Store(at)
			r := w.process(d)
			for _, b := range bodies {
				if err := w.take(r, b); err != nil {
					w.clock.Advance(claimLife + time.Second)
					r = w.process(w.store)
					if err := w.take(r, b); err != nil {
						t.Fatalf("killed at request %d: %v", at, err)
					}
				}
			}
			if d.left.Load() <= 0 { // it may have been killed while it cleaned up, which fails no request
				r = w.process(w.store)
				r.clean(t.Context(), view, w.id, 1)
			}
			if err := w.take(w.process(w.store), bodies[len(bodies)-1]); err != nil { // the end comes twice
				t.Fatal(err)
			}
			w.says(want)
			if d.left.Load() > 0 {
				t.Logf("%d requests", at)
				break
			}
		}
	}
}

// Two processes that get the same end at once make the same segments.
func TestTwoProcessesFinish(t *testing.T) {
	small(t)
	bodies, want := audit(t)
	w := newWorld(t)
	a, b := w.process(w.store), w.process(w.store)
	for _, body := range bodies[:len(bodies)-1] {
		if err := w.take(a, body); err != nil {
			t.Fatal(err)
		}
	}
	failed := make(chan error)
	for _, r := range []*Rows{a, b} {
		go func() { failed <- w.take(r, bodies[len(bodies)-1]) }()
	}
	if err := errors.Join(<-failed, <-failed); err != nil {
		t.Fatal(err)
	}
	w.says(want)
}

// A realtime row that says when it was seen counts as of then, and never as of a time to come.
func TestRowsSayWhenTheyWereSeen(t *testing.T) {
	w := newWorld(t)
	now := w.clock.Now().UnixNano()
	body := fmt.Sprintf(`{"source_type":"message","events":[{"event_type":"update","rows":[{"path":"/a","size":1,"modified_time":1,"observed_at_ns":%d},
		{"path":"/b","size":1,"modified_time":1,"observed_at_ns":%d},{"path":"/c","size":1,"modified_time":1}]},
		{"event_type":"delete","rows":[{"path":"/d","observed_at_ns":%d}]}]}`, now-int64(time.Hour), now+int64(time.Hour), now-int64(time.Minute))
	if err := w.take(w.process(w.store), []byte(body)); err != nil {
		t.Fatal(err)
	}
	all := w.events()
	if len(all) != 4 || all[0].ObservedAt != now-int64(time.Hour) || all[1].ObservedAt < now || all[1].ObservedAt > now+int64(time.Minute) ||
		all[2].ObservedAt <= all[1].ObservedAt || all[3].Kind != event.Delete || all[3].ObservedAt != now-int64(time.Minute) {
		t.Errorf("%+v", all)
	}
}
