//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/testkit/wait"
)

// detail is all that find -printf '%s %b %n %i %C@ %U %G %T@ %m' says of an entry. The inode is told of files with several names only.
type detail struct {
	size, allocated, links int64
	inode                  string
	ctimeNs, mtimeNs       int64
	uid, gid, mode         int64
}

func (d detail) String() string {
	return fmt.Sprintf("size %d allocated %d links %d inode %q ctime %d mtime %d owner %d:%d mode %04o",
		d.size, d.allocated, d.links, d.inode, d.ctimeNs, d.mtimeNs, d.uid, d.gid, d.mode)
}

// findDetails is a tree as find(1) says, by path.
func findDetails(t *testing.T, dir string) map[string]detail {
	t.Helper()
	const format = `%P\0%y\0%s\0%b\0%n\0%i\0%C@\0%U\0%G\0%T@\0%m\0`
	const n = 11
	out, err := exec.Command("find", dir, "-printf", format).Output()
	if err != nil {
		t.Fatalf("find -printf: %v", err)
	}
	fields := strings.Split(string(out), "\x00")
	found := make(map[string]detail, len(fields)/n)
	for ; len(fields) > n; fields = fields[n:] {
		number := func(text string, base int) int64 {
			v, err := strconv.ParseInt(text, base, 64)
			if err != nil {
				t.Fatalf("find -printf gives %q: %v", fields[:n], err)
			}
			return v
		}
		nanoseconds := func(text string) int64 { // the nearest that 64 bits hold, as the view has it
			seconds, fraction, _ := strings.Cut(text, ".")
			if s := number(seconds, 10); s < math.MaxInt64/1_000_000_000 {
				return s*1e9 + number(fmt.Sprintf("%.9s", fraction), 10)
			}
			return math.MaxInt64
		}
		d := detail{
			size: number(fields[2], 10), allocated: 512 * number(fields[3], 10), links: number(fields[4], 10),
			ctimeNs: nanoseconds(fields[6]), uid: number(fields[7], 10), gid: number(fields[8], 10), mtimeNs: nanoseconds(fields[9]),
			mode: number(fields[10], 8),
		}
		if fields[1] != "d" && d.links > 1 {
			d.inode = fields[5]
		}
		found["/"+fields[0]] = d
	}
	return found
}

