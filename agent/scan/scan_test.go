//go:build unix

package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector keeps what a scan emits, and checks its order.
type collector struct {
	mu       sync.Mutex
	entries  map[string]event.Entry
	ranges   map[string][][2]string
	marks    []event.Event
	problems []string
}

func newCollector() *collector {
	return &collector{entries: map[string]event.Entry{}, ranges: map[string][][2]string{}}
}

func (c *collector) emit(_ context.Context, ev *event.Event, _ Reading) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ev.Kind == event.Marked {
		c.marks = append(c.marks, *ev)
		return nil
	}
	if ev.Path == "/" {
		c.entries["/"] = ev.Entry
	} else if parent, _ := event.Split(ev.Path); len(c.ranges[parent[:max(1, len(parent)-1)]]) == 0 {
		c.problems = append(c.problems, fmt.Sprintf("%q was listed before the directory above it", ev.Path))
	}
	c.ranges[ev.Path] = append(c.ranges[ev.Path], [2]string{ev.From, ev.To})
	for _, e := range ev.Entries {
		c.entries[event.Join(ev.Path, e.Name)] = e
	}
	return nil
}

func counter() func() int64 {
	var n atomic.Int64
	return func() int64 { return n.Add(1) }
}

func scanTree(t testing.TB, dir string, change func(*Config)) (*collector, *Counts) {
	t.Helper()
	root, err := tree.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	excludes, err := tree.NewExcludes(tree.DefaultExcludes)
	if err != nil {
		t.Fatal(err)
	}
	c, counts := newCollector(), &Counts{}
	cfg := Config{Root: root, Excludes: excludes, Now: counter()}
	if change != nil {
		change(&cfg)
	}
	if err := Run(t.Context(), cfg, &Receiver{Evidence: event.Snapshot, Emit: c.emit, Counts: counts}, "/"); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.problems {
		t.Error(p)
	}
	return c, counts
}

// find asks find(1) for everything that an entry has.
func find(t testing.TB, dir string) map[string]string {
	t.Helper()
	program, err := exec.LookPath("find")
	if err != nil {
		t.Skip("find is not installed")
	}
	out, err := exec.Command(program, dir, "-xdev", "-printf", `%P\0%y\0%s\0%T@\0%m\0%U\0%G\0%l\0`).Output()
	if err != nil {
		t.Skipf("find cannot do it: %v", err)
	}
	m := map[string]string{}
	fields := bytes.Split(out, []byte{0})
	for i := 0; i+8 < len(fields); i += 8 {
		f := fields[i : i+8]
		letter := string(f[1])
		if !strings.Contains("fdl", letter) {
			letter = "o"
		}
		seconds, fraction, _ := strings.Cut(string(f[3]), ".")
		s, _ := strconv.ParseInt(seconds, 10, 64)
		ns, _ := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
		mode, _ := strconv.ParseUint(string(f[4]), 8, 32)
		m["/"+string(f[0])] = fmt.Sprintf("%s %s %d %o %s %s %q", letter, f[2], s*1e9+ns, mode, f[5], f[6], f[7])
	}
	return m
}

func compareWithFind(t *testing.T, dir string) {
	t.Helper()
	want := find(t, dir)
	c, counts := scanTree(t, dir, nil)
	for path, e := range c.entries {
		have := fmt.Sprintf("%s %d %d %o %d %d %q", e.Type.Letter(), e.Size, e.MtimeNs, e.Mode, e.UID, e.GID, e.Target)
		if want[path] != have {
			t.Errorf("%q: scan %s, find %s", path, have, want[path])
		}
	}
	if len(c.entries) != len(want) {
		t.Errorf("%d entries, find has %d", len(c.entries), len(want))
	}
	if n := counts.Files.Load() + counts.Others.Load() + counts.Directories.Load(); n != uint64(len(want)) {
		t.Errorf("counted %d entries, find has %d", n, len(want))
	}
}

