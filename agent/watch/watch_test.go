package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a watcher at work, and what it emitted.
type rig struct {
	*Watcher
	root     string
	workers  int // of coverAll; 0: the default
	mu       sync.Mutex
	evs      []event.Event
	over     atomic.Int32
	subtrees atomic.Pointer[[]string] // of the last overflow
	full     atomic.Bool              // Emit has no room
	clock    atomic.Int64             // the store's time
	lost     atomic.Int32
	back     atomic.Int32
}

// onEach runs a test with every method that the platform has. One that this host does not permit is skipped.
func onEach(t *testing.T, test func(t *testing.T, method string)) {
	for _, c := range platform {
		t.Run(c.name, func(t *testing.T) {
			n, err := c.open(t.TempDir())
			if err != nil {
				t.Skipf("needs %s: %v", c.name, err)
			}
			n.Close()
			test(t, c.name)
		})
	}
}

func newRig(t *testing.T, method string, change func(*Config)) *rig {
	t.Helper()
	r := &rig{root: filepath.Join(t.TempDir(), "root")}
	must(t, os.Mkdir(r.root, 0o755))
	x, err := tree.NewExcludes([]string{".zfs", "*.tmp"})
	must(t, err)
	cfg := Config{
		Root: r.root, Method: method, Excludes: x, Now: func() int64 { return r.clock.Add(1) }, Logger: slog.New(slog.DiscardHandler),
		Window: 20 * time.Millisecond, WriteEvery: 100 * time.Millisecond, RootEvery: 100 * time.Millisecond,
		HasRoom: func() bool { return !r.full.Load() }, Overflow: func(subtrees []string) { r.subtrees.Store(&subtrees); r.over.Add(1) },
		RootLost: func(error) { r.lost.Add(1) }, RootBack: func() { r.back.Add(1) },
	}
	cfg.Emit = func(evs []event.Event) bool {
		if r.full.Load() {
			return false
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.evs = append(r.evs, evs...)
		return true
	}
	if change != nil {
		change(&cfg)
	}
	r.Watcher, err = New(cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watcher: %v", err)
		}
	})
	return r
}

// coverAll does what a follower's first scan does.
func (r *rig) coverAll(t *testing.T) {
	t.Helper()
	root, err := r.OpenRoot()
	must(t, err)
	defer root.Close()
	gen := r.BeginCoverage()
	err = scan.Run(t.Context(), scan.Config{Root: root, Excludes: r.cfg.Excludes, CrossFilesystems: r.cfg.CrossFilesystems, Now: r.cfg.Now, Cover: r.Cover, Workers: r.workers}, &scan.Receiver{Counts: &scan.Counts{}}, "/")
	must(t, err)
	r.EndCoverage(gen, true)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) events() []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]event.Event(nil), r.evs...)
}

// sees waits for an event.
func (r *rig) sees(t *testing.T, what string, ok func(event.Event) bool) event.Event {
	t.Helper()
	deadline := time.Now().Add(wait.Limit(10 * time.Second))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, ev := range r.events() {
			if ok(ev) {
				return ev
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("never seen: %s; events: %s", what, r.text())
		}
		<-tick.C
	}
}

func (r *rig) text() string {
	var b strings.Builder
	for _, ev := range r.events() {
		fmt.Fprintf(&b, "\n%d %s %q atomic=%v %s", ev.ObservedAt, ev.Kind, ev.Path, ev.Atomic, ev.Mark.Message)
	}
	return b.String()
}

func isPut(path string, atomic bool) func(event.Event) bool {
	return func(ev event.Event) bool { return ev.Kind == event.Put && ev.Path == path && ev.Atomic == atomic }
}

func isDelete(path string) func(event.Event) bool {
	return func(ev event.Event) bool { return ev.Kind == event.Delete && ev.Path == path }
}

func isMark(kind event.MarkKind) func(event.Event) bool {
	return func(ev event.Event) bool { return ev.Kind == event.Marked && ev.Mark.Kind == kind }
}

func TestFileIsAtomicOnceItIsClosed(t *testing.T) { onEach(t, testFileIsAtomicOnceItIsClosed) }

