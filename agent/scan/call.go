package scan

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// errAbandoned ends a worker whose call took so long that its pool has gone on without it. All that it had is void.
var errAbandoned = errors.New("given up")

// call is what a worker is doing, in one number, so that being watched over costs a worker no more than an atomic
// operation a call: bit 0 is set while it is in a call; then the name's index plus one, 0 for the directory itself; then a
// count, so that no two calls have the same number.
type call struct {
	now atomic.Uint64
	own uint64 // what the worker has put there
	n   uint32
}

const (
	inCall    = 1
	indexBits = 31
	abandoned = 1 << 63
)

func (c *call) encode(index int) uint64 {
	c.n++
	return uint64(c.n&(1<<30-1))<<(indexBits+1) | uint64(index+1)<<1 | inCall
}

// begin says that a call for the name of this index, or -1, comes.
func (c *call) begin(index int) {
	c.own = c.encode(index)
	c.now.Store(c.own)
}

// next says that one call has returned and another comes; false: the worker was abandoned.
func (c *call) next(index int) bool {
	next := c.encode(index)
	ok := c.now.CompareAndSwap(c.own, next)
	c.own = next
	return ok
}

// end says that the call has returned; false: the worker was abandoned.
func (c *call) end() bool {
	ok := c.now.CompareAndSwap(c.own, c.own&^inCall)
	c.own &^= inCall
	return ok
}

// abandon gives a worker up that is still in the call that it was seen in, and tells in which.
func (c *call) abandon(seen uint64) (index int, ok bool) {
	if !c.now.CompareAndSwap(seen, abandoned) {
		return 0, false
	}
	return int(seen>>1&(1<<indexBits-1)) - 1, true
}

// fate is what became of a worker that was given up.
type fate struct {
	mu   sync.Mutex
	left bool
	then func()
}

// after has f called once the worker has ended, at once if it has.
func (f *fate) after(then func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.then = then; f.left {
		go then()
	}
}

func (f *fate) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left = true; f.then != nil {
		go f.then()
	}
}

// open and those below are the calls of a directory itself. Each answers errAbandoned where the pool did not wait for it.
func (w *worker) open(path string) (tree.Dir, error) {
	w.call.begin(-1)
	d, err := w.cfg.Root.OpenDir(path)
	w.calls++
	if !w.call.end() {
		if err == nil {
			d.Close()
		}
		return nil, errAbandoned
	}
	return d, err
}

// lstat looks at a path by itself.
func (w *worker) lstat(path string) (tree.Info, error) {
	w.call.begin(-1)
	looker := w.cfg.Root.Looker()
	defer looker.Close()
	info, err := looker.Lstat(path)
	w.calls++
	if !w.call.end() {
		return info, errAbandoned
	}
	return info, err
}

func (w *worker) info(d tree.Dir) (tree.Info, error) {
	w.call.begin(-1)
	info, err := d.Info()
	w.calls++
	if !w.call.end() {
		return info, errAbandoned
	}
	return info, err
}

func (w *worker) acl(d tree.Dir) (event.ACL, error) {
	w.call.begin(-1)
	acl, err := d.ACL()
	w.calls++
	if !w.call.end() {
		return "", errAbandoned
	}
	return acl, err
}

func (w *worker) cover(d tree.Dir, path string, info tree.Info) (Reading, error) {
	w.call.begin(-1)
	reading, err := w.cfg.Cover(w.cfg.Root, d, path, info)
	w.calls++
	if !w.call.end() {
		if err == nil {
			reading.Done()
		}
		return nil, errAbandoned
	}
	return reading, err
}

func (w *worker) read(d tree.Dir) error {
	w.names.Reset()
	w.call.begin(-1)
	err := d.Read(&w.names)
	w.calls++
	if !w.call.end() {
		return errAbandoned
	}
	return err
}

// watchClock begins to measure what calls take, and stopClock ends it, as waiting for others says nothing of the server.
func (w *worker) watchClock() { w.begun = time.Now() }

func (w *worker) stopClock() {
	if !w.begun.IsZero() {
		w.spent += time.Since(w.begun)
		w.begun = time.Time{}
	}
}
