package hang

import (
	"sync"
	"time"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// System is sys with every call bounded in time: one that takes longer fails with ErrHangs.
func System(sys tree.System, calls *Calls) tree.System { return &system{sys, calls} }

type system struct {
	sys   tree.System
	calls *Calls
}

// helper is a goroutine that makes calls for others.
type helper struct {
	work  chan func()
	done  chan error // a panic, which is the caller's
	timer *time.Timer
}

// do makes one call at path. One that is given up goes on, and late (unless nil) is called when it returns: nothing that it
// uses may be touched by its caller any more. An error without that means that it was not made at all.
func (c *Calls) do(op, path string, root tree.Root, call, late func()) (gaveUp bool, err error) {
	if path != rootPath && c.Full() != nil || c.blocks(path) {
		return false, Error(op, path)
	}
	h := c.helper()
	h.work <- call
	h.timer.Reset(c.after)
	var fault error
	select {
	case fault = <-h.done:
	case <-h.timer.C:
		return c.giveUp(h, op, path, root, late)
	case <-c.hurry:
		h.timer.Reset(Patience)
		select {
		case fault = <-h.done:
		case <-h.timer.C:
			return c.giveUp(h, op, path, root, late)
		}
	}
	h.timer.Stop()
	c.release(h)
	if fault != nil {
		panic(fault)
	}
	return false, nil
}

func (c *Calls) giveUp(h *helper, op, path string, root tree.Root, late func()) (bool, error) {
	hung := c.Add(path, 0, root)
	go func() {
		<-h.done
		if late != nil {
			late()
		}
		c.Returned(hung)
		c.release(h)
	}()
	return true, Error(op, path)
}

func (c *Calls) helper() *helper {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.idle); n > 0 {
		h := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return h
	}
	h := &helper{work: make(chan func()), done: make(chan error, 1), timer: time.NewTimer(time.Hour)}
	go func() {
		defer h.timer.Stop()
		for call := range h.work {
			h.done <- guard.Do(func() error { call(); return nil })
		}
	}()
	return h
}

func (c *Calls) release(h *helper) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		close(h.work)
		return
	}
	c.idle = append(c.idle, h)
}

// rootPath is what a call for the root itself is noted as: no path below it.
const rootPath = "/"

func (s *system) Resolve(dir string) (string, error) { return s.sys.Resolve(dir) }
func (s *system) Remote(dir string) bool             { return s.sys.Remote(dir) }

// Mounts and MountChanges ask the kernel alone, which does not hang.
func (s *system) Mounts(root string) (tree.Mounts, error) { return s.sys.Mounts(root) }
func (s *system) MountChanges() uint64                    { return s.sys.MountChanges() }

func (s *system) OpenRoot(path string) (tree.Root, error) {
	var opened struct {
		root tree.Root
		err  error
	}
	o := &opened
	_, err := s.calls.do("open root", rootPath, nil, func() { o.root, o.err = s.sys.OpenRoot(path) }, func() {
		if o.err == nil {
			o.root.Close()
		}
	})
	if err != nil {
		return nil, err
	}
	if o.err != nil {
		return nil, o.err
	}
	return &root{o.root, s.calls}, nil
}

func (s *system) MountPoint(path string) (string, error) {
	var mount string
	var failed error
	if _, err := s.calls.do("find mount point", rootPath, nil, func() { mount, failed = s.sys.MountPoint(path) }, nil); err != nil {
		return "", err
	}
	return mount, failed
}

// Bare is the root below one of System, for those who watch over their calls by themselves.
func Bare(r tree.Root) tree.Root {
	if r, ok := r.(*root); ok {
		return r.Root
	}
	return r
}

type root struct {
	tree.Root
	calls *Calls
}

func (r *root) Close() { r.calls.Close(r.Root) }

