// Package bus lets the pipes of one process that have the same source share it: one watch and one scan of the tree.
//
// A Source is a tree as it is configured. Each pipe has a Subscription to one, with a queue, a position and a speed of its own.
// Invariants: what a subscription gets is what it would get of a watcher and of scans of its own; one that is slow, hangs or
// panics neither holds up the others nor takes more than its bounds, but loses its place (it is told what to scan again, or to
// scan by itself); what all of them have no room for waits in the watcher. Observations are stamped with ticks, because each
// subscription's store has a time of its own. docs/design/bus.md explains it. Package agent subscribes.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/hang"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/lease"
)

// ErrNotWatched: the watch has failed and is about to begin anew.
var ErrNotWatched = errors.New("the tree is not watched at present")

// Bus is the sources of a process. It is safe for concurrent use.
type Bus struct {
	ticks     *pipe.Ticks
	log       *slog.Logger
	maxQueued int // events of a subscription

	mu      sync.Mutex
	sources map[key]*Source
	made    int // sources
}

// New makes a bus without sources, for a host with these clocks. What concerns a source, and no single pipe, goes to the log.
func New(host lease.Clocks, log *slog.Logger) *Bus {
	return &Bus{ticks: pipe.NewTicks(host), log: log, maxQueued: maxQueued, sources: map[key]*Source{}}
}

// Ticks are what observations are stamped with.
func (b *Bus) Ticks() *pipe.Ticks { return b.ticks }

// Spec is what a source is made from.
type Spec struct {
	// Watch says what to watch and how. The functions that take what comes of it, Now and Logger are the source's own.
	Watch     watch.Config
	Patterns  []string // that Watch.Excludes is made of
	Workers   int      // of a scan, at most
	Rate      int      // entries a second that all scans of the source look at; 0: no bound
	Idle      bool
	HangAfter time.Duration
}

// key is what two pipes must agree on to share a source. The mount point is among it because one of them may remember that the
// tree was mounted, and wait for it, where another takes what is there. Two names of one directory are two sources: each may be
// unmounted by itself.
type key struct {
	root, mount, patterns, method string
	cross, idle                   bool
	workers, rate                 int
}

func (s *Spec) key() key {
	return key{
		root: s.Watch.Root, mount: s.Watch.Mount, patterns: strings.Join(s.Patterns, "\x00"), method: s.Watch.Method,
		cross: s.Watch.CrossFilesystems, idle: s.Idle, workers: s.Workers, rate: s.Rate,
	}
}

// Source is one tree, watched once for all who have subscribed to it.
type Source struct {
	bus    *Bus
	number int
	key    key
	spec   Spec
	log    *slog.Logger
	calls  *hang.Calls
	rate   *scan.Rate

	// running are the subscriptions that take events; never changed in place.
	running atomic.Pointer[[]*Subscription]
	emitted atomic.Uint64 // events, since the first subscription

	making chan struct{} // held while a watcher is made: one at a time

	mu            sync.Mutex // never held while the tree is asked: status must answer when it does not
	subscriptions int
	expected      map[*Subscription]bool // those that have asked for no scan yet
	noneExpected  chan struct{}          // closed when nobody is; nil: nobody is
	watcher       *watch.Watcher         // nil: there is none at present
	run           *run                   // of the watcher; nil: it has not begun
	shared        *sharedWalk            // nil: there is none
	losses        int                    // counts what may have left a directory without a watch
	covered       int                    // losses when the last scan began that met every directory; -1: none has
}

// run is the run of a watcher.
type run struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed; err is set by then
	err    error
}

// Subscriber is a pipe as its source knows it. None of its functions may wait, but for Events.
type Subscriber struct {
	Clock *pipe.Clock
	// Events takes events with the time of Clock, all or none; false: it has no room. HasRoom tells beforehand, without waiting.
	Events  func([]event.Event) bool
	HasRoom func() bool
	Skew    func() int64 // the store's time minus the file server's, ns
	// Hot is how long the view counts a file as being written after a change; 0: not known.
	Hot func() time.Duration
	// Lost says that what is below these directories must be scanned again; nil: everything.
	Lost     func(subtrees []string)
	RootLost func(error)
	RootBack func()
	// Uncover says that directories can be watched that could not be.
	Uncover func()
	OnError func(path string, err error)
	// Answers says that a path at which a call hung answers again.
	Answers func(path string)
}

