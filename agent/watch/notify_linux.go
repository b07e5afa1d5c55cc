package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/agent/tree"
)

// inotify is used without a library on top: only the bare interface tells which directory, rather than which path, a
// notice is of, and when a file that was written to is closed.
type inotify struct {
	fd     int
	file   *os.File
	buffer [256 << 10]byte
	once   sync.Once
}

const inotifyMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_MODIFY |
	unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

func newNotifier(string) (notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		if errors.Is(err, unix.EMFILE) {
			return nil, fmt.Errorf("start watching: %w; raise the limit: sysctl fs.inotify.max_user_instances=1024", err)
		}
		return nil, fmt.Errorf("start watching: %w", err)
	}
	return &inotify{fd: fd, file: os.NewFile(uintptr(fd), "inotify")}, nil
}

func (n *inotify) add(_ string, d *tree.Dir, _ string) (watchID, error) {
	// By descriptor: the path may lead elsewhere by now, and may be longer than PATH_MAX.
	wd, err := unix.InotifyAddWatch(n.fd, "/proc/self/fd/"+strconv.Itoa(d.FD()), inotifyMask)
	switch {
	case err == nil:
		return watchID(wd), nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.ENOMEM):
		return noWatch, fmt.Errorf("%w: %w", errLimit, err)
	}
	return noWatch, fmt.Errorf("inotify_add_watch: %w", err)
}

func (n *inotify) remove(id watchID) {
	_, _ = unix.InotifyRmWatch(n.fd, uint32(id)) // EINVAL: the kernel was faster
}

func (n *inotify) closes() bool { return true }

func (n *inotify) close() { n.once.Do(func() { _ = n.file.Close() }) }

func (n *inotify) finish() { _ = n.file.SetReadDeadline(time.Unix(1, 0)) }

func (n *inotify) read() ([]notice, error) {
	got, err := n.file.Read(n.buffer[:])
	if errors.Is(err, os.ErrDeadlineExceeded) { // there may be more, which the file does not give out any more
		if got, err = unix.Read(n.fd, n.buffer[:]); errors.Is(err, unix.EAGAIN) {
			return nil, errFinished
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read notices of the kernel: %w", err)
	}
	var notices []notice
	for b := n.buffer[:got]; len(b) >= unix.SizeofInotifyEvent; {
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if size > len(b) {
			break
		}
		name, _, _ := bytes.Cut(b[unix.SizeofInotifyEvent:size], []byte{0})
		notices = append(notices, notice{
			watch: watchID(int32(binary.NativeEndian.Uint32(b))),
			op:    opOf(binary.NativeEndian.Uint32(b[4:])),
			name:  string(name),
		})
		b = b[size:]
	}
	return notices, nil
}

func opOf(mask uint32) op {
	var o op
	for _, m := range [...]struct {
		bit uint32
		op  op
	}{
		{unix.IN_CREATE, opCreate}, {unix.IN_DELETE, opDelete}, {unix.IN_MOVED_FROM, opMovedFrom},
		{unix.IN_MOVED_TO, opMovedTo}, {unix.IN_MODIFY, opModify}, {unix.IN_CLOSE_WRITE, opCloseWrite},
		{unix.IN_ATTRIB, opAttrib}, {unix.IN_DELETE_SELF, opSelfGone}, {unix.IN_MOVE_SELF, opSelfGone},
		{unix.IN_UNMOUNT, opSelfGone}, {unix.IN_IGNORED, opIgnored}, {unix.IN_Q_OVERFLOW, opOverflow}, {unix.IN_ISDIR, opDirectory},
	} {
		if mask&m.bit != 0 {
			o |= m.op
		}
	}
	return o
}