func testFileIsAtomicOnceItIsClosed(t *testing.T, method string) {
	r := newRig(t, method, nil)
	r.coverAll(t)
	f, err := os.Create(filepath.Join(r.root, "f"))
	must(t, err)
	_, err = f.WriteString("some")
	must(t, err)
	r.sees(t, "a put while it is open", isPut("/f", false))
	for _, ev := range r.events() {
		if isPut("/f", true)(ev) {
			t.Error("atomic while it is being written")
		}
	}
	_, err = f.WriteString(" more")
	must(t, err)
	must(t, f.Close())
	ev := r.sees(t, "a put after it was closed", isPut("/f", true))
	if ev.Entry.Size != 9 || ev.Entry.Name != "f" {
		t.Errorf("entry %+v", ev.Entry)
	}
	must(t, os.Rename(filepath.Join(r.root, "f"), filepath.Join(r.root, "g")))
	r.sees(t, "the new name", isPut("/g", true))
	r.sees(t, "the end of the old name", isDelete("/f"))
	r.sees(t, "the directory's new mtime", isPut("/", true))
}

func TestObservationTimesGrow(t *testing.T) { onEach(t, testObservationTimesGrow) }

func testObservationTimesGrow(t *testing.T, method string) {
	r := newRig(t, method, nil)
	r.coverAll(t)
	for i := range 200 {
		must(t, os.MkdirAll(filepath.Join(r.root, fmt.Sprint(i), "a"), 0o755))
	}
	r.sees(t, "the last directory", isPut("/199/a", true))
	last := int64(0)
	for _, ev := range r.events() {
		if ev.ObservedAt <= last {
			t.Fatalf("%d after %d: %s", ev.ObservedAt, last, r.text())
		}
		last = ev.ObservedAt
	}
}

func TestAttributesOfDirectoriesAndFiles(t *testing.T) {
	onEach(t, testAttributesOfDirectoriesAndFiles)
}

func testAttributesOfDirectoriesAndFiles(t *testing.T, method string) {
	r := newRig(t, method, nil)
	must(t, os.Mkdir(filepath.Join(r.root, "d"), 0o755))
	must(t, os.WriteFile(filepath.Join(r.root, "d/f"), nil, 0o644))
	r.coverAll(t)
	old := time.Unix(1_000_000_000, 5)
	must(t, os.Chtimes(filepath.Join(r.root, "d/f"), old, old))
	must(t, os.Chtimes(filepath.Join(r.root, "d"), old, old))
	for _, p := range []string{"/d", "/d/f"} {
		r.sees(t, p, func(ev event.Event) bool { return isPut(p, true)(ev) && ev.Entry.MtimeNs == old.UnixNano() })
	}
}

// TestMtimeAloneIsSet: setting the mtime and leaving the atime alone, as rsync does, is to the kernel a modification, also of
// a directory. inotify tells of it in the directory above; the root has none, and fanotify tells it of the directory itself.
func TestMtimeAloneIsSet(t *testing.T) { onEach(t, testMtimeAloneIsSet) }

func testMtimeAloneIsSet(t *testing.T, method string) {
	r := newRig(t, method, nil)
	must(t, os.Mkdir(filepath.Join(r.root, "d"), 0o755))
	r.coverAll(t)
	old := time.Unix(1_000_000_000, 5)
	for _, p := range []string{"/d", "/"} {
		must(t, os.Chtimes(filepath.Join(r.root, p), time.Time{}, old))
		r.sees(t, p, func(ev event.Event) bool { return isPut(p, true)(ev) && ev.Entry.MtimeNs == old.UnixNano() })
	}
}

// TestReplacedDirectoryTakesItsContentAlong: nothing of the old directory may survive under the new one's name.
func TestReplacedDirectoryTakesItsContentAlong(t *testing.T) {
	onEach(t, testReplacedDirectoryTakesItsContentAlong)
}

