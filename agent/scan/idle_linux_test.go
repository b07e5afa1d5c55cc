package scan

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/agent/tree"
)

// TestIdle: the threads that look have the lowest priorities, and no other has.
func TestIdle(t *testing.T) {
	priorities := func() (nice, io int) {
		nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // the kernel's 20 - nice
		must(t, err)
		class, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioWhoProcess, 0, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		return 20 - nice, int(class)
	}
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	before, _ := priorities()
	looks := 0
	look := func(_ string, _ string) {
		looks++
		if nice, io := priorities(); nice != lowest || io != ioprioIdle {
			t.Errorf("a look with nice %d and I/O priority %d", nice, io)
		}
	}
	root, err := tree.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	scanTree(t, dir, func(cfg *Config) {
		cfg.Root, cfg.Idle, cfg.Workers = &slowRoot{root, look}, true, 1
	})
	if after, _ := priorities(); looks < 4 || after != before {
		t.Errorf("%d looks; nice %d, then %d", looks, before, after)
	}
}
