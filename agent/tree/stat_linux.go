package tree

import (
	"math"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/internal/event"
)

// attributes are what a look asks for. One call answers all of it, the time of birth too.
const attributes = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// noStatx is set where the kernel (before 4.11), or its seccomp filter, has no statx(2).
var noStatx atomic.Bool

// statAt looks at a name in a directory. The name ends with a NUL and is not copied; without anything before that it stands for the
// directory itself. It never triggers an automount.
func statAt(dir int, name []byte, st *unix.Statx_t) error {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name[0] == 0 {
		flags |= unix.AT_EMPTY_PATH
	}
	for !noStatx.Load() {
		_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), uintptr(flags), attributes,
			uintptr(unsafe.Pointer(st)), 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		case unix.ENOSYS, unix.EPERM:
			err := statWithoutBirth(dir, string(name[:len(name)-1]), flags, st)
			if err == nil {
				noStatx.Store(true)
			}
			return err
		}
		return errno
	}
	return statWithoutBirth(dir, string(name[:len(name)-1]), flags, st)
}

// statWithoutBirth is statAt by fstatat(2).
func statWithoutBirth(dir int, name string, flags int, st *unix.Statx_t) error {
	var old unix.Stat_t
	if _, err := retry(func() (int, error) { return 0, unix.Fstatat(dir, name, &old, flags) }); err != nil {
		return err
	}
	*st = unix.Statx_t{
		Mask: unix.STATX_BASIC_STATS, Nlink: linksOf(uint64(old.Nlink)), Uid: old.Uid, Gid: old.Gid, Mode: uint16(old.Mode), Ino: old.Ino,
		Size: uint64(max(0, old.Size)), Blocks: uint64(max(0, old.Blocks)),
		Atime:     unix.StatxTimestamp{Sec: int64(old.Atim.Sec), Nsec: uint32(old.Atim.Nsec)},
		Mtime:     unix.StatxTimestamp{Sec: int64(old.Mtim.Sec), Nsec: uint32(old.Mtim.Nsec)},
		Ctime:     unix.StatxTimestamp{Sec: int64(old.Ctim.Sec), Nsec: uint32(old.Ctim.Nsec)},
		Dev_major: unix.Major(uint64(old.Dev)), Dev_minor: unix.Minor(uint64(old.Dev)),
	}
	return nil
}

// itself is the name of the directory itself.
var itself = []byte{0}

func fdInfo(fd int, acls *aclDevices) (info Info, err error) {
	var st unix.Statx_t
	if err := statAt(fd, itself, &st); err != nil {
		return info, err
	}
	info.set(&st)
	if info.Entry.Type == event.Directory {
		info.Entry.ACL = acls.readACL(fd, itself, info.ID.Dev)
	}
	return info, nil
}

// set is what st shows. An Info is large, and a scan makes one for each entry, so it is filled in where it is to be.
func (i *Info) set(st *unix.Statx_t) {
	const day = 24 * 60 * 60
	atime := st.Atime.Sec
	days := atime / day
	if atime%day < 0 {
		days--
	}
	e := &i.Entry
	e.Links, e.Allocated, e.CtimeNs = linksOf(uint64(st.Nlink)), allocatedOf(st.Blocks), nanoseconds(st.Ctime.Sec, int64(st.Ctime.Nsec))
	e.Mode, e.UID, e.GID = uint32(st.Mode)&0o7777, st.Uid, st.Gid
	e.AtimeDay = int32(min(max(days, math.MinInt32), math.MaxInt32))
	e.Size, e.MtimeNs = int64(min(st.Size, math.MaxInt64)), nanoseconds(st.Mtime.Sec, int64(st.Mtime.Nsec))
	if st.Mask&unix.STATX_BTIME != 0 {
		e.BirthS = min(max(st.Btime.Sec, -event.MaxBirthS), event.MaxBirthS)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Type = event.File
	case unix.S_IFDIR:
		e.Type = event.Directory
	case unix.S_IFLNK:
		e.Type = event.Symlink
	default:
		e.Type = event.Other
	}
	i.ID, i.Links = idOf(st), uint64(st.Nlink)
}

func idOf(st *unix.Statx_t) ID {
	id := ID{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		id.Birth = birthOf(st)
	}
	return id
}

// birthOf is when a directory was made, if that tells it from others; otherwise 0. On an overlay it is of the layer that the
// directory is in, which changes with the first write, and network file systems may tell it at one time and not at another.
func birthOf(st *unix.Statx_t) int64 {
	if st.Mask&unix.STATX_BTIME == 0 || LastingDevice(unix.Mkdev(st.Dev_major, st.Dev_minor)) == 0 {
		return 0
	}
	return nanoseconds(st.Btime.Sec, int64(st.Btime.Nsec))
}

// nanoseconds is a time in ns since 1970, the nearest that 64 bits hold: ext4 has times until 2446, NTFS until 30828.
func nanoseconds(sec, nsec int64) int64 {
	switch {
	case sec >= math.MaxInt64/1_000_000_000:
		return math.MaxInt64
	case sec <= math.MinInt64/1_000_000_000:
		return math.MinInt64 + 1 // an event has no ctime of -2^63
	}
	return sec*1e9 + nsec
}

// linksOf is st_nlink as an entry has it: never 0, which would mean that nothing is known.
func linksOf(n uint64) uint32 { return uint32(min(max(n, 1), math.MaxUint32)) }

// allocatedOf is what blocks of 512 bytes come to.
func allocatedOf(blocks uint64) int64 { return int64(min(blocks, math.MaxInt64/512)) * 512 }
