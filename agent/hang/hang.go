// Package hang keeps calls into file systems that do not return, as those into a dead NFS mount, from holding up whoever
// made them.
//
// A thread in such a call cannot be interrupted. So the call is left to itself, noted in Calls with its path, and its
// caller goes on; when it returns after all, its outcome is thrown away and Calls tells that the path answers again. A
// path that hangs is not asked for again until then. How many threads may hang is bounded. agent/scan watches over its
// workers' calls by itself, as a scan makes millions of them; System does it for the looks of agent/watch and for those at
// single paths, and about doubles what each of them costs (BenchmarkLook).
package hang

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// ErrHangs is what a call that does not return is taken to have answered.
var ErrHangs = errors.New("the file system does not answer")

const (
	// After is how long a call may take before it counts as hanging.
	After = time.Minute
	// Patience is how long calls may still take once the agent ends.
	Patience = time.Second
	// Many calls hang: from then on file systems in which one hangs are not asked at all, and every other new call that
	// hangs is the last for its scan's worker.
	Many = 16
	// most is how many may hang at all.
	most = 2 * Many
	// crowd is how many entries of one directory hang until all of them are taken to.
	crowd = 3
)

// Calls are those that hang. It is safe for concurrent use.
type Calls struct {
	after    time.Duration
	answered func(path string) // told when the path's call returned

	count atomic.Int32

	mu      sync.Mutex
	hanging map[*Call]struct{}
	byDir   map[string]map[string]int // names that hang, by their directory
	devices map[uint64]int
	skipped map[string]struct{} // directories that were left out because others of their file system hang
	uses    map[tree.Root]*use
	idle    []*helper
	closed  bool
	hurry   chan struct{} // closed: nobody waits for longer than Patience
}

// Call is one that hangs.
type Call struct {
	Path  string
	Since time.Time // of when it was found
	dev   uint64
	root  tree.Root
}

// use is how many calls that hang need a root, and whether it is to be closed after them.
type use struct {
	calls int
	close bool
}

// New makes Calls. After is how long a call may take; 0: the default. answered may be nil.
func New(after time.Duration, answered func(path string)) *Calls {
	if after <= 0 {
		after = After
	}
	if answered == nil {
		answered = func(string) {}
	}
	return &Calls{
		after: after, answered: answered, hanging: map[*Call]struct{}{}, byDir: map[string]map[string]int{},
		devices: map[uint64]int{}, skipped: map[string]struct{}{}, uses: map[tree.Root]*use{}, hurry: make(chan struct{}),
	}
}

// After is how long a call may take.
func (c *Calls) After() time.Duration { return c.after }

