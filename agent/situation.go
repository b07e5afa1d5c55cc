package agent

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/agent/leading"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/schedule"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/pipeapi"
)

// situation is everything that decides what the agent may do now: its role, the pause, whether the root is there, what is
// to be scanned, and the state that heartbeats report. The parts of the agent read it and tell it what happened; it knows none
// of them.
//
// One lock guards all of it, because a scan may only begin in the very situation that it was decided in, and whatever ends
// that situation (another role or term, a pause, a lost root, the end of the session) must reach the scan that runs.
type situation struct {
	log    *slog.Logger
	clocks lease.Clocks
	store  *pipe.Clock
	// wake has a token when the scans have something new to decide.
	wake chan struct{}
	// reign is the term in which the session leads, and until when for certain; nil: it does not lead.
	reign atomic.Pointer[reign]

	mu        sync.Mutex
	role      leading.Role
	schedule  schedule.Schedule
	lifecycle lifecycle
	pause     *pipeapi.Pause // nil: it runs
	resumed   chan struct{}  // closed at the end of the pause; nil: it runs
	rootLost  error          // why the root is lost; nil: it is there
	scan      schedule.Kind  // that runs; empty: none
	scanBegan time.Time      // of that, or the last one
	// listed is where the last listing of a scan went that was to close a gap, and sent the last segment that is durable.
	listed, sent position
	// cancelScan and cancelDemand end the scheduled scan and the on-demand scan that run.
	cancelScan, cancelDemand context.CancelFunc
}

// position is a segment of a session.
type position struct {
	session string
	seq     uint64
}

// newSituation is that of a process that begins: no session, nothing scanned. pause is nil unless the agent was paused before.
func newSituation(o *Options, store *pipe.Clock, pause *pipeapi.Pause) *situation {
	s := &situation{
		log: o.Logger, clocks: o.Tuning.Clocks, store: store, wake: make(chan struct{}, 1),
		schedule: schedule.New(o.Tuning.SettleAfter), lifecycle: lifecycle{stopped, o.Logger},
		cancelScan: func() {}, cancelDemand: func() {},
	}
	if pause != nil {
		s.pause, s.resumed = pause, make(chan struct{})
	}
	return s
}

// decideAgain makes the scans decide anew.
func (s *situation) decideAgain() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// apply takes in what changes the reported state.
func (s *situation) apply(t trigger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lifecycle.apply(t)
}

// applyPause takes in that the agent is paused, in the states that know of it; the others lead to one that does. The lock is
// held.
func (s *situation) applyPause() {
	if _, ok := s.lifecycle.state.next(pause); ok && s.pause != nil {
		s.lifecycle.apply(pause)
	}
}

// setPaused pauses the agent with p, or resumes it if that is nil. It reports whether that is news.
func (s *situation) setPaused(p *pipeapi.Pause) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case (p != nil) == (s.pause != nil):
		return false
	case p != nil:
		s.pause, s.resumed = p, make(chan struct{})
		s.role.StepDown()
		s.reign.Store(nil)
		s.cancelScan()
		s.cancelDemand()
		s.applyPause()
	default:
		close(s.resumed)
		s.pause, s.resumed = nil, nil
		if s.lifecycle.state == paused {
			s.lifecycle.apply(resume)
		}
		s.schedule.Resumed()
	}
	s.decideAgain()
	return true
}

// pausing is nil while the agent runs; otherwise it is closed when it is resumed.
func (s *situation) pausing() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumed
}

// setRootLost stops the scans; err says why the root is lost.
func (s *situation) setRootLost(err error) {
	s.mu.Lock()
	s.rootLost = err
	s.cancelScan()
	s.lifecycle.apply(rootLost)
	s.mu.Unlock()
	s.decideAgain()
}

// setRootBack has everything scanned again.
func (s *situation) setRootBack() {
	s.mu.Lock()
	s.rootLost = nil
	s.lifecycle.apply(rootFound)
	s.applyPause()
	s.schedule.Lost()
	s.schedule.Uncover()
	s.mu.Unlock()
	s.decideAgain()
}

// lost has everything below these directories scanned again; nil: everything.
func (s *situation) lost(subtrees []string) {
	s.mu.Lock()
	if subtrees == nil {
		s.schedule.Lost()
	} else {
		s.schedule.LostBelow(subtrees)
	}
	s.mu.Unlock()
	s.decideAgain()
}

// startAnew has everything watched and scanned again, by scans that begin once the new watch is there: then call decideAgain.
func (s *situation) startAnew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedule.Uncover()
	s.schedule.Lost()
}

// uncover asks for every directory to be met: some can be watched that could not.
func (s *situation) uncover() {
	s.mu.Lock()
	s.schedule.Uncover()
	s.mu.Unlock()
	s.decideAgain()
}

// leadership is the session and the term; leads is false where this agent does not lead.
func (s *situation) leadership() (of schedule.Leadership, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.role.Leadership(), s.role.Leads
}

// session is the id of the session; empty: there is none.
func (s *situation) session() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.role.Session
}

// blocked reports whether nothing may be scanned. The lock is held.
func (s *situation) blocked() bool {
	return s.role.Session == "" || s.rootLost != nil || s.pause != nil
}

// nextScan is the scan that is due, or how long to wait for one. room says whether the stream takes events.
func (s *situation) nextScan(now time.Time, room bool) (task schedule.Task, wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.schedule.Next(now, schedule.Situation{
		Leadership: s.role.Leadership(), Leads: s.role.Leads, AuditInterval: s.role.AuditInterval, Blocked: s.blocked(), Room: room,
	})
}

