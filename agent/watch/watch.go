// Package watch turns the kernel's notices about a tree into realtime events.
//
// A notice is a hint where to look; the Watcher emits what it finds there. A watch belongs to a directory and not to a path:
// the model knows where each directory is now. A directory is watched before it is read, and a subtree that appears is read
// completely. Therefore the last look at a path is made after its last change, whatever the races. Memory is bounded; beyond
// that, notices count as lost and the agent scans again. Scans call Cover for every directory before they read it.
//
// docs/design/watching.md explains it, with drawings: read it before you change this package.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// Config is what to watch, and the functions that take what comes of it.
type Config struct {
	Root             string // resolved, absolute
	Excludes         *tree.Excludes
	CrossFilesystems bool
	Method           string       // how to watch: Auto (the default), None, or one that the platform has
	Skew             func() int64 // Now minus the file server's time, ns; nil: none
	// Mount is where the root's file system was mounted when the root was watched before. Where it is not mounted there now, the
	// root is lost from the start: what is there is what lies beneath. Empty: not known.
	Mount string
	// Hot is how long a view counts a file as being written after a change; nil or 0: a minute.
	Hot func() time.Duration
	Now func() int64 // what observations are stamped with, strictly growing, ns
	// Emit takes events, all or none; false means that there is no room for now. It must not wait. HasRoom tells
	// beforehand.
	Emit    func([]event.Event) bool
	HasRoom func() bool
	// Overflow says that notices were lost, or never made: what is below these directories must be scanned again. nil: everything.
	// It is called before Status says Realtime of what was not watched.
	Overflow func(subtrees []string)
	// RootLost says that the root is gone, or not the directory that it was; RootBack that it is there, perhaps new,
	// and must be covered again.
	RootLost func(error)
	RootBack func()
	// CoverAgain says that directories can be watched now that could not when they were covered; may be nil.
	CoverAgain func()
	// OnError, unless nil, is told of what could not be looked at.
	OnError func(path string, err error)
	Logger  *slog.Logger

	Window     time.Duration // how long hints are gathered before the look, where looks follow each other; default 100 ms
	WriteEvery time.Duration // between looks at a file that is being written; default 1 s
	RootEvery  time.Duration // between looks at the root itself; default 5 s
	MaxPending int           // notices, and paths, that may wait; default 256 Ki each
	RetryEvery time.Duration // between tries to watch where no method works; default 1 min
	// QuotaEvery is the time between looks at the system's limit, where it is too low; default 1 min.
	QuotaEvery time.Duration

	// System and Notifier are the operating system's unless a test puts others in their place.
	System   tree.System
	Notifier func(root string) (Notifier, error)

	addError func(path string) error // for tests: what adding a watch answers
	gate     func()                  // for tests: called before notices are read
}

// How much of a tree is watched.
const (
	Realtime  = "realtime"        // every directory, since it was scanned last
	HotSet    = "realtime-hotset" // those that were active last; the others are audited
	AuditOnly = "audit-only"      // none
)

// Status is what the watcher is doing.
type Status struct {
	Coverage    string // Realtime, HotSet or AuditOnly
	Method      string // fanotify, inotify, fsnotify or none
	Reason      string // why the method, or the coverage, is no better; empty: it is the best
	Directories int    // known
	Watches     int    // directories that are watched
	Unwatched   int    // directories that are known and not watched
	Limit       int    // watches that may be held; 0: any number
	Pending     int    // paths to be looked at
	Overflows   uint64 // since the start
	Errors      uint64 // looks that failed
	Unreadable  int    // paths that cannot be read for want of rights
	// Told is until when everything that the kernel has told was looked at and emitted, the time of Config.Now; 0: nothing yet. Files
	// that are being written to are looked at now and then.
	Told int64
}

