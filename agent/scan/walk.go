package scan

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/hang"
	"github.com/fustor/fustor/internal/event"
)

// ErrBehind is how a receiver's part ends that had no room while others of the walk had: they go on without it.
var ErrBehind = errors.New("the receiver is slower than others of the same scan")

const (
	// roomEvery is how often a receiver without room is asked again.
	roomEvery = 10 * time.Millisecond
	// maxVisited bounds the directories that a walk remembers, about 150 MB. Nobody may join after so many.
	maxVisited = 8 << 20
	maxJoins   = 255
)

// Walk is one scan of a tree for any number of receivers: each directory is read once. What each of them gets is what it would
// get of a scan of its own.
//
// The receivers need not be equally fast. The walk goes on as soon as one of them has room; one that is full by then is left
// behind (ErrBehind), and has to scan by itself.
//
// A receiver may join while the walk runs, and gets the directories that are visited from then on. Directories are visited
// before their subdirectories, so what it has missed are some directories with all that are above them; Part.Had tells the
// others, which a second scan leaves out.
type Walk struct {
	cfg    Config
	paths  []string
	ctx    context.Context
	cancel context.CancelFunc

	current atomic.Pointer[[]*Part] // those that take part; never changed in place

	mu      sync.Mutex
	joined  int              // all that ever took part
	visited map[uint64]uint8 // the directories, by the hash of their path: epoch when they were visited last
	epoch   uint8            // how often somebody has joined since the walk began
	begun   bool
	ended   bool
}

// NewWalk makes a scan from each of the directories down, none of which is below another unless the scan is shallow. Receivers
// join it, then Run runs it.
func NewWalk(cfg Config, paths ...string) *Walk {
	if cfg.Workers <= 0 {
		cfg.Workers = defaultWorkers
	}
	if cfg.Hangs == nil {
		cfg.Hangs = hang.New(0, nil)
	}
	w := &Walk{cfg: cfg, paths: paths}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.current.Store(&[]*Part{})
	if cfg.Joinable {
		w.visited = map[uint64]uint8{}
	}
	return w
}

// Join has a receiver take part until ctx ends. It is nil if the walk can be joined no more.
func (w *Walk) Join(ctx context.Context, to *Receiver) *Part {
	w.mu.Lock()
	defer w.mu.Unlock()
	parts := *w.current.Load()
	if w.begun {
		if w.ended || len(parts) == 0 || w.visited == nil || to.Known != nil || w.epoch == maxJoins || len(w.visited) >= maxVisited {
			return nil
		}
		w.epoch++
	}
	p := &Part{walk: w, to: to, ctx: ctx, place: w.joined, epoch: w.epoch, done: make(chan struct{})}
	w.joined++
	parts = append(slices.Clone(parts), p)
	w.current.Store(&parts)
	return p
}

// Receivers is how many take part.
func (w *Walk) Receivers() int { return len(*w.current.Load()) }

// Run scans until all is read, ctx ends, or no receiver is left. Every part ends with it.
func (w *Walk) Run(ctx context.Context) error {
	defer w.cancel()
	defer context.AfterFunc(ctx, w.cancel)()
	w.mu.Lock()
	w.begun = true
	parts := *w.current.Load()
	w.mu.Unlock()
	err := w.run(parts)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && w.ctx.Err() != nil {
		err = context.Canceled // nobody was left
	}
	if err != nil {
		err = fmt.Errorf("scan %q: %w", w.paths[0], err)
	}
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	for _, p := range *w.current.Load() {
		p.leave(err)
	}
	return err
}

func (w *Walk) run(parts []*Part) error {
	if len(parts) == 0 {
		return context.Canceled // all have left before it began
	}
	if err := w.cfg.Hangs.Full(); err != nil {
		return err
	}
	var known []*Known
	for _, p := range parts {
		if p.to.Known != nil {
			if known == nil {
				known = make([]*Known, w.joined)
			}
			known[p.place] = p.to.Known
		}
	}
	q := newQueue()
	tasks := make([]unread, len(w.paths))
	for i, path := range w.paths {
		tasks[i] = unread{name: path, known: known}
		if path != "/" {
			parent, name := event.Split(path)
			tasks[i].parent, tasks[i].name = parent[:max(1, len(parent)-1)], name
		}
	}
	q.push(tasks)
	return newPool(w, q).run()
}

// visit takes note that a directory is about to be read, and returns those that it is read for.
func (w *Walk) visit(path string) []*Part {
	if !w.cfg.Joinable {
		return *w.current.Load()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.visited) < maxVisited {
		w.visited[xxhash.Sum64String(path)] = w.epoch
	}
	return *w.current.Load()
}