// beginScan takes in that a scan begins, which cancel ends. False: the situation is another than when it was decided.
func (s *situation) beginScan(t schedule.Task, cancel context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.role.Leadership() != t.Leadership || s.blocked() {
		return false
	}
	s.cancelScan = cancel
	s.scan, s.scanBegan = t.Kind, time.Now()
	switch {
	case t.Kind == schedule.Snapshot:
		s.lifecycle.apply(snapshotBegan)
	case t.Lists():
		s.lifecycle.apply(auditBegan)
	}
	s.schedule.Begin(s.scanBegan, t)
	return true
}

// endScan takes in how the scan ended, and the segment that its last listing is in; the zero value: it listed nothing.
// caughtUp: with it, all that the snapshot had left out was listed.
func (s *situation) endScan(t schedule.Task, err error, listed position) (caughtUp bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scan = ""
	if listed != (position{}) && s.schedule.Gap(s.role.Leadership(), s.role.Leads) != "" {
		s.listed = listed // an audit while there is no gap opens none
	}
	switch state := s.lifecycle.state; {
	case !t.Lists(): // no state was reported for it
	case state != snapshotting && state != auditing: // the session or the root was lost meanwhile
	case err != nil:
		s.lifecycle.apply(scanBroke)
	default:
		s.lifecycle.apply(scanEnded)
	}
	before := s.schedule.CatchingUp()
	s.schedule.End(time.Now(), t, err == nil)
	return t.Kind == schedule.CatchUp && before && !s.schedule.CatchingUp()
}

// madeDurable takes in that the session's segments up to seq are durable.
func (s *situation) madeDurable(session string, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = position{session, seq}
}

// gap says why changes may be missing in the view though every directory is watched; empty: none are. A gap has ended once
// everything was listed that may have changed in it, and these listings are durable.
func (s *situation) gap() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rootLost != nil {
		return "the root is lost"
	}
	if why := s.schedule.Gap(s.role.Leadership(), s.role.Leads); why != "" {
		return why
	}
	if s.listed.session != "" && (s.sent.session != s.listed.session || s.sent.seq < s.listed.seq) {
		return "what the last scan has found is being sent"
	}
	return ""
}

// leftOut takes in that the snapshot that runs leaves directories out.
func (s *situation) leftOut(of schedule.Leadership, firstShare uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedule.LeftOut(of, firstShare)
}

// beginDemand takes in that an on-demand scan begins, which cancel ends.
func (s *situation) beginDemand(cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelDemand = cancel
}

// sentinelInterval is the view's; 0: the sentinel is off, or there is no session yet.
func (s *situation) sentinelInterval() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.role.SentinelInterval
}

// hot is how long the view counts a file as being written after a change; 0: not known.
func (s *situation) hot() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.role.Hot
}

// alive reports whether this is the session and is known to be alive.
func (s *situation) alive(session string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.role.Alive(session, s.clocks.Now())
}

// setSession takes in a new session. dropped: listings that the session before it had not sent were dropped.
func (s *situation) setSession(r leading.Role, dropped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.role = r
	s.listed = position{} // listings that were not sent are dropped, and scanned again
	s.lifecycle.apply(sessionBegan)
	s.applyPause()
	s.schedule.SessionBegan(time.Now(), dropped)
}

// endSession gives up the session; its leader work stops.
func (s *situation) endSession() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.role.End()
	s.reign.Store(nil)
	s.cancelScan()
	s.lifecycle.apply(sessionLost)
}

// answered takes in what ingest answered to a request that was sent at start. It returns the role, and whether that, or the
// term, is another one.
func (s *situation) answered(a pipeapi.Standing, start lease.Instant) (role leading.Role, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clocks.Now()
	changed = s.role.Answer(a, start, now, s.pause != nil)
	s.reign.Store(nil)
	if s.role.Leads {
		s.reign.Store(&reign{s.role.Term, s.store.Now() + int64(s.role.Left(now))})
	}
	if changed {
		s.cancelScan() // what was scanned in another role, or under another term, is not to be sent
	}
	return s.role, changed
}

// setIntervals takes in the intervals that a heartbeat's answer names, and reports whether one is another than before.
func (s *situation) setIntervals(b pipeapi.Beat) (role leading.Role, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = s.role.SetIntervals(b)
	return s.role, changed
}

// expire stops the leader's work if no more than margin of the lease is left, and reports whether it did.
func (s *situation) expire(margin time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := s.role.Expire(s.clocks.Now(), margin)
	if over {
		s.cancelScan()
	}
	return over
}

// nextHeartbeat is how long to wait for it, and limit how long it may take.
func (s *situation) nextHeartbeat() (wait, limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.role.NextHeartbeat(s.clocks.Now()), s.role.HeartbeatLimit()
}

// reign is a term and until when it surely is the session's, the store's time, ns.
type reign struct {
	term  uint64
	until int64
}

// leaseUntil is until when the session leads for certain in a term, the store's time, ns; 0: it does not lead in that term. The term of a
// segment is set after the role, so between the two a follower's listing would say that it led in the term of another.
func (s *situation) leaseUntil(term uint64) int64 {
	if r := s.reign.Load(); r != nil && r.term == term {
		return r.until
	}
	return 0
}