// Watcher watches one tree.
//
// Two goroutines of Run work on it. The reader only moves notices from the kernel into queue. The loop applies them to model
// and hints, looks at the paths and emits; nothing else emits. Scans call Cover and the methods of its Reading from goroutines
// of their own. mu guards what both sides use, and is never held over a call into the file system, which may hang; the last try
// of coverWatched is the one exception.
type Watcher struct {
	cfg      Config
	notifier Notifier
	queue    queue
	identity rootIdentity

	mu         sync.Mutex
	model      model
	generation uint64       // of the coverage that runs, or ran last
	coverages  int          // coverages that run
	skew       atomic.Int64 // what Config.Skew said last: it may wait for those who hold the lock
	passed     atomic.Int64 // some answer of Config.Now: times up to it are past
	blind      bool         // nothing is watched, and directories are not kept in the model
	gap        bool         // directories have been unwatched, and since then not all of them were watched and then scanned
	limit      limitState
	budget     budget
	stats      Status
	mounts     tree.Mounts // below the root; only the loop changes it
	again      []string    // those of mounts that show directories of the tree once more
	lost       error       // why the root is lost, nil if it is not
	hints      hints
	unreadable unreadablePaths

	settling chan chan struct{} // requests for the loop: see Settle

	// Only the loop uses these.
	out       []event.Event
	gone      map[string]bool        // directories that this flush found gone
	inPlace   map[string]bool        // directories that this flush found to be where the model says, or not
	linked    map[string]linkedFiles // files with several names that this flush has emitted, by their directories
	retries   map[string]int
	open      openFiles
	rootDoubt bool     // something happened to the root
	unheard   []string // directories to be scanned: see scanUnheard
	// mountChanges is what System.MountChanges said when mounts was made.
	mountChanges uint64
}

// New prepares a watcher. It watches nothing until directories are covered.
func New(cfg Config) (*Watcher, error) {
	for _, d := range []struct {
		at    *time.Duration
		value time.Duration
	}{{&cfg.Window, 100 * time.Millisecond}, {&cfg.WriteEvery, time.Second}, {&cfg.RootEvery, 5 * time.Second}, {&cfg.QuotaEvery, quotaEvery}} {
		if *d.at <= 0 {
			*d.at = d.value
		}
	}
	if cfg.MaxPending <= 0 {
		cfg.MaxPending = 256 << 10
	}
	if cfg.gate == nil {
		cfg.gate = func() {}
	}
	if cfg.System == nil {
		cfg.System = tree.OS
	}
	if cfg.Skew == nil {
		cfg.Skew = func() int64 { return 0 }
	}
	if cfg.Hot == nil {
		cfg.Hot = func() time.Duration { return defaultHot }
	}
	if cfg.CoverAgain == nil {
		cfg.CoverAgain = func() {}
	}
	if cfg.Notifier == nil {
		cfg.Notifier = func(root string) (Notifier, error) {
			return NewNotifier(root, cfg.Method, cfg.RetryEvery, cfg.Logger), nil
		}
	}
	identity, err := identify(cfg.System, cfg.Root)
	if err != nil {
		return nil, err
	}
	n, err := cfg.Notifier(cfg.Root)
	if err != nil {
		return nil, err
	}
	w := &Watcher{cfg: cfg, notifier: n, identity: identity, retries: map[string]int{}, inPlace: map[string]bool{}, unreadable: unreadablePaths{}, settling: make(chan chan struct{})}
	method, _ := n.Method()
	w.blind = method == None
	w.gap = w.blind
	w.queue = queue{max: max(cfg.MaxPending, leastQueue), ready: make(chan struct{}, 1)}
	w.model.reset()
	w.hints.reset()
	w.open.reset()
	w.readMounts()
	if cfg.Mount != "" && cfg.Mount != identity.mount {
		w.lost = otherMount(cfg.Root, cfg.Mount, identity.mount)
		w.identity.mount = cfg.Mount
	}
	return w, nil
}

// Run watches until ctx ends. What the kernel told by then is still looked at, for at most a few seconds.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.notifier.Close()
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { _ = w.finish() })
	defer stop()
	drained := make(chan struct{})
	group.Go(func() error {
		defer close(drained)
		return guard.Do(w.read)
	})
	group.Go(func() error {
		err := guard.Do(func() error { return w.loop(ctx) })
		err = errors.Join(err, w.finish()) // it may have ended early
		<-drained
		return errors.Join(err, guard.Do(func() error { w.drain(); return nil }))
	})
	return group.Wait()
}