// Part is the part of one receiver in a Walk.
type Part struct {
	walk  *Walk
	to    *Receiver
	ctx   context.Context // the receiver's
	place int             // among those that ever took part
	epoch uint8           // when it joined
	done  chan struct{}   // closed once it has ended
	once  sync.Once
	err   error // why it has ended; nil: the walk is complete

	calls sync.RWMutex // held for reading in calls of the receiver
	left  bool         // no more calls
}

// Wait returns once the part has ended: the walk is complete, or has failed, or the receiver has left it. Afterwards no function
// of the receiver is called any more.
func (p *Part) Wait() error {
	select {
	case <-p.done:
	case <-p.ctx.Done():
		p.leave(p.ctx.Err())
		<-p.done
	}
	return p.err
}

// Late reports whether the walk had begun when the receiver joined.
func (p *Part) Late() bool { return p.epoch > 0 }

// Had reports whether a directory, and everything below it, was visited while the receiver took part. It is for Config.LeaveOut
// once a part has ended without an error.
func (p *Part) Had(path string) bool {
	p.walk.mu.Lock()
	defer p.walk.mu.Unlock()
	at, visited := p.walk.visited[xxhash.Sum64String(path)]
	return visited && at >= p.epoch
}

// leave ends the part. It waits for calls of the receiver, so it must not be called in one.
func (p *Part) leave(err error) {
	p.once.Do(func() {
		w := p.walk
		w.mu.Lock()
		parts := slices.DeleteFunc(slices.Clone(*w.current.Load()), func(o *Part) bool { return o == p })
		w.current.Store(&parts)
		if w.begun && len(parts) == 0 {
			w.cancel()
		}
		w.mu.Unlock()
		p.calls.Lock()
		p.left, p.err = true, err
		p.calls.Unlock()
		close(p.done)
	})
}

// give gives the receiver an event once it has room. ErrMoved is about the directory; any other failure ends the part.
func (p *Part) give(ev *event.Event, reading Reading) error {
	if !p.awaitRoom() {
		return nil
	}
	ev.Evidence = p.to.Evidence
	err := p.call(func() error { return p.to.Emit(p.ctx, ev, reading) })
	if err == nil || errors.Is(err, ErrMoved) {
		return err
	}
	p.leave(err)
	return nil
}

// awaitRoom waits until the receiver has room, and reports whether it still takes part.
func (p *Part) awaitRoom() bool {
	if p.to.Room == nil {
		return true
	}
	for {
		room := p.to.Room()
		if room == Free {
			return true
		}
		if p.othersAreFree() {
			if room == Slow {
				return true
			}
			p.leave(ErrBehind)
			return false
		}
		timer := time.NewTimer(roomEvery)
		select {
		case <-p.done:
			timer.Stop()
			return false
		case <-p.ctx.Done():
			timer.Stop()
			p.leave(p.ctx.Err())
			return false
		case <-p.walk.ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

func (p *Part) othersAreFree() bool {
	for _, o := range *p.walk.current.Load() {
		if o != p && (o.to.Room == nil || o.to.Room() == Free) {
			return true
		}
	}
	return false
}

// call calls a function of the receiver, unless it has left.
func (p *Part) call(f func() error) error {
	p.calls.RLock()
	defer p.calls.RUnlock()
	if p.left {
		return nil
	}
	return guard.Do(f)
}

// tell is call of a function that cannot fail.
func (p *Part) tell(f func()) {
	if err := p.call(func() error { f(); return nil }); err != nil {
		p.leave(err)
	}
}

func (p *Part) mark(at int64, path, message string) {
	_ = p.give(&event.Event{
		Kind: event.Marked, ObservedAt: at, Path: path, Mark: event.Mark{Kind: event.SubtreeError, Errors: 1, Message: message},
	}, nil)
}

func (p *Part) failed(path string, err error) {
	if p.to.OnError != nil {
		p.tell(func() { p.to.OnError(path, err) })
	}
}

func (p *Part) look(path string, mtime int64) (l Look) {
	if p.to.Look != nil {
		p.tell(func() { l = p.to.Look(path, mtime) })
	}
	return l
}

func (p *Part) same(path string, c Content) (same bool) {
	p.tell(func() { same = p.to.Same(path, c) })
	return same
}

func (p *Part) listed(path string, mtime int64, c Content, subdirectories iter.Seq[string]) {
	if p.to.Listed != nil {
		p.tell(func() { p.to.Listed(path, mtime, c, subdirectories) })
	}
}

func (p *Part) pseudo(path, kind string) {
	if p.to.Pseudo != nil {
		p.tell(func() { p.to.Pseudo(path, kind) })
	}
}

func (p *Part) kept(path string, mtime int64) {
	if p.to.Kept != nil {
		p.tell(func() { p.to.Kept(path, mtime) })
	}
}
