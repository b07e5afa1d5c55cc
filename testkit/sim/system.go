package sim

import (
	"io/fs"
	"syscall"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// Root is where every host mounts the server.
const Root = "/mnt"

// The devices of the host's own disk and of the server's tree.
const (
	hostDevice   = 1
	serverDevice = 2
)

// System is a tree.System of one process on a host. Step is asked before every look that takes time, and may fail it.
//
// A look that package watch makes under its lock takes no time: a bubble's clock stands still while a goroutine waits
// for a mutex. These are Dir.Info and the first look of a Looker.
type System struct {
	Mount *Mount
	Local bool // the tree is on a disk of this host
	Step  func(what, path string) error
}

// Resolve implements tree.System.
func (s *System) Resolve(dir string) (string, error) { return dir, nil }

// Remote implements tree.System.
func (s *System) Remote(string) bool { return !s.Local }

// MountPoint implements tree.System.
func (s *System) MountPoint(path string) (string, error) {
	s.Mount.server.mu.Lock()
	defer s.Mount.server.mu.Unlock()
	if s.Mount.absence == Unmounted {
		return "/", nil
	}
	return path, nil
}

// Mounts implements tree.System: nothing is mounted below the root.
func (s *System) Mounts(string) (tree.Mounts, error) { return nil, nil }

// MountChanges implements tree.System.
func (s *System) MountChanges() uint64 { return 0 }

// OpenRoot implements tree.System.
func (s *System) OpenRoot(string) (tree.Root, error) {
	if err := s.Step("open root", "/"); err != nil {
		return nil, err
	}
	m := s.Mount
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	r := &root{s: s, node: m.server.root}
	switch m.absence {
	case Unreached:
		return nil, &fs.PathError{Op: "open", Path: Root, Err: syscall.ESTALE}
	case Unmounted:
		r.info = tree.Info{ID: tree.ID{Dev: hostDevice, Ino: 1}, Links: 1, Entry: event.Entry{Type: event.Directory, Mode: 0o755}}
		r.node = &inode{entry: r.info.Entry, children: map[string]*inode{}}
	default:
		r.info = info(r.node, m.look(r.node))
	}
	return r, nil
}

func info(n *inode, c *cached) tree.Info {
	return tree.Info{Entry: c.entry, ID: tree.ID{Dev: serverDevice, Ino: n.number}, Links: 1}
}

type root struct {
	s    *System
	node *inode
	info tree.Info
}

func (r *root) Info() tree.Info { return r.info }
func (r *root) Close()          {}

// Atimes implements tree.Root.
func (r *root) Atimes() tree.Atimes { return tree.RelAtime }

func (r *root) OpenDir(path string) (tree.Dir, error) {
	if err := r.s.Step("open", path); err != nil {
		return nil, err
	}
	n, c, err := r.look(path)
	if err == nil && c.children == nil {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &directory{root: r, node: n, path: path}, nil
}

// look resolves a path and looks at what is there.
func (r *root) look(path string) (*inode, *cached, error) {
	m := r.s.Mount
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	if err := r.reach(); err != nil {
		return nil, nil, err
	}
	n, err := m.find(path)
	if err != nil {
		return nil, nil, err
	}
	c := m.look(n)
	if c.removed {
		err = fs.ErrNotExist
	}
	return n, c, err
}

// reach fails where the tree that was opened is not there any more. The server's lock is held.
func (r *root) reach() error {
	if r.s.Mount.absence != Present || r.node != r.s.Mount.server.root {
		return syscall.ESTALE
	}
	return nil
}

func (r *root) Looker() tree.Looker { return &looker{root: r} }

type looker struct {
	root *root
	used bool
}

func (l *looker) Forget() {}
func (l *looker) Close()  {}

func (l *looker) Lstat(path string) (tree.Info, error) {
	if l.used {
		if err := l.root.s.Step("lstat", path); err != nil {
			return tree.Info{}, err
		}
	}
	l.used = true
	n, c, err := l.root.look(path)
	if err != nil {
		return tree.Info{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return info(n, c), nil
}

func (l *looker) Identify(path string) (tree.ID, error) {
	info, err := l.Lstat(path)
	return info.ID, err
}

// Written cannot tell: the tree is on a server.
func (l *looker) Written(string, tree.ID) (written, known bool) { return false, false }

// directory is an open directory.
type directory struct {
	root *root
	node *inode
	path string
}

func (d *directory) Close() {}

func (d *directory) Info() (tree.Info, error) {
	m := d.root.s.Mount
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	if err := d.root.reach(); err != nil {
		return tree.Info{}, err
	}
	c := m.look(d.node)
	if c.removed {
		return tree.Info{}, &fs.PathError{Op: "stat", Path: d.path, Err: fs.ErrNotExist}
	}
	return info(d.node, c), nil
}

// ACL implements tree.Dir.
func (d *directory) ACL() (event.ACL, error) {
	info, err := d.Info()
	return info.Entry.ACL, err
}

// Read reads the names in two halves, between which the directory may change.
func (d *directory) Read(n *tree.Names) error {
	middle := ""
	for half := range 2 {
		if err := d.root.s.Step("read", d.path); err != nil {
			return err
		}
		names, err := d.names()
		if err != nil {
			return &fs.PathError{Op: "read", Path: d.path, Err: err}
		}
		if half == 0 && len(names) > 0 {
			middle = names[len(names)/2]
		}
		for _, name := range names {
			if (name < middle) == (half == 0) {
				n.Add([]byte(name), tree.UnknownType, 0)
			}
		}
	}
	n.Sort()
	return nil
}

func (d *directory) names() ([]string, error) {
	m := d.root.s.Mount
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	if err := d.root.reach(); err != nil {
		return nil, err
	}
	c := m.look(d.node)
	if c.removed {
		return nil, nil
	}
	return sortedNames(c.children), nil
}

func (d *directory) Lstat(n *tree.Names, i int) (tree.Info, error) {
	name := n.At(i)
	path := event.Join(d.path, name)
	if err := d.root.s.Step("lstat", path); err != nil {
		return tree.Info{}, err
	}
	info, err := d.child(name)
	if err != nil {
		return tree.Info{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return info, nil
}

func (d *directory) child(name string) (tree.Info, error) {
	m := d.root.s.Mount
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	if err := d.root.reach(); err != nil {
		return tree.Info{}, err
	}
	child := m.look(d.node).children[name]
	if child == nil {
		return tree.Info{}, fs.ErrNotExist
	}
	c := m.look(child)
	if c.removed {
		return tree.Info{}, fs.ErrNotExist
	}
	return info(child, c), nil
}
