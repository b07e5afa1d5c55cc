package agent_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/testkit/wait"
)

// deadMount is a file system that can be made to hang: bindfs, whose process is stopped.
type deadMount struct {
	t       *testing.T
	process *os.Process
	source  string
}

// mountBindfs mounts a directory of its own at dir.
func mountBindfs(t *testing.T, dir string) *deadMount {
	t.Helper()
	bindfs, err := exec.LookPath("bindfs")
	if err != nil {
		t.Skip("needs bindfs: it is not installed")
	}
	unmount, err := exec.LookPath("fusermount")
	if err != nil {
		t.Skip("needs bindfs: fusermount is not installed")
	}
	m := &deadMount{t: t, source: t.TempDir()}
	write(t, filepath.Join(m.source, "there"), "x")
	mkdir(t, filepath.Join(m.source, "sub"))
	write(t, filepath.Join(m.source, "sub/f"), "x")
	var said strings.Builder
	cmd := exec.Command(bindfs, "-f", "--no-allow-other", m.source, dir)
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Skipf("needs bindfs: %v", err)
	}
	m.process = cmd.Process
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		m.signal(syscall.SIGCONT)
		_ = exec.Command(unmount, "-u", "-z", dir).Run()
		<-ended
	})
	deadline := time.Now().Add(wait.Limit(10 * time.Second))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := os.Stat(filepath.Join(dir, "there")); err == nil {
			return m
		}
		select {
		case err := <-ended:
			ended <- err
			t.Skipf("needs bindfs: it cannot mount here: %v %s", err, said.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("bindfs does not come up")
		}
	}
	return m
}

func (m *deadMount) signal(s syscall.Signal) { _ = m.process.Signal(s) }

// TestDeadMount: while a mount in the tree hangs, the rest is scanned and reported, audits end, nothing of the mount is lost,
// and the agent says what hangs. Afterwards the view is whole. With the mount hanging again, the agent ends in time.
func TestDeadMount(t *testing.T) {
	root := t.TempDir()
	mkdir(t, filepath.Join(root, "mnt"))
	mkdir(t, filepath.Join(root, "zone/deep"))
	mount := mountBindfs(t, filepath.Join(root, "mnt"))
	s := newServer(t)
	r := start(t, s, root, func(o *agent.Options) {
		o.CrossFilesystems = true
		o.Tuning.HangAfter, o.Tuning.AuditInterval, o.Tuning.GracePeriod = 500*time.Millisecond, 300*time.Millisecond, 3*time.Second
		o.Tuning.SettleAfter = 2 * time.Second
	})
	stop := sync.OnceFunc(func() { mount.signal(syscall.SIGCONT) })
	defer stop()
	r.snapshotted()
	r.settles(20 * time.Second)

	mount.signal(syscall.SIGSTOP)
	eventually(t, 30*time.Second, "the hang is noticed", func() bool { return r.Status().Hanging > 0 })
	if path := r.Status().HangingPath; !strings.HasPrefix(path, "/mnt") {
		t.Errorf("%s hangs", path)
	}
	audits := r.view.count("audit-end")
	write(t, filepath.Join(root, "zone/deep/new"), "x")
	eventually(t, 30*time.Second, "what happens elsewhere is reported", func() bool {
		_, ok := r.view.present()["/zone/deep/new"]
		return ok
	})
	eventually(t, 30*time.Second, "audits end", func() bool { return r.view.count("audit-end") > audits+1 })
	have := r.view.present()
	for _, path := range []string{"/mnt", "/mnt/there", "/mnt/sub/f"} {
		if _, ok := have[path]; !ok {
			t.Errorf("%s was lost", path)
		}
	}
	if n := r.Status().Hanging; n == 0 || n > 4 {
		t.Errorf("%d calls hang", n)
	}
	write(t, filepath.Join(mount.source, "meanwhile"), "x")
	write(t, filepath.Join(mount.source, "sub/meanwhile"), "x")

	mount.signal(syscall.SIGCONT)
	eventually(t, 30*time.Second, "nothing hangs", func() bool { return r.Status().Hanging == 0 })
	r.settles(30 * time.Second)

	mount.signal(syscall.SIGSTOP)
	eventually(t, 30*time.Second, "it hangs again", func() bool { return r.Status().Hanging > 0 })
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > wait.Limit(6*time.Second) {
		t.Errorf("the agent took %v to end", took)
	}
}

// TestMountsAreNotEntered: what is mounted below the root is in the view as the directory that it is mounted on, and no more;
// also while it hangs.
func TestMountsAreNotEntered(t *testing.T) {
	root := t.TempDir()
	mkdir(t, filepath.Join(root, "mnt"))
	mkdir(t, filepath.Join(root, "zone"))
	mount := mountBindfs(t, filepath.Join(root, "mnt"))
	r := start(t, newServer(t), root, func(o *agent.Options) {
		o.Tuning.HangAfter, o.Tuning.AuditInterval = 500*time.Millisecond, 300*time.Millisecond
	})
	r.snapshotted()
	audits := func(n int) {
		t.Helper()
		since := r.view.count("audit-end")
		eventually(t, 30*time.Second, "audits", func() bool { return r.view.count("audit-end") >= since+n })
		for path := range r.view.present() {
			if strings.HasPrefix(path, "/mnt/") {
				t.Errorf("%s is in the view", path)
			}
		}
		if _, ok := r.view.present()["/mnt"]; !ok {
			t.Error("the directory itself is not in the view")
		}
	}
	audits(2)
	mount.signal(syscall.SIGSTOP)
	eventually(t, 30*time.Second, "the hang is noticed", func() bool { return r.Status().Hanging > 0 })
	audits(2)
	mount.signal(syscall.SIGCONT)
	eventually(t, 30*time.Second, "nothing hangs", func() bool { return r.Status().Hanging == 0 })
	audits(2)
}
