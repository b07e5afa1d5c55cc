// Package leading is what an agent knows of its session with ingest, and whether it leads the view.
//
// A Role is a plain value without a clock. Package agent tells it what ingest answered and when the request was sent, and asks
// it whether it may do leader work, when the next heartbeat is due, and whether the session still counts as alive. Invariants:
// the term never falls within a session; a role leads only while ingest's last answer said so and the lease (internal/lease) has time left
// from the start of the request that renewed it; a paused agent never leads. The only ways into Leads are answers; the ways
// out are answers, StepDown, Expire and End.
package leading

import (
	"time"

	"github.com/fustor/fustor/agent/schedule"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/pipeapi"
)

// defaultTimeout is that of a session whose ingest names none.
const defaultTimeout = 30 * time.Second

// Role is the session and its role. The zero value has no session.
type Role struct {
	Session string // empty: there is none
	Term    uint64 // the view's newest that is known
	Leads   bool

	AuditInterval    time.Duration // 0: no audits
	SentinelInterval time.Duration // 0: the sentinel is off
	Hot              time.Duration // how long the view counts a file as being written after a change; 0: not known

	timeout  time.Duration // of the session
	interval time.Duration // between heartbeats, in this role
	hold     lease.Hold    // the last renewal of the lease
	alive    lease.Instant // start of the last request that found the session alive
}

// Begin is the role in a new session, a follower's until Answer says otherwise. start is when the session was asked for.
func Begin(s pipeapi.Session, start lease.Instant) Role {
	r := Role{
		Session: s.ID, Term: s.Term, AuditInterval: seconds(s.Audit), SentinelInterval: seconds(s.Sentinel), Hot: seconds(s.Hot),
		timeout: seconds(s.Timeout), alive: start,
	}
	if r.timeout <= 0 {
		r.timeout = defaultTimeout
	}
	return r
}

// Answer takes in what ingest answered to a request that was sent at start. It reports whether the role or the term changed:
// then what was scanned before must not be sent any more.
func (r *Role) Answer(s pipeapi.Standing, start, now lease.Instant, paused bool) (changed bool) {
	before := *r
	r.alive, r.Term = start, max(r.Term, s.Term)
	if r.interval = seconds(s.Heartbeat); r.interval <= 0 || r.interval > lease.Interval(r.timeout, true) {
		r.interval = lease.Interval(r.timeout, false)
	}
	if s.IsLeader && s.LeaseRenewed {
		r.hold = lease.Hold{Term: s.Term, Start: start, TTL: seconds(s.LeaseTTL)}
		if r.hold.TTL <= 0 {
			r.hold.TTL = r.timeout
		}
	}
	r.Leads = s.IsLeader && r.Left(now) > 0 && !paused
	return r.Leads != before.Leads || r.Term != before.Term
}

// SetIntervals takes in the view's intervals from a heartbeat's answer, and reports whether one changed. What the answer does not name
// stays as it was.
func (r *Role) SetIntervals(b pipeapi.Beat) (changed bool) {
	audit, sentinel := r.AuditInterval, r.SentinelInterval
	if b.Audit != nil {
		r.AuditInterval = seconds(*b.Audit)
	}
	if b.Sentinel != nil {
		r.SentinelInterval = seconds(*b.Sentinel)
	}
	if b.Hot != nil {
		r.Hot = seconds(*b.Hot)
	}
	return r.AuditInterval != audit || r.SentinelInterval != sentinel
}

// Left is how long leader work may still go on, as far as the lease is concerned; 0 or less: it must have stopped.
func (r *Role) Left(now lease.Instant) time.Duration { return r.hold.Left(now) }

// StepDown ends leading.
func (r *Role) StepDown() { r.Leads = false }

// Expire ends leading if no more than margin of the lease is left, and reports whether it did.
func (r *Role) Expire(now lease.Instant, margin time.Duration) bool {
	if !r.Leads || r.Left(now) > margin {
		return false
	}
	r.Leads = false
	return true
}

// End ends the session.
func (r *Role) End() { r.Session, r.Leads = "", false }

// Leadership is what the scans of this session and term are for.
func (r *Role) Leadership() schedule.Leadership {
	return schedule.Leadership{Session: r.Session, Term: r.Term}
}

// NextHeartbeat is how long to wait for it. A leader counts from its last renewal, as not every answer renews the lease. It is
// never less than a quarter of the interval.
func (r *Role) NextHeartbeat(now lease.Instant) time.Duration {
	last := r.alive
	if r.Leads {
		last = r.hold.Start
	}
	return max(r.interval/4, r.interval-now.Since(last))
}

// HeartbeatLimit is how long a heartbeat may take, and the longest pause after one that failed.
func (r *Role) HeartbeatLimit() time.Duration { return r.timeout / 3 }

// Alive reports whether this is the session, and ingest has confirmed it within its time-out. What is sent for a session that
// has timed out may never become part of the view.
func (r *Role) Alive(session string, now lease.Instant) bool {
	return r.Session == session && now.Since(r.alive) < r.timeout
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
