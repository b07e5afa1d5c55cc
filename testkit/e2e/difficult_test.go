//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// difficult is a tree that is made to be difficult, and changed at random.
type difficult struct {
	t     *testing.T
	dir   string
	acls  bool // setfacl works here
	rnd   *rand.Rand
	dirs  []string
	files []string
	made  int
	did   map[string]int
	// linked are the inodes that ever had several names.
	linked map[string]bool
}

// names of files, by turns.
var difficultNames = []string{"plain", "with blank ", "\xff\xfe not UTF-8", "new\nline", "-rf", "=1+1", "\u00fc", "u\u0308", "quote\"'", "\x1b[31m", "CON.", "*?[x]"}

func newDifficult(t *testing.T, dir string, acls bool, seed uint64) *difficult {
	d := &difficult{t: t, dir: dir, acls: acls, rnd: rand.New(rand.NewPCG(seed, 7)), did: map[string]int{}, linked: map[string]bool{}}
	for _, name := range []string{"a", "a/deep", "a/\xe9t\xe9", "b", "b/empty"} {
		d.ok(os.MkdirAll(filepath.Join(dir, name), 0o755))
		d.dirs = append(d.dirs, filepath.Join(dir, name))
	}
	for range 60 { // each operation once, at least
		for _, op := range difficultOperations {
			if op.makes {
				op.do(d)
			}
		}
	}
	return d
}

// ok ends the test at an error, but for those that say that something random does not exist, is there already, or that the file system
// or the user cannot.
func (d *difficult) ok(err error) bool {
	d.t.Helper()
	for _, e := range []error{syscall.ENOENT, syscall.EEXIST, syscall.ENOTEMPTY, syscall.EOPNOTSUPP, syscall.EPERM, syscall.EINVAL, syscall.ENOTTY, syscall.EXDEV, syscall.EFBIG, syscall.ENOTDIR} {
		if errors.Is(err, e) {
			return false
		}
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return true
}

func (d *difficult) fresh() string {
	d.made++
	return filepath.Join(d.dirs[d.rnd.IntN(len(d.dirs))], fmt.Sprint(difficultNames[d.made%len(difficultNames)], d.made))
}

// file is a file or link that is there, so that operations do something.
func (d *difficult) file() string {
	for len(d.files) > 1 {
		i := d.rnd.IntN(len(d.files))
		if _, err := os.Lstat(d.files[i]); err == nil {
			return d.files[i]
		}
		d.files = slices.Delete(d.files, i, i+1)
	}
	return d.files[0]
}

// with opens a file, or makes it.
func (d *difficult) with(path string, flags int, do func(f *os.File) error) {
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0o644)
	if !d.ok(err) {
		return
	}
	defer f.Close()
	d.ok(do(f))
	if flags&os.O_CREATE != 0 {
		d.files = append(d.files, path)
	}
}

// setfacl adds to an ACL, changes it, or takes it away; of directories also the one that new entries inherit.
func (d *difficult) setfacl(path string) {
	info, err := os.Lstat(path)
	if !d.acls || !d.ok(err) || !info.IsDir() && !info.Mode().IsRegular() {
		return
	}
	args := []string{"-m", fmt.Sprintf("u:%d:r,g:%d:rx", 90_000+d.rnd.IntN(9), 90_000+d.rnd.IntN(9))}
	switch n := d.rnd.IntN(6); {
	case n == 0:
		args = []string{"-b"}
	case n == 1 && info.IsDir():
		args = []string{"-d", "-m", "g:90001:rwx"}
	}
	if out, err := exec.Command("setfacl", append(args, "--", path)...).CombinedOutput(); err != nil {
		d.t.Fatalf("setfacl %q: %s", args, out)
	}
}

func (d *difficult) noteLinks(path string) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err == nil && st.Nlink > 1 {
		d.linked[fmt.Sprint(st.Ino)] = true
	}
}

// far are times at the ends of what file systems and formats hold.
var far = []int64{-(1 << 31), -1, 0, 1, 1<<31 - 1, 1 << 31, 1<<32 + 1, math.MaxInt64 / 1_000_000_000, 15_032_385_535}

