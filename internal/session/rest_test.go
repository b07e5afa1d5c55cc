package session_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

const ttl = 30 * time.Second // of the sessions that w.create makes

// sent is a heartbeat of an agent that has sent this many segments, which hold all that it saw until now.
func (w *world) sent(segments uint64) session.Beat {
	return session.Beat{AgentStatus: &pipeapi.AgentStatus{State: "watching", SentSegments: segments, LastScan: idle().AgentStatus.LastScan,
		CaughtUp: &pipeapi.CaughtUp{At: w.clock.Now().UnixNano(), NextSeq: segments}}}
}

func (w *world) says(l *session.Ledger, id string, b session.Beat) session.State {
	w.t.Helper()
	st, err := l.Beat(w.ctx, view, id, b)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// status is what List says of a session.
func (w *world) status(id string) session.Status {
	w.t.Helper()
	o, err := session.List(w.ctx, w.store, view)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range o.Sessions {
		if s.Record.ID == id {
			return s
		}
	}
	w.t.Fatalf("session %s is not listed", id)
	return session.Status{}
}

// pair is a leader and a follower that has had its second heartbeat, after which it rests.
func (w *world) pair(l *session.Ledger) (leader, follower string) {
	w.t.Helper()
	leader, follower = w.create(l, "a").Record.ID, w.create(l, "b").Record.ID
	w.clock.Advance(10 * time.Second)
	w.says(l, leader, w.sent(1))
	w.says(l, follower, w.sent(1))
	if !w.status(follower).Record.Rests || w.status(leader).Record.Rests {
		w.t.Fatal("the follower does not rest, or the leader does")
	}
	return leader, follower
}

// schedule lets sessions beat when they are due, for as long as it is told to.
type schedule struct {
	w     *world
	due   map[string]time.Time
	beats map[string]int
}

func (s *schedule) run(d time.Duration, beat func(id string) session.State) {
	for end := s.w.clock.Now().Add(d); s.w.clock.Now().Before(end); s.w.clock.Advance(250 * time.Millisecond) {
		for id, due := range s.due {
			if !s.w.clock.Now().Before(due) {
				s.due[id] = s.w.clock.Now().Add(beat(id).Interval())
				s.beats[id]++
			}
		}
	}
}

// A follower whose heartbeats come through the leader's process writes once an hour, and all the time others see that it lives,
// until when its agent has sent all, and when it was last heard of.
func TestFollowerRests(t *testing.T) {
	w := newWorld(t, 2, time.Second)
	l := w.ledgers[0]
	leader, follower := w.pair(l)
	s := schedule{w, map[string]time.Time{leader: w.clock.Now(), follower: w.clock.Now().Add(5 * time.Second)}, map[string]int{}}
	written, worst := w.status(follower).Record.Nonce, time.Duration(0)
	s.run(50*time.Minute, func(id string) session.State {
		st := w.says(l, id, w.sent(1))
		now := w.status(follower)
		age := w.clock.Now().Sub(time.Unix(0, now.LastActivity))
		worst = max(worst, age)
		if !now.Lives || age > ttl || w.clock.Now().Sub(time.Unix(0, now.CaughtUp.At)) > ttl || now.CaughtUp.NextSeq != 1 {
			t.Fatalf("%+v, %+v; heard of %v ago", now, now.CaughtUp, age)
		}
		if r, err := w.ledgers[1].Alive(w.ctx, view, follower); err != nil || r.ID != follower {
			t.Fatal(err)
		}
		return st
	})
	if w.status(follower).Record.Nonce != written || s.beats[follower] < 240 {
		t.Errorf("its record was written in %d heartbeats", s.beats[follower])
	}
	t.Logf("%d heartbeats, last heard of at most %v ago", s.beats[follower], worst)
	s.run(15*time.Minute, func(id string) session.State { return w.says(l, id, w.sent(1)) })
	if w.status(follower).Record.Nonce == written {
		t.Error("its record is older than an hour")
	}
	w.terms.verify(t)
}

// Where the leader's heartbeats come through another process nobody tells of the follower, so it writes its record, and lives as well.
func TestFollowerOfAnotherProcess(t *testing.T) {
	w := newWorld(t, 2, time.Second)
	leader, follower := w.pair(w.ledgers[0])
	s := schedule{w, map[string]time.Time{leader: w.clock.Now(), follower: w.clock.Now().Add(5 * time.Second)}, map[string]int{}}
	before := w.counted.Counts()
	s.run(30*time.Minute, func(id string) session.State {
		l := w.ledgers[0]
		if id == follower {
			l = w.ledgers[1]
		}
		st := w.says(l, id, w.sent(1))
		if now := w.status(follower); !now.Lives || w.clock.Now().Sub(time.Unix(0, now.LastActivity)) > 2*ttl {
			t.Fatalf("%+v", now)
		}
		return st
	})
	written := int(w.counted.Counts().Sub(before).Put) - s.beats[leader]
	t.Logf("%d heartbeats, %d writes", s.beats[follower], written)
	if written < s.beats[follower]/4 || written > s.beats[follower]/2 {
		t.Errorf("%d heartbeats of a follower made %d writes", s.beats[follower], written)
	}
}

// One that is not heard of any more lives for two time-outs, whether the lease or its record told of it last.
func TestRestEnds(t *testing.T) {
	for _, carried := range []bool{true, false} {
		w := newWorld(t, 1, time.Second)
		leader, follower := w.pair(w.ledgers[0])
		if carried {
			w.clock.Advance(12 * time.Second)
			w.says(w.ledgers[0], follower, w.sent(1))
		}
		heard := w.clock.Now()
		for w.clock.Now().Sub(heard) < 3*ttl {
			w.clock.Advance(10 * time.Second)
			w.says(w.ledgers[0], leader, w.sent(1))
			silent := w.clock.Now().Sub(heard)
			if lives := w.status(follower).Lives; silent < 2*ttl-time.Second && !lives || silent > 2*ttl+time.Second && lives {
				t.Errorf("carried %v: after a silence of %v it lives: %v", carried, silent, lives)
			}
		}
		for _, l := range []*session.Ledger{w.newLedger(), w.ledgers[0]} {
			w.wantGone(l, follower)
		}
		if _, err := w.ledgers[0].Create(w.ctx, session.Application{View: view, Task: "b", TimeoutSeconds: 30}); err != nil {
			t.Errorf("its task is not free: %v", err)
		}
	}
}

// A session that rests hears of its end with its next heartbeat, though the process that has it had noted that it lives, and
// a renewal tells of all that was noted.
func TestRestingSessionHearsOfItsEnd(t *testing.T) {
	for name, end := range map[string]func(w *world, id string) error{
		"by an administrator": func(w *world, id string) error { return w.ledgers[1].End(w.ctx, view, id, session.ByAdmin) },
		"by a reset": func(w *world, _ string) error {
			if _, err := w.ledgers[1].NewEpoch(w.ctx, view); err != nil {
				return err
			}
			return w.ledgers[1].EndOld(w.ctx, view)
		},
	} {
		w := newWorld(t, 2, time.Second)
		leader, follower := w.pair(w.ledgers[0])
		w.clock.Advance(10 * time.Second)
		w.says(w.ledgers[0], follower, w.sent(1)) // noted
		if err := end(w, follower); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Second)
		_, _ = w.ledgers[0].Beat(w.ctx, view, leader, w.sent(1)) // it tells of what was noted
		w.clock.Advance(time.Second)
		if w.status(follower).Lives {
			t.Errorf("%s: it is said to live", name)
		}
		if _, err := w.ledgers[0].Beat(w.ctx, view, follower, w.sent(1)); !errors.Is(err, session.ErrGone) {
			t.Errorf("%s: %v; want ErrGone", name, err)
		}
	}
}

