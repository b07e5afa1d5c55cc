//go:build unix

package scan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/wait"
)

// openings counts how often each directory is opened.
type openings struct {
	tree.Root
	mu sync.Mutex
	n  map[string]int
	at func(path string) // called before
}

func (o *openings) OpenDir(path string) (tree.Dir, error) {
	o.mu.Lock()
	o.n[path]++
	at := o.at
	o.mu.Unlock()
	if at != nil {
		at(path)
	}
	return o.Root.OpenDir(path)
}

// most is how often the directory was opened that was opened most often.
func (o *openings) most() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Max(slices.Collect(maps.Values(o.n)))
}

// wideTree makes a tree of 2 + 10 + 100 directories.
func wideTree(t *testing.T) (dir string, root *openings, cfg Config) {
	t.Helper()
	dir = t.TempDir()
	for i := range 10 {
		for j := range 10 {
			must(t, os.MkdirAll(filepath.Join(dir, "top", fmt.Sprint(i), fmt.Sprint(j)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "top", fmt.Sprint(i), fmt.Sprint(j), "f"), nil, 0o644))
		}
	}
	opened, err := tree.OpenRoot(dir)
	must(t, err)
	t.Cleanup(opened.Close)
	x, err := tree.NewExcludes(nil)
	must(t, err)
	root = &openings{Root: opened, n: map[string]int{}}
	return dir, root, Config{Root: root, Excludes: x, Now: counter(), Joinable: true}
}

func receiver(c *collector, evidence event.Evidence) *Receiver {
	return &Receiver{Evidence: evidence, Emit: c.emit, Counts: &Counts{}}
}

// complete checks that a collector has all of a tree of wideTree.
func (c *collector) complete(t *testing.T, what string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) != 212 || len(c.ranges) != 112 {
		t.Errorf("%s: %d entries in %d directories, want 212 in 112", what, len(c.entries), len(c.ranges))
	}
	for _, p := range c.problems {
		t.Error(what, p)
	}
}

// TestWalkReadsOnceForAll: a snapshot, an audit that leaves out what has not changed, and a scan that only watches.
func TestWalkReadsOnceForAll(t *testing.T) {
	_, root, cfg := wideTree(t)
	var covered atomic.Int64
	cfg.Cover = func(tree.Root, tree.Dir, string, tree.Info) (Reading, error) {
		covered.Add(1)
		return freeReading{}, nil
	}
	w := NewWalk(cfg, "/")
	all, few := newCollector(), &collector{ranges: map[string][][2]string{"/": {{}}}, entries: map[string]event.Entry{}}
	var evidence, unchanged atomic.Int64
	snapshot, audit, cover := receiver(all, event.Snapshot), receiver(few, event.Audit), &Receiver{Counts: &Counts{}}
	snapshot.Emit = func(ctx context.Context, ev *event.Event, r Reading) error {
		if ev.Evidence != event.Snapshot {
			evidence.Add(1)
		}
		return all.emit(ctx, ev, r)
	}
	audit.Look = func(path string, _ int64) Look {
		if path == "/top/3" {
			return List
		}
		return Skip
	}
	audit.Emit = func(_ context.Context, ev *event.Event, _ Reading) error {
		if ev.Evidence != event.Audit {
			evidence.Add(1)
		}
		if ev.Kind == event.Unchanged {
			unchanged.Add(1)
			return nil
		}
		few.mu.Lock()
		defer few.mu.Unlock()
		few.entries[ev.Path] = ev.Entry
		return nil
	}
	var parts []*Part
	for _, r := range []*Receiver{snapshot, audit, cover} {
		parts = append(parts, w.Join(t.Context(), r))
	}
	must(t, w.Run(t.Context()))
	for _, p := range parts {
		must(t, p.Wait())
	}
	all.complete(t, "the snapshot")
	if root.most() != 1 || covered.Load() != 112 || evidence.Load() != 0 {
		t.Errorf("a directory was opened %d times; %d were covered; %d events of another's evidence", root.most(), covered.Load(), evidence.Load())
	}
	if unchanged.Load() != 111 || len(few.entries) != 1 {
		t.Errorf("the audit has %d unchanged directories and the listings %v", unchanged.Load(), few.entries)
	}
	for _, r := range []*Receiver{snapshot, audit, cover} {
		if n := r.Counts.Directories.Load(); n != 112 {
			t.Errorf("%d directories are counted", n)
		}
	}
}

