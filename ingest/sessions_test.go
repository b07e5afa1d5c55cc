package ingest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/viewconfig"
)

func TestSessionLife(t *testing.T) {
	f := newFixture(t, 2)
	a := f.want(f.ask(0, "GET", "/api/v1/pipe/session/", ""), 200)
	if a.text("view_id") != view || a.text("status") != "authorized" || a.body["can_feed"] != true {
		t.Errorf("%v", a.body)
	}
	a = f.want(f.ask(0, "POST", "/api/v1/pipe/session", `{"task_id":"host1:pipe","client_info":{"source_uri":"fs://host1/data"},"session_timeout_seconds":10}`), 200)
	if a.text("role") != "leader" || a.body["is_leader"] != true || a.number("term") != 1 || a.number("session_timeout_seconds") != 45 ||
		a.number("next_seq") != 0 || a.body["lease_renewed"] != true || a.number("lease_ttl_s") != 45 || a.text("message") == "" ||
		a.number("audit_interval_sec") == 0 || a.number("sentinel_interval_sec") == 0 {
		t.Errorf("%v", a.body)
	}
	leader := "/api/v1/pipe/session/" + a.text("session_id")
	f.clock.Advance(time.Second)
	a = f.want(f.ask(1, "POST", "/api/v1/pipe/session", `{"task_id":"host2:pipe","session_timeout_seconds":45,"client_info":null}`), 200)
	if a.text("role") != "follower" || a.number("term") != 1 || a.number("session_timeout_seconds") != 45 || a.number("lease_ttl_s") != 45 {
		t.Errorf("%v", a.body)
	}
	follower := "/api/v1/pipe/session/" + a.text("session_id")
	a = f.want(f.ask(1, "POST", leader+"/heartbeat", `{"can_realtime":true,"agent_status":{"state":"scanning"}}`), 200)
	if a.text("status") != "ok" || a.text("role") != "leader" || a.body["can_realtime"] != true || len(a.body["commands"].([]any)) != 0 {
		t.Errorf("%v", a.body)
	}
	a = f.want(f.ask(1, "GET", "/api/v1/pipe/pipes", ""), 200)
	if pipe := a.body["pipes"].([]any)[0].(map[string]any); a.number("count") != 2 || pipe["id"] != "host1:pipe" || pipe["agent_id"] != "host1" ||
		pipe["source_uri"] != "fs://host1/data" || pipe["role"] != "leader" || pipe["agent_status"].(map[string]any)["state"] != "scanning" {
		t.Errorf("%v", a.body)
	}
	f.want(f.ask(0, "GET", "/api/v1/pipe/pipes/host2:pipe", ""), 200)
	f.want(f.ask(0, "GET", "/api/v1/pipe/pipes/host3:pipe", ""), 404)
	for range 2 {
		if a = f.want(f.ask(1, "DELETE", leader, ""), 200); a.text("status") != "terminated" {
			t.Errorf("%v", a.body)
		}
	}
	f.want(f.ask(0, "POST", leader+"/heartbeat", ""), 419)
	a = f.want(f.ask(0, "POST", follower+"/heartbeat", `{}`), 200)
	if a.text("role") != "leader" || a.number("term") != 2 {
		t.Errorf("the follower did not take over: %v", a.body)
	}
	a = f.want(f.ask(1, "GET", "/api/v1/pipe/stats/", ""), 200)
	if a.number("live_sessions") != 1 || a.number("ended_sessions") != 1 || a.number("term") != 2 || !strings.HasSuffix(follower, a.text("leader_session_id")) {
		t.Errorf("%v", a.body)
	}
	for _, path := range []string{"start", "end/"} {
		f.want(f.ask(0, "POST", "/api/v1/pipe/consistency/audit/"+path, ""), 200)
	}
}

