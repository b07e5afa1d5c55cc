package tree

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/internal/event"
)

// osRoot is a Root by its descriptor.
type osRoot struct {
	fd   int
	info Info
	acls *aclDevices
}

// OpenRoot opens the directory with the absolute path.
func OpenRoot(path string) (Root, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	r := &osRoot{fd: fd, acls: &aclDevices{}}
	if r.info, err = fdInfo(fd, r.acls); err != nil {
		_ = unix.Close(fd)
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return r, nil
}

func (r *osRoot) Info() Info { return r.info }

func (r *osRoot) Close() { _ = unix.Close(r.fd) }

// osDir is a Dir by its descriptor.
type osDir struct {
	fd   int
	path string
	dev  uint64 // of the view's root
	acls *aclDevices
	own  atomic.Pointer[event.ACL] // the directory's, once it was read
	on   atomic.Uint64             // the device that it is on; 0: nobody has asked
}

func (r *osRoot) OpenDir(path string) (Dir, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK
	fd, err := r.open(relative(path), flags|unix.O_NOATIME)
	if err == unix.EPERM { // only an owner may leave the access time alone
		fd, err = r.open(relative(path), flags)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &osDir{fd: fd, path: path, dev: r.info.ID.Dev, acls: r.acls}, nil
}

// FD is the descriptor, for those who ask the kernel to watch the directory.
func (d *osDir) FD() int { return d.fd }

func (d *osDir) Close() { _ = unix.Close(d.fd) }

func (d *osDir) Info() (info Info, err error) {
	var st unix.Statx_t
	if err := statAt(d.fd, itself, &st); err != nil {
		return info, &fs.PathError{Op: "stat", Path: d.path, Err: err}
	}
	info.set(&st)
	d.on.Store(info.ID.Dev)
	return info, nil
}

func (d *osDir) ACL() (event.ACL, error) {
	dev := d.on.Load()
	if dev == 0 { // nobody has asked which file system it is on
		info, err := d.Info()
		if err != nil {
			return "", err
		}
		dev = info.ID.Dev
	}
	return d.readOwnACL(dev), nil
}

func (d *osDir) readOwnACL(dev uint64) event.ACL {
	acl := d.acls.readACL(d.fd, itself, dev)
	if acl == event.NoACL {
		d.own.Store(&noACL)
	} else {
		d.own.Store(&acl)
	}
	return acl
}

var noACL = event.NoACL

func (d *osDir) Read(n *Names) error {
	buffer := direntBuffers.Get().(*[direntBytes]byte)
	defer direntBuffers.Put(buffer)
	for {
		got, err := retry(func() (int, error) { return unix.Getdents(d.fd, buffer[:]) })
		if err == unix.ENOENT { // removed while it was open
			break
		}
		if err != nil {
			return &fs.PathError{Op: "read", Path: d.path, Err: err}
		}
		if got <= 0 {
			break
		}
		n.addDirents(buffer[:got])
	}
	n.Sort()
	return nil
}

// addDirents takes in a buffer of struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name.
func (n *Names) addDirents(b []byte) {
	for len(b) >= 19 {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size < 19 || size > len(b) {
			return
		}
		name := b[19:size]
		for i, c := range name {
			if c == 0 {
				name = name[:i]
				break
			}
		}
		if string(name) != "." && string(name) != ".." && len(name) > 0 {
			n.Add(name, direntHint(b[18]), binary.NativeEndian.Uint64(b))
		}
		b = b[size:]
	}
}

func direntHint(t byte) DirHint {
	switch t {
	case unix.DT_DIR:
		return IsDirectory
	case unix.DT_UNKNOWN:
		return UnknownType
	}
	return IsNoDirectory
}

func (d *osDir) Lstat(n *Names, i int) (info Info, err error) {
	var st unix.Statx_t
	r := n.refs[i]
	name := n.text[r.start : r.start+uint32(r.size)+1]
	if err := statAt(d.fd, name, &st); err != nil {
		return info, &fs.PathError{Op: "lstat", Path: event.Join(d.path, n.At(i)), Err: err}
	}
	err = d.complete(&info, name, &st)
	return info, err
}

// complete sets info to what st shows of a name, which ends with a NUL, and to what else there is to be seen of it.
func (d *osDir) complete(info *Info, name []byte, st *unix.Statx_t) error {
	info.set(st)
	if info.Links > 1 && info.Entry.Type != event.Directory {
		info.Entry.ID = identityOf(info.ID, d.dev)
	}
	switch info.Entry.Type {
	case event.Symlink:
		text := string(name[:len(name)-1])
		target, err := readlink(d.fd, text)
		if err != nil {
			return &fs.PathError{Op: "readlink", Path: event.Join(d.path, text), Err: err}
		}
		info.Entry.Target = target
	case event.Directory:
		info.Entry.ACL = d.acls.readACL(d.fd, name, info.ID.Dev)
	case event.File:
		if d.ownACL(info.ID.Dev).Exists() {
			info.Entry.ACL = d.acls.readACL(d.fd, name, info.ID.Dev)
		}
	}
	return nil
}

// ownACL is the directory's own ACL.
func (d *osDir) ownACL(dev uint64) event.ACL {
	if own := d.own.Load(); own != nil {
		return *own
	}
	return d.readOwnACL(dev)
}

// osLooker is a Looker that keeps the last parent directory open.
type osLooker struct {
	root   *osRoot
	parent string
	dir    osDir

	devices map[uint64]bool // which are local
}

func (r *osRoot) Looker() Looker { return &osLooker{root: r, dir: osDir{fd: -1}} }

func (l *osLooker) Close() {
	if l.dir.fd >= 0 {
		l.dir.Close()
		l.dir.fd = -1
	}
}

func (l *osLooker) Forget() { l.Close() }

func (l *osLooker) Lstat(path string) (Info, error) {
	if path == "/" {
		info, err := fdInfo(l.root.fd, l.root.acls)
		if err != nil {
			return Info{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
		}
		return info, nil
	}
	var st unix.Statx_t
	name, err := l.stat(path, &st)
	if err != nil {
		return Info{}, err
	}
	var info Info
	err = l.dir.complete(&info, name, &st)
	return info, err
}

func (l *osLooker) Identify(path string) (ID, error) {
	var st unix.Statx_t
	if path == "/" {
		if err := statAt(l.root.fd, itself, &st); err != nil {
			return ID{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
		}
	} else if _, err := l.stat(path, &st); err != nil {
		return ID{}, err
	}
	return idOf(&st), nil
}

// stat looks at a path below the root. It answers the last name of path, with a NUL.
func (l *osLooker) stat(path string, st *unix.Statx_t) (name []byte, err error) {
	parent, last := event.Split(path)
	if l.dir.fd < 0 || l.parent != parent {
		l.Close()
		fd, err := l.root.open(relative(strings.TrimSuffix(parent, "/")), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: parent, Err: err}
		}
		l.parent, l.dir = parent, osDir{fd: fd, path: strings.TrimSuffix(parent, "/"), dev: l.root.info.ID.Dev, acls: l.root.acls}
	}
	name = append([]byte(last), 0)
	if err := statAt(l.dir.fd, name, st); err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return name, nil
}

// pathStep is how many bytes of a path go to the kernel at once; PATH_MAX is 4096.
const pathStep = 4000

// open opens a path below the root without following any symbolic link.
func (r *osRoot) open(rel string, flags int) (int, error) {
	dir, owned := r.fd, false
	for {
		part, rest := rel, ""
		if len(rel) > pathStep {
			cut := strings.LastIndexByte(rel[:pathStep], '/')
			part, rest = rel[:cut], rel[cut+1:]
		}
		how := flags
		if rest != "" {
			how = unix.O_PATH | unix.O_DIRECTORY
		}
		fd, err := openBeneath(dir, part, how)
		if owned {
			_ = unix.Close(dir)
		}
		if err != nil || rest == "" {
			return fd, err
		}
		dir, owned, rel = fd, true, rest
	}
}

// noOpenat2 is set where the kernel, or its seccomp filter, has no openat2(2).
var noOpenat2 atomic.Bool

func openBeneath(dir int, rel string, flags int) (int, error) {
	if !noOpenat2.Load() {
		how := unix.OpenHow{
			Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
			Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH,
		}
		for {
			fd, err := unix.Openat2(dir, rel, &how)
			switch err {
			case unix.EINTR, unix.EAGAIN: // EAGAIN: a rename raced with the resolution
				continue
			case unix.ENOSYS:
				noOpenat2.Store(true)
				return openStepwise(dir, rel, flags)
			}
			return fd, err
		}
	}
	return openStepwise(dir, rel, flags)
}

// openStepwise is openBeneath for kernels before 5.6: one component at a time.
func openStepwise(dir int, rel string, flags int) (int, error) {
	owned := false
	for {
		part, rest, more := strings.Cut(rel, "/")
		how := flags
		if more {
			how = unix.O_PATH | unix.O_DIRECTORY
		}
		at := dir
		fd, err := retry(func() (int, error) {
			return unix.Openat(at, part, how|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		})
		if owned {
			_ = unix.Close(dir)
		}
		if err != nil || !more {
			return fd, err
		}
		dir, owned, rel = fd, true, rest
	}
}

func readlink(dir int, name string) (string, error) {
	for size := 256; ; size *= 4 {
		buffer := make([]byte, size)
		n, err := retry(func() (int, error) { return unix.Readlinkat(dir, name, buffer) })
		if err == unix.EINVAL { // replaced meanwhile by something that is no link
			err = unix.ENOENT
		}
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buffer[:n]), nil
		}
		if size > event.MaxText {
			return "", fmt.Errorf("link target of more than %d bytes", event.MaxText)
		}
	}
}

// identityOf tells a file with several names from all others of a view: by its number, and on another device than the root's by that
// and the device.
func identityOf(id ID, rootDev uint64) uint64 {
	if id.Dev == rootDev {
		return id.Ino
	}
	device := LastingDevice(id.Dev)
	if device == 0 {
		device = id.Dev
	}
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], device)
	binary.LittleEndian.PutUint64(b[8:], id.Ino)
	return xxhash.Sum64(b[:])
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