// Others see what an agent has sent with its next heartbeat, and that it has yet to send something.
func TestBusyFollowerWrites(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	leader, follower := w.pair(w.ledgers[0])
	behind := w.sent(2)
	behind.AgentStatus.CaughtUp = &pipeapi.CaughtUp{}
	sends := w.sent(2)
	sends.AgentStatus.Rates.Events = 7
	for n, b := range []session.Beat{w.sent(2), behind, sends, w.sent(2)} {
		w.clock.Advance(10 * time.Second)
		w.says(w.ledgers[0], leader, w.sent(1))
		before := w.status(follower).Record.Nonce
		w.says(w.ledgers[0], follower, b)
		now := w.status(follower)
		if now.Record.Nonce == before || (now.CaughtUp == nil) != (n == 1) || now.Record.AgentStatus.Rates.Events != b.AgentStatus.Rates.Events {
			t.Errorf("heartbeat %d: %+v", n, now)
		}
	}
	if before := w.status(follower).Record.Nonce; w.says(w.ledgers[0], follower, w.sent(2)).Record.Nonce != before {
		t.Error("one that says nothing new is written")
	}
}

// A lease that changes hands, or is given up, goes on telling of the others: nobody takes them for dead because their records are old.
func TestFollowersSurviveTheirLeader(t *testing.T) {
	for _, closed := range []bool{true, false} {
		w := newWorld(t, 1, time.Second)
		leader, follower := w.pair(w.ledgers[0])
		for range 10 { // its record becomes far older than two time-outs
			w.clock.Advance(10 * time.Second)
			w.says(w.ledgers[0], leader, w.sent(1))
			w.says(w.ledgers[0], follower, w.sent(1))
		}
		w.clock.Advance(time.Second)
		if closed {
			if err := w.ledgers[0].End(w.ctx, view, leader, session.Closed); err != nil {
				t.Fatal(err)
			}
		} else {
			w.clock.Advance(ttl)
		}
		third := w.create(w.newLedger(), "c") // looks at all sessions, and takes the lease
		if !third.Leads || !w.status(follower).Lives {
			t.Fatalf("closed %v: %+v, %+v", closed, third, w.status(follower))
		}
		want(t, "the follower", w.says(w.ledgers[0], follower, w.sent(1)), false, third.Term)
		w.terms.verify(t)
	}
}

