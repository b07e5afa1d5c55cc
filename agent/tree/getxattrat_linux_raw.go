//go:build linux && (amd64 || arm64)

package tree

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// xattrArgs is struct xattr_args of linux/xattr.h.
type xattrArgs struct {
	value       unsafe.Pointer
	size, flags uint32
}

var aclAttributeNUL = []byte(aclAttribute + "\x00")

// getACL reads the attribute into value, without following a symbolic link.
func getACL(dir int, name, value []byte) (int, error) {
	if noGetxattrat.Load() {
		return getACLByPath(dir, name, value)
	}
	for {
		args := xattrArgs{value: unsafe.Pointer(&value[0]), size: uint32(len(value))}
		n, _, errno := unix.Syscall6(unix.SYS_GETXATTRAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])),
			unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH, uintptr(unsafe.Pointer(&aclAttributeNUL[0])),
			uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		case unix.ENOSYS, unix.EPERM: // which is what a seccomp filter may say
			n, err := getACLByPath(dir, name, value)
			if err != unix.EPERM {
				noGetxattrat.Store(true)
			}
			return n, err
		case unix.EBADF: // a descriptor that is only a path
			return getACLByPath(dir, name, value)
		}
		return 0, errno
	}
}
