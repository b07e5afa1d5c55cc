//go:build linux && (amd64 || arm64)

package tree

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// fstatat is newfstatat(2) without a copy of the name, which ends with a NUL. It never triggers an automount.
func fstatat(dir int, name []byte, st *unix.Stat_t) error {
	for {
		_, _, errno := unix.Syscall6(unix.SYS_NEWFSTATAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])),
			uintptr(unsafe.Pointer(st)), unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}
