package agent_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/watch"
)

// newExt4 makes an ext4 in a file, whose inodes have this size. Those of 128 bytes have no time of birth.
func newExt4(t *testing.T, inodeSize int) (image string) {
	t.Helper()
	image = filepath.Join(t.TempDir(), "image")
	write(t, image, "")
	if err := os.Truncate(image, 16<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-I", fmt.Sprint(inodeSize), image).CombinedOutput(); err != nil {
		t.Skipf("needs mkfs.ext4: %v: %s", err, out)
	}
	return image
}

// mountImage mounts a file system in a file, until the test ends or it is unmounted.
func mountImage(t *testing.T, image, dir string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("needs to be permitted to mount: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// onExt4 mounts a new ext4.
func onExt4(t *testing.T, inodeSize int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	mountImage(t, newExt4(t, inodeSize), dir)
	return dir
}

// remade removes an empty directory and makes it again at once, and reports whether the new one has the number of the old one.
func remade(t *testing.T, dir string) (sameNumber bool) {
	t.Helper()
	before := inodeOf(t, dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return before == inodeOf(t, dir)
}

func inodeOf(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

// TestDirectoryWithTheNumberOfAnother: rmdir d && mkdir d, three times, where d is the root or a directory below it. ext4 gives the
// new directory the number of the old one, and it is another one nevertheless.
func TestDirectoryWithTheNumberOfAnother(t *testing.T) {
	for _, method := range []string{"inotify", "fanotify"} {
		for _, inodeSize := range []int{256, 128} {
			for _, below := range []string{"", "a/d"} {
				t.Run(fmt.Sprintf("%s/%d/%q", method, inodeSize, below), func(t *testing.T) {
					testRemadeDirectory(t, method, inodeSize, below)
				})
			}
		}
	}
}

func testRemadeDirectory(t *testing.T, method string, inodeSize int, below string) {
	root := filepath.Join(onExt4(t, inodeSize), "root")
	dir := filepath.Join(root, below)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := start(t, newServer(t), root, func(o *agent.Options) { withoutAudits(o); o.Watch = method })
	realtime := func() bool { s := r.Status(); return s.RootLost == nil && s.Watch.Coverage == watch.Realtime }
	r.snapshotted()
	needsMethod(t, r, method)
	reused := 0
	for round := range 3 {
		eventually(t, 60*time.Second, "everything is watched", realtime)
		if remade(t, dir) {
			reused++
		}
		var names []string
		for _, when := range []string{"at once", "later", "later still"} {
			name := fmt.Sprintf("%d %s", round, when)
			names = append(names, name)
			write(t, filepath.Join(dir, name), "x")
			r.settles(30 * time.Second)
			eventually(t, 60*time.Second, "everything is watched", realtime)
		}
		for _, name := range names { // the directory must be empty for the next round
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		r.settles(30 * time.Second)
	}
	if reused == 0 {
		t.Skip("needs a file system that gives numbers of directories again: this one did not")
	}
	t.Logf("%d of 3 had the number of the one before", reused)
}
