// Package tree looks at a file tree: lstat and directory reading below a root, with names as bytes.
//
// Paths are those of events: relative to the root, with a leading slash. On Linux every look goes through directory
// descriptors and never follows a symbolic link below the root, so paths of any depth work and a directory that is
// swapped for a link leads nowhere. Elsewhere package os does the looking. Nothing here opens a file or writes.
// System is the seam at which testkit/sim puts a simulated tree in the place of the real one. agent/scan and
// agent/watch are the callers.
package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"syscall"
	"unsafe"

	"github.com/fustor/fustor/internal/event"
)

// ID tells files apart, as long as they exist. A directory's also tells it from one that had its number before: ext4 gives the number
// of a directory that is removed to the next one. Example: rmdir d && mkdir d.
type ID struct {
	Dev, Ino uint64
	// Birth is when a directory was made, ns; 0: not known, or not to be relied on. Files have none.
	Birth int64
}

// Info is what one look at an entry shows. Entry.Name is left to the caller.
type Info struct {
	Entry event.Entry
	ID    ID
	Links uint64 // hard links
}

// System is what trees are looked at through: OS, or a simulation in its place.
type System interface {
	// Resolve gives the directory that users mean by dir: absolute, and with every symbolic link in it followed once.
	Resolve(dir string) (string, error)
	// Remote reports whether other hosts may change what is in dir. What cannot be told counts as such.
	Remote(dir string) bool
	// OpenRoot opens the directory with the absolute path.
	OpenRoot(path string) (Root, error)
	// MountPoint is where the file system that path is on is mounted: path, or a directory above it.
	MountPoint(path string) (string, error)
	// Mounts are what is mounted below root, an absolute path; nil where it cannot be told.
	Mounts(root string) (Mounts, error)
	// MountChanges grows when something is mounted or unmounted, anywhere. It costs next to nothing.
	MountChanges() uint64
}

// Root is an open root directory. It keeps its file system from being unmounted: close it soon.
type Root interface {
	// Info is the root itself as it was when it was opened.
	Info() Info
	// OpenDir opens the directory at path, for reading.
	OpenDir(path string) (Dir, error)
	// Looker returns one; close it.
	Looker() Looker
	// Atimes is what becomes of the times of the last access, as far as this host can tell. It never waits for a file server.
	Atimes() Atimes
	Close()
}

// Dir is an open directory.
type Dir interface {
	// Info is the directory itself as it is now, but for its ACL.
	Info() (Info, error)
	// ACL is the directory's own. It takes a call, and most look at a directory for its times or its identity alone.
	ACL() (event.ACL, error)
	// Read adds the directory's names to n and sorts them. "." and ".." are not among them.
	Read(n *Names) error
	// Lstat looks at the i-th name.
	Lstat(n *Names, i int) (Info, error)
	Close()
}

// Bounded is a Dir whose calls are given up when they take too long, as those of package hang.
type Bounded interface {
	Dir
	// Bare is the directory below it, for those who ask the kernel for something.
	Bare() Dir
	// Within makes a call that uses the directory. After an error it may still be under way.
	Within(call func()) error
}

// Looker looks at single paths. It may keep the last parent directory open, so give it paths of one directory in a row.
type Looker interface {
	// Lstat looks at path now.
	Lstat(path string) (Info, error)
	// Identify is Lstat for those who only ask which file is at path.
	Identify(path string) (ID, error)
	// Written reports whether a program of this host has the file at path open for writing. Not known: nobody can tell, or it is not
	// the file with that ID.
	Written(path string, id ID) (written, known bool)
	// Forget lets go of the parent directory, so that the next look resolves its path anew.
	Forget()
	Close()
}

// OS is the operating system's file systems.
var OS System = osSystem{}

type osSystem struct{}

func (osSystem) Resolve(dir string) (string, error) { return Resolve(dir) }
func (osSystem) Remote(dir string) bool             { return Remote(dir) }
func (osSystem) OpenRoot(path string) (Root, error) { return OpenRoot(path) }

// Resolve gives the directory that users mean by dir: absolute, and with every symbolic link in it followed once.
func Resolve(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find directory %q: %w", dir, err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", fmt.Errorf("find directory %q: %w", dir, err)
	}
	return path, nil
}

// Gone reports whether a look that failed with err proves that nothing has the path: it, or a directory above it, does
// not exist, or is no directory any more.
func Gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

