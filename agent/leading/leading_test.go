package leading

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/pipeapi"
)

// at is so long after the session began, by both clocks.
func at(d time.Duration) lease.Instant {
	return lease.Instant{Boot: int64(time.Hour + d), Wall: int64(1e18) + int64(d)}
}

const s = time.Second

// follower and leader are answers of an ingest with a lease of 45 s.
func follower(term uint64) pipeapi.Standing {
	return pipeapi.Standing{Term: term, LeaseTTL: 45, Heartbeat: 15}
}

func leader(term uint64, renewed bool) pipeapi.Standing {
	return pipeapi.Standing{IsLeader: true, Term: term, LeaseTTL: 45, LeaseRenewed: renewed, Heartbeat: 18}
}

// begun is a session with a time-out of 60 s that was asked for at 0.
func begun(then ...func(*Role)) Role {
	r := Begin(pipeapi.Session{ID: "s1", Timeout: 60, Audit: 3600, Sentinel: 120, Standing: pipeapi.Standing{Term: 3}}, at(0))
	for _, f := range then {
		f(&r)
	}
	return r
}

// answered has ingest answer at once to a request of this time.
func answered(when time.Duration, a pipeapi.Standing) func(*Role) {
	return func(r *Role) { r.Answer(a, at(when), at(when), false) }
}

// TestTransitions has a row for each way from one role to another.
func TestTransitions(t *testing.T) {
	for _, c := range []struct {
		rule    string
		given   Role
		do      func(*Role) (changed bool)
		changed bool
		leads   bool
		term    uint64
	}{
		{"a session begins as a follower", begun(), func(*Role) bool { return false }, false, false, 3},
		{"an answer that says leader, renewed makes a leader", begun(), func(r *Role) bool { return r.Answer(leader(3, true), at(0), at(s), false) }, true, true, 3},
		{"one that renewed nothing does not", begun(), func(r *Role) bool { return r.Answer(leader(3, false), at(0), at(s), false) }, false, false, 3},
		{"nor one that took two thirds of the lease", begun(), func(r *Role) bool { return r.Answer(leader(3, true), at(0), at(30*s), false) }, false, false, 3},
		{"nor does a paused agent lead", begun(), func(r *Role) bool { return r.Answer(leader(3, true), at(0), at(s), true) }, false, false, 3},
		{"a leader leads on while its last renewal holds", begun(answered(0, leader(3, true))),
			func(r *Role) bool { return r.Answer(leader(3, false), at(20*s), at(20*s), false) }, false, true, 3},
		{"and no longer", begun(answered(0, leader(3, true))),
			func(r *Role) bool { return r.Answer(leader(3, false), at(30*s), at(30*s), false) }, true, false, 3},
		{"a leader follows once ingest says so", begun(answered(0, leader(3, true))),
			func(r *Role) bool { return r.Answer(follower(4), at(s), at(s), false) }, true, false, 4},
		{"a new term is a change, for followers too", begun(), func(r *Role) bool { return r.Answer(follower(4), at(s), at(s), false) }, true, false, 4},
		{"an answer that was overtaken does not lower the term", begun(answered(s, follower(4))),
			func(r *Role) bool { return r.Answer(follower(3), at(0), at(2*s), false) }, false, false, 4},
		{"a leader whose lease runs out follows", begun(answered(0, leader(3, true))),
			func(r *Role) bool { return r.Expire(at(30*s-100*time.Millisecond), 100*time.Millisecond) }, true, false, 3},
		{"not before", begun(answered(0, leader(3, true))),
			func(r *Role) bool { return r.Expire(at(29*s), 100*time.Millisecond) }, false, true, 3},
		{"a follower has nothing to run out", begun(), func(r *Role) bool { return r.Expire(at(time.Hour), 0) }, false, false, 3},
		{"a pause ends leading", begun(answered(0, leader(3, true))), func(r *Role) bool { r.StepDown(); return true }, true, false, 3},
		{"so does the end of the session", begun(answered(0, leader(3, true))), func(r *Role) bool { r.End(); return true }, true, false, 3},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r := c.given
			if changed := c.do(&r); changed != c.changed || r.Leads != c.leads || r.Term != c.term {
				t.Errorf("changed %v, leads %v, term %d", changed, r.Leads, r.Term)
			}
		})
	}
}

