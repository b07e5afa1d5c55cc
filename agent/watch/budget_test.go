package watch

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/wait"
)

// granting is inotify where the system grants so many watches.
type granting struct {
	Notifier
	n *atomic.Int64
}

func (g granting) Quota(int) int { return int(g.n.Load()) }

// rationedRig is a rig whose watches are granted by number. Directories are made with these times, in order.
func rationedRig(t *testing.T, grant *atomic.Int64, dirs []string, change func(*Config)) *rig {
	t.Helper()
	r := newRig(t, "", func(c *Config) {
		c.Notifier = func(root string) (Notifier, error) {
			n, err := platform[len(platform)-1].open(root)
			return granting{n, grant}, err
		}
		c.QuotaEvery = 50 * time.Millisecond
		if change != nil {
			change(c)
		}
	})
	r.workers = 1
	r.clock.Store(time.Now().UnixNano())
	for _, d := range dirs {
		must(t, os.MkdirAll(filepath.Join(r.root, d), 0o755))
	}
	for i, d := range dirs { // those made last are the coldest, and what is below is hotter than what is above
		r.touch(t, d, time.Duration(len(dirs)-i)*time.Hour)
	}
	return r
}

// touch sets when a directory was changed.
func (r *rig) touch(t *testing.T, dir string, ago time.Duration) {
	t.Helper()
	at := time.Now().Add(-ago)
	must(t, os.Chtimes(filepath.Join(r.root, dir), at, at))
}

func (r *rig) watched(path string) bool {
	r.Watcher.mu.Lock()
	defer r.Watcher.mu.Unlock()
	n := r.model.lookup(path)
	return n != nil && n.watch != NoWatch
}

// TestHottestDirectoriesHoldTheWatches: by mtime at first, and by what happens in them from then on.
func TestHottestDirectoriesHoldTheWatches(t *testing.T) {
	var grant atomic.Int64
	grant.Store(4)
	var dirs []string
	for i := range 20 {
		dirs = append(dirs, fmt.Sprintf("d%02d", i)) // d19 changed last
	}
	r := rationedRig(t, &grant, dirs, nil)
	r.coverAll(t)
	if s := r.Status(); s.Watches != 4 || s.Unwatched != 17 || s.Coverage != HotSet || s.Limit != 4 {
		t.Fatalf("status %+v", s)
	}
	for _, p := range []string{"/", "/d19", "/d18", "/d17"} {
		if !r.watched(p) {
			t.Errorf("%s is not watched", p)
		}
	}
	// A notice makes a directory hot, without its mtime.
	must(t, os.WriteFile(filepath.Join(r.root, "d17/f"), nil, 0o644))
	r.sees(t, "the file", isPut("/d17/f", true))
	r.touch(t, "d17", 100*time.Hour)
	// A cold one that was changed gets a watch when it is met, and the coldest loses its own.
	r.touch(t, "d03", 30*time.Minute)
	r.coverAll(t)
	for _, p := range []string{"/", "/d17", "/d19", "/d03"} {
		if !r.watched(p) {
			t.Errorf("%s is not watched after it was changed", p)
		}
	}
	if s := r.Status(); s.Watches != 4 || s.Unwatched != 17 {
		t.Errorf("status %+v", s)
	}
	must(t, os.WriteFile(filepath.Join(r.root, "d03/f"), nil, 0o644))
	r.sees(t, "a file in it", isPut("/d03/f", true))
}

// TestMtimesInTheFutureAreNotHot, nor are those of a file server whose clock is ahead hotter than others.
func TestMtimesInTheFutureAreNotHot(t *testing.T) {
	var grant atomic.Int64
	grant.Store(3)
	r := rationedRig(t, &grant, []string{"a", "b", "c", "future"}, func(c *Config) {
		c.Skew = func() int64 { return -int64(2 * time.Hour) } // the file server's clock is two hours ahead
	})
	r.touch(t, "future", -48*time.Hour)
	r.touch(t, "a", -90*time.Minute) // half an hour ago, by the file server's clock
	r.coverAll(t)
	if r.watched("/future") || !r.watched("/a") || !r.watched("/c") {
		t.Errorf("watched: future %v, a %v, c %v", r.watched("/future"), r.watched("/a"), r.watched("/c"))
	}
}

