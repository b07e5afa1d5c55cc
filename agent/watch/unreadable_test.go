package watch

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/wait"
)

// guarded is the system's trees, of which one directory may be closed: for a test that runs as root, whom no mode stops.
type guarded struct {
	tree.System
	dir    string
	closed atomic.Bool
}

func (g *guarded) OpenRoot(path string) (tree.Root, error) {
	r, err := g.System.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return guardedRoot{r, g}, nil
}

func (g *guarded) check(path string, inside bool) error {
	if g.closed.Load() && (strings.HasPrefix(path, g.dir+"/") || inside && path == g.dir) {
		return &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	}
	return nil
}

type guardedRoot struct {
	tree.Root
	g *guarded
}

func (r guardedRoot) OpenDir(path string) (tree.Dir, error) {
	if err := r.g.check(path, true); err != nil {
		return nil, err
	}
	return r.Root.OpenDir(path)
}

func (r guardedRoot) Looker() tree.Looker { return guardedLooker{r.Root.Looker(), r.g} }

type guardedLooker struct {
	tree.Looker
	g *guarded
}

func (l guardedLooker) Lstat(path string) (tree.Info, error) {
	if err := l.g.check(path, false); err != nil {
		return tree.Info{}, err
	}
	return l.Looker.Lstat(path)
}

func (l guardedLooker) Identify(path string) (tree.ID, error) {
	if err := l.g.check(path, false); err != nil {
		return tree.ID{}, err
	}
	return l.Looker.Identify(path)
}

// TestRightsComeBack has a directory closed while things change in it: once it is open again, what is there is scanned.
func TestRightsComeBack(t *testing.T) { onEach(t, testRightsComeBack) }

func testRightsComeBack(t *testing.T, method string) {
	g := &guarded{System: tree.OS, dir: "/closed"}
	r := newRig(t, method, func(c *Config) { c.System = g })
	closed := filepath.Join(r.root, "closed")
	must(t, os.MkdirAll(filepath.Join(closed, "below"), 0o755))
	r.coverAll(t)

	g.closed.Store(true)
	must(t, os.WriteFile(filepath.Join(closed, "below", "new"), nil, 0o644))
	r.sees(t, "that it cannot be read", func(ev event.Event) bool {
		return ev.Kind == event.Marked && ev.Mark.Kind == event.SubtreeError && ev.Path == "/closed/below/new"
	})
	if n := r.Status().Unreadable; n == 0 {
		t.Error("the status knows of nothing that cannot be read")
	}
	must(t, os.Chmod(closed, 0o700)) // still closed
	r.sees(t, "the directory's mode", func(ev event.Event) bool {
		return ev.Kind == event.Put && ev.Path == "/closed" && ev.Entry.Mode == 0o700
	})
	if n := r.over.Load(); n != 0 {
		t.Fatalf("%d scans of what cannot be read", n)
	}

	g.closed.Store(false)
	must(t, os.Chmod(closed, 0o755))
	deadline := time.Now().Add(wait.Limit(10 * time.Second))
	for r.over.Load() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("what was closed is not scanned")
		}
		r.sees(t, "the directory's mode", isPut("/closed", true))
	}
	if got := *r.subtrees.Load(); !slices.Equal(got, []string{"/closed"}) {
		t.Errorf("%q are scanned", got)
	}
	if n := r.Status().Unreadable; n != 0 {
		t.Errorf("%d paths still count as unreadable", n)
	}
}

// TestManyUnreadablePaths has more of them than are told apart.
func TestManyUnreadablePaths(t *testing.T) { onEach(t, testManyUnreadablePaths) }

func testManyUnreadablePaths(t *testing.T, method string) {
	g := &guarded{System: tree.OS, dir: "/closed"}
	r := newRig(t, method, func(c *Config) { c.System = g })
	must(t, os.Mkdir(filepath.Join(r.root, "closed"), 0o755))
	r.coverAll(t)
	for i := range 3 * maxUnreadable {
		r.NoteUnreadable(fmt.Sprintf("/closed/%d/%d", i%1000, i), fs.ErrPermission)
	}
	if n := r.Status().Unreadable; n == 0 || n > maxUnreadable {
		t.Errorf("%d paths are kept", n)
	}
	must(t, os.Chmod(filepath.Join(r.root, "closed"), 0o700))
	deadline := time.Now().Add(wait.Limit(10 * time.Second))
	for r.over.Load() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("what was closed is not scanned")
		}
		r.sees(t, "the directory", isPut("/closed", true))
	}
}
