package sim

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/fustor/fustor/internal/event"
)

// Mount is a server's tree on one host. What the host does itself it sees at once; of what others do it may see an old
// state for up to Staleness, as an NFS client with its attribute and directory caches does.
type Mount struct {
	server    *Server
	Staleness time.Duration // 0: no caches
	random    *rand.Rand
	cache     map[*inode]*cached
	notifiers []*notifier
	absence   Absence
}

// Absence is how a root can be lost.
type Absence int

// How.
const (
	Present   Absence = iota
	Unmounted         // the empty directory below the mount shows
	Unreached         // every look fails
)

// Mount mounts the server on another host.
func (s *Server) Mount(random *rand.Rand) *Mount {
	return &Mount{server: s, random: random, cache: map[*inode]*cached{}}
}

// SetAbsence takes the root away, or brings it back. Watches do not outlive an unmount.
func (m *Mount) SetAbsence(a Absence) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	if a == Unmounted && m.absence != Unmounted {
		clear(m.cache)
		for _, n := range m.notifiers {
			n.unmounted()
		}
	}
	m.absence = a
}

// cached is an inode as the host saw it when it last asked.
type cached struct {
	entry    event.Entry
	children map[string]*inode
	removed  bool
	until    time.Time
}

// look is an inode as the host sees it. The server's lock is held.
func (m *Mount) look(n *inode) *cached {
	now := time.Now()
	if c := m.cache[n]; c != nil && now.Before(c.until) {
		return c
	}
	c := &cached{entry: n.seen(), children: n.children, removed: n.removed}
	if m.Staleness > 0 {
		c.children = maps.Clone(n.children)
		c.until = now.Add(time.Duration(m.random.Int64N(int64(m.Staleness))))
		m.cache[n] = c
	}
	return c
}

// forget has the host ask the server when it next looks at an inode.
func (m *Mount) forget(n *inode) { delete(m.cache, n) }

// find resolves a path as the host sees the tree.
func (m *Mount) find(path string) (*inode, error) {
	n := m.server.root
	for _, name := range parts(path) {
		c := m.look(n)
		if c.children == nil {
			return nil, syscall.ENOTDIR
		}
		if n = c.children[name]; n == nil || c.removed {
			return nil, fs.ErrNotExist
		}
	}
	return n, nil
}
