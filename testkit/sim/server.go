// Package sim runs Fustor's real agent, ingest, compactor and query code in one process on a simulated store, file
// server and clock, and holds the view against the tree once the faults are over.
//
// A Server is a file server that several hosts mount; a Mount is one host's, with the caches and the notices of a
// network file system; a Store is object storage in memory. They do no real I/O, and time is that of a synctest bubble.
// Everything that chance decides is drawn from generators that a seed makes. The tests here are the only callers.
package sim

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/fustor/fustor/internal/event"
)

// Server is a file tree with a clock of its own. Hosts change it through a Mount.
type Server struct {
	mu     sync.Mutex
	now    func() int64
	last   int64
	inodes uint64
	root   *inode
}

// inode is a file, directory or symlink. There are no second links, so it knows its name.
type inode struct {
	number   uint64
	entry    event.Entry // without a name; seen completes it
	parent   *inode      // nil: the root, or removed
	name     string
	children map[string]*inode
	removed  bool
}

// NewServer makes a server with an empty root. Now is its clock, ns; what it stamps is distinct and grows nevertheless.
func NewServer(now func() int64) *Server {
	s := &Server{now: now, inodes: 1}
	s.root = s.inode(event.Directory, 0o755)
	return s
}

func (s *Server) inode(t event.Type, mode uint32) *inode {
	s.inodes++
	n := &inode{number: s.inodes, entry: event.Entry{Type: t, Mode: mode, UID: 1000, GID: 100, MtimeNs: s.stamp()}}
	n.entry.CtimeNs, n.entry.BirthS = n.entry.MtimeNs, n.entry.MtimeNs/1e9
	if t == event.Directory {
		n.entry.ACL = event.NoACL
	}
	if t == event.Directory {
		n.children, n.entry.Size = map[string]*inode{}, 4096
	}
	return n
}

// seen is the entry as lstat(2) shows it.
func (n *inode) seen() event.Entry {
	e := n.entry
	e.Links, e.Allocated = 1, event.Rounded(e.Size)
	if n.children != nil {
		e.Links = 2
		for _, c := range n.children {
			if c.children != nil {
				e.Links++
			}
		}
	}
	return e
}

// modify has the content changed now, change what the inode says of itself.
func (s *Server) modify(n *inode) {
	n.entry.MtimeNs = s.stamp()
	n.entry.CtimeNs = n.entry.MtimeNs
}

func (s *Server) change(n *inode) { n.entry.CtimeNs = s.stamp() }

// stamp is the server's time for something that happens now.
func (s *Server) stamp() int64 {
	s.last = max(s.last+1, s.now())
	return s.last
}

// Tree is all that there is, by path.
func (s *Server) Tree() map[string]event.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	tree := map[string]event.Entry{}
	var walk func(path string, n *inode)
	walk = func(path string, n *inode) {
		e := n.seen()
		e.Name = n.name
		tree[path] = e
		for name, child := range n.children {
			walk(event.Join(path, name), child)
		}
	}
	walk("/", s.root)
	return tree
}

// find resolves a path as the server knows it.
func (s *Server) find(path string) (*inode, error) {
	n := s.root
	for _, name := range parts(path) {
		if n.children == nil {
			return nil, syscall.ENOTDIR
		}
		if n = n.children[name]; n == nil {
			return nil, fs.ErrNotExist
		}
	}
	return n, nil
}

// place resolves the directory that path is in.
func (s *Server) place(path string) (dir *inode, name string, err error) {
	above, name := event.Split(path)
	if dir, err = s.find(above); err != nil {
		return nil, "", err
	}
	if dir.children == nil {
		return nil, "", syscall.ENOTDIR
	}
	return dir, name, nil
}

func parts(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

func (s *Server) link(dir *inode, name string, n *inode) {
	n.parent, n.name = dir, name
	dir.children[name] = n
	s.modify(dir)
}

func (s *Server) unlink(n *inode) {
	delete(n.parent.children, n.name)
	s.modify(n.parent)
	n.parent = nil
}

// below reports whether n is dir, or somewhere below it.
func below(n, dir *inode) bool {
	for ; n != nil; n = n.parent {
		if n == dir {
			return true
		}
	}
	return false
}

func sortedNames(children map[string]*inode) []string { return slices.Sorted(maps.Keys(children)) }
