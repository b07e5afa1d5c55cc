//go:build unix

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	agenttree "github.com/fustor/fustor/agent/tree"
)

// operationsOf is how many operations a test does: n, or fewer with -short.
func operationsOf(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// settle is the promise: how long after the last operation the view may still differ, on an idle machine.
const settle = 3 * time.Second

// realTrees are trees that every machine has and that do not change.
func realTrees(t *testing.T) map[string]string {
	t.Helper()
	modules, err := exec.Command("go", "env", "GOMODCACHE", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	paths := strings.Fields(string(modules))
	trees := map[string]string{"modules": paths[0], "go": paths[1], "usr": "/usr"}
	if testing.Short() {
		trees = map[string]string{"go": filepath.Join(paths[1], "src", "net")}
	}
	return trees
}

// indexed is what agents index of a tree: snapshots of file servers they leave out.
func indexed(t tree) tree {
	maps.DeleteFunc(t, func(path string, _ entry) bool {
		return slices.ContainsFunc(strings.Split(path, "/"), func(name string) bool { return slices.Contains(agenttree.DefaultExcludes, name) })
	})
	return t
}

// TestUpIndexesRealTrees compares trees that nobody made for it with find(1); every field that there is, with all tools, of Go's own
// tree, or, in full, of all trees.
func TestUpIndexesRealTrees(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("find"); err != nil {
		t.Skip("there is no find(1) to compare with")
	}
	for name, dir := range realTrees(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := indexed(gnuFind(t, dir))
			began := time.Now()
			u := startUp(t, dir, t.TempDir())
			eventually(t, patience(2*time.Minute), "the first snapshot is folded", func() bool {
				_, err := u.du(t)
				return err == nil
			})
			t.Logf("%d paths after %v", len(want), time.Since(began).Round(time.Millisecond))
			have, err := u.find(t)
			if err != nil {
				t.Fatal(err)
			}
			sums, err := u.du(t)
			if err != nil {
				t.Fatal(err)
			}
			if after := indexed(gnuFind(t, dir)); difference(after, want) != "" {
				want = after // something else works in the tree: it must have come to rest by now
				u.equal(t, dir, time.Now(), patience(settle))
			} else if d := difference(have, want); d != "" {
				t.Error(d)
			} else if wanted := want.sums(); sums.String() != wanted.String() {
				t.Errorf("du says %v\nfind says %v", sums, wanted)
			}
			if long || name == "go" {
				t.Run("every field", func(t *testing.T) {
					u.awaitTools(t, comparison{dir: dir, acls: needTools(t)}, "after the first scan", patience(time.Minute))
					t.Logf("%d entries", len(want))
				})
			}
			u.Stop()
		})
	}
}

// gnuFind reads a tree by find -printf.
func gnuFind(t testing.TB, dir string) tree {
	t.Helper()
	const format = `%P\0%y\0%s\0%T@\0%m\0%U\0%G\0%l\0`
	var stderr bytes.Buffer
	cmd := exec.Command("find", dir, "-printf", format)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("find -printf: %v: %s", err, stderr.String())
	}
	fields := strings.Split(string(out), "\x00")
	found := make(tree, len(fields)/8)
	for ; len(fields) > 8; fields = fields[8:] {
		path, e, err := parseGNU(fields)
		if err != nil {
			t.Fatalf("find -printf gives %q: %v", fields[:8], err)
		}
		found[path] = e
	}
	return found
}

func parseGNU(f []string) (string, entry, error) {
	e := entry{kind: f[1][0], target: f[7]}
	if !strings.Contains("fdl", f[1]) {
		e.kind = 'o'
	}
	var err error
	number := func(text string, base, bits int) int64 {
		n, bad := strconv.ParseInt(text, base, bits)
		if bad != nil {
			err = bad
		}
		return n
	}
	e.size = number(f[2], 10, 64)
	seconds, fraction, _ := strings.Cut(f[3], ".")
	e.mtimeNs = number(seconds, 10, 64)*1e9 + number(fmt.Sprintf("%.9s", fraction), 10, 64)
	e.mode = uint32(number(f[4], 8, 64))
	e.uid, e.gid = uint32(number(f[5], 10, 64)), uint32(number(f[6], 10, 64))
	return "/" + f[0], e, err
}

// work runs a workload of n operations in two halves at once, each in a part of the tree of its own, and calls midway,
// if that is given, in the middle of it.
func work(t *testing.T, dir string, seed uint64, n int, midway func()) {
	t.Helper()
	began := time.Now()
	var workers sync.WaitGroup
	reached := make(chan struct{}, 2)
	did := map[string]int{}
	var mu sync.Mutex
	for i := range uint64(2) {
		w := newWorkload(t, filepath.Join(dir, fmt.Sprint("worker", i)), 2*seed+i)
		workers.Go(func() {
			w.run(n / 4)
			reached <- struct{}{}
			w.run(n/2 - n/4)
			mu.Lock()
			defer mu.Unlock()
			for name, times := range w.did {
				did[name] += times
			}
		})
	}
	if midway != nil {
		<-reached
		midway()
	}
	workers.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Logf("%d operations in %v: %v", n, time.Since(began).Round(time.Millisecond), did)
}

func TestUpFollowsWorkload(t *testing.T) {
	t.Run("from before", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		u := startUp(t, dir, t.TempDir())
		work(t, dir, 1, operationsOf(10_000), nil)
		u.equal(t, dir, time.Now(), patience(settle))
		u.Stop()
	})
	t.Run("from the middle", func(t *testing.T) {
		t.Parallel()
		dir, data := t.TempDir(), t.TempDir()
		var u *up
		work(t, dir, 2, operationsOf(10_000), func() { u = startUp(t, dir, data) })
		u.equal(t, dir, time.Now(), patience(settle))
		u.Stop()
	})
}

// TestUpKilledAnywhere kills the process again and again while the tree changes, and starts it on the same data.
func TestUpKilledAnywhere(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	rnd := rand.New(rand.NewPCG(3, 3))
	u := startUp(t, dir, data)
	rounds := max(2, operationsOf(8))
	for round := range rounds {
		w := newWorkload(t, filepath.Join(dir, fmt.Sprint("round", round)), uint64(100+round))
		worked := make(chan struct{})
		go func() {
			defer close(worked)
			w.run(operationsOf(1500))
		}()
		awaitPause(time.Duration(rnd.Int64N(int64(2 * time.Second))))
		u.Kill()
		awaitPause(time.Duration(rnd.Int64N(int64(200 * time.Millisecond))))
		u.Restart()
		if round%2 == 0 { // in the other half it may not even have come to serve when it is killed again
			u.serves()
		}
		<-worked
		if round%2 == 0 {
			u.equal(t, dir, time.Now(), patience(20*time.Second))
		}
	}
	u.serves()
	u.equal(t, dir, time.Now(), patience(20*time.Second))
	u.Stop()
}

// awaitPause lets a random time pass: nothing is waited for, the moment itself is the test.
func awaitPause(d time.Duration) { <-time.After(d) }
