// Package years is a model test of a view's history: two years on a turned clock of random changes, with random settings of what is kept,
// real compactors and the real query handler, against a history that is held in memory and was never folded.
//
// TestTwoYears tells the same changes to a view and to maps. Each version that a compactor publishes says up to which event it is folded,
// and the maps of that moment are what it must have. Everything that reads the past is compared with them: trees as of a time, diffs, logs,
// trends, and feeds that are followed in pieces, cut off anywhere, and fall behind. Compactors and readers are stopped at a random request
// for up to weeks, while others fold, merge and remove, and then go on. Whether retention keeps the right versions, and removes what only
// the others had, is compactor's TestHistoryOverTwoYears.
package years

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	random "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/query"
	"github.com/fustor/fustor/testkit/fault"
	"github.com/fustor/fustor/testkit/sim"
)

const (
	view   = "v"
	apiKey = "a-key-for-reading"
)

// entry is what the test knows of a path.
type entry struct {
	Type  string // as answers have it
	Size  int64
	Mtime int64
	UID   uint32
}

// tree is a state of the view, by path; of a directory Size is 0.
type tree map[string]entry

// sums are those of a directory in answers.
type sums struct{ Files, Directories, Bytes int64 }

func (t tree) below(dir string) (s sums) {
	for path, e := range t {
		if path != dir && !strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") {
			continue
		}
		if e.Type == "d" {
			s.Directories++
		} else {
			s.Files, s.Bytes = s.Files+1, s.Bytes+e.Size
		}
	}
	return s
}

// paths are the paths of one or more trees, in the order of rows.
func paths(trees ...tree) (all []string) {
	seen := tree{}
	for _, t := range trees {
		maps.Copy(seen, t)
	}
	for path := range seen {
		all = append(all, path)
	}
	slices.SortFunc(all, inOrder)
	return all
}

func inOrder(a, b string) int {
	dirA, nameA := event.Split(a)
	dirB, nameB := event.Split(b)
	return cmp.Or(strings.Compare(dirA, dirB), strings.Compare(nameA, nameB))
}

// position is how far the events of the session are folded: whole segments, and events of the next one.
type position struct{ segment, events uint64 }

// publication is a version that was published, with what it must have.
type publication struct {
	*manifest.Manifest
	tree tree
}

// world is the view, who tells of it, and who folds it.
type world struct {
	*testing.T
	random *random.Rand
	store  *sim.Store
	keys   *access.Authenticator

	session string
	segment uint64
	tree    tree
	told    map[position]tree
	queued  []event.Event
	touched int64 // the last time of an event

	two []*compactor.Compactor

	mu        sync.Mutex
	now       time.Time
	published map[uint64]publication

	followers []*follower
	seen      counts
}

// counts say that a run did what it is for.
type counts struct{ changes, resumed, behind, diffs, logged, points, asOf, refused, stopped, goneMeanwhile int }

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// begin makes a view whose first scan is complete.
func begin(t *testing.T, seed uint64) *world {
	w := &world{T: t, random: random.New(random.NewPCG(seed, 21)), now: time.Date(2024, 1, 30, 22, 10, 0, 0, time.UTC),
		tree: tree{"/": {Type: "d", Mtime: 1}}, told: map[position]tree{}, published: map[uint64]publication{}}
	w.store = sim.NewStore(w.clock)
	w.keep()
	clock := store.NewClock(w.clock)
	ledger, err := session.NewLedger(clock.Watch(w.store), clock, rand.Reader)
	w.must(err)
	state, err := ledger.Create(t.Context(), session.Application{View: view, Task: "one", Agent: "one", Source: "fs://one/data", TimeoutSeconds: 3600})
	w.must(err)
	w.session = state.Record.ID
	w.keys, err = access.New(access.Options{Store: w.store, Now: time.Now, Static: []access.Static{
		{Key: apiKey, Record: access.Record{Name: "test", Roles: []access.Role{access.Query}, Views: access.AllViews}}}})
	w.must(err)
	for range 2 {
		w.two = append(w.two, w.compactor(w.store))
	}
	mark := func(kind event.MarkKind) event.Event {
		return event.Event{Kind: event.Marked, Evidence: event.Snapshot, Path: "/", Mark: event.Mark{Kind: kind}}
	}
	w.tell(mark(event.SnapshotBegin))
	w.tell(event.Event{Kind: event.Listing, Evidence: event.Snapshot, Path: "/", Entry: event.Entry{Type: event.Directory, MtimeNs: 1}})
	w.send(state.Term)
	w.pass(time.Minute)
	w.fold(w.two[0])
	w.tell(mark(event.SnapshotEnd))
	w.send(state.Term)
	w.fold(w.two[0])
	if m := w.head(); !m.Ready() {
		t.Fatal("the view is not complete")
	}
	return w
}

