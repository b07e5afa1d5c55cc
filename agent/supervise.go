package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/thejerf/suture/v4"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/internal/pipeapi"
)

// supervisor runs services, starts those again that fail or panic, and remembers how each failed last.
type supervisor struct {
	log     *slog.Logger
	backoff time.Duration // of a task that keeps failing; 0: suture's default

	mu       sync.Mutex
	failures map[string]pipeapi.TaskFailure
}

func newSupervisor(log *slog.Logger, backoff time.Duration) *supervisor {
	return &supervisor{log: log, backoff: backoff, failures: map[string]pipeapi.TaskFailure{}}
}

// service is a part of the agent that works until its context ends. Logs and heartbeats call it a task.
type service struct {
	name string
	run  func(ctx context.Context) error
}

// run runs services until ctx ends. Each is started again when it fails: at once at first, then with pauses.
func (s *supervisor) run(ctx context.Context, name string, services []service) error {
	tree := suture.New(name, suture.Spec{
		EventHook:      func(suture.Event) {}, // supervised reports by itself
		FailureBackoff: s.backoff, Timeout: time.Minute,
	})
	for _, one := range services {
		tree.Add(supervised{one, s})
	}
	return tree.Serve(ctx)
}

// supervised is a service as suture runs it.
type supervised struct {
	service
	supervisor *supervisor
}

// Serve implements suture.Service.
func (s supervised) Serve(ctx context.Context) error {
	err := guard.Do(func() error { return s.service.run(ctx) })
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil || errors.Is(err, suture.ErrDoNotRestart):
		return suture.ErrDoNotRestart
	case errors.Is(err, suture.ErrTerminateSupervisorTree):
		return err
	}
	s.supervisor.failed(s.name, err)
	return err
}

func (s supervised) String() string { return s.name }

// failed reports a failure: in the log, and with the next heartbeat.
func (s *supervisor) failed(name string, err error) {
	var caught *guard.PanicError
	if errors.As(err, &caught) {
		s.log.Error("a task has panicked and is started again; please report this", "task", name, "error", err, "stack", string(caught.Stack))
	} else {
		s.log.Error("a task has failed and is started again", "task", name, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[name] = pipeapi.TaskFailure{Error: fmt.Sprintf("%.500v", err), At: time.Now(), Restarts: s.failures[name].Restarts + 1}
}

// report returns the services that have failed, by name; nil if none has.
func (s *supervisor) report() map[string]pipeapi.TaskFailure {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failures) == 0 {
		return nil
	}
	return maps.Clone(s.failures)
}

// every calls f once per interval until stop is called, which waits for a call that is under way. A panic in f is reported as
// that of the service name.
func (s *supervisor) every(name string, interval time.Duration, f func()) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				if err := guard.Do(func() error { f(); return nil }); err != nil {
					s.failed(name, err)
				}
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}
