//go:build !reading

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/query"
)

const (
	sessionsView    = "default" // as writeSnapshot has it
	sessionsKey     = "secret"
	sessionsTimeout = 45 * time.Second
)

// feeders is a view whose sessions are brought into a state, and everybody who shows sessions.
type feeders struct {
	t   *testing.T
	dir string // of the store
	st  store.Store
	ids map[string]string // of sessions, by agent
	url string
}

func newFeeders(t *testing.T) *feeders {
	t.Helper()
	f := &feeders{t: t, dir: t.TempDir(), ids: map[string]string{}}
	var err error
	if f.st, err = local.Open(f.dir); err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.do(writeSnapshot(t.Context(), f.st, tree))
	c, err := compactor.New(compactor.Options{Store: f.st})
	f.do(err)
	_, err = c.Once(t.Context(), sessionsView)
	f.do(err)
	// Who made the first version is not of the states below.
	overview, err := session.List(t.Context(), f.st, sessionsView)
	f.do(err)
	f.do(f.ledger().End(t.Context(), sessionsView, overview.Leader, session.Closed))
	f.do(f.ledger().Forget(t.Context(), sessionsView, 0, func(string) bool { return true }))

	f.do(access.Register(t.Context(), f.st, sessionsKey, access.Record{Name: "test", Roles: []access.Role{access.Admin}, Views: access.AllViews}))
	keys, err := access.New(access.Options{Store: f.st})
	f.do(err)
	i, err := ingest.New(ingest.Options{Store: f.st, Authenticator: keys})
	f.do(err)
	q, err := query.New(query.Options{Store: f.st, Authenticator: keys})
	f.do(err)
	mux := http.NewServeMux()
	mux.Handle("/api/v1/pipe/", i.Handler())
	mux.Handle("/api/v1/admin/", i.Handler())
	mux.Handle("/", q.Handler())
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *feeders) do(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// ledger is that of a process that was just started.
func (f *feeders) ledger() *session.Ledger {
	f.t.Helper()
	clock := store.NewClock(time.Now)
	l, err := session.NewLedger(clock.Watch(f.st), clock, rand.Reader)
	f.do(err)
	return l
}

// create gives each of the agents a session. The first that finds the lease free leads.
func (f *feeders) create(agents ...string) {
	f.t.Helper()
	for _, agent := range agents {
		state, err := f.ledger().Create(f.t.Context(), session.Application{View: sessionsView, Task: agent + ":pipe", Agent: agent,
			Source: "fs://" + agent, TimeoutSeconds: sessionsTimeout.Seconds()})
		f.do(err)
		f.ids[agent] = state.Record.ID
	}
}

func (f *feeders) beat(agent string, b session.Beat) {
	f.t.Helper()
	_, err := f.ledger().Beat(f.t.Context(), sessionsView, f.ids[agent], b)
	f.do(err)
}

func (f *feeders) end(agent, reason string) {
	f.t.Helper()
	f.do(f.ledger().End(f.t.Context(), sessionsView, f.ids[agent], reason))
}

func (f *feeders) file(key string) string { return filepath.Join(f.dir, filepath.FromSlash(key)) }

// silent makes an object older than the session's time-out.
func (f *feeders) silent(key string) {
	f.t.Helper()
	old := time.Now().Add(-sessionsTimeout - 5*time.Second)
	f.do(os.Chtimes(f.file(key), old, old))
}

func (f *feeders) record(agent string) string { return layout.Session(sessionsView, f.ids[agent]) }

// fustor runs a command in this process and returns what it prints.
func (f *feeders) fustor(args ...string) []byte {
	f.t.Helper()
	out, err := os.CreateTemp(f.t.TempDir(), "")
	f.do(err)
	defer out.Close()
	a := &app{stdin: strings.NewReader(""), stdout: out, stderr: os.Stderr, getenv: func(string) string { return "" }}
	var c cli
	parsed, err := newParser(&c, a).Parse(args)
	f.do(err)
	a.globals = c.globals
	parsed.BindTo(f.t.Context(), (*context.Context)(nil))
	if err := parsed.Run(a); err != nil {
		f.t.Fatalf("fustor %s: %v", strings.Join(args, " "), err)
	}
	printed, err := os.ReadFile(out.Name())
	f.do(err)
	return printed
}

func (f *feeders) get(path string) (status int, body []byte) {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.url+path, nil)
	f.do(err)
	r.Header.Set("X-API-Key", sessionsKey)
	r.Header.Set("X-Fustor-View", sessionsView)
	answer, err := http.DefaultClient.Do(r)
	f.do(err)
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	f.do(err)
	return answer.StatusCode, body
}

