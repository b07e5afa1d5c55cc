package query

import (
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
)

// lead has a session lead the view, for long enough that every call knows it.
func (f *fixture) lead(session string) {
	f.t.Helper()
	f.begin(session)
	f.now = f.now.Add(2 * time.Second)
}

// begin has a session begin to lead the view.
func (f *fixture) begin(session string) {
	f.t.Helper()
	f.putJSON(layout.Roster(testView), `{"sessions":{"`+session+`":{}},"nonce":"n"}`)
	f.putJSON(layout.Lease(testView), `{"term":1,"session_id":"`+session+`","nonce":"n","ttl_s":1e9}`)
}

// A scan on demand is a job of the leader's; it is done once its results are in the view.
func TestScanOnDemand(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	f.call("tree", "on_demand_scan", "true").problem(http.StatusServiceUnavailable, "no agent leads")
	f.call("jobs").is(http.StatusOK)
	f.begin("s1") // at once a scan is taken, though a call has just seen that none leads

	a := f.call("tree", "path", "/docs", "on_demand_scan", "true").is(http.StatusOK)
	node := a.object()
	asked, ok := node["job"].(map[string]any)
	if !ok || asked["state"] != "queued" || asked["path"] != "/docs" || node["path"] != "/docs" || a.header.Get("Fustor-Job") != asked["job_id"] {
		t.Fatalf("the answer is %v", node)
	}
	id := asked["job_id"].(string)
	if again := f.call("tree", "path", "/docs/link", "on_demand_scan", "true").object()["job"].(map[string]any); again["job_id"] != id {
		t.Fatalf("a scan below one that waits is another: %v", again)
	}
	f.now = f.now.Add(time.Second)
	if gone := f.call("tree", "path", "/new", "on_demand_scan", "true").is(http.StatusAccepted).object(); gone["job"] == nil {
		t.Fatalf("a path that is not known: %v", gone)
	}
	state := func() any { return f.call("jobs/" + id).is(http.StatusOK).object()["state"] }
	report := func(r job.Report) {
		t.Helper()
		r.For = "s1"
		if _, err := job.Apply(t.Context(), f.st, testView, id, "s1", r, f.now.UnixNano(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	report(job.Report{State: job.Running, Files: 3})
	if got := state(); got != "running" {
		t.Fatalf("it is %v", got)
	}
	last := int64(4)
	f.commit(testView, func(m *manifest.Manifest) { m.Sessions = map[string]manifest.Progress{"s1": {Next: 4}} })
	report(job.Report{State: job.Done, Files: 3, LastSeq: &last})
	if got := state(); got != "folding" {
		t.Fatalf("before its last segment is folded it is %v", got)
	}
	f.commit(testView, func(m *manifest.Manifest) { m.Sessions["s1"] = manifest.Progress{Next: 5} })
	if got := state(); got != "done" {
		t.Fatalf("after that it is %v", got)
	}
	if all := f.call("jobs").object(); all["count"] != 2.0 || all["jobs"].([]any)[0].(map[string]any)["path"] != "/new" {
		t.Fatalf("jobs are %v", all)
	}
	f.call("jobs/nothing").problem(http.StatusNotFound, "job")
}

func TestTooManyJobs(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	f.lead("s1")
	for i := range maxUnfinishedJobs {
		if _, err := job.Ask(t.Context(), f.st, job.Job{View: testView, Session: "s1", Path: []byte("/x" + string(rune('A'+i))), Recursive: true}, int64(i)+1, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	f.call("tree", "on_demand_scan", "true").problem(http.StatusTooManyRequests, "are waiting")
}
