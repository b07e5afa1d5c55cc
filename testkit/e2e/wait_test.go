//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/internal/viewconfig"
)

const (
	waitHot   = 2 * time.Second
	waitQuiet = 2 * time.Second
	waitPause = 3 * waitHot // longer than a file is hot, and than the quiet time
)

// waitParts is a system whose view is as this test needs it, with an agent on dir.
func waitParts(t *testing.T, dir string, change func(*viewconfig.Config)) *parts {
	t.Helper()
	url := fileStore(t)
	c := viewconfig.Default(viewID)
	c.SessionTimeoutSeconds, c.HotSeconds, c.SentinelIntervalSeconds = 6, waitHot.Seconds(), 1
	if change != nil {
		change(&c)
	}
	if err := viewconfig.Save(t.Context(), openStore(t, url), c); err != nil {
		t.Fatal(err)
	}
	p := startParts(t, url)
	agent := p.startAgent(dir, "A", "")
	p.awaitRole("A", "leader", 1, patience(20*time.Second))
	agent.says(covered, 0)
	eventually(t, patience(20*time.Second), "the first scan is in the view", func() bool {
		return command(t, p.env, append([]string{"stat", "/"}, p.server...)...).code == 0
	})
	return p
}

// wait runs fustor wait.
func (p *parts) wait(path string, args ...string) result {
	p.t.Helper()
	return command(p.t, p.env, append(append([]string{"wait", path, "--quiet", waitQuiet.String()}, args...), p.server...)...)
}

// waitWriters are programs that write below a directory, until they have closed everything.
var waitWriters = []struct {
	name  string
	rests time.Duration // how long before its end it changes something for the last time, at most
	write func(t *testing.T, dir string) error
}{
	{"cp", waitQuiet / 4, func(t *testing.T, dir string) error {
		for i := range 3 {
			if out, err := exec.Command("cp", "-rp", "../../internal/values", fmt.Sprint(dir, "/copy", i)).CombinedOutput(); err != nil {
				return fmt.Errorf("cp: %w: %s", err, out)
			}
			awaitPause(waitQuiet / 4)
		}
		return nil
	}},
	{"rsync", 0, func(t *testing.T, dir string) error {
		out, err := exec.Command("rsync", "-a", "--bwlimit=60", "../../internal/", dir).CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Skip("there is no rsync")
		}
		if err != nil {
			return fmt.Errorf("rsync: %w: %s", err, out)
		}
		return nil
	}},
	{"pauses with its file open", waitPause, func(_ *testing.T, dir string) error {
		f, err := os.Create(filepath.Join(dir, "slow"))
		if err != nil {
			return err
		}
		for range 2 {
			if _, err := f.WriteString("some"); err != nil {
				return err
			}
			awaitPause(waitPause)
		}
		return f.Close()
	}},
	{"maps its file", waitPause, func(_ *testing.T, dir string) error {
		f, err := os.Create(filepath.Join(dir, "mapped"))
		if err == nil {
			err = f.Truncate(1 << 20)
		}
		if err != nil {
			return err
		}
		mapped, err := unix.Mmap(int(f.Fd()), 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		for i := range 2 {
			mapped[i<<16] = 1
			awaitPause(waitPause)
		}
		return unix.Munmap(mapped)
	}},
	{"is killed", 300 * time.Millisecond, func(_ *testing.T, dir string) error {
		cmd := exec.Command("sh", "-c", `exec >"$0/log"; while :; do echo x; sleep 0.3; done`, dir)
		if err := cmd.Start(); err != nil {
			return err
		}
		awaitPause(waitPause)
		err := cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}},
}

