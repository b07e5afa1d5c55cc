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

// pool is the workers of a scan: as many as are good, and others for those whose calls hang.
type pool struct {
	walk  *Walk
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

func newPool(w *Walk, q *queue) *pool {
	p := &pool{walk: w, cfg: &w.cfg, queue: q, workers: map[*worker]*observed{}, done: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(w.ctx)
	return p
}

// run scans. Workers whose calls hang may outlive it.
func (p *pool) run() error {
	defer p.cancel()
	defer context.AfterFunc(p.ctx, p.queue.stop)()
	t := newTuner(min(p.cfg.Workers, max(2, runtime.GOMAXPROCS(0))), p.cfg.Workers)
	p.mu.Lock()
	p.resize(t.n)
	p.mu.Unlock()
	tick := time.NewTicker(min(adaptEvery, p.cfg.Hangs.After()/4))
	defer tick.Stop()
	stopping := p.ctx.Done()
	var giveUp <-chan time.Time
	last := time.Now()
	for {
		select {
		case <-p.done:
			return p.err
		case <-stopping:
			stopping, giveUp = nil, time.After(hang.Patience)
		case <-giveUp:
			giveUp = time.After(hang.Patience)
			p.watch(0)
		case now := <-tick.C:
			p.watch(p.cfg.Hangs.After())
			if took := now.Sub(last); took >= adaptEvery {
				p.adapt(t, took)
				last = now
			}
		}
	}
}

// resize starts workers until there are n. Those that are too many leave by themselves. The lock is held.
func (p *pool) resize(n int) {
	p.size = n
	for len(p.workers) < n {
		p.start()
	}
}

func (p *pool) start() {
	w := &worker{cfg: p.cfg, walk: p.walk, pool: p, queue: p.queue}
	p.workers[w] = &observed{}
	go func() {
		err := guard.Do(func() error { return w.run(p.ctx) })
		if !errors.Is(err, errAbandoned) {
			p.leave(w, err)
		}
		w.fate.end()
	}()
}

// leave takes in that a worker has ended. The first error ends the scan.
func (p *pool) leave(w *worker, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.workers[w]; !ok {
		return // one that panicked once it was abandoned
	}
	delete(p.workers, w)
	if err != nil {
		if p.err == nil {
			p.err = err
		}
		p.cancel()
	}
	if len(p.workers) == 0 {
		close(p.done)
	}
}

// tooMany reports whether the worker should leave, as others are enough.
func (p *pool) tooMany(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.workers) <= p.size || len(p.workers) == 1 {
		return false
	}
	delete(p.workers, w)
	return true
}

// measured takes in what a worker's task has cost.
func (p *pool) measured(w *worker) {
	p.mu.Lock()
	p.calls += w.calls
	p.spent += w.spent
	p.mu.Unlock()
	w.calls, w.spent = 0, 0
}

// adapt decides how many workers there should be, by what the last ones have brought.
func (p *pool) adapt(t *tuner, took time.Duration) {
	short := p.queue.short()
	p.mu.Lock()
	defer p.mu.Unlock()
	calls, spent := p.calls, p.spent
	if calls < fewCalls && took < 20*adaptEvery && !p.cfg.Hangs.Many() {
		return // wait for more
	}
	p.calls, p.spent = 0, 0
	n := t.n
	switch {
	case p.cfg.Hangs.Many():
		n = 1
	case !short && calls > 0 && p.cfg.Rate == nil:
		n = t.next(float64(calls)/took.Seconds(), spent.Seconds()/float64(calls))
	}
	if len(p.workers) > 0 { // else it is over
		p.resize(n)
	}
}

// watch gives up the workers that have been in one call for so long, and has others go on in their place.
func (p *pool) watch(after time.Duration) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for w, seen := range p.workers {
		at := w.call.now.Load()
		if at&inCall == 0 {
			seen.call = 0
			continue
		}
		if at != seen.call {
			seen.call, seen.since = at, now
		}
		if now.Sub(seen.since) >= after {
			p.abandon(w, at)
		}
	}
}

func (p *pool) abandon(w *worker, seen uint64) {
	index, ok := w.call.abandon(seen)
	if !ok {
		return
	}
	delete(p.workers, w)
	// The worker is in a call until it finds out, and touches nothing of this.
	t := w.dir
	path := t.path()
	if index >= 0 {
		path = event.Join(path, w.names.At(index))
	}
	h := p.cfg.Hangs.Add(path, t.dev, p.cfg.Root)
	w.fate.after(func() { p.cfg.Hangs.Returned(h) })
	// Where one name hangs, another worker looks at those beside it.
	t.hangs = index < 0
	p.queue.again(t)
	if err := p.cfg.Hangs.Full(); err != nil && p.ctx.Err() == nil {
		p.err = err
		p.cancel()
	}
	if p.ctx.Err() == nil {
		if p.cfg.Hangs.Many() {
			p.size = 1
		}
		p.resize(max(1, p.size))
	}
	if len(p.workers) == 0 {
		close(p.done)
	}
}
