//go:build linux

package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestStateOnAFullDisk has the file system of the agent's state have no room from the start, get some, and fill up again, with
// restarts of every kind between: what the agent remembers is a help, and no condition.
func TestStateOnAFullDisk(t *testing.T) {
	t.Parallel()
	small := t.TempDir()
	if err := syscall.Mount("none", small, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
	ballast := filepath.Join(small, "ballast")
	fillUp := func() {
		t.Helper()
		f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, 4096)
		_, _ = rand.Read(b)
		for range 1000 {
			if _, err := f.Write(b); err != nil {
				return
			}
		}
		t.Fatal("the small file system does not fill up")
	}
	fillUp()
	dir := t.TempDir()
	fill(t, filepath.Join(dir, "first"), 140)
	o := observe(t, observation{dir: dir, state: filepath.Join(small, "state", "session.json")})
	o.says(`no space left on device`, 0)
	fill(t, filepath.Join(dir, "second"), 141)
	o.same(20 * time.Second)
	for i, again := range []func(){o.agent.Kill, o.agent.Stop} {
		again()
		fill(t, filepath.Join(dir, fmt.Sprint("down", i)), uint64(142+i))
		o.agent.Restart()
		o.same(30 * time.Second)
	}

	// There is room, so that it remembers, and then there is none.
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	o.agent.Kill()
	o.agent.Restart()
	eventually(t, patience(20*time.Second), "the session is remembered", func() bool {
		b, err := os.ReadFile(filepath.Join(small, "state", "session.json"))
		return err == nil && len(b) > 10
	})
	fillUp()
	fill(t, filepath.Join(dir, "third"), 145)
	o.same(20 * time.Second)
	o.agent.Kill()
	fill(t, filepath.Join(dir, "fourth"), 146)
	o.agent.Restart()
	o.same(30 * time.Second)
}