// TestJoiningLate: who joins while the walk runs gets the rest of it, and from a second scan what it has missed, and no directory
// twice.
func TestJoiningLate(t *testing.T) {
	for _, after := range []int{1, 5, 60, 111} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			_, root, cfg := wideTree(t)
			w := NewWalk(cfg, "/")
			first, late := newCollector(), newCollector()
			var part *Part
			var opened atomic.Int64
			root.at = func(string) {
				if opened.Add(1) == int64(after) {
					part = w.Join(t.Context(), receiver(late, event.Audit))
				}
			}
			p := w.Join(t.Context(), receiver(first, event.Snapshot))
			must(t, w.Run(t.Context()))
			must(t, p.Wait())
			must(t, part.Wait())
			first.complete(t, "the first")
			if !part.Late() || part.Had("/") {
				t.Fatal("it does not know that it was late")
			}
			root.at = nil
			cfg.LeaveOut, cfg.Joinable = part.Had, false
			must(t, Run(t.Context(), cfg, part.to, "/"))
			late.problems = nil // what is above was listed to the others before
			late.complete(t, "the late one")
			if n := part.to.Counts.Directories.Load(); n != 112 {
				t.Errorf("the late one has read %d directories", n)
			}
		})
	}
}

// TestSlowReceiverIsLeftBehind: the others go on without one that has no room, but not before they have room.
func TestSlowReceiverIsLeftBehind(t *testing.T) {
	_, root, cfg := wideTree(t)
	w := NewWalk(cfg, "/")
	quick, slow := newCollector(), newCollector()
	a, b := receiver(quick, event.Snapshot), receiver(slow, event.Snapshot)
	var got atomic.Int64
	var aWaits, asked atomic.Int64
	a.Room = func() Room {
		if aWaits.Load() == 1 && asked.Add(1) < 20 {
			return Full
		}
		return Free
	}
	b.Room = func() Room {
		if got.Load() >= 10 {
			aWaits.CompareAndSwap(0, 1)
			return Full
		}
		return Free
	}
	b.Emit = func(ctx context.Context, ev *event.Event, r Reading) error {
		got.Add(1)
		return slow.emit(ctx, ev, r)
	}
	pa, pb := w.Join(t.Context(), a), w.Join(t.Context(), b)
	must(t, w.Run(t.Context()))
	must(t, pa.Wait())
	if err := pb.Wait(); !errors.Is(err, ErrBehind) {
		t.Errorf("the slow one ended with %v", err)
	}
	quick.complete(t, "the quick one")
	if asked.Load() < 20 {
		t.Error("the slow one was left behind while the other one had no room either")
	}
	if root.most() != 1 {
		t.Errorf("a directory was opened %d times", root.most())
	}
}

