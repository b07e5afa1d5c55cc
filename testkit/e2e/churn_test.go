//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestChurnBeyondTheQueue has files made, renamed and deleted much faster than anyone can look at them, and the agent stand
// still for a moment meanwhile, so that the kernel's queue of notices certainly runs over.
func TestChurnBeyondTheQueue(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	o := observe(t, observation{dir: dir})
	for range shortOr(1, 3) {
		c := startChurn(t, dir, shortOr(2, 4))
		awaitPause(shortOr(time.Second, 5*time.Second))
		o.agent.Pause()
		from := c.did.Load()
		eventually(t, patience(60*time.Second), "there are more notices than the kernel keeps", func() bool { return c.did.Load()-from > 2*keptNotices(t) })
		o.agent.Resume()
		awaitPause(shortOr(2*time.Second, 55*time.Second))
		operations, rate := c.stop()
		t.Logf("%d creates, renames and deletes, %.0f a second", operations, rate)
		o.same(shortOr(30*time.Second, 2*time.Minute))
		t.Logf("kept so far: %d MB of segments, %d MB of layers", o.kept("segments")>>20, o.kept("layers")>>20)
	}
	if !strings.Contains(o.agent.log.String(), "notices overflowed") && !strings.Contains(o.agent.log.String(), "too many changes are waiting") {
		t.Error("no queue overflowed")
	}
	o.agent.staysBelow(churnMemory)
}

// kept is how many bytes of a kind the view has in its store.
func (o *observed) kept(kind string) (bytes int64) {
	o.t.Helper()
	dir := filepath.Join(strings.TrimPrefix(o.store, "file://"), "views", viewID, kind)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		o.t.Error(err)
	}
	return bytes
}

// keptNotices is how many notices the kernel keeps for a process, whatever the way to watch. Two changes make one at least: a
// file that is made, renamed and deleted has two names, and fanotify tells of each name once.
func keptNotices(t *testing.T) int64 {
	t.Helper()
	most := int64(0)
	for _, way := range []string{"inotify", "fanotify"} {
		b, err := os.ReadFile("/proc/sys/fs/" + way + "/max_queued_events")
		if way == "fanotify" && errors.Is(err, os.ErrNotExist) {
			continue // Linux before 5.13
		}
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, n)
	}
	return most
}

// churnMemory is what an agent may take under any load: 64 MiB of segments, 256 Ki notices and as many paths, twice since
// the collector lets garbage grow to that, and some room.
const churnMemory = 384 << 20

// churn is writers that make, rename and delete files as fast as they can.
type churn struct {
	t       testing.TB
	dir     string
	began   time.Time
	ends    atomic.Bool
	busy    sync.WaitGroup
	did     atomic.Int64
	writers int
}

func startChurn(t testing.TB, dir string, writers int) *churn {
	c := &churn{t: t, dir: dir, began: time.Now(), writers: writers}
	for i := range writers {
		c.busy.Go(func() { c.write(i) })
	}
	return c
}

// stop ends the writers, and tells what they did.
func (c *churn) stop() (operations int64, aSecond float64) {
	c.ends.Store(true)
	c.busy.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
	return c.did.Load(), float64(c.did.Load()) / time.Since(c.began).Seconds()
}

// write has a hundred directories of its own; of the files that it makes, one in fifty stays.
func (c *churn) write(writer int) {
	var dirs []string
	for i := range 100 {
		dirs = append(dirs, filepath.Join(c.dir, fmt.Sprintf("w%d/%02d", writer, i)))
		if err := os.MkdirAll(dirs[i], 0o755); err != nil {
			c.t.Error(err)
			return
		}
	}
	stamp := time.Now().UnixNano()
	for n := 0; !c.ends.Load(); n++ {
		from := fmt.Sprintf("%s/%d-%d", dirs[n%100], stamp, n)
		to := fmt.Sprintf("%s/%d-%d.done", dirs[(n+n/100)%100], stamp, n)
		fd, err := syscall.Open(from, syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY, 0o644)
		if err == nil {
			err = syscall.Close(fd)
		}
		if err == nil {
			err = syscall.Rename(from, to)
		}
		if err == nil && n%50 != 0 {
			err = syscall.Unlink(to)
			c.did.Add(1)
		}
		if err != nil {
			c.t.Errorf("churn: %v", err)
			return
		}
		c.did.Add(2)
	}
}
