package agent_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/event"
)

// agedTree makes a tree that nobody has written to for a while, so that its directories' mtimes prove something.
func agedTree(t testing.TB, root string, directories, files int) {
	t.Helper()
	for d := range directories {
		dir := filepath.Join(root, fmt.Sprintf("p%d", d%5), fmt.Sprintf("d%03d", d))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for f := range files {
			write(t, filepath.Join(dir, fmt.Sprint("f", f)), "before")
		}
	}
	age(t, root)
}

// age dates every directory back.
func age(t testing.TB, root string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			old = old.Add(time.Millisecond)
			err = os.Chtimes(path, old, old)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// listedBy notes which directories are listed with which evidence.
type listedBy struct {
	mu    sync.Mutex
	paths map[event.Evidence]map[string]int
}

// on adds to what a view does with events.
func (l *listedBy) on(v *view) {
	l.paths = map[event.Evidence]map[string]int{event.Snapshot: {}, event.Audit: {}}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.onEvent = func(ev *event.Event) {
		if ev.Kind == event.Listing {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.paths[ev.Evidence][strings.Clone(ev.Path)]++
		}
	}
}

func (l *listedBy) of(e event.Evidence) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.paths[e]))
}

// lives starts an agent of one view after the other, with the same state file.
func lives(t *testing.T, s *server, root, state string, v *view, change func(*agent.Options)) (*running, *listedBy) {
	t.Helper()
	l := &listedBy{}
	l.on(v)
	rec := &recorder{view: v, next: &send.Store{Store: s.store}}
	v.mu.Lock()
	clear(v.marks)
	v.mu.Unlock()
	r := start(t, s, root, func(o *agent.Options) {
		o.Sender, o.StateFile = rec, state
		if change != nil {
			change(o)
		}
	})
	r.rec, r.view = rec, v
	return r, l
}

// TestRestartListsWhatChanged: the snapshot after a restart lists the directories that changed, and those alone; what was
// written in place meanwhile is found by the round after it, in which each directory is listed once.
func TestRestartListsWhatChanged(t *testing.T) {
	s, root, state, v := newServer(t), t.TempDir(), filepath.Join(t.TempDir(), "agent.json"), newView()
	agedTree(t, root, 40, 5)
	a, _ := lives(t, s, root, state, v, nil)
	a.snapshotted()
	a.settles(20 * time.Second)
	a.stop()

	write(t, filepath.Join(root, "p1/d001/new"), "x")
	mkdir(t, filepath.Join(root, "p2/fresh/deep"))
	write(t, filepath.Join(root, "p2/fresh/deep/f"), "x")
	if err := os.RemoveAll(filepath.Join(root, "p3/d003")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, "p4/d004"), filepath.Join(root, "p0/moved")); err != nil {
		t.Fatal(err)
	}
	overwrite(t, filepath.Join(root, "p0/d010/f3"), "written in place, and longer")

	b, listed := lives(t, s, root, state, v, nil)
	b.snapshotted()
	want := []string{"/p0", "/p0/moved", "/p1/d001", "/p2", "/p2/fresh", "/p2/fresh/deep", "/p3", "/p4"}
	if have := listed.of(event.Snapshot); !slices.Equal(have, want) {
		t.Errorf("the snapshot listed %v, want %v", have, want)
	}
	b.settles(20 * time.Second)
	eventually(t, 20*time.Second, "each directory is listed once more", func() bool { return len(listed.of(event.Audit)) >= 44 })
	b.settles(20 * time.Second)
	for path, n := range listed.paths[event.Audit] {
		if n != 1 {
			t.Errorf("%s was listed %d times", path, n)
		}
	}
	b.stop()
	age(t, root)

	// Another store: what the files say is not true of it.
	c, listed := lives(t, newServer(t), root, state, newView(), nil)
	c.snapshotted()
	if n := len(listed.of(event.Snapshot)); n != 1+5+38+3 {
		t.Errorf("%d directories were listed into an empty view", n)
	}
	c.settles(20 * time.Second)
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestScanThatWasKilledGoesOn: what a first scan had listed for certain when its process died is not listed again, and the
// view is the tree, also where files were written in place while no agent ran.
func TestScanThatWasKilledGoesOn(t *testing.T) {
	s, root, state, v := newServer(t), t.TempDir(), filepath.Join(t.TempDir(), "agent.json"), newView()
	quickSessions(t, s)
	const directories = 120
	agedTree(t, root, directories, 10)
	line := s.line()
	a, first := lives(t, line, root, state, v, func(o *agent.Options) { o.ScanRate, o.Tuning.GracePeriod = 300, time.Millisecond })
	eventually(t, 30*time.Second, "something is known for certain", func() bool {
		info, err := os.Stat(strings.TrimSuffix(state, ".json") + ".dirs.log")
		return err == nil && info.Size() > 1000
	})
	if v.count("snapshot-end") > 0 {
		t.Fatal("the scan was over before it could be broken off")
	}
	line.cut.set(true) // as if it were killed: nothing is said any more
	a.stop()
	before := len(first.of(event.Snapshot))
	for d := range directories {
		overwrite(t, filepath.Join(root, fmt.Sprintf("p%d/d%03d/f1", d%5, d)), "written in place, and longer")
	}

	b, second := lives(t, s, root, state, v, nil)
	b.snapshotted()
	after := len(second.of(event.Snapshot))
	t.Logf("%d directories were listed, then %d of %d", before, after, directories+6)
	if after > directories+6-10 || after+before < directories+6 {
		t.Errorf("%d directories were listed, then %d of %d", before, after, directories+6)
	}
	b.settles(30 * time.Second)
}