func (f *feeders) decode(body []byte, v any) {
	f.t.Helper()
	if err := json.Unmarshal(body, v); err != nil {
		f.t.Fatalf("%s: %v", body, err)
	}
}

// states is what somebody says of sessions: agent → leader, follower, ended, or lost.
type states map[string]string

// live are those of the states that readers see.
func (s states) live() states {
	live := maps.Clone(s)
	maps.DeleteFunc(live, func(_, state string) bool { return state != "leader" && state != "follower" })
	return live
}

func (s states) leader() string {
	for agent, state := range s {
		if state == "leader" {
			return agent
		}
	}
	return ""
}

// TestEverybodyTellsTheSameOfSessions: whoever shows sessions shows the same of them, in every state that a session can be in.
func TestEverybodyTellsTheSameOfSessions(t *testing.T) {
	for _, c := range []struct {
		name   string
		become func(f *feeders)
		want   states
		term   uint64 // of the lease; writeSnapshot's was 1
	}{
		{"nobody yet", func(f *feeders) {}, states{}, 1},
		{"a leader and a follower, just created", func(f *feeders) { f.create("a", "b") }, states{"a": "leader", "b": "follower"}, 2},
		{"the follower is paused", func(f *feeders) {
			f.create("a", "b")
			f.beat("b", session.Beat{Paused: true})
		}, states{"a": "leader", "b": "follower"}, 2},
		{"the leader is paused", func(f *feeders) {
			f.create("a", "b")
			f.beat("a", session.Beat{Paused: true})
		}, states{"a": "follower", "b": "follower"}, 2},
		{"the leader lives by its lease alone", func(f *feeders) {
			f.create("a", "b")
			f.silent(f.record("a"))
		}, states{"a": "leader", "b": "follower"}, 2},
		{"the lease has expired, its session lives", func(f *feeders) {
			f.create("a", "b")
			f.silent(layout.Lease(sessionsView))
		}, states{"a": "follower", "b": "follower"}, 2},
		{"the leader has timed out", func(f *feeders) {
			f.create("a", "b")
			f.silent(layout.Lease(sessionsView))
			f.silent(f.record("a"))
		}, states{"a": "lost", "b": "follower"}, 2},
		{"the follower has timed out", func(f *feeders) {
			f.create("a", "b")
			f.silent(f.record("b"))
		}, states{"a": "leader", "b": "lost"}, 2},
		{"the leader is closed", func(f *feeders) {
			f.create("a", "b")
			f.end("a", session.Closed)
		}, states{"a": "ended", "b": "follower"}, 2},
		{"an administrator ends the leader", func(f *feeders) {
			f.create("a", "b")
			f.fustor("admin", "session", "end", sessionsView, f.ids["a"], "--yes", "--store", "file://"+f.dir)
		}, states{"a": "ended", "b": "follower"}, 2},
		{"the roster, too, says that one has ended", func(f *feeders) {
			f.create("a", "b")
			f.end("b", session.Closed)
			f.create("c")
		}, states{"a": "leader", "b": "ended", "c": "follower"}, 2},
		{"the view is reset: the roster alone says so yet", func(f *feeders) {
			f.create("a", "b")
			_, err := f.ledger().NewEpoch(f.t.Context(), sessionsView)
			f.do(err)
		}, states{"a": "ended", "b": "ended"}, 2},
		{"an agent of after the reset, before the old leader has heard of it", func(f *feeders) {
			f.create("a", "b")
			_, err := f.ledger().NewEpoch(f.t.Context(), sessionsView)
			f.do(err)
			f.create("c")
		}, states{"a": "ended", "b": "ended", "c": "follower"}, 2},
		{"the view is reset to its end", func(f *feeders) {
			f.create("a", "b")
			f.fustor("admin", "reset", sessionsView, "--yes", "--url", f.url, "--api-key", sessionsKey)
			f.create("c")
		}, states{"a": "ended", "b": "ended", "c": "leader"}, 3},
		{"one has ended and is not folded to its end", func(f *feeders) {
			f.create("a", "b")
			_, err := f.st.Create(f.t.Context(), layout.Segment(sessionsView, f.ids["b"], 0), []byte("of no interest here"))
			f.do(err)
			f.end("b", session.Closed)
			f.do(f.ledger().Forget(f.t.Context(), sessionsView, 0, func(string) bool { return false }))
		}, states{"a": "leader", "b": "ended"}, 2},
		{"one has ended and is forgotten", func(f *feeders) {
			f.create("a", "b")
			f.end("b", session.Closed)
			f.do(f.ledger().Forget(f.t.Context(), sessionsView, 0, func(string) bool { return true }))
		}, states{"a": "leader"}, 2},
		{"the leader is replaced, and lives", func(f *feeders) {
			f.create("a", "b")
			f.silent(layout.Lease(sessionsView))
			f.beat("b", session.Beat{})
		}, states{"a": "follower", "b": "leader"}, 3},
		{"the leader is replaced, and its time is over", func(f *feeders) {
			f.create("a", "b")
			f.silent(layout.Lease(sessionsView))
			f.silent(f.record("a"))
			f.beat("b", session.Beat{})
		}, states{"a": "ended", "b": "leader"}, 3},
		{"the lease is of one that was found dead", func(f *feeders) {
			f.create("a", "b")
			f.edit(f.record("a"), func(r map[string]any) { r["ended"], r["ended_reason"] = true, session.TimedOut })
			f.edit(layout.Lease(sessionsView), func(lease map[string]any) { lease["ended"] = true })
		}, states{"a": "ended", "b": "follower"}, 2},
		{"a record vanishes after the roster was read", func(f *feeders) {
			f.create("a", "b")
			f.do(os.Remove(f.file(f.record("b"))))
		}, states{"a": "leader"}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFeeders(t)
			c.become(f)
			told := f.everybody(c.want, c.term)
			for _, who := range slices.Sorted(maps.Keys(told)) {
				want := c.want
				if !strings.HasPrefix(who, "fustor admin session list") {
					want = want.live()
				}
				if !maps.Equal(told[who], want) {
					t.Errorf("%s says %v, not %v", who, told[who], want)
				}
			}
		})
	}
}