// TestMoreWatchesAreTaken once there are more, and given back once there are fewer.
func TestMoreWatchesAreTaken(t *testing.T) {
	var grant atomic.Int64
	grant.Store(3)
	again := make(chan struct{}, 100)
	var r *rig
	var scans []string // for each scan of everything that was asked for, the coverage then
	r = rationedRig(t, &grant, []string{"a", "b", "c", "d", "e"}, func(c *Config) {
		c.CoverAgain = func() { again <- struct{}{} }
		c.Overflow = func(below []string) { scans = append(scans, fmt.Sprint(below, r.Status().Coverage)) }
	})
	r.coverAll(t)
	if s := r.Status(); s.Watches != 3 {
		t.Fatalf("status %+v", s)
	}
	grant.Store(100)
	select {
	case <-again:
	case <-time.After(wait.Limit(10 * time.Second)):
		t.Fatal("nobody was told that there are more watches")
	}
	r.coverAll(t)
	if s := r.Status(); s.Watches != 6 || s.Unwatched != 0 || s.Coverage != Realtime {
		t.Errorf("with enough watches: %+v", s)
	}
	if want := fmt.Sprint([]string(nil), HotSet); len(scans) != 1 || scans[0] != want {
		t.Errorf("scans that were asked for, and the coverage then: %q, want %q alone", scans, want)
	}
	grant.Store(2)
	r.Watcher.updateQuota()
	if s := r.Status(); s.Watches != 2 || !r.watched("/e") || s.Coverage != HotSet {
		t.Errorf("with two: %+v", s)
	}
}

// TestEvictedWatchStillTellsWhatItHeard: notices that the kernel had made before the watch was given up are not lost.
func TestEvictedWatchStillTellsWhatItHeard(t *testing.T) {
	var grant atomic.Int64
	grant.Store(2)
	gate := make(chan struct{})
	r := rationedRig(t, &grant, []string{"a", "b"}, func(c *Config) { c.gate = func() { <-gate } })
	r.coverAll(t)
	if !r.watched("/b") || r.watched("/a") {
		t.Fatal("b changed last, and is not watched")
	}
	must(t, os.WriteFile(filepath.Join(r.root, "b/f"), nil, 0o644))
	r.touch(t, "b", 10*time.Hour)
	r.touch(t, "a", time.Minute)
	r.coverAll(t)
	if r.watched("/b") || !r.watched("/a") {
		t.Fatal("a changed last, and is not watched")
	}
	close(gate)
	r.sees(t, "what happened before", isPut("/b/f", true))
	waitFor(t, "the end of the old watch", func() bool {
		r.Watcher.mu.Lock()
		defer r.Watcher.mu.Unlock()
		return len(r.budget.leaving) == 0
	})
}

// TestUnwatchedDirectoryIsMoved: what is below it is still watched, and its notices carry the old path. Nothing may be
// emitted for that path but what is there.
func TestUnwatchedDirectoryIsMoved(t *testing.T) {
	var grant atomic.Int64
	grant.Store(2)
	r := rationedRig(t, &grant, []string{"top", "top/cold", "top/cold/hot"}, nil)
	must(t, os.WriteFile(filepath.Join(r.root, "top/cold/old"), nil, 0o644))
	r.touch(t, "top/cold", 2*time.Hour)
	r.coverAll(t)
	if !r.watched("/top/cold/hot") || r.watched("/top/cold") || r.watched("/top") {
		t.Fatal("the hottest directory is not watched, or another one is")
	}
	must(t, os.Rename(filepath.Join(r.root, "top/cold"), filepath.Join(r.root, "top/moved")))
	must(t, os.MkdirAll(filepath.Join(r.root, "top/cold/hot"), 0o755))
	must(t, os.WriteFile(filepath.Join(r.root, "top/cold/hot/f"), []byte("another"), 0o644))
	must(t, os.WriteFile(filepath.Join(r.root, "top/moved/hot/f"), []byte("f"), 0o644))
	gone := r.sees(t, "the end of the directory that was there", isDelete("/top/cold"))
	r.sees(t, "the file that is there", func(ev event.Event) bool {
		return isPut("/top/cold/hot/f", true)(ev) && ev.ObservedAt > gone.ObservedAt
	})
	for _, ev := range r.events() {
		if ev.Kind == event.Put && ev.Path == "/top/cold/hot/f" && (ev.Entry.Size != 7 || ev.ObservedAt < gone.ObservedAt) {
			t.Errorf("a put by a path that leads elsewhere: %s", r.text())
		}
	}
	// If the other one's watch is hotter, it is given back after a while, in which it might have turned up elsewhere.
	for _, d := range []string{"top", "top/cold", "top/moved", "top/moved/hot"} {
		r.touch(t, d, time.Hour)
	}
	waitFor(t, "the new one is watched", func() bool {
		if r.Status().Watches == 1 {
			r.coverAll(t)
		}
		return r.watched("/top/cold/hot")
	})
	must(t, os.WriteFile(filepath.Join(r.root, "top/cold/hot/g"), nil, 0o644))
	r.sees(t, "a file in the new one", isPut("/top/cold/hot/g", true))
}

