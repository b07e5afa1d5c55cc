package tree

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestMountPoint(t *testing.T) {
	if got, err := OS.MountPoint("/proc/self"); err != nil || got != "/proc" {
		t.Errorf("/proc/self is on the file system at %q, %v", got, err)
	}
	if got, err := pathMountPoint("/proc/self"); err != nil || got != "/proc" {
		t.Errorf("by its device, /proc/self is on the file system at %q, %v", got, err)
	}
	if got, err := OS.MountPoint("/"); err != nil || got != "/" {
		t.Errorf("/ is on the file system at %q, %v", got, err)
	}
	if _, err := OS.MountPoint(filepath.Join(t.TempDir(), "missing")); !os.IsNotExist(err) {
		t.Errorf("of what is not there: %v", err)
	}
	disk, again := t.TempDir(), t.TempDir()
	below := filepath.Join(again, "a", "b")
	if err := os.MkdirAll(filepath.Join(disk, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(disk, again, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(again, syscall.MNT_DETACH) })
	if got, err := OS.MountPoint(below); err != nil || got != again {
		t.Errorf("a directory below one that is mounted once more is on the file system at %q, %v; want %q", got, err, again)
	}
}