// finish has the notifier's Read come back.
func (w *Watcher) finish() error {
	return guard.Do(func() error { w.notifier.Finish(); return nil })
}

// read moves notices out of the kernel's small queue, whatever the loop is doing.
func (w *Watcher) read() error {
	for {
		w.cfg.gate()
		notices, err := w.notifier.Read()
		if errors.Is(err, ErrFinished) {
			return nil
		}
		if err != nil {
			return err
		}
		w.queue.add(notices)
	}
}

// loop applies notices when they come, and does what is due in between. It is the only goroutine that emits.
func (w *Watcher) loop(ctx context.Context) error {
	tick := time.NewTimer(0)
	defer tick.Stop()
	t := times{root: time.Now(), writes: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.queue.ready:
			w.applyNotices()
		case settled := <-w.settling:
			w.drain()
			close(settled)
		case <-tick.C:
		}
		if err := w.doDue(ctx, &t); err != nil && ctx.Err() == nil {
			return err
		}
		switch wait := time.Until(t.due); {
		case t.due.IsZero():
			tick.Reset(min(w.cfg.RootEvery, w.cfg.WriteEvery))
		case wait > 0:
			tick.Reset(wait)
		default: // there is no room
			tick.Reset(w.cfg.Window / 4)
		}
	}
}

// times are when the loop last did what it does now and then, and when it is to look at the paths that have hints; zero: there are none.
type times struct{ root, writes, flush, due time.Time }

// gathered is when hints of which the first is there now are to be looked at: Config.Window later, so that many notices of one path cost one
// look. After a quiet time it is a fifth of that: somebody may be waiting for a single change, and is there to see it.
func (t *times) gathered(now time.Time, window time.Duration) time.Time {
	if now.Sub(t.flush) > 5*window {
		window /= 5
	}
	return now.Add(window)
}

// doDue checks the root, releases files that are being written to, asks for another quota of watches and flushes the hints, each
// when it is due.
func (w *Watcher) doDue(ctx context.Context, t *times) error {
	now := time.Now()
	if now.Sub(t.root) >= w.cfg.RootEvery || w.isLost() && now.Sub(t.root) >= w.cfg.RootEvery/5 || w.rootDoubt && !w.isLost() {
		t.root = now
		w.checkRoot()
	}
	if now.Sub(t.writes) >= w.cfg.WriteEvery {
		w.skew.Store(w.cfg.Skew())
		w.checkMounts()
	}
	w.mu.Lock()
	if now.Sub(t.writes) >= w.cfg.WriteEvery {
		t.writes = now
		w.hints.releaseWrites(w.notifier.Closes(), now)
		w.model.reap(now, w.notifier)
	}
	w.reportLimit()
	w.mu.Unlock()
	if w.refreshQuota(now) {
		w.cfg.CoverAgain()
	}
	if !w.isLost() {
		if err := w.lookAtOpen(ctx, now); err != nil {
			return err
		}
	}
	w.mu.Lock()
	lost, pending := w.lost != nil, len(w.hints.paths)+len(w.hints.marks)
	w.mu.Unlock()
	switch {
	case lost || pending == 0:
		t.due = time.Time{}
		return nil
	case t.due.IsZero():
		t.due = t.gathered(now, w.cfg.Window)
		return nil
	case now.Before(t.due) || !w.cfg.HasRoom():
		return nil
	}
	t.flush, t.due = now, time.Time{}
	return w.flush(ctx)
}

// Settle has everything looked at that the kernel has told by now, and returns when that was emitted, or ctx ends. What the
// kernel has told may take a Window to be read.
func (w *Watcher) Settle(ctx context.Context) {
	settled := make(chan struct{})
	select {
	case <-time.After(w.cfg.Window):
	case <-ctx.Done():
		return
	}
	select {
	case w.settling <- settled:
	case <-ctx.Done():
		return
	}
	select {
	case <-settled:
	case <-ctx.Done():
	}
}

// drain looks at what is left when the watcher ends, or who listens to it.
func (w *Watcher) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	w.applyNotices()
	w.mu.Lock()
	w.hints.releaseWrites(true, time.Now())
	w.mu.Unlock()
	if !w.isLost() && w.cfg.HasRoom() {
		_ = w.flush(ctx) // what cannot be sent now, the next session's scan finds
	}
}

