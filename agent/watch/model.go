package watch

import (
	"time"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// model is the directories that are known, as a tree, with their watches.
//
// It is behind the file system by the notices that were not applied yet, and never ahead of it: attach refuses what contradicts
// it. A node is a directory, whatever its path: a move puts the same node, with its watch and all nodes below, under another
// parent. Each node with a watch is in byWatch; each node without a parent, but for the root, is an orphan or below one.
type model struct {
	root        *node
	byWatch     map[WatchID]*node
	orphans     map[*node]time.Time // detached since then
	directories int
	moves       uint64        // counts everything that may have changed which directory a path leads to
	givenUp     uint64        // counts the watches that are no more
	recent      [1024]WatchID // the last of them, number n at n modulo the length
}

// node is one directory.
type node struct {
	parent     *node // nil: the root, or an orphan
	name       string
	children   map[string]*node
	watch      WatchID
	id         tree.ID // which directory it is
	active     int64   // when it changed last, as far as is known; the store's time, ns
	generation uint64  // of the coverage that saw it last
	movedAt    uint64  // model.moves when it was last detached or put elsewhere
	reading    int     // scans that are reading it
	put        bool    // a realtime put of it was made, with
	putMtime   int64   // this mtime
}

// orphanTTL is how long a directory that was moved away keeps its watches, in case it turns up elsewhere in the tree.
const orphanTTL = 5 * time.Second

func (m *model) reset() {
	*m = model{
		root:    &node{watch: NoWatch},
		byWatch: map[WatchID]*node{}, orphans: map[*node]time.Time{},
		directories: 1, moves: m.moves + 1, givenUp: m.givenUp + uint64(len(m.recent)) + 1,
	}
}

// path is where a directory is; false if it is nowhere below the root.
func (m *model) path(n *node) (string, bool) {
	size := 0
	for at := n; at != m.root; at = at.parent {
		if at.parent == nil {
			return "", false
		}
		size += 1 + len(at.name)
	}
	if size == 0 {
		return "/", true
	}
	b := make([]byte, size)
	for at := n; at != m.root; at = at.parent {
		size -= len(at.name)
		copy(b[size:], at.name)
		size--
		b[size] = '/'
	}
	return string(b), true
}

// lookup finds the directory at path, or nil.
func (m *model) lookup(path string) *node {
	n := m.root
	for rest := path[1:]; rest != "" && n != nil; {
		name := rest
		for i := 0; i < len(rest); i++ {
			if rest[i] == '/' {
				name = rest[:i]
				break
			}
		}
		rest = rest[min(len(rest), len(name)+1):]
		n = n.children[name]
	}
	return n
}

// attach records that the directory of that identity, with this watch (or NoWatch), is at path. A directory that the model knows
// by its watch moves there with all that is below it; another one that the model has at path becomes an orphan.
//
// It answers scan.ErrMoved if the model does not know the directory above, or has it below the one to be attached. The notices
// that explain this are on their way, and make the watcher read the directory where it is then.
func (m *model) attach(path string, watch WatchID, id tree.ID, generation uint64) (*node, error) {
	n := m.byWatch[watch]
	if path == "/" {
		return m.attachRoot(n, watch, id, generation)
	}
	dir, name := event.Split(path)
	if dir != "/" {
		dir = dir[:len(dir)-1]
	}
	parent := m.lookup(dir)
	if parent == nil {
		return nil, scan.ErrMoved
	}
	for at := parent; n != nil && at != nil; at = at.parent {
		if at == n {
			return nil, scan.ErrMoved
		}
	}
	occupant := parent.children[name]
	if n == nil && occupant != nil && occupant.watch == NoWatch && occupant.id == id {
		n = occupant // unwatched until now
	}
	if n == nil {
		n = &node{watch: NoWatch}
		m.directories++
	}
	if n.watch != watch {
		n.watch = watch
		m.byWatch[watch] = n
	}
	n.id = id
	if occupant != n {
		if occupant != nil {
			m.orphan(occupant)
		}
		if n.parent != nil {
			m.detach(n)
		}
		delete(m.orphans, n)
		n.parent, n.name = parent, name
		if parent.children == nil {
			parent.children = map[string]*node{}
		}
		parent.children[name] = n
	}
	n.generation = generation
	return n, nil
}

func (m *model) attachRoot(n *node, watch WatchID, id tree.ID, generation uint64) (*node, error) {
	if n != nil && n != m.root {
		return nil, scan.ErrMoved
	}
	if m.root.watch != watch {
		delete(m.byWatch, m.root.watch)
		m.root.watch = watch
		if watch != NoWatch {
			m.byWatch[watch] = m.root
		}
	}
	m.root.generation, m.root.id = generation, id
	return m.root, nil
}

// detach takes a directory, with everything below it, out of the tree.
func (m *model) detach(n *node) {
	m.moves++
	n.movedAt = m.moves
	if n.parent != nil && n.parent.children[n.name] == n {
		delete(n.parent.children, n.name)
	}
	n.parent = nil
}

// orphan detaches a directory and keeps its watches for a while.
func (m *model) orphan(n *node) {
	if n == m.root {
		return
	}
	m.detach(n)
	m.orphans[n] = time.Now()
}

// forgetWatch is called when the system dropped a watch.
func (m *model) forgetWatch(n *node) {
	delete(m.byWatch, n.watch)
	n.watch = NoWatch
	if _, orphaned := m.orphans[n]; orphaned && len(n.children) == 0 {
		delete(m.orphans, n)
		m.directories--
	}
}

// giveUp has the system drop a watch.
func (m *model) giveUp(id WatchID, to Notifier) {
	m.noteGone(id)
	to.Remove(id)
}

// noteGone takes note of a watch that is no more.
func (m *model) noteGone(id WatchID) {
	m.recent[m.givenUp%uint64(len(m.recent))] = id
	m.givenUp++
}

// mayBeLost reports whether a watch that was there when givenUp was since is no more, or may be no more: of the watches that were
// given up, only the last len(recent) are remembered.
func (m *model) mayBeLost(id WatchID, since uint64) bool {
	if m.givenUp-since > uint64(len(m.recent)) {
		return true
	}
	for ; since < m.givenUp; since++ {
		if m.recent[since%uint64(len(m.recent))] == id {
			return true
		}
	}
	return false
}

// reap drops the orphans whose time is over.
func (m *model) reap(now time.Time, to Notifier) {
	for n, since := range m.orphans {
		if now.Sub(since) >= orphanTTL {
			delete(m.orphans, n)
			m.drop(n, to)
		}
	}
}

// drop removes the watches of a detached directory and everything below it.
func (m *model) drop(n *node, from Notifier) {
	stack := []*node{n}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		m.directories--
		if n.watch != NoWatch {
			delete(m.byWatch, n.watch)
			m.giveUp(n.watch, from)
			n.watch = NoWatch
		}
		for _, c := range n.children {
			c.parent = nil
			stack = append(stack, c)
		}
		n.children = nil
	}
}

// prune drops every directory that no coverage since generation has met.
func (m *model) prune(generation uint64, from Notifier) {
	stack := []*node{m.root}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, c := range n.children {
			if c.generation < generation {
				m.detach(c)
				m.drop(c, from)
				continue
			}
			stack = append(stack, c)
		}
	}
}

// stays reports whether the directory has been where it is, and everything above it too, since moves was at since.
func (m *model) stays(n *node, since uint64) bool {
	for at := n; at != m.root; at = at.parent {
		if at.parent == nil || at.movedAt > since {
			return false
		}
	}
	return true
}

// verify reports whether path leads to the directory of that identity now.
func verify(root tree.Root, id tree.ID, path string) (bool, error) {
	looker := root.Looker()
	defer looker.Close()
	now, err := looker.Identify(path)
	if err != nil {
		return false, err
	}
	return now == id, nil
}
