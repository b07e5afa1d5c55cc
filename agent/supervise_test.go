package agent_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

// failing is the operating system's files, with roots that cannot be opened for a while.
type failing struct {
	tree.System
	panics atomic.Int32 // so many times
}

func (f *failing) OpenRoot(path string) (tree.Root, error) {
	if f.panics.Add(-1) >= 0 {
		panic("a fault in the scan")
	}
	return f.System.OpenRoot(path)
}

// A scan that panics is started again and reported; heartbeats go on meanwhile, and the view comes to be right.
func TestScanThatPanics(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	f := &failing{System: tree.OS}
	r := start(t, s, root, func(o *agent.Options) {
		o.Tuning.System, o.Tuning.Backoff = f, 50*time.Millisecond
		o.Tuning.AuditInterval = 100 * time.Millisecond
	})
	r.snapshotted()
	f.panics.Store(3)
	eventually(t, 20*time.Second, "the failures are reported", func() bool {
		return r.Status().Tasks["scan"].Restarts >= 3
	})
	if got := r.Status().Tasks["scan"].Error; got != "panic: a fault in the scan" {
		t.Fatalf("it is reported as %q", got)
	}
	before := r.Status().Session
	if err := os.WriteFile(filepath.Join(root, "g"), []byte("y"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.settles(20 * time.Second)
	if after := r.Status().Session; after != before {
		t.Fatalf("the session %s was lost, %s came", before, after)
	}
}

// breaking is a notifier that fails, or panics, when it is read.
type breaking struct {
	watch.Notifier
	left *atomic.Int32
}

func (b breaking) Read() ([]watch.Notice, error) {
	if b.left.Add(-1) >= 0 {
		panic("a fault in the watch")
	}
	return b.Notifier.Read()
}

// A watch that panics begins anew, and what happened meanwhile is found.
func TestWatchThatPanics(t *testing.T) {
	root := t.TempDir()
	var left atomic.Int32
	left.Store(2)
	r := start(t, newServer(t), root, func(o *agent.Options) {
		o.Tuning.Backoff = 50 * time.Millisecond
		o.Tuning.Notifier = func(root string) (watch.Notifier, error) {
			return breaking{watch.NewNotifier(root, watch.Auto, 0, slog.New(slog.DiscardHandler)), &left}, nil
		}
	})
	eventually(t, 20*time.Second, "the watch has begun anew", func() bool { return r.Status().Tasks["watch"].Restarts == 2 })
	r.snapshotted()
	if err := os.WriteFile(filepath.Join(root, "g"), []byte("y"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.settles(20 * time.Second)
}

// A session that was ended behind the agent's back is created anew.
func TestSessionThatWasDeleted(t *testing.T) {
	root := t.TempDir()
	s := newServer(t)
	quickSessions(t, s) // it learns of it from a heartbeat
	r := start(t, s, root, nil)
	r.snapshotted()
	clock := store.NewClock(time.Now)
	ledger, err := session.NewLedger(clock.Watch(s.store), clock, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old := r.Status().Session
	if err := ledger.End(context.Background(), "test", old, session.Closed); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "g"), []byte("y"), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "another session leads", func() bool {
		st := r.Status()
		return st.Session != "" && st.Session != old && st.Leader && st.State == "watching"
	})
	r.settles(20 * time.Second)
}
