package hang

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/agent/tree"
)

// gated is the operating system's tree, whose looks at one path wait.
type gated struct {
	tree.System
	path   string
	gate   chan struct{}
	closed chan struct{}
}

func (g *gated) OpenRoot(path string) (tree.Root, error) {
	if g.path == "/" {
		<-g.gate
	}
	root, err := g.System.OpenRoot(path)
	return &gatedRoot{root, g}, err
}

type gatedRoot struct {
	tree.Root
	g *gated
}

func (r *gatedRoot) Close() {
	r.Root.Close()
	close(r.g.closed)
}

func (r *gatedRoot) Looker() tree.Looker { return &gatedLooker{r.Root.Looker(), r.g} }

type gatedLooker struct {
	tree.Looker
	g *gated
}

func (l *gatedLooker) Lstat(path string) (tree.Info, error) {
	if path == l.g.path {
		<-l.g.gate
	}
	return l.Looker.Lstat(path)
}

func makeTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"a/b", "c"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestLookThatHangsIsGivenUp: nobody asks again while it hangs, what is beside it is looked at, and the root stays open for it.
func TestLookThatHangsIsGivenUp(t *testing.T) {
	dir := makeTree(t)
	synctest.Test(t, func(t *testing.T) {
		answered := make(chan string, 1)
		calls := New(0, func(path string) { answered <- path })
		g := &gated{tree.OS, "/a", make(chan struct{}), make(chan struct{})}
		root, err := System(g, calls).OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		look := root.Looker()
		began := time.Now()
		for range 3 {
			if _, err := look.Lstat("/a"); !errors.Is(err, ErrHangs) {
				t.Fatalf("error %v", err)
			}
		}
		if took := time.Since(began); took != After {
			t.Errorf("it took %v", took)
		}
		if _, err := look.Lstat("/a/b"); !errors.Is(err, ErrHangs) {
			t.Errorf("what is below it: %v", err)
		}
		if _, err := look.Lstat("/c"); err != nil {
			t.Error(err)
		}
		if n, first := calls.Status(); n != 1 || first != "/a" {
			t.Errorf("%d hang, %s", n, first)
		}
		look.Close()
		root.Close()
		select {
		case <-g.closed:
			t.Error("the root was closed under a call")
		default:
		}
		close(g.gate)
		if path := <-answered; path != "/a" {
			t.Errorf("%s answered", path)
		}
		<-g.closed
		calls.Stop()
	})
}

// TestRootThatHangs does not keep others from what is open, and is asked again once it has answered.
func TestRootThatHangs(t *testing.T) {
	dir := makeTree(t)
	synctest.Test(t, func(t *testing.T) {
		calls := New(0, nil)
		g := &gated{tree.OS, "/", make(chan struct{}), make(chan struct{})}
		for range 2 {
			if _, err := System(g, calls).OpenRoot(dir); !errors.Is(err, ErrHangs) {
				t.Fatalf("error %v", err)
			}
		}
		close(g.gate)
		<-g.closed // the root that came too late
		synctest.Wait()
		g.closed = make(chan struct{})
		root, err := System(g, calls).OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		root.Close()
		calls.Stop()
	})
}

// TestHurry: once the agent ends, nobody waits for long.
func TestHurry(t *testing.T) {
	dir := makeTree(t)
	synctest.Test(t, func(t *testing.T) {
		calls := New(0, func(string) { t.Error("it is told after the end") })
		g := &gated{tree.OS, "/a", make(chan struct{}), make(chan struct{})}
		root, err := System(g, calls).OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, calls.Hurry)
		began := time.Now()
		look := root.Looker()
		if _, err := look.Lstat("/a"); !errors.Is(err, ErrHangs) || time.Since(began) != time.Second+Patience {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		look.Close()
		root.Close()
		calls.Stop()
		close(g.gate)
		<-g.closed
	})
}

// TestPanicIsTheCallers: the goroutine that made the call outlives it.
func TestPanicIsTheCallers(t *testing.T) {
	calls := New(0, nil)
	defer calls.Stop()
	defer func() {
		if recover() == nil {
			t.Error("the panic is lost")
		}
	}()
	_, _ = calls.do("look", "/a", nil, func() { panic("a fault") }, nil)
}
