//go:build unix && !linux

package tree

import (
	"io/fs"
	"syscall"
)

func fillSystem(info *Info, fi fs.FileInfo) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		info.Entry.UID, info.Entry.GID = st.Uid, st.Gid
		info.ID, info.Links = ID{Dev: uint64(st.Dev), Ino: uint64(st.Ino)}, uint64(st.Nlink)
	}
}
