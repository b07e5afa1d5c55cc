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

// platform is what Linux has, the best first.
var platform = []candidate{{"fanotify", newFanotify}, {"inotify", newInotify}}

func newInotify(string) (Notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		if errors.Is(err, unix.EMFILE) {
			return nil, fmt.Errorf("inotify: %w; raise the limit: sysctl fs.inotify.max_user_instances=1024", err)
		}
		return nil, fmt.Errorf("inotify: %w", err)
	}
	return &inotify{fd: fd, file: os.NewFile(uintptr(fd), "inotify")}, nil
}

func (n *inotify) Add(_ string, d tree.Dir, path string) (WatchID, error) {
	open, ok := d.(interface{ FD() int })
	if !ok {
		return NoWatch, fmt.Errorf("inotify_add_watch: %q is not a directory of this system", path)
	}
	// By descriptor: the path may lead elsewhere by now, and may be longer than PATH_MAX.
	wd, err := unix.InotifyAddWatch(n.fd, "/proc/self/fd/"+strconv.Itoa(open.FD()), inotifyMask)
	switch {
	case err == nil:
		return WatchID(wd), nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.ENOMEM):
		return NoWatch, fmt.Errorf("%w: %w", ErrLimit, err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		return NoWatch, fmt.Errorf("%w: inotify: %w", ErrRefused, err)
	}
	return NoWatch, fmt.Errorf("inotify_add_watch: %w", err)
}

func (n *inotify) Remove(id WatchID) {
	_, _ = unix.InotifyRmWatch(n.fd, uint32(id)) // EINVAL: the kernel was faster
}

func (n *inotify) Closes() bool { return true }

// Method implements Notifier.
func (n *inotify) Method() (method, reason string) { return "inotify", "" }

func (n *inotify) Close() {
	n.once.Do(func() {
		n.leave()
		_ = n.file.Close()
	})
}

func (n *inotify) Finish() { _ = n.file.SetReadDeadline(time.Unix(1, 0)) }

func (n *inotify) Read() ([]Notice, error) {
	got, err := n.file.Read(n.buffer[:])
	if errors.Is(err, os.ErrDeadlineExceeded) { // there may be more, which the file does not give out any more
		if got, err = unix.Read(n.fd, n.buffer[:]); errors.Is(err, unix.EAGAIN) {
			return nil, ErrFinished
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read notices of the kernel: %w", err)
	}
	var notices []Notice
	for b := n.buffer[:got]; len(b) >= unix.SizeofInotifyEvent; {
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if size > len(b) {
			break
		}
		name, _, _ := bytes.Cut(b[unix.SizeofInotifyEvent:size], []byte{0})
		notices = append(notices, Notice{
			Watch: WatchID(int32(binary.NativeEndian.Uint32(b))),
			Op:    opOf(binary.NativeEndian.Uint32(b[4:])),
			Name:  string(name),
		})
		b = b[size:]
	}
	return notices, nil
}

func opOf(mask uint32) Op {
	var o Op
	for _, m := range [...]struct {
		bit uint32
		op  Op
	}{
		{unix.IN_CREATE, OpCreate}, {unix.IN_DELETE, OpDelete}, {unix.IN_MOVED_FROM, OpMovedFrom},
		{unix.IN_MOVED_TO, OpMovedTo}, {unix.IN_MODIFY, OpModify}, {unix.IN_CLOSE_WRITE, OpCloseWrite},
		{unix.IN_ATTRIB, OpAttrib}, {unix.IN_DELETE_SELF, OpSelfGone}, {unix.IN_MOVE_SELF, OpSelfGone},
		{unix.IN_UNMOUNT, OpSelfGone}, {unix.IN_IGNORED, OpIgnored}, {unix.IN_Q_OVERFLOW, OpOverflow}, {unix.IN_ISDIR, OpDirectory},
	} {
		if mask&m.bit != 0 {
			o |= m.op
		}
	}
	return o
}
