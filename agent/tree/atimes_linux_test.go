package tree

import (
	"syscall"
	"testing"
)

// TestAtimesOfAMount asks the kernel about mounts of this machine.
func TestAtimesOfAMount(t *testing.T) {
	for options, want := range map[uintptr]Atimes{
		0: RelAtime, syscall.MS_NOATIME: NoAtime, syscall.MS_STRICTATIME: StrictAtime, syscall.MS_RDONLY: NoAtime,
	} {
		dir := t.TempDir()
		if err := syscall.Mount("none", dir, "tmpfs", options, ""); err != nil {
			t.Skipf("needs the right to mount: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		root, err := OS.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := root.Atimes(); got != want {
			t.Errorf("options %#x: %s, want %s", options, got, want)
		}
		root.Close()
	}
}