func (r *root) OpenDir(path string) (tree.Dir, error) {
	var opened struct {
		dir tree.Dir
		err error
	}
	o := &opened
	_, err := r.calls.do("open", path, r.Root, func() { o.dir, o.err = r.Root.OpenDir(path) }, func() {
		if o.err == nil {
			o.dir.Close()
		}
	})
	if err != nil {
		return nil, err
	}
	if o.err != nil {
		return nil, o.err
	}
	return &dir{Dir: o.dir, root: r, path: path}, nil
}

// dir is a directory, until a call on it hangs.
type dir struct {
	tree.Dir
	root *root
	path string

	mu     sync.Mutex
	hangs  bool // the call closes it
	closed bool
}

// Bare implements tree.Bounded.
func (d *dir) Bare() tree.Dir { return d.Dir }

// Within implements tree.Bounded.
func (d *dir) Within(call func()) error {
	_, err := d.do("watch", d.path, call)
	return err
}

func (d *dir) do(op, path string, call func()) (gaveUp bool, err error) {
	d.mu.Lock()
	hangs := d.hangs
	d.mu.Unlock()
	if hangs {
		return false, Error(op, path)
	}
	if gaveUp, err = d.root.calls.do(op, path, d.root.Root, call, d.Dir.Close); gaveUp {
		d.mu.Lock()
		d.hangs = true
		d.mu.Unlock()
	}
	return gaveUp, err
}

func (d *dir) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed && !d.hangs {
		d.Dir.Close()
	}
	d.closed = true
}

func (d *dir) Info() (tree.Info, error) {
	var info tree.Info
	var failed error
	if _, err := d.do("stat", d.path, func() { info, failed = d.Dir.Info() }); err != nil {
		return tree.Info{}, err
	}
	return info, failed
}

func (d *dir) ACL() (event.ACL, error) {
	var acl event.ACL
	var failed error
	if _, err := d.do("getxattr", d.path, func() { acl, failed = d.Dir.ACL() }); err != nil {
		return "", err
	}
	return acl, failed
}

func (d *dir) Read(n *tree.Names) error {
	own := &tree.Names{}
	var failed error
	if _, err := d.do("read", d.path, func() { failed = d.Dir.Read(own) }); err != nil {
		return err
	}
	*n = *own
	return failed
}

func (d *dir) Lstat(n *tree.Names, i int) (tree.Info, error) {
	var info tree.Info
	var failed error
	own := *n
	gaveUp, err := d.do("lstat", event.Join(d.path, n.At(i)), func() { info, failed = d.Dir.Lstat(&own, i) })
	if gaveUp {
		*n = n.Clone() // the call keeps the memory that it has
	}
	if err != nil {
		return tree.Info{}, err
	}
	return info, failed
}

func (r *root) Looker() tree.Looker { return &looker{root: r, Looker: r.Root.Looker()} }

// looker takes another Looker after a call that hangs.
type looker struct {
	tree.Looker
	root *root
}

func (l *looker) Lstat(path string) (tree.Info, error) {
	return bounded(l, path, func(mine tree.Looker) (tree.Info, error) { return mine.Lstat(path) })
}

func (l *looker) Identify(path string) (tree.ID, error) {
	return bounded(l, path, func(mine tree.Looker) (tree.ID, error) { return mine.Identify(path) })
}

func (l *looker) Written(path string, id tree.ID) (written, known bool) {
	known, err := bounded(l, path, func(mine tree.Looker) (known bool, _ error) {
		written, known = mine.Written(path, id)
		return known, nil
	})
	return written && err == nil, known && err == nil
}

// bounded is one look at path.
func bounded[T any](l *looker, path string, look func(tree.Looker) (T, error)) (got T, err error) {
	var seen T
	var failed error
	mine := l.Looker
	gaveUp, err := l.root.calls.do("lstat", path, l.root.Root, func() { seen, failed = look(mine) }, mine.Close)
	if gaveUp {
		l.Looker = l.root.Root.Looker()
	}
	if err != nil {
		return got, err
	}
	return seen, failed
}
