package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/bus"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/testkit/cases"
)

// tally counts what a source asks of its system: how often each directory is opened, and how many watches are added.
type tally struct {
	tree.System
	adds atomic.Int64

	mu    sync.Mutex
	opens map[string]int
}

func newTally() *tally { return &tally{System: tree.OS, opens: map[string]int{}} }

// reset forgets what was counted.
func (c *tally) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.opens)
	c.adds.Store(0)
}

// opened is how many directories were opened, and how often at most.
func (c *tally) opened() (directories, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range maps.Values(c.opens) {
		most = max(most, n)
	}
	return len(c.opens), most
}

func (c *tally) OpenRoot(path string) (tree.Root, error) {
	root, err := c.System.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &tallyRoot{root, c}, nil
}

type tallyRoot struct {
	tree.Root
	c *tally
}

func (r *tallyRoot) OpenDir(path string) (tree.Dir, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.opens[path]++
	return r.Root.OpenDir(path)
}

// notifier is the platform's, with its watches counted.
func (c *tally) notifier(root string) (watch.Notifier, error) {
	return &tallyNotifier{watch.NewNotifier(root, "inotify", 0, slog.New(slog.DiscardHandler)), c}, nil
}

type tallyNotifier struct {
	watch.Notifier
	c *tally
}

func (n *tallyNotifier) Add(root string, d tree.Dir, path string) (watch.WatchID, error) {
	n.c.adds.Add(1)
	return n.Notifier.Add(root, d, path)
}

// shared is several agents on one source.
type shared struct {
	t     *testing.T
	root  string
	bus   *bus.Bus
	tally *tally
}

func newShared(t *testing.T) *shared {
	t.Helper()
	if !watch.KnownMethod("inotify") {
		t.Skip("needs inotify: this platform has none")
	}
	s := &shared{t: t, root: t.TempDir(), bus: bus.New(lease.Clocks{}.Or(lease.Host()), slog.New(slog.DiscardHandler)), tally: newTally()}
	for i := range 5 {
		for j := range 5 {
			mkdir(t, filepath.Join(s.root, fmt.Sprint(i), fmt.Sprint(j)))
			write(t, filepath.Join(s.root, fmt.Sprint(i), fmt.Sprint(j), "f"), "x")
		}
	}
	old := time.Now().Add(-time.Hour) // so that their mtimes prove something
	_ = filepath.WalkDir(s.root, func(path string, d os.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, old, old))
	})
	return s
}

// directories is how many the tree of newShared has.
const directories = 31

// options are those of a pipe to a view of its own, or of another's.
func (s *shared) options(view string, change func(*agent.Options)) func(*agent.Options) {
	return func(o *agent.Options) {
		o.Bus, o.View = s.bus, view
		o.Tuning.System, o.Tuning.Notifier = s.tally, s.tally.notifier
		if change != nil {
			change(o)
		}
	}
}

// TestPipesOfOneSourceScanAndWatchOnce: three pipes to three stores, two of which lead and one of which follows another agent.
func TestPipesOfOneSourceScanAndWatchOnce(t *testing.T) {
	s := newShared(t)
	third := newServer(t)
	leader := start(t, third, t.TempDir(), nil)
	leader.snapshotted()
	var mu sync.Mutex
	var made []*agent.Agent
	var recs []*recorder
	for i, on := range []*server{newServer(t), newServer(t), third} { // all are there before the first one runs
		rec := &recorder{view: newView()}
		o := agent.Options{
			Root: s.root, View: "test", AgentID: fmt.Sprint("shared-", i), IngestURL: "http://ingest", IngestHTTP: on.http, APIKey: apiKey,
			Sender: rec, Tuning: agent.Tuning{SegmentAge: 100 * time.Millisecond},
		}
		s.options("test", nil)(&o)
		a, err := agent.New(o)
		if err != nil {
			t.Fatal(err)
		}
		made, recs = append(made, a), append(recs, rec)
	}
	s.tally.reset()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, a := range made {
		all.Go(func() {
			if err := a.Run(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				t.Error(err)
			}
		})
	}
	defer all.Wait()
	defer cancel()
	for i, rec := range recs[:2] {
		eventually(t, 30*time.Second, fmt.Sprint("the snapshot of pipe ", i), func() bool { return rec.view.count("snapshot-end") == 1 })
		if diff := difference(rec.view.present(), onDisk(t, s.root, nil)); diff != "" {
			t.Errorf("pipe %d: %s", i, diff)
		}
	}
	eventually(t, 30*time.Second, "the follower is done", func() bool { return made[2].Status().Session != "" && made[2].Status().Scan == "" })
	if n, most := s.tally.opened(); n != directories || most != 1 {
		t.Errorf("%d directories were opened, one of them %d times", n, most)
	}
	if n := s.tally.adds.Load(); n != directories {
		t.Errorf("%d watches were added for %d directories", n, directories)
	}
	write(t, filepath.Join(s.root, "1/1/new"), "y")
	for i, rec := range recs {
		eventually(t, 30*time.Second, fmt.Sprint("the event of pipe ", i), func() bool { return rec.view.present()["/1/1/new"].Size == 1 })
	}
	for i, a := range made {
		if st := a.Status(); st.Source.Pipes != 3 || st.Source.Dropped != 0 || st.Source.ScansLeft != 0 || st.Watch.Watches != directories {
			t.Errorf("pipe %d: %+v, %d watches", i, st.Source, st.Watch.Watches)
		}
	}
}