func TestScanIsWhatFindPrints(t *testing.T) {
	dir := t.TempDir()
	makeNasty(t, dir)
	compareWithFind(t, dir)
}

func TestScanOfSystemHeaders(t *testing.T) {
	if _, err := os.Stat("/usr/include"); err != nil {
		t.Skip("there is no /usr/include")
	}
	compareWithFind(t, "/usr/include")
}

func makeNasty(t testing.TB, dir string) {
	t.Helper()
	for _, name := range []string{"a b", "new\nline", "\xff\xfe\x80", "-rf", "tab\t", strings.Repeat("n", 255), "ä", "*", `back\slash`} {
		must(t, os.MkdirAll(filepath.Join(dir, name, "sub"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name, "f"+name[:min(len(name), 200)]), []byte(name), 0o640))
	}
	must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	must(t, os.Symlink("..", filepath.Join(dir, "a b", "loop")))
	must(t, os.Symlink(strings.Repeat("x/", 1000), filepath.Join(dir, "long target")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Link(filepath.Join(dir, "-rf", "f-rf"), filepath.Join(dir, "hard link")))
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700|os.ModeSticky))
	must(t, os.WriteFile(filepath.Join(dir, "setuid"), nil, 0o755))
	must(t, os.Chmod(filepath.Join(dir, "setuid"), 0o755|os.ModeSetuid))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestDeeperThanAPathCanBe scans a tree whose deepest paths are several times as long as PATH_MAX.
func TestDeeperThanAPathCanBe(t *testing.T) {
	const levels = 250
	base := t.TempDir()
	at, err := os.OpenRoot(base)
	must(t, err)
	defer func() { at.Close() }()
	name := strings.Repeat("d", 100)
	for range levels {
		must(t, at.Mkdir(name, 0o755))
		next, err := at.OpenRoot(name)
		must(t, err)
		must(t, at.Close())
		at = next
	}
	f, err := at.Create("bottom")
	must(t, err)
	must(t, f.Close())
	c, counts := scanTree(t, base, nil)
	deepest := strings.Repeat("/"+name, levels) + "/bottom"
	if _, ok := c.entries[deepest]; !ok || counts.Directories.Load() != levels+1 || counts.Errors.Load() != 0 {
		t.Errorf("bottom found: %v, %d directories, %d errors", ok, counts.Directories.Load(), counts.Errors.Load())
	}
}

// TestTooDeepIsAHole scans a tree of more levels than a segment takes: what is deeper is told as what could not be read.
func TestTooDeepIsAHole(t *testing.T) {
	base := t.TempDir()
	at, err := os.OpenRoot(base)
	must(t, err)
	defer func() { at.Close() }()
	for range 4150 {
		must(t, at.Mkdir("d", 0o755))
		next, err := at.OpenRoot("d")
		must(t, err)
		must(t, at.Close())
		at = next
	}
	c, counts := scanTree(t, base, nil)
	deepest := strings.Repeat("/d", 4096)
	if _, ok := c.entries[deepest]; !ok || counts.Errors.Load() != 1 || counts.Directories.Load() != 4097 {
		t.Errorf("level 4096 found: %v, %d directories, %d errors", ok, counts.Directories.Load(), counts.Errors.Load())
	}
	if err := event.Fits(deepest); err != nil {
		t.Error(err)
	}
	if event.Fits(deepest+"/d") == nil {
		t.Error("a deeper one fits")
	}
}

func TestHugeDirectoryComesInRanges(t *testing.T) {
	dir := t.TempDir()
	const n = 2*chunk + 17
	for i := range n {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%07d", i)))
		must(t, err)
		must(t, f.Close())
	}
	c, counts := scanTree(t, dir, nil)
	if len(c.entries) != n+1 || counts.Files.Load() != n {
		t.Errorf("%d entries, %d files", len(c.entries), counts.Files.Load())
	}
	ranges := c.ranges["/"]
	if len(ranges) != 3 || ranges[0][0] != "" || ranges[2][1] != "" {
		t.Fatalf("ranges %q", ranges)
	}
	for i := range 2 {
		if ranges[i][1] != ranges[i+1][0] {
			t.Errorf("a gap between %q and %q", ranges[i], ranges[i+1])
		}
	}
}

