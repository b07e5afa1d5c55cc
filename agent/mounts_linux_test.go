package agent_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
)

// mayMount reports whether the test may mount: it is root, or is in namespaces of its own, in which it is run if need be.
func mayMount(t *testing.T) bool {
	t.Helper()
	const marker = "FUSTOR_TEST_MOUNTS"
	dir := t.TempDir()
	err := unix.Mount("none", dir, "tmpfs", 0, "size=64k")
	if err == nil {
		return unix.Unmount(dir, 0) == nil
	}
	if os.Getenv(marker) != "" {
		t.Skipf("needs to be permitted to mount: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if cmd.Process == nil {
		t.Skipf("needs to be permitted to mount, or user namespaces: %v", err)
	}
	if err != nil {
		t.Errorf("in namespaces: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "\n--- SKIP") {
		t.Skip(string(out))
	}
	return false
}

func mountOn(t *testing.T, source, dir, kind string, flags uintptr) {
	t.Helper()
	if err := unix.Mount(source, dir, kind, flags, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

func mountTmpfs(t *testing.T, dir string) {
	t.Helper()
	mountOn(t, "none", dir, "tmpfs", 0)
	write(t, filepath.Join(dir, "in-tmpfs"), "x")
	mkdir(t, filepath.Join(dir, "sub"))
	write(t, filepath.Join(dir, "sub", "in-tmpfs"), "x")
}

func unmount(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
}

// showsOneFileSystem waits until the view has what find -xdev finds.
func (r *running) showsOneFileSystem(what string) {
	r.t.Helper()
	r.shows(what, func(path string) bool { return deviceOf(filepath.Dir(path)) != deviceOf(r.root) })
}

// shows waits until the view is as the disk is without some paths of the host.
func (r *running) shows(what string, without func(path string) bool) {
	r.t.Helper()
	var last string
	eventually(r.t, 60*time.Second, what, func() bool {
		last = difference(r.view.present(), onDisk(r.t, r.root, func(path string) bool { return path != "/" && without(filepath.Join(r.root, path)) }))
		return last == ""
	})
}

func deviceOf(path string) uint64 {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return st.Dev
}

// mountTree makes a tree whose directory below is for mounts, with mtimes that prove something.
func mountTree(t *testing.T) (root, below string) {
	t.Helper()
	root, _ = twoDirs(t)
	below = filepath.Join(root, "a", "below")
	mkdir(t, filepath.Join(below, "sub", "deep"))
	mkdir(t, filepath.Join(root, "other"))
	for _, path := range []string{"f", "a/f", "a/below/f", "a/below/sub/f", "a/below/sub/deep/f", "other/f"} {
		write(t, filepath.Join(root, path), "x")
	}
	age(t, root)
	return root, below
}

// oldMounts is a system that never says that something was mounted.
type oldMounts struct{ tree.System }

func (oldMounts) MountChanges() uint64 { return 1 }

// TestMountsThatComeAndGo: what a mount hides leaves the view, and comes back when it is unmounted.
func TestMountsThatComeAndGo(t *testing.T) {
	if !mayMount(t) {
		return
	}
	for _, c := range []struct {
		name, method string
		change       func(*agent.Options)
	}{
		{"inotify, at once", "inotify", func(o *agent.Options) { withoutAudits(o) }},
		{"fanotify, at once", "fanotify", func(o *agent.Options) { withoutAudits(o) }},
		{"nothing watched, at once", "none", func(o *agent.Options) { withoutAudits(o) }},
		{"by audits", "none", func(o *agent.Options) {
			o.Tuning.AuditInterval, o.Tuning.System = 200*time.Millisecond, oldMounts{tree.OS}
		}},
		{"by audits, watched", "inotify", func(o *agent.Options) {
			o.Tuning.AuditInterval, o.Tuning.System = 200*time.Millisecond, oldMounts{tree.OS}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, below := mountTree(t)
			r := start(t, newServer(t), root, func(o *agent.Options) { c.change(o); o.Watch = c.method })
			r.snapshotted()
			if c.method != "none" {
				needsMethod(t, r, c.method)
			}
			r.settles(30 * time.Second)
			for range 2 {
				mountTmpfs(t, below)
				r.showsOneFileSystem("what the mount hides is not in the view")
				unmount(t, below)
				r.showsOneFileSystem("what was hidden is in the view again")
			}
			write(t, filepath.Join(below, "sub", "new"), "x")
			if c.method != "none" {
				r.settles(30 * time.Second)
			}
		})
	}
}

// TestMountsWhileNoAgentRuns: the first scan after a restart, which leaves out what it knows, finds them too.
func TestMountsWhileNoAgentRuns(t *testing.T) {
	if !mayMount(t) {
		return
	}
	root, below := mountTree(t)
	s, state, v := newServer(t), filepath.Join(t.TempDir(), "agent.json"), newView()
	for range 2 {
		r, _ := lives(t, s, root, state, v, withoutAudits)
		r.snapshotted()
		r.showsOneFileSystem("what was hidden is in the view")
		r.stop()

		mountTmpfs(t, below)
		r, listed := lives(t, s, root, state, v, withoutAudits)
		r.snapshotted()
		r.showsOneFileSystem("what the mount hides is not in the view")
		if have := listed.of(event.Snapshot); slices.Contains(have, "/other") {
			t.Errorf("the first scan has listed %v: it knows nothing of the time before", have)
		}
		r.stop()
		unmount(t, below)
	}
}

// TestMountsAreEntered with --cross-file-systems, and show what is below at once.
func TestMountsAreEntered(t *testing.T) {
	if !mayMount(t) {
		return
	}
	for _, method := range []string{"inotify", "fanotify"} {
		t.Run(method, func(t *testing.T) {
			root, below := mountTree(t)
			r := start(t, newServer(t), root, func(o *agent.Options) { withoutAudits(o); o.Watch, o.CrossFilesystems = method, true })
			r.snapshotted()
			needsMethod(t, r, method)
			r.settles(30 * time.Second)
			mountTmpfs(t, below)
			r.settles(30 * time.Second)
			write(t, filepath.Join(below, "sub", "new"), "x")
			r.settles(30 * time.Second)
			unmount(t, below)
			r.settles(30 * time.Second)
			eventually(t, 60*time.Second, "everything is watched", func() bool { return r.Status().Watch.Coverage == watch.Realtime })
		})
	}
}

// TestFileSystemsOfTheKernel are never entered.
func TestFileSystemsOfTheKernel(t *testing.T) {
	if !mayMount(t) {
		return
	}
	root, below := mountTree(t)
	proc := filepath.Join(root, "proc")
	mkdir(t, proc)
	mountProc := func(dir string) {
		if err := unix.Mount("none", dir, "proc", 0, ""); err != nil { // in a user namespace it must be one that is there
			if err := unix.Mount("/proc", dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
				t.Skipf("needs to mount proc: %v", err)
			}
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	mountProc(proc)
	mountTmpfs(t, filepath.Join(root, "other"))
	r := start(t, newServer(t), root, func(o *agent.Options) {
		withoutAudits(o)
		o.CrossFilesystems, o.Tuning.AuditInterval = true, time.Second
	})
	r.snapshotted()
	in := func(dirs ...string) func(string) bool {
		return func(path string) bool { return slices.Contains(dirs, filepath.Dir(path)) }
	}
	r.shows("all but proc is in the view", in(proc))
	eventually(t, 30*time.Second, "a scan", func() bool { return r.Status().LastScan != nil })
	if have := r.Status().LastScan.Pseudo; !slices.Equal(have, []string{"/proc (proc)"}) {
		t.Errorf("the status says that %q were left out", have)
	}
	mountProc(below)
	r.shows("what the second proc hides is not in the view", in(proc, below))
	for _, dir := range []string{"/proc/self", "/a/below/self", "/a/below/sys/kernel"} {
		r.view.mu.Lock()
		_, seen := r.view.rows[dir]
		r.view.mu.Unlock()
		if seen {
			t.Errorf("%s was in the view", dir)
		}
	}
	unmount(t, below)
	r.shows("what was hidden is in the view again", in(proc))
}

// TestDirectoryMountedTwice: one of its paths has the notices, the other one the audits, and nobody says that everything is watched.
func TestDirectoryMountedTwice(t *testing.T) {
	if !mayMount(t) {
		return
	}
	for _, method := range []string{"inotify", "fanotify"} {
		t.Run(method, func(t *testing.T) {
			root, below := mountTree(t)
			r := start(t, newServer(t), root, func(o *agent.Options) { withoutAudits(o); o.Watch, o.Tuning.AuditInterval = method, time.Second })
			r.snapshotted()
			needsMethod(t, r, method)
			eventually(t, 60*time.Second, "everything is watched", func() bool { return r.Status().Watch.Coverage == watch.Realtime })
			second := filepath.Join(root, "other")
			mountOn(t, below, second, "", unix.MS_BIND)
			r.settles(30 * time.Second)
			write(t, filepath.Join(below, "sub", "f"), "written in place")
			write(t, filepath.Join(second, "sub", "new"), "x")
			if err := os.Rename(filepath.Join(below, "sub", "deep"), filepath.Join(below, "moved")); err != nil {
				t.Fatal(err)
			}
			r.settles(30 * time.Second)
			if s := r.Status().Watch; s.Coverage != watch.HotSet || s.Unwatched == 0 || !strings.Contains(s.Reason, "second path") {
				t.Errorf("while a directory is mounted twice the status is %+v", s)
			}
			unmount(t, second)
			r.settles(30 * time.Second)
			eventually(t, 90*time.Second, "everything is watched again", func() bool { return r.Status().Watch.Coverage == watch.Realtime })
		})
	}
}