var difficultOperations = []struct {
	name  string
	makes bool // something new
	do    func(*difficult)
}{
	{"create", true, func(d *difficult) {
		d.with(d.fresh(), os.O_CREATE, func(f *os.File) error { _, err := f.Write(make([]byte, d.rnd.IntN(40_000))); return err })
	}},
	{"sparse", true, func(d *difficult) {
		d.with(d.fresh(), os.O_CREATE, func(f *os.File) error {
			_, err := f.WriteAt([]byte("x"), d.rnd.Int64N(1<<33))
			return errors.Join(err, f.Truncate(d.rnd.Int64N(1<<34)))
		})
	}},
	{"preallocate", true, func(d *difficult) {
		d.with(d.fresh(), os.O_CREATE, func(f *os.File) error {
			return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE*uint32(d.rnd.IntN(2)), 0, 1+d.rnd.Int64N(1<<18))
		})
	}},
	{"hard link", true, func(d *difficult) {
		from, to := d.file(), d.fresh()
		if d.rnd.IntN(2) == 0 {
			to = filepath.Join(filepath.Dir(from), filepath.Base(to))
		}
		if d.ok(os.Link(from, to)) {
			d.files = append(d.files, to)
			d.noteLinks(to)
		}
	}},
	{"reflink", true, func(d *difficult) {
		from, err := os.Open(d.file())
		if d.ok(err) {
			defer from.Close()
			d.with(d.fresh(), os.O_CREATE, func(f *os.File) error { return unix.IoctlFileClone(int(f.Fd()), int(from.Fd())) })
		}
	}},
	{"symlink", true, func(d *difficult) { d.ok(os.Symlink(difficultNames[d.rnd.IntN(len(difficultNames))], d.fresh())) }},
	{"mkdir", true, func(d *difficult) {
		if path := d.fresh(); len(d.dirs) < 60 && d.ok(os.Mkdir(path, 0o755)) {
			d.dirs = append(d.dirs, path)
		}
	}},
	{"unlink", false, func(d *difficult) { d.ok(os.Remove(d.file())) }},
	{"truncate", false, func(d *difficult) { d.ok(os.Truncate(d.file(), d.rnd.Int64N(1<<20))) }},
	{"append", false, func(d *difficult) {
		d.with(d.file(), os.O_APPEND, func(f *os.File) error { _, err := f.WriteString("more"); return err })
	}},
	{"write", false, func(d *difficult) {
		d.with(d.file(), 0, func(f *os.File) error {
			_, err := f.WriteAt(make([]byte, d.rnd.IntN(30_000)), d.rnd.Int64N(1<<20))
			return err
		})
	}},
	{"punch a hole", false, func(d *difficult) {
		d.with(d.file(), 0, func(f *os.File) error {
			return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE, d.rnd.Int64N(1<<16), 1<<16)
		})
	}},
	{"allocate", false, func(d *difficult) {
		d.with(d.file(), 0, func(f *os.File) error { return unix.Fallocate(int(f.Fd()), 0, d.rnd.Int64N(1<<16), 1<<16) })
	}},
	{"chown", false, func(d *difficult) { d.ok(os.Lchown(d.file(), 70_000+d.rnd.IntN(9), 80_000+d.rnd.IntN(9))) }},
	{"chmod", false, func(d *difficult) { d.ok(os.Chmod(d.file(), os.FileMode(d.rnd.IntN(0o1000))|0o600)) }},
	{"chmod a directory", false, func(d *difficult) {
		d.ok(os.Chmod(d.dirs[d.rnd.IntN(len(d.dirs))], os.FileMode(d.rnd.IntN(0o100))|0o700))
	}},
	{"setfacl", false, func(d *difficult) { d.setfacl(d.file()) }},
	{"setfacl of a directory", false, func(d *difficult) { d.setfacl(d.dirs[d.rnd.IntN(len(d.dirs))]) }},
	{"touch", false, func(d *difficult) {
		at := unix.Timespec{Sec: far[d.rnd.IntN(len(far))], Nsec: d.rnd.Int64N(1e9)}
		d.ok(unix.UtimesNanoAt(unix.AT_FDCWD, d.file(), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW))
	}},
	{"rename", false, func(d *difficult) {
		if to := d.fresh(); d.ok(os.Rename(d.file(), to)) {
			d.files = append(d.files, to)
		}
	}},
	{"replace", false, func(d *difficult) { d.ok(os.Rename(d.file(), d.file())) }},
	{"rename a directory", false, func(d *difficult) {
		i := d.rnd.IntN(len(d.dirs))
		from, to := d.dirs[i], d.fresh()
		if i < 5 || !d.ok(os.Rename(from, to)) {
			return
		}
		for _, paths := range [][]string{d.dirs, d.files} {
			for j, path := range paths {
				if below, ok := strings.CutPrefix(path, from+"/"); ok {
					paths[j] = filepath.Join(to, below)
				}
			}
		}
		d.dirs[i] = to
	}},
}

// run does n operations.
func (d *difficult) run(n int) {
	for range n {
		op := difficultOperations[d.rnd.IntN(len(difficultOperations))]
		op.do(d)
		d.did[op.name]++
	}
	unix.Sync() // so that file systems which allocate late have done so
}

// mayLag is what the kernel does not report: changes of a file that has, or had, other names, space that the file system has allocated
// after the file was closed, and of files what only the ACL of their directory has made known, or not known any more.
func (d *difficult) mayLag(path string, have, want detail) bool {
	var st unix.Stat_t
	if err := unix.Lstat(d.dir+path, &st); err != nil || d.linked[fmt.Sprint(st.Ino)] {
		return err == nil
	}
	have.allocated = want.allocated
	if have.acl == "" || want.acl == "" {
		have.acl = want.acl
	}
	return have == want
}

// TestDifficultTreeIsAsTools: find, du and stat of a view of a difficult tree print what find(1), du(1), stat(1) and getfacl(1) do,
// before and after random operations. What the kernel does not report is there after the next audit.
func TestDifficultTreeIsAsTools(t *testing.T) {
	t.Parallel()
	acls := needTools(t)
	dir := t.TempDir()
	d := newDifficult(t, dir, acls, 18)
	all, soon := comparison{dir: dir, acls: acls}, comparison{dir: dir, acls: acls, mayLag: d.mayLag}
	unix.Sync()
	o := observe(t, observation{dir: dir, audit: patience(2 * time.Second)})
	o.awaitTools(t, all, "at first", patience(20*time.Second))
	n := operationsOf(1000)
	if long {
		n = 10_000
	}
	const rounds = 4
	for round := range rounds {
		began := time.Now()
		d.run(n / rounds)
		took := time.Since(began)
		o.awaitTools(t, soon, fmt.Sprintf("round %d, as soon as the view has settled", round), patience(20*time.Second))
		settled := time.Since(began) - took
		audits := o.head().Scan.Audits + 2
		eventually(t, patience(60*time.Second), "an audit that began after the operations", func() bool { return o.head().Scan.Audits >= audits })
		o.awaitTools(t, all, fmt.Sprintf("round %d, after an audit", round), patience(10*time.Second))
		t.Logf("round %d: %d operations in %v, settled after %v: %v", round, n/rounds, took, settled, d.did)
	}
}