func TestHeartbeats(t *testing.T) {
	for _, c := range []struct {
		rule  string
		given Role
		now   time.Duration
		want  time.Duration
	}{
		{"a follower's interval counts from its last proof of life", begun(answered(10*s, follower(3))), 12 * s, 13 * s},
		{"a leader's from its last renewal", begun(answered(0, leader(3, true)), answered(10*s, leader(3, false))), 10 * s, 8 * s},
		{"one that is late waits for a quarter", begun(answered(0, leader(3, true))), 29 * s, 4500 * time.Millisecond},
		{"an interval that is no good is replaced by a third of the time-out", begun(answered(0, pipeapi.Standing{Heartbeat: 59})), 0, 20 * s},
		{"so is one that is missing", begun(answered(0, pipeapi.Standing{})), 0, 20 * s},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := c.given.NextHeartbeat(at(c.now)); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	r := begun(answered(10*s, follower(3)))
	if !r.Alive("s1", at(69*s)) || r.Alive("s1", at(70*s)) || r.Alive("s0", at(10*s)) {
		t.Error("a session is alive for its time-out since the start of the last request that found it so")
	}
}

// TestLeadersHoldTheLease: whatever is answered, a role that leads has a lease with time left, from the start of a request that
// renewed it; and the term never falls.
func TestLeadersHoldTheLease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, now, renewed := begun(), time.Duration(0), time.Duration(-1)
		for range rapid.IntRange(1, 20).Draw(t, "answers") {
			before := r.Term
			start := now
			now += time.Duration(rapid.Int64Range(0, int64(20*s)).Draw(t, "took"))
			answer := pipeapi.Standing{
				IsLeader: rapid.Bool().Draw(t, "leader"), LeaseRenewed: rapid.Bool().Draw(t, "renewed"), Term: rapid.Uint64Range(0, 5).Draw(t, "term"), LeaseTTL: 45,
			}
			if answer.IsLeader && answer.LeaseRenewed && answer.Term > 0 {
				renewed = start
			}
			paused := rapid.Bool().Draw(t, "paused")
			r.Answer(answer, at(start), at(now), paused)
			if r.Leads && (paused || !answer.IsLeader || renewed < 0 || now-renewed >= 30*s) {
				t.Fatalf("it leads at %v, renewed at %v, after %+v", now, renewed, answer)
			}
			if r.Term < before {
				t.Fatalf("term %d after %d", r.Term, before)
			}
		}
	})
}

// TestIntervals: a session takes in changed intervals with any heartbeat, and keeps those that it has if the answer names none.
func TestIntervals(t *testing.T) {
	r := begun()
	seconds := func(n float64) *float64 { return &n }
	for _, c := range []struct {
		answer          pipeapi.Beat
		audit, sentinel time.Duration
		changed         bool
	}{
		{pipeapi.Beat{}, time.Hour, 2 * time.Minute, false}, // an ingest of an earlier build
		{pipeapi.Beat{Audit: seconds(3600), Sentinel: seconds(120)}, time.Hour, 2 * time.Minute, false},
		{pipeapi.Beat{Audit: seconds(60), Sentinel: seconds(120)}, time.Minute, 2 * time.Minute, true},
		{pipeapi.Beat{Audit: seconds(60), Sentinel: seconds(1.5)}, time.Minute, 1500 * time.Millisecond, true},
		{pipeapi.Beat{Audit: seconds(0), Sentinel: seconds(0)}, 0, 0, true},
		{pipeapi.Beat{}, 0, 0, false},
	} {
		if changed := r.SetIntervals(c.answer); changed != c.changed || r.AuditInterval != c.audit || r.SentinelInterval != c.sentinel {
			t.Errorf("%+v: audits every %v, sentinel every %v, changed %v; want %+v", c.answer, r.AuditInterval, r.SentinelInterval, changed, c)
		}
	}
}
