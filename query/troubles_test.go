package query

import (
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/viewconfig"
)

// TestTroublesAreTold: what is wrong with a view stands in its head, and so in the answers, on the pages, and in what waits for it.
func TestTroublesAreTold(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	f.now = f.now.Truncate(time.Second)
	f.put(layout.Roster(testView), session.Roster{Nonce: "n", Sessions: map[string]session.RosterEntry{}}, 0)
	if a := f.call("stats").is(200).object(); a["troubles"] != nil {
		t.Errorf("nothing is wrong: %v", a["troubles"])
	}
	if a := f.call("sessions").is(200).object(); len(a["refused"].([]any)) != 0 || a["refused_count"] != 0.0 {
		t.Errorf("nothing was refused: %v", a)
	}
	f.commit(testView, func(m *manifest.Manifest) {
		m.SetTrouble(manifest.FoldsFail, "read /secret/segment: no space left on device", observed)
		m.Refuse(manifest.Refusal{Session: "s1", Seq: 3, Agent: "host-a", Reason: "segment views/…: it is damaged"})
		m.Refuse(manifest.Refusal{Session: "s2", Seq: 4, Agent: "host-b", Reason: "new names were left out", Names: 5})
		m.Refuse(manifest.Refusal{Session: "s2", Seq: 4, Agent: "host-b", Reason: "new names were left out", Names: 2})
		m.LeaveOut(7, 1000)
	})
	want := []string{"the compactor cannot fold what agents send, so nothing newer is shown: read /secret/segment: no space left on device",
		"the view is full: it may have 1,000 entries, and 7 new names since the last scan of everything were left out"}
	texts := func(of any) (texts []string) {
		all, _ := of.([]any)
		for _, one := range all {
			texts = append(texts, one.(map[string]any)["text"].(string))
		}
		return texts
	}
	equal(t, "/stats", texts(f.call("stats").is(200).object()["troubles"]), want)
	equal(t, "/views", texts(f.get("/api/v1/views").is(200).object()["views"].([]any)[0].(map[string]any)["troubles"]), want)
	user := f.do("GET", viewURL("stats"), "", "X-API-Key", adminKey, "Fustor-As", "1000:100").is(200)
	if got := texts(user.object()["troubles"]); len(got) != 2 || strings.Contains(string(user.body), "secret") || strings.Contains(got[1], "1,000") || strings.Contains(got[1], "7") {
		t.Errorf("a user is told %q", got)
	}
	for _, page := range []string{"/browse/" + testView, "/state/" + testView} {
		if body := string(f.get(page).is(200).body); !strings.Contains(body, want[0]) || !strings.Contains(body, want[1]) {
			t.Errorf("%s lacks what is wrong:\n%s", page, body)
		}
	}
	a := f.call("sessions").is(200).object()
	refused := a["refused"].([]any)
	if a["refused_count"] != 2.0 || len(refused) != 2 {
		t.Fatalf("refused: %v", a)
	}
	newest, oldest := refused[0].(map[string]any), refused[1].(map[string]any)
	if newest["segment"] != layout.Segment(testView, "s2", 4) || newest["names_left_out"] != 7.0 || newest["agent_id"] != "host-b" || oldest["names_left_out"] != nil || oldest["session_id"] != "s1" {
		t.Errorf("refused: %v", refused)
	}
	if body := string(f.get("/state/" + testView).is(200).body); !strings.Contains(body, "7 new names left out") || !strings.Contains(body, "it is damaged") {
		t.Errorf("the page of the state lacks what was refused:\n%s", body)
	}
	complete := f.call("complete", "path", "/").is(200).object()
	if codes := string(f.call("complete", "path", "/").is(200).body); complete["complete"] != false || !strings.Contains(codes, `"code":"full"`) {
		t.Errorf("a full view is complete: %s", codes)
	}

	// Before the first scan is complete.
	f.commit(testView, func(m *manifest.Manifest) { m.Scan.SnapshotDone = 0 })
	if detail, _ := f.call("stats").problem(503, "first scan")["detail"].(string); !strings.Contains(detail, "no space left on device") {
		t.Errorf("the first scan waits for folds that fail, and says %q", detail)
	}
}

// TestDamagedSettingsBeforeTheFirstVersion: a view without a head whose settings are damaged will not get one. It says so.
func TestDamagedSettingsBeforeTheFirstVersion(t *testing.T) {
	f := newFixture(t)
	f.put(layout.Roster("new"), session.Roster{Nonce: "n", Sessions: map[string]session.RosterEntry{"a": {Agent: "host-a"}}}, 0)
	f.get("/api/v1/views/new/stats").is(503)
	if _, err := f.st.Put(t.Context(), layout.ViewConfig("new"), []byte(`{"view_id":"new","hot_s":-1}`)); err != nil {
		t.Fatal(err)
	}
	f.turned.Add(int64(viewconfig.KnownFor))
	f.get("/api/v1/views/new/stats").problem(502, "hot_s")
	list := f.get("/api/v1/views").is(200).object()["views"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["state"] != "damaged" || !strings.Contains(list[0].(map[string]any)["error"].(string), "hot_s") {
		t.Errorf("the list of views: %v", list)
	}
}
