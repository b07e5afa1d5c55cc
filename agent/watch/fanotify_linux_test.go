package watch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/wait"
)

// needsFanotify skips a test where this host does not permit it.
func needsFanotify(t testing.TB) {
	t.Helper()
	n, err := newFanotify(t.TempDir())
	if err != nil {
		t.Skipf("needs fanotify: %v", err)
	}
	n.Close()
}

// mount mounts for the time of the test.
func mount(t *testing.T, source, target, fstype string, flags uintptr) {
	t.Helper()
	if err := unix.Mount(source, target, fstype, flags, ""); err != nil {
		t.Skipf("needs to mount a %s: %v", fstype, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
}

// TestMergedNotices: several things in one notice, in an order that nobody knows.
func TestMergedNotices(t *testing.T) {
	for name, c := range map[string]struct {
		op   Op
		want hint
	}{
		"created, written and closed":  {OpCreate | OpModify | OpCloseWrite, hintEnter | hintNew | hintClosed},
		"created and written":          {OpCreate | OpModify, hintEnter | hintNew | hintWriting},
		"made over a file":             {OpCreate | OpMovedTo | OpCloseWrite, hintEnter | hintClosed},
		"deleted and created":          {OpDelete | OpCreate, hintEnter | hintNew},
		"a directory went and came":    {OpDelete | OpCreate | OpDirectory, hintRemoved | hintEnter | hintNew},
		"a directory was moved around": {OpMovedFrom | OpMovedTo | OpDirectory, hintRemoved | hintEnter | hintClosed | hintMoved},
		"written to and deleted":       {OpModify | OpCloseWrite | OpDelete, hintClosed},
	} {
		r := newRig(t, None, nil)
		r.Watcher.mu.Lock()
		r.model.root.watch, r.model.byWatch[7] = 7, r.model.root
		r.applyNotice(&Notice{Watch: 7, Op: c.op, Name: "x"})
		if got := r.hints.paths["/x"]; got != c.want {
			t.Errorf("%s: hints %b, want %b", name, got, c.want)
		}
		r.Watcher.mu.Unlock()
	}
}

// TestDirectoryThatComesAndGoes: the kernel merges the notices of one name; whatever the order was, what is there in the end
// is what was told last.
func TestDirectoryThatComesAndGoes(t *testing.T) { onEach(t, testDirectoryThatComesAndGoes) }

func testDirectoryThatComesAndGoes(t *testing.T, method string) {
	gate := make(chan struct{})
	r := newRig(t, method, func(c *Config) { c.gate = func() { <-gate } })
	must(t, os.MkdirAll(filepath.Join(r.root, "stays/old"), 0o755))
	must(t, os.MkdirAll(filepath.Join(r.root, "goes/old"), 0o755))
	r.coverAll(t)
	away := filepath.Join(r.root, "away")
	for range 3 {
		for _, d := range []string{"stays", "goes"} {
			must(t, os.Rename(filepath.Join(r.root, d), away))
			must(t, os.Rename(away, filepath.Join(r.root, d)))
		}
	}
	must(t, os.WriteFile(filepath.Join(r.root, "stays/old/f"), nil, 0o644))
	must(t, os.RemoveAll(filepath.Join(r.root, "goes")))
	close(gate)
	r.sees(t, "what stays", isPut("/stays/old/f", true))
	r.sees(t, "the end of what goes", isDelete("/goes"))
	waitFor(t, "nothing is pending", func() bool { return r.Status().Pending == 0 })
	last := map[string]event.Kind{}
	for _, ev := range r.events() {
		last[ev.Path] = ev.Kind
		if ev.Kind == event.Delete && ev.Path == "/stays" {
			delete(last, "/stays/old/f")
		}
	}
	if last["/stays"] != event.Put || last["/stays/old/f"] != event.Put || last["/goes"] != event.Delete || last["/away"] != event.Delete {
		t.Errorf("in the end %v", last)
	}
	must(t, os.WriteFile(filepath.Join(r.root, "stays/old/g"), nil, 0o644))
	r.sees(t, "it is watched still", isPut("/stays/old/g", true))
}

// TestFanotifySeesOtherMounts of the same file system on this host.
func TestFanotifySeesOtherMounts(t *testing.T) {
	needsFanotify(t)
	r := newRig(t, "fanotify", nil)
	must(t, os.Mkdir(filepath.Join(r.root, "d"), 0o755))
	other := t.TempDir()
	mount(t, r.root, other, "", unix.MS_BIND)
	r.coverAll(t)
	must(t, os.WriteFile(filepath.Join(other, "d/f"), nil, 0o644))
	r.sees(t, "what is done through the other mount", isPut("/d/f", true))
}

// TestFanotifyOfSeveralFileSystems: each has a mark of its own, and one that was unmounted and mounted again has it anew.
func TestFanotifyOfSeveralFileSystems(t *testing.T) {
	needsFanotify(t)
	r := newRig(t, "fanotify", func(c *Config) { c.CrossFilesystems = true })
	below := filepath.Join(r.root, "below")
	must(t, os.Mkdir(below, 0o755))
	mount(t, "tmpfs", below, "tmpfs", 0)
	must(t, os.Mkdir(filepath.Join(below, "d"), 0o755))
	r.coverAll(t)
	must(t, os.WriteFile(filepath.Join(below, "d/f"), nil, 0o644))
	r.sees(t, "a file on the file system below", isPut("/below/d/f", true))
	must(t, unix.Unmount(below, 0))
	r.sees(t, "what went with it", isDelete("/below/d"))
	waitFor(t, "the mount point is to be scanned, for the names that came with no notice", func() bool {
		below := r.subtrees.Load()
		return below != nil && len(*below) == 1 && (*below)[0] == "/below"
	})
	mount(t, "tmpfs", below, "tmpfs", 0)
	must(t, os.Mkdir(filepath.Join(below, "e"), 0o755))
	r.coverAll(t)
	must(t, os.WriteFile(filepath.Join(below, "e/f"), nil, 0o644))
	r.sees(t, "a file on the one that came after", isPut("/below/e/f", true))
}

// TestRemountedRoot: the mark goes with the unmounting, without a word.
func TestRemountedRoot(t *testing.T) { onEach(t, testRemountedRoot) }

func testRemountedRoot(t *testing.T, method string) {
	r := newRig(t, method, nil)
	mount(t, "tmpfs", r.root, "tmpfs", 0)
	waitFor(t, "it is noticed that something was mounted there", func() bool { return r.lost.Load() > 0 })
}

// TestFanotifyFallsBack on a file system that it does not take, and says why.
func TestFanotifyFallsBack(t *testing.T) {
	needsFanotify(t)
	bindfs, err := exec.LookPath("bindfs")
	if err != nil {
		t.Skip("needs bindfs: " + err.Error())
	}
	from := t.TempDir()
	r := newRig(t, Auto, func(c *Config) {
		if out, err := exec.Command(bindfs, from, c.Root).CombinedOutput(); err != nil {
			t.Skipf("needs bindfs: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = unix.Unmount(c.Root, unix.MNT_DETACH) })
	})
	s := r.Status()
	if s.Method != "inotify" || !strings.Contains(s.Reason, "fanotify") {
		t.Errorf("status %+v", s)
	}
	t.Logf("reason: %s", s.Reason)
	r.coverAll(t)
	must(t, os.WriteFile(filepath.Join(r.root, "f"), nil, 0o644))
	r.sees(t, "a file", isPut("/f", true))
}

// TestRootComesBackOnAnotherFileSystem: an agent that starts before its file system is mounted chooses by what lies beneath; once
// the root is there, what was chosen may not do for it.
func TestRootComesBackOnAnotherFileSystem(t *testing.T) {
	needsFanotify(t)
	bindfs, err := exec.LookPath("bindfs")
	if err != nil {
		t.Skip("needs bindfs: " + err.Error())
	}
	r := newRig(t, Auto, func(c *Config) { c.Mount = c.Root })
	if s := r.Status(); s.Method != "fanotify" || r.Lost() == nil {
		t.Fatalf("at first it is lost: %v, and %+v", r.Lost(), s)
	}
	if out, err := exec.Command(bindfs, "-o", "nonempty", t.TempDir(), r.root).CombinedOutput(); err != nil {
		t.Skipf("needs bindfs: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = unix.Unmount(r.root, unix.MNT_DETACH) })
	waitFor(t, "the root is back", func() bool { return r.back.Load() > 0 })
	r.coverAll(t)
	if s := r.Status(); s.Method != "inotify" || s.Coverage != Realtime || !strings.Contains(s.Reason, "fanotify") {
		t.Errorf("then %+v", s)
	}
	must(t, os.WriteFile(filepath.Join(r.root, "f"), nil, 0o644))
	r.sees(t, "a file", isPut("/f", true))
}

// TestUnknownDirectoriesAreNotHeardOf: a mark is on the whole file system, most of which is not the tree.
func TestUnknownDirectoriesAreNotHeardOf(t *testing.T) {
	needsFanotify(t)
	base := t.TempDir()
	n, err := newFanotify(base)
	must(t, err)
	defer n.Close()
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "f"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(base, "g"), nil, 0o644))
	deadline := time.Now().Add(wait.Limit(10 * time.Second))
	for time.Now().Before(deadline) {
		notices, err := n.Read()
		must(t, err)
		for _, notice := range notices {
			if notice.Name == "f" {
				t.Error("a notice of a directory that is not known")
			}
			if notice.Name == "g" {
				return
			}
		}
	}
	t.Error("no notice")
}
