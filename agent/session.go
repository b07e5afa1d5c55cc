package agent

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/store"
)

// standing is what the agent knows of its session.
type standing struct {
	session  string // empty: none
	term     uint64 // the newest of the view
	leader   bool
	timeout  time.Duration
	beat     time.Duration // between heartbeats, in the role that it has
	audit    time.Duration // 0: never
	sentinel time.Duration
	hold     lease.Hold    // of the lease
	alive    lease.Instant // start of the last request that found the session alive
}

// now is the moment by the host's clocks.
func (a *Agent) now() lease.Instant { return a.o.Tuning.Clocks.Now() }

// leaseLeft is for how long the leader may go on.
func (a *Agent) leaseLeft() time.Duration { return a.stand.hold.Left(a.now()) }

// keepSession has a session, whatever happens, until ctx ends.
func (a *Agent) keepSession(ctx context.Context) error {
	a.closeRemembered(ctx)
	for retry := (backoff{}); ctx.Err() == nil; {
		start := a.now()
		s, err := a.create(ctx)
		if err != nil {
			wait := retry.next(err)
			a.o.Logger.Warn("no session yet", "error", err, "again_in", wait.Round(time.Millisecond))
			sleep(ctx, wait)
			continue
		}
		retry = backoff{}
		a.begin(s, start)
		err = a.heartbeats(ctx, s.ID)
		a.end()
		if ctx.Err() == nil {
			a.o.Logger.Warn("the session has ended; starting another", "session", s.ID, "reason", err)
		}
	}
	return ctx.Err()
}

func (a *Agent) create(ctx context.Context) (pipeapi.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r := pipeapi.Registration{
		Task: a.o.TaskID, Paused: a.pausing() != nil,
		ClientInfo: pipeapi.ClientInfo{pipeapi.InfoAgent: a.o.AgentID, pipeapi.InfoSource: a.o.SourceURI},
	}
	if timeout := a.o.SessionTimeout.Seconds(); timeout != 0 {
		r.Timeout = &timeout
	}
	return a.client.CreateSession(ctx, r)
}

// begin takes up a new session.
func (a *Agent) begin(s pipeapi.Session, start lease.Instant) {
	a.remember(s.ID)
	a.openDirs(s)
	dropped, err := a.stream.Begin(s.ID, s.Term)
	if err != nil {
		a.o.Logger.Error("events could not be carried over to the new session", "error", err)
	}
	st := standing{
		session: s.ID, term: s.Term, timeout: seconds(s.Timeout),
		audit: seconds(s.Audit), sentinel: seconds(s.Sentinel), alive: start,
	}
	if s.Skew != nil {
		a.stream.StartSkew(*s.Skew)
	}
	if st.timeout <= 0 {
		st.timeout = 30 * time.Second
	}
	if a.o.Tuning.AuditInterval > 0 {
		st.audit = a.o.Tuning.AuditInterval
	}
	a.mu.Lock()
	a.stand = st
	a.occur(sessionBegan)
	a.occurPause()
	// What was dropped of a scan that did not end is scanned again anyway.
	a.scans.rescan = a.scans.rescan || dropped && a.scans.covered
	a.mu.Unlock()
	a.o.Logger.Info("session started", "session", s.ID, "leader", s.IsLeader, "term", s.Term)
	a.stands(s.Standing, start)
	a.poke()
}

// end gives up the session; its leader work stops.
func (a *Agent) end() {
	a.mu.Lock()
	a.stand.session, a.stand.leader = "", false
	a.leaseUntil.Store(0)
	a.cancel()
	a.occur(sessionLost)
	a.mu.Unlock()
}

// stands takes in what an answer says of the role. start is when its request was sent.
func (a *Agent) stands(s pipeapi.Standing, start lease.Instant) {
	a.mu.Lock()
	st := &a.stand
	before := *st
	st.alive, st.term = start, max(st.term, s.Term)
	if st.beat = seconds(s.Heartbeat); st.beat <= 0 || st.beat > lease.Interval(st.timeout, true) {
		st.beat = lease.Interval(st.timeout, false)
	}
	if s.IsLeader && s.LeaseRenewed {
		st.hold = lease.Hold{Term: s.Term, Start: start, TTL: seconds(s.LeaseTTL)}
		if st.hold.TTL <= 0 {
			st.hold.TTL = st.timeout
		}
	}
	st.leader = s.IsLeader && a.leaseLeft() > 0 && a.pause == nil
	a.leaseUntil.Store(0)
	if st.leader {
		a.leaseUntil.Store(a.clock.Now() + int64(a.leaseLeft()))
	}
	changed := st.leader != before.leader || st.term != before.term
	if changed {
		a.cancel() // what was looked at in another role, or under another term, is not to be sent
	}
	after := *st
	a.mu.Unlock()
	if changed {
		a.stream.SetTerm(after.term)
		a.o.Logger.Info("role", "session", after.session, "leader", after.leader, "term", after.term)
		a.poke()
	}
}

