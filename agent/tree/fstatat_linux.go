//go:build linux && !amd64 && !arm64

package tree

import "golang.org/x/sys/unix"

// fstatat looks at a name that ends with a NUL. It never triggers an automount.
func fstatat(dir int, name []byte, st *unix.Stat_t) error {
	for {
		err := unix.Fstatat(dir, string(name[:len(name)-1]), st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
		if err != unix.EINTR {
			return err
		}
	}
}