// A leader stops for longer than its lease, its follower takes over, and it comes back, through any process.
func TestPausedLeader(t *testing.T) {
	f := newFixture(t, 2)
	leader, _ := f.create(0, "a")
	follower, _ := f.create(0, "b")
	for range 3 {
		f.clock.Advance(15 * time.Second)
		if a := f.want(f.ask(1, "POST", follower+"/heartbeat", ""), 200); a.text("role") != "follower" {
			t.Fatalf("taken over too early: %v", a.body)
		}
	}
	f.clock.Advance(time.Second)
	if a := f.want(f.ask(1, "POST", follower+"/heartbeat", ""), 200); a.text("role") != "leader" || a.number("term") != 2 {
		t.Fatalf("%v", a.body)
	}
	for n := range 2 {
		f.want(f.ask(n, "POST", leader+"/heartbeat", ""), 419)
		f.want(f.ask(n, "POST", leader+"/uploads", `{"from_seq":0,"count":1}`), 419)
		f.want(f.ask(n, "PUT", leader+"/segments/0", "x"), 419)
	}
	if _, id := f.create(0, "a"); id == "" { // its task is free again
		t.Error("no session")
	}
}

func TestConflicts(t *testing.T) {
	f := newFixture(t, 2)
	if err := viewconfig.Save(context.Background(), f.store, viewconfig.Config{View: "other", SessionTimeoutSeconds: 5}); err != nil {
		t.Fatal(err)
	}
	f.create(0, "a")
	if a := f.want(f.ask(1, "POST", "/api/v1/pipe/session", `{"task_id":"a"}`), 409); a.text("hint") == "" {
		t.Errorf("%v", a.body)
	}
	post := func(n int, task string) answer {
		return f.send(f.ingests[n], otherKey, "POST", "/api/v1/pipe/session", []byte(`{"task_id":"`+task+`"}`))
	}
	if a := f.want(post(0, "a"), 200); a.number("session_timeout_seconds") != 5 {
		t.Errorf("%v", a.body)
	}
	f.want(post(1, "b"), 409)
	f.clock.Advance(6 * time.Second)
	if a := f.want(post(1, "b"), 200); a.number("term") != 2 {
		t.Errorf("%v", a.body)
	}
}

// A forest has no agents: not native ones, not V2's.
func TestForestTakesNoAgents(t *testing.T) {
	f := newFixture(t, 1)
	c := viewconfig.Default("other")
	c.Members = []string{"nfs*"}
	if err := viewconfig.Save(context.Background(), f.store, c); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/v1/pipe/session", "/api/v1/pipe/session/"} {
		a := f.want(f.send(f.ingests[0], otherKey, "POST", path, []byte(`{"task_id":"a:b"}`)), 403)
		if !strings.Contains(a.text("detail"), `view "other" is a forest`) || a.text("hint") == "" {
			t.Errorf("%s: %v", path, a.body)
		}
	}
}

