//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mounted mounts something at dir for as long as the test, unless it is unmounted before.
func mounted(t *testing.T, source, dir, kind string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount(source, dir, kind, flags, ""); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// unmount is umount -l.
func unmount(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
}

func fill(t *testing.T, dir string, seed uint64) {
	t.Helper()
	newWorkload(t, dir, seed).run(200)
}

// keeps checks for a while that the view is as it was, whatever is at the root now.
func (o *observed) keeps(want tree, why string) {
	o.t.Helper()
	for range 4 {
		view, err := o.find(o.t)
		if err != nil {
			o.t.Fatal(err)
		}
		if d := difference(view, want); d != "" {
			o.t.Fatalf("%s, and the view has changed: %s", why, d)
		}
		awaitPause(500 * time.Millisecond)
	}
}

func (o *observed) isLost() {
	o.t.Helper()
	o.says(`level=ERROR msg="the root is lost; the view keeps its rows until the root is back"`, 0)
	o.reports("that the root is lost", func(s map[string]any) bool { return s["root_lost"] != nil && s["state"] == "error" })
}

func (o *observed) isBack() {
	o.t.Helper()
	o.says(`msg="the root is back and is scanned again"`, 0)
	o.same(30 * time.Second)
	o.reports("no more of a lost root", func(s map[string]any) bool { return s["root_lost"] == nil && s["state"] != "error" })
}

// TestRootIsUnmounted has the file system at the root unmounted lazily and mounted again, with changes meanwhile: to what was
// mounted, and to the directory that it was mounted on.
func TestRootIsUnmounted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// prepare makes a root, and says how its file system goes and comes back, and where it is meanwhile.
		prepare func(t *testing.T) (root, behind string, leave, comeBack func())
	}{
		{"a file system mounted elsewhere too", func(t *testing.T) (string, string, func(), func()) {
			disk, root := t.TempDir(), t.TempDir()
			mounted(t, "none", disk, "tmpfs", 0)
			mounted(t, disk, root, "", syscall.MS_BIND)
			return root, disk, func() { unmount(t, root) }, func() { mounted(t, disk, root, "", syscall.MS_BIND) }
		}},
		{"a new file system in its place", func(t *testing.T) (string, string, func(), func()) {
			root, behind := t.TempDir(), t.TempDir()
			mounted(t, "none", root, "tmpfs", 0)
			return root, behind, func() { unmount(t, root) }, func() { mounted(t, "none", root, "tmpfs", 0); fill(t, root, 121) }
		}},
		{"a directory of the same file system", func(t *testing.T) (string, string, func(), func()) {
			disk, root := t.TempDir(), t.TempDir()
			mounted(t, disk, root, "", syscall.MS_BIND)
			return root, disk, func() { unmount(t, root) }, func() { mounted(t, disk, root, "", syscall.MS_BIND) }
		}},
		{"a file system further up, that comes back with another number", func(t *testing.T) (string, string, func(), func()) {
			mount, other, behind := t.TempDir(), t.TempDir(), t.TempDir()
			mounted(t, "none", mount, "tmpfs", 0)
			root := filepath.Join(mount, "projects", "root")
			return root, behind, func() {
					unmount(t, mount)
					if err := os.MkdirAll(root, 0o755); err != nil {
						t.Fatal(err)
					}
				}, func() {
					mounted(t, "none", other, "tmpfs", 0) // has the number that was freed
					mounted(t, "none", mount, "tmpfs", 0)
					fill(t, root, 121)
				}
		}},
		{"a network's, as FUSE", func(t *testing.T) (string, string, func(), func()) {
			if _, err := exec.LookPath("bindfs"); err != nil {
				t.Skip("needs bindfs")
			}
			disk, root := t.TempDir(), t.TempDir()
			again := func() {
				if out, err := exec.Command("bindfs", "-o", "nonempty", disk, root).CombinedOutput(); err != nil {
					t.Skipf("needs FUSE: %s", out)
				}
			}
			again()
			t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
			return root, disk, func() { unmount(t, root) }, again
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root, behind, leave, comeBack := c.prepare(t)
			fill(t, root, 120)
			o := observe(t, observation{dir: root})
			before := onDisk(t, root)
			leave()
			o.isLost()
			if err := os.WriteFile(filepath.Join(root, "under the mount"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			fill(t, filepath.Join(behind, "meanwhile"), 122)
			o.keeps(before, "the root is unmounted")
			// An agent that starts now does not take what lies beneath for the tree.
			from := len(o.agent.log.String())
			o.agent.Kill()
			o.agent.Restart()
			o.says(`msg="the root is lost.* is not on the file system`, from)
			o.keeps(before, "the agent was started while the root is unmounted")
			comeBack()
			o.isBack()
			fill(t, filepath.Join(root, "afterwards"), 123)
			o.same(20 * time.Second)
		})
	}
}

// TestRootIsReplaced has the root itself deleted and made again, moved away and replaced, and replaced by what is no directory.
func TestRootIsReplaced(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	root, other := filepath.Join(base, "root"), filepath.Join(base, "other")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fill(t, root, 130)
	fill(t, other, 131)
	o := observe(t, observation{dir: root})

	// Another directory takes its place at once.
	must(os.Rename(root, filepath.Join(base, "away")))
	must(os.Rename(other, root))
	o.isBack()
	fill(t, filepath.Join(root, "after the first"), 132)
	fill(t, filepath.Join(base, "away", "nobody's"), 133)
	o.same(20 * time.Second)

	// It is deleted, and comes back later.
	from := len(o.agent.log.String())
	must(os.RemoveAll(root))
	o.says(`msg="the root is lost`, from)
	fill(t, root, 134)
	o.says(`msg="the root is back`, from)
	o.same(30 * time.Second)

	// A file is in its place, then a link to a directory, then the first directory again.
	from = len(o.agent.log.String())
	before := onDisk(t, root)
	must(os.Rename(root, root+".old"))
	must(os.WriteFile(root, []byte("no directory"), 0o644))
	o.says(`msg="the root is lost`, from)
	o.keeps(before, "a file is in the root's place")
	must(os.Remove(root))
	must(os.Rename(root+".old", root))
	fill(t, filepath.Join(root, "after the third"), 135)
	o.says(`msg="the root is back`, from)
	o.same(30 * time.Second)
	if strings.Contains(o.agent.log.String(), "scan failed") {
		t.Log("a scan was under way when the root went")
	}
}
