package query

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/viewconfig"
)

func (f *fixture) put(key string, v any, age time.Duration) {
	f.t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		f.t.Fatal(err)
	}
	f.putJSON(key, string(body))
	at := f.now.Add(-age)
	name := filepath.Join(strings.TrimPrefix(f.st.String(), "file://"), filepath.FromSlash(key))
	if err := os.Chtimes(name, at, at); err != nil {
		f.t.Fatal(err)
	}
}

// TestMounts: /sessions has the mounts of a view's settings, and of a forest those of all members.
func TestMounts(t *testing.T) {
	f := newFixture(t)
	f.put(layout.Lease(testView), session.Lease{Term: 1, Session: "gone", TTLSeconds: 30}, time.Hour) // it had a session once
	if mounts, ok := f.call("sessions").is(200).object()["mounts"].([]any); !ok || len(mounts) != 0 {
		t.Errorf("without the setting: %v", mounts)
	}
	f.put(layout.Lease("nfs01"), session.Lease{Term: 1, Session: "gone", TTLSeconds: 30}, time.Hour)
	c := viewconfig.Default("nfs01")
	c.Mounts = []string{"/srv/lab", "/mnt/lab"}
	if err := viewconfig.Save(t.Context(), f.st, c); err != nil {
		t.Fatal(err)
	}
	f.forest("all", "nfs01")
	if got := fmt.Sprint(f.of("nfs01", "sessions").is(200).object()["mounts"]); got != "[map[path:/srv/lab] map[path:/mnt/lab]]" {
		t.Error(got)
	}
	if got := fmt.Sprint(f.of("all", "sessions").is(200).object()["mounts"]); got != "[map[member:nfs01 path:/srv/lab] map[member:nfs01 path:/mnt/lab]]" {
		t.Error(got)
	}
	f.put(layout.ViewConfig("nfs01"), "damaged", 0)
	f.now = f.now.Add(2 * time.Minute) // past what is remembered
	if got := fmt.Sprint(f.of("nfs01", "sessions").is(200).object()["mounts"]); got != "[]" {
		t.Errorf("with damaged settings: %v", got)
	}
}

// TestSessions: the live ones, the leader by the lease alone, the ended and the silent left out.
func TestSessions(t *testing.T) {
	f := newFixture(t)
	f.now = f.now.Truncate(time.Second)
	roster := session.Roster{Nonce: "n", Sessions: map[string]session.RosterEntry{}}
	for id, s := range map[string]struct {
		age   time.Duration
		ended bool
	}{"leader": {time.Hour, false}, "follower": {10 * time.Second, false}, "silent": {time.Hour, false}, "ended": {time.Second, true}} {
		roster.Sessions[id] = session.RosterEntry{}
		f.put(layout.Session(testView, id), session.Record{ID: id, View: testView, Task: "task-" + id, Agent: "agent-" + id, Source: "fs://h/" + id,
			ClientIP: "10.0.0.1", TimeoutSeconds: 30, CanRealtime: id == "leader", CreatedAt: observed + int64(len(id)), Ended: s.ended, Nonce: "n"}, s.age)
	}
	roster.Sessions["unwritten"] = session.RosterEntry{}
	f.put(layout.Roster(testView), roster, 0)
	f.put(layout.Lease(testView), session.Lease{Term: 5, Session: "leader", TTLSeconds: 30}, 4*time.Second)

	got := f.call("sessions").is(200).object()
	sessions := got["active_sessions"].([]any)
	if got["count"] != 2.0 || len(sessions) != 2 || got["term"] != 5.0 || got["leader_session_id"] != "leader" || got["view_id"] != testView {
		t.Fatalf("%v", got)
	}
	leader, follower := sessions[0].(map[string]any), sessions[1].(map[string]any)
	now := float64(f.now.Unix())
	for field, want := range map[string]any{
		"session_id": "leader", "task_id": "task-leader", "agent_id": "agent-leader", "client_ip": "10.0.0.1", "source_uri": "fs://h/leader",
		"role": "leader", "term": 5.0, "can_snapshot": true, "can_audit": true, "can_realtime": true, "can_send": true,
		"session_timeout_seconds": 30.0, "last_activity": now - 4, "created_at": 1700000000.000000006,
	} {
		if leader[field] != want {
			t.Errorf("leader: %s is %v, not %v", field, leader[field], want)
		}
	}
	if follower["role"] != "follower" || follower["can_snapshot"] != false || follower["term"] != nil || follower["last_activity"] != now-10 {
		t.Errorf("follower: %v", follower)
	}

	f.put(layout.Lease(testView), session.Lease{Term: 5, Session: "leader", TTLSeconds: 30}, 31*time.Second)
	got = f.call("sessions").is(200).object()
	if got["count"] != 1.0 || got["leader_session_id"] != nil || got["term"] != 5.0 {
		t.Errorf("after the lease's end: %v", got)
	}
	f.putJSON(layout.Session(testView, "follower"), "{")
	f.call("sessions").problem(502, "follower.json")
	f.putJSON(layout.Roster(testView), `{"sessions":{"../../x":{}}}`)
	f.call("sessions").problem(502, "roster.json")
}
