package ingest

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/admin"
)

// admins asks an administrator's call; what is not JSON, as an empty answer, has no body.
func (f *fixture) admins(key, method, path, body string) answer {
	f.t.Helper()
	r := httptest.NewRequest(method, admin.Prefix+path, strings.NewReader(body))
	r.Header.Set("X-API-Key", key)
	w := httptest.NewRecorder()
	f.ingests[0].Handler().ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header()}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &a.body); err != nil {
			f.t.Fatalf("%s %s: %d %q", method, path, w.Code, w.Body)
		}
	}
	return a
}

// A key is told once, works at once, and no more when it is revoked or expired, within the time that is promised.
func TestKeysOverHTTP(t *testing.T) {
	f := newFixture(t, 2)
	made := f.want(f.admins(adminKey, "POST", "/keys", `{"name":"nfs07","roles":["ingest"],"views":["research"]}`), 201)
	key, id := made.text("api_key"), made.text("id")
	works := func(n int) bool {
		r := httptest.NewRequest("GET", "/api/v1/pipe/session?view=research", nil)
		r.Header.Set("X-API-Key", key)
		w := httptest.NewRecorder()
		f.ingests[n].Handler().ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 401 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		return w.Code == 200
	}
	if !works(0) || !works(1) {
		t.Fatal("a new key does not work")
	}
	listed := f.want(f.admins(adminKey, "GET", "/keys", ""), 200)
	if text, _ := json.Marshal(listed.body); strings.Contains(string(text), key) || !strings.Contains(string(text), id) {
		t.Errorf("the list is %s", text)
	}
	f.want(f.admins(adminKey, "DELETE", "/keys/"+id, ""), 200)
	f.clock.Advance(access.KnownFor + time.Millisecond)
	if works(0) || works(1) {
		t.Error("a revoked key works beyond the promised time")
	}
	f.want(f.admins(adminKey, "DELETE", "/keys/"+id, ""), 404)

	expires := f.clock.Now().Add(time.Hour).UnixNano()
	body, _ := json.Marshal(map[string]any{"name": "guest", "roles": []string{"ingest"}, "views": "*", "expires_at_ns": expires})
	key = f.want(f.admins(adminKey, "POST", "/keys", string(body)), 201).text("api_key")
	if !works(0) {
		t.Error("a key that will expire does not work")
	}
	f.clock.Advance(time.Hour)
	if works(0) {
		t.Error("an expired key works")
	}
	for _, bad := range []string{`{}`, `{"name":"a","roles":["root"],"views":"*"}`, `{"name":"a","roles":["query"],"views":[]}`, `{"name":"a","roles":["query"],"views":["../x"]}`,
		`{"name":"a","roles":["query"],"views":"*","expires_at_ns":1}`, `{"name":"a\nb","roles":["query"],"views":"*"}`, `{"name":"a","role":"query"}`} {
		f.want(f.admins(adminKey, "POST", "/keys", bad), 400)
	}
	if strings.Contains(f.log.String(), "fustor_") {
		t.Error("the log has a key")
	}
}

// Whoever administers one view can give away no more than that.
func TestAdminOfOneView(t *testing.T) {
	f := newFixture(t, 1)
	mine := f.want(f.admins(adminKey, "POST", "/keys", `{"name":"mine","roles":["admin"],"views":["research"]}`), 201).text("api_key")
	all := f.want(f.admins(adminKey, "POST", "/keys", `{"name":"everything","roles":["query"],"views":"*"}`), 201).text("id")
	both := f.want(f.admins(adminKey, "POST", "/keys", `{"name":"both","roles":["query"],"views":["research","other"]}`), 201).text("id")
	for _, body := range []string{`{"name":"x","roles":["query"],"views":"*"}`, `{"name":"x","roles":["query"],"views":["research","other"]}`} {
		f.want(f.admins(mine, "POST", "/keys", body), 403)
	}
	f.want(f.admins(mine, "POST", "/keys", `{"name":"x","roles":["admin"],"views":["research"]}`), 201)
	for _, id := range []string{all, both} {
		f.want(f.admins(mine, "DELETE", "/keys/"+id, ""), 404)
	}
	if n := f.want(f.admins(mine, "GET", "/keys", ""), 200).number("count"); n != 2 {
		t.Errorf("it sees %v keys, not its own two", n)
	}
	f.want(f.admins(adminKey, "POST", "/views", `{"view_id":"other"}`), 201)
	f.want(f.admins(mine, "POST", "/views", `{"view_id":"third"}`), 403)
	f.want(f.admins(mine, "POST", "/views", `{"view_id":"research","hot_s":5}`), 201)
	if n := f.want(f.admins(mine, "GET", "/views", ""), 200).number("count"); n != 1 {
		t.Errorf("it sees %v views", n)
	}
	f.want(f.admins(mine, "PATCH", "/views/research", `{"hot_s":-1}`), 400)
	f.want(f.admins(mine, "PATCH", "/views/research", `{"view_id":"other"}`), 400)
	f.want(f.admins(mine, "PATCH", "/views/research", `{"hott_s":1}`), 400)
	if got := f.want(f.admins(mine, "PATCH", "/views/research", `{"live":true}`), 200); got.number("hot_s") != 5 || got.body["live"] != true {
		t.Errorf("%v", got.body)
	}
	f.want(f.admins(adminKey, "PATCH", "/views/nothing", `{"live":true}`), 404)
}

