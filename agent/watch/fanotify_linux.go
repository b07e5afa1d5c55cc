package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/agent/tree"
)

// fanotify has one mark on each file system instead of a watch on each directory. The kernel then reports changes anywhere on the
// file system, each by the file handle of the directory and the name in it. byKey says which directories are ours, and under
// which WatchID; notices of others are dropped. So a "watch" is an entry of a map, there may be any number of them,
// and Remove cannot fail.
//
// It asks for no open, access or read events. The kernel's queue is bounded, as inotify's is; what runs over is scanned again.
//
// Invariants: byKey and byID are each other's inverse. A file system in marks has its mark, as far as the kernel has not
// dropped it since lostMarks looked last. A WatchID is never given to a second directory, nor by another fanotify.
type fanotify struct {
	fd     int
	file   *os.File
	buffer [256 << 10]byte
	once   sync.Once
	ended  chan struct{}
	finish sync.Once
	// Only Read uses these.
	read   time.Time // when the kernel's queue was read last
	got    int       // bytes that it gave
	looked time.Time // when the marks were checked last

	mu    sync.Mutex
	marks map[unix.Fsid]uint64 // file systems with a mark, and the kernel's numbers for them
	byKey map[dirKey]WatchID
	byID  map[WatchID]dirKey
	last  WatchID
}

// dirKey identifies a directory, whatever its path, for as long as it exists: the file system's id and the directory's file
// handle, as name_to_handle_at(2) and the notices have them. It is comparable, so that it can be a key; size and the zero bytes
// after the handle keep handles of different lengths apart.
type dirKey struct {
	fsid   unix.Fsid
	kind   uint8 // of handle
	size   uint8
	handle [maxHandle]byte
}

// maxHandle is what the file systems in use need at most; btrfs has 20 bytes, ext4 8, XFS 12.
const maxHandle = 22

const (
	fanotifyMask = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO | unix.FAN_MODIFY |
		unix.FAN_CLOSE_WRITE | unix.FAN_ATTRIB | unix.FAN_ONDIR
	// marksEvery is how often the kernel is asked whether the marks are still there: an unmount takes them without a word.
	marksEvery = 2 * time.Second
	// gather is how long the kernel may put notices together between two reads. It merges those of one name, so a busy file
	// elsewhere on the file system costs one notice in that time and not one a write.
	gather = 20 * time.Millisecond
)

// fanotifies counts them, so that none has a number of another: one may take another's place (chooser).
var fanotifies atomic.Int32

// newFanotify fails where the host or the file system of root does not let a whole file system be watched.
func newFanotify(root string) (Notifier, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_DFID_NAME|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_LARGEFILE)
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, errors.New("fanotify needs CAP_SYS_ADMIN")
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return nil, errors.New("fanotify needs Linux 5.9")
	case errors.Is(err, unix.EMFILE):
		return nil, fmt.Errorf("fanotify: %w; raise the limit: sysctl fs.fanotify.max_user_groups=1024", err)
	case err != nil:
		return nil, fmt.Errorf("fanotify: %w", err)
	}
	n := &fanotify{
		fd: fd, file: os.NewFile(uintptr(fd), "fanotify"), ended: make(chan struct{}),
		last: WatchID(fanotifies.Add(1)) << 32, marks: map[unix.Fsid]uint64{}, byKey: map[dirKey]WatchID{}, byID: map[WatchID]dirKey{},
	}
	dir, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		defer unix.Close(dir)
		_, err = n.add(dir)
	}
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Method implements Notifier.
func (n *fanotify) Method() (method, reason string) { return "fanotify", "" }

// Add implements Notifier.
func (n *fanotify) Add(_ string, d tree.Dir, path string) (WatchID, error) {
	open, ok := d.(interface{ FD() int })
	if !ok {
		return NoWatch, fmt.Errorf("fanotify: %q is not a directory of this system", path)
	}
	id, err := n.add(open.FD())
	if err == nil && path == "/" {
		// Of the root, and of it alone, its own end is news: the directory above is not ours.
		_ = unix.FanotifyMark(n.fd, unix.FAN_MARK_ADD, unix.FAN_DELETE_SELF|unix.FAN_MOVE_SELF|unix.FAN_ONDIR, open.FD(), "")
	}
	return id, err
}

