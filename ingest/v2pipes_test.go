package ingest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/viewconfig"
)

// askV2 asks as a client of Fustor V2 does, and returns the status and the body.
func (f *fixture) askV2(key, method, path, body string) (int, string) {
	f.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-API-Key", key)
	w := httptest.NewRecorder()
	f.ingests[0].Handler().ServeHTTP(w, r)
	if kind := w.Header().Get("Content-Type"); kind != "application/json" {
		f.t.Errorf("%s %s: %s", method, path, kind)
	}
	return w.Code, strings.TrimSpace(w.Body.String())
}

// TestPipesOfV2: under /v2 the pipe side has V2's shapes and errors, and an agent whose base URL that is works.
func TestPipesOfV2(t *testing.T) {
	f := newFixture(t, 1)
	want := func(path, body string) {
		t.Helper()
		if status, got := f.askV2(agentKey, "GET", path, ""); status != 200 || got != body {
			t.Errorf("%s: %d %s\nnot %s", path, status, got, body)
		}
	}
	idle := `{"id":"research","view_id":"research","state":"RUNNING","info":"no session leads the view","active_sessions":0,"leader_session":null,` +
		`"statistics":{"events_received":0,"events_processed":0,"errors":0},"queue_size":0}`
	if status, _ := f.askV2("", "GET", "/v2/", ""); status != 200 {
		t.Errorf("the greeting: %d", status)
	}
	for _, base := range V2Bases {
		want(base+"/pipes", `{"research":`+idle+`}`)
		want(base+"/pipes/research/", idle)
		want(base+"/stats", `{"events_received":0,"events_processed":0,"errors":0}`)
	}
	status, created := f.askV2(agentKey, "POST", "/v2/api/v1/pipe/session/", `{"task_id":"host:pipe","source_type":"fs","client_info":{"source_uri":null}}`)
	if status != 200 || !strings.Contains(created, `"role":"leader"`) {
		t.Fatalf("a session: %d %s", status, created)
	}
	id := strings.Split(created[strings.Index(created, `"session_id":"`)+14:], `"`)[0]
	for _, events := range []string{"/v2/api/v1/pipe/ingest/" + id + "/events", "/v2/pipe/" + id + "/events"} {
		if status, body := f.askV2(agentKey, "POST", events, `{"session_id":"`+id+`","events":[],"source_type":"message"}`); status != 200 || strings.Contains(body, "success") != strings.HasPrefix(events, "/v2/pipe/") {
			t.Errorf("%s: %d %s", events, status, body)
		}
	}
	_, err := manifest.Commit(t.Context(), f.store, &manifest.Manifest{Format: manifest.Format, View: view, Version: 1, Nonce: "n", Reason: "fold",
		Counted: manifest.Counted{Events: 12}, Sessions: map[string]manifest.Progress{"x": {Broken: true}}}, "")
	if err != nil {
		t.Fatal(err)
	}
	want("/v2/api/v1/pipe/pipes/research", `{"id":"research","view_id":"research","state":"RUNNING","info":"session `+id+` leads the view","active_sessions":1,`+
		`"leader_session":"`+id+`","statistics":{"events_received":12,"events_processed":12,"errors":1},"queue_size":0}`)
	for path, status := range map[string]int{"/v2/api/v1/pipe/pipes/other": 403, "/v2/api/v1/pipe/nothing": 404, "/v2/pipe/pipes?view=other": 403} {
		if got, body := f.askV2(agentKey, "GET", path, ""); got != status || !strings.HasPrefix(body, `{"detail":`) {
			t.Errorf("%s: %d %s, not %d", path, got, body, status)
		}
	}
	if status, body := f.askV2(manyKey, "GET", "/v2/pipe/pipes", ""); status != 200 || !strings.Contains(body, `"research":{"id":"research"`) || !strings.Contains(body, `"other":{"id":"other"`) {
		t.Errorf("a key for two views: %d %s", status, body)
	}
	if err := viewconfig.Save(t.Context(), f.store, viewconfig.Default(view)); err != nil {
		t.Fatal(err)
	}
	for call, want := range map[string]string{"pipes": `{"research":{`, "stats": `{"events_received":12,`} {
		if status, body := f.askV2(adminKey, "GET", "/v2/api/v1/pipe/"+call, ""); status != 200 || !strings.HasPrefix(body, want) {
			t.Errorf("a key for all views: %d %s", status, body)
		}
	}
	r := httptest.NewRequest(http.MethodOptions, "/v2/api/v1/pipe/pipes", nil)
	r.Header.Set("Origin", "https://a.example")
	r.Header.Set("Access-Control-Request-Method", "GET")
	w := httptest.NewRecorder()
	f.ingests[0].Handler().ServeHTTP(w, r)
	if w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a preflight: %d %v", w.Code, w.Header())
	}
}
