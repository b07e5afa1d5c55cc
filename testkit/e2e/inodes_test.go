//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/wait"
)

// inode is what the commands say of an inode, and lstat(2).
type inode struct {
	Allocated int64  `json:"allocated"`
	Links     uint64 `json:"links"`
	CtimeNs   int64  `json:"ctime_ns"`
	Inode     string `json:"inode"`
	BirthNs   int64  `json:"birth_ns"` // whole seconds
	ACL       string `json:"acl"`
}

// occupied is what du -B1 -l says of a tree, and the part of it of names of files with several.
type occupied struct {
	Allocated  int64 `json:"allocated"`
	Linked     int64 `json:"linked_allocated"`
	Unmeasured int64 `json:"unmeasured"`
}

// inodesOf are the inodes of a tree by path, as lstat(2) says, and their sums.
func inodesOf(t *testing.T, dir string) (map[string]inode, occupied) {
	t.Helper()
	found, sum := map[string]inode{}, occupied{}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		n := inode{Allocated: st.Blocks * 512, Links: uint64(st.Nlink), CtimeNs: st.Ctim.Nano(), ACL: aclOf(path, &st)}
		var stx unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &stx); err == nil && stx.Mask&unix.STATX_BTIME != 0 {
			n.BirthNs = stx.Btime.Sec * 1e9
		}
		sum.Allocated += n.Allocated
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			n.Inode = fmt.Sprint(st.Ino)
			sum.Linked += n.Allocated
		}
		found["/"+strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")] = n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, sum
}

// aclOf is the ACL as the commands print it: that of a directory, and of a file in a directory that has one.
func aclOf(path string, st *unix.Stat_t) string {
	value := make([]byte, 1024)
	read := func(path string) event.ACL {
		switch n, err := unix.Lgetxattr(path, "system.posix_acl_access", value); err {
		case nil:
			return event.ACL(value[:n])
		case unix.ENODATA:
			return event.NoACL
		}
		return ""
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return read(path).String()
	case unix.S_IFREG:
		if read(filepath.Dir(path)).Exists() {
			return read(path).String()
		}
	}
	return ""
}

// setACL gives a path an ACL for one user more: user::rwx,user:UID:r-x,group::r-x,mask::r-x,other::---.
func setACL(path string, uid byte) error {
	err := unix.Setxattr(path, "system.posix_acl_access", []byte("\x02\x00\x00\x00"+
		"\x01\x00\x07\x00\xff\xff\xff\xff"+"\x02\x00\x05\x00"+string([]byte{uid, 0, 0, 0})+"\x04\x00\x05\x00\xff\xff\xff\xff"+
		"\x10\x00\x05\x00\xff\xff\xff\xff"+"\x20\x00\x00\x00\xff\xff\xff\xff"), 0)
	if err == unix.EOPNOTSUPP {
		return nil
	}
	return err
}

// unlikeInodes says in what way the view has other inodes than the tree.
func (s server) unlikeInodes(t *testing.T, dir string) string {
	t.Helper()
	want, wantSum := inodesOf(t, dir)
	var sum occupied
	if r := s.ask(t, "du", "/", "--json"); r.code != 0 || json.Unmarshal([]byte(r.stdout), &sum) != nil {
		return fmt.Sprintf("du: %d %s", r.code, r.stderr)
	}
	var lines []string
	if sum != wantSum {
		lines = append(lines, fmt.Sprintf("du says %+v, the disk %+v", sum, wantSum))
	}
	r := s.ask(t, "find", "/", "--json")
	for line := range strings.Lines(r.stdout) {
		var n struct {
			Path string `json:"path"`
			B64  string `json:"path_b64"`
			inode
		}
		if err := json.Unmarshal([]byte(line), &n); err != nil {
			return fmt.Sprintf("find prints %q: %v", line, err)
		}
		path, err := bytesOf(n.Path, n.B64)
		if err != nil {
			return fmt.Sprintf("find prints %q: %v", line, err)
		}
		if n.inode != want[path] {
			lines = append(lines, fmt.Sprintf("%q is %+v, on the disk %+v", path, n.inode, want[path]))
		}
		delete(want, path)
	}
	for path := range want {
		lines = append(lines, fmt.Sprintf("%q is missing", path))
	}
	slices.Sort(lines)
	return strings.Join(lines[:min(len(lines), 8)], "\n")
}