func (n *fanotify) add(dir int) (WatchID, error) {
	key, err := keyOf(dir)
	if err != nil {
		return NoWatch, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.mark(dir, key.fsid); err != nil {
		return NoWatch, err
	}
	id, ok := n.byKey[key]
	if !ok {
		n.last++
		id = n.last
		n.byKey[key], n.byID[id] = id, key
	}
	return id, nil
}

// keyOf identifies an open directory.
func keyOf(dir int) (dirKey, error) {
	var st unix.Statfs_t
	if _, err := retry(func() (int, error) { return 0, unix.Fstatfs(dir, &st) }); err != nil {
		return dirKey{}, fmt.Errorf("statfs: %w", err)
	}
	h, _, err := unix.NameToHandleAt(dir, "", unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return dirKey{}, fmt.Errorf("%w: fanotify: the file system has no file handles", ErrRefused)
	}
	if err != nil {
		return dirKey{}, fmt.Errorf("name_to_handle_at: %w", err)
	}
	key, ok := makeKey(st.Fsid, h.Type(), h.Bytes())
	if !ok {
		return dirKey{}, fmt.Errorf("%w: fanotify: the file system's file handles take %d bytes", ErrRefused, h.Size())
	}
	return key, nil
}

func makeKey(fsid unix.Fsid, kind int32, handle []byte) (k dirKey, ok bool) {
	if len(handle) > maxHandle || kind < 0 || kind > 255 {
		return dirKey{}, false
	}
	k.fsid, k.kind, k.size = fsid, uint8(kind), uint8(len(handle))
	copy(k.handle[:], handle)
	return k, true
}

// mark has the kernel tell of the file system that dir is on. The lock is held.
func (n *fanotify) mark(dir int, fsid unix.Fsid) error {
	if _, ok := n.marks[fsid]; ok {
		return nil
	}
	err := unix.FanotifyMark(n.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, fanotifyMask, dir, "")
	switch {
	case errors.Is(err, unix.EPERM):
		return errors.New("fanotify needs CAP_SYS_ADMIN to watch a whole file system")
	case errors.Is(err, unix.EXDEV):
		return fmt.Errorf("%w: fanotify does not take a subvolume", ErrRefused)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: fanotify: the file system has no id or no file handles", ErrRefused)
	case err != nil:
		return fmt.Errorf("fanotify_mark: %w", err)
	}
	n.marks[fsid] = n.newest()
	return nil
}

// newest is the kernel's number of the file system that was marked last, found as the one in /proc that marks does not have yet;
// 0 if there is none. The lock is held.
func (n *fanotify) newest() uint64 {
	known := map[uint64]bool{}
	for _, dev := range n.marks {
		known[dev] = true
	}
	devs, err := n.marked()
	for dev := range devs {
		if err == nil && !known[dev] {
			return dev
		}
	}
	return 0
}

// marked are the file systems that have a mark, by the kernel's numbers.
func (n *fanotify) marked() (map[uint64]bool, error) {
	body, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", n.fd))
	if err != nil {
		return nil, err
	}
	devs := map[uint64]bool{}
	for line := range strings.Lines(string(body)) {
		var dev uint64
		if _, err := fmt.Sscanf(line, "fanotify sdev:%x", &dev); err == nil {
			devs[dev] = true
		}
	}
	return devs, nil
}

// lostMarks forgets the marks that the kernel has dropped without a notice, as it does at an unmount, and returns what inotify
// would have said: each directory on that file system is gone, and its watch too. If another file system is mounted there by now,
// its directories are covered as ones that appeared.
func (n *fanotify) lostMarks() []Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.looked = time.Now()
	devs, err := n.marked()
	if err != nil {
		return nil
	}
	gone := map[unix.Fsid]bool{}
	for fsid, dev := range n.marks {
		if dev != 0 && !devs[dev] {
			gone[fsid] = true
			delete(n.marks, fsid)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	// Two notices for each directory; if they would not fit into the Watcher's queue, an overflow says the same.
	const few = leastQueue / 2
	var notices []Notice
	for key, id := range n.byKey {
		if !gone[key.fsid] {
			continue
		}
		delete(n.byKey, key)
		delete(n.byID, id)
		if len(notices) < few {
			notices = append(notices, Notice{Watch: id, Op: OpSelfGone}, Notice{Watch: id, Op: OpIgnored})
		}
	}
	if len(notices) >= few {
		notices = append(notices, Notice{Watch: NoWatch, Op: OpOverflow})
	}
	return notices
}

// Remove implements Notifier. It costs the kernel nothing.
func (n *fanotify) Remove(id WatchID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget(id)
}

// forget has the notices of a directory dropped. The lock is held.
func (n *fanotify) forget(id WatchID) {
	if key, ok := n.byID[id]; ok {
		delete(n.byKey, key)
		delete(n.byID, id)
	}
}

// Closes implements Notifier.
func (n *fanotify) Closes() bool { return true }

// Close implements Notifier.
func (n *fanotify) Close() { n.once.Do(func() { _ = n.file.Close() }) }

// Finish implements Notifier.
func (n *fanotify) Finish() {
	n.finish.Do(func() {
		close(n.ended)
		n.mu.Lock()
		defer n.mu.Unlock()
		_ = n.file.SetReadDeadline(time.Unix(1, 0))
	})
}

func (n *fanotify) finished() bool {
	select {
	case <-n.ended:
		return true
	default:
		return false
	}
}

// Read implements Notifier.
func (n *fanotify) Read() ([]Notice, error) {
	for {
		if notices := n.lostMarksIfDue(); len(notices) > 0 {
			return notices, nil
		}
		n.rest()
		got, err := n.fill()
		n.read, n.got = time.Now(), got
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && n.finished():
			if got, err = unix.Read(n.fd, n.buffer[:]); errors.Is(err, unix.EAGAIN) {
				return nil, ErrFinished
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read notices of the kernel: %w", err)
		}
		notices, err := n.parse(n.buffer[:got])
		if err != nil || len(notices) > 0 {
			return notices, err
		}
	}
}

func (n *fanotify) lostMarksIfDue() []Notice {
	if time.Since(n.looked) < marksEvery || n.finished() {
		return nil
	}
	return n.lostMarks()
}

// rest waits until gather has passed since the last read, so that the kernel can merge notices. After a read that filled half of
// the buffer it does not wait: the queue may run over.
func (n *fanotify) rest() {
	wait := gather - time.Since(n.read)
	if wait <= 0 || n.got > len(n.buffer)/2 { // there is much to do
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-n.ended:
	}
}

func (n *fanotify) fill() (int, error) {
	n.mu.Lock()
	if !n.finished() {
		_ = n.file.SetReadDeadline(time.Now().Add(marksEvery))
	}
	n.mu.Unlock()
	return n.file.Read(n.buffer[:])
}

// parse reads what one read from the kernel has brought: for each notice a struct fanotify_event_metadata,
//
//	0  length of the notice 4 | version 1 | reserved 1 | length of this struct 2
//	8  mask 8
//	16 fd 4 (none: -1) | pid 4
//
// and then records. The record of a directory and a name is a struct fanotify_event_info_fid with a struct file_handle:
//
//	0  type 1 | padding 1 | length of the record 2
//	4  file system id 8
//	12 handle's length 4 | handle's type 4
//	20 handle | name | NUL
//
// Lengths are checked before they are used. All numbers are in the host's byte order.
func (n *fanotify) parse(b []byte) ([]Notice, error) {
	var notices []Notice
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(b) >= unix.FAN_EVENT_METADATA_LEN {
		size := int(binary.NativeEndian.Uint32(b))
		head := int(binary.NativeEndian.Uint16(b[6:]))
		if size < head || head < unix.FAN_EVENT_METADATA_LEN || size > len(b) {
			return nil, errors.New("the kernel's notices cannot be decoded")
		}
		if b[4] != unix.FANOTIFY_METADATA_VERSION {
			return nil, fmt.Errorf("the kernel's notices have version %d", b[4])
		}
		mask := binary.NativeEndian.Uint64(b[8:])
		if fd := int32(binary.NativeEndian.Uint32(b[16:])); fd >= 0 { // none is asked for
			_ = unix.Close(int(fd))
		}
		if mask&unix.FAN_Q_OVERFLOW != 0 {
			notices = append(notices, Notice{Watch: NoWatch, Op: OpOverflow})
		} else if id, name, ok := n.record(b[head:size]); ok {
			notices = append(notices, Notice{Watch: id, Op: fanotifyOp(mask), Name: name})
			if mask&unix.FAN_DELETE_SELF != 0 { // the root: another directory may have its path and its number, and no handle of it is known
				n.forget(id)
				notices = append(notices, Notice{Watch: id, Op: OpIgnored})
			}
		}
		b = b[size:]
	}
	return notices, nil
}

// record finds the directory, if it is ours, and the name. The lock is held.
func (n *fanotify) record(b []byte) (WatchID, string, bool) {
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b[2:]))
		if size < 4 || size > len(b) {
			break
		}
		if kind := b[0]; (kind == unix.FAN_EVENT_INFO_TYPE_DFID_NAME || kind == unix.FAN_EVENT_INFO_TYPE_DFID) && size >= 20 {
			handle := int(binary.NativeEndian.Uint32(b[12:]))
			if handle > size-20 {
				break
			}
			fsid := unix.Fsid{Val: [2]int32{int32(binary.NativeEndian.Uint32(b[4:])), int32(binary.NativeEndian.Uint32(b[8:]))}}
			key, ok := makeKey(fsid, int32(binary.NativeEndian.Uint32(b[16:])), b[20:20+handle])
			if !ok {
				break
			}
			id, ok := n.byKey[key]
			if !ok {
				break // somebody else's
			}
			name, _, _ := bytes.Cut(b[20+handle:size], []byte{0})
			if string(name) == "." { // of the directory itself
				return id, "", true
			}
			return id, string(name), true
		}
		b = b[size:]
	}
	return NoWatch, "", false
}

func fanotifyOp(mask uint64) Op {
	var o Op
	for _, m := range [...]struct {
		bit uint64
		op  Op
	}{
		{unix.FAN_CREATE, OpCreate}, {unix.FAN_DELETE, OpDelete}, {unix.FAN_MOVED_FROM, OpMovedFrom}, {unix.FAN_MOVED_TO, OpMovedTo},
		{unix.FAN_MODIFY, OpModify}, {unix.FAN_CLOSE_WRITE, OpCloseWrite}, {unix.FAN_ATTRIB, OpAttrib},
		{unix.FAN_DELETE_SELF, OpSelfGone}, {unix.FAN_MOVE_SELF, OpSelfGone}, {unix.FAN_ONDIR, OpDirectory},
	} {
		if mask&m.bit != 0 {
			o |= m.op
		}
	}
	return o
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
