// Package bubble has all parts at work in one process and one bubble of synctest, where hours pass at once: what becomes of settings
// that are changed meanwhile (settings_test.go), and of views that an agent attacks (hostile_test.go).
package bubble

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/query"
	"github.com/fustor/fustor/testkit/sim"
)

const (
	key        = "key-of-everybody"
	agentKey   = "key-of-agents"
	hostileKey = "key-of-a-hostile-agent" // of the view v
)

// placed is a store with a place that engines of SQL know, so that views are published as tables.
type placed struct{ store.Store }

func (placed) String() string { return "file:///store" }

// world is all parts at work on one store, in a bubble: a minute passes at once. An agent feeds the view v.
type world struct {
	*testing.T
	store         store.Store
	ingest, query http.Handler
	stopAgent     func()
	view          string      // whose settings set changes
	server        *sim.Server // of v's tree
	mount         *sim.Mount  // of its agent

	mu    sync.Mutex
	calls []string // of ingest, paths
}

// warm has packages make what they make once for all: it must not be made in a bubble, as the next one could not use it.
func warm(t *testing.T) {
	t.Helper()
	inWorld(t, 0, func(w *world) {
		large := *w.head()
		large.View, large.Version, large.Parent = "large", 1, ""
		for len(large.Deltas) < 1000 { // so many are kept compressed
			large.Deltas = append(large.Deltas, w.head().Base...)
			large.Deltas = append(large.Deltas, w.head().Deltas...)
		}
		if _, err := manifest.Commit(w.Context(), w.store, &large, ""); err != nil {
			t.Fatal(err)
		}
		if _, _, err := manifest.Load(w.Context(), w.store, "large"); err != nil {
			t.Fatal(err)
		}
	})
}