// TestWaitForWriters has real programs write, and fustor wait say when they have finished: never before, and soon after.
func TestWaitForWriters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range waitWriters {
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprint(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := waitParts(t, dir, nil)
	var all sync.WaitGroup
	for i, w := range waitWriters {
		all.Go(func() {
			t.Run(w.name, func(t *testing.T) {
				p := &parts{t: t, env: p.env, server: p.server}
				ended := make(chan time.Time, 1)
				go func() {
					answer := p.wait(fmt.Sprint("/", i), "--min-files", "1")
					if answer.code != 0 || !strings.Contains(answer.stdout, "is complete") {
						t.Errorf("exit code %d: %s%s", answer.code, answer.stdout, answer.stderr)
					}
					ended <- time.Now()
				}()
				err := w.write(t, filepath.Join(dir, fmt.Sprint(i)))
				last := time.Now()
				if err != nil {
					t.Error(err)
				}
				switch after := (<-ended).Sub(last); {
				case after < 0:
					t.Errorf("complete %v before the last file was closed", -after)
				case after+w.rests < waitQuiet:
					t.Errorf("complete %v after the end, though something changed at most %v before it, and the quiet time is %v", after, w.rests, waitQuiet)
				default:
					t.Logf("complete %v after the last write; the quiet time is %v", after.Round(100*time.Millisecond), waitQuiet)
				}
			})
		})
	}
	all.Wait()
}

// TestWaitForList: what a list expects must be there, in this size; a path that does not exist is waited for.
func TestWaitForList(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := waitParts(t, dir, nil)
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte("5 a\n7 sub/b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := p.wait("/run", "--timeout", "0s"); r.code != 6 || !strings.Contains(r.stderr, "no such path") {
		t.Errorf("of what is not there: exit code %d, %s", r.code, r.stderr)
	}
	ended := make(chan result, 1)
	go func() { ended <- p.wait("/run", "--expect", list) }()
	for _, f := range [][2]string{{"a", "12345"}, {"sub/b", "123"}} {
		file := filepath.Join(dir, "run", f[0])
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(f[1]), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, patience(30*time.Second), "all but the list is complete", func() bool { return p.wait("/run", "--timeout", "0s").code == 0 })
	if r := p.wait("/run", "--expect", list, "--timeout", "0s"); r.code != 6 || !strings.Contains(r.stderr, `1 has another size, the first is "sub/b" with 3 bytes instead of 7`) {
		t.Errorf("of a file of another size: exit code %d, %s", r.code, r.stderr)
	}
	select {
	case r := <-ended:
		t.Fatalf("complete without what the list expects: %+v", r)
	default:
	}
	if err := os.WriteFile(filepath.Join(dir, "run/sub/b"), []byte("1234567"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := <-ended; r.code != 0 || !strings.Contains(r.stdout, "all 2 files of the list are there, with their sizes") {
		t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
}

// TestWaitForHostWithoutAgent: of a tree that other hosts may change, nothing is complete before a scan has seen it unchanged.
func TestWaitForHostWithoutAgent(t *testing.T) {
	if _, err := exec.LookPath("bindfs"); err != nil {
		t.Skip("no bindfs: install it to test several hosts on one file server")
	}
	disk := t.TempDir()
	if err := os.Mkdir(filepath.Join(disk, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	watched, blind := mount(t, disk, "A"), mount(t, disk, "C")
	p := waitParts(t, watched.dir, func(c *viewconfig.Config) { c.StalenessSeconds = hostsStaleness.Seconds() })
	f, err := os.Create(filepath.Join(blind.dir, "run", "growing"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan result, 1)
	go func() { ended <- p.wait("/run", "--min-files", "1", "--scan") }()
	for range 10 {
		if _, err := f.WriteString("more"); err != nil {
			t.Fatal(err)
		}
		awaitPause(waitQuiet / 2)
		select {
		case r := <-ended:
			t.Fatalf("complete while a host without an agent writes: %+v", r)
		default:
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	last := time.Now()
	if r := p.wait("/run", "--min-files", "1", "--timeout", "0s"); r.code == 0 {
		t.Errorf("complete at once: %s", r.stdout)
	}
	r := <-ended
	if r.code != 0 || !strings.Contains(r.stdout, "1 file,") || !strings.Contains(r.stdout, "40 B") {
		t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	t.Logf("complete %v after the last write, by scans that were requested\n%s", time.Since(last).Round(100*time.Millisecond), r.stdout)
	// Without a scan, it says until when it cannot be known.
	if err := os.WriteFile(filepath.Join(watched.dir, "run", "another"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience(30*time.Second), "it is said that only a scan can tell", func() bool {
		r := p.wait("/run", "--timeout", "0s")
		return r.code == 7 && strings.Contains(r.stderr, "cannot be known before the next audit, due at")
	})
}