// A reset ends the sessions, and the next ones know that their view is another.
func TestResetOverHTTP(t *testing.T) {
	f := newFixture(t, 2)
	first := f.want(f.ask(0, "POST", "/api/v1/pipe/session/", `{"task_id":"a"}`), 200)
	path := "/api/v1/pipe/session/" + first.text("session_id")
	epoch := f.want(f.ask(1, "POST", path+"/heartbeat", ""), 200).text("view_epoch")
	if epoch == "" || epoch != first.text("view_epoch") {
		t.Errorf("the epochs are %q and %q", first.text("view_epoch"), epoch)
	}
	reset := f.want(f.admins(adminKey, "POST", "/views/research/reset", ""), 200).text("epoch")
	for n := range 2 { // also the process that had nothing to do with it
		f.want(f.ask(n, "POST", path+"/heartbeat", ""), 419)
	}
	second := f.want(f.ask(1, "POST", "/api/v1/pipe/session/", `{"task_id":"a"}`), 200)
	if second.text("view_epoch") != reset || reset == epoch || second.body["is_leader"] != true || second.number("term") != 2 {
		t.Errorf("after the reset to %s: %v", reset, second.body)
	}
	view := f.want(f.admins(adminKey, "GET", "/views/research", ""), 200)
	if view.body["ready"] != false || view.number("live_sessions") != 1 || view.text("epoch") != reset {
		t.Errorf("%v", view.body)
	}
	f.want(f.admins(adminKey, "DELETE", "/views/research", ""), 409)
	f.want(f.admins(adminKey, "DELETE", "/views/research/sessions/"+second.text("session_id"), ""), 204)
	f.want(f.admins(adminKey, "DELETE", "/views/research/sessions/nothing", ""), 404)
	f.want(f.admins(adminKey, "POST", "/views/research/retention?dry_run=true", ""), 501) // none was given
	f.want(f.admins(adminKey, "GET", "/views/research/versions?limit=5", ""), 200)
	f.want(f.admins(adminKey, "GET", "/views/research/versions?limit=0", ""), 400)
	f.want(f.admins(adminKey, "POST", "/views/nothing/reset", ""), 404)
	f.want(f.admins(adminKey, "DELETE", "/views/research", ""), 200)
	f.want(f.admins(adminKey, "GET", "/views/research", ""), 404)
}

// The administrator's answers have the fields of the document.
func TestOpenAPIOfAdmins(t *testing.T) {
	f := newFixture(t, 1)
	var document map[string]any
	if err := json.Unmarshal(f.document(), &document); err != nil {
		t.Fatal(err)
	}
	schemas := document["components"].(map[string]any)["schemas"].(map[string]any)
	f.create(0, "a")
	f.want(f.admins(adminKey, "POST", "/views/research/reset", ""), 200)
	first := func(a answer, list string) map[string]any { return a.body[list].([]any)[0].(map[string]any) }
	f.want(f.admins(adminKey, "POST", "/keys", `{"name":"k","roles":["query"],"views":"*"}`), 201)
	history := f.admins(adminKey, "GET", "/views/research/versions", "")
	for name, got := range map[string]map[string]any{
		"AdminView": f.admins(adminKey, "GET", "/views/research", "").body, "ViewSettings": f.admins(adminKey, "POST", "/views", `{"view_id":"new"}`).body,
		"AdminSession": first(f.admins(adminKey, "GET", "/views/research/sessions", ""), "sessions"), "Key": first(f.admins(adminKey, "GET", "/keys", ""), "keys"),
		"History": history.body, "StoredVersion": first(history, "versions"),
	} {
		documented := schemas[name].(map[string]any)["properties"].(map[string]any)
		for field := range got {
			if documented[field] == nil {
				t.Errorf("%s has %s, which is not documented", name, field)
			}
		}
		optional := map[string]bool{"expires_at_ns": true, "damaged": true, "ended_reason": true, "members": true, "mounts": true, // members are of forests; most views have no mounts
			"root_squash": true, "trust_modes": true, "open_to": true, "as": true} // of views that squash root, and of the keys of users
		for field := range documented {
			if _, there := got[field]; !there && !optional[field] {
				t.Errorf("%s lacks %s", name, field)
			}
		}
	}
}