func TestBadSessionRequests(t *testing.T) {
	f := newFixture(t, 1)
	session, _ := f.create(0, "ok")
	long := strings.Repeat("x", 300)
	for _, tc := range []struct {
		path, body string
		status     int
	}{
		{"/api/v1/pipe/session", ``, 400}, {"/api/v1/pipe/session", `{`, 400}, {"/api/v1/pipe/session", `{"task_id":""}`, 400},
		{"/api/v1/pipe/session", `{"task_id":7}`, 400}, {"/api/v1/pipe/session", `{"task_id":"a\u0000"}`, 400},
		{"/api/v1/pipe/session", `{"task_id":"` + long + `"}`, 400}, {"/api/v1/pipe/session", `{"task_id":"a","sessiontimeout":1}`, 400},
		{"/api/v1/pipe/session", `{"task_id":"a","session_timeout_seconds":0}`, 400}, {"/api/v1/pipe/session", `{"task_id":"a","session_timeout_seconds":-1}`, 400},
		{"/api/v1/pipe/session", `{"task_id":"a","session_timeout_seconds":1e9}`, 400}, {"/api/v1/pipe/session", `{"task_id":"a","client_info":[]}`, 400},
		{"/api/v1/pipe/session", `{"task_id":"a","client_info":{"agent_id":1}}`, 400},
		{"/api/v1/pipe/session", `{"task_id":"a","client_info":{"x":"` + strings.Repeat("x", maxInfo) + `"}}`, 400},
		{"/api/v1/pipe/session", `{"x":"` + strings.Repeat("x", maxSessionBody) + `"}`, 413},
		{"/api/v1/pipe/session?vew=research", `{"task_id":"a"}`, 400}, {"/api/v1/pipe/session?view=Research", `{"task_id":"a"}`, 400},
		{session + "/heartbeat", `{"can_realtime":"yes"}`, 400}, {session + "/heartbeat", `{"status":{}}`, 400}, {session + "/heartbeat?x=1", ``, 400},
		{session + "/heartbeat", `{"can_realtime":null,"agent_status":null}`, 200},
		{session + "/heartbeat", `{"agent_status":{"x":"` + strings.Repeat("x", maxInfo) + `"}}`, 200},
		{"/api/v1/pipe/session/..%2F..%2Fhead/heartbeat", ``, 419}, {"/api/v1/pipe/session/1f0c2f6e-0000-4000-8000-000000000000/heartbeat", ``, 419},
		{"/api/v1/pipe/consistency/audit/start", `{"x":1`, 400},
	} {
		if a := f.ask(0, "POST", tc.path, tc.body); a.status != tc.status {
			t.Errorf("%s %.60s: %d %v; want %d", tc.path, tc.body, a.status, a.body, tc.status)
		}
	}
	f.want(f.ask(0, "DELETE", "/api/v1/pipe/session/nonsense", ""), 200)
	f.want(f.ask(0, "PUT", session, ""), 405)
	f.want(f.ask(0, "GET", "/api/v1/pipe/nonsense", ""), 404)
}

// adminsOnly are the routes that need the role admin.
var adminsOnly = map[string]bool{"POST /api/v1/pipe/session/{id}/commands": true}

// Every route of agents, with every kind of key; TestAccess has the administrator's.
func TestKeysOnEveryRoute(t *testing.T) {
	f := newFixture(t, 1)
	for _, route := range f.ingests[0].mux.Routes() {
		path := strings.NewReplacer("{id}", "x", "{seq}", "0").Replace(route.Pattern)
		pipeSide := strings.HasPrefix(path, "/api/")
		if strings.HasPrefix(path, "/api/v1/admin/") {
			continue
		}
		for _, tc := range []struct {
			name, key, query string
			status           int // 0: let through
			probe            int // on the probes
		}{
			{"none", "", "", 401, 401}, {"unknown", "nobodys", "", 401, 401}, {"reader", readerKey, "", 403, 0}, {"agent", agentKey, "", 0, 0},
			{"agent, other view", agentKey, "?view=other", 403, 0}, {"admin, no view", adminKey, "", 400, 0}, {"admin", adminKey, "?view=any", 0, 0},
			{"several, no view", manyKey, "", 400, 0}, {"several", manyKey, "?view=other", 0, 0}, {"several, not this", manyKey, "?view=third", 403, 0},
		} {
			want := tc.status
			if !pipeSide {
				if want = tc.probe; path == "/healthz" || tc.query != "" {
					want = 0
				}
			}
			if tc.key == readerKey && route.Method+" "+route.Pattern == "GET /api/v1/pipe/session" {
				want = 0
			}
			if adminsOnly[route.Method+" "+route.Pattern] && tc.key != "" && tc.key != adminKey && tc.status != 401 {
				want = 403
			}
			r := httptest.NewRequest(route.Method, path+tc.query, strings.NewReader(""))
			if tc.key != "" {
				r.Header.Set("X-API-Key", tc.key)
			}
			w := httptest.NewRecorder()
			f.ingests[0].Handler().ServeHTTP(w, r)
			refused := w.Code == 401 || w.Code == 403
			if want == 400 && w.Code != 400 || want != 0 && want != 400 && w.Code != want || want == 0 && refused {
				t.Errorf("%s %s with %s: %d %s", route.Method, path, tc.name, w.Code, w.Body)
			}
		}
	}
	for _, key := range []string{agentKey, otherKey, manyKey, readerKey, adminKey} {
		if strings.Contains(f.log.String(), key) {
			t.Error("the log tells a key")
		}
	}
}

