package bus

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/subtrees"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
)

const (
	// maxQueued and maxQueuedBytes bound the queue of a subscription, but for the events that come at once: some thousand.
	maxQueued      = 64 << 10
	maxQueuedBytes = 16 << 20
	// deliverAtOnce is how many events a subscriber gets in one call.
	deliverAtOnce = 4096
	// tryEvery is how often a subscriber without room is asked again.
	tryEvery = 50 * time.Millisecond
	// leaveWithin is how long a subscription that ends waits for what the kernel has told by then.
	leaveWithin = 3 * time.Second
)

// Subscription is the place of one pipe at a source: the events that the watcher has emitted and the pipe has not taken yet. One
// goroutine takes them over; the watcher only puts them here, and never waits for a pipe.
type Subscription struct {
	source *Source
	to     Subscriber
	ready  chan struct{} // a token when there may be something to deliver
	failed chan error    // a panic of the subscriber
	// watcher is the one that Begin returned last; the source's lock guards it.
	watcher *watch.Watcher

	mu        sync.Mutex
	queue     []event.Event
	bytes     int
	delivered uint64 // events
	dropped   uint64
	overflows uint64 // times that the queue was dropped
	behind    uint64 // scans that others went on with alone
	scratch   []event.Event
}

// Status is how a subscription is doing.
type Status struct {
	Source     int    // the number of the source in this process
	Pipes      int    // that share the source, this one among them
	Emitted    uint64 // events of the source so far
	Delivered  uint64 // events that the pipe has taken
	Queued     int    // events that the pipe has not taken yet
	Dropped    uint64 // events that it was too slow for; what they were about is scanned again
	Overflows  uint64 // times that events were dropped
	ScansLeft  uint64 // scans that it was too slow for, and made by itself
	SharedScan int    // pipes that the scan that runs is made for; 0: none runs
}

// Status is how the subscription is doing now.
func (s *Subscription) Status() Status {
	src := s.source
	src.mu.Lock()
	st := Status{Source: src.number, Pipes: src.subscriptions, Emitted: src.emitted.Load()}
	if src.shared != nil {
		st.SharedScan = src.shared.walk.Receivers()
	}
	src.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Delivered = s.delivered
	st.Queued, st.Dropped, st.Overflows, st.ScansLeft = len(s.queue), s.dropped, s.overflows, s.behind
	return st
}

// Run delivers events until ctx ends, or the watcher fails: then Begin makes another one. What the kernel has told by the end is
// still delivered.
func (s *Subscription) Run(ctx context.Context) error {
	defer s.leave()
	src := s.source
	src.mu.Lock()
	if src.watcher == nil {
		src.mu.Unlock()
		return ErrNotWatched
	}
	watcher, r := src.watcher, src.begin()
	src.mu.Unlock()
	err := guard.Do(func() error { return s.deliverUntil(ctx, r) })
	if ctx.Err() != nil && err == nil {
		s.settle(watcher, r)
		return ctx.Err()
	}
	return err
}

// deliverUntil delivers until ctx ends or the watcher does. An error is the watcher's, or the subscriber's.
func (s *Subscription) deliverUntil(ctx context.Context, r *run) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.failed:
			return err
		case <-r.ended:
			if ctx.Err() == nil && r.err == nil {
				return ErrNotWatched // the others have left, and it with them
			}
			return r.err
		case <-s.ready:
		case <-timer.C:
		}
		if !s.deliver() {
			timer.Reset(tryEvery)
		}
	}
}

// settle delivers what the kernel has told by now. If no other subscription runs, the watcher ends for that.
func (s *Subscription) settle(watcher *watch.Watcher, r *run) {
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	settled := make(chan struct{})
	if s.source.retire(s, r) {
		go func() { <-r.ended; close(settled) }()
	} else {
		go func() { watcher.Settle(ctx); close(settled) }()
	}
	timer := time.NewTicker(tryEvery)
	defer timer.Stop()
	for done := false; !done; {
		select {
		case <-settled:
			done = true
		case <-r.ended:
			done = true
		case <-s.ready:
		case <-timer.C:
		}
		s.protect(func() { s.deliver() })
	}
}

// retire ends a watcher that runs for one subscription alone, and reports whether it does. Whoever begins from now on gets
// another one.
func (src *Source) retire(s *Subscription, r *run) bool {
	src.mu.Lock()
	defer src.mu.Unlock()
	if running := *src.running.Load(); len(running) != 1 || running[0] != s {
		return false
	}
	if src.run == r {
		src.watcher, src.run = nil, nil
	}
	r.cancel()
	return true
}

