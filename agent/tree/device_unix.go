//go:build unix

package tree

import (
	"io/fs"
	"syscall"
)

// deviceOf is the device number of what os.Stat has looked at.
func deviceOf(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev)
	}
	return 0
}