// edit changes an object as another writer would.
func (f *feeders) edit(key string, change func(map[string]any)) {
	f.t.Helper()
	body, err := os.ReadFile(f.file(key))
	f.do(err)
	var object map[string]any
	f.decode(body, &object)
	change(object)
	delete(object, "$object") // an object that was edited by hand is not sealed
	delete(object, "$xxh64")
	body, err = json.Marshal(object)
	f.do(err)
	f.do(os.WriteFile(f.file(key), body, 0o600))
}

// everybody is what each of those says that show sessions. Numbers, terms and the leader's name are held against want at once.
func (f *feeders) everybody(want states, term uint64) map[string]states {
	f.t.Helper()
	type shown struct {
		Session string `json:"session_id"`
		Agent   string `json:"agent_id"`
		Role    string `json:"role"`
		State   string `json:"state"` // of administrators alone
	}
	statesOf := func(sessions []shown) states {
		s := states{}
		for _, one := range sessions {
			if f.ids[one.Agent] != one.Session {
				f.t.Errorf("agent %s is shown with session %s", one.Agent, one.Session)
			}
			s[one.Agent] = one.Role
			if one.State == "ended" || one.State == "lost" {
				s[one.Agent] = one.State
			}
		}
		return s
	}
	told := map[string]states{}

	var listed []shown
	for _, where := range [][]string{{"--store", "file://" + f.dir}, {"--url", f.url, "--api-key", sessionsKey}} {
		f.decode(f.fustor(append([]string{"admin", "session", "list", sessionsView, "--json"}, where...)...), &listed)
		told["fustor admin session list "+where[0]] = statesOf(listed)
	}

	var lines []shown
	for line := range bytes.Lines(f.fustor("sessions", "--json", "--url", f.url, "--api-key", sessionsKey, "--view", sessionsView)) {
		var one shown
		f.decode(line, &one)
		lines = append(lines, one)
	}
	told["fustor sessions"] = statesOf(lines)

	var sessions struct {
		Active []shown `json:"active_sessions"`
		Count  int     `json:"count"`
		Term   uint64  `json:"term"`
		Leader *string `json:"leader_session_id"`
	}
	_, body := f.get("/api/v1/views/" + sessionsView + "/sessions")
	f.decode(body, &sessions)
	told["/sessions"] = statesOf(sessions.Active)
	leader := ""
	if sessions.Leader != nil {
		leader = *sessions.Leader
	}
	if sessions.Count != len(want.live()) || sessions.Term != term || leader != f.ids[want.leader()] {
		f.t.Errorf("/sessions: %s", body)
	}

	var pipes struct {
		Pipes []shown `json:"pipes"`
	}
	_, body = f.get("/api/v1/pipe/pipes")
	f.decode(body, &pipes)
	told["/pipe/pipes"] = statesOf(pipes.Pipes)

	f.counts(want, term)
	return told
}

