package query

import (
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
)

// TestSilentLeaderIsNamed: where a leader gets nothing done, a view that waits for its first scan says so, and so does /sessions. The
// one that lost the lease for it is shown with it, too.
func TestSilentLeaderIsNamed(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	f.now = f.now.Truncate(time.Second)
	since := f.now.Add(-5 * time.Minute)
	f.put(layout.Roster(testView), session.Roster{Nonce: "n", Sessions: map[string]session.RosterEntry{"a": {Agent: "host-a"}, "b": {Agent: "host-b"}}}, 0)
	f.put(layout.Session(testView, "a"), session.Record{ID: "a", View: testView, Agent: "host-a", TimeoutSeconds: 30, Nonce: "n"}, 5*time.Second)
	f.put(layout.Session(testView, "b"), session.Record{ID: "b", View: testView, Agent: "host-b", TimeoutSeconds: 30, Nonce: "n",
		Silence: &session.Silence{Since: since.UnixNano(), Owes: session.OwesScan, Term: 4}}, 5*time.Second)
	work := &session.Work{Done: "1 2", Since: since.UnixNano(), Owes: session.OwesSegments}
	f.put(layout.Lease(testView), session.Lease{Term: 5, Session: "a", TTLSeconds: 30, Work: work}, 4*time.Second)

	sessions := f.call("sessions").is(200).object()["active_sessions"].([]any)
	for i, want := range []struct {
		term float64
		owes string
		why  string
	}{{5, "segments", "it sends none of the segments that wait"}, {4, "scan", "it makes no progress with its scan"}} {
		silence, _ := sessions[i].(map[string]any)["silence"].(map[string]any)
		if silence["term"] != want.term || silence["owes"] != want.owes || silence["reason"] != want.why || silence["since"] != float64(since.Unix()) {
			t.Errorf("session %d: %v", i, silence)
		}
	}
	page := string(f.get("/state/" + testView).is(200).body)
	for _, want := range []string{"it leads, and last got something done 5 minutes ago: it sends none", "it lost the lease, as it last got something done 5 minutes ago: it makes no progress"} {
		if !strings.Contains(page, want) {
			t.Errorf("the state page lacks %q", want)
		}
	}

	f.commit(testView, func(m *manifest.Manifest) { m.Scan.SnapshotDone = 0 })
	f.now = f.now.Add(2 * time.Second)
	hint := func(want string) {
		t.Helper()
		if got, _ := f.call("stats").problem(503, "first scan")["hint"].(string); !strings.Contains(got, want) {
			t.Errorf("the hint is %q", got)
		}
	}
	hint(`agent "host-a" leads the view and has got nothing done since ` + since.UTC().Format(time.RFC3339) + ": it sends none of the segments that wait")

	work.Owes = ""
	f.put(layout.Lease(testView), session.Lease{Term: 5, Session: "a", TTLSeconds: 30, Work: work}, 4*time.Second)
	f.now = f.now.Add(2 * time.Second)
	hint("/sessions shows which agent scans")
}