// A lease tells of so many followers; further ones write their records. All of them live.
func TestManyFollowers(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	leader := w.create(w.ledgers[0], "leader").Record.ID
	var followers []string
	for n := range 140 {
		followers = append(followers, w.create(w.ledgers[0], fmt.Sprint(n)).Record.ID)
	}
	for range 12 {
		w.clock.Advance(10 * time.Second)
		w.says(w.ledgers[0], leader, w.sent(1))
		for _, id := range followers {
			w.says(w.ledgers[0], id, w.sent(1))
		}
	}
	o, err := session.List(w.ctx, w.store, view)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range o.Sessions {
		if !s.Lives {
			t.Errorf("%s does not live", s.Record.Task)
		}
	}
	if told := len(w.lease().Followers); told != 128 {
		t.Errorf("the lease tells of %d", told)
	}
}

// Whenever a leader falls silent, a follower that beats when it is told to has the lease as soon as it is free, give or take the
// seconds in which stores tell times.
func TestFailover(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, 1, rapid.SampledFrom([]time.Duration{1, time.Second}).Draw(rt, "resolution"))
		leader, follower := w.pair(w.ledgers[0])
		phase := time.Duration(rapid.IntRange(0, 11_999).Draw(rt, "phase")) * time.Millisecond
		s := schedule{w, map[string]time.Time{leader: w.clock.Now(), follower: w.clock.Now().Add(phase)}, map[string]int{}}
		beat := func(id string) session.State { return w.says(w.ledgers[0], id, w.sent(1)) }
		s.run(time.Duration(rapid.IntRange(20_000, 90_000).Draw(rt, "lives"))*time.Millisecond, beat)
		var renewed store.Meta
		if object, err := w.store.Get(w.ctx, layout.Lease(view)); err == nil {
			renewed = object.Meta
		}
		delete(s.due, leader)
		var taken time.Time
		s.run(3*ttl, func(id string) session.State {
			st := beat(id)
			if st.Leads && taken.IsZero() {
				taken = w.clock.Now()
			}
			return st
		})
		if after := taken.Sub(renewed.LastModified); taken.IsZero() || after > ttl+4*time.Second {
			rt.Fatalf("taken %v after the last renewal", after)
		}
		w.terms.verify(t)
		if t.Failed() {
			rt.Fatal("the lease's laws are broken")
		}
	})
}