// counts holds those to want that do not name each session.
func (f *feeders) counts(want states, term uint64) {
	f.t.Helper()
	var pipe struct {
		Live   int    `json:"live_sessions"`
		Ended  int    `json:"ended_sessions"`
		Leader string `json:"leader_session_id"`
		Term   uint64 `json:"term"`
	}
	_, body := f.get("/api/v1/pipe/stats")
	f.decode(body, &pipe)
	if pipe.Live != len(want.live()) || pipe.Ended != len(want)-len(want.live()) || pipe.Leader != f.ids[want.leader()] || pipe.Term != term {
		f.t.Errorf("/pipe/stats: %s", body)
	}

	var view struct {
		Live   int    `json:"live_sessions"`
		Leader string `json:"leader_agent_id"`
	}
	printed := f.fustor("admin", "view", "show", sessionsView, "--json", "--store", "file://"+f.dir)
	f.decode(printed, &view)
	if view.Live != len(want.live()) || view.Leader != want.leader() {
		f.t.Errorf("fustor admin view show: %s", printed)
	}

	status, page := f.get("/state/" + sessionsView)
	if status == http.StatusServiceUnavailable { // a view that was just reset has nothing to show
		return
	}
	for agent := range want {
		if _, live := want.live()[agent]; bytes.Contains(page, fmt.Appendf(nil, "fs://%s", agent)) != live {
			f.t.Errorf("the state page: agent %s should be there: %v", agent, live)
		}
	}
	if bytes.Contains(page, []byte("<b>leader</b>")) != (want.leader() != "") {
		f.t.Errorf("the state page is wrong about the leader: %s", page)
	}
	var stats struct {
		HasLeader bool `json:"has_leader"`
	}
	_, body = f.get("/api/v1/views/" + sessionsView + "/stats")
	f.decode(body, &stats)
	if stats.HasLeader != (want.leader() != "") {
		f.t.Errorf("/stats: has_leader is %v", stats.HasLeader)
	}
}