// heartbeats proves the session alive until it is gone or ctx ends. Nothing else is done on this goroutine.
func (a *Agent) heartbeats(ctx context.Context, session string) error {
	retry := backoff{}
	for wait := a.untilBeat(); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case id := <-a.gone:
			if id == session {
				return send.ErrSessionGone
			}
			continue
		case <-a.beatNow:
		case <-time.After(wait):
		}
		start, began := a.now(), time.Now()
		beat, err := a.heartbeat(ctx, session)
		switch {
		case errors.Is(err, send.ErrSessionGone):
			return err
		case err != nil && ctx.Err() == nil:
			wait = min(retry.next(err), a.beatLimit())
			a.o.Logger.Warn("heartbeat failed", "error", err, "again_in", wait.Round(time.Millisecond))
			continue
		case err == nil:
			retry = backoff{}
			a.stands(beat.Standing, start)
			a.dirsAlive(session, began)
			a.demand.offer(beat.Commands)
		}
		wait = a.untilBeat()
	}
}

// untilBeat is how long the next heartbeat may wait: of a leader, for its last renewal, as an answer may have been none.
func (a *Agent) untilBeat() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := a.stand.alive
	if a.stand.leader {
		last = a.stand.hold.Start
	}
	return max(a.stand.beat/4, a.stand.beat-a.now().Since(last))
}

// beatLimit is how long a heartbeat may take, and the longest pause after one that failed.
func (a *Agent) beatLimit() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stand.timeout / 3
}

func (a *Agent) heartbeat(ctx context.Context, session string) (pipeapi.Beat, error) {
	ctx, cancel := context.WithTimeout(ctx, a.beatLimit())
	defer cancel()
	s := a.Status()
	canRealtime := s.Watch.Coverage != watch.AuditOnly
	return a.client.Heartbeat(ctx, session, pipeapi.Heartbeat{CanRealtime: &canRealtime, AgentStatus: s.report(), Paused: a.pausing() != nil})
}

// guardLease stops the leader's work in time, whether or not a heartbeat hangs.
func (a *Agent) guardLease(ctx context.Context) error {
	const every = 100 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		a.mu.Lock()
		over := a.stand.leader && a.leaseLeft() <= every
		if over {
			a.stand.leader = false
			a.cancel()
		}
		a.mu.Unlock()
		if over {
			a.o.Logger.Warn("the lease was not renewed in time; leader work stops")
		}
	}
}

// closeSession ends the session cleanly, so that its lease is free at once.
func (a *Agent) closeSession(ctx context.Context) {
	id := a.stream.Session()
	if id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := a.client.CloseSession(ctx, id); err != nil {
		a.o.Logger.Warn("the session could not be closed; it will time out", "error", err)
		return
	}
	a.dirsAlive(id, time.Now())
	a.remember("")
}

// remember notes the session that this agent has.
func (a *Agent) remember(session string) {
	w := a.watcher.Load()
	err := a.note(func(r *remembered) {
		r.Session = session
		switch {
		case w != nil && utf8.ValidString(a.o.Root): // the mount point is a part of it
			r.Root, r.Mount = a.o.Root, w.Mount()
		case r.Root != a.o.Root:
			r.Root, r.Mount = "", ""
		}
	})
	if err != nil {
		a.o.Logger.Warn("the session could not be remembered", "error", err)
	}
}

// rememberedMount is where the root's file system was mounted when an agent with this state watched it; empty: not known.
func (a *Agent) rememberedMount() string {
	a.notes.mu.Lock()
	defer a.notes.mu.Unlock()
	if a.notes.is.Root != a.o.Root {
		return ""
	}
	return a.notes.is.Mount
}

// closeRemembered ends the session of an agent that was killed.
func (a *Agent) closeRemembered(ctx context.Context) {
	a.notes.mu.Lock()
	last := a.notes.is.Session
	a.notes.mu.Unlock()
	if last == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := a.client.CloseSession(ctx, last); err != nil {
		a.o.Logger.Info("the session before this one could not be closed", "error", err)
	}
}

// backoff is growing, jittered pauses between tries.
type backoff struct{ tries int }

// next is how long to wait after a try failed with err.
func (b *backoff) next(err error) time.Duration {
	limit := 200 * time.Millisecond << min(b.tries, 7) // up to 25 s
	b.tries++
	if errors.Is(err, send.ErrRefused) {
		limit = 30 * time.Second
	}
	if errors.Is(err, send.ErrTaken) {
		limit = min(limit, 2*time.Second) // it ends within its time-out
	}
	wait := limit/2 + store.Jitter(limit/2)
	var status *send.StatusError
	if errors.As(err, &status) {
		wait = max(wait, min(status.RetryAfter, time.Minute))
	}
	return wait
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
