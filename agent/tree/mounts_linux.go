package tree

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const mountinfo = "/proc/self/mountinfo"

// Mounts implements System.
func (osSystem) Mounts(root string) (Mounts, error) {
	body, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, err
	}
	lines, err := parseMountinfo(string(body), unix.Mkdev)
	if err != nil {
		return nil, err
	}
	return mountsBelow(lines, root), nil
}

// mountChanges counts the changes of this process's mounts, as far as somebody has asked.
var mountChanges struct {
	sync.Mutex
	fd    int // of mountinfo; 0: not open
	count uint64
}

// MountChanges implements System. The kernel says of an open mountinfo whether anything has changed since it was asked last: it costs
// one call, however many mounts there are.
func (osSystem) MountChanges() uint64 {
	m := &mountChanges
	m.Lock()
	defer m.Unlock()
	if m.fd == 0 {
		fd, err := retry(func() (int, error) { return unix.Open(mountinfo, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
		if err != nil {
			return m.count
		}
		m.fd = fd
		m.count++
	}
	poll := []unix.PollFd{{Fd: int32(m.fd), Events: unix.POLLPRI}}
	if n, err := retry(func() (int, error) { return unix.Poll(poll, 0) }); err == nil && n > 0 && poll[0].Revents&(unix.POLLPRI|unix.POLLERR) != 0 {
		m.count++
	}
	return m.count
}