// TestPipeIsAddedToASource: it lists the tree for itself, with no watch more; who only follows reads nothing. The first pipe does
// not scan again. When they leave, the first pipe goes on.
func TestPipeIsAddedToASource(t *testing.T) {
	s := newShared(t)
	on := newServer(t)
	first := start(t, on, s.root, s.options("test", nil))
	first.snapshotted()
	first.settles(20 * time.Second)
	s.tally.reset()
	leads := start(t, newServer(t), s.root, s.options("test", nil))
	leads.snapshotted()
	leads.settles(20 * time.Second)
	if n, most := s.tally.opened(); n != directories || most > 2 { // New has looked into the root
		t.Errorf("%d directories were opened, one of them %d times", n, most)
	}
	s.tally.reset()
	follows := start(t, on, s.root, s.options("test", func(o *agent.Options) { o.AgentID = "host-2" }))
	eventually(t, 20*time.Second, "it follows", func() bool { st := follows.Status(); return st.Session != "" && !st.Leader && st.State == "running" })
	write(t, filepath.Join(s.root, "2/2/new"), "y")
	for i, r := range []*running{first, leads, follows} {
		eventually(t, 20*time.Second, fmt.Sprint("the event of pipe ", i), func() bool { return r.view.present()["/2/2/new"].Size == 1 })
	}
	if n, _ := s.tally.opened(); n > 1 || s.tally.adds.Load() != 0 {
		t.Errorf("for a follower %d directories were opened, and %d watches added", n, s.tally.adds.Load())
	}
	write(t, filepath.Join(s.root, "2/2/last"), "y")
	follows.stop()
	leads.stop()
	write(t, filepath.Join(s.root, "2/2/newer"), "y")
	first.settles(20 * time.Second)
	for _, r := range []*running{leads, follows} {
		if r.view.present()["/2/2/last"].Size != 1 {
			t.Error("what was written before the pipe ended is not in its view")
		}
	}
	if n := first.view.count("snapshot-end"); n != 1 || first.Status().Source.Pipes != 1 {
		t.Errorf("the first pipe has made %d snapshots; %+v", n, first.Status().Source)
	}
}

// gated is a sender that does not come back until it is opened, or its context ends.
type gated struct {
	*recorder
	gate chan struct{}
}