// keep sets what is kept of the history.
func (w *world) keep() {
	c := viewconfig.Default(view)
	c.StalenessSeconds, c.IcebergIntervalSeconds = 0, 0
	some := func(most int) int { return []int{0, 0, 1 + w.random.IntN(most), history.Unlimited}[w.random.IntN(4)] }
	if w.random.IntN(5) > 0 { // else the default
		c.KeepWithinSeconds = []float64{0, 3600, 3 * 3600, 48 * 3600}[w.random.IntN(4)]
		c.KeepHourly, c.KeepDaily, c.KeepWeekly, c.KeepMonthly, c.KeepYearly = some(48), some(90), some(10), some(20), some(2)
	}
	w.must(viewconfig.Save(w.Context(), w.store, c))
}

func (w *world) compactor(st store.Store) *compactor.Compactor {
	c, err := compactor.New(compactor.Options{Store: st, Now: w.clock, BatchClaims: 10, MaxDeltas: 2, PartitionRows: 20, InlinePartitions: 1, Workers: 3, WorkerClaims: 1, OnCommit: w.publish})
	w.must(err)
	return c
}

// publish notes a version, and what it must have.
func (w *world) publish(m *manifest.Manifest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := m.Sessions[w.session]
	t, ok := w.told[position{at.Next, at.Events}]
	if !ok {
		w.Errorf("version %d is folded up to event %d of segment %d, which nobody has told", m.Version, at.Events, at.Next)
	}
	w.published[m.Version] = publication{m, t}
}

func (w *world) then(version uint64) publication {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.published[version]
	if !ok {
		w.Fatalf("version %d was never published", version)
	}
	return p
}

func (w *world) head() *manifest.Manifest {
	m, _, err := manifest.Load(w.Context(), w.store, view)
	w.must(err)
	return m
}

// kept are the versions that are there, in order.
func (w *world) kept() []manifest.Published {
	list, _, err := manifest.List(w.Context(), w.store, view, 0, 0, nil)
	w.must(err)
	chain, _, err := manifest.Chain(w.Context(), w.store, w.head(), list)
	w.must(err)
	return slices.DeleteFunc(chain, func(p manifest.Published) bool { return !w.then(p.Version).Ready() })
}

// tell queues an event, after the tree was changed.
func (w *world) tell(e event.Event) {
	w.touched = max(w.touched+1e6, w.clock().UnixNano())
	e.ObservedAt = w.touched
	w.queued = append(w.queued, e)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told[position{w.segment, uint64(len(w.queued))}] = maps.Clone(w.tree)
}

// send makes a segment of what is queued.
func (w *world) send(term uint64) {
	var b bytes.Buffer
	s, err := event.NewWriter(&b, event.Header{View: view, Session: w.session, Agent: "one", Source: "fs://one/data", Seq: w.segment, Term: term,
		CreatedAt: 1, Nonce: fmt.Sprint(w.segment)})
	w.must(err)
	for i := range w.queued {
		w.must(s.Add(&w.queued[i]))
	}
	w.must(s.Close())
	_, err = w.store.Create(w.Context(), layout.Segment(view, w.session, w.segment), b.Bytes())
	w.must(err)
	w.segment, w.queued = w.segment+1, nil
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told[position{w.segment, 0}] = maps.Clone(w.tree)
}

func (w *world) put(path string, e entry) {
	w.tree[path] = e
	_, name := event.Split(path)
	kind := event.File
	if e.Type == "d" {
		kind = event.Directory
	}
	w.tell(event.Event{Kind: event.Put, Evidence: event.Realtime, Path: path, Atomic: true,
		Entry: event.Entry{Name: name, Type: kind, Size: e.Size, MtimeNs: e.Mtime, UID: e.UID, Mode: 0o640}})
}

func (w *world) remove(path string) {
	maps.DeleteFunc(w.tree, func(p string, _ entry) bool { return p == path || strings.HasPrefix(p, path+"/") })
	w.tell(event.Event{Kind: event.Delete, Evidence: event.Realtime, Path: path})
}

