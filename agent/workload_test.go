package agent_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/watch"
)

// workload changes a tree at random, as people, rsync and tar do. Operations may fail: others change the tree too.
type workload struct {
	root, outside string
	rng           *rand.Rand
	serial        int
	who           int
}

var oddNames = []string{"plain", "with space", "new\nline", "\xff\xfe bytes", "ünïcode", "-dash", "a'quote\"", "*star?", "tab\t", ".hidden", "x;y&z"}

// name is mostly one that was used before, so that operations meet.
func (w *workload) name() string {
	w.serial++
	if w.rng.IntN(5) == 0 {
		return fmt.Sprintf("%s-%d-%d", oddNames[w.rng.IntN(len(oddNames))], w.who, w.serial)
	}
	return fmt.Sprintf("%s%d", oddNames[w.rng.IntN(len(oddNames))], w.rng.IntN(3))
}

// dir is some directory that exists, at most a few levels deep.
func (w *workload) dir() string {
	d := w.root
	for range w.rng.IntN(5) {
		entries, err := os.ReadDir(d)
		if err != nil {
			return w.root
		}
		var dirs []string
		for _, e := range entries {
			if e.IsDir() {
				dirs = append(dirs, e.Name())
			}
		}
		if len(dirs) == 0 {
			break
		}
		d = filepath.Join(d, dirs[w.rng.IntN(len(dirs))])
	}
	return d
}

// some is some entry that exists, or a path that does not.
func (w *workload) some() string {
	d := w.dir()
	entries, err := os.ReadDir(d)
	if err != nil || len(entries) == 0 {
		return filepath.Join(d, w.name())
	}
	return filepath.Join(d, entries[w.rng.IntN(len(entries))].Name())
}

func (w *workload) file() string { return filepath.Join(w.dir(), w.name()) }

func (w *workload) step() {
	old := time.Unix(1_000_000_000+w.rng.Int64N(500_000_000), w.rng.Int64N(1e9))
	switch w.rng.IntN(20) {
	case 0, 1, 2, 3:
		_ = os.WriteFile(w.file(), make([]byte, w.rng.IntN(5000)), 0o644)
	case 4, 5:
		if f, err := os.OpenFile(w.some(), os.O_APPEND|os.O_WRONLY, 0); err == nil {
			_, _ = f.Write(make([]byte, 1+w.rng.IntN(100)))
			_ = f.Close()
		}
	case 6:
		_ = os.MkdirAll(filepath.Join(w.file(), w.name(), w.name(), w.name()), 0o755)
	case 7:
		d := filepath.Join(w.file(), w.name())
		_ = os.MkdirAll(d, 0o755)
		_ = os.WriteFile(filepath.Join(d, w.name()), []byte("in a new directory"), 0o644)
	case 8, 9:
		_ = os.Rename(w.some(), w.file())
	case 10:
		_ = os.Rename(w.dir(), w.file()) // directories with all they have
	case 11:
		if d := w.dir(); d != w.root && (w.rng.IntN(4) == 0 || filepath.Dir(d) != w.root) {
			_ = os.RemoveAll(d)
		}
	case 12:
		_ = os.Remove(w.some())
	case 13:
		_ = os.Symlink(w.name(), w.file())
	case 14: // rsync -a, tar: contents first, old times last, on directories too
		if d := w.some(); d != w.root {
			_ = os.Chtimes(d, old, old)
		}
	case 15:
		_ = os.Chmod(w.some(), os.FileMode(0o700|w.rng.IntN(0o100)))
	case 16: // a file becomes a directory, or the reverse
		p := w.some()
		if fi, err := os.Lstat(p); err == nil && fi.IsDir() {
			_ = os.RemoveAll(p)
			_ = os.WriteFile(p, []byte("was a directory"), 0o644)
		} else {
			_ = os.Remove(p)
			_ = os.MkdirAll(filepath.Join(p, "below"), 0o755)
		}
	case 17:
		p := w.file()
		for range 3 {
			_ = os.WriteFile(p, []byte("again"), 0o644)
			_ = os.Remove(p)
		}
		_ = os.WriteFile(p, []byte("and again"), 0o600)
	case 18:
		w.outAndIn()
	case 19: // written to while its directory moves
		d := w.dir()
		if d == w.root {
			return
		}
		if f, err := os.Create(filepath.Join(d, w.name())); err == nil {
			_, _ = f.WriteString("before")
			_ = os.Rename(d, w.file())
			_, _ = f.WriteString(" and after")
			_ = f.Close()
		}
	}
}

