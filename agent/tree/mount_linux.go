package tree

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// MountPoint implements System. The kernel knows (Linux 5.8 and later), a directory of the same file system that is mounted
// once more included; before that, only another device tells.
func (osSystem) MountPoint(path string) (string, error) {
	for {
		var st unix.Statx_t
		if _, err := retry(func() (int, error) {
			return 0, unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &st)
		}); err != nil {
			return pathMountPoint(path)
		}
		if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 {
			return pathMountPoint(path)
		}
		above := filepath.Dir(path)
		if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 || above == path {
			return path, nil
		}
		path = above
	}
}