// Subscribe makes a subscription to the source that the spec describes, together with everyone else whose spec is the same.
// Close it.
func (b *Bus) Subscribe(spec Spec, to Subscriber) *Subscription {
	if spec.Watch.Mount == "" { // a failure shows again when the watch begins
		spec.Watch.Mount, _ = spec.Watch.System.MountPoint(spec.Watch.Root)
	}
	k := spec.key()
	b.mu.Lock()
	defer b.mu.Unlock()
	src := b.sources[k]
	if src == nil {
		b.made++
		src = &Source{bus: b, number: b.made, key: k, spec: spec, log: b.log.With("source", spec.Watch.Root), rate: scan.NewRate(spec.Rate), expected: map[*Subscription]bool{}, covered: -1, making: make(chan struct{}, 1)}
		src.running.Store(&[]*Subscription{})
		src.calls = hang.New(spec.HangAfter, func(path string) { src.each(func(s *Subscription) { s.to.Answers(path) }) })
		b.sources[k] = src
	}
	s := &Subscription{source: src, to: to, ready: make(chan struct{}, 1), failed: make(chan error, 1)}
	src.mu.Lock()
	defer src.mu.Unlock()
	src.subscriptions++
	src.expect(s)
	return s
}

// expect takes note of a subscription that is about to ask for its first scan. The lock is held.
func (src *Source) expect(s *Subscription) {
	src.expected[s] = true
	if src.noneExpected == nil {
		src.noneExpected = make(chan struct{})
	}
}

// expectNoMore takes note that it has asked, or will not. The lock is held.
func (src *Source) expectNoMore(s *Subscription) {
	delete(src.expected, s)
	if len(src.expected) == 0 && src.noneExpected != nil {
		close(src.noneExpected)
		src.noneExpected = nil
	}
}

// Close ends the subscription, which must not run any more. The source ends with the last one.
func (s *Subscription) Close() {
	s.leave() // it may have begun, and never run
	src := s.source
	src.bus.mu.Lock()
	defer src.bus.mu.Unlock()
	src.mu.Lock()
	defer src.mu.Unlock()
	src.expectNoMore(s)
	if src.subscriptions--; src.subscriptions > 0 {
		return
	}
	delete(src.bus.sources, src.key)
	src.calls.Stop()
}

// Hurry has calls that hang given up soon, if no other pipe uses the source: this one ends.
func (s *Subscription) Hurry() {
	s.source.mu.Lock()
	last := s.source.subscriptions == 1
	s.source.mu.Unlock()
	if last {
		s.source.calls.Hurry()
	}
}

// Begin has events come, which wait in the queue until Run, and returns the watcher that they come from.
func (s *Subscription) Begin() (*watch.Watcher, error) {
	src := s.source
	src.making <- struct{}{}
	defer func() { <-src.making }()
	if w := s.take(nil); w != nil {
		return w, nil
	}
	w, err := src.newWatcher() // without the lock, as the tree may not answer
	if err != nil {
		return nil, err
	}
	return s.take(w), nil
}

// take has the subscription take the events of the source's watcher: made, if it is not nil. If there is none, it returns nil.
func (s *Subscription) take(made *watch.Watcher) *watch.Watcher {
	src := s.source
	src.mu.Lock()
	defer src.mu.Unlock()
	if made != nil {
		src.watcher = made
		src.losses++
	}
	if src.watcher == nil {
		return nil
	}
	s.watcher = src.watcher
	if running := *src.running.Load(); !slices.Contains(running, s) {
		running = append(slices.Clone(running), s)
		src.running.Store(&running)
	}
	return src.watcher
}