func TestViewHeader(t *testing.T) {
	f := newFixture(t, 1)
	for _, tc := range []struct {
		header, query string
		status        int
		view          string
	}{{"other", "", 200, "other"}, {"", "?view=other", 200, "other"}, {"other", "?view=other", 200, "other"}, {"other", "?view=research", 400, ""}, {"third", "", 403, ""}} {
		r := httptest.NewRequest("GET", "/api/v1/pipe/session"+tc.query, nil)
		r.Header = http.Header{"X-Api-Key": {manyKey}, "X-Fustor-View": {tc.header}}
		w := httptest.NewRecorder()
		f.ingests[0].Handler().ServeHTTP(w, r)
		if w.Code != tc.status || tc.status == 200 && !strings.Contains(w.Body.String(), `"view_id":"`+tc.view+`"`) {
			t.Errorf("%+v: %d %s", tc, w.Code, w.Body)
		}
	}
}

// Sessions of one view cannot be touched through another view's key.
func TestViewsAreApart(t *testing.T) {
	f := newFixture(t, 1)
	session, _ := f.create(0, "a")
	if a := f.send(f.ingests[0], otherKey, "POST", session+"/heartbeat", nil); a.status != 419 {
		t.Errorf("heartbeat: %v", a)
	}
	f.want(f.send(f.ingests[0], otherKey, "DELETE", session, nil), 200)
	f.want(f.ask(0, "POST", session+"/heartbeat", ""), 200)
}

func TestManyAgentsOnTwoProcesses(t *testing.T) {
	f := newFixture(t, 2)
	paths := make([]string, 32)
	var group sync.WaitGroup
	leaders := make([]bool, len(paths))
	for n := range paths {
		group.Go(func() {
			a := f.ask(n%2, "POST", "/api/v1/pipe/session", fmt.Sprintf(`{"task_id":"host%d"}`, n))
			if a.status != 200 {
				t.Errorf("%v", a.body)
			}
			leaders[n], paths[n] = a.body["is_leader"] == true, "/api/v1/pipe/session/"+a.text("session_id")
		})
	}
	group.Wait()
	count := 0
	for n, leads := range leaders {
		if leads {
			count++
			f.want(f.ask(n%2, "DELETE", paths[n], ""), 200)
			paths[n] = ""
		}
	}
	if count != 1 {
		t.Fatalf("%d leaders", count)
	}
	terms := make([]float64, len(paths))
	for n, path := range paths {
		if path == "" {
			continue
		}
		group.Go(func() {
			if a := f.ask((n+1)%2, "POST", path+"/heartbeat", ""); a.status != 200 {
				t.Errorf("%v", a.body)
			} else if a.text("role") == "leader" {
				terms[n] = a.number("term")
			}
		})
	}
	group.Wait()
	count = 0
	for _, term := range terms {
		if term != 0 {
			count++
			if term != 2 {
				t.Errorf("term %v", term)
			}
		}
	}
	if count != 1 {
		t.Errorf("%d new leaders", count)
	}
}

func TestIdleViewCost(t *testing.T) {
	f := newFixture(t, 1)
	leader, _ := f.create(0, "a")
	follower, _ := f.create(0, "b")
	before := f.ingests[0].counted.Counts()
	const beats = 30
	for range beats {
		f.clock.Advance(10 * time.Second)
		f.want(f.ask(0, "POST", leader+"/heartbeat", `{"can_realtime":false,"agent_status":{"n":1,"last_scan":{"scan":"snapshot"}}}`), 200)
		f.want(f.ask(0, "POST", follower+"/heartbeat", `{"can_realtime":false,"agent_status":{"n":1,"last_scan":{"scan":"snapshot"}}}`), 200)
	}
	cost := f.ingests[0].counted.Counts().Sub(before)
	if cost.Put != beats+1 || cost.List != 0 || cost.Delete != 0 || cost.Get > 2*beats+beats/6 { // the lease, the leader's bell; once a minute the settings
		t.Errorf("%d heartbeats of two sessions cost %+v", beats, cost)
	}
}
