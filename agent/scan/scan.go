// Package scan reads a whole tree in parallel and says what it saw as listings, one for each directory.
//
// A Walk is one scan for several receivers. Invariants: a directory's listing is emitted before those of its subdirectories,
// but to a receiver that joined late; its observation time was taken before it was opened; every directory is handed to Cover, which watches it, before it is read, so that nothing falls between
// a scan and the watch. What cannot be read is never taken for empty: an unreadable directory has no listing, and a name
// whose lstat fails is left out of the ranges that its directory's listings speak of, so what is known of either stands;
// both are reported. A call that does not return takes its worker along and nothing else: the path counts as unreadable,
// another worker goes on, and the scan ends. Memory is bounded by the workers, the names of the largest directory and the
// directories pending. Package agent runs it.
package scan

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fustor/fustor/agent/hang"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// ErrMoved says that a directory is not, or no longer, where the scan found it. Whoever says so knows of the change, so
// the scan passes the directory over.
var ErrMoved = errors.New("the directory has moved")

// Reading is a directory that a scan is reading, as Config.Cover knows it. The scan calls Still before it hands out a listing;
// each receiver calls Check.
type Reading interface {
	// Still answers ErrMoved if the directory is no longer where the scan found it. It may ask the file system, so it may take
	// long.
	Still() error
	// Check is called when the listing's turn has come: ErrMoved keeps it out, an event goes before it.
	Check(listing *event.Event) (*event.Event, error)
	// Done is called once the listing was emitted, or will not be.
	Done()
}

// Known is a directory as an earlier scan listed it.
type Known struct {
	Name string
	// Mtime is the directory's when it was listed in full, ns. 0: it was not, or that mtime proves nothing.
	Mtime int64
	Dirs  []*Known // its subdirectories, sorted by name
}

// Child is the subdirectory of that name; nil if there is none. k may be nil.
func (k *Known) Child(name string) *Known {
	if k == nil {
		return nil
	}
	if i, ok := k.find(name); ok {
		return k.Dirs[i]
	}
	return nil
}

// Insert adds a subdirectory that is not there yet.
func (k *Known) Insert(c *Known) {
	i, _ := k.find(c.Name)
	k.Dirs = slices.Insert(k.Dirs, i, c)
}

func (k *Known) find(name string) (int, bool) {
	return slices.BinarySearchFunc(k.Dirs, name, func(d *Known, name string) int { return strings.Compare(d.Name, name) })
}

// Config is what to scan, and how.
type Config struct {
	Root             tree.Root // close it by Hangs.Close
	Excludes         *tree.Excludes
	CrossFilesystems bool
	Mounts           tree.Mounts  // what is mounted below the root
	Workers          int          // at most; default 32. A scan begins with few and finds out how many are good for the file server
	Now              func() int64 // what observations are stamped with; strictly growing
	// Rate, unless nil, bounds the entries looked at. Idle has the workers get the disk and the processor when nobody
	// else wants them.
	Rate *Rate
	Idle bool
	// Hangs are the calls that do not return; nil: the scan has its own.
	Hangs *hang.Calls
	// Cover, unless nil, watches an open directory, of which info is a look. ErrMoved passes it over.
	Cover func(root tree.Root, d tree.Dir, path string, info tree.Info) (Reading, error)
	// Shallow leaves the subdirectories out.
	Shallow bool
	// LeaveOut, unless nil, is asked of each subdirectory: one that is left out is not read, nor what is below it.
	LeaveOut func(path string) bool
	// Joinable has a Walk remember which directories it has visited, so that others may join it while it runs.
	Joinable bool
}