func (g gated) Send(ctx context.Context, seg pipe.Segment) error {
	select {
	case <-g.gate:
		return g.recorder.Send(ctx, seg)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestBlockedPipeHoldsUpNobody: a pipe whose sender never comes back keeps the others from nothing, neither from their scan nor
// from events, takes a bounded amount of memory, and has everything in the end.
func TestBlockedPipeHoldsUpNobody(t *testing.T) {
	s := newShared(t)
	const backlog = 32 << 10
	gate := make(chan struct{})
	bounded := func(o *agent.Options) { o.Tuning.MaxBacklog, o.Tuning.ScanBacklog = backlog, backlog/4 }
	for i := range 2000 { // more than the blocked one takes
		write(t, filepath.Join(s.root, fmt.Sprint(i%5), fmt.Sprintf("%064x", i*7919)), "x")
	}
	blocked := start(t, newServer(t), s.root, s.options("test", func(o *agent.Options) {
		bounded(o)
		o.Sender = gated{o.Sender.(*recorder), gate}
	}))
	eventually(t, 20*time.Second, "it leads", func() bool { return blocked.Status().Leader })
	free := start(t, newServer(t), s.root, s.options("test", nil))
	free.snapshotted()
	free.settles(20 * time.Second)
	for round := range 20 {
		for i := range 200 {
			write(t, filepath.Join(s.root, "3", fmt.Sprintf("%d-%x", round, i*7919)), "x")
		}
		free.settles(20 * time.Second)
		if st := blocked.Status(); st.BacklogBytes > 4*backlog || st.Source.Queued > 100_000 {
			t.Fatalf("the blocked pipe has %d bytes unsent, %+v", st.BacklogBytes, st.Source)
		}
	}
	if n := blocked.view.count("snapshot-end"); n != 0 {
		t.Fatal("the blocked pipe has sent something")
	}
	close(gate)
	blocked.settles(60 * time.Second)
	blocked.snapshotted()
	if n := free.view.count("snapshot-end"); n != 1 {
		t.Errorf("the free one has made %d snapshots", n)
	}
}

// TestPipesOfOneSourceRestart: each pipe remembers its own state, and both views are the tree again after what has happened
// meanwhile.
func TestPipesOfOneSourceRestart(t *testing.T) {
	s := newShared(t)
	servers, home := []*server{newServer(t), newServer(t)}, t.TempDir()
	views := []*view{newView(), newView()}
	for round := range 2 {
		var pipes []*running
		for i, on := range servers {
			pipes = append(pipes, start(t, on, s.root, s.options("test", func(o *agent.Options) {
				o.StateFile = filepath.Join(home, fmt.Sprint(i), "session.json")
				rec := o.Sender.(*recorder)
				rec.view = views[i]
				o.Sender = rec
			})))
		}
		for i := range pipes {
			eventually(t, 20*time.Second, "a snapshot", func() bool { return views[i].count("snapshot-end") == round+1 })
			eventually(t, 20*time.Second, "the view is the tree", func() bool { return difference(views[i].present(), onDisk(t, s.root, nil)) == "" })
		}
		for _, p := range pipes {
			p.stop()
		}
		write(t, filepath.Join(s.root, "4/4/meanwhile"), "y")
		if err := os.RemoveAll(filepath.Join(s.root, "0/1")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPipesOfOneSourceUnderLoad: while a tree is changed at random, one pipe is paused and resumed, the store of another comes and
// goes, and its memory is small, and a third ends and another begins. In the end every view is the tree.
func TestPipesOfOneSourceUnderLoad(t *testing.T) {
	root, outside := twoDirs(t)
	one := bus.New(lease.Clocks{}.Or(lease.Host()), slog.New(slog.DiscardHandler))
	pipeOf := func(change func(*agent.Options)) *running {
		return start(t, newServer(t), root, func(o *agent.Options) {
			o.Bus, o.Tuning.AuditInterval, o.Tuning.SettleAfter = one, 2*time.Second, time.Second
			if change != nil {
				change(o)
			}
		})
	}
	steady, paused := pipeOf(nil), pipeOf(nil)
	poor := pipeOf(func(o *agent.Options) {
		o.Tuning.MaxBacklog, o.Tuning.ScanBacklog, o.Tuning.MaxPending = 64<<10, 16<<10, 100
	})
	passing := pipeOf(nil)
	steady.snapshotted()
	done := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-done:
				poor.rec.setFail(nil)
				_, _ = paused.SetPaused(false, "the test")
				return
			case <-tick.C:
			}
			_, _ = paused.SetPaused(n%2 == 0, "the test")
			if poor.rec.setFail(nil); n%3 > 0 {
				poor.rec.setFail(errors.New("the store is away"))
			}
			if n == 3 {
				passing.stop()
			}
		}
	})
	runWorkload(root, outside, uint64(time.Now().UnixNano()), 3, cases.Of(4000), true)
	coming := pipeOf(nil)
	runWorkload(root, outside, uint64(time.Now().UnixNano()), 3, 2000, true)
	close(done)
	beside.Wait()
	for _, r := range []*running{steady, paused, poor, coming} {
		r.settles(90 * time.Second)
	}
}