// TestReceiversEndApart: one fails, one panics, one's context ends, and the last one gets everything.
func TestReceiversEndApart(t *testing.T) {
	_, _, cfg := wideTree(t)
	w := NewWalk(cfg, "/")
	good := newCollector()
	fault := errors.New("a fault")
	failing, panicking, leaving := receiver(newCollector(), event.Snapshot), receiver(newCollector(), event.Snapshot), receiver(newCollector(), event.Snapshot)
	failing.Emit = func(context.Context, *event.Event, Reading) error { return fault }
	panicking.Look = func(string, int64) Look { panic("a fault") }
	ctx, cancel := context.WithCancel(t.Context())
	var after atomic.Int64
	leaving.Emit = func(ctx context.Context, _ *event.Event, _ Reading) error { cancel(); <-ctx.Done(); return ctx.Err() }
	leaving.OnError = func(string, error) { after.Add(1) }
	parts := []*Part{w.Join(t.Context(), failing), w.Join(t.Context(), panicking), w.Join(ctx, leaving), w.Join(t.Context(), receiver(good, event.Snapshot))}
	must(t, w.Run(t.Context()))
	if err := parts[0].Wait(); !errors.Is(err, fault) {
		t.Errorf("the failing one ended with %v", err)
	}
	var caught *guard.PanicError
	if err := parts[1].Wait(); !errors.As(err, &caught) {
		t.Errorf("the panicking one ended with %v", err)
	}
	if err := parts[2].Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("the leaving one ended with %v", err)
	}
	must(t, parts[3].Wait())
	good.complete(t, "the last one")
	if w.Join(t.Context(), receiver(newCollector(), event.Snapshot)) != nil {
		t.Error("a walk that has ended can be joined")
	}
}

// TestWalkEndsWithItsLastReceiver: nobody reads on for those who have left.
func TestWalkEndsWithItsLastReceiver(t *testing.T) {
	_, root, cfg := wideTree(t)
	cfg.Workers = 1
	w := NewWalk(cfg, "/")
	ctx, cancel := context.WithCancel(t.Context())
	r := receiver(newCollector(), event.Snapshot)
	r.Room = func() Room { return Full }
	p := w.Join(ctx, r)
	left := make(chan struct{})
	root.at = func(string) { // it leaves as soon as the walk has begun
		cancel()
		<-left
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(context.Background()) }()
	if err := p.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("the part ended with %v", err)
	}
	close(left)
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it says that it is complete")
		}
	case <-time.After(wait.Limit(10 * time.Second)):
		t.Fatal("the walk goes on")
	}
	if len(root.n) == 112 {
		t.Error("all directories were opened")
	}
	if w := NewWalk(cfg, "/"); w.Run(t.Context()) == nil {
		t.Error("a walk that nobody joins says that it is complete")
	}
}

// TestKnownToOne: what one receiver knows is read for the other, and no more than once.
func TestKnownToOne(t *testing.T) {
	dir, root, cfg := wideTree(t)
	known := &Known{}
	var fill func(k *Known, path string)
	fill = func(k *Known, path string) {
		info, err := os.Stat(path)
		must(t, err)
		k.Mtime = info.ModTime().UnixNano()
		entries, err := os.ReadDir(path)
		must(t, err)
		for _, e := range entries {
			if e.IsDir() {
				c := &Known{Name: e.Name()}
				fill(c, filepath.Join(path, e.Name()))
				k.Insert(c)
			}
		}
	}
	fill(known, dir)
	for _, both := range []bool{false, true} {
		w := NewWalk(cfg, "/")
		c := newCollector()
		var kept atomic.Int64
		knows := &Receiver{Evidence: event.Snapshot, Counts: &Counts{}, Known: known, Kept: func(string, int64) { kept.Add(1) },
			Emit: func(context.Context, *event.Event, Reading) error { t.Error("an event of what is known"); return nil }}
		other := receiver(c, event.Snapshot)
		if both {
			other.Known, other.Emit = known, knows.Emit
		}
		root.n = map[string]int{}
		a, b := w.Join(t.Context(), knows), w.Join(t.Context(), other)
		must(t, w.Run(t.Context()))
		must(t, a.Wait())
		must(t, b.Wait())
		if !both {
			c.complete(t, "the other")
		}
		if kept.Load() != 112 || root.most() != 1 || knows.Counts.Directories.Load() != 112 || other.Counts.Directories.Load() != 112 {
			t.Errorf("kept %d; opened %d times; counted %d and %d", kept.Load(), root.most(), knows.Counts.Directories.Load(), other.Counts.Directories.Load())
		}
	}
}