func TestUnreadableDirectoryIsReportedAndNotTakenForEmpty(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "ok"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "secret/inside"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "ok/f"), nil, 0o644))
	deny := errors.New("permission denied, for this test")
	c, counts := scanTree(t, dir, func(cfg *Config) {
		cfg.Cover = func(_ tree.Root, _ tree.Dir, path string, _ tree.Info) (Reading, error) {
			if path == "/secret" {
				return nil, deny
			}
			return freeReading{}, nil
		}
	})
	if _, ok := c.entries["/secret"]; !ok {
		t.Error("the directory itself is missing")
	}
	if len(c.ranges["/secret"]) != 0 || counts.Errors.Load() != 1 {
		t.Errorf("%d listings, %d errors", len(c.ranges["/secret"]), counts.Errors.Load())
	}
	if len(c.marks) != 1 || c.marks[0].Mark.Kind != event.SubtreeError || c.marks[0].Path != "/secret" || !strings.Contains(c.marks[0].Mark.Message, deny.Error()) {
		t.Errorf("marks %+v", c.marks)
	}
	if _, ok := c.entries["/ok/f"]; !ok {
		t.Error("the rest was not scanned")
	}
}

type freeReading struct{}

func (freeReading) Still() error                             { return nil }
func (freeReading) Check(*event.Event) (*event.Event, error) { return nil, nil }
func (freeReading) Done()                                    {}

// TestHolesAreLeftOutOfRanges: of a name whose lstat fails, a listing says nothing, neither that it is there nor that
// it is not.
func TestHolesAreLeftOutOfRanges(t *testing.T) {
	c := newCollector()
	w := worker{cfg: &Config{}}
	w.readers.list = []*Part{NewWalk(*w.cfg, "/").Join(t.Context(), &Receiver{Emit: c.emit, Counts: &Counts{}})}
	w.event = event.Event{Kind: event.Listing, Path: "/"}
	for _, n := range []string{"a", "c", "e"} {
		w.entries = append(w.entries, event.Entry{Name: n, Type: event.File})
	}
	w.holes = []string{"b", "b\x01", "d"}
	must(t, w.emit(nil))
	want := [][2]string{{"", "b"}, {"b\x01\x01", "d"}, {"d\x01", ""}}
	if fmt.Sprint(c.ranges["/"]) != fmt.Sprint(want) || len(c.entries) != 4 {
		t.Errorf("ranges %q, entries %d", c.ranges["/"], len(c.entries))
	}
}

func TestExcludedIsNowhere(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{".snapshot/deep", "a/.zfs", "a/keep", "build/x", "src/build/x"} {
		must(t, os.MkdirAll(filepath.Join(dir, p), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "a/x.tmp"), nil, 0o644))
	x, err := tree.NewExcludes(append([]string{"*.tmp", "/build"}, tree.DefaultExcludes...))
	must(t, err)
	c, _ := scanTree(t, dir, func(cfg *Config) { cfg.Excludes = x })
	for _, p := range []string{"/.snapshot", "/.snapshot/deep", "/a/.zfs", "/a/x.tmp", "/build", "/build/x"} {
		if _, ok := c.entries[p]; ok {
			t.Errorf("%s is there", p)
		}
	}
	for _, p := range []string{"/a/keep", "/src/build", "/src/build/x"} {
		if _, ok := c.entries[p]; !ok {
			t.Errorf("%s is missing", p)
		}
	}
}

func TestScanEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	makeNasty(t, dir)
	root, err := tree.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	x, err := tree.NewExcludes(nil)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	err = Run(ctx, Config{Root: root, Excludes: x, Now: counter()}, &Receiver{Evidence: event.Audit, Counts: &Counts{},
		Emit: func(ctx context.Context, _ *event.Event, _ Reading) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}}, "/")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
