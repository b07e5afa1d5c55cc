package tree

import (
	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/internal/event"
)

// Written asks for a read lease, which the kernel refuses while a file is open for writing, and gives it back at once. It needs the
// right to read the file, and to be its owner or to have CAP_LEASE. On file systems that other hosts change too, a refusal has other
// reasons.
func (l *osLooker) Written(path string, id ID) (written, known bool) {
	parent, name := event.Split(path)
	if l.dir.fd < 0 || l.parent != parent || !l.local(id.Dev) { // the first two: nobody has looked at the file just now
		return false, false
	}
	var st unix.Statx_t
	if statAt(l.dir.fd, append([]byte(name), 0), &st) != nil || idOf(&st) != id || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, false // it is not opened before it is known to be a file: to open a device may do something
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(l.dir.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return false, false
	}
	defer unix.Close(fd)
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st) != nil || idOf(&st) != id {
		return false, false
	}
	switch _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err {
	case nil:
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK) // closing would do it as well
		return false, true
	case unix.EAGAIN:
		return true, true
	}
	return false, false
}

// local reports whether no other host changes the device that the looker's directory is on, which is asked once.
func (l *osLooker) local(dev uint64) bool {
	if known, ok := l.devices[dev]; ok {
		return known
	}
	var fs unix.Statfs_t
	known := unix.Fstatfs(l.dir.fd, &fs) == nil && !remoteTypes[int64(fs.Type)&0xFFFFFFFF]
	if l.devices == nil {
		l.devices = map[uint64]bool{}
	}
	l.devices[dev] = known
	return known
}
