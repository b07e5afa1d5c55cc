//go:build unix

package tree

import (
	"io/fs"
	"path/filepath"
	"syscall"
)

// pathMountPoint is the highest directory above path, or path itself, up to which the device is the same.
func pathMountPoint(path string) (string, error) {
	dev, err := deviceOf(path)
	for err == nil {
		above := filepath.Dir(path)
		if above == path {
			break
		}
		var up uint64
		if up, err = deviceOf(above); err == nil && up != dev {
			break
		}
		path = above
	}
	return path, err
}

func deviceOf(path string) (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return 0, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return uint64(st.Dev), nil
}
