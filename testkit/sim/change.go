package sim

import (
	"io/fs"
	"syscall"

	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
)

// What hosts do to the tree. Each is one atomic step of the server; the host that does it sees it at once, and its
// notifiers hear of it as inotify(7) tells.

// Handle is a file that is open for writing.
type Handle struct {
	mount *Mount
	node  *inode
}

// Create opens a file for writing; it is made, or emptied.
func (m *Mount) Create(path string) (*Handle, error) {
	s := m.server
	s.mu.Lock()
	defer s.mu.Unlock()
	dir, name, err := s.place(path)
	if err != nil {
		return nil, err
	}
	if n := dir.children[name]; n != nil {
		if n.entry.Type != event.File {
			return nil, syscall.EISDIR
		}
		n.entry.Size = 0
		s.modify(n)
		m.forget(n)
		m.tell(n, watch.OpModify)
		return &Handle{m, n}, nil
	}
	n := s.inode(event.File, 0o644)
	s.link(dir, name, n)
	m.forget(dir)
	m.tell(n, watch.OpCreate)
	return &Handle{m, n}, nil
}

// Append opens a file that is there.
func (m *Mount) Append(path string) (*Handle, error) {
	s := m.server
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.find(path)
	if err == nil && n.entry.Type != event.File {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, err
	}
	return &Handle{m, n}, nil
}

// Write appends so many bytes.
func (h *Handle) Write(bytes int64) {
	s := h.mount.server
	s.mu.Lock()
	defer s.mu.Unlock()
	h.node.entry.Size += bytes
	s.modify(h.node)
	h.mount.forget(h.node)
	h.mount.tell(h.node, watch.OpModify)
}

// Close ends the writing.
func (h *Handle) Close() {
	s := h.mount.server
	s.mu.Lock()
	defer s.mu.Unlock()
	h.mount.tell(h.node, watch.OpCloseWrite)
}

// Mkdir makes a directory.
func (m *Mount) Mkdir(path string) error { return m.make(path, event.Directory, 0o755, "") }

// Symlink makes a symbolic link.
func (m *Mount) Symlink(target, path string) error { return m.make(path, event.Symlink, 0o777, target) }

func (m *Mount) make(path string, t event.Type, mode uint32, target string) error {
	s := m.server
	s.mu.Lock()
	defer s.mu.Unlock()
	dir, name, err := s.place(path)
	if err != nil {
		return err
	}
	if dir.children[name] != nil {
		return fs.ErrExist
	}
	n := s.inode(t, mode)
	if t == event.Symlink {
		n.entry.Target, n.entry.Size = target, int64(len(target))
	}
	s.link(dir, name, n)
	m.forget(dir)
	m.tell(n, watch.OpCreate)
	return nil
}

// Remove removes a file, a link or an empty directory.
func (m *Mount) Remove(path string) error {
	s := m.server
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.find(path)
	switch {
	case err != nil:
		return err
	case n == s.root:
		return syscall.EBUSY
	case len(n.children) > 0:
		return syscall.ENOTEMPTY
	}
	m.tell(n, watch.OpDelete)
	m.forget(n.parent)
	s.unlink(n)
	m.remove(n)
	return nil
}

// Rename moves an entry, over what is there if rename(2) would.
func (m *Mount) Rename(from, to string) error {
	s := m.server
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.find(from)
	if err != nil {
		return err
	}
	dir, name, err := s.place(to)
	switch {
	case err != nil:
		return err
	case n == s.root || below(dir, n):
		return syscall.EINVAL
	}
	over := dir.children[name]
	if over == n {
		return nil
	}
	if over != nil && (len(over.children) > 0 || (over.children == nil) != (n.children == nil)) {
		return syscall.ENOTEMPTY
	}
	m.tell(n, watch.OpMovedFrom)
	m.forget(n.parent)
	if over != nil {
		s.unlink(over)
	}
	s.unlink(n)
	s.link(dir, name, n)
	s.change(n)
	m.forget(dir)
	m.forget(n)
	m.tell(n, watch.OpMovedTo)
	m.tellSelf(n, watch.OpSelfGone)
	if over != nil {
		m.remove(over)
	}
	return nil
}

// Chmod, Chown and Chtimes change what an inode says of itself.
func (m *Mount) Chmod(path string, mode uint32) error {
	return m.set(path, func(e *event.Entry) { e.Mode = mode })
}

// Chown gives an entry to others.
func (m *Mount) Chown(path string, uid, gid uint32) error {
	return m.set(path, func(e *event.Entry) { e.UID, e.GID = uid, gid })
}

// Chtimes sets the mtime, ns.
func (m *Mount) Chtimes(path string, mtime int64) error {
	return m.set(path, func(e *event.Entry) { e.MtimeNs = mtime })
}

func (m *Mount) set(path string, change func(*event.Entry)) error {
	s := m.server
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.find(path)
	if err != nil {
		return err
	}
	change(&n.entry)
	s.change(n)
	m.forget(n)
	m.tell(n, watch.OpAttrib)
	if n.children != nil {
		m.tellSelf(n, watch.OpAttrib)
	}
	return nil
}

// remove ends an inode.
func (m *Mount) remove(n *inode) {
	n.removed = true
	m.forget(n)
	m.tellSelf(n, watch.OpSelfGone)
	m.unwatch(n)
}
