package access

import (
	"context"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/internal/permission"
)

// ListenSocket listens on a Unix socket that everybody on this host may connect to. The kernel says who a connection is of, at the time
// of its connect, and PeerContext notes it. A socket that an earlier process has left behind is replaced; anything else at the path, and
// a socket that somebody serves, is an error.
func ListenSocket(path string) (net.Listener, error) {
	if st, err := os.Lstat(path); err == nil {
		if st.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%s is there, and is no socket", path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("another process serves on %s", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// PeerContext is the ConnContext of an HTTP server on ListenSocket. If the kernel does not say who a connection is of, its requests need
// a key.
func PeerContext(ctx context.Context, c net.Conn) context.Context {
	for { // through what wraps the connection
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return ctx
	}
	var identity permission.Identity
	var failed error
	err = raw.Control(func(fd uintptr) { identity, failed = peerIdentity(int(fd)) })
	if err != nil || failed != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, Reader{Identity: identity, Name: nameOf(identity), Socket: true})
}

// peerIdentity asks for the credentials of who has connected.
func peerIdentity(fd int) (permission.Identity, error) {
	credentials, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return permission.Identity{}, err
	}
	groups, err := peerGroups(fd)
	if err != nil {
		return permission.Identity{}, err
	}
	return permission.NewIdentity(credentials.Uid, append(groups, credentials.Gid)...), nil
}

// peerGroups are the supplementary groups. The kernel has at most 65,536 of them.
func peerGroups(fd int) ([]uint32, error) {
	for n := uint32(64); ; {
		groups := make([]uint32, n)
		size := 4 * n
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno == unix.ERANGE && size/4 > n && size/4 <= 1<<16:
			n = size / 4
		default:
			return nil, errno
		}
	}
}