func inWorld(t *testing.T, poll time.Duration, do func(*world)) {
	w := &world{T: t, store: placed{sim.NewStore(time.Now)}, view: "v"}
	only := func(role access.Role, views ...string) access.Record {
		return access.Record{Name: "test", Roles: []access.Role{role}, Views: access.Views{Names: views}}
	}
	keys, err := access.New(access.Options{Store: w.store, Static: []access.Static{
		{Key: key, Record: access.Record{Name: "test", Roles: []access.Role{access.Admin, access.Ingest, access.Query}, Views: access.AllViews}},
		{Key: agentKey, Record: only(access.Ingest, "v", "neighbour")}, {Key: hostileKey, Record: only(access.Ingest, "v")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	i, err := ingest.New(ingest.Options{Store: w.store, Authenticator: keys})
	if err != nil {
		t.Fatal(err)
	}
	q, err := query.New(query.Options{Store: w.store, Authenticator: keys})
	if err != nil {
		t.Fatal(err)
	}
	c, err := compactor.New(compactor.Options{Store: w.store, MaxDeltas: 2, PollMax: poll})
	if err != nil {
		t.Fatal(err)
	}
	w.query = q.Handler()
	w.ingest = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.calls = append(w.calls, r.URL.Path)
		w.mu.Unlock()
		i.Handler().ServeHTTP(rw, r)
	})
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { _ = c.Run(ctx) })
	w.server = w.tree()
	w.mount = w.server.Mount(rand.New(rand.NewPCG(1, 1)))
	w.stopAgent = w.agent(ctx, "v", w.mount)
	defer func() {
		w.stopAgent()
		stop()
		work.Wait()
	}()
	w.within(time.Minute, "the first scan", func() bool { return w.status(w.query, "/api/v1/views/v/metadata?path=/dir0") == 200 })
	do(w)
}

// tree is a file server with a few directories.
func (w *world) tree() *sim.Server {
	s := sim.NewServer(func() int64 { return time.Now().UnixNano() })
	m := s.Mount(rand.New(rand.NewPCG(1, 1)))
	for k := range 5 {
		if err := m.Mkdir(fmt.Sprintf("/dir%d", k)); err != nil {
			w.Fatal(err)
		}
	}
	return s
}

// agent runs one that feeds a view.
func (w *world) agent(ctx context.Context, view string, m *sim.Mount) (stop func()) {
	begin := time.Now()
	a, err := agent.New(agent.Options{
		Root: sim.Root, View: view, AgentID: "agent", APIKey: agentKey, ScanWorkers: 2, Sender: &send.Store{Store: w.store},
		IngestURL: "http://ingest", IngestHTTP: send.Handler(w.ingest),
		Tuning: agent.Tuning{
			Clocks: lease.Clocks{Boot: func() int64 { return int64(time.Since(begin)) }, Wall: time.Now},
			System: &sim.System{Mount: m, Local: true, Step: func(string, string) error { return nil }},
			Notifier: func(string) (watch.Notifier, error) {
				return m.Notifier(1000, func() error { return nil }), nil
			},
		},
	})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = a.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// guarded has the view show a directory of the user 1 and a group, and a file in it, below a root that is open to everybody.
func (w *world) guarded(path string, mode uint32, group uint32) {
	w.Helper()
	s := w.feeder()
	root, dir := s.put("/", true), s.put(path, true)
	root.Entry.Type, root.Entry.Mode = event.Directory, 0o755
	dir.Entry.Type, dir.Entry.Mode, dir.Entry.UID, dir.Entry.GID = event.Directory, mode, 1, group
	s.send(root, dir, s.put(path+"/file", true))
	w.within(slack, "the file", func() bool { return w.node(path+"/file") != nil })
}

// sleep lets time pass in the bubble.
func (w *world) sleep(d time.Duration) { time.Sleep(d) }

// within waits until something is so, which must be soon enough.
func (w *world) within(limit time.Duration, what string, is func() bool) {
	w.Helper()
	for began := time.Now(); !is(); time.Sleep(max(time.Second, limit/200)) {
		if time.Since(began) > limit {
			w.Fatalf("%v later there is not: %s", limit, what)
		}
	}
}

// set changes the settings of the view.
func (w *world) set(change func(*viewconfig.Config)) {
	w.Helper()
	c, err := viewconfig.NewLoader(w.store, nil).Load(w.Context(), w.view)
	if err != nil {
		w.Fatal(err)
	}
	change(&c)
	w.save(c)
}

func (w *world) save(c viewconfig.Config) {
	w.Helper()
	if err := viewconfig.Save(w.Context(), w.store, c); err != nil {
		w.Fatal(err)
	}
}

func (w *world) ask(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-API-Key", key)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func (w *world) status(h http.Handler, path string) int { return w.ask(h, "GET", path, "").Code }

// asUser is the status of an answer as a user's file permissions allow.
func (w *world) asUser(path, user string) int {
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("X-API-Key", key)
	r.Header.Set("Fustor-As", user)
	rec := httptest.NewRecorder()
	w.query.ServeHTTP(rec, r)
	return rec.Code
}

func (w *world) call(h http.Handler, method, path, body string, status int) map[string]any {
	w.Helper()
	rec, answer := w.ask(h, method, path, body), map[string]any{}
	if rec.Code != status || json.Unmarshal(rec.Body.Bytes(), &answer) != nil {
		w.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
	}
	return answer
}

// asked is how often ingest was called on a path that ends so.
func (w *world) asked(path string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.calls {
		if strings.HasSuffix(p, path) {
			n++
		}
	}
	return n
}

func (w *world) register(task string) map[string]any {
	w.Helper()
	return w.call(w.ingest, "POST", "/api/v1/pipe/session?view=v", fmt.Sprintf(`{"task_id":%q}`, task), 200)
}

// leader is the session that leads v, as GET /sessions shows it.
func (w *world) leader() map[string]any {
	w.Helper()
	for _, s := range w.call(w.query, "GET", "/api/v1/views/v/sessions", "", 200)["active_sessions"].([]any) {
		if s := s.(map[string]any); s["role"] == "leader" {
			return s
		}
	}
	w.Fatal("nobody leads")
	return nil
}

// head is the newest version of v.
func (w *world) head() *manifest.Manifest {
	w.Helper()
	m, _, err := manifest.Load(w.Context(), w.store, "v")
	if err != nil {
		w.Fatal(err)
	}
	return m
}

// keeps holds that a rule of the history keeps the last three of six earlier versions, which were published at distances of the rule's
// unit, and none of them when it keeps nothing; and that /versions says so.
func (w *world) keeps(hours time.Duration, months, years int, set func(c *viewconfig.Config, n int)) {
	w.Helper()
	s := w.feeder()
	s.send(s.put("/a", true))
	w.sleep(slack)
	w.set(func(c *viewconfig.Config) {
		c.KeepWithinSeconds, c.KeepHourly, c.KeepDaily, c.KeepWeekly, c.KeepMonthly, c.KeepYearly = 0, 0, 0, 0, 0, 0
		set(c, 3)
	})
	w.sleep(known)
	// The view gets a past: its version is published again, after six older ones.
	head, etag, err := manifest.Load(w.Context(), w.store, w.view)
	if err != nil {
		w.Fatal(err)
	}
	first := head.Version + 1
	for n := 6; n >= 0; n-- {
		at := time.Now().AddDate(-n*years, -n*months, 0).Add(-time.Duration(n) * hours)
		next := *head
		next.Parent, next.Version, next.FirstReady, next.FoldedAt = head.Key(), head.Version+1, first, at.UnixNano()
		next.Nonce = manifest.Nonce(next.FoldedAt, "past")
		if etag, err = manifest.Commit(w.Context(), w.store, &next, etag); err != nil {
			w.Fatal(err)
		}
		head = &next
	}
	counts := func() (objects, listed int) {
		page, err := w.store.List(w.Context(), layout.Manifests(w.view), "", 0)
		if err != nil {
			w.Fatal(err)
		}
		for _, i := range page.Items {
			if n := strings.TrimLeft(strings.TrimPrefix(i.Key, layout.Manifests(w.view))[:20], "0"); strings.HasSuffix(i.Key, "-past") && n != fmt.Sprint(first+6) {
				objects++
			}
		}
		for _, v := range w.call(w.query, "GET", "/api/v1/views/"+w.view+"/versions", "", 200)["versions"].([]any) {
			if v := v.(map[string]any); len(v["kept"].([]any)) > 0 && v["version"].(float64) >= float64(first) && v["version"].(float64) < float64(first+6) {
				listed++
			}
		}
		return objects, listed
	}
	w.within(time.Hour, "three earlier versions", func() bool { objects, listed := counts(); return objects == 3 && listed == 3 })
	w.set(func(c *viewconfig.Config) { set(c, 0) })
	w.within(known+2*time.Hour+10*time.Minute, "none of them", func() bool { objects, listed := counts(); return objects == 0 && listed == 0 })
}

// hasTombstone reports whether the layers of the view fed remember that a path was deleted.
func (w *world) hasTombstone(path string) bool {
	w.Helper()
	m, _, err := manifest.Load(w.Context(), w.store, "fed")
	if err != nil {
		w.Fatal(err)
	}
	v, err := layer.OpenView(w.store, "fed", m.Base, m.Deltas, layer.NewCache(1<<20))
	if err != nil {
		w.Fatal(err)
	}
	var row evidence.Row
	c := v.Cursor(w.Context())
	for ok := c.Seek(layer.Key{}); ok; ok = c.Next() {
		if err := c.Row(&row); err != nil {
			w.Fatal(err)
		}
		if row.Path() == path {
			return row.Removed
		}
	}
	return false
}

// node is an entry of the view fed; nil: there is none.
func (w *world) node(path string) map[string]any {
	w.Helper()
	if w.status(w.query, "/api/v1/views/fed/metadata?path="+path) == 404 {
		return nil
	}
	return w.call(w.query, "GET", "/api/v1/views/fed/metadata?path="+path, "", 200)
}

// feeder is a session that sends what the test says.
type feeder struct {
	w        *world
	view, id string
	term     uint64
	seq      uint64
}

// feeder feeds a view of its own, fed, whose settings set changes from now on.
func (w *world) feeder() *feeder {
	w.Helper()
	w.view = "fed"
	s := w.feed("fed")
	w.within(slack, "the view", func() bool { return w.status(w.query, "/api/v1/views/fed/metadata?path=/") != 503 })
	return s
}

func (w *world) feed(view string) *feeder {
	w.Helper()
	a := w.call(w.ingest, "POST", "/api/v1/pipe/session?view="+view, `{"task_id":"feeder","session_timeout_seconds":86400}`, 200)
	term, _ := a["term"].(float64)
	s := &feeder{w: w, view: view, id: a["session_id"].(string), term: uint64(term)}
	mark := func(kind event.MarkKind) event.Event {
		return event.Event{Kind: event.Marked, Evidence: event.Snapshot, Path: "/", ObservedAt: time.Now().UnixNano(), Mark: event.Mark{Kind: kind}}
	}
	if a["is_leader"] == true {
		s.send(mark(event.SnapshotBegin), mark(event.SnapshotEnd))
	}
	return s
}

func (s *feeder) put(path string, atomic bool) event.Event {
	now := time.Now().UnixNano()
	_, name := event.Split(path)
	return event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: now, Path: path, Atomic: atomic,
		Entry: event.Entry{Name: name, Type: event.File, MtimeNs: now}}
}

func (s *feeder) remove(path string) event.Event {
	return event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: time.Now().UnixNano(), Path: path}
}

// send puts a segment into the store.
func (s *feeder) send(events ...event.Event) {
	s.w.Helper()
	var b bytes.Buffer
	out, err := event.NewWriter(&b, event.Header{View: s.view, Session: s.id, Agent: "feeder", Seq: s.seq, Term: s.term, CreatedAt: 1, Nonce: fmt.Sprint(s.id, s.seq), SkewKnown: true})
	for i := range events {
		if err == nil {
			err = out.Add(&events[i])
		}
	}
	if err == nil {
		err = out.Close()
	}
	if err == nil {
		_, err = s.w.store.Create(s.w.Context(), layout.Segment(s.view, s.id, s.seq), b.Bytes())
	}
	if err != nil {
		s.w.Fatal(err)
	}
	s.seq++
}