// outAndIn moves a directory out of the tree, changes it there, and moves it, or another of its name, back.
func (w *workload) outAndIn() {
	d := w.dir()
	if d == w.root {
		return
	}
	away := filepath.Join(w.outside, fmt.Sprintf("%d-%d", w.who, w.serial))
	if os.Rename(d, away) != nil {
		return
	}
	_ = os.WriteFile(filepath.Join(away, w.name()), []byte("made outside"), 0o644)
	switch w.rng.IntN(3) {
	case 0:
		_ = os.Rename(away, d)
	case 1:
		_ = os.Rename(away, w.file())
	case 2:
		_ = os.MkdirAll(filepath.Join(d, w.name()), 0o755)
	}
}

// runWorkload works with several hands at once.
func runWorkload(root, outside string, seed uint64, hands, steps int, pause bool) {
	var group sync.WaitGroup
	for h := range hands {
		group.Go(func() {
			w := workload{root: root, outside: outside, rng: rand.New(rand.NewPCG(seed, uint64(h))), who: h}
			for range steps {
				w.step()
				if pause && w.rng.IntN(200) == 0 {
					<-time.After(time.Duration(w.rng.IntN(30)) * time.Millisecond)
				}
			}
		})
	}
	group.Wait()
}

// twoDirs are a root and a place outside of it, on one file system.
func twoDirs(t testing.TB) (root, outside string) {
	base := t.TempDir()
	root, outside = filepath.Join(base, "root"), filepath.Join(base, "outside")
	mkdir(t, root)
	mkdir(t, outside)
	return root, outside
}

// needsMethod skips a test where this host does not permit the method.
func needsMethod(t *testing.T, r *running, method string) {
	t.Helper()
	if s := r.Status().Watch; s.Method != method {
		t.Skipf("needs %s: %s", method, s.Reason)
	}
}

func TestViewFollowsRandomWorkload(t *testing.T) {
	for _, method := range []string{"inotify", "fanotify"} {
		t.Run(method, func(t *testing.T) {
			if !watch.KnownMethod(method) {
				t.Skipf("needs %s", method)
			}
			followsRandomWorkload(t, method)
		})
	}
}

func followsRandomWorkload(t *testing.T, method string) {
	steps := 1500
	if testing.Short() {
		steps = 500
	}
	for _, c := range []struct {
		name  string
		hands int
		early bool // the workload begins before the agent
		pause bool
		audit time.Duration
	}{
		{name: "one hand", hands: 1, pause: true},
		{name: "three hands", hands: 3, pause: true},
		{name: "during the snapshot", hands: 2, early: true},
		{name: "during audits", hands: 2, early: true, audit: 500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root, outside := twoDirs(t)
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			s := newServer(t)
			runWorkload(root, outside, seed+1, 1, steps, false)
			var r *running
			options := func(o *agent.Options) { o.Watch, o.Tuning.AuditInterval = method, c.audit }
			if c.early {
				done := make(chan struct{})
				go func() {
					defer close(done)
					runWorkload(root, outside, seed, c.hands, steps, c.pause)
				}()
				r = start(t, s, root, options)
				<-done
			} else {
				r = start(t, s, root, options)
				r.snapshotted()
				needsMethod(t, r, method)
				runWorkload(root, outside, seed, c.hands, steps, c.pause)
			}
			r.snapshotted()
			needsMethod(t, r, method)
			r.settles(5 * time.Second)
			t.Logf("%d paths, %d rows present, %d segments, %d audits", len(onDisk(t, root, nil)), len(r.view.present()), len(r.rec.all()), r.view.count("audit-end"))
		})
	}
}