// leave takes no more events. A watcher ends with the last who does.
func (s *Subscription) leave() {
	src := s.source
	src.mu.Lock()
	running := slices.DeleteFunc(slices.Clone(*src.running.Load()), func(o *Subscription) bool { return o == s })
	src.running.Store(&running)
	watcher, r := src.watcher, src.run
	if len(running) == 0 {
		src.watcher, src.run = nil, nil
	}
	src.mu.Unlock()
	s.mu.Lock()
	s.queue, s.bytes = nil, 0
	s.mu.Unlock()
	switch {
	case len(running) > 0 || watcher == nil:
	case r != nil:
		r.cancel()
		<-r.ended
	default: // it was never run
		watcher.Close()
	}
}

// protect calls a function of the subscriber. A panic ends Run.
func (s *Subscription) protect(f func()) {
	if err := guard.Do(func() error { f(); return nil }); err != nil {
		select {
		case s.failed <- err:
		default:
		}
	}
}

func (s *Subscription) queueHasRoom() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasRoom()
}

func (s *Subscription) hasRoom() bool {
	return len(s.queue) < s.source.bus.maxQueued && s.bytes < maxQueuedBytes
}

// push puts events into the queue. If it is full, its events are dropped, and the directories that they are about are to be
// scanned again.
func (s *Subscription) push(events []event.Event) {
	s.mu.Lock()
	var lost []string
	if s.hasRoom() {
		s.queue = append(s.queue, events...)
		for i := range events {
			s.bytes += size(&events[i])
		}
	} else {
		lost = s.drop(events)
	}
	s.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default:
	}
	if lost == nil {
		return
	}
	s.source.log.Warn("a pipe is too slow for its source, and its events are dropped; the directories that they are about are scanned again",
		"directories", len(lost), "first", lost[0])
	if lost[0] == "/" {
		lost = nil
	}
	s.to.Lost(lost)
}

// size is about what an event takes in memory.
func size(ev *event.Event) int {
	const fixed = 400
	return fixed + len(ev.Path) + len(ev.Entry.Target) + len(ev.Mark.Message)
}

// drop empties the queue, but for marks that say so. It returns the directories that its events, and these, are about. The lock
// is held.
func (s *Subscription) drop(events []event.Event) []string {
	dirs := map[string]bool{}
	for _, some := range [][]event.Event{s.queue, events} {
		for i := range some {
			dirs[directoryOf(&some[i])] = true
		}
	}
	s.dropped += uint64(len(s.queue) + len(events))
	s.overflows++
	all := make([]string, 0, len(dirs))
	for d := range dirs {
		all = append(all, d)
	}
	all = subtrees.Reduce(all, subtrees.Max)
	if slices.Contains(all, "/") {
		all = []string{"/"}
	}
	s.queue, s.bytes = nil, 0
	for _, d := range all {
		s.queue = append(s.queue, event.Event{
			Kind: event.Marked, Evidence: event.Realtime, ObservedAt: s.source.bus.ticks.Now(), Path: d, Mark: event.Mark{Kind: event.Overflow},
		})
	}
	return all
}

// directoryOf is the directory whose listing shows what an event says.
func directoryOf(ev *event.Event) string {
	if ev.Kind == event.Marked || ev.Path == "/" {
		return ev.Path
	}
	dir, _ := event.Split(ev.Path)
	return dir[:max(1, len(dir)-1)]
}

// deliver gives the subscriber what is queued, and reports whether it took all.
func (s *Subscription) deliver() bool {
	for {
		s.mu.Lock()
		s.scratch = append(s.scratch[:0], s.queue[:min(len(s.queue), deliverAtOnce)]...)
		overflows := s.overflows
		s.mu.Unlock()
		if len(s.scratch) == 0 {
			return true
		}
		for i := range s.scratch {
			s.scratch[i].ObservedAt = s.to.Clock.At(s.scratch[i].ObservedAt)
		}
		if !s.to.Events(s.scratch) {
			return false
		}
		s.mu.Lock()
		if s.overflows == overflows { // otherwise these were dropped meanwhile, and are scanned again for nothing
			for i := range s.scratch {
				s.bytes -= size(&s.queue[i])
				s.queue[i] = event.Event{}
			}
			if s.queue = s.queue[len(s.scratch):]; len(s.queue) == 0 {
				s.queue, s.bytes = nil, 0
			}
		}
		s.delivered += uint64(len(s.scratch))
		s.mu.Unlock()
		clear(s.scratch)
	}
}