// Receiver is one that a scan is made for. Its functions may be called by several workers at once. One that panics ends the
// receiver's part in the scan.
type Receiver struct {
	Evidence event.Evidence
	// Emit takes the events, whose fields it may change; the event is reused afterwards. reading is nil for all but listings.
	// ErrMoved passes the directory over; any other error ends the receiver's part. Without Emit, the scan covers the
	// directories and looks at nothing else.
	Emit func(ctx context.Context, ev *event.Event, reading Reading) error
	// Room, unless nil, says whether Emit should be called now. It must not wait.
	Room func() Room
	// OnError, unless nil, is told of what could not be read.
	OnError func(path string, err error)
	Counts  *Counts // must not be nil
	// LeftOut, unless nil, counts what the exclude patterns decide on in the directories whose names are read.
	LeftOut *tree.Tally
	// Pseudo, unless nil, is told of each file system below the root that is left out because it holds no stored files.
	Pseudo func(path, kind string)
	// Look, unless nil, is asked with a directory's mtime how much of it is to be looked at; nil: List.
	// Same is asked of a directory to Compare, with what its entries are now, whether they are as they were.
	// Listed is told of every directory that was listed in full, once its listing was emitted, with its subdirectories. mtime 0 proves
	// nothing: something is mounted there that is left out.
	Look   func(path string, mtime int64) Look
	Same   func(path string, content Content) bool
	Listed func(path string, mtime int64, content Content, subdirectories iter.Seq[string])
	// Known, unless nil, is the directory that the scan begins with. One whose mtime is as it is known is not read: nothing is
	// emitted, its subdirectories are the known ones, and Kept (unless nil) is told.
	Known *Known
	Kept  func(path string, mtime int64)
}

// Look is how much of a directory a receiver wants.
type Look int

const (
	// List: it gets a listing.
	List Look = iota
	// Compare: all entries are looked at. If Receiver.Same says that they are as they were, it gets an event that the directory
	// has not changed, otherwise a listing.
	Compare
	// Skip: its entries need no look. It gets an event that the directory has not changed.
	Skip
)

// Room is how much a receiver can take.
type Room int

const (
	// Free: it takes events.
	Free Room = iota
	// Slow: it should not get more for now, unless another receiver of the walk is Free.
	Slow
	// Full: it must not get more. It is left behind if another receiver of the walk is Free.
	Full
)

// Counts are what a scan has seen so far. They may be read while it runs.
type Counts struct {
	Files, Directories, Others, Bytes, Errors atomic.Uint64
	// Looked is how many names were looked at, again ones too. It grows within a directory, the others at the directory's end.
	Looked atomic.Uint64
}

// Mark fills in the counts of a mark.
func (c *Counts) Mark(kind event.MarkKind) event.Mark {
	return event.Mark{
		Kind: kind, Files: c.Files.Load(), Directories: c.Directories.Load(), Others: c.Others.Load(),
		Bytes: c.Bytes.Load(), Errors: c.Errors.Load(),
	}
}

// Run scans from the directory at path down. It ends early when ctx does or Emit fails.
func Run(ctx context.Context, cfg Config, to *Receiver, path string) error {
	return RunAll(ctx, cfg, to, []string{path})
}

// RunAll scans from each of the directories down, none of which is below another unless the scan is shallow.
func RunAll(ctx context.Context, cfg Config, to *Receiver, paths []string) error {
	w := NewWalk(cfg, paths...)
	part := w.Join(ctx, to)
	_ = w.Run(ctx) // the part has the error
	return part.err
}

// unread is a directory that is still to be read. The path is put together late: many of one directory share parent.
type unread struct {
	parent, name string
	dev          uint64   // 0: not known
	known        []*Known // by a part's place; nil: nobody knows it
	hangs        bool     // a call for it hung: it is only to be reported
}

// knownTo is the directory as a part knows it; nil: it does not.
func (t unread) knownTo(p *Part) *Known {
	if p.place < len(t.known) {
		return t.known[p.place]
	}
	return nil
}

func (t unread) path() string {
	if t.parent == "" {
		return t.name
	}
	return event.Join(t.parent, t.name)
}

// queue is the directories to be read, the last in first, which keeps it short and the paths together.
type queue struct {
	mu      sync.Mutex
	change  *sync.Cond
	tasks   []unread
	pending int // in tasks, or being worked on
	waiting int // workers
	stopped bool
}

func newQueue() *queue {
	q := &queue{}
	q.change = sync.NewCond(&q.mu)
	return q
}

// push adds tasks; the first of them is the next to be popped.
func (q *queue) push(tasks []unread) {
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

// again puts back a task that was popped and is not done.
func (q *queue) again(t unread) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tasks = append(q.tasks, t)
	q.change.Broadcast()
}

// short reports whether workers wait for tasks.
func (q *queue) short() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting > 0
}

// pop waits for a task; false means that all is done, or stopped.
func (q *queue) pop() (unread, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting++
	for len(q.tasks) == 0 && q.pending > 0 && !q.stopped {
		q.change.Wait()
	}
	q.waiting--
	if len(q.tasks) == 0 || q.stopped {
		return unread{}, false
	}
	last := len(q.tasks) - 1
	t := q.tasks[last]
	q.tasks[last] = unread{}
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
