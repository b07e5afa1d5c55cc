package session_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/sessiontest"
)

const view = "research"

// world is one store, its clock, and several ledgers on it as several ingest processes would have them.
type world struct {
	t       testing.TB
	ctx     context.Context
	clock   *sessiontest.Clock
	store   *sessiontest.Store
	counted *store.Counted
	ledgers []*session.Ledger
	terms   *termWatch
}

func newWorld(t testing.TB, ledgers int, resolution time.Duration) *world {
	t.Helper()
	dir, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ctx: context.Background(), clock: sessiontest.NewClock(time.Time{}), terms: &termWatch{holders: map[uint64]string{}}}
	w.store = sessiontest.New(dir, w.clock, resolution, w.terms.see)
	w.counted = store.Count(w.store)
	for range ledgers {
		w.ledgers = append(w.ledgers, w.newLedger())
	}
	return w
}

// newLedger is what a process has that was just started: it remembers nothing.
func (w *world) newLedger() *session.Ledger {
	w.t.Helper()
	return ledgerOn(w.t, w.counted, w.clock)
}

func ledgerOn(t testing.TB, s store.Store, hand *sessiontest.Clock) *session.Ledger {
	t.Helper()
	clock := store.NewClock(hand.Now)
	l, err := session.NewLedger(clock.Watch(s), clock, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (w *world) create(l *session.Ledger, task string) session.State {
	w.t.Helper()
	st, err := l.Create(w.ctx, session.Application{View: view, Task: task, Agent: task, TimeoutSeconds: 30})
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func (w *world) beat(l *session.Ledger, id string) session.State {
	w.t.Helper()
	st, err := l.Beat(w.ctx, view, id, session.Beat{})
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// lease is what the store has.
func (w *world) lease() (lease session.Lease) {
	w.t.Helper()
	object, err := w.store.Get(w.ctx, layout.Lease(view))
	if err == nil {
		err = json.Unmarshal(object.Body, &lease)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return lease
}

func (w *world) wantGone(l *session.Ledger, id string) {
	w.t.Helper()
	if st, err := l.Beat(w.ctx, view, id, session.Beat{}); !errors.Is(err, session.ErrGone) {
		w.t.Fatalf("heartbeat: %+v, %v; want ErrGone", st, err)
	}
	if _, err := l.Alive(w.ctx, view, id); !errors.Is(err, session.ErrGone) {
		w.t.Fatalf("alive: %v; want ErrGone", err)
	}
}

func want(t testing.TB, what string, st session.State, leads bool, term uint64) {
	t.Helper()
	if st.Leads != leads || st.Term != term {
		t.Fatalf("%s: leads %v in term %d; want %v in term %d", what, st.Leads, st.Term, leads, term)
	}
}

// termWatch sees every write of the lease in its true order and holds them to the laws of leases.
type termWatch struct {
	mu      sync.Mutex
	holders map[uint64]string
	broken  []string
}

func (w *termWatch) see(key string, old, written []byte, age time.Duration) {
	if !strings.HasSuffix(key, "/lease.json") {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var before, after session.Lease
	if old != nil {
		w.check(json.Unmarshal(old, &before) == nil, "unreadable lease %s", old)
	}
	w.check(json.Unmarshal(written, &after) == nil, "unreadable lease %s", written)
	ttl := time.Duration(before.TTLSeconds * float64(time.Second))
	switch {
	case after.Term == before.Term:
		w.check(after.Session == before.Session || after.Session == "", "term %d went from %s to %s", after.Term, before.Session, after.Session)
	case before.Session == "":
		w.check(after.Term == before.Term+1, "term %d after %d", after.Term, before.Term)
	default:
		w.check(after.Term == before.Term+1, "term %d after %d", after.Term, before.Term)
		w.check(age > ttl-time.Second, "%s took the lease of %s at the age of %s", after.Session, before.Session, age)
	}
	if after.Session != "" {
		holder, known := w.holders[after.Term]
		w.check(!known || holder == after.Session, "term %d had two holders, %s and %s", after.Term, holder, after.Session)
		w.holders[after.Term] = after.Session
	}
}

func (w *termWatch) check(ok bool, format string, args ...any) {
	if !ok {
		w.broken = append(w.broken, fmt.Sprintf(format, args...))
	}
}

func (w *termWatch) verify(t testing.TB) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.broken {
		t.Error(b)
	}
}

func TestFirstLeadsOthersFollow(t *testing.T) {
	w := newWorld(t, 2, time.Second)
	first := w.create(w.ledgers[0], "a")
	want(t, "first", first, true, 1)
	if !first.Renewed {
		t.Error("the first session's lease counts as not renewed")
	}
	second := w.create(w.ledgers[1], "b")
	want(t, "second", second, false, 1)
	w.clock.Advance(10 * time.Second)
	want(t, "first, heartbeat through the other process", w.beat(w.ledgers[1], first.Record.ID), true, 1)
	want(t, "second, heartbeat through the other process", w.beat(w.ledgers[0], second.Record.ID), false, 1)
	w.terms.verify(t)
}

func TestTakeoverOnlyAfterExpiry(t *testing.T) {
	for _, resolution := range []time.Duration{1, time.Second} {
		w := newWorld(t, 2, resolution)
		leader, follower := w.create(w.ledgers[0], "a"), w.create(w.ledgers[1], "b")
		for range 3 {
			w.clock.Advance(10 * time.Second)
			want(t, "before the lease has expired", w.beat(w.ledgers[1], follower.Record.ID), false, 1)
		}
		w.clock.Advance(time.Second)
		st := w.beat(w.ledgers[1], follower.Record.ID)
		want(t, "after it has expired", st, true, 2)
		if !st.Renewed {
			t.Error("a lease that was taken counts as not renewed")
		}
		// The leader was only paused. Its own process still remembers its lease; a new one remembers nothing.
		for _, l := range []*session.Ledger{w.ledgers[0], w.newLedger()} {
			w.wantGone(l, leader.Record.ID)
		}
		o, err := session.List(w.ctx, w.store, view)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range o.Sessions {
			if isOld := s.Record.ID == leader.Record.ID; s.Lives == isOld || s.Leads == isOld || isOld && s.Record.EndedReason != session.TimedOut {
				t.Errorf("%+v", s)
			}
		}
		w.terms.verify(t)
	}
}

// A leader that was silent for longer than its time-out is gone even if nobody has noticed.
func TestSilentSessionIsGone(t *testing.T) {
	for _, remembers := range []bool{true, false} {
		w := newWorld(t, 1, time.Second)
		leader, follower := w.create(w.ledgers[0], "a"), w.create(w.ledgers[0], "b")
		w.clock.Advance(31 * time.Second)
		l := w.ledgers[0]
		if !remembers {
			l = w.newLedger()
		}
		w.wantGone(l, leader.Record.ID)
		w.wantGone(l, follower.Record.ID)
		want(t, "next", w.create(l, "a"), true, 2)
		w.terms.verify(t)
	}
}

func TestStaleRenewalLoses(t *testing.T) {
	w := newWorld(t, 2, time.Second)
	leader, follower := w.create(w.ledgers[0], "a"), w.create(w.ledgers[0], "b")
	if err := w.ledgers[1].End(w.ctx, view, leader.Record.ID, session.Closed); err != nil {
		t.Fatal(err)
	}
	// Taken over at once, long before the old lease would have expired.
	w.clock.Advance(5 * time.Second)
	want(t, "follower", w.beat(w.ledgers[1], follower.Record.ID), true, 2)
	w.clock.Advance(5 * time.Second)
	w.wantGone(w.ledgers[0], leader.Record.ID) // which remembers that it leads
	want(t, "new leader", w.beat(w.ledgers[0], follower.Record.ID), true, 2)
	w.terms.verify(t)
}

func TestEndIsIdempotentAndKeepsTheTerm(t *testing.T) {
	w := newWorld(t, 2, time.Second)
	for term := uint64(1); term <= 5; term++ {
		st := w.create(w.ledgers[term%2], "a")
		want(t, "session", st, true, term)
		for range 2 {
			if err := w.ledgers[(term+1)%2].End(w.ctx, view, st.Record.ID, session.Closed); err != nil {
				t.Fatal(err)
			}
		}
		w.wantGone(w.ledgers[0], st.Record.ID)
	}
	unknown, err := session.NewID(w.clock.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{unknown, "", "../../head", "1f0c2f6e-0000-4000-8000-000000000000"} {
		if err := w.ledgers[0].End(w.ctx, view, id, session.Closed); err != nil {
			t.Errorf("end of %q: %v", id, err)
		}
		w.wantGone(w.ledgers[0], id)
	}
	w.terms.verify(t)
}

func TestCreateConflicts(t *testing.T) {
	w := newWorld(t, 2, time.Second)
	first := w.create(w.ledgers[0], "a")
	for _, tc := range []struct {
		name      string
		task      string
		exclusive bool
		silent    time.Duration
		taken     bool
	}{
		{"same task", "a", false, 0, true},
		{"other task, one session only", "b", true, 0, true},
		{"same task, just before the time-out", "a", false, 30 * time.Second, true},
		{"same task, after the time-out", "a", false, time.Second, false},
	} {
		w.clock.Advance(tc.silent)
		st, err := w.ledgers[1].Create(w.ctx, session.Application{View: view, Task: tc.task, TimeoutSeconds: 30, Exclusive: tc.exclusive})
		var taken *session.TakenError
		if got := errors.As(err, &taken); got != tc.taken || !got && err != nil {
			t.Errorf("%s: %+v, %v", tc.name, st, err)
		}
		if tc.taken && (!errors.Is(err, session.ErrTaken) || taken.Session != first.Record.ID) {
			t.Errorf("%s: taken by %+v", tc.name, taken)
		}
	}
	page, err := w.store.List(w.ctx, layout.View(view)+"sessions/", "", 0)
	if err != nil || len(page.Items) != 2 {
		t.Errorf("refused sessions left records behind: %v, %v", page.Items, err)
	}
}

func TestRaceForOneTask(t *testing.T) {
	for _, exclusive := range []bool{false, true} {
		w := newWorld(t, 4, time.Second)
		var won, taken atomic.Int32
		parallel(32, func(i int) {
			a := session.Application{View: view, Task: "a", TimeoutSeconds: 30, Exclusive: exclusive}
			if exclusive {
				a.Task = fmt.Sprint(i)
			}
			switch _, err := w.ledgers[i%4].Create(w.ctx, a); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, session.ErrTaken):
				taken.Add(1)
			default:
				t.Error(err)
			}
		})
		if won.Load() != 1 || taken.Load() != 31 {
			t.Errorf("exclusive %v: %d won, %d were told that it is taken", exclusive, won.Load(), taken.Load())
		}
		w.terms.verify(t)
	}
}

// Sessions that come into an empty view at once: one leads, in the first term.
func TestRaceForTheFirstTerm(t *testing.T) {
	w := newWorld(t, 4, time.Second)
	var leaders atomic.Int32
	parallel(32, func(i int) {
		st, err := w.ledgers[i%4].Create(w.ctx, session.Application{View: view, Task: fmt.Sprint(i), TimeoutSeconds: 30})
		if err != nil || st.Term != 1 || st.Record.Task != fmt.Sprint(i) {
			t.Errorf("%+v, %v", st, err)
		}
		if st.Leads {
			leaders.Add(1)
		}
	})
	if leaders.Load() != 1 {
		t.Errorf("%d leaders", leaders.Load())
	}
	w.terms.verify(t)
}

// 32 sessions through four processes race for an expired lease, round after round.
func TestRaceForTheLease(t *testing.T) {
	w := newWorld(t, 4, time.Second)
	leader := w.create(w.ledgers[0], "first")
	ids := make([]string, 32)
	parallel(len(ids), func(i int) {
		st, err := w.ledgers[i%4].Create(w.ctx, session.Application{View: view, Task: fmt.Sprint(i), TimeoutSeconds: 60})
		if err != nil {
			t.Error(err)
			return
		}
		ids[i] = st.Record.ID
	})
	if t.Failed() {
		t.FailNow()
	}
	if err := w.ledgers[1].End(w.ctx, view, leader.Record.ID, session.Closed); err != nil {
		t.Fatal(err)
	}
	dead := map[string]bool{}
	for round := range 3 {
		var leaders atomic.Int32
		var now atomic.Value
		parallel(len(ids), func(i int) {
			if dead[ids[i]] {
				return
			}
			st, err := w.ledgers[(i+round)%4].Beat(w.ctx, view, ids[i], session.Beat{})
			if err != nil {
				t.Error(err)
				return
			}
			if st.Leads {
				leaders.Add(1)
				now.Store(ids[i])
			}
		})
		if leaders.Load() != 1 {
			t.Fatalf("round %d: %d leaders", round, leaders.Load())
		}
		// The leader falls silent; the others go on until its lease has expired.
		dead[now.Load().(string)] = true
		for range 3 {
			w.clock.Advance(20 * time.Second)
			for i, id := range ids {
				if !dead[id] {
					want(t, "follower", w.beat(w.ledgers[i%4], id), false, uint64(round+2))
				}
			}
		}
		w.clock.Advance(time.Second)
	}
	w.terms.verify(t)
}

func TestHeartbeatsRaceWithTheEnd(t *testing.T) {
	for range 20 {
		w := newWorld(t, 4, time.Second)
		leader, other := w.create(w.ledgers[0], "a"), w.create(w.ledgers[1], "b")
		if err := w.ledgers[0].End(w.ctx, view, leader.Record.ID, session.Closed); err != nil {
			t.Fatal(err)
		}
		parallel(4, func(i int) {
			var err error
			if i == 0 {
				err = w.ledgers[i].End(w.ctx, view, other.Record.ID, session.Closed)
			} else if _, err = w.ledgers[i].Beat(w.ctx, view, other.Record.ID, session.Beat{}); errors.Is(err, session.ErrGone) {
				err = nil
			}
			if err != nil {
				t.Error(err)
			}
		})
		if lease := w.lease(); lease.Session != "" {
			t.Fatalf("an ended session kept the lease: %+v", lease)
		}
		for _, l := range w.ledgers {
			w.wantGone(l, other.Record.ID)
		}
		w.terms.verify(t)
	}
}

// idle says that a session has scanned and sent all there is.
func idle() session.Beat {
	return session.Beat{AgentStatus: &pipeapi.AgentStatus{LastScan: &pipeapi.LastScan{Scan: "snapshot", At: time.Unix(1772366400, 0)}, SentSegments: 3}}
}

// An idle leader costs one write for each heartbeat, an idle follower a read, and neither a list.
func TestIdleCost(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	leader, follower := w.create(w.ledgers[0], "a"), w.create(w.ledgers[0], "b")
	before := w.counted.Counts()
	const beats = 50
	for range beats {
		w.clock.Advance(10 * time.Second)
		for _, id := range []string{leader.Record.ID, follower.Record.ID} {
			if _, err := w.ledgers[0].Beat(w.ctx, view, id, idle()); err != nil {
				t.Fatal(err)
			}
		}
	}
	cost := w.counted.Counts().Sub(before)
	if cost.Put != beats+1 || cost.List != 0 || cost.Delete != 0 || cost.Get != beats {
		t.Errorf("%d heartbeats of two sessions: %+v; want a write of the leader's each, one by which the follower rests, and a read of the lease by the follower", beats, cost)
	}
	// Heartbeats that come faster than anybody needs them write nothing.
	before = w.counted.Counts()
	for range 10 {
		if st := w.beat(w.ledgers[0], leader.Record.ID); st.Renewed || !st.Leads {
			t.Fatalf("%+v", st)
		}
		w.beat(w.ledgers[0], follower.Record.ID)
	}
	if cost := w.counted.Counts().Sub(before); cost.Put != 0 || cost.List != 0 {
		t.Errorf("hasty heartbeats: %+v", cost)
	}
}

func TestBeatKeepsWhatTheAgentSays(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	st := w.create(w.ledgers[0], "a")
	yes := true
	for _, b := range []session.Beat{{AgentStatus: &pipeapi.AgentStatus{State: "scanning"}}, {CanRealtime: &yes}} {
		if _, err := w.ledgers[0].Beat(w.ctx, view, st.Record.ID, b); err != nil {
			t.Fatal(err)
		}
	}
	r, err := w.newLedger().Alive(w.ctx, view, st.Record.ID)
	if err != nil || !r.CanRealtime || r.AgentStatus.State != "scanning" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestStatusesAreKeptForTheNextWrite: a heartbeat that is not worth a write is remembered, and what it said is in the record with the next one.
func TestStatusesAreKeptForTheNextWrite(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	l := w.ledgers[0]
	ids := []string{w.create(l, "leader").Record.ID, w.create(l, "follower").Record.ID}
	before := w.counted.Counts()
	for _, id := range ids {
		if st, err := l.Beat(w.ctx, view, id, session.Beat{AgentStatus: &pipeapi.AgentStatus{Files: 7}}); err != nil || st.Renewed {
			t.Fatalf("%+v, %v", st, err)
		}
	}
	if cost := w.counted.Counts().Sub(before); cost.Put != 0 {
		t.Errorf("%d writes right after the beginning", cost.Put)
	}
	w.clock.Advance(10 * time.Second)
	for _, id := range ids {
		w.pause(l, id)
		if r, err := session.Read(w.ctx, w.store, view, id); err != nil || !r.Paused || r.AgentStatus == nil || r.AgentStatus.Files != 7 {
			t.Errorf("%s: %+v, %v", r.Task, r.AgentStatus, err)
		}
	}
}

// statusOf is a status with these members alone, as an agent of another version may send it.
func statusOf(t *testing.T, members map[string]any) *pipeapi.AgentStatus {
	t.Helper()
	body, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	status := &pipeapi.AgentStatus{}
	if err := json.Unmarshal(body, status); err != nil {
		t.Fatal(err)
	}
	return status
}

// TestTroublesOfALeaderAreWrittenAtOnce has a leader's agent tell of a trouble, and that it is over: the record, which is
// otherwise left alone for ten minutes, says so with the same heartbeat. A little more of it is not worth a write.
func TestTroublesOfALeaderAreWrittenAtOnce(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	st := w.create(w.ledgers[0], "a")
	says := func(status map[string]any) (written map[string]any) {
		t.Helper()
		if st, err := w.ledgers[0].Beat(w.ctx, view, st.Record.ID, session.Beat{AgentStatus: statusOf(t, status)}); err != nil || !st.Leads {
			t.Fatalf("%+v, %v", st, err)
		}
		r, err := w.newLedger().Alive(w.ctx, view, st.Record.ID)
		if err != nil {
			t.Fatal(err)
		}
		if r.AgentStatus == nil {
			return nil
		}
		body, err := json.Marshal(r.AgentStatus)
		if err == nil {
			err = json.Unmarshal(body, &written)
		}
		if err != nil {
			t.Fatal(err)
		}
		return written
	}
	if got := says(map[string]any{"unwatched": 0.0}); got != nil {
		t.Errorf("without a trouble the record was written: %v", got)
	}
	for i, trouble := range []map[string]any{
		{"root_lost": "gone"}, {"spool_error": "full"}, {"unwatched": 5.0}, {"unreadable": 1.0}, {"state": "paused"}, {"coverage": "audit-only"}, {},
	} {
		trouble["n"] = float64(i)
		if got := says(trouble); got["n"] != float64(i) {
			t.Errorf("%v is not in the record, which has %v", trouble, got)
		}
	}
	says(map[string]any{"unwatched": 5.0})
	if got := says(map[string]any{"unwatched": 6.0}); got["unwatched"] != 5.0 {
		t.Errorf("one directory more cost a write: %v", got)
	}
}

func TestDamagedRecords(t *testing.T) {
	for name, keyOf := range map[string]func(id string) string{
		"roster": func(string) string { return layout.Roster(view) },
		"lease":  func(string) string { return layout.Lease(view) },
		"record": func(id string) string { return layout.Session(view, id) },
	} {
		w := newWorld(t, 1, time.Second)
		key := keyOf(w.create(w.ledgers[0], "a").Record.ID)
		if _, err := w.store.Put(w.ctx, key, []byte("{")); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(31 * time.Second)
		_, err := w.newLedger().Create(w.ctx, session.Application{View: view, Task: "b", TimeoutSeconds: 30})
		if name == "lease" { // it has nothing that cannot be made again, if it takes longer than a lease
			w.clock.Advance(31 * time.Second)
			state, err := w.newLedger().Create(w.ctx, session.Application{View: view, Task: "c", TimeoutSeconds: 30})
			if err != nil || !state.Leads || state.Term < 1000 {
				t.Errorf("lease: %+v, %v", state, err)
			}
		} else if !errors.Is(err, session.ErrDamaged) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func parallel(n int, f func(i int)) {
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	group.Wait()
}

// What is read of a view's sessions: the roster, the lease, and a record of each session that the roster does not say to be over.
func TestListReadsNoMoreThanItMust(t *testing.T) {
	w := newWorld(t, 1, time.Second)
	reads := func(want uint64, read func() error) {
		t.Helper()
		before := w.counted.Counts()
		if err := read(); err != nil {
			t.Fatal(err)
		}
		if got := w.counted.Counts().Sub(before); got.Get != want || got.List != 0 || got.Put != 0 {
			t.Errorf("%+v, not %d reads", got, want)
		}
	}
	list := func() error { _, err := session.List(w.ctx, w.counted, view); return err }
	leader := func() error { _, err := session.Leader(w.ctx, w.counted, view); return err }
	reads(2, list)
	reads(1, leader)
	for i := range 3 {
		w.create(w.ledgers[0], fmt.Sprint(i))
	}
	reads(2+3, list)
	reads(2, leader)
	if _, err := w.ledgers[0].NewEpoch(w.ctx, view); err != nil {
		t.Fatal(err)
	}
	reads(2, list)
	reads(2, leader)
}
