package httpapi

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsent is how many bytes of a connection its peer has not taken; 0 where nobody knows.
func unsent(c *net.TCPConn) (bytes int) {
	raw, err := c.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { bytes, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	}
	return bytes
}
