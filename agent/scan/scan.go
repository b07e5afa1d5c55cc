// Package scan reads a whole tree in parallel and says what it saw as listings, one for each directory.
//
// Invariants: a directory's listing is emitted before those of its subdirectories; its observation time was taken before
// it was opened; every directory is handed to Cover, which watches it, before it is read, so that nothing falls between
// a scan and the watch. What cannot be read is never taken for empty: an unreadable directory has no listing, and a name
// whose lstat fails is left out of the ranges that its directory's listings speak of, so what is known of either stands;
// both are reported. Memory is bounded by the workers, the names of the largest directory and the directories pending.
// Package agent runs it.
package scan

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// ErrMoved says that a directory is not, or no longer, where the scan found it. Whoever says so knows of the change, so
// the scan passes the directory over.
var ErrMoved = errors.New("the directory has moved")

// Place is a directory that is being read.
type Place interface {
	// Check is called when the listing's turn has come: ErrMoved keeps it out, an event goes before it.
	Check(listing *event.Event) (*event.Event, error)
	// Done is called once the listing was emitted, or will not be.
	Done()
}

// Config is what to scan, and where to.
type Config struct {
	Root             tree.Root
	Excludes         *tree.Excludes
	CrossFilesystems bool
	Workers          int // default: two for each processor, at most 32
	Evidence         event.Evidence
	Now              func() int64 // the store's time, strictly growing, ns
	// Cover, unless nil, watches an open directory. ErrMoved passes it over.
	Cover func(root tree.Root, d tree.Dir, path string) (Place, error)
	// Emit takes the events; it may wait. The event is reused afterwards. place is nil for marks. Without Emit, the
	// scan covers the directories and looks at nothing else.
	Emit func(ctx context.Context, ev *event.Event, place Place) error
	// OnError, unless nil, is told of what could not be read.
	OnError func(path string, err error)
	Counts  *Counts // must not be nil
	// Unchanged, unless nil, is asked with a directory's mtime whether its entries need no look; the event then says no
	// more than that. Listed is told of every directory that was listed in full.
	Unchanged func(path string, mtime int64) bool
	Listed    func(path string, mtime int64)
	// Shallow leaves the subdirectories out.
	Shallow bool
}

// Counts are what a scan has seen so far. They may be read while it runs.
type Counts struct {
	Files, Directories, Others, Bytes, Errors atomic.Uint64
}

// Mark fills in the counts of a mark.
func (c *Counts) Mark(kind event.MarkKind) event.Mark {
	return event.Mark{
		Kind: kind, Files: c.Files.Load(), Directories: c.Directories.Load(), Others: c.Others.Load(),
		Bytes: c.Bytes.Load(), Errors: c.Errors.Load(),
	}
}

// Run scans from the directory at path down. It ends early when ctx does or Emit fails.
func Run(ctx context.Context, cfg Config, path string) error {
	workers := cfg.Workers
	if workers <= 0 {
		workers = min(32, 2*runtime.GOMAXPROCS(0))
	}
	q := newQueue()
	parent, name := "", path
	if path != "/" {
		parent, name = event.Split(path)
		if parent != "/" {
			parent = parent[:len(parent)-1]
		}
	}
	q.push([]task{{parent, name}})
	group, workCtx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(workCtx, q.stop)
	defer stop()
	for range workers {
		group.Go(func() error {
			w := worker{cfg: &cfg, queue: q}
			return guard.Do(func() error { return w.run(workCtx) })
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("scan %q: %w", path, err)
	}
	return ctx.Err()
}

// task is a directory to be read. The path is put together late: many tasks of one directory share parent.
type task struct{ parent, name string }

func (t task) path() string {
	if t.parent == "" {
		return t.name
	}
	return event.Join(t.parent, t.name)
}

// queue is the directories to be read, the last in first, which keeps it short and the paths together.
type queue struct {
	mu      sync.Mutex
	change  *sync.Cond
	tasks   []task
	pending int // in tasks, or being worked on
	stopped bool
}

func newQueue() *queue {
	q := &queue{}
	q.change = sync.NewCond(&q.mu)
	return q
}

// push adds tasks; the first of them is the next to be popped.
func (q *queue) push(tasks []task) {
	if len(tasks) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := len(tasks) - 1; i >= 0; i-- {
		q.tasks = append(q.tasks, tasks[i])
	}
	q.pending += len(tasks)
	q.change.Broadcast()
}

// pop waits for a task; false means that all is done, or stopped.
func (q *queue) pop() (task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.tasks) == 0 && q.pending > 0 && !q.stopped {
		q.change.Wait()
	}
	if len(q.tasks) == 0 || q.stopped {
		return task{}, false
	}
	last := len(q.tasks) - 1
	t := q.tasks[last]
	q.tasks[last] = task{}
	q.tasks = q.tasks[:last]
	return t, true
}

// done says that a task, and with it what it pushed, needs no more work of the worker.
func (q *queue) done() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pending--; q.pending == 0 {
		q.change.Broadcast()
	}
}

func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.change.Broadcast()
}