// Status is how many calls hang, and the path of the one that has for the longest time.
func (c *Calls) Status() (n int, first string) {
	if c.count.Load() == 0 {
		return 0, ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var since time.Time
	for h := range c.hanging {
		if first == "" || h.Since.Before(since) || h.Since.Equal(since) && h.Path < first {
			first, since = h.Path, h.Since
		}
	}
	return len(c.hanging), first
}

// Any reports whether a call hangs. It costs nothing.
func (c *Calls) Any() bool { return c.count.Load() > 0 }

// Many reports whether so many hang that no more should be risked than needed.
func (c *Calls) Many() bool { return c.count.Load() >= Many }

// Full is an error if so many hang that no more may.
func (c *Calls) Full() error {
	if n := c.count.Load(); n >= most {
		_, first := c.Status()
		return fmt.Errorf("%w: %d calls hang, the first at %q", ErrHangs, n, first)
	}
	return nil
}

// Add notes a call that hangs at path. dev is the device, 0 where it is not known; root is what it needs.
func (c *Calls) Add(path string, dev uint64, root tree.Root) *Call {
	h := &Call{Path: path, Since: time.Now(), dev: dev, root: root}
	dir, name := split(path)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count.Add(1)
	c.hanging[h] = struct{}{}
	if c.byDir[dir] == nil {
		c.byDir[dir] = map[string]int{}
	}
	c.byDir[dir][name]++
	if dev != 0 {
		c.devices[dev]++
	}
	if root != nil {
		u := c.uses[root]
		if u == nil {
			u = &use{}
			c.uses[root] = u
		}
		u.calls++
	}
	return h
}

// Returned takes a call out that has returned after all, and tells of it.
func (c *Calls) Returned(h *Call) {
	dir, name := split(h.Path)
	c.mu.Lock()
	c.count.Add(-1)
	delete(c.hanging, h)
	if c.byDir[dir][name]--; c.byDir[dir][name] <= 0 {
		delete(c.byDir[dir], name)
		if len(c.byDir[dir]) == 0 {
			delete(c.byDir, dir)
		}
	}
	if h.dev != 0 {
		if c.devices[h.dev]--; c.devices[h.dev] <= 0 {
			delete(c.devices, h.dev)
		}
	}
	shut := false
	if u := c.uses[h.root]; h.root != nil && u != nil {
		if u.calls--; u.calls == 0 {
			delete(c.uses, h.root)
			shut = u.close
		}
	}
	paths := []string{h.Path}
	if len(c.hanging) < Many {
		for p := range c.skipped {
			paths = append(paths, p)
		}
		clear(c.skipped)
	}
	closed := c.closed
	c.mu.Unlock()
	if shut {
		h.root.Close()
	}
	if closed {
		return
	}
	for _, p := range paths {
		c.answered(p)
	}
}

// Close closes a root once no call that hangs needs it.
func (c *Calls) Close(root tree.Root) {
	c.mu.Lock()
	u := c.uses[root]
	if u != nil {
		u.close = true
	}
	c.mu.Unlock()
	if u == nil {
		root.Close()
	}
}

// Names are the names of a directory that hang; nil: none. The map is the caller's.
func (c *Calls) Names(dir string) map[string]bool {
	if !c.Any() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var names map[string]bool
	for name := range c.byDir[dir] {
		if names == nil {
			names = map[string]bool{}
		}
		names[name] = true
	}
	return names
}

// Blocked reports whether the directory at path is not to be asked, as it hangs, or much of its file system does.
func (c *Calls) Blocked(path string, dev uint64) bool {
	if !c.Any() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, name := split(path)
	if c.byDir[dir][name] > 0 {
		return true
	}
	if dev == 0 || c.devices[dev] == 0 || len(c.hanging) < Many {
		return false
	}
	const remembered = 1024
	if len(c.skipped) < remembered {
		c.skipped[path] = struct{}{}
	} else {
		clear(c.skipped)
		c.skipped["/"] = struct{}{}
	}
	return true
}

// blocks reports whether a look at path has to be left out: it hangs, something above it does, or several of its
// directory's entries do.
func (c *Calls) blocks(path string) bool {
	if !c.Any() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, name := split(path)
	if len(c.byDir[dir]) >= crowd {
		return true
	}
	for {
		if c.byDir[dir][name] > 0 {
			return true
		}
		if dir == "" || dir == "/" {
			return false
		}
		dir, name = split(dir)
	}
}

// Hurry has every call that is waited for, and those to come, count as hanging after Patience: the agent ends.
func (c *Calls) Hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.hurry:
	default:
		close(c.hurry)
	}
}

// Stop ends what Calls keeps running. Calls that hang go on, and nobody is told of their end.
func (c *Calls) Stop() {
	c.Hurry()
	c.mu.Lock()
	idle := c.idle
	c.idle, c.closed = nil, true
	c.mu.Unlock()
	for _, h := range idle {
		close(h.work)
	}
}

// split is the directory that path is in, without a slash at its end, and the name.
func split(path string) (dir, name string) {
	if path == "/" || path == "" {
		return "", path
	}
	dir, name = event.Split(path)
	return dir[:max(1, len(dir)-1)], name
}

// Error is a PathError with ErrHangs.
func Error(op, path string) error { return &fs.PathError{Op: op, Path: path, Err: ErrHangs} }
