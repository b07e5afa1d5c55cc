//go:build unix

package scan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/agent/hang"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// slowRoot is a tree whose calls take what look says.
type slowRoot struct {
	tree.Root
	look func(what, path string)
}

func (r *slowRoot) OpenDir(path string) (tree.Dir, error) {
	r.look("open", path)
	d, err := r.Root.OpenDir(path)
	if err != nil {
		return nil, err
	}
	return slowDir{d, r, path}, nil
}

type slowDir struct {
	tree.Dir
	root *slowRoot
	path string
}

func (d slowDir) Read(n *tree.Names) error {
	d.root.look("read", d.path)
	return d.Dir.Read(n)
}

func (d slowDir) Lstat(n *tree.Names, i int) (tree.Info, error) {
	d.root.look("lstat", event.Join(d.path, n.At(i)))
	return d.Dir.Lstat(n, i)
}

func (d slowDir) ACL() (event.ACL, error) {
	d.root.look("acl", d.path)
	return d.Dir.ACL()
}

func openSlow(t *testing.T, dir string, look func(what, path string)) *slowRoot {
	t.Helper()
	root, err := tree.OpenRoot(dir)
	must(t, err)
	return &slowRoot{root, look}
}

// TestHangTakesOneWorkerAlong: wherever a call hangs, the rest of the tree is listed, the path is reported, nothing is said
// of what is below it, and the scan ends. While it hangs nobody asks for it again; then its end is told.
func TestHangTakesOneWorkerAlong(t *testing.T) {
	for _, what := range []string{"open", "acl", "read", "lstat"} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			for i := range 20 {
				must(t, os.MkdirAll(filepath.Join(dir, fmt.Sprintf("d%02d", i), "sub"), 0o755))
				must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("d%02d", i), "sub", "f"), nil, 0o644))
			}
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				var asked atomic.Int32
				root := openSlow(t, dir, func(w, path string) {
					if w == what && path == "/d07" {
						asked.Add(1)
						<-release
					}
				})
				answered := make(chan string, 10)
				calls := hang.New(0, func(path string) { answered <- path })
				run := func() (*collector, []string) {
					c := newCollector()
					var failed []string
					var mu sync.Mutex
					began := time.Now()
					must(t, Run(t.Context(), Config{
						Root: root, Excludes: noExcludes(t), Now: counter(), Workers: 4, Hangs: calls,
					}, &Receiver{
						Evidence: event.Audit, Emit: c.emit, Counts: &Counts{},
						OnError: func(path string, _ error) {
							mu.Lock()
							defer mu.Unlock()
							failed = append(failed, path)
						},
					}, "/"))
					if took := time.Since(began); took > 2*hang.After {
						t.Errorf("it took %v", took)
					}
					return c, failed
				}
				for range 2 { // the second time it is not asked for
					c, failed := run()
					n, first := calls.Status()
					if n != 1 || first != "/d07" || !slices.Equal(slices.Compact(failed), []string{"/d07"}) {
						t.Errorf("%d hang, %s; reported %v", n, first, failed)
					}
					for i := range 20 {
						path := fmt.Sprintf("/d%02d/sub/f", i)
						if _, ok := c.entries[path]; ok == (i == 7) {
							t.Errorf("%s is listed: %v", path, ok)
						}
					}
					if len(c.ranges["/d07"]) != 0 || len(c.marks) != 1 || c.marks[0].Path != "/d07" || !strings.Contains(c.marks[0].Mark.Message, "does not answer") {
						t.Errorf("ranges %v, marks %+v", c.ranges["/d07"], c.marks)
					}
					if what == "lstat" && fmt.Sprint(c.ranges["/"]) != `[[ /d07] [/d07 ]]` {
						for _, r := range c.ranges["/"] {
							if r[0] <= "d07" && (r[1] == "" || r[1] > "d07") {
								t.Errorf("the listing speaks of what hangs: %q", c.ranges["/"])
							}
						}
					}
				}
				if asked.Load() != 1 {
					t.Errorf("asked for %d times", asked.Load())
				}
				calls.Close(root)
				close(release)
				if path := <-answered; path != "/d07" {
					t.Errorf("%s answered", path)
				}
				synctest.Wait()
				if n, _ := calls.Status(); n != 0 {
					t.Errorf("%d hang still", n)
				}
			})
		})
	}
}

func noExcludes(t *testing.T) *tree.Excludes {
	x, err := tree.NewExcludes(nil)
	must(t, err)
	return x
}