// duOf is du's sum of a tree, bytes.
func duOf(t *testing.T, dir string, flags ...string) int64 {
	t.Helper()
	out, err := exec.Command("du", append(slices.Concat([]string{"-s", "-B1"}, flags), dir)...).Output()
	if err != nil {
		t.Fatalf("du: %v", err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	if err != nil {
		t.Fatalf("du prints %q", out)
	}
	return n
}

// viewDetails is the view as find --json has it, and the line of each path.
func (s server) viewDetails(t *testing.T) (map[string]detail, error) {
	t.Helper()
	r := s.ask(t, "find", "/", "--json")
	if r.code != 0 {
		return nil, fmt.Errorf("find: %d %s", r.code, r.stderr)
	}
	found := map[string]detail{}
	for line := range strings.Lines(r.stdout) {
		path, d, err := detailOf(line)
		if err != nil {
			return nil, err
		}
		found[path] = d
	}
	return found, nil
}

func detailOf(line string) (string, detail, error) {
	path, e, err := parseEntry([]byte(line))
	var n inode
	if err = errors.Join(err, json.Unmarshal([]byte(line), &n)); err != nil {
		return "", detail{}, fmt.Errorf("%q: %w", line, err)
	}
	return path, detail{
		size: e.size, allocated: n.Allocated, links: int64(n.Links), inode: n.Inode, ctimeNs: n.CtimeNs, mtimeNs: e.mtimeNs,
		uid: int64(e.uid), gid: int64(e.gid), mode: int64(e.mode),
	}, nil
}

// unlikeTools says in what way find, du and stat of the view differ from find(1) and du(1), but for the paths that may lag.
func (s server) unlikeTools(t *testing.T, dir string, mayLag func(path string, have, want detail) bool) string {
	t.Helper()
	want := findDetails(t, dir)
	have, err := s.viewDetails(t)
	if err != nil {
		return err.Error()
	}
	var lines []string
	lagging := false
	for _, path := range slices.Sorted(maps.Keys(want)) {
		d, there := have[path]
		switch {
		case d == want[path]:
		case there && mayLag != nil && mayLag(path, d, want[path]):
			lagging = true
		default:
			lines = append(lines, fmt.Sprintf("%q\n    find(1): %v\n    view:    %v", path, want[path], d))
		}
	}
	for path, d := range have {
		if _, there := want[path]; !there {
			lines = append(lines, fmt.Sprintf("%q is gone, and in the view %v", path, d))
		}
	}
	if len(lines) == 0 && !lagging {
		lines = append(s.unlikeDu(t, dir), s.unlikeStat(t, want)...)
	}
	return strings.Join(lines[:min(len(lines), 8)], "\n")
}

// unlikeDu compares du --json with du(1), which counts a file for each of its names by -l.
func (s server) unlikeDu(t *testing.T, dir string) (lines []string) {
	t.Helper()
	var sum struct {
		Allocated int64 `json:"allocated"`
		Bytes     int64 `json:"bytes"`
	}
	if r := s.ask(t, "du", "/", "--json"); r.code != 0 || json.Unmarshal([]byte(r.stdout), &sum) != nil {
		return []string{fmt.Sprintf("du: %d %s", r.code, r.stderr)}
	}
	if disk := duOf(t, dir, "-l"); sum.Allocated != disk {
		lines = append(lines, fmt.Sprintf("du -B1 -l says %d, the view %d", disk, sum.Allocated))
	}
	// The view's bytes are those of files. du adds the sizes of links, and some versions those of directories and fifos.
	tree, others := onDisk(t, dir), int64(0)
	countsDirectories := duOf(t, t.TempDir(), "--apparent-size") > 0
	for _, e := range tree {
		if e.kind == 'l' || e.kind == 'd' && countsDirectories {
			others += e.size
		}
	}
	if disk := duOf(t, dir, "-l", "--apparent-size"); sum.Bytes+others != disk {
		lines = append(lines, fmt.Sprintf("du -B1 -l --apparent-size says %d, the view %d and %d for what is no file", disk, sum.Bytes, others))
	}
	return lines
}

// unlikeStat compares some paths with stat --json.
func (s server) unlikeStat(t *testing.T, want map[string]detail) (lines []string) {
	t.Helper()
	const some = 8
	for i, path := range slices.Sorted(maps.Keys(want)) {
		if i%(len(want)/some+1) != 0 {
			continue
		}
		r := s.ask(t, "stat", path, "--json")
		if _, d, err := detailOf(strings.TrimSpace(r.stdout)); err != nil || d != want[path] {
			lines = append(lines, fmt.Sprintf("stat %q\n    find(1): %v\n    view:    %v (%v)", path, want[path], d, err))
		}
	}
	return lines
}

// awaitTools waits until the view is as find(1) and du(1) say.
func (s server) awaitTools(t *testing.T, dir, when string, within time.Duration, mayLag func(path string, have, want detail) bool) {
	t.Helper()
	deadline := time.Now().Add(wait.Limit(within))
	for d := s.unlikeTools(t, dir, mayLag); d != ""; d = s.unlikeTools(t, dir, mayLag) {
		if time.Now().After(deadline) {
			t.Fatalf("%s:\n%s", when, d)
		}
		awaitPause(100 * time.Millisecond)
	}
}

// difficult is a tree that is made to be difficult, and changed at random.
type difficult struct {
	t     *testing.T
	dir   string
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

func newDifficult(t *testing.T, dir string, seed uint64) *difficult {
	d := &difficult{t: t, dir: dir, rnd: rand.New(rand.NewPCG(seed, 7)), did: map[string]int{}, linked: map[string]bool{}}
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

// mayLag is what the kernel does not report: changes of a file that has, or had, other names, and space that the file system has
// allocated after the file was closed.
func (d *difficult) mayLag(path string, have, want detail) bool {
	var st unix.Stat_t
	if err := unix.Lstat(d.dir+path, &st); err != nil || d.linked[fmt.Sprint(st.Ino)] {
		return err == nil
	}
	have.allocated = want.allocated
	return have == want
}

// TestDifficultTreeIsAsTools: find, du and stat of a view of a difficult tree print what find(1) and du(1) do, before and after random
// operations. What the kernel does not report is there after the next audit.
func TestDifficultTreeIsAsTools(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"find", "du"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s(1) to compare with", tool)
		}
	}
	dir := t.TempDir()
	d := newDifficult(t, dir, 18)
	unix.Sync()
	o := observe(t, observation{dir: dir, audit: patience(2 * time.Second)})
	o.awaitTools(t, dir, "at first", patience(20*time.Second), nil)
	n := operationsOf(1000)
	if long {
		n = 10_000
	}
	const rounds = 4
	for round := range rounds {
		began := time.Now()
		d.run(n / rounds)
		took := time.Since(began)
		o.awaitTools(t, dir, fmt.Sprintf("round %d, as soon as the view has settled", round), patience(20*time.Second), d.mayLag)
		settled := time.Since(began) - took
		audits := o.head().Scan.Audits + 2
		eventually(t, patience(60*time.Second), "an audit that began after the operations", func() bool { return o.head().Scan.Audits >= audits })
		o.awaitTools(t, dir, fmt.Sprintf("round %d, after an audit", round), patience(10*time.Second), nil)
		t.Logf("round %d: %d operations in %v, settled after %v: %v", round, n/rounds, took, settled, d.did)
	}
}
