package agent_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
)

// inNamespace runs the test in a user namespace of its own, in which a limit of the kernel can be set without privileges,
// and reports whether this is the process in there; the one outside has nothing more to do.
func inNamespace(t *testing.T, limit string, value int) (inside bool) {
	t.Helper()
	const marker = "FUSTOR_TEST_NAMESPACE"
	if os.Getenv(marker) != "" {
		setLimit(t, limit, value)
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if cmd.Process == nil {
		t.Skipf("needs user namespaces: %v", err)
	}
	if err != nil {
		t.Errorf("in a namespace with %s = %d: %v\n%s", limit, value, err, out)
	}
	if text := string(out); strings.Contains(text, "--- SKIP") {
		t.Skip(text)
	}
	return false
}

func setLimit(t *testing.T, limit string, value int) {
	t.Helper()
	path := "/proc/sys/user/" + limit
	if err := os.WriteFile(path, []byte(fmt.Sprint(value)), 0); err != nil {
		t.Skipf("needs user namespaces: %v", err)
	}
}

// firstSeen is by which evidence paths were first told of.
type firstSeen struct {
	mu sync.Mutex
	of map[string]event.Evidence
}

func (f *firstSeen) note(ev *event.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	add := func(path string) {
		if _, ok := f.of[path]; !ok {
			f.of[path] = ev.Evidence
		}
	}
	switch ev.Kind {
	case event.Put:
		add(strings.Clone(ev.Path))
	case event.Listing:
		for _, e := range ev.Entries {
			add(event.Join(ev.Path, e.Name))
		}
	}
}

func (f *firstSeen) by(path string) (event.Evidence, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.of[path]
	return e, ok
}

// await waits until a path is told of, and returns by what.
func (f *firstSeen) await(t testing.TB, path string) event.Evidence {
	t.Helper()
	eventually(t, 30*time.Second, path+" is told of", func() bool { _, ok := f.by(path); return ok })
	got, _ := f.by(path)
	return got
}

// hears writes files until a notice is the first to tell of one. An audit that is on its way may tell of any of them before.
func (r *running) hears(seen *firstSeen, path string) {
	r.t.Helper()
	for n := range 10 {
		each := fmt.Sprint(path, " ", n)
		write(r.t, filepath.Join(r.root, each), "x")
		if seen.await(r.t, "/"+each) == event.Realtime {
			return
		}
	}
	r.t.Errorf("audits alone told of %s", path)
}

// TestHotSet: 300 directories and a limit of 100 watches.
func TestHotSet(t *testing.T) {
	if !inNamespace(t, "max_inotify_watches", 100) {
		return
	}
	root, outside := twoDirs(t)
	old := time.Now().Add(-1000 * time.Hour)
	for i := range 300 {
		dir := filepath.Join(root, fmt.Sprintf("p%d", i%10), fmt.Sprintf("d%03d", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if i >= 40 { // the others were made just now
			if err := os.Chtimes(dir, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen := &firstSeen{of: map[string]event.Evidence{}}
	r := start(t, newServer(t), root, func(o *agent.Options) {
		o.Watch, o.Tuning.AuditInterval, o.Tuning.SettleAfter = "inotify", 2*time.Second, time.Second
		o.Sender.(*recorder).view.onEvent = seen.note
	})
	r.snapshotted()
	s := r.Status().Watch
	if s.Coverage != watch.HotSet || s.Watches > 90 || s.Watches < 60 || s.Limit > 90 || s.Unwatched < 311-90 || s.Method != "inotify" {
		t.Fatalf("status %+v", s)
	}
	r.hears(seen, "p3/d003/hot")
	write(t, filepath.Join(root, "p9/d299/cold"), "x")
	if got := seen.await(t, "/p9/d299/cold"); got != event.Audit {
		t.Errorf("what is not watched was told of by %s", got)
	}
	r.hears(seen, "p9/d299/hot now")
	r.settles(30 * time.Second)
	runWorkload(root, outside, uint64(time.Now().UnixNano()), 2, 1000, true)
	for i := range 300 { // and in every directory, hot or cold, that is left
		_ = os.WriteFile(filepath.Join(root, fmt.Sprintf("p%d", i%10), fmt.Sprintf("d%03d", i), "last"), nil, 0o644)
	}
	r.settles(60 * time.Second)
	if s := r.Status().Watch; s.Watches > 92 || s.Coverage != watch.HotSet {
		t.Errorf("status at the end %+v", s)
	}
}

// TestAuditOnly: no watch is to be had, and later it is.
func TestAuditOnly(t *testing.T) {
	if !inNamespace(t, "max_inotify_instances", 0) {
		return
	}
	root, _ := twoDirs(t)
	if err := os.MkdirAll(filepath.Join(root, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	seen := &firstSeen{of: map[string]event.Evidence{}}
	r := start(t, newServer(t), root, func(o *agent.Options) {
		o.Tuning.AuditInterval, o.Tuning.WatchEvery = time.Second, 100*time.Millisecond
		o.Sender.(*recorder).view.onEvent = seen.note
	})
	r.snapshotted()
	if s := r.Status().Watch; s.Coverage != watch.AuditOnly || s.Method != watch.None || !strings.Contains(s.Reason, "max_user_instances") {
		t.Fatalf("status %+v", s)
	}
	if err := os.WriteFile(filepath.Join(root, "a/b/f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.settles(20 * time.Second)
	if got, _ := seen.by("/a/b/f"); got != event.Audit {
		t.Errorf("told of by %s", got)
	}
	setLimit(t, "max_inotify_instances", 10)
	eventually(t, 20*time.Second, "watching works", func() bool {
		s := r.Status().Watch
		return s.Coverage == watch.Realtime && s.Method == "inotify" && s.Watches == 3
	})
	r.hears(seen, "a/b/g")
	r.settles(20 * time.Second)
}

// TestWatchNone: audits only, as asked for.
func TestWatchNone(t *testing.T) {
	root, _ := twoDirs(t)
	r := start(t, newServer(t), root, func(o *agent.Options) { o.Watch, o.Tuning.AuditInterval = watch.None, 500*time.Millisecond })
	r.snapshotted()
	if s := r.Status().Watch; s.Coverage != watch.AuditOnly || s.Method != watch.None {
		t.Errorf("status %+v", s)
	}
	if err := os.MkdirAll(filepath.Join(root, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.settles(20 * time.Second)
}