func testReplacedDirectoryTakesItsContentAlong(t *testing.T, method string) {
	r := newRig(t, method, nil)
	must(t, os.MkdirAll(filepath.Join(r.root, "d/old"), 0o755))
	r.coverAll(t)
	must(t, os.Rename(filepath.Join(r.root, "d"), filepath.Join(filepath.Dir(r.root), "away")))
	must(t, os.MkdirAll(filepath.Join(r.root, "d/new"), 0o755))
	gone := r.sees(t, "the deletion", isDelete("/d"))
	here := r.sees(t, "what is new", isPut("/d/new", true))
	if gone.ObservedAt >= here.ObservedAt {
		t.Errorf("deleted at %d, put at %d", gone.ObservedAt, here.ObservedAt)
	}
	must(t, os.WriteFile(filepath.Join(filepath.Dir(r.root), "away/old/f"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(r.root, "d/new/f"), nil, 0o644))
	r.sees(t, "a file in the new one", isPut("/d/new/f", true))
	for _, ev := range r.events() {
		if strings.HasPrefix(ev.Path, "/d/old/") {
			t.Errorf("an event of the directory that was moved away: %s", r.text())
		}
	}
}

// The notice of the removal is handled while the parent directory, that appeared, is walked: the walk tells of the new
// directory before its deletion is told.
func TestReplacedDirectoryBelowOneThatAppears(t *testing.T) {
	onEach(t, testReplacedDirectoryBelowOneThatAppears)
}

func testReplacedDirectoryBelowOneThatAppears(t *testing.T, method string) {
	r := newRig(t, method, nil)
	must(t, os.MkdirAll(filepath.Join(r.root, "d/sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(r.root, "d/sub/f"), nil, 0o644))
	r.coverAll(t)
	r.Watcher.mu.Lock()
	r.hints.paths["/d"] |= hintEnter
	r.hints.paths["/d/sub"] |= hintRemoved
	r.Watcher.mu.Unlock()
	deleted := r.sees(t, "the deletion", isDelete("/d/sub"))
	r.sees(t, "the file, after the deletion of its directory", func(ev event.Event) bool {
		return ev.Kind == event.Put && ev.Path == "/d/sub/f" && ev.ObservedAt > deleted.ObservedAt
	})
}

// TestKernelQueueOverflow fills the kernel's own queue while nobody reads it.
func TestKernelQueueOverflow(t *testing.T) { onEach(t, testKernelQueueOverflow) }

func testKernelQueueOverflow(t *testing.T, method string) {
	b, err := os.ReadFile("/proc/sys/fs/" + method + "/max_queued_events")
	if err != nil {
		t.Skip("needs Linux: " + err.Error())
	}
	limit := 0
	_, err = fmt.Sscan(string(b), &limit)
	must(t, err)
	if limit > 100_000 {
		t.Skipf("max_queued_events is %d", limit)
	}
	open := make(chan struct{})
	r := newRig(t, method, func(c *Config) { c.gate = func() { <-open } })
	r.coverAll(t)
	for i := range limit + 1000 { // of one name the kernel may make one notice
		f, err := os.Create(filepath.Join(r.root, fmt.Sprint(i)))
		must(t, err)
		must(t, f.Close())
	}
	close(open)
	r.sees(t, "the mark", isMark(event.Overflow))
	if r.over.Load() == 0 || r.Status().Overflows == 0 {
		t.Error("nobody was told")
	}
	must(t, os.WriteFile(filepath.Join(r.root, "after"), nil, 0o644))
	r.sees(t, "what comes after", isPut("/after", true))
}

func TestOwnQueueIsBounded(t *testing.T) { onEach(t, testOwnQueueIsBounded) }

func testOwnQueueIsBounded(t *testing.T, method string) {
	r := newRig(t, method, func(c *Config) { c.MaxPending = 50 })
	r.coverAll(t)
	r.full.Store(true)
	for i := range 500 {
		must(t, os.WriteFile(filepath.Join(r.root, fmt.Sprint(i)), nil, 0o644))
	}
	deadline := time.Now().Add(wait.Limit(10 * time.Second))
	for r.over.Load() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("no overflow")
		}
		must(t, os.WriteFile(filepath.Join(r.root, fmt.Sprint(time.Now().UnixNano())), nil, 0o644))
	}
	if n := r.Status().Pending; n > 50 {
		t.Errorf("%d paths pending", n)
	}
	r.full.Store(false)
	r.sees(t, "the mark", isMark(event.Overflow))
}

// Paths in two directories of many wait for a look; when they are too many, those two are scanned again and no others.
func TestTooManyPathsBecomeSubtrees(t *testing.T) { onEach(t, testTooManyPathsBecomeSubtrees) }

func testTooManyPathsBecomeSubtrees(t *testing.T, method string) {
	r := newRig(t, method, func(c *Config) { c.MaxPending = 40 })
	for _, d := range []string{"a/x/deep", "a/y", "b", "c"} {
		must(t, os.MkdirAll(filepath.Join(r.root, d), 0o755))
	}
	r.coverAll(t)
	// Notices of the root's own entries are to be done with, since they have the root scanned again.
	must(t, os.WriteFile(filepath.Join(r.root, "c", "last"), nil, 0o644))
	r.sees(t, "the last file of before", isPut("/c/last", true))
	waitFor(t, "nothing is pending", func() bool { return r.Status().Pending == 0 })
	r.full.Store(true)
	for i := range 30 {
		must(t, os.WriteFile(filepath.Join(r.root, "a/x/deep", fmt.Sprint(i)), nil, 0o644))
		must(t, os.WriteFile(filepath.Join(r.root, "b", fmt.Sprint(i)), nil, 0o644))
		// Taken in one by one: as many notices in one go would be too many for the queue before, which knows no directories.
		waitFor(t, "the notices are taken in", func() bool { return r.Status().Pending >= 2*(i+1) || r.over.Load() > 0 })
	}
	waitFor(t, "the overflow", func() bool { return r.over.Load() > 0 })
	r.full.Store(false)
	r.sees(t, "the mark", func(ev event.Event) bool { return isMark(event.Overflow)(ev) && ev.Path == "/b" })
	for _, ev := range r.events() {
		if isMark(event.Overflow)(ev) && ev.Path == "/" {
			t.Error("the whole tree is marked")
		}
	}
}

// TestWatchLimit: the system grants two watches; they go to the root and to the directory that changed last.
func TestWatchLimitIsReportedOnceAndTheRestGoesOn(t *testing.T) {
	onEach(t, testWatchLimitIsReportedOnceAndTheRestGoesOn)
}

func testWatchLimitIsReportedOnceAndTheRestGoesOn(t *testing.T, method string) {
	var r *rig
	r = newRig(t, method, func(c *Config) {
		c.addError = func(path string) error { // the lock is held
			n := r.model.lookup(path)
			if len(r.model.byWatch) >= 2 && (n == nil || n.watch == NoWatch) {
				return fmt.Errorf("%w: %w", ErrLimit, syscall.ENOSPC)
			}
			return nil
		}
	})
	for i, d := range []string{"hot", "cold1/below", "cold2", "cold1"} {
		p := filepath.Join(r.root, d)
		must(t, os.MkdirAll(p, 0o755))
		at := time.Unix(0, 1000-int64(i))
		must(t, os.Chtimes(p, at, at))
	}
	r.workers = 1 // watches that several workers are about to have are not counted yet
	r.clock.Store(2000)
	r.coverAll(t)
	mark := r.sees(t, "the mark", isMark(event.CoverageLimited))
	if mark.Mark.Directories != 3 || !strings.Contains(mark.Mark.Message, "max_user_watches") {
		t.Errorf("mark %+v", mark.Mark)
	}
	r.coverAll(t)
	must(t, os.WriteFile(filepath.Join(r.root, "hot/f"), nil, 0o644))
	r.sees(t, "a file where there is a watch", isPut("/hot/f", true))
	n := 0
	for _, ev := range r.events() {
		if isMark(event.CoverageLimited)(ev) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("reported %d times", n)
	}
	if s := r.Status(); s.Unwatched != 3 || s.Watches != 2 || s.Coverage != HotSet || s.Reason == "" || s.Limit != 2 {
		t.Errorf("status %+v", s)
	}
}

func TestVanishedRootDeletesNothing(t *testing.T) { onEach(t, testVanishedRootDeletesNothing) }

func testVanishedRootDeletesNothing(t *testing.T, method string) {
	r := newRig(t, method, nil)
	must(t, os.MkdirAll(filepath.Join(r.root, "d"), 0o755))
	r.coverAll(t)
	away := filepath.Join(filepath.Dir(r.root), "away")
	must(t, os.Rename(r.root, away))
	waitFor(t, "the loss", func() bool { return r.lost.Load() > 0 })
	must(t, os.RemoveAll(filepath.Join(away, "d")))
	must(t, os.Rename(away, r.root))
	waitFor(t, "the return", func() bool { return r.back.Load() > 0 })
	for _, ev := range r.events() {
		if ev.Kind == event.Delete {
			t.Errorf("a deletion: %s", r.text())
		}
	}
	r.coverAll(t)
	must(t, os.WriteFile(filepath.Join(r.root, "f"), nil, 0o644))
	r.sees(t, "what comes after", isPut("/f", true))
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	wait.For(t, 10*time.Second, what, ok)
}

func TestExcludedIsNotHeardOf(t *testing.T) { onEach(t, testExcludedIsNotHeardOf) }

func testExcludedIsNotHeardOf(t *testing.T, method string) {
	r := newRig(t, method, nil)
	must(t, os.Mkdir(filepath.Join(r.root, ".zfs"), 0o755))
	r.coverAll(t)
	must(t, os.WriteFile(filepath.Join(r.root, ".zfs/f"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(r.root, "x.tmp"), nil, 0o644))
	must(t, os.MkdirAll(filepath.Join(r.root, "d/.zfs/e"), 0o755))
	must(t, os.Rename(filepath.Join(r.root, "x.tmp"), filepath.Join(r.root, "x")))
	r.sees(t, "the name that is not excluded", isPut("/x", true))
	r.sees(t, "the directory", isPut("/d", true))
	for _, ev := range r.events() {
		if strings.Contains(ev.Path, ".zfs") || strings.HasSuffix(ev.Path, ".tmp") {
			t.Errorf("event of %q", ev.Path)
		}
	}
}

// TestListingComesBeforeAPutOfItsDirectory: while a scan reads a directory, no put with a later mtime gets in between.
func TestListingComesBeforeAPutOfItsDirectory(t *testing.T) {
	onEach(t, testListingComesBeforeAPutOfItsDirectory)
}

func testListingComesBeforeAPutOfItsDirectory(t *testing.T, method string) {
	r := newRig(t, method, nil)
	must(t, os.Mkdir(filepath.Join(r.root, "d"), 0o755))
	r.coverAll(t)
	root, err := r.OpenRoot()
	must(t, err)
	defer root.Close()
	d, err := root.OpenDir("/d")
	must(t, err)
	defer d.Close()
	before, err := d.Info()
	must(t, err)
	p, err := r.Cover(root, d, "/d", before)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(r.root, "d/f"), nil, 0o644))
	r.sees(t, "the file", isPut("/d/f", true))
	list := event.Event{Kind: event.Listing, Path: "/d", ObservedAt: r.cfg.Now(), Entry: before.Entry}
	if first, err := p.Check(&list); err != nil || first != nil {
		t.Errorf("check: %+v, %v", first, err)
	}
	for _, ev := range r.events() {
		if ev.Path == "/d" {
			t.Error("a put while it is read")
		}
	}
	p.Done()
	r.sees(t, "the directory", isPut("/d", true))
	// Its mtime is set back: the next listing brings that along.
	p, err = r.Cover(root, d, "/d", before)
	must(t, err)
	defer p.Done()
	list.Entry.MtimeNs = 1
	if first, err := p.Check(&list); err != nil || first == nil || first.Entry.MtimeNs != 1 {
		t.Errorf("check: %+v, %v", first, err)
	}
	// It moves away.
	must(t, os.Rename(filepath.Join(r.root, "d"), filepath.Join(r.root, "e")))
	r.sees(t, "the new name", isPut("/e", true))
	if _, err := p.Check(&list); !errors.Is(err, scan.ErrMoved) {
		t.Errorf("check after a move: %v", err)
	}
}

// TestRootIsNotMountedYet has a watcher begin on what lies beneath the mount point that its root was on before.
func TestRootIsNotMountedYet(t *testing.T) { onEach(t, rootIsNotMountedYet) }

func rootIsNotMountedYet(t *testing.T, method string) {
	at := &mountedAt{System: tree.OS}
	at.mount.Store("/")
	r := newRig(t, method, func(c *Config) { c.System, c.Mount = at, c.Root })
	if err := r.Lost(); err == nil || !strings.Contains(err.Error(), "mounted at "+r.root) {
		t.Fatalf("lost: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(r.root, "beneath"), nil, 0o644))
	at.mount.Store(r.root)
	waitFor(t, "it is mounted, and found again", func() bool { return r.back.Load() > 0 })
	if err := r.Lost(); err != nil || r.Mount() != r.root {
		t.Errorf("mounted at %s, lost: %v", r.Mount(), err)
	}
	if got := r.events(); len(got) > 0 {
		t.Errorf("while it was lost it said %s", r.text())
	}
}

// mountedAt says where the root's file system is mounted.
type mountedAt struct {
	tree.System
	mount atomic.Value
}

func (m *mountedAt) MountPoint(string) (string, error) { return m.mount.Load().(string), nil }

// hooked calls added after each Add.
type hooked struct {
	Notifier
	added func(path string)
}

func (h *hooked) Add(root string, d tree.Dir, path string) (WatchID, error) {
	id, err := h.Notifier.Add(root, d, path)
	h.added(path)
	return id, err
}

// TestWatchIsGivenUpWhileItIsTaken: a scan gets the watch that a directory has already, and before it is entered into the
// model the loop drops the directory, which it takes for one that was moved away long ago.
func TestWatchIsGivenUpWhileItIsTaken(t *testing.T) { onEach(t, testWatchIsGivenUpWhileItIsTaken) }

func testWatchIsGivenUpWhileItIsTaken(t *testing.T, method string) {
	var r *rig
	var armed atomic.Bool
	r = newRig(t, method, func(c *Config) {
		c.Notifier = func(root string) (Notifier, error) {
			return &hooked{choose(root, method, time.Minute, c.Logger), func(path string) {
				if path != "/d" || !armed.CompareAndSwap(true, false) {
					return
				}
				r.Watcher.mu.Lock()
				defer r.Watcher.mu.Unlock()
				r.model.orphan(r.model.lookup(path))
				r.model.reap(time.Now().Add(orphanTTL), r.notifier)
			}}, nil
		}
	})
	must(t, os.Mkdir(filepath.Join(r.root, "d"), 0o755))
	r.coverAll(t)
	armed.Store(true)
	r.coverAll(t)
	if armed.Load() {
		t.Fatal("the directory was not covered again")
	}
	must(t, os.WriteFile(filepath.Join(r.root, "d/f"), nil, 0o644))
	r.sees(t, "a file in it", isPut("/d/f", true))
}

func TestLostWatchesAreRemembered(t *testing.T) {
	var m model
	m.reset()
	since := m.givenUp
	m.noteGone(7)
	if !m.mayBeLost(7, since) || m.mayBeLost(8, since) || m.mayBeLost(7, m.givenUp) {
		t.Error("one watch was lost, 7, and it counts for those alone who asked before")
	}
	for range m.recent {
		m.noteGone(9)
	}
	if !m.mayBeLost(8, since) {
		t.Error("what is known of any watch after more were lost than are remembered")
	}
	since = m.givenUp
	m.reset()
	if !m.mayBeLost(8, since) {
		t.Error("a watch outlived the model")
	}
}

// TestNumberOfAnother: a directory that has the number of one that was there before, and another birth, is another one: what the
// model has below the old one does not pass to it, whether a scan meets it or a notice has it looked at.
func TestNumberOfAnother(t *testing.T) {
	r := newRig(t, None, nil)
	r.Watcher.mu.Lock()
	defer r.Watcher.mu.Unlock()
	was := tree.ID{Dev: 1, Ino: 2, Birth: 3}
	is := tree.ID{Dev: 1, Ino: 2, Birth: 4}
	attach := func(path string, id tree.ID) *node {
		n, err := r.model.attach(path, NoWatch, id, 1)
		must(t, err)
		return n
	}
	before := attach("/d", was)
	attach("/d/below", tree.ID{Dev: 1, Ino: 5})
	if again := attach("/d", was); again != before || len(again.children) != 1 {
		t.Errorf("the same directory is another one: %+v", again)
	}
	r.Watcher.mu.Unlock()
	replaced, same := r.isReplaced("/d", tree.Info{ID: is}), !r.isReplaced("/d", tree.Info{ID: was})
	r.Watcher.mu.Lock()
	if !replaced || !same {
		t.Errorf("replaced %v, the same %v", replaced, same)
	}
	if now := attach("/d", is); now == before || len(now.children) != 0 {
		t.Errorf("another directory is the same one: %+v", now)
	}
}
