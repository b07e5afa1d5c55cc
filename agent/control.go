package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/values"
)

// control does what commands ask the agent itself to do: pause, resume, reload and stop.
type control struct {
	commands *commands
	log      *slog.Logger
	pause    func(pause bool, by string) (changed bool, err error)
	reload   func() (string, error) // nil: there is nothing to reload
	stop     func(by string)

	stopped atomic.Pointer[job.Command] // the command that ended the agent
}

// StoppedError is what Run returns when a command ended the agent.
type StoppedError struct{ By string }

// Error implements error.
func (e *StoppedError) Error() string { return "stopped by " + e.By }

// run does the commands, one after the other, until ctx ends.
func (c *control) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case command := <-c.commands.controls:
			c.do(ctx, command)
		}
	}
}

// do does what a command says, and reports on it. A command that it does not know fails with a message, since a later ingest
// may know more commands than this agent.
func (c *control) do(ctx context.Context, command job.Command) {
	by := "the ingest"
	if command.By != "" {
		by = fmt.Sprintf("key %q through the ingest", command.By)
	}
	c.log.Info("command", "command", command.Type, "job", command.ID, "by", by)
	var note string
	var err error
	switch command.Type {
	case job.Pause, job.Resume:
		note = c.setPaused(command.Type == job.Pause, by)
	case job.Reload:
		if c.reload == nil {
			err = fmt.Errorf("this agent has no config file to read again: restart it with other flags")
			break
		}
		note, err = c.reload()
	case job.Stop:
		c.stopped.Store(&command)
		c.commands.answer(ctx, command, job.Report{State: job.Running})
		c.stop(by)
		return
	default:
		err = fmt.Errorf("this agent does not know the command %q; it knows pause, resume, stop, reload and scan", shorten(command.Type, 64))
	}
	r := job.Report{State: job.Done, Note: note}
	if err != nil {
		c.log.Warn("a command has failed", "command", command.Type, "job", command.ID, "error", err)
		r.State, r.Error = job.Failed, err.Error()
	}
	c.commands.answer(ctx, command, r)
}

// setPaused pauses or resumes the agent; note says what a report says of it.
func (c *control) setPaused(pause bool, by string) (note string) {
	changed, err := c.pause(pause, by)
	switch {
	case err != nil: // it is done all the same
		c.log.Warn("the pause could not be written to the state file", "error", err)
		return err.Error()
	case !changed && pause:
		return "it was paused already"
	case !changed:
		return "it was not paused"
	}
	return ""
}

// reportEnd reports to the command that ended the agent, if there was one, what the agent leaves unsent.
func (c *control) reportEnd(ctx context.Context, session string, unsentBytes, unsentSegments int, spooled bool) {
	command := c.stopped.Load()
	if command == nil || session == "" {
		return
	}
	r := job.Report{For: command.For, State: job.Done, Note: "what it had was sent"}
	if unsentSegments > 0 {
		r.Note = fmt.Sprintf("%s, %s, were not sent", values.Plural(unsentSegments, "segment", "segments"), values.Plural(unsentBytes, "byte", "bytes"))
		if spooled {
			r.Note += " and wait in its spool for the next start"
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	c.commands.report(ctx, session, command.ID, r)
}
