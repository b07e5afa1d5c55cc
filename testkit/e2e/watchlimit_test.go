//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fewWatches has a process run in a user namespace of its own, whose limit of watches is this.
func fewWatches(limit int) launch {
	return launch{
		by: fmt.Sprintf(`echo %d >/proc/sys/user/max_inotify_watches && exec "$@"`, limit),
		with: func(a *syscall.SysProcAttr) {
			a.Cloneflags |= syscall.CLONE_NEWUSER
			a.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			a.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
			if os.Getuid() == 0 { // owners look the same inside then
				a.UidMappings[0].Size, a.GidMappings[0].Size = 1<<32-1, 1<<32-1
			}
		},
	}
}

// TestHundredWatches has an agent that is granted a hundred watches on a tree of a thousand directories.
func TestHundredWatches(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/sys/user/max_inotify_watches"); err != nil {
		t.Skipf("needs a kernel that limits watches by user namespace: %v", err)
	}
	dir := inMemory(t)
	directories := shortOr(1_000, 20_000)
	sub := func(i int) string { return filepath.Join(dir, fmt.Sprintf("d%03d/e%02d", i/20, i%20)) }
	for i := range directories {
		if err := os.MkdirAll(sub(i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	o := begin(t, observation{dir: dir, audit: time.Second, under: fewWatches(100)})
	eventually(t, patience(10*time.Second), "the agent is ready", func() bool {
		if !o.agent.running() && !strings.Contains(o.agent.log.String(), "level=") {
			t.Skipf("needs user namespaces: %s", o.agent.log)
		}
		return strings.Contains(o.agent.log.String(), "agent is ready")
	})
	o.same(60 * time.Second)
	o.says(`more directories than watches.*hint="?[^"]*max_user_watches`, 0)
	o.reports("of directories without a watch", func(s map[string]any) bool {
		unwatched, _ := s["unwatched"].(float64)
		watches, _ := s["watches"].(float64)
		return unwatched > float64(directories)/2 && watches > 0 && watches <= 100
	})
	for round := range shortOr(2, 10) {
		for i := range directories / 10 {
			at := sub((i*10 + round) % directories)
			if err := os.WriteFile(filepath.Join(at, fmt.Sprint("f", round)), []byte(fmt.Sprint(i)), 0o644); err != nil {
				t.Fatal(err)
			}
			switch i % 5 {
			case 1:
				_ = os.RemoveAll(at)
			case 2:
				_ = os.MkdirAll(filepath.Join(at, "new/below"), 0o755)
			case 3:
				_ = os.Rename(at, at+"-moved")
				_ = os.MkdirAll(at, 0o755)
			}
		}
		o.same(60 * time.Second)
	}
	// What is written in place where nobody watches comes with the rolling share of the audits, so eight of them later.
	work(t, dir, 110, operationsOf(500), nil)
	o.same(60 * time.Second)
}
