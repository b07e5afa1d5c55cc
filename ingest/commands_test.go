package ingest

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/manifest"
)

func (f *fixture) job(session, path string) *job.Job {
	f.t.Helper()
	j, err := job.Ask(f.t.Context(), f.store, job.Job{View: view, Session: session, Path: []byte(path), Recursive: true}, f.clock.Now().UnixNano(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	return j
}

func commandsOf(a answer) (ids []string) {
	list, _ := a.body["commands"].([]any)
	for _, c := range list {
		ids = append(ids, c.(map[string]any)["id"].(string))
	}
	return ids
}

// The leader gets the job with its next heartbeat, and until it says that it works on it; a follower never does.
func TestJobsGoToTheLeader(t *testing.T) {
	f := newFixture(t, 1)
	leader, id := f.create(0, "a")
	follower, _ := f.create(0, "b")
	j := f.job(id, "/x")
	for range 2 {
		a := f.want(f.ask(0, "POST", leader+"/heartbeat", ``), 200)
		if got := commandsOf(a); len(got) != 1 || got[0] != j.ID {
			t.Fatalf("the leader is told %v", a.body["commands"])
		}
	}
	if got := commandsOf(f.want(f.ask(0, "POST", follower+"/heartbeat", ``), 200)); len(got) != 0 {
		t.Fatalf("a follower is told %v", got)
	}
	report := func(session, state string) answer {
		return f.ask(0, "POST", session+"/jobs/"+j.ID, fmt.Sprintf(`{"for_session_id":%q,"state":%q,"files":3,"last_seq":4}`, id, state))
	}
	f.want(report(leader, "running"), 200)
	if got := commandsOf(f.want(f.ask(0, "GET", leader+"/commands", ``), 200)); len(got) != 0 {
		t.Fatalf("while it works on it, the leader is told %v", got)
	}
	f.want(report(leader, "sleeping"), 400)
	f.want(f.ask(0, "POST", leader+"/jobs/nothing", fmt.Sprintf(`{"for_session_id":%q,"state":"done"}`, id)), 404)

	// The leader goes; the next takes over what it left.
	f.want(f.ask(0, "DELETE", leader, ``), 200)
	if got := commandsOf(f.want(f.ask(0, "POST", follower+"/heartbeat", ``), 200)); len(got) != 1 || got[0] != j.ID {
		t.Fatalf("the new leader is told %v", got)
	}
	f.want(report(leader, "done"), 419)
	f.want(report(follower, "done"), 200)
	if got := commandsOf(f.want(f.ask(0, "POST", follower+"/heartbeat", ``), 200)); len(got) != 0 {
		t.Fatalf("after the end, the new leader is told %v", got)
	}
	done, err := job.Get(t.Context(), f.store, view, j.ID)
	if err != nil || done.State != job.Done || done.Files != 3 || done.LastSeq != 4 {
		t.Fatalf("the job is %+v, %v", done, err)
	}

	// From then on, nothing is listed.
	before := f.ingests[0].counted.Counts()
	for range 5 {
		f.want(f.ask(0, "POST", follower+"/heartbeat", ``), 200)
	}
	if cost := f.ingests[0].counted.Counts().Sub(before); cost.List != 0 {
		t.Fatalf("idle heartbeats cost %+v", cost)
	}

	// Jobs that ended long ago are deleted when the next one comes.
	f.clock.Advance(keepJobs + time.Hour)
	next, id := f.create(0, "c")
	f.job(id, "/y")
	f.want(f.ask(0, "POST", next+"/heartbeat", ``), 200)
	if jobs, err := job.List(t.Context(), f.store, view); err != nil || len(jobs) != 1 {
		t.Fatalf("jobs are %v, %v", jobs, err)
	}
}

// A call that waits is answered as soon as there is a job, and after its time if there is none.
func TestWaitingForCommands(t *testing.T) {
	f := newFixture(t, 1)
	leader, id := f.create(0, "a")
	got := make(chan answer, 1)
	began := time.Now()
	go func() { got <- f.ask(0, "GET", leader+"/commands?wait=30", ``) }()
	j := f.job(id, "/x")
	if a := <-got; len(commandsOf(a)) != 1 || commandsOf(a)[0] != j.ID || time.Since(began) > 10*time.Second {
		t.Fatalf("after %v it is told %v", time.Since(began), a.body)
	}
	f.want(f.ask(0, "GET", leader+"/commands?wait=31", ``), 400)
	f.want(f.ask(0, "GET", leader+"/commands?weight=1", ``), 400)
	f.want(f.ask(0, "GET", "/api/v1/pipe/session/nobody/commands", ``), 419)
}

func TestSentinelTasks(t *testing.T) {
	f := newFixture(t, 1)
	tasks := func() answer { return f.want(f.ask(0, "GET", "/api/v1/pipe/consistency/sentinel/tasks", ``), 200) }
	if a := tasks(); a.body["paths"] != nil || a.body["type"] != nil {
		t.Fatalf("a view without a version has tasks: %v", a.body)
	}
	now := f.clock.Now().UnixNano()
	m := &manifest.Manifest{Format: manifest.Format, View: view, Version: 1, Nonce: "n", Suspects: []manifest.Suspect{
		{Path: []byte("/a\xff"), Until: now + 60e9}, {Path: []byte("/old"), Until: now - 1e9}}}
	body, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.Put(t.Context(), "views/"+view+"/head", body); err != nil {
		t.Fatal(err)
	}
	a := tasks()
	if a.body["type"] != "suspect_check" || len(a.body["paths"].([]any)) != 1 || !strings.HasPrefix(a.body["paths"].([]any)[0].(string), "/a") || len(a.body["paths_bytes"].([]any)) != 1 {
		t.Fatalf("tasks are %v", a.body)
	}
	f.want(f.ask(0, "POST", "/api/v1/pipe/consistency/sentinel/feedback", `{"type":"suspect_update","updates":[{"path":"/a","mtime":1}]}`), 200)
}
