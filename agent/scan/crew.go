package scan

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/hang"
	"github.com/fustor/fustor/internal/event"
)

const (
	defaultWorkers = 32
	// adaptEvery is between two decisions on the number of workers.
	adaptEvery = 100 * time.Millisecond
	// fewCalls say nothing of a server.
	fewCalls = 50
)

// crew is the workers of a scan: as many as are good, and others for those whose calls hang.
type crew struct {
	cfg   *Config
	queue *queue

	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	workers map[*worker]*observed
	size    int // that there should be
	err     error
	done    chan struct{} // closed once none is left

	// Since the last decision.
	calls int
	spent time.Duration
}

// observed is what was seen of a worker's call, and since when.
type observed struct {
	call  uint64
	since time.Time
}

func newCrew(ctx context.Context, cfg *Config, q *queue) *crew {
	c := &crew{cfg: cfg, queue: q, workers: map[*worker]*observed{}, done: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c
}

// run scans. Workers whose calls hang may outlive it.
func (c *crew) run() error {
	defer c.cancel()
	defer context.AfterFunc(c.ctx, c.queue.stop)()
	t := newTuner(min(c.cfg.Workers, max(2, runtime.GOMAXPROCS(0))), c.cfg.Workers)
	c.mu.Lock()
	c.resize(t.n)
	c.mu.Unlock()
	tick := time.NewTicker(min(adaptEvery, c.cfg.Hangs.After()/4))
	defer tick.Stop()
	stopping := c.ctx.Done()
	var giveUp <-chan time.Time
	last := time.Now()
	for {
		select {
		case <-c.done:
			return c.err
		case <-stopping:
			stopping, giveUp = nil, time.After(hang.Patience)
		case <-giveUp:
			giveUp = time.After(hang.Patience)
			c.watch(0)
		case now := <-tick.C:
			c.watch(c.cfg.Hangs.After())
			if took := now.Sub(last); took >= adaptEvery {
				c.adapt(t, took)
				last = now
			}
		}
	}
}

// resize starts workers until there are n. Those that are too many leave by themselves. The lock is held.
func (c *crew) resize(n int) {
	c.size = n
	for len(c.workers) < n {
		c.start()
	}
}

func (c *crew) start() {
	w := &worker{cfg: c.cfg, crew: c, queue: c.queue}
	c.workers[w] = &observed{}
	go func() {
		err := guard.Do(func() error { return w.run(c.ctx) })
		if !errors.Is(err, errAbandoned) {
			c.leave(w, err)
		}
		w.fate.end()
	}()
}

// leave takes in that a worker has ended. The first error ends the scan.
func (c *crew) leave(w *worker, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.workers[w]; !ok {
		return // one that panicked once it was abandoned
	}
	delete(c.workers, w)
	if err != nil {
		if c.err == nil {
			c.err = err
		}
		c.cancel()
	}
	if len(c.workers) == 0 {
		close(c.done)
	}
}

// tooMany reports whether the worker should leave, as others are enough.
func (c *crew) tooMany(w *worker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.workers) <= c.size || len(c.workers) == 1 {
		return false
	}
	delete(c.workers, w)
	return true
}

// measured takes in what a worker's task has cost.
func (c *crew) measured(w *worker) {
	c.mu.Lock()
	c.calls += w.calls
	c.spent += w.spent
	c.mu.Unlock()
	w.calls, w.spent = 0, 0
}

// adapt decides how many workers there should be, by what the last ones have brought.
func (c *crew) adapt(t *tuner, took time.Duration) {
	short := c.queue.short()
	c.mu.Lock()
	defer c.mu.Unlock()
	calls, spent := c.calls, c.spent
	if calls < fewCalls && took < 20*adaptEvery && !c.cfg.Hangs.Many() {
		return // wait for more
	}
	c.calls, c.spent = 0, 0
	n := t.n
	switch {
	case c.cfg.Hangs.Many():
		n = 1
	case !short && calls > 0 && c.cfg.Rate == nil:
		n = t.next(float64(calls)/took.Seconds(), spent.Seconds()/float64(calls))
	}
	if len(c.workers) > 0 { // else it is over
		c.resize(n)
	}
}

// watch gives up the workers that have been in one call for so long, and has others go on in their place.
func (c *crew) watch(after time.Duration) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for w, seen := range c.workers {
		at := w.call.now.Load()
		if at&inCall == 0 {
			seen.call = 0
			continue
		}
		if at != seen.call {
			seen.call, seen.since = at, now
		}
		if now.Sub(seen.since) >= after {
			c.abandon(w, at)
		}
	}
}

func (c *crew) abandon(w *worker, seen uint64) {
	index, ok := w.call.abandon(seen)
	if !ok {
		return
	}
	delete(c.workers, w)
	// The worker is in a call until it finds out, and touches nothing of this.
	t := w.task
	path := t.path()
	if index >= 0 {
		path = event.Join(path, w.names.At(index))
	}
	h := c.cfg.Hangs.Add(path, t.dev, c.cfg.Root)
	w.fate.after(func() { c.cfg.Hangs.Returned(h) })
	// Where one name hangs, another worker looks at those beside it.
	t.hangs = index < 0
	c.queue.again(t)
	if err := c.cfg.Hangs.Full(); err != nil && c.ctx.Err() == nil {
		c.err = err
		c.cancel()
	}
	if c.ctx.Err() == nil {
		if c.cfg.Hangs.Many() {
			c.size = 1
		}
		c.resize(max(1, c.size))
	}
	if len(c.workers) == 0 {
		close(c.done)
	}
}
