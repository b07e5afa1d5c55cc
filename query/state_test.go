package query

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
)

// TestStatePage: one page shows the agents of a view, their problems, and the uncertain entries.
func TestStatePage(t *testing.T) {
	f := newFixture(t)
	doubtfulView(t, f, 1)
	page := func(wanted ...string) string {
		t.Helper()
		body := string(f.get("/state/research").is(200).body)
		for _, want := range wanted {
			if !strings.Contains(body, want) {
				t.Errorf("the page lacks %q: %s", want, body)
			}
		}
		return body
	}
	page("No agent is connected to this view", "Files that may still be written to (1)", "f00200", "Changes that no agent reported (2)", "f00100", "f00590",
		"Deletions that no agent reported (1)", "f00005")

	f.putJSON(layout.Roster(testView), `{"sessions":{"a":{},"b":{}},"nonce":"n"}`)
	status := map[string]any{
		"state": "watching", "watch_method": "inotify", "backlog_bytes": 3 << 20, "root_lost": "stale file handle", "spool_error": "no space left on device",
		"scan": map[string]any{"scan": "audit", "seconds": 100}, "directories": 1000, "files": 20000, "last_scan": map[string]any{"directories": 4000},
		"hanging": 2, "hanging_path": "/data/slow", "tasks": map[string]any{"audit": map[string]any{"error": "<b>broken</b>"}},
		"read_errors": map[string]any{"permission": map[string]any{"count": 12, "example": "/data/secret"}},
	}
	of := func(id string, said map[string]any) session.Record {
		status := &pipeapi.AgentStatus{}
		if body, err := json.Marshal(said); err != nil || json.Unmarshal(body, status) != nil {
			t.Fatal(said, err)
		}
		return session.Record{ID: id, View: testView, Agent: "host-" + id, Source: "fs://" + id, TimeoutSeconds: 30, AgentStatus: status, Nonce: "n"}
	}
	a, b := of("a", map[string]any{"coverage": "realtime-hotset"}), of("b", status)
	f.put(layout.Session(testView, "a"), a, 5*time.Second)
	f.put(layout.Session(testView, "b"), b, 5*time.Second)
	f.put(layout.Lease(testView), session.Lease{Term: 5, Session: "b", TTLSeconds: 30}, 4*time.Second)
	body := page("<b>leader</b>", "inotify", "3.0 MiB", "The root directory is not available: stale file handle", "2 paths, for example /data/slow", "Cannot write to the spool: no space left",
		"Task audit failed: &lt;b&gt;broken&lt;/b&gt;", "Cannot read 12 paths (permission), for example /data/secret", `<td class="when">watching</td>`, "audit: 1,000 of about 4,000 directories, 20,000 files, 0 entries/s, for 1m40s, about 5m0s left", "realtime-hotset", "4 seconds ago")
	if strings.Index(body, "host-b") > strings.Index(body, "host-a") || strings.Contains(body, "No agent leads") {
		t.Errorf("the leader does not come first: %s", body)
	}

	f.put(layout.Lease(testView), session.Lease{Term: 5, Session: "b", TTLSeconds: 30}, 31*time.Second)
	page("No agent leads this view at the moment")
	a.Paused, b.Paused = true, true
	b = of("b", map[string]any{"state": 5, "tasks": "none"}) // of a version that nobody knows
	b.Paused = true
	f.put(layout.Session(testView, "a"), a, 5*time.Second)
	f.put(layout.Session(testView, "b"), b, 5*time.Second)
	page("because all agents are paused", "paused")

	f.commit(testView, func(m *manifest.Manifest) { m.Live = true })
	page("No agent leads") // a view that is not read without a leader shows why
	f.do("GET", "/state/research", "", "X-API-Key", otherKey).is(403)
	f.get("/state/nothing").is(404)
}
