package cost

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	model "github.com/fustor/fustor/internal/cost"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/query"
	"github.com/fustor/fustor/testkit/sessiontest"
)

// deployment is the parts on a store that counts, with a clock that is turned by hand.
type deployment struct {
	t       *testing.T
	clock   *sessiontest.Clock
	counted *store.Counted
	ingest  http.Handler
	query   http.Handler
	compact *compactor.Compactor
	agents  []*sender
}

type sender struct {
	id, agent string
	seq       uint64
}

const key = "key-of-everybody"

func deploy(t *testing.T, agents int) *deployment {
	t.Helper()
	dir, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{t: t, clock: sessiontest.NewClock(time.Now())}
	d.counted = store.Count(sessiontest.New(dir, d.clock, time.Millisecond, nil))
	if err := access.Register(t.Context(), d.counted, key, access.Record{Name: "all", Roles: []access.Role{access.Ingest, access.Query}, Views: access.AllViews}); err != nil {
		t.Fatal(err)
	}
	keys := func() *access.Authenticator { // each function has its own
		a, err := access.New(access.Options{Store: d.counted, Now: d.clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	i, err := ingest.New(ingest.Options{Store: d.counted, Authenticator: keys(), Now: d.clock.Now, AnswerAtOnce: true})
	if err != nil {
		t.Fatal(err)
	}
	q, err := query.New(query.Options{Store: d.counted, Authenticator: keys(), Now: d.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	if d.compact, err = compactor.New(compactor.Options{Store: d.counted, Now: d.clock.Now}); err != nil {
		t.Fatal(err)
	}
	d.ingest, d.query = i.Handler(), q.Handler()
	for n := range agents {
		a := d.call(d.ingest, "POST", "/api/v1/pipe/session?view=v", fmt.Sprintf(`{"task_id":"t%d"}`, n), 200)
		d.agents = append(d.agents, &sender{id: a["session_id"].(string), agent: fmt.Sprint("t", n)})
	}
	d.scan()
	return d
}

func (d *deployment) call(h http.Handler, method, path, body string, status int) map[string]any {
	d.t.Helper()
	r := httptest.NewRequest(method, path, bytes.NewReader([]byte(body)))
	r.Header.Set("X-API-Key", key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	answer := map[string]any{}
	if w.Code != status || json.Unmarshal(w.Body.Bytes(), &answer) != nil {
		d.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return answer
}

// send puts one segment into the store, as an agent with an upload does.
func (d *deployment) send(a int, events ...event.Event) {
	d.t.Helper()
	s := d.agents[a]
	var b bytes.Buffer
	w, err := event.NewWriter(&b, event.Header{View: "v", Session: s.id, Agent: s.agent, Seq: s.seq, Term: 1, CreatedAt: 1, Nonce: fmt.Sprint(s.id, s.seq), Local: true})
	for i := range events {
		if err == nil {
			err = w.Add(&events[i])
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		_, err = d.counted.Create(context.Background(), layout.Segment("v", s.id, s.seq), b.Bytes())
	}
	if err != nil {
		d.t.Fatal(err)
	}
	s.seq++
}

// scan is the first snapshot: 200 directories of 20 files.
func (d *deployment) scan() {
	now := d.clock.Now().UnixNano()
	events := []event.Event{{Kind: event.Marked, Evidence: event.Snapshot, Path: "/", ObservedAt: now, Mark: event.Mark{Kind: event.SnapshotBegin}}}
	for i := range 4000 {
		events = append(events, put(i, now))
	}
	events = append(events, event.Event{Kind: event.Marked, Evidence: event.Snapshot, Path: "/", ObservedAt: now, Mark: event.Mark{Kind: event.SnapshotEnd}})
	d.send(0, events...)
	d.fold()
}

func put(i int, now int64) event.Event {
	name := fmt.Sprintf("file%d", i)
	return event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: now, Path: fmt.Sprintf("/dir%d/%s", i%200, name), Atomic: true,
		Entry: event.Entry{Name: name, Type: event.File, Size: int64(i), MtimeNs: now}}
}

func (d *deployment) fold() {
	d.t.Helper()
	if _, err := d.compact.Once(context.Background(), "v"); err != nil {
		d.t.Fatal(err)
	}
}

// tick is what the compactor's function does for a tick of the schedule.
func (d *deployment) tick() {
	d.t.Helper()
	views, err := d.compact.Views(context.Background())
	if err == nil && len(views) != 1 {
		err = fmt.Errorf("views %v", views)
	}
	if err == nil {
		_, err = d.compact.Work(context.Background(), "v", 0)
	}
	if err == nil {
		err = d.compact.Tend(context.Background(), "v")
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *deployment) beat(a int) {
	d.t.Helper()
	d.call(d.ingest, "POST", "/api/v1/pipe/session/"+d.agents[a].id+"/heartbeat?view=v", fmt.Sprintf(`{"can_realtime":true,"agent_status":{"sent_segments":%d}}`, d.agents[a].seq), 200)
}

func (d *deployment) ask(call string) {
	d.t.Helper()
	d.call(d.ingest, "GET", "/api/v1/pipe/"+call, "", 200)
}

// count is what f asks of the store, n times, on average.
func (d *deployment) count(n int, f func()) model.Requests {
	before := d.counted.Counts()
	for range n {
		f()
	}
	c := d.counted.Counts().Sub(before)
	per := func(x uint64) float64 { return float64(x) / float64(n) }
	return model.Requests{Get: per(c.Get), Put: per(c.Put), List: per(c.List)}
}

func near(t *testing.T, what string, got, want model.Requests, tolerance float64) {
	t.Helper()
	t.Logf("%-22s counted GET %.2f, PUT %.2f, LIST %.2f; the model has %.2f, %.2f, %.2f", what, got.Get, got.Put, got.List, want.Get, want.Put, want.List)
	off := func(x, y float64) bool { return math.Abs(x-y) > tolerance*max(y, 1) }
	if off(got.Get, want.Get) || off(got.Put, want.Put) || off(got.List, want.List) {
		t.Errorf("%s: the model is off by more than %.0f %%", what, tolerance*100)
	}
}

// The requests of each unit are those that the parts make.
func TestUnits(t *testing.T) {
	const agents = 3
	d, u := deploy(t, agents), model.Measured()
	every := func() { d.clock.Advance(18 * time.Second) }
	for a := range agents { // what was remembered of their creation
		d.beat(a)
	}
	leader, follower := model.Requests{}, model.Requests{}
	for range 8 {
		every()
		d.beat(2) // and its key is known
		leader = leader.Plus(d.count(1, func() { d.beat(0) }), 1.0/8)
		follower = follower.Plus(d.count(1, func() { d.beat(1) }), 1.0/8)
	}
	near(t, "leader's heartbeat", leader, u.LeaderBeat, 0.05)
	near(t, "follower's heartbeat", follower, u.FollowerBeat, 0.05)
	near(t, "commands", d.count(8, func() { d.ask("session/" + d.agents[0].id + "/commands?view=v&wait=25") }), u.Commands, 0.05)
	near(t, "sentinel", d.count(8, func() { d.ask("consistency/sentinel/tasks?view=v") }), u.Sentinel, 0.05)
	n := 0
	before := d.counted.Counts()
	near(t, "fold of one segment", d.count(64, func() {
		d.send(n%agents, put(n*37%4000, d.clock.Now().UnixNano()))
		n++
		d.fold()
	}), model.Requests{Put: 1}.Plus(u.Fold, 1).Plus(u.FoldSession, agents).Plus(u.FoldSegment, 1).Plus(u.MergePerFold, 1), 0.1)
	// The deltas that merges write again are counted with the folds.
	wrote := float64(d.counted.Counts().Sub(before).BytesOut)/64 - u.SegmentBytes
	t.Logf("a fold writes %.0f bytes; the model has %.0f", wrote, u.FoldBytes)
	if wrote < u.FoldBytes/2 || wrote > u.FoldBytes*2 {
		t.Error("the model is off by more than a factor of two")
	}
	near(t, "a look that finds nothing", d.count(8, func() {
		if _, err := d.compact.Fold(context.Background(), "v"); err != nil {
			t.Fatal(err)
		}
	}), u.Look.Plus(u.LookSession, agents), 0.05)
	stat := func() { d.call(d.query, "GET", "/api/v1/views/v/metadata?path=/dir7", "", 200) }
	stat()
	near(t, "warm query", d.count(8, func() { every(); stat() }), u.Query.Plus(u.Key, 1.0/2), 0.05)
	d.tick()                                                                                           // retention, once
	near(t, "a tick", d.count(8, d.tick), u.Tick.Plus(u.TickView, 1).Plus(u.TickSession, agents), 0.1) // of a moment: the view's settings are read once
	keys, err := access.New(access.Options{Store: d.counted, Now: d.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	settings := viewconfig.NewLoader(d.counted, d.clock.Now)
	near(t, "settings are read", d.count(8, func() {
		d.clock.Advance(viewconfig.KnownFor + time.Second)
		for range 3 {
			if _, err := settings.Load(t.Context(), "v"); err != nil {
				t.Fatal(err)
			}
		}
	}), u.Settings, 0.05)
	near(t, "a key is read", d.count(8, func() {
		d.clock.Advance(access.KnownFor + time.Second)
		for range 3 {
			if _, err := keys.Authenticate(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}), u.Key, 0.05)
}

// What the real parts do in twenty minutes, counted, is what the model says of them.
func TestModelAgainstARun(t *testing.T) {
	const agents, seconds = 3, 1200
	d := deploy(t, agents)
	for a := range agents {
		d.beat(a)
	}
	began := d.counted.Counts()
	segments := 0
	for s := 1; s <= seconds; s++ {
		d.clock.Advance(time.Second)
		if s%18 == 0 {
			d.beat(0)
		}
		if s%18 == 9 {
			for a := range agents - 1 {
				d.beat(a + 1)
			}
		}
		if s%300 == 0 {
			d.tick()
		}
		if s%600 == 0 {
			d.ask("session/" + d.agents[0].id + "/commands?view=v&wait=25")
		}
		if s%120 == 0 {
			d.ask("consistency/sentinel/tasks?view=v")
		}
		if s%20 == 0 {
			d.send(segments%agents, put(segments*37%4000, d.clock.Now().UnixNano()))
			segments++
			d.fold()
		}
		if s%15 == 7 {
			d.call(d.query, "GET", "/api/v1/views/v/metadata?path=/dir7", "", 200)
		}
	}
	c := d.counted.Counts().Sub(began)
	// One event every 20 s gives a segment each: λ/(1+λ) with all agents' events apart.
	w := model.Workload{Files: 4000, Views: 1, Agents: agents, EventsPerSecond: 1 / 20.0, QueriesPerDay: 86400 / 15, ColdShare: 0, SessionTimeout: 45, BatchWindow: 1}
	e := model.Of(w, model.Measured(), model.ListPrices())
	got := model.Requests{Get: float64(c.Get), Put: float64(c.Put), List: float64(c.List)}
	said := model.Requests{}.Plus(e.Total, seconds/model.Month)
	t.Logf("twenty minutes: counted GET %.0f, PUT %.0f; the model has %.0f, %.0f", got.Get, got.Put, said.Get, said.Put)
	if math.Abs(got.Get-said.Get) > 0.15*got.Get || math.Abs(got.Put-said.Put) > 0.15*got.Put {
		t.Error("the model is off by more than 15 %")
	}
}

func TestIdleAndPrices(t *testing.T) {
	w := model.Workload{Files: 1e6, Views: 1, Agents: 1, SessionTimeout: 45, BatchWindow: 1}
	idle := model.Of(w, model.Measured(), model.ListPrices())
	t.Logf("one idle agent: %.2f dollars of requests", idle.Dollars.Idle)
	w.Polling = true
	if polled := model.Of(w, model.Measured(), model.ListPrices()); polled.Dollars.Idle < 3*idle.Dollars.Idle {
		t.Errorf("polling costs %.2f dollars, without it %.2f", polled.Dollars.Idle, idle.Dollars.Idle)
	}
	p, err := ReadPrices(model.ListPrices(), "mine.yaml", []byte("put_request: 0.00001\nsource: ours\n"))
	if err != nil || p.Put != 0.00001 || p.Get != model.ListPrices().Get || p.Source != "ours" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"puts: 1", "put_request: -1", "put_request: x", "instance_gb: 0"} {
		if _, err := ReadPrices(model.ListPrices(), "mine.yaml", []byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
