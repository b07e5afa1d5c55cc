//go:build unix

package compactor

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/child"
	"github.com/fustor/fustor/testkit/wait"
)

// A compactor of TestPausedProcesses removes what is a second old, and gives up jobs after half of that.
const (
	pausedEnv   = "FUSTOR_TEST_PAUSED_STORE"
	pausedGrace = time.Second
)

// TestPausedCompactor is a compactor of TestPausedProcesses, in a process of its own.
func TestPausedCompactor(t *testing.T) {
	dir := os.Getenv(pausedEnv)
	if dir == "" {
		return // it is a helper of the test below, and nothing by itself
	}
	st, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Options{Store: st, Grace: pausedGrace, JobLimit: pausedGrace / 2, PollMax: 5 * time.Millisecond, MaxDeltas: 2, PartitionRows: 20, InlinePartitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	for { // until the parent ends it; as eager as can be
		if _, err := c.Once(t.Context(), viewName); err != nil && !errors.Is(err, store.ErrLost) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, store.ErrNotFound) {
			fmt.Println("once:", err)
		}
		if _, err := c.Merge(t.Context(), viewName); err != nil && !errors.Is(err, store.ErrLost) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, store.ErrNotFound) {
			fmt.Println("merge:", err)
		}
		if _, err := c.Retain(t.Context(), viewName); err != nil {
			fmt.Println("retain:", err)
		}
	}
}

var roundsFlag = flag.Int("rounds", 1, "how often TestPausedProcesses stops or kills a compactor; FUSTOR_E2E_LONG=1 has 60")

// TestPausedProcesses: two compactors in processes of their own fold, merge and remove without a pause. One of them is stopped by
// SIGSTOP for longer than the grace, anywhere, and goes on, or, every fourth time, is killed and started again. Nothing that the view refers
// to goes, and nothing else stays.
func TestPausedProcesses(t *testing.T) {
	pauses := *roundsFlag
	if os.Getenv("FUSTOR_E2E_LONG") != "" {
		pauses = max(pauses, 60)
	}
	dir := t.TempDir()
	h := newHarness(t, dir, 0, Options{})
	h.keep(history.Policy{})
	s := h.teller("nas")
	want := map[string]int64{}
	random := rand.New(rand.NewPCG(uint64(pauses), 1))
	change := func() {
		for range 1 + random.IntN(30) {
			path := fmt.Sprintf("/f%02d", random.IntN(60))
			now := time.Now().UnixNano()
			if _, there := want[path]; there && random.IntN(4) == 0 {
				delete(want, path)
				s.tell(event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: now, Path: path})
				continue
			}
			want[path] = random.Int64N(1000)
			s.tell(putOf(path, now, want[path]))
		}
		s.send()
	}
	change()
	h.once()
	var processes [2]*os.Process
	start := func(n int) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPausedCompactor$", "-test.timeout=1h")
		cmd.Env = append(os.Environ(), pausedEnv+"="+dir)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		ended, err := child.Start(cmd, syscall.SIGKILL)
		if err != nil {
			t.Fatal(err)
		}
		processes[n] = cmd.Process
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGCONT)
			_ = cmd.Process.Kill()
			<-ended
		})
	}
	start(0)
	start(1)
	folded := func() bool { return h.head().Sessions[s.id].Next == s.seq }
	present := func() error {
		m := h.head()
		for _, l := range slices.Concat(m.Base, m.Deltas) {
			if _, err := h.store.Get(h.ctx, layout.Layer(viewName, l.ID)); err != nil {
				if now := h.head(); now.Version != m.Version {
					return nil // it went with its version
				}
				return fmt.Errorf("version %d has lost layer %s: %w", m.Version, l.ID, err)
			}
		}
		return nil
	}
	killed := 0
	for n := range pauses {
		change()
		until := time.Now().Add(time.Duration(random.Int64N(int64(150 * time.Millisecond))))
		wait.For(t, time.Minute, "a moment", func() bool { return time.Now().After(until) })
		stopped := processes[n%2]
		if n%4 == 3 {
			if err := stopped.Kill(); err != nil {
				t.Fatal(err)
			}
			killed++
			start(n % 2)
			continue
		}
		if err := stopped.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		until = time.Now().Add(pausedGrace * 3 / 2)
		wait.For(t, time.Minute, "the pause", func() bool {
			if random.IntN(20) == 0 && n%3 > 0 { // in every third pause nothing happens meanwhile
				change()
			}
			return time.Now().After(until)
		})
		if err := stopped.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		wait.For(t, time.Minute, "everything is folded", func() bool {
			if err := present(); err != nil {
				t.Fatal(err)
			}
			return folded()
		})
	}
	wait.For(t, time.Minute, "everything is folded", folded)
	t.Logf("%d compactors paused, %d killed; version %d", pauses-killed, killed, h.head().Version)
	got := map[string]int64{}
	for path, r := range h.present() {
		if r.Type == event.File {
			got[path] = r.Size
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the view has %v, not %v", got, want)
	}
	wait.For(t, time.Minute, "what nobody needs is gone", func() bool {
		needed, left := idsOf(h.head().Manifest), 0
		err := store.Each(h.ctx, h.store, layout.Layers(viewName), func(i store.Item, _ time.Duration) error {
			if name := filepath.Base(i.Key); !needed[strings.TrimSuffix(name, filepath.Ext(name))] {
				left++
			}
			return nil
		})
		return err == nil && left == 0
	})
}

// late is a context whose time is over by the clock on the wall alone: the machine was suspended.
type late struct{ context.Context }

func (late) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

// TestNothingIsCommittedLate: a job whose time is over commits nothing, though no timer has told it.
func TestNothingIsCommittedLate(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	s := h.teller("nas")
	s.tell(putOf("/a", 1, 1))
	s.send()
	h.once()
	before := h.head()
	_, err := h.c.publish(late{h.ctx}, before, "fold", func(*manifest.Manifest) error { return nil })
	if !errors.Is(err, context.DeadlineExceeded) || h.head().Version != before.Version {
		t.Errorf("%v, and version %d after %d", err, h.head().Version, before.Version)
	}
}
