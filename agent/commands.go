package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/sleep"
)

const (
	// commandWait is how long a call for commands waits.
	commandWait = 25 * time.Second
	// askAgain is when an ingest that does not hold such calls is asked whether it does now.
	askAgain = 10 * time.Minute
	// reportEvery is how often a job says how far it is.
	reportEvery = time.Second
	// maxAccepted is how many ids of commands are remembered.
	maxAccepted = 10_000
)

// commands takes what people ask this agent for through ingest, and reports on it. A command comes with heartbeats, and with
// the answer to a call that waits for one, again and again until it was reported on.
type commands struct {
	client    *send.Client
	situation *situation
	log       *slog.Logger

	scans    chan job.Command // on-demand scans
	controls chan job.Command // the others, which do not wait behind a scan

	mu       sync.Mutex
	accepted map[string]bool // ids of those that were queued, so that one which comes twice is done once
}

func newCommands(client *send.Client, situation *situation, log *slog.Logger) *commands {
	return &commands{
		client: client, situation: situation, log: log,
		scans: make(chan job.Command, 100), controls: make(chan job.Command, 100), accepted: map[string]bool{},
	}
}

// offer queues commands that were not accepted yet. Those that find no room come again with the next heartbeat.
func (c *commands) offer(all []job.Command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range all {
		if c.accepted[one.ID] {
			continue
		}
		queue := c.controls
		if one.Type == job.Scan || one.Type == "" {
			queue = c.scans
		}
		select {
		case queue <- one:
			if len(c.accepted) > maxAccepted {
				clear(c.accepted)
			}
			c.accepted[one.ID] = true
		default:
		}
	}
}

// release has a command accepted when it comes again, by this agent or, if it is a scan, by the next leader.
func (c *commands) release(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.accepted, id)
}

// run asks for commands while the agent leads, so that they need not wait for a heartbeat.
func (c *commands) run(ctx context.Context) error {
	retry := backoff{}
	for ctx.Err() == nil {
		of, leads := c.situation.leadership()
		if !leads {
			_ = sleep.For(ctx, time.Second)
			continue
		}
		began := time.Now()
		callCtx, cancel := context.WithTimeout(ctx, commandWait+30*time.Second)
		all, err := c.client.Commands(callCtx, of.Session, commandWait)
		cancel()
		switch {
		case errors.Is(err, send.ErrSessionGone):
			_ = sleep.For(ctx, time.Second) // the heartbeat finds out by itself
		case err != nil:
			_ = sleep.For(ctx, retry.next(err))
		default:
			retry = backoff{}
			c.offer(all)
			if len(all) == 0 && time.Since(began) < commandWait/2 { // an ingest that does not hold calls: heartbeats bring them
				_ = sleep.For(ctx, askAgain)
			} else if len(all) > 0 {
				_ = sleep.For(ctx, reportEvery) // until the first report has said that they were accepted
			}
		}
	}
	return ctx.Err()
}

// answer reports that a command has ended. A reload may have ended this pipe meanwhile, which must not keep it from saying
// so. A command whose report does not get through is done again when it comes again.
func (c *commands) answer(ctx context.Context, to job.Command, r job.Report) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	session := c.situation.session()
	r.For = to.For
	if session == "" || !c.report(ctx, session, to.ID, r) {
		c.release(to.ID)
	}
}

// report says how far a command is. The report of its end is tried again for a while. False: it did not get through, though
// the session is still there.
func (c *commands) report(ctx context.Context, session, id string, r job.Report) bool {
	retry := backoff{}
	for try := 0; ; try++ {
		callCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := c.client.ReportJob(callCtx, session, id, r)
		cancel()
		if err == nil || ctx.Err() != nil || !r.State.Ended() || try == 8 || errors.Is(err, send.ErrSessionGone) {
			if err != nil && ctx.Err() == nil {
				c.log.Warn("a job could not be reported on", "job", id, "error", err)
			}
			return err == nil || errors.Is(err, send.ErrSessionGone)
		}
		_ = sleep.For(ctx, retry.next(err))
	}
}