var directories = []string{"/", "/a", "/a/b", "/a b", "/c"}

// somePath is a path that is there at times.
func (w *world) somePath() string {
	if w.random.IntN(5) == 0 {
		return directories[w.random.IntN(len(directories))]
	}
	return fmt.Sprintf("%s/f%d", strings.TrimSuffix(directories[w.random.IntN(len(directories))], "/"), w.random.IntN(7))
}

// stir changes the tree once.
func (w *world) stir() {
	path := w.somePath()
	old, there := w.tree[path]
	switch {
	case path == "/":
	case there && w.random.IntN(3) == 0:
		w.remove(path)
	case there && old.Type == "d" || !there && slices.Contains(directories, path):
		if dir, _ := event.Split(path); dir != "/" && w.tree[strings.TrimSuffix(dir, "/")].Type == "" {
			return
		}
		w.put(path, entry{Type: "d", Mtime: w.clock().UnixNano() + 7, UID: uint32(w.random.IntN(3))})
	default:
		dir, _ := event.Split(path)
		if dir = strings.TrimSuffix(dir, "/"); dir != "" && w.tree[dir].Type == "" {
			return
		}
		e := entry{Type: "f", Size: w.random.Int64N(4), Mtime: 1700000000e9 + w.random.Int64N(3), UID: uint32(w.random.IntN(3))}
		if there && w.random.IntN(4) == 0 { // renamed
			w.remove(path)
			e = old
			path += "-renamed"
		}
		w.put(path, e)
	}
}

// change changes the tree, and has it folded, and perhaps merged.
func (w *world) change(c *compactor.Compactor) {
	for len(w.queued) == 0 || w.random.IntN(4) > 0 {
		w.stir()
	}
	w.send(1)
	w.fold(c)
	if w.random.IntN(2) == 0 {
		_, err := c.Merge(w.Context(), view)
		w.must(err)
	}
}

func (w *world) fold(c *compactor.Compactor) {
	_, err := c.Fold(w.Context(), view)
	w.must(err)
}

// server is the query handler over a store. It looks at the head every time.
func (w *world) server(st store.Store) http.Handler {
	s, err := query.New(query.Options{Store: st, Authenticator: w.keys, HeadTTL: -1, CacheBytes: 1 << 20, Now: w.clock, Logger: slog.New(slog.DiscardHandler)})
	w.must(err)
	return s.Handler()
}

// stop has work done over a store that stops at some request until meanwhile has passed, and then goes on; of work that lost is for, what it
// changes is lost after that if more than a job's time has passed.
func (w *world) stop(job bool, work func(store.Store) error, meanwhile func()) {
	var mu sync.Mutex
	left, late := 1+w.random.IntN(12), false
	at, goOn := make(chan struct{}), make(chan struct{})
	st := fault.New(w.store, func(c fault.Call) fault.Fault {
		mu.Lock()
		left--
		now, lost := left == 0, late && c.Op == fault.Replace
		mu.Unlock()
		if now {
			at <- struct{}{}
			<-goOn
			mu.Lock()
			lost = late && c.Op == fault.Replace
			mu.Unlock()
		}
		if lost {
			return fault.Fault{Lost: context.DeadlineExceeded}
		}
		return fault.Fault{}
	})
	done := make(chan error, 1)
	go func() { done <- work(st) }()
	var err error
	select {
	case err = <-done:
	case <-at:
		w.seen.stopped++
		before := w.clock()
		meanwhile()
		mu.Lock()
		late = job && w.clock().Sub(before) > 10*time.Minute
		mu.Unlock()
		close(goOn)
		err = <-done
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		w.Fatalf("the one that was stopped: %v", err)
	}
}

// stopCompactor stops a compactor in a fold, a merge or retention.
func (w *world) stopCompactor(meanwhile func()) {
	if w.random.IntN(2) == 0 {
		w.stop(false, func(st store.Store) error {
			_, err := w.compactor(st).Retain(w.Context(), view)
			return err
		}, meanwhile)
		return
	}
	for len(w.queued) == 0 {
		w.stir()
	}
	w.send(1)
	w.stop(true, func(st store.Store) error {
		c := w.compactor(st)
		_, err := c.Fold(w.Context(), view)
		if err == nil {
			_, err = c.Merge(w.Context(), view)
		}
		return err
	}, meanwhile)
}
