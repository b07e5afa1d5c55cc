package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/fault"
)

// process is one running program. All its I/O comes by here, where it takes time, and where the program may be slow,
// stand still, or die: from then on all its I/O fails, and what is under way may still land.
type process struct {
	w      *world
	name   string
	cancel context.CancelFunc

	mu     sync.Mutex
	random *rand.Rand
	dead   bool
	fuse   int           // I/Os until it dies; 0: it lives on
	resume time.Time     // it stands still until then
	slow   time.Duration // more for each I/O, at most
}

var errCrashed = errors.New("the process has crashed")

func (w *world) process(name string) *process {
	return &process{w: w, name: name, random: w.random(name), cancel: func() {}}
}

// begin accounts for one I/O and says how long it takes until it is done.
func (p *process) begin(what, key string) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return 0, errCrashed
	}
	p.w.trace.step(p.name, what, key)
	took := 20*time.Microsecond + time.Duration(p.random.Int64N(int64(200*time.Microsecond)))
	if p.slow > 0 {
		took += time.Duration(p.random.Int64N(int64(p.slow)))
	}
	if left := time.Until(p.resume); left > 0 {
		took += left
	}
	if p.fuse > 0 {
		if p.fuse--; p.fuse == 0 {
			p.die(took)
		}
	}
	return took, nil
}

// die ends the process. What it has sent is done within so long.
func (p *process) die(after time.Duration) {
	p.dead = true
	p.w.trace.fault("crash", p.name)
	time.AfterFunc(after+time.Nanosecond, p.cancel)
}

// lives reports whether it has not died.
func (p *process) lives() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.dead
}

// light lets the process die at its nth I/O from now.
func (p *process) light(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fuse = n
}

// pause has the process stand still.
func (p *process) pause(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resume = time.Now().Add(d)
}

// heal ends what was done to a process that lives.
func (p *process) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fuse, p.slow, p.resume = 0, 0, time.Time{}
}

// chance reports whether something happens that has this rate while there are faults.
func (p *process) chance(rate float64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.w.faulty() && p.random.Float64() < rate
}

// between draws a duration up to d.
func (p *process) upTo(d time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Duration(p.random.Int64N(int64(d)))
}

// look is a look at the tree: it takes its time, and may fail.
func (p *process) look(what, path string) error {
	took, err := p.begin(what, path)
	if err != nil {
		return err
	}
	p.w.looks.Add(1)
	defer p.w.looks.Add(-1)
	time.Sleep(took)
	switch {
	case !p.lives():
		return errCrashed
	case p.chance(p.w.plan.rates.look):
		p.w.trace.fault("EIO", path)
		return errIO
	}
	return nil
}

// store is the object store as the process reaches it.
func (p *process) store() store.Store {
	seeded := fault.Seeded(p.w.seed^hash(p.name), p.w.plan.rates.store)
	return &late{fault.New(p.w.store, func(c fault.Call) fault.Fault {
		f := fault.Fault{}
		if p.w.faulty() {
			f = seeded(c)
			p.w.trace.storeFault(f)
		}
		took, err := p.begin(string(c.Op), c.Key)
		f.Delay += took
		if err != nil {
			f.Lost = err
		}
		return f
	}), p}
}

// late is a store in which a write may be done after its caller was told that nothing is known of it.
type late struct {
	*fault.Store
	p *process
}

func (l *late) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	if l.lags(func() { _, _ = l.p.w.store.Create(context.Background(), key, body) }) {
		return store.Meta{}, fault.ErrNetwork
	}
	return l.Store.Create(ctx, key, body)
}

func (l *late) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	if l.lags(func() { _, _ = l.p.w.store.Replace(context.Background(), key, body, etag) }) {
		return store.Meta{}, fault.ErrNetwork
	}
	return l.Store.Replace(ctx, key, body, etag)
}

// lags draws whether a write is late, and does it later.
func (l *late) lags(write func()) bool {
	if !l.p.lives() || !l.p.chance(l.p.w.plan.rates.late) {
		return false
	}
	l.p.w.trace.fault("late write", l.p.name)
	l.p.w.later(l.p.upTo(5*time.Second), write)
	return true
}