// TestWatchedDirectoryMovesInAnUnwatchedOne: only itself can tell.
func TestWatchedDirectoryMovesInAnUnwatchedOne(t *testing.T) {
	var grant atomic.Int64
	grant.Store(2)
	r := rationedRig(t, &grant, []string{"cold", "cold/hot"}, nil)
	r.touch(t, "cold", 20*time.Hour)
	r.coverAll(t)
	if !r.watched("/cold/hot") || r.watched("/cold") {
		t.Fatal("the hottest directory is not watched, or the other one is")
	}
	must(t, os.Rename(filepath.Join(r.root, "cold/hot"), filepath.Join(r.root, "cold/away")))
	r.sees(t, "its end", isDelete("/cold/hot"))
	for _, ev := range r.events() {
		if ev.Kind == event.Put && ev.Path == "/cold/hot" {
			t.Errorf("a put of what is not there: %s", r.text())
		}
	}
}

// TestListingOfAMovedDirectory: a scan that reads a directory whose unwatched ancestor moves away does not list it under
// the old path.
func TestListingOfAMovedDirectory(t *testing.T) {
	var grant atomic.Int64
	grant.Store(2)
	r := rationedRig(t, &grant, []string{"top", "top/cold", "top/cold/hot"}, nil)
	r.coverAll(t)
	root, err := r.OpenRoot()
	must(t, err)
	defer root.Close()
	d, err := root.OpenDir("/top/cold/hot")
	must(t, err)
	defer d.Close()
	info, err := d.Info()
	must(t, err)
	p, err := r.Cover(root, d, "/top/cold/hot", info)
	must(t, err)
	defer p.Done()
	if err := p.(*reading).Still(); err != nil {
		t.Fatalf("still: %v", err)
	}
	must(t, os.Rename(filepath.Join(r.root, "top/cold"), filepath.Join(r.root, "top/moved")))
	if err := p.(*reading).Still(); !errors.Is(err, scan.ErrMoved) {
		t.Error("a listing of a directory that is not there")
	}
}

// BenchmarkBudget is what it costs to meet a directory while all watches are taken, if it is hotter than one of them each
// time: the kernel's calls are left out.
func BenchmarkBudget(b *testing.B) {
	const held = 1 << 17
	w := &Watcher{notifier: silent{}, cfg: Config{Logger: slog.New(slog.DiscardHandler)}}
	w.model.reset()
	w.budget.max = held
	at := int64(0)
	for i := range held {
		at++
		n := &node{watch: WatchID(i), active: at}
		w.model.byWatch[n.watch] = n
	}
	id := WatchID(held)
	b.ReportAllocs()
	for b.Loop() {
		at++
		if !w.makeRoom(at) {
			b.Fatal("no room")
		}
		n := &node{watch: id}
		w.model.byWatch[id] = n
		w.noteActivity(n, at, true)
		clear(w.budget.leaving)
		id++
	}
}

// silent is a Notifier that hears nothing.
type silent struct{ Notifier }

func (silent) Remove(WatchID)                                {}
func (silent) Add(string, tree.Dir, string) (WatchID, error) { return NoWatch, nil }
