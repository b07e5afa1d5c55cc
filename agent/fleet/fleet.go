// Package fleet runs the pipes of one process, each apart from the others, and takes in other pipes while they run.
//
// Each pipe has a supervisor of its own: one that fails, panics, or cannot begin because its tree is not mounted yet is
// tried again with pauses, and the others do not notice. Apply starts what is new, ends what is gone, replaces what has
// changed or was stopped, and touches nothing else. A pipe of the same name begins once the one before it has ended, never
// beside it.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/thejerf/suture/v4"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/internal/store"
)

// Runner is an agent that feeds one view. Run ends once its ctx has, or with an *agent.StoppedError: then it is not to be
// started again.
type Runner interface {
	Run(ctx context.Context) error
	Status() agent.Status
	SetPaused(paused bool, by string) (changed bool, err error)
}

// Pipe is one pipe as it should be.
type Pipe struct {
	Name    string // unique
	Version string // another one: the pipe has changed
	View    string
	Source  string // of these two, what people should read
	Sender  string
	// New makes what runs the pipe. It is called again after an error of its own, or of what it made. It may block; metrics
	// go to the registerer.
	New func(ctx context.Context, metrics prometheus.Registerer) (Runner, error)
}

// Changes are what Apply did, by name in the order of the pipes; Kept are untouched.
type Changes struct {
	Added   []string `json:"added"`
	Changed []string `json:"changed"`
	Removed []string `json:"removed"`
	Started []string `json:"started,omitempty"` // that were stopped, and are as they were
	Kept    []string `json:"kept"`
}

// Status is how one pipe is doing.
type Status struct {
	Pipe
	// Starts is how often it has begun.
	Starts int
	// Err is why it does not run, or did not when it was tried last; nil: it runs.
	Err     error
	Stopped bool // somebody has stopped it, as Err says
	Ending  bool // it is no longer wanted, and sends what is left
	// Agent is nil while it does not run.
	Agent *agent.Status
}

// Fleet is the pipes. It is safe for concurrent use.
type Fleet struct {
	ctx     context.Context // the pipes' life
	log     *slog.Logger
	backoff time.Duration

	apply sync.Mutex // one Apply at a time
	mu    sync.Mutex
	pipes []*running // in their order
	past  []*running // ending
	all   sync.WaitGroup
}

// New makes a fleet without pipes. They end with ctx.
func New(ctx context.Context, log *slog.Logger) *Fleet {
	return &Fleet{ctx: ctx, log: log, backoff: 15 * time.Second}
}

// running is one pipe that runs, or tries to.
type running struct {
	Pipe
	f      *Fleet
	log    *slog.Logger
	cancel context.CancelFunc
	before *running      // of the same name, that has to end first; nil: none
	ended  chan struct{} // closed

	mu       sync.Mutex
	runner   Runner
	registry *prometheus.Registry
	starts   int
	err      error
}

// Apply makes the fleet run these pipes and no others. It does not wait for what ends or begins.
func (f *Fleet) Apply(pipes []Pipe) Changes {
	f.apply.Lock()
	defer f.apply.Unlock()
	f.mu.Lock()
	old := map[string]*running{}
	for _, r := range f.pipes {
		old[r.Name] = r
	}
	f.mu.Unlock()
	ch := Changes{[]string{}, []string{}, []string{}, []string{}, nil}
	var next, gone, begun []*running
	for _, p := range pipes {
		r := old[p.Name]
		delete(old, p.Name)
		switch {
		case r != nil && r.Version == p.Version && r.wasStopped():
			ch.Started = append(ch.Started, p.Name)
			gone = append(gone, r)
		case r != nil && r.Version == p.Version:
			ch.Kept = append(ch.Kept, p.Name)
			next = append(next, r)
			continue
		case r != nil:
			ch.Changed = append(ch.Changed, p.Name)
			gone = append(gone, r)
		default:
			ch.Added = append(ch.Added, p.Name)
			r = f.ending(p.Name)
		}
		n := &running{Pipe: p, f: f, log: f.log.With("pipe", p.Name), before: r, ended: make(chan struct{})}
		next, begun = append(next, n), append(begun, n)
	}
	for name, r := range old {
		ch.Removed = append(ch.Removed, name)
		gone = append(gone, r)
	}
	slices.Sort(ch.Removed)
	f.mu.Lock()
	f.pipes, f.past = next, append(f.past, gone...)
	f.mu.Unlock()
	for _, r := range gone {
		r.cancel()
	}
	for _, r := range begun {
		r.begin()
	}
	return ch
}

// ErrNoPipe: the fleet has no pipe of that name.
var ErrNoPipe = errors.New("there is no such pipe")

// SetPaused pauses a pipe, or has it run again; by says who wants that. It reports whether that is news.
func (f *Fleet) SetPaused(name string, paused bool, by string) (changed bool, err error) {
	f.mu.Lock()
	at := slices.IndexFunc(f.pipes, func(r *running) bool { return r.Name == name })
	if at < 0 {
		f.mu.Unlock()
		return false, ErrNoPipe
	}
	r := f.pipes[at]
	f.mu.Unlock()
	r.mu.Lock()
	runner, why := r.runner, r.err
	r.mu.Unlock()
	switch {
	case runner == nil && why != nil:
		return false, fmt.Errorf("the pipe is not running: %w", why)
	case runner == nil:
		return false, errors.New("the pipe is starting; try again")
	}
	return runner.SetPaused(paused, by)
}

