package sim

import (
	"slices"
	"sync"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
)

// notifier is inotify on one host: it hears what is done through its mount, and nothing else.
type notifier struct {
	mount    *Mount
	max      int // notices that may wait
	step     func() error
	wake     *sync.Cond
	watches  map[*inode]watch.WatchID
	last     watch.WatchID
	queue    []watch.Notice
	finished bool
}

// Notifier makes a watch.Notifier whose queue holds so many notices. Step is called before every read.
func (m *Mount) Notifier(queue int, step func() error) watch.Notifier {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	n := &notifier{mount: m, max: queue, step: step, wake: sync.NewCond(&m.server.mu), watches: map[*inode]watch.WatchID{}}
	m.notifiers = append(m.notifiers, n)
	return n
}

// Add implements watch.Notifier.
func (n *notifier) Add(_ string, d tree.Dir, _ string) (watch.WatchID, error) {
	n.mount.server.mu.Lock()
	defer n.mount.server.mu.Unlock()
	dir := d.(*directory).node
	if id, ok := n.watches[dir]; ok {
		return id, nil
	}
	n.last++
	n.watches[dir] = n.last
	return n.last, nil
}

// Remove implements watch.Notifier.
func (n *notifier) Remove(id watch.WatchID) {
	n.mount.server.mu.Lock()
	defer n.mount.server.mu.Unlock()
	for dir, has := range n.watches {
		if has == id {
			delete(n.watches, dir)
			n.add(watch.Notice{Watch: id, Op: watch.OpIgnored})
		}
	}
}

// Read implements watch.Notifier.
func (n *notifier) Read() ([]watch.Notice, error) {
	mu := &n.mount.server.mu
	mu.Lock()
	for len(n.queue) == 0 && !n.finished {
		n.wake.Wait()
	}
	mu.Unlock()
	_ = n.step() // a process that is dead reads what nobody hears of
	mu.Lock()
	defer mu.Unlock()
	if len(n.queue) == 0 {
		return nil, watch.ErrFinished
	}
	got := n.queue
	n.queue = nil
	return got, nil
}

// Finish implements watch.Notifier.
func (n *notifier) Finish() {
	n.mount.server.mu.Lock()
	defer n.mount.server.mu.Unlock()
	n.finished = true
	n.wake.Broadcast()
}

// Close implements watch.Notifier.
func (n *notifier) Close() {
	n.Finish()
	n.mount.server.mu.Lock()
	defer n.mount.server.mu.Unlock()
	n.mount.notifiers = slices.DeleteFunc(n.mount.notifiers, func(other *notifier) bool { return other == n })
}

// Closes implements watch.Notifier.
func (n *notifier) Closes() bool { return true }

// Method implements watch.Notifier.
func (n *notifier) Method() (method, reason string) { return "simulated", "" }

// add queues a notice as the kernel does: one that repeats the last is left out, and a full queue says so once.
func (n *notifier) add(notice watch.Notice) {
	switch have := len(n.queue); {
	case have > 0 && n.queue[have-1] == notice:
		return
	case have > n.max:
		return
	case have == n.max:
		notice = watch.Notice{Watch: watch.NoWatch, Op: watch.OpOverflow}
	}
	n.queue = append(n.queue, notice)
	n.wake.Broadcast()
}

// unmounted ends every watch.
func (n *notifier) unmounted() {
	ids := make([]watch.WatchID, 0, len(n.watches))
	for _, id := range n.watches {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		n.add(watch.Notice{Watch: id, Op: watch.OpSelfGone})
		n.add(watch.Notice{Watch: id, Op: watch.OpIgnored})
	}
	clear(n.watches)
}

// tell tells those who watch an inode's directory.
func (m *Mount) tell(n *inode, op watch.Op) {
	if n.parent == nil {
		return
	}
	if n.children != nil {
		op |= watch.OpDirectory
	}
	for _, to := range m.notifiers {
		if id, ok := to.watches[n.parent]; ok {
			to.add(watch.Notice{Watch: id, Op: op, Name: n.name})
		}
	}
}

// tellSelf tells those who watch a directory of itself.
func (m *Mount) tellSelf(n *inode, op watch.Op) {
	for _, to := range m.notifiers {
		if id, ok := to.watches[n]; ok {
			to.add(watch.Notice{Watch: id, Op: op})
		}
	}
}

// unwatch ends the watches of a directory that is no more.
func (m *Mount) unwatch(n *inode) {
	for _, to := range m.notifiers {
		if id, ok := to.watches[n]; ok {
			delete(to.watches, n)
			to.add(watch.Notice{Watch: id, Op: watch.OpIgnored})
		}
	}
}

// Overflow has every queue of the host run over.
func (m *Mount) Overflow() {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	for _, n := range m.notifiers {
		for have := len(n.queue); have <= n.max; have++ {
			n.queue = append(n.queue, watch.Notice{Watch: watch.NoWatch, Op: watch.OpOverflow})
		}
		n.wake.Broadcast()
	}
}
