package agent_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/bus"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/lease"
)

// gapTree makes a tree of directories that did not change for long, with a file in each, and returns the root.
func gapTree(t *testing.T) (root string) {
	t.Helper()
	root, _ = twoDirs(t)
	fillGapTree(t, root)
	return root
}

func fillGapTree(t *testing.T, root string) {
	t.Helper()
	old := time.Now().Add(-1000 * time.Hour)
	for i := range 50 {
		dir := filepath.Join(root, fmt.Sprintf("d%02d", i))
		mkdir(t, dir)
		write(t, filepath.Join(dir, "f"), "old")
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
}

// changeAll writes to every file in place, which leaves no trace in the directories.
func changeAll(t *testing.T, root string) {
	t.Helper()
	for i := range 50 {
		write(t, filepath.Join(root, fmt.Sprintf("d%02d", i), "f"), "changed")
	}
}

// lacks reports whether the view does not have all that changeAll wrote.
func (r *running) lacks() bool {
	r.view.mu.Lock()
	defer r.view.mu.Unlock()
	for i := range 50 {
		if r.view.rows[fmt.Sprintf("/d%02d/f", i)].entry.Size != int64(len("changed")) {
			return true
		}
	}
	return false
}

// closesTheGap waits until the agent says that it watches everything, and fails if it says so while the view lacks the change.
func (r *running) closesTheGap() {
	r.t.Helper()
	eventually(r.t, 60*time.Second, "everything is watched", func() bool {
		s := r.Status() // before the look at the view
		if s.Watch.Coverage == watch.Realtime && r.lacks() {
			r.t.Fatalf("the agent says %s, and the view lacks a change of the gap; status %+v", s.Watch.Coverage, s)
		}
		return s.Watch.Coverage == watch.Realtime
	})
}

// withoutAudits are the options of a test in which audits find nothing.
func withoutAudits(o *agent.Options) {
	o.Watch, o.Tuning.AuditInterval, o.Tuning.WatchEvery, o.Tuning.RootEvery = "inotify", time.Hour, 100*time.Millisecond, 50*time.Millisecond
}

// TestGapOfTheWatchLimit: it is raised again.
func TestGapOfTheWatchLimit(t *testing.T) {
	if !inNamespace(t, "max_inotify_watches", 30) {
		return
	}
	root := gapTree(t)
	r := start(t, newServer(t), root, withoutAudits)
	r.snapshotted()
	if s := r.Status().Watch; s.Coverage != watch.HotSet || s.Unwatched == 0 {
		t.Fatalf("status %+v", s)
	}
	changeAll(t, root)
	setLimit(t, "max_inotify_watches", 10000)
	r.closesTheGap()
	if s := r.Status().Watch; s.Watches != 51 || s.Unwatched != 0 {
		t.Errorf("status %+v", s)
	}
}

// TestGapOfInotifyInstances: they are free again.
func TestGapOfInotifyInstances(t *testing.T) {
	if !inNamespace(t, "max_inotify_instances", 0) {
		return
	}
	root := gapTree(t)
	r := start(t, newServer(t), root, withoutAudits)
	r.snapshotted()
	if s := r.Status().Watch; s.Coverage != watch.AuditOnly {
		t.Fatalf("status %+v", s)
	}
	changeAll(t, root)
	setLimit(t, "max_inotify_instances", 10)
	r.closesTheGap()
}

// deaf is inotify that can lose its notices.
type deaf struct {
	watch.Notifier
	*hearing
}

// hearing is what becomes of the notices of a deaf notifier.
type hearing struct{ mode, made atomic.Int32 }

const (
	hears    = iota
	deafened // notices are dropped
	overflow // instead of the next notices, the kernel says that some were lost; then it hears again
	breaks   // instead of the next notices, reading fails; the next notifier hears
)

func (h *hearing) notifier(root string) (watch.Notifier, error) {
	h.made.Add(1)
	return deaf{watch.NewNotifier(root, "inotify", 0, slog.New(slog.DiscardHandler)), h}, nil
}

func (d deaf) Read() ([]watch.Notice, error) {
	for {
		notices, err := d.Notifier.Read()
		if err != nil {
			return notices, err
		}
		switch d.mode.Load() {
		case deafened:
			continue
		case overflow:
			d.mode.Store(hears)
			return []watch.Notice{{Watch: watch.NoWatch, Op: watch.OpOverflow}}, nil
		case breaks:
			d.mode.Store(hears)
			return nil, errors.New("the kernel does not answer")
		}
		return notices, nil
	}
}

// TestGaps: whatever made the gap, it is closed before its end is said.
func TestGaps(t *testing.T) {
	for _, c := range []struct {
		name string
		then int32
		over func(h *hearing, r *running) bool // the watch hears again
	}{
		{"overflow", overflow, func(_ *hearing, r *running) bool { return r.Status().Watch.Overflows > 0 }},
		{"the watch fails", breaks, func(h *hearing, _ *running) bool { return h.made.Load() > 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, h := gapTree(t), &hearing{}
			b := bus.New(lease.Clocks{}.Or(lease.Host()), slog.New(slog.DiscardHandler))
			var pipes []*running
			for _, view := range []string{"one", "two"} { // they share the source
				pipes = append(pipes, start(t, newServer(t), root, func(o *agent.Options) {
					withoutAudits(o)
					o.Bus, o.View, o.Tuning.Notifier = b, view, h.notifier
				}))
			}
			for _, r := range pipes {
				eventually(t, 60*time.Second, "everything is watched", func() bool { return r.Status().Watch.Coverage == watch.Realtime })
			}
			h.mode.Store(deafened)
			changeAll(t, root)
			h.mode.Store(c.then)
			eventually(t, 60*time.Second, "the watch hears again", func() bool {
				write(t, filepath.Join(root, "ping"), time.Now().String())
				return c.over(h, pipes[0])
			})
			for _, r := range pipes {
				r.closesTheGap()
			}
		})
	}
}

// TestGapOfALostRoot: it is back.
func TestGapOfALostRoot(t *testing.T) {
	root := gapTree(t)
	r := start(t, newServer(t), root, withoutAudits)
	eventually(t, 60*time.Second, "everything is watched", func() bool { return r.Status().Watch.Coverage == watch.Realtime })
	if err := os.Rename(root, root+".away"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "the root is lost", func() bool { return r.Status().RootLost != nil })
	if s := r.Status(); s.Watch.Coverage == watch.Realtime {
		t.Errorf("the root is lost, and the agent says %s", s.Watch.Coverage)
	}
	changeAll(t, root+".away")
	if err := os.Rename(root+".away", root); err != nil {
		t.Fatal(err)
	}
	r.closesTheGap()
}

// TestGapOfAnUnmountedRoot: it is changed elsewhere, and mounted again. With fanotify, the unmount took the mark away.
func TestGapOfAnUnmountedRoot(t *testing.T) {
	for _, method := range []string{"inotify", "fanotify"} {
		t.Run(method, func(t *testing.T) {
			image, root, elsewhere := newExt4(t, 256), t.TempDir(), t.TempDir()
			mountImage(t, image, root)
			fillGapTree(t, root)
			r := start(t, newServer(t), root, func(o *agent.Options) { withoutAudits(o); o.Watch = method })
			r.snapshotted()
			needsMethod(t, r, method)
			eventually(t, 60*time.Second, "everything is watched", func() bool { return r.Status().Watch.Coverage == watch.Realtime })
			if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
			eventually(t, 60*time.Second, "the root is lost", func() bool { return r.Status().RootLost != nil })
			eventually(t, 60*time.Second, "nobody has the file system", func() bool {
				out, err := exec.Command("losetup", "--associated", image).Output()
				return err == nil && len(out) == 0
			})
			mountImage(t, image, elsewhere)
			changeAll(t, elsewhere)
			if err := unix.Unmount(elsewhere, 0); err != nil {
				t.Fatal(err)
			}
			mountImage(t, image, root)
			r.closesTheGap()
			r.settles(30 * time.Second)
		})
	}
}

// TestAuditsOpenNoGap: what an audit has found may wait to be sent for long, and everything is watched nevertheless.
func TestAuditsOpenNoGap(t *testing.T) {
	root := gapTree(t)
	r := start(t, newServer(t), root, func(o *agent.Options) { withoutAudits(o); o.Tuning.AuditInterval = 100 * time.Millisecond })
	eventually(t, 60*time.Second, "everything is watched", func() bool { return r.Status().Watch.Coverage == watch.Realtime })
	r.rec.setFail(errors.New("the store is away"))
	before, audits := time.Now(), 0
	eventually(t, 60*time.Second, "two audits while nothing is sent", func() bool {
		s := r.Status()
		if s.Watch.Coverage != watch.Realtime {
			t.Fatalf("after an audit the agent says %s: %s", s.Watch.Coverage, s.Watch.Reason)
		}
		if s.LastScan != nil && s.LastScan.Scan == "audit" && s.LastScan.At.After(before) && s.BacklogSegments > 0 {
			audits, before = audits+1, s.LastScan.At
		}
		return audits == 2
	})
	r.rec.setFail(nil)
}

// TestGapOfAnotherLeader: what the host of the leader before did not report, the first scan of the next one finds.
func TestGapOfAnotherLeader(t *testing.T) {
	root, s, h := gapTree(t), newServer(t), &hearing{}
	first := start(t, s, root, func(o *agent.Options) { withoutAudits(o); o.TaskID = "first" })
	eventually(t, 60*time.Second, "everything is watched", func() bool { return first.Status().Watch.Coverage == watch.Realtime })
	second := start(t, s, root, func(o *agent.Options) {
		withoutAudits(o)
		o.AgentID, o.TaskID, o.Tuning.Notifier = "host-2", "second", h.notifier
	})
	eventually(t, 60*time.Second, "the follower watches everything", func() bool { return second.Status().Watch.Coverage == watch.Realtime })
	h.mode.Store(deafened) // as where another host writes
	first.stop()
	changeAll(t, root)
	eventually(t, 60*time.Second, "another leader watches everything", func() bool {
		s := second.Status()
		if s.Leader && s.Watch.Coverage == watch.Realtime && second.lacks() {
			t.Fatalf("the leader says %s, and the view lacks a change; status %+v", s.Watch.Coverage, s)
		}
		return s.Leader && s.Watch.Coverage == watch.Realtime
	})
}

// TestGapOfAMountBelow: what was in it goes, its files included, which have no notices of their own.
func TestGapOfAMountBelow(t *testing.T) {
	for _, method := range []string{"inotify", "fanotify"} {
		t.Run(method, func(t *testing.T) {
			root, _ := twoDirs(t)
			below := filepath.Join(root, "below")
			mkdir(t, below)
			mountImage(t, newExt4(t, 256), below)
			mkdir(t, filepath.Join(below, "d"))
			write(t, filepath.Join(below, "f"), "x")
			r := start(t, newServer(t), root, func(o *agent.Options) { withoutAudits(o); o.Watch, o.CrossFilesystems = method, true })
			r.snapshotted()
			needsMethod(t, r, method)
			r.settles(30 * time.Second)
			if err := unix.Unmount(below, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
			r.settles(30 * time.Second)
			eventually(t, 60*time.Second, "everything is watched", func() bool { return r.Status().Watch.Coverage == watch.Realtime })
		})
	}
}