// ending is the newest pipe of a name that is about to end; nil: none.
func (f *Fleet) ending(name string) *running {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range slices.Backward(f.past) {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// Wait returns once every pipe has ended, after the fleet's ctx has.
func (f *Fleet) Wait() {
	<-f.ctx.Done()
	f.apply.Lock() // none begins now
	defer f.apply.Unlock()
	f.all.Wait()
}

// Status is how the pipes are doing, in their order, and then those that are ending.
func (f *Fleet) Status() []Status {
	f.mu.Lock()
	pipes, past := slices.Clone(f.pipes), slices.Clone(f.past)
	f.mu.Unlock()
	out := make([]Status, 0, len(pipes)+len(past))
	for _, r := range pipes {
		out = append(out, r.status())
	}
	for _, r := range past {
		s := r.status()
		s.Ending = true
		out = append(out, s)
	}
	return out
}

// Gather implements prometheus.Gatherer: the metrics of every pipe, with the label pipe.
func (f *Fleet) Gather() ([]*dto.MetricFamily, error) {
	f.mu.Lock()
	pipes := slices.Clone(f.pipes)
	f.mu.Unlock()
	var all prometheus.Gatherers
	for _, r := range pipes {
		r.mu.Lock()
		if r.registry != nil {
			all = append(all, r.registry)
		}
		r.mu.Unlock()
	}
	return all.Gather()
}

func (r *running) status() Status {
	r.mu.Lock()
	runner := r.runner
	s := Status{Pipe: r.Pipe, Starts: r.starts, Err: r.err, Stopped: isStopped(r.err)}
	r.mu.Unlock()
	if runner != nil {
		st := runner.Status()
		s.Agent = &st
	}
	return s
}

func (r *running) wasStopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runner == nil && isStopped(r.err)
}

func isStopped(err error) bool {
	var stopped *agent.StoppedError
	return errors.As(err, &stopped)
}

// begin runs the pipe on a goroutine of its own.
func (r *running) begin() {
	ctx, cancel := context.WithCancel(r.f.ctx)
	r.cancel = cancel
	r.f.all.Add(1)
	go func() {
		defer r.f.all.Done()
		defer close(r.ended)
		defer r.forget()
		defer cancel()
		if r.before != nil {
			<-r.before.ended
			r.before = nil
		}
		s := suture.New(r.Name, suture.Spec{
			EventHook:      func(suture.Event) {}, // it reports by itself
			FailureBackoff: r.f.backoff, Timeout: time.Minute,
		})
		s.Add(r)
		_ = s.Serve(ctx)
	}()
}

// forget takes a pipe that has ended from those that are ending.
func (r *running) forget() {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	r.f.past = slices.DeleteFunc(r.f.past, func(p *running) bool { return p == r })
}

// String is what the supervisor calls it.
func (r *running) String() string { return r.Name }

// Serve implements suture.Service.
func (r *running) Serve(ctx context.Context) error {
	err := guard.Do(func() error { return r.serve(ctx) })
	r.set(nil, nil, err)
	if ctx.Err() != nil {
		if err != nil && !errors.Is(err, context.Canceled) {
			r.log.Warn("the pipe ended with an error", "error", err)
		}
		return ctx.Err()
	}
	if isStopped(err) {
		r.log.Info("the pipe has ended until the agent is reloaded or started again", "reason", err)
		return suture.ErrDoNotRestart
	}
	if err == nil {
		err = errors.New("the pipe ended without being stopped")
	}
	var caught *guard.PanicError
	if errors.As(err, &caught) {
		r.log.Error("a pipe has panicked and is started again; please report this", "error", err, "stack", string(caught.Stack))
	} else {
		r.log.Error("a pipe has failed and is started again", "error", err)
	}
	return errors.New(err.Error()) // none of those by which suture is told to end
}

func (r *running) serve(ctx context.Context) error {
	runner, registry, err := r.make(ctx)
	if err != nil {
		return err
	}
	r.set(runner, registry, nil)
	r.log.Info("pipe started", "source", r.Source, "view", r.View, "sender", r.Sender)
	err = runner.Run(ctx)
	if ctx.Err() != nil {
		r.log.Info("the pipe has ended")
	}
	return err
}

// make tries until it can be made, or ctx ends.
func (r *running) make(ctx context.Context) (Runner, *prometheus.Registry, error) {
	said := ""
	for wait := 500 * time.Millisecond; ; wait = min(2*wait, 30*time.Second) {
		registry := prometheus.NewRegistry()
		runner, err := r.New(ctx, prometheus.WrapRegistererWith(prometheus.Labels{"pipe": r.Name}, registry))
		if err == nil {
			return runner, registry, nil
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if r.set(nil, nil, err); err.Error() != said { // not the same every time
			said = err.Error()
			r.log.Error("the pipe cannot start and is tried again; other pipes are not affected", "error", err)
		}
		timer := time.NewTimer(wait/2 + store.Jitter(wait/2))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, nil, ctx.Err()
		case <-timer.C:
		}
	}
}

func (r *running) set(runner Runner, registry *prometheus.Registry, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runner, r.registry, r.err = runner, registry, err
	if runner != nil {
		r.starts++
	}
}