// TestHangsAreBounded: of a tree in which everything hangs, few threads hang and the scan ends.
func TestHangsAreBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 200 {
		must(t, os.MkdirAll(filepath.Join(dir, fmt.Sprintf("d%03d", i)), 0o755))
	}
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var asked atomic.Int32
		root := openSlow(t, dir, func(what, path string) {
			if what == "open" && path != "/" {
				asked.Add(1)
				<-release
			}
		})
		c := newCollector()
		calls := hang.New(0, nil)
		must(t, Run(t.Context(), Config{Root: root, Excludes: noExcludes(t), Now: counter(), Workers: 8, Hangs: calls}, &Receiver{Emit: c.emit, Counts: &Counts{}}, "/"))
		if n := asked.Load(); n < hang.Many || n > hang.Many+8 {
			t.Errorf("%d hang", n)
		}
		if len(c.marks) != 200 {
			t.Errorf("%d are reported", len(c.marks))
		}
		calls.Close(root)
		close(release)
	})
}

// TestScanThatHangsIsStopped within the time that an agent has to end.
func TestScanThatHangsIsStopped(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		root := openSlow(t, dir, func(_, path string) {
			if path == "/d" {
				cancel()
				<-release
			}
		})
		calls := hang.New(0, nil)
		began := time.Now()
		err := Run(ctx, Config{Root: root, Excludes: noExcludes(t), Now: counter(), Hangs: calls}, &Receiver{Emit: newCollector().emit, Counts: &Counts{}}, "/")
		if took := time.Since(began); err == nil || took > 2*hang.Patience {
			t.Errorf("%v after %v", err, took)
		}
		calls.Close(root)
		close(release)
	})
}

// server serves so many calls at once, each in a time; more wait. Both may change.
type server struct {
	latency atomic.Int64
	slots   chan struct{}
	active  atomic.Int32
	most    atomic.Int32
	calls   atomic.Int32
	onCall  func(n int32)
}

func (s *server) look(string, string) {
	n := s.active.Add(1)
	for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
	}
	if s.onCall != nil {
		s.onCall(s.calls.Add(1))
	}
	s.slots <- struct{}{}
	time.Sleep(time.Duration(s.latency.Load()))
	<-s.slots
	s.active.Add(-1)
}

// TestWorkersFollowTheServer: they grow to about what the server does at once, no further, and go down when it becomes slow.
func TestWorkersFollowTheServer(t *testing.T) {
	dir := t.TempDir()
	const directories = 500
	for i := range directories {
		sub := filepath.Join(dir, fmt.Sprintf("p%02d", i%30), fmt.Sprintf("d%04d", i))
		must(t, os.MkdirAll(sub, 0o755))
		for f := range 10 {
			must(t, os.Mkdir(filepath.Join(sub, fmt.Sprint("e", f)), 0o755))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := &server{slots: make(chan struct{}, 16)}
		s.latency.Store(int64(time.Millisecond))
		var grown, pressed int32
		s.onCall = func(n int32) {
			switch {
			case n == 8_000:
				grown = s.most.Load()
				s.latency.Store(int64(10 * time.Millisecond))
			case n == 11_000:
				s.most.Store(0)
			case n == 12_500:
				pressed = s.most.Load()
			}
		}
		root := openSlow(t, dir, s.look)
		defer root.Close()
		began := time.Now()
		must(t, Run(t.Context(), Config{Root: root, Excludes: noExcludes(t), Now: counter()}, &Receiver{Emit: newCollector().emit, Counts: &Counts{}}, "/"))
		t.Logf("%d calls in %v; at most %d at once, %d once it was slow", s.calls.Load(), time.Since(began), grown, pressed)
		if grown < 12 || grown > 40 {
			t.Errorf("%d workers for a server that does 16 calls at once", grown)
		}
		if pressed >= grown {
			t.Errorf("%d workers as before when the server had become slow", pressed)
		}
	})
}

// TestTunerHoldsWhereMoreBringsNothing, as on a local disk, where the processors are the bound.
func TestTunerHoldsWhereMoreBringsNothing(t *testing.T) {
	tuner := newTuner(2, 32)
	sum := 0
	for range 200 {
		n := tuner.n
		sum += tuner.next(100_000, float64(n)/100_000)
	}
	if average := float64(sum) / 200; average > 3 {
		t.Errorf("%.1f workers on average", average)
	}
}

func TestRateBoundsTheEntries(t *testing.T) {
	dir := t.TempDir()
	for i := range 10 {
		must(t, os.Mkdir(filepath.Join(dir, fmt.Sprint(i)), 0o755))
		for f := range 100 {
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i), fmt.Sprint(f)), nil, 0o644))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		rate := NewRate(100)
		var group sync.WaitGroup
		began := time.Now()
		for range 2 { // two scans share it
			group.Go(func() { scanTree(t, dir, func(cfg *Config) { cfg.Rate = rate }) })
		}
		group.Wait()
		// 11 directories, and 1010 entries in them, twice
		if took := time.Since(began); took < 19*time.Second || took > 22*time.Second {
			t.Errorf("2042 entries at 100 a second took %v", took)
		}
	})
}
