package v2agent

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/internal/v2api"
)

// The states of a pipe, as bits of what its heartbeats say.
const (
	running      = 2
	snapshotSync = 32
	messageSync  = 64
	auditPhase   = 128
)

// pipe is an agent that keeps itself going, as a V2 agent does: heartbeats, scans and reports go on beside each other.
type pipe struct {
	*Agent
	state    atomic.Int64
	every    atomic.Pointer[v2api.Created] // the intervals that it was told
	commands chan []v2api.Command
	changes  chan Change
}

// Run keeps the agent going until ctx ends: it creates a session, and another when that is gone; takes a snapshot when it first leads
// in a session, and audits and looks at suspects from then on, as often as the session says; obeys. With Watch it reports what the
// kernel does. What fails is tried again.
func (a *Agent) Run(ctx context.Context, beat time.Duration) error {
	p := &pipe{Agent: a, commands: make(chan []v2api.Command, 16), changes: make(chan Change, 1<<16)}
	p.state.Store(running | messageSync)
	if a.Watch != nil {
		if err := a.Watch(ctx, func(c Change) { p.changes <- c }); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	all.Go(func() { p.beats(ctx, beat) })
	all.Go(func() { p.scans(ctx, beat) })
	all.Go(func() { p.reports(ctx) })
	all.Wait()
	return ctx.Err()
}

// beats holds a session.
func (p *pipe) beats(ctx context.Context, beat time.Duration) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for ctx.Err() == nil {
		if p.Session() == "" {
			created, err := p.Create(ctx)
			var status *StatusError
			if !errors.As(err, &status) || status.Status != http.StatusConflict { // the session before has not timed out yet
				p.noteGone(err)
			}
			if created.Session != "" {
				p.every.Store(&created)
				if p.OnSession != nil {
					p.OnSession(created.Session, created.Role)
				}
			}
		}
		if p.Session() != "" {
			beaten, err := p.Beat(ctx, strconv.FormatInt(p.state.Load(), 10))
			p.noteGone(err)
			if len(beaten.Commands) > 0 {
				p.commands <- beaten.Commands
			}
		}
		pause(ctx, tick.C)
	}
}

func pause(ctx context.Context, tick <-chan time.Time) {
	select {
	case <-tick:
	case <-ctx.Done():
	}
}

// scans does what a leader does, and what a session is told to.
func (p *pipe) scans(ctx context.Context, beat time.Duration) {
	tick := time.NewTicker(beat / 4)
	defer tick.Stop()
	snapshot := "" // of which session it was taken
	var audited, looked time.Time
	due := func(last *time.Time, seconds float64) bool {
		if seconds <= 0 || time.Since(*last).Seconds() < seconds {
			return false
		}
		*last = time.Now()
		return true
	}
	for ctx.Err() == nil {
		select {
		case commands := <-p.commands:
			_, err := p.Obey(ctx, commands)
			p.noteGone(err)
			continue
		default:
		}
		switch session, every := p.Session(), p.every.Load(); {
		case session == "" || every == nil:
		case p.Role() != "leader":
			snapshot = ""
		case snapshot != session:
			p.during(snapshotSync, func() {
				if err := p.Snapshot(ctx); err == nil && p.Session() == session {
					snapshot, audited = session, time.Now()
				} else {
					p.noteGone(err)
				}
			})
		case due(&audited, every.Audit):
			p.during(auditPhase, func() { p.noteGone(p.Audit(ctx)) })
		case due(&looked, every.Sentinel):
			_, err := p.Agent.Sentinel(ctx)
			p.noteGone(err)
		}
		pause(ctx, tick.C)
	}
}

// during has the heartbeats say that the pipe is in a state while it does something.
func (p *pipe) during(state int64, do func()) {
	p.state.Or(state)
	defer p.state.And(^state)
	do()
}

// reports sends what the kernel reports, in its order, what comes at once in one batch.
func (p *pipe) reports(ctx context.Context) {
	const most = 200
	for {
		var batch []Change
		select {
		case c := <-p.changes:
			batch = append(batch, c)
		case <-ctx.Done():
			return
		}
		for more := true; more && len(batch) < most; {
			select {
			case c := <-p.changes:
				if c != batch[len(batch)-1] {
					batch = append(batch, c)
				}
			default:
				more = false
			}
		}
		for {
			err := p.push(ctx, func() error { return p.report(ctx, batch) })
			if err == nil || ctx.Err() != nil {
				break
			}
			p.noteGone(err)
		}
	}
}

// push sends something by the session that there is, once there is one.
func (p *pipe) push(ctx context.Context, send func() error) error {
	for tick := time.NewTicker(20 * time.Millisecond); p.Session() == ""; {
		pause(ctx, tick.C)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return send()
}

// noteGone forgets the session where it is gone.
func (a *Agent) noteGone(err error) {
	var status *StatusError
	switch {
	case errors.Is(err, ErrGone):
		a.mu.Lock()
		a.session, a.role = "", ""
		a.mu.Unlock()
	case errors.As(err, &status) && status.Status < 500:
		a.failed(err)
	}
}

// Tell is Changed, through another session if the one at hand is gone, until it is told or ctx ends.
func (a *Agent) Tell(ctx context.Context, paths ...string) error {
	for {
		err := errors.New("no session")
		if a.Session() != "" {
			err = a.Changed(ctx, false, paths...)
		}
		var status *StatusError
		if err == nil || ctx.Err() != nil || errors.As(err, &status) && status.Status < 500 {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