func (src *Source) newWatcher() (*watch.Watcher, error) {
	cfg := src.spec.Watch
	cfg.Now, cfg.Logger = src.bus.ticks.Now, src.log
	cfg.System = hang.System(cfg.System, src.calls)
	cfg.Emit, cfg.HasRoom, cfg.Skew, cfg.Hot = src.emit, src.hasRoom, src.skew, src.hot
	cfg.Overflow, cfg.RootLost, cfg.RootBack, cfg.CoverAgain = src.overflow, src.rootLost, src.rootBack, src.coverAgain
	cfg.OnError = func(path string, err error) { src.each(func(s *Subscription) { s.to.OnError(path, err) }) }
	return watch.New(cfg)
}

// Hanging is how many calls into the tree hang, and the path of the first.
func (s *Subscription) Hanging() (n int, first string) { return s.source.calls.Status() }

// Watcher is the source's; nil: there is none at present, or none that the subscription has begun with. One that another pipe has
// made after the last one failed says nothing of what this pipe has missed between.
func (s *Subscription) Watcher() *watch.Watcher {
	s.source.mu.Lock()
	defer s.source.mu.Unlock()
	if s.watcher != s.source.watcher {
		return nil
	}
	return s.watcher
}

// OpenRoot opens the root that is watched. Close it.
func (s *Subscription) OpenRoot() (*watch.Watcher, tree.Root, error) {
	w := s.Watcher()
	if w == nil {
		return nil, nil, ErrNotWatched
	}
	root, err := w.OpenRoot()
	if err != nil {
		return nil, nil, fmt.Errorf("open root: %w", err)
	}
	return w, root, nil
}

// begin has the watcher run until the last subscription leaves it. The lock is held.
func (src *Source) begin() *run {
	if src.run != nil {
		return src.run
	}
	ctx, cancel := context.WithCancel(context.Background())
	r, w := &run{cancel: cancel, ended: make(chan struct{})}, src.watcher
	src.run = r
	go func() {
		defer close(r.ended)
		defer cancel()
		r.err = guard.Do(func() error { return w.Run(ctx) })
		src.mu.Lock()
		defer src.mu.Unlock()
		if src.run == r {
			src.watcher, src.run = nil, nil
		}
	}()
	return r
}

// each calls f for each subscription that runs. One whose function panics is taken out.
func (src *Source) each(f func(*Subscription)) {
	for _, s := range *src.running.Load() {
		s.protect(func() { f(s) })
	}
}

// emit is the watcher's Config.Emit. It refuses events that no subscription has room for.
func (src *Source) emit(events []event.Event) bool {
	running := *src.running.Load()
	if len(running) > 0 && !slices.ContainsFunc(running, (*Subscription).queueHasRoom) {
		return false
	}
	src.emitted.Add(uint64(len(events)))
	for _, s := range running {
		s.protect(func() { s.push(events) })
	}
	return true
}

// hasRoom is the watcher's Config.HasRoom.
func (src *Source) hasRoom() bool {
	return slices.ContainsFunc(*src.running.Load(), func(s *Subscription) bool {
		room := false
		s.protect(func() { room = s.queueHasRoom() && s.to.HasRoom() })
		return room
	})
}

// skew is the watcher's Config.Skew: ticks minus the file server's time.
func (src *Source) skew() (skew int64) {
	if running := *src.running.Load(); len(running) > 0 {
		s := running[0]
		s.protect(func() { skew = s.to.Skew() - s.to.Clock.Ahead() })
	}
	return skew
}

// hot is the watcher's Config.Hot: the shortest of all views.
func (src *Source) hot() (shortest time.Duration) {
	src.each(func(s *Subscription) {
		if s.to.Hot == nil {
			return
		}
		if hot := s.to.Hot(); hot > 0 && (shortest == 0 || hot < shortest) {
			shortest = hot
		}
	})
	return shortest
}

func (src *Source) overflow(subtrees []string) {
	if subtrees == nil {
		src.uncover()
	}
	src.each(func(s *Subscription) { s.to.Lost(subtrees) })
}

func (src *Source) rootLost(err error) { src.each(func(s *Subscription) { s.to.RootLost(err) }) }

func (src *Source) rootBack() {
	src.uncover()
	src.each(func(s *Subscription) { s.to.RootBack() })
}

func (src *Source) coverAgain() {
	src.uncover()
	src.each(func(s *Subscription) { s.to.Uncover() })
}

func (src *Source) uncover() {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.losses++
}
