package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Listener accepts connections whose peers are known.
type Listener struct {
	*net.UnixListener
	path   string
	made   fs.FileInfo // the socket as it was made
	lock   *os.File    // held while the socket is this Listener's
	logger *slog.Logger
	close  sync.Once
}

// Listen makes a socket at path that may be connected to by whom mode allows to write, beginning with 0666 for everybody. The directory
// must exist. A socket that a server left behind is replaced; one that a server answers at is ErrInUse.
func Listen(ctx context.Context, path string, mode fs.FileMode, logger *slog.Logger) (l *Listener, err error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	if mode&^0o777 != 0 || mode&0o200 == 0 {
		return nil, fmt.Errorf("mode %04o: a socket's mode is from 0200 to 0777, and its owner may write", mode)
	}
	if err := checkAbove(path, uint32(os.Geteuid())); err != nil {
		return nil, err
	}
	lock, err := holdLock(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if err := makeFree(ctx, path); err != nil {
		return nil, err
	}
	// The socket appears at its path with its mode: until then, it has a name that nobody asks.
	fresh := path + ".new"
	if len(fresh) > maxPath {
		return nil, fmt.Errorf("the path of a server's socket has at most %d bytes, and %q has %d", maxPath-len(".new"), path, len(path))
	}
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	l = &Listener{UnixListener: listener, path: path, lock: lock, logger: logger}
	if err = os.Chmod(fresh, mode); err == nil {
		if l.made, err = os.Lstat(fresh); err == nil {
			err = os.Rename(fresh, path)
		}
	}
	if err != nil {
		listener.Close()
		_ = os.Remove(fresh)
		return nil, err
	}
	return l, nil
}

// holdLock keeps a second server from the path. The kernel lets go of the lock when the process ends, however it ends.
func holdLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, err
	}
	return f, nil
}

// makeFree refuses a path that is taken by something else than a socket that nobody answers at. Listen replaces that one.
func makeFree(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("there is something else at %s, which is not replaced", path)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		c.Close()
		return ErrInUse
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	return fmt.Errorf("%w: %v", ErrInUse, err)
}

// Addr is the path of the socket.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Accept implements net.Listener: its connections are *Conn. Those whose peer is not known for certain are closed.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		peer, err := peerOf(c)
		if err == nil {
			return &Conn{c, peer}, nil
		}
		l.logger.Warn("a connection is refused: the kernel does not say for certain who connects", "socket", l.path, "error", err)
		c.Close()
	}
}

// Close implements net.Listener. It removes the socket, unless that is no longer this Listener's.
func (l *Listener) Close() error {
	err := l.UnixListener.Close()
	l.close.Do(func() {
		if now, gone := os.Lstat(l.path); gone == nil && os.SameFile(now, l.made) {
			_ = os.Remove(l.path)
		}
		l.lock.Close()
	})
	return err
}

// overflow is the id that the kernel gives for one that the server's user namespace does not have.
const overflow = 65534

var errUnmapped = errors.New("the user namespace of this server does not have all ids of that user")

func peerOf(c *net.UnixConn) (p Peer, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return p, err
	}
	var asked error
	if err := raw.Control(func(fd uintptr) { p, asked = credentials(int(fd)) }); err != nil {
		return p, err
	}
	if asked != nil {
		return p, asked
	}
	if !wholeNamespace() {
		for _, id := range append([]uint32{p.UID, p.GID}, p.Groups...) {
			if id == overflow {
				return p, errUnmapped
			}
		}
	}
	return p, nil
}

func credentials(fd int) (Peer, error) {
	who, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("SO_PEERCRED: %w", err)
	}
	groups, err := peerGroups(fd)
	if err != nil {
		return Peer{}, fmt.Errorf("SO_PEERGROUPS (Linux 4.13 and later): %w", err)
	}
	return Peer{UID: who.Uid, GID: who.Gid, Groups: groups}, nil
}

// maxGroups is NGROUPS_MAX of Linux.
const maxGroups = 65536

func peerGroups(fd int) ([]uint32, error) {
	for n := 64; n <= 2*maxGroups; n *= 8 {
		groups := make([]uint32, n)
		size := uint32(4 * n)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			return groups[:size/4], nil
		case unix.ERANGE: // it needs more room
		default:
			return nil, errno
		}
	}
	return nil, unix.ERANGE
}

// wholeNamespace reports whether this process's user namespace has all ids, so that 65534 is a user like others.
var wholeNamespace = sync.OnceValue(func() bool {
	for _, file := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		body, err := os.ReadFile(file)
		if err != nil || strings.Join(strings.Fields(string(body)), " ") != "0 0 4294967295" {
			return false
		}
	}
	return true
})
