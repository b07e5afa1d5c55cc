package session_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
)

// member is a session of 30 s that beats every 10 s through a process of its own.
type member struct {
	state   session.State
	ledger  *session.Ledger
	beats   int
	says    func(beat int) *pipeapi.AgentStatus // its status; nil: it says nothing
	away    bool
	ledFrom time.Time // when it was first told that it leads; zero: it was not
	term    uint64    // in which it was told last that it leads
}

func (w *world) join(task string, says func(beat int) *pipeapi.AgentStatus) *member {
	w.t.Helper()
	l := w.newLedger()
	return &member{state: w.create(l, task), ledger: l, says: says}
}

// live lets time pass, with the heartbeats of the members, and holds that no two of them take themselves for the leader.
func (w *world) live(d time.Duration, members ...*member) {
	w.t.Helper()
	for end := w.clock.Now().Add(d); w.clock.Now().Before(end); {
		w.clock.Advance(10 * time.Second)
		for _, m := range members {
			if m.away {
				continue
			}
			m.beats++
			before := m.state.Leads
			st, err := m.ledger.Beat(w.ctx, view, m.state.Record.ID, session.Beat{AgentStatus: m.says(m.beats)})
			if err != nil {
				w.t.Fatal(err)
			}
			if m.state = st; st.Leads && (!before || m.term != st.Term) {
				m.ledFrom, m.term = w.clock.Now(), st.Term
			}
		}
		leaders := 0
		for _, m := range members {
			if m.state.Leads && !m.away {
				leaders++
			}
		}
		if leaders > 1 {
			w.t.Fatal("two lead")
		}
	}
	w.terms.verify(w.t)
}

func (w *world) statusOf(m *member) session.Status {
	w.t.Helper()
	o, err := session.List(w.ctx, w.store, view)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range o.Sessions {
		if s.Record.ID == m.state.Record.ID {
			return s
		}
	}
	w.t.Fatal("the session is not listed")
	return session.Status{}
}

func says(s pipeapi.AgentStatus) func(int) *pipeapi.AgentStatus {
	return func(int) *pipeapi.AgentStatus { return &s }
}

var (
	scanned  = pipeapi.LastScan{Scan: "snapshot", At: time.Unix(1772366400, 0)}
	rested   = says(pipeapi.AgentStatus{SentSegments: 3, Files: 9, LastScan: &scanned})
	blocked  = says(pipeapi.AgentStatus{SentSegments: 3, BacklogSegments: 7, SendFailures: 1, Files: 9, LastScan: &scanned})
	stuck    = says(pipeapi.AgentStatus{Directories: 4, Scan: &pipeapi.RunningScan{Scan: "snapshot"}})
	wordless = func(int) *pipeapi.AgentStatus { return nil }
)

