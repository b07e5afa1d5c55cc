package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/job"
)

// Orders are the commands to this session that are no scans. They do not wait behind a scan.

// StoppedError is what Run returns when it was told to end.
type StoppedError struct{ By string }

// Error implements error.
func (e *StoppedError) Error() string { return "stopped by " + e.By }

// Stop has Run send what is left, and return a *StoppedError.
func (a *Agent) Stop(by string) {
	a.mu.Lock()
	stop := a.stopRun
	a.mu.Unlock()
	stop(&StoppedError{by})
}

// runOrders does what this session is told, in the order in which it hears of it.
func (a *Agent) runOrders(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-a.demand.orders:
			a.obey(ctx, c)
		}
	}
}

// obey does what a command says, and reports on it. One that it does not know is refused in words: a later ingest may know
// more commands than this agent.
func (a *Agent) obey(ctx context.Context, c job.Command) {
	by := "the ingest"
	if c.By != "" {
		by = fmt.Sprintf("key %q through the ingest", c.By)
	}
	a.o.Logger.Info("command", "command", c.Type, "job", c.ID, "by", by)
	var note string
	var err error
	switch c.Type {
	case job.Pause, job.Resume:
		note, err = a.obeyPause(c.Type == job.Pause, by)
	case job.Reload:
		note, err = a.obeyReload()
	case job.Stop:
		a.mu.Lock()
		a.stopJob = &c
		a.mu.Unlock()
		a.report(ctx, c, job.Report{State: job.Running})
		a.Stop(by)
		return
	default:
		err = fmt.Errorf("this agent does not know the command %q; it knows pause, resume, stop, reload and scan", shorten(c.Type, 64))
	}
	r := job.Report{State: job.Done, Note: note}
	if err != nil {
		a.o.Logger.Warn("a command was not obeyed", "command", c.Type, "job", c.ID, "error", err)
		r.State, r.Error = job.Failed, err.Error()
	}
	a.report(ctx, c, r)
}

func (a *Agent) obeyPause(pause bool, by string) (note string, err error) {
	changed, err := a.SetPaused(pause, by)
	switch {
	case err != nil: // it is done all the same
		a.o.Logger.Warn("the pause cannot be written down", "error", err)
		return err.Error(), nil
	case !changed && pause:
		return "it was paused already", nil
	case !changed:
		return "it was not paused", nil
	}
	return "", nil
}

func (a *Agent) obeyReload() (note string, err error) {
	if a.o.Reload == nil {
		return "", fmt.Errorf("this agent has no config file to read again: restart it with other flags")
	}
	return a.o.Reload()
}

// report tells what became of a command. A reload may have ended this pipe meanwhile, which must not keep it from saying
// so. What cannot be said is done again when the command comes again.
func (a *Agent) report(ctx context.Context, c job.Command, r job.Report) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	a.mu.Lock()
	session := a.stand.session
	a.mu.Unlock()
	r.For = c.For
	if session == "" || !a.reportJob(ctx, session, c.ID, r) {
		a.demand.forget(c.ID)
	}
}

// reportStopped tells whoever stopped the agent that it has ended, and what it leaves.
func (a *Agent) reportStopped(ctx context.Context) {
	session := a.stream.Session()
	a.mu.Lock()
	c := a.stopJob
	a.mu.Unlock()
	if c == nil || session == "" {
		return
	}
	r := job.Report{For: c.For, State: job.Done, Note: "what it had was sent"}
	if bytes, segments := a.stream.Backlog(); segments > 0 {
		r.Note = fmt.Sprintf("%d segments, %d bytes, were not sent", segments, bytes)
		if a.spool != nil {
			r.Note += " and wait in its spool for the next start"
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	a.reportJob(ctx, session, c.ID, r)
}
