//go:build unix

package unixsocket

import (
	"io/fs"
	"syscall"
)

// owner is the uid of a file's owner.
func owner(info fs.FileInfo) uint32 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Uid
	}
	return nobody
}