// head gives the view a version.
func (w *world) head(change func(m *manifest.Manifest)) {
	w.t.Helper()
	m := &manifest.Manifest{Format: manifest.Format, View: view, Version: 1, Nonce: "n", Sessions: map[string]manifest.Progress{}}
	change(m)
	body, err := m.Encode()
	if err == nil {
		_, err = w.store.Put(w.ctx, layout.Head(view), body)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// A leader that gets nothing done hands over to a follower, in the next term and not before its own lease is over for certain.
func TestSilentLeaderHandsOver(t *testing.T) {
	for name, c := range map[string]struct {
		says func(int) *pipeapi.AgentStatus
		owes string
	}{
		"segments wait":             {blocked, session.OwesSegments},
		"a scan stands still":       {stuck, session.OwesScan},
		"it has not scanned":        {says(pipeapi.AgentStatus{}), session.OwesFirstScan},
		"it only sends heartbeats":  {wordless, session.OwesFirstScan},
		"a backlog that only grows": {func(n int) *pipeapi.AgentStatus { return &pipeapi.AgentStatus{BacklogSegments: n, BacklogBytes: n} }, session.OwesSegments},
		"a status that is left out": {says(pipeapi.AgentStatus{State: "x", Omitted: "larger"}), session.OwesFirstScan},
		"sent before, and now no more": {func(n int) *pipeapi.AgentStatus {
			return &pipeapi.AgentStatus{SentSegments: uint64(min(n, 5)), BacklogSegments: 1}
		}, session.OwesSegments},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 0, time.Second)
			began := w.clock.Now()
			old, other := w.join("old", c.says), w.join("other", rested)
			w.live(90*time.Second, old, other)
			want(t, "within three time-outs", old.state, true, 1)
			for old.state.Leads && w.clock.Now().Before(began.Add(3*time.Minute)) {
				w.live(10*time.Second, old, other)
			}
			want(t, "the old leader", old.state, false, 1)
			s := w.statusOf(old)
			if s.Leads || !s.Lives || s.Silence == nil || s.Silence.Owes != c.owes || s.Silence.Term != 1 || s.Silence.Since > began.Add(60*time.Second).UnixNano() {
				t.Errorf("while it yields: %+v, %+v", s, s.Silence)
			}
			w.live(60*time.Second, old, other)
			want(t, "the other", other.state, true, 2)
			want(t, "the old leader", old.state, false, 2)
			if s := w.statusOf(old); s.Leads || !s.Lives || s.Silence == nil || s.Silence.Owes != c.owes {
				t.Errorf("after the handover: %+v, %+v", s, s.Silence)
			}
			if s := w.statusOf(other); !s.Leads || s.Silence != nil {
				t.Errorf("the new leader: %+v", s)
			}
			// It stays that way, and once the old one sends its silence is over.
			w.live(10*time.Minute, old, other)
			want(t, "later", other.state, true, 2)
			old.says = says(pipeapi.AgentStatus{SentSegments: 100, LastScan: &scanned})
			w.live(20*time.Second, old, other)
			if s := w.statusOf(old); s.Silence != nil {
				t.Errorf("it sends again: %+v", s.Silence)
			}
		})
	}
}

// Who gets something done, or has nothing to do, leads for as long as it lives, however ready a follower is.
func TestLeaderThatIsNotSilentKeepsTheLease(t *testing.T) {
	growing := func(change func(s *pipeapi.AgentStatus, n uint64)) func(int) *pipeapi.AgentStatus {
		return func(beat int) *pipeapi.AgentStatus {
			s := &pipeapi.AgentStatus{Scan: &pipeapi.RunningScan{Scan: "snapshot"}, BacklogSegments: 3}
			change(s, uint64(beat/8)) // something every 80 s
			return s
		}
	}
	for name, c := range map[string]struct {
		says func(int) *pipeapi.AgentStatus
		head func(m *manifest.Manifest) // nil: the view has no version
	}{
		"a quiet view":                                             {rested, nil},
		"a long scan, directory by directory":                      {growing(func(s *pipeapi.AgentStatus, n uint64) { s.Directories = n }), nil},
		"a long scan within one directory":                         {growing(func(s *pipeapi.AgentStatus, n uint64) { s.Looked = n }), nil},
		"a long scan that is behind with sending":                  {growing(func(s *pipeapi.AgentStatus, n uint64) { s.SentSegments = n }), nil},
		"a wordless leader of a quiet view":                        {wordless, func(m *manifest.Manifest) { m.Scan.SnapshotDone = 1 }},
		"one that has not scanned yet, of a view that can be read": {says(pipeapi.AgentStatus{}), func(m *manifest.Manifest) { m.Scan.SnapshotDone = 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 0, time.Second)
			if c.head != nil {
				w.head(c.head)
			}
			leader, follower := w.join("leader", c.says), w.join("follower", rested)
			w.live(20*time.Minute, leader, follower)
			want(t, "after forty time-outs", leader.state, true, 1)
			if s := w.statusOf(leader); s.Silence != nil {
				t.Errorf("%+v", s.Silence)
			}
		})
	}
}