// relative turns an event's path into one that openat(2) takes.
func relative(path string) string {
	if path == "/" || path == "" {
		return "."
	}
	return path[1:]
}

// Names are the names in a directory, in byte order once Sort was called. It is made to be reused.
type Names struct {
	text []byte // each name, and a NUL
	refs []nameRef
	all  string // text, once it is complete: the same memory, to which nothing is written any more
}

type nameRef struct {
	key   uint64 // the first eight bytes, as a big-endian number
	ino   uint64 // as the directory tells; 0: it does not
	start uint32
	size  uint16
	dir   DirHint
}

// DirHint is what the directory itself says about an entry being a directory.
type DirHint uint8

// What a directory says.
const (
	UnknownType DirHint = iota
	IsDirectory
	IsNoDirectory
)

// Reset empties n.
func (n *Names) Reset() {
	const keep = 64 << 10 // one huge directory must not hold its memory for ever
	if cap(n.refs) > keep {
		n.refs = nil
	}
	n.refs, n.all = n.refs[:0], ""
	// The names of the directory before stay valid, so these go behind them.
	if n.text = n.text[len(n.text):]; cap(n.text) < namesText/8 {
		n.text = make([]byte, 0, namesText)
	}
}

// namesText is how many bytes names get at once: small enough that it costs little where somebody keeps one of them.
const namesText = 32 << 10

// Add is for those who fill n; Sort comes when all are added. ino is the inode's number, 0 where the directory does not tell.
func (n *Names) Add(name []byte, hint DirHint, ino uint64) {
	start := len(n.text)
	n.text = append(append(n.text, name...), 0)
	var key uint64
	for i := range 8 {
		key <<= 8
		if i < len(name) {
			key |= uint64(name[i])
		}
	}
	n.refs = append(n.refs, nameRef{key, ino, uint32(start), uint16(min(len(name), math.MaxUint16)), hint})
}

// Len is the number of names.
func (n *Names) Len() int { return len(n.refs) }

// Sort puts the names in byte order, and drops doubles: a directory that is changed while it is read may repeat a name.
func (n *Names) Sort() {
	n.all = unsafe.String(unsafe.SliceData(n.text), len(n.text))
	slices.SortFunc(n.refs, func(a, b nameRef) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		x, y := n.at(a), n.at(b)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	n.refs = slices.CompactFunc(n.refs, func(a, b nameRef) bool {
		return a.key == b.key && n.at(a) == n.at(b)
	})
}

// At is the i-th name. Names of one directory share memory.
func (n *Names) At(i int) string { return n.at(n.refs[i]) }

func (n *Names) at(r nameRef) string { return n.all[r.start : r.start+uint32(r.size)] }

// Clone is a copy that shares nothing.
func (n *Names) Clone() Names {
	return Names{text: slices.Clone(n.text), refs: slices.Clone(n.refs), all: n.all}
}

// MayBeDirectory reports false where the directory itself says that the i-th entry is something else.
func (n *Names) MayBeDirectory(i int) bool { return n.refs[i].dir != IsNoDirectory }

// Ino is the number of the i-th entry's inode, as the directory tells. It is 0, or wrong, on some file systems: lstat decides.
func (n *Names) Ino(i int) uint64 { return n.refs[i].ino }

// Check says what keeps dir from being a view's source, in words for its user.
func Check(dir string) error { return CheckOn(OS, dir) }

// CheckOn is Check on a system.
func CheckOn(sys System, dir string) error {
	path, err := sys.Resolve(dir)
	if err != nil {
		return err
	}
	root, err := sys.OpenRoot(path)
	if errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%q is not a directory", dir)
	}
	if err != nil {
		return fmt.Errorf("open directory %q: %w", dir, err)
	}
	defer root.Close()
	if root.Info().Entry.Type != event.Directory {
		return fmt.Errorf("%q is not a directory", dir)
	}
	return checkReadable(root, dir)
}

// checkReadable looks at the root's names, and at the first of them.
func checkReadable(root Root, dir string) error {
	d, err := root.OpenDir("/")
	if err != nil {
		return fmt.Errorf("open directory %q: %w", dir, err)
	}
	defer d.Close()
	var names Names
	if err := d.Read(&names); err != nil {
		return fmt.Errorf("read directory %q: %w", dir, err)
	}
	if names.Len() == 0 {
		return nil
	}
	if _, err := d.Lstat(&names, 0); err != nil && !Gone(err) {
		return fmt.Errorf("look into directory %q: %w", dir, err)
	}
	return nil
}