// sameInodes waits until the view has the tree's inodes.
func (s server) sameInodes(t *testing.T, dir, when string) {
	t.Helper()
	deadline := time.Now().Add(wait.Limit(patience(time.Minute)))
	for d := s.unlikeInodes(t, dir); d != ""; d = s.unlikeInodes(t, dir) {
		if time.Now().After(deadline) {
			t.Fatalf("%s:\n%s", when, d)
		}
		awaitPause(100 * time.Millisecond)
	}
}

// TestEarlierBuildIsMeasured: a view whose layers know nothing of inodes says so of all its entries, and the first scan of an agent
// of today measures them, with nothing to do for anybody.
func TestEarlierBuildIsMeasured(t *testing.T) {
	t.Parallel()
	dir := earlierStore(t)
	p := startParts(t, "file://"+filepath.Join(dir, "store"))
	before, err := p.find(t)
	if err != nil {
		t.Fatal(err)
	}
	var sum occupied
	if r := p.ask(t, "du", "/", "--json"); r.code != 0 || json.Unmarshal([]byte(r.stdout), &sum) != nil {
		t.Fatalf("du: %d %s", r.code, r.stderr)
	}
	if want := (occupied{Unmeasured: int64(len(before))}); sum != want {
		t.Fatalf("du says %+v of an unmeasured view, want %+v", sum, want)
	}
	p.startAgent(filepath.Join(dir, "disk"), "nas2", "")
	p.sameInodes(t, filepath.Join(dir, "disk"), "after the first scan")
}

// TestInodesAreTheDisks: what entries occupy, their links, ctimes and identities are those of lstat(2), for sparse and preallocated
// files and for files with several names, at first and after changes that touch them. Other names of a file than the one that was
// written to follow with the next scan.
func TestInodesAreTheDisks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, bytes int) { do(os.WriteFile(path(name), make([]byte, bytes), 0o644)) }
	do(os.MkdirAll(path("a/deep"), 0o755))
	do(os.MkdirAll(path("b"), 0o755))
	write("a/small", 1)
	write("a/empty", 0)
	write("a/large", 1_000_001)
	write("a/sparse", 10)
	do(os.Truncate(path("a/sparse"), 10<<30))
	write("b/preallocated", 0)
	f, err := os.OpenFile(path("b/preallocated"), os.O_RDWR, 0)
	do(err)
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20); err != nil && err != unix.EOPNOTSUPP {
		t.Fatal(err)
	}
	do(f.Close())
	do(os.Link(path("a/large"), path("a/large.again")))
	do(os.Link(path("a/large"), path("b/large")))
	do(os.Symlink("../a/large", path("b/link")))
	do(syscall.Mkfifo(path("b/pipe"), 0o600))
	do(os.Mkdir(path("shared"), 0o750))
	do(setACL(path("shared"), 7))
	write("shared/plain", 1)
	write("shared/private", 1)
	do(setACL(path("shared/private"), 8))
	unix.Sync() // so that file systems which allocate late have done so

	u := startUp(t, dir, t.TempDir())
	same := func(when string) { t.Helper(); u.sameInodes(t, dir, when) }
	same("at first")
	do(os.Chmod(path("a/small"), 0o600))
	do(os.Truncate(path("a/sparse"), 4096))
	write("a/empty", 5000)
	do(os.Rename(path("a/small"), path("b/moved")))
	do(os.Mkdir(path("a/deep/new"), 0o755))
	do(setACL(path("a/deep"), 9))
	do(setACL(path("shared"), 10))
	do(setACL(path("shared/plain"), 11))
	unix.Sync()
	same("after changes that the kernel reports")
	do(os.Remove(path("a/large.again"))) // of which the other names do not hear
	do(os.Link(path("b/moved"), path("a/deep/moved")))
	unix.Sync()
	if r := u.ask(t, "scan", "/", "--wait"); r.code != 0 {
		t.Fatalf("scan: %s", r.stderr)
	}
	same("after a scan")
	u.Stop()
}