// A leader whose heartbeats say nothing is judged by its segments: those that the view has, and those that wait to be folded.
func TestWordlessLeaderIsJudgedByItsSegments(t *testing.T) {
	w := newWorld(t, 0, time.Second)
	leader, follower := w.join("leader", wordless), w.join("follower", rested)
	id := leader.state.Record.ID
	for n := range uint64(6) {
		w.head(func(m *manifest.Manifest) { m.Sessions[id] = manifest.Progress{Next: n} })
		w.live(80*time.Second, leader, follower)
		want(t, "while it is folded", leader.state, true, 1)
	}
	if _, err := w.store.Create(w.ctx, layout.Segment(view, id, 5), []byte("x")); err != nil {
		t.Fatal(err)
	}
	w.live(6*time.Minute, leader, follower)
	want(t, "while nobody folds", leader.state, true, 1)
	w.head(func(m *manifest.Manifest) { m.Sessions[id] = manifest.Progress{Next: 6} })
	w.live(6*time.Minute, leader, follower)
	want(t, "once all is folded, and no more comes", follower.state, true, 2)
}

// A silent leader keeps the lease while no follower can do better, and says so; the first one that can takes it.
func TestSilentLeaderWithoutASuccessor(t *testing.T) {
	for name, unable := range map[string]func(int) *pipeapi.AgentStatus{
		"its sending is blocked too": blocked,
		"its tree is gone":           says(pipeapi.AgentStatus{RootLost: "stale"}),
		"its file server hangs":      says(pipeapi.AgentStatus{Hanging: 1}),
		"its spool is full":          says(pipeapi.AgentStatus{SpoolError: "full"}),
		"there is no follower":       nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 0, time.Second)
			members := []*member{w.join("leader", blocked)}
			if unable != nil {
				members = append(members, w.join("follower", unable))
			}
			w.live(6*time.Minute, members...)
			want(t, "after twelve time-outs", members[0].state, true, 1)
			if s := w.statusOf(members[0]); !s.Leads || s.Silence == nil || s.Silence.Owes != session.OwesSegments {
				t.Errorf("%+v, %+v", s, s.Silence)
			}
			able := w.join("able", rested)
			w.live(60*time.Second, append(members, able)...)
			want(t, "a follower that can", able.state, true, 2)
		})
	}
	t.Run("a paused one", func(t *testing.T) {
		w := newWorld(t, 1, time.Second)
		leader, follower := w.join("leader", blocked), w.create(w.ledgers[0], "follower")
		for range 40 {
			w.live(10*time.Second, leader)
			w.pause(w.ledgers[0], follower.Record.ID)
		}
		want(t, "the leader", leader.state, true, 1)
	})
}

// The follower for which the leader yielded is gone before it could take the lease: the old leader has it again, in a new term,
// once everybody else has had the time to take it.
func TestSuccessorVanishes(t *testing.T) {
	w := newWorld(t, 0, time.Second)
	old, other := w.join("old", blocked), w.join("other", rested)
	for old.state.Leads {
		w.live(10*time.Second, old, other)
	}
	yielded := w.clock.Now()
	other.away = true
	w.live(50*time.Second, old, other)
	want(t, "while others may take it", old.state, false, 1)
	w.live(40*time.Second, old, other)
	want(t, "afterwards", old.state, true, 2)
	if d := old.ledFrom.Sub(yielded); d < 50*time.Second {
		t.Errorf("it had the lease again after %s", d)
	}
}

