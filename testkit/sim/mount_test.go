package sim

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
)

// twoHosts mount one server, each with a system that takes no time.
func twoHosts() (a, b *Mount, onA, onB *System) {
	s := NewServer(func() int64 { return time.Now().UnixNano() })
	random := rand.New(rand.NewPCG(1, 1))
	a, b = s.Mount(random), s.Mount(random)
	at := func(m *Mount) *System { return &System{Mount: m, Step: func(string, string) error { return nil }} }
	return a, b, at(a), at(b)
}

func lstat(t *testing.T, s *System, path string) (tree.Info, error) {
	t.Helper()
	root, err := s.OpenRoot(Root)
	if err != nil {
		t.Fatal(err)
	}
	return root.Looker().Lstat(path)
}

func TestAHostSeesItsOwnChangesAtOnceAndOthersLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, onA, onB := twoHosts()
		a.Staleness, b.Staleness = time.Minute, time.Minute
		if _, err := lstat(t, onB, "/f"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if _, err := a.Create("/f"); err != nil {
			t.Fatal(err)
		}
		if _, err := lstat(t, onA, "/f"); err != nil {
			t.Errorf("on its own host: %v", err)
		}
		if _, err := lstat(t, onB, "/f"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("on the other host, at once: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := lstat(t, onB, "/f"); err != nil {
			t.Errorf("on the other host, later: %v", err)
		}
	})
}

func TestNoticesAreOfTheHostAloneAndRunOver(t *testing.T) {
	a, b, onA, _ := twoHosts()
	n := a.Notifier(3, func() error { return nil })
	defer n.Close()
	root, err := onA.OpenRoot(Root)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := root.OpenDir("/")
	if err != nil {
		t.Fatal(err)
	}
	id, err := n.Add(Root, dir, "/")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(b.Mkdir("/other"), a.Mkdir("/own"), a.Rename("/own", "/moved"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := n.Read()
	want := []watch.Notice{
		{Watch: id, Op: watch.OpCreate | watch.OpDirectory, Name: "own"},
		{Watch: id, Op: watch.OpMovedFrom | watch.OpDirectory, Name: "own"},
		{Watch: id, Op: watch.OpMovedTo | watch.OpDirectory, Name: "moved"},
	}
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("notice %d is %+v, not %+v", i, got[i], want[i])
		}
	}
	for _, name := range []string{"/1", "/2", "/3", "/4", "/5"} {
		if err := a.Mkdir(name); err != nil {
			t.Fatal(err)
		}
	}
	got, err = n.Read()
	if err != nil || len(got) != 4 || got[3].Op != watch.OpOverflow {
		t.Errorf("%v, %v", got, err)
	}
}
