package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thejerf/suture/v4"

	"github.com/fustor/fustor/agent/guard"
)

// taskFailure is how a task failed last.
type taskFailure struct {
	err      string
	at       time.Time
	restarts int
}

// task is one that is started again, after a while, whenever it fails.
type task struct {
	name string
	run  func(ctx context.Context) error
	a    *Agent
}

// Serve implements suture.Service.
func (t task) Serve(ctx context.Context) error {
	err := guard.Do(func() error { return t.run(ctx) })
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil || errors.Is(err, suture.ErrDoNotRestart):
		return suture.ErrDoNotRestart
	case errors.Is(err, suture.ErrTerminateSupervisorTree):
		return err
	}
	t.a.taskFailed(t.name, err)
	return err
}

func (t task) String() string { return t.name }

// taskFailed reports a failure: in the log, and with the next heartbeat.
func (a *Agent) taskFailed(name string, err error) {
	var caught *guard.PanicError
	if errors.As(err, &caught) {
		a.o.Logger.Error("a task has panicked and is started again; please report this", "task", name, "error", err, "stack", string(caught.Stack))
	} else {
		a.o.Logger.Error("a task has failed and is started again", "task", name, "error", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.failures[name]
	a.failures[name] = taskFailure{err: fmt.Sprintf("%.500v", err), at: time.Now(), restarts: f.restarts + 1}
}

// supervise runs tasks until ctx ends. Each is started again when it fails: at once at first, then with pauses.
func (a *Agent) supervise(ctx context.Context, name string, tasks ...task) error {
	s := suture.New(name, suture.Spec{
		EventHook:      func(suture.Event) {}, // tasks report by themselves
		FailureBackoff: a.o.Tuning.Backoff, Timeout: time.Minute,
	})
	for _, t := range tasks {
		t.a = a
		s.Add(t)
	}
	return s.Serve(ctx)
}