// The leader gets something done between its follower's look at the lease and the follower's claim on it.
func TestLeaderWorksJustInTime(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	old, other := w.join("old", blocked), w.join("other", rested)
	for w.lease().Work == nil || w.lease().Work.Owes == "" {
		w.beat(other.ledger, other.state.Record.ID)
		w.live(10*time.Second, old)
	}
	w.clock.Advance(6 * time.Second)
	slow := &before{Store: w.store, key: layout.Lease(view)}
	slow.hook = func() {
		old.says = rested
		w.live(10*time.Second, old)
	}
	st, err := ledgerOn(t, slow, w.clock).Beat(w.ctx, view, other.state.Record.ID, session.Beat{AgentStatus: rested(0)})
	if err != nil || slow.hook != nil || st.Leads {
		t.Fatalf("%+v, %v; was the lease asked for: %v", st, err, slow.hook == nil)
	}
	want(t, "the leader", old.state, true, 1)
	if lease := w.lease(); lease.Yields || lease.Work.Owes != "" {
		t.Errorf("%+v", lease)
	}
	w.live(10*time.Minute, old, other)
	want(t, "the leader, later", old.state, true, 1)
}

// A lease and a record as an earlier build wrote them have nothing of this, and one of this build tells an earlier one no lie: its
// leader is the holder, who lives.
func TestLeaseOfAnEarlierBuild(t *testing.T) {
	w := newWorld(t, 0, time.Second)
	old, other := w.join("old", rested), w.join("other", rested)
	body := fmt.Sprintf(`{"term":1,"session_id":%q,"nonce":"n","ttl_s":30}`, old.state.Record.ID)
	if _, err := w.store.Replace(w.ctx, layout.Lease(view), []byte(body), w.etag(layout.Lease(view))); err != nil {
		t.Fatal(err)
	}
	old.ledger = w.newLedger()
	w.live(10*time.Minute, old, other)
	want(t, "the leader", old.state, true, 1)
}

func (w *world) etag(key string) string {
	w.t.Helper()
	object, err := w.store.Get(w.ctx, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return object.Meta.ETag
}

// A follower that was silent itself, and has sent nothing since, makes no leader yield, however able its heartbeats look.
func TestSilentFollowerMakesNobodyYield(t *testing.T) {
	w := newWorld(t, 0, time.Second)
	old, other := w.join("old", wordless), w.join("other", rested)
	for !other.state.Leads {
		w.live(10*time.Second, old, other)
	}
	other.says = blocked
	w.live(6*time.Minute, old, other)
	want(t, "the new leader, which is silent too", other.state, true, 2)
	if s := w.statusOf(other); !s.Leads || s.Silence == nil || s.Silence.Owes != session.OwesSegments {
		t.Errorf("%+v, %+v", s, s.Silence)
	}
	if s := w.statusOf(old); s.Silence == nil || s.Silence.Owes != session.OwesFirstScan {
		t.Errorf("the old leader: %+v", s.Silence)
	}
}

// A lease that was given up is free for a session that was silent once all others have had the time of one lease to take it, and no later.
func TestSilentSessionWaitsForOthers(t *testing.T) {
	w := newWorld(t, 0, time.Second)
	old, other := w.join("old", blocked), w.join("other", rested)
	for !other.state.Leads {
		w.live(10*time.Second, old, other)
	}
	if err := other.ledger.End(w.ctx, view, other.state.Record.ID, session.Closed); err != nil {
		t.Fatal(err)
	}
	other.away = true
	w.live(20*time.Second, old, other)
	want(t, "while others may take it", old.state, false, 2)
	w.live(30*time.Second, old, other)
	want(t, "afterwards", old.state, true, 3)
}

// A leader that ends one scan after the other gets something done, though its tree stays as it is and one of them always runs.
func TestLeaderThatScansIsNotSilent(t *testing.T) {
	w := newWorld(t, 0, time.Second)
	leader, follower := w.join("leader", func(beat int) *pipeapi.AgentStatus {
		ended := pipeapi.LastScan{Scan: "audit", At: scanned.At.Add(time.Duration(beat/8) * time.Second)} // one every 80 s
		return &pipeapi.AgentStatus{Files: 9, Scan: &pipeapi.RunningScan{Scan: "audit"}, LastScan: &ended}
	}), w.join("follower", rested)
	w.live(5*time.Minute, leader, follower)
	want(t, "after ten time-outs", leader.state, true, 1)
}
