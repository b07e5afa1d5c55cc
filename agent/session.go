package agent

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/fustor/fustor/agent/leading"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/sleep"
)

// sessionKeeper keeps a session with ingest: it creates one, proves it alive with heartbeats, and creates another when it
// is gone.
type sessionKeeper struct {
	o           *Options
	client      *send.Client
	situation   *situation
	stream      *pipe.Stream
	watching    *watching
	directories *directories
	stateFile   *stateFile
	commands    *commands
	status      func() Status

	gone chan string   // sessions that were found to be gone by others than the heartbeat
	soon chan struct{} // a token when the next heartbeat is not to wait
}

// run has a session, whatever happens, until ctx ends.
func (k *sessionKeeper) run(ctx context.Context) error {
	k.closeLast(ctx)
	for retry := (backoff{}); ctx.Err() == nil; {
		start := k.situation.clocks.Now()
		s, err := k.create(ctx)
		if err != nil {
			wait := retry.next(err)
			k.o.Logger.Warn("no session yet", "error", err, "again_in", wait.Round(time.Millisecond))
			_ = sleep.For(ctx, wait)
			continue
		}
		retry = backoff{}
		k.begin(s, start)
		err = k.heartbeats(ctx, s.ID)
		k.situation.endSession()
		if ctx.Err() == nil {
			k.o.Logger.Warn("the session has ended; starting another", "session", s.ID, "reason", err)
		}
	}
	return ctx.Err()
}

func (k *sessionKeeper) create(ctx context.Context) (pipeapi.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r := pipeapi.Registration{
		Task: k.o.TaskID, Paused: k.situation.pausing() != nil,
		ClientInfo: pipeapi.ClientInfo{pipeapi.InfoAgent: k.o.AgentID, pipeapi.InfoSource: k.o.SourceURI},
	}
	if timeout := k.o.SessionTimeout.Seconds(); timeout != 0 {
		r.Timeout = &timeout
	}
	return k.client.CreateSession(ctx, r)
}

// begin takes up a new session, which was asked for at start.
func (k *sessionKeeper) begin(s pipeapi.Session, start lease.Instant) {
	k.remember(s.ID)
	if w := k.watching.current(); w != nil {
		k.directories.open(s, w.Root())
	} else {
		k.directories.close()
	}
	dropped, err := k.stream.Begin(s.ID, s.Term)
	if err != nil {
		k.o.Logger.Error("events could not be carried over to the new session", "error", err)
	}
	if s.Skew != nil {
		k.stream.StartSkew(*s.Skew)
	}
	if own := k.o.Tuning.AuditInterval; own > 0 {
		s.Audit = own.Seconds()
	}
	k.situation.setSession(leading.Begin(s, start), dropped)
	k.o.Logger.Info("session started", "session", s.ID, "leader", s.IsLeader, "term", s.Term)
	k.answered(s.Standing, start)
	k.situation.decideAgain()
}

// answered takes in what an answer says of the role. start is when its request was sent.
func (k *sessionKeeper) answered(s pipeapi.Standing, start lease.Instant) {
	role, changed := k.situation.answered(s, start)
	if !changed {
		return
	}
	k.stream.SetTerm(role.Term)
	k.o.Logger.Info("role", "session", role.Session, "leader", role.Leads, "term", role.Term)
	k.situation.decideAgain()
}

// follow takes in what a heartbeat's answer says of the view's settings.
func (k *sessionKeeper) follow(b pipeapi.Beat) {
	if k.o.Tuning.AuditInterval > 0 {
		b.Audit = nil
	}
	role, changed := k.situation.setIntervals(b)
	if !changed {
		return
	}
	k.o.Logger.Info("the view's intervals have changed", "audit", role.AuditInterval, "sentinel", role.SentinelInterval)
	k.situation.decideAgain()
}

// heartbeats proves the session alive until it is gone or ctx ends. Nothing else is done on this goroutine.
func (k *sessionKeeper) heartbeats(ctx context.Context, session string) error {
	retry := backoff{}
	for wait, limit := k.situation.nextHeartbeat(); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case id := <-k.gone:
			if id == session {
				return send.ErrSessionGone
			}
			continue
		case <-k.soon:
		case <-time.After(wait):
		}
		start, began := k.situation.clocks.Now(), time.Now()
		beat, err := k.heartbeat(ctx, session, limit)
		switch {
		case errors.Is(err, send.ErrSessionGone):
			return err
		case err != nil && ctx.Err() == nil:
			wait = min(retry.next(err), limit)
			k.o.Logger.Warn("heartbeat failed", "error", err, "again_in", wait.Round(time.Millisecond))
			continue
		case err == nil:
			retry = backoff{}
			k.answered(beat.Standing, start)
			k.follow(beat)
			k.directories.alive(session, began)
			k.commands.offer(beat.Commands)
		}
		wait, limit = k.situation.nextHeartbeat()
	}
}

func (k *sessionKeeper) heartbeat(ctx context.Context, session string, limit time.Duration) (pipeapi.Beat, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s := k.status()
	return k.client.Heartbeat(ctx, session, pipeapi.Heartbeat{CanRealtime: &s.CanRealtime, AgentStatus: s.report(), Paused: k.situation.pausing() != nil})
}

// beatSoon sends the next heartbeat at once: ingest is to know of something.
func (k *sessionKeeper) beatSoon() {
	select {
	case k.soon <- struct{}{}:
	default:
	}
}

// sessionGone takes in that a session was found to be gone.
func (k *sessionKeeper) sessionGone(session string) {
	select {
	case k.gone <- session:
	default:
	}
}

// guardLease stops the leader's work in time, even while a heartbeat hangs.
func (k *sessionKeeper) guardLease(ctx context.Context) error {
	const every = 100 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if k.situation.expire(every) {
			k.o.Logger.Warn("the lease was not renewed in time; leader work stops")
		}
	}
}

// close ends the session cleanly, so that its lease is free at once.
func (k *sessionKeeper) close(ctx context.Context) {
	id := k.stream.Session()
	if id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := k.client.CloseSession(ctx, id); err != nil {
		k.o.Logger.Warn("the session could not be closed; it will time out", "error", err)
		return
	}
	k.directories.alive(id, time.Now())
	k.remember("")
}

// remember writes to the state file which session this agent has, and where its root is mounted.
func (k *sessionKeeper) remember(session string) {
	w := k.watching.current()
	err := k.stateFile.change(func(r *remembered) {
		r.Session = session
		switch {
		case w != nil && utf8.ValidString(k.o.Root): // the mount point is a part of it
			r.Root, r.Mount = k.o.Root, w.Mount()
		case r.Root != k.o.Root:
			r.Root, r.Mount = "", ""
		}
	})
	if err != nil {
		k.o.Logger.Warn("the session could not be written to the state file", "error", err)
	}
}

// closeLast ends the session that an earlier process left open, as one does that is killed.
func (k *sessionKeeper) closeLast(ctx context.Context) {
	last := k.stateFile.read().Session
	if last == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := k.client.CloseSession(ctx, last); err != nil {
		k.o.Logger.Info("the previous session could not be closed", "error", err)
	}
}