// Lost is why the root is lost; nil: it is not.
func (w *Watcher) Lost() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// Mount is where the root's file system is mounted, or should be.
func (w *Watcher) Mount() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.identity.mount
}

// Status is what the watcher is doing now.
func (w *Watcher) Status() Status {
	method, reason := w.notifier.Method()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Method, s.Reason = method, reason
	s.Directories, s.Watches, s.Unwatched = w.model.directories, len(w.model.byWatch), w.unwatched()
	s.Pending, s.Limit, s.Unreadable = len(w.hints.paths), w.budget.max, len(w.unreadable)
	if s.Pending == 0 && w.lost == nil {
		s.Told = w.cfg.Now()
	}
	switch {
	case w.blind:
		s.Coverage, s.Method, s.Directories = AuditOnly, None, 0
	case w.gap:
		s.Coverage, s.Reason = HotSet, "directories that were not watched are being covered"
		if s.Watches == 0 {
			s.Coverage = AuditOnly
		}
		if s.Unwatched > 0 {
			s.Reason = reasonOf(w.limit.cause)
		}
	default:
		s.Coverage = Realtime
	}
	return s
}

func (w *Watcher) isLost() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost != nil
}

// applyNotices applies all notices that have come, in their order, to the model and the hints.
//
// Notices were lost if the kernel or queue says so: then nothing is known, and everything is to be scanned. If only the hints
// have become too many, their paths are known, and the subtrees that contain them are scanned instead.
func (w *Watcher) applyNotices() {
	notices, overflow := w.queue.take()
	ready := false
	w.mu.Lock()
	w.budget.now = w.cfg.Now()
	for i := range notices {
		if special := notices[i].Op & (OpOverflow | OpReady); special != 0 {
			overflow, ready = overflow || special&OpOverflow != 0, ready || special&OpReady != 0
			continue
		}
		w.applyNotice(&notices[i])
	}
	var subtrees []string // nil: nothing, or everything
	lost := w.lost != nil
	if !lost && !overflow && len(w.hints.paths) > w.cfg.MaxPending {
		subtrees = w.collapse()
		if subtrees[0] == "/" {
			overflow, subtrees = true, nil
		}
		for _, d := range subtrees {
			w.hints.overflowed(d)
		}
	}
	if overflow {
		w.budget.leaving = nil // whatever the kernel had still to say of them
		w.open.reset()         // closings may be among what was lost
	}
	if overflow && !lost {
		w.hints.overflowed("/")
	}
	overflow = !lost && (overflow || subtrees != nil)
	w.mu.Unlock()
	if ready {
		w.cfg.CoverAgain()
	}
	if !overflow {
		return
	}
	if subtrees == nil {
		w.cfg.Logger.Warn("the kernel's queue of notices overflowed; the whole tree is scanned again")
	} else {
		w.cfg.Logger.Warn("too many changes are waiting; the directories that contain them are scanned again",
			"directories", len(subtrees), "first", fmt.Sprintf("%q", subtrees[0]))
	}
	w.cfg.Overflow(subtrees)
	w.mu.Lock()
	w.stats.Overflows++
	w.mu.Unlock()
}

// leastQueue is how many notices the queue takes at least. One read from the kernel may bring hundreds, and when the queue
// drops notices, nothing is known of where they were, so that everything is scanned again.
const leastQueue = 4096

// queue is the notices that wait for the loop.
type queue struct {
	mu       sync.Mutex
	max      int
	notices  []Notice
	overflow bool
	ready    chan struct{}
}

func (q *queue) add(notices []Notice) {
	q.mu.Lock()
	if len(q.notices)+len(notices) > q.max {
		q.notices, q.overflow = nil, true
	} else {
		q.notices = append(q.notices, notices...)
	}
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *queue) take() ([]Notice, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	notices, overflow := q.notices, q.overflow
	q.notices, q.overflow = nil, false
	return notices, overflow
}

// Close gives the watches back where Run was not called.
func (w *Watcher) Close() { w.notifier.Close() }
