package ingest

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/session"
)

// admin asks with the admin's key.
func (f *fixture) admin(path, body string) answer {
	f.t.Helper()
	return f.send(f.ingests[0], adminKey, "POST", path+"/commands?view="+view, []byte(body))
}

func (f *fixture) jobState(id string) *job.Job {
	f.t.Helper()
	j, err := job.Get(f.t.Context(), f.store, view, id)
	if err != nil {
		f.t.Fatal(err)
	}
	return j
}

// A command reaches the session that is meant, leader or follower, and no other; it is told again until the agent reports.
func TestCommandsGoToTheirSession(t *testing.T) {
	f := newFixture(t, 1)
	leader, leaderID := f.create(0, "a")
	follower, followerID := f.create(0, "b")
	told := func(session string) []string {
		t.Helper()
		return commandsOf(f.want(f.ask(0, "POST", session+"/heartbeat", ``), 200))
	}
	told(leader)
	asked := f.want(f.admin(follower, `{"command":"pause"}`), 200)
	id := asked.text("job_id")
	if asked.text("state") != "queued" || asked.text("session_id") != followerID || asked.text("command") != "pause" {
		t.Fatalf("the answer is %v", asked.body)
	}
	f.clock.Advance(15 * time.Second)
	if got := told(leader); len(got) != 0 {
		t.Fatalf("the leader is told %v", got)
	}
	for range 2 {
		a := f.want(f.ask(0, "POST", follower+"/heartbeat", ``), 200)
		if got := commandsOf(a); len(got) != 1 || got[0] != id {
			t.Fatalf("the follower is told %v", a.body["commands"])
		}
		c := a.body["commands"].([]any)[0].(map[string]any)
		if c["type"] != "pause" || c["target_session_id"] != followerID || c["requested_by"] != "admin" {
			t.Fatalf("the command is %v", c)
		}
	}
	if got := commandsOf(f.want(f.ask(0, "GET", follower+"/commands", ``), 200)); len(got) != 1 {
		t.Fatalf("who waits for commands is told %v", got)
	}
	f.want(f.ask(0, "POST", follower+"/jobs/"+id, fmt.Sprintf(`{"for_session_id":%q,"state":"done","note":"it was paused already"}`, followerID)), 200)
	if got := told(follower); len(got) != 0 {
		t.Fatalf("afterwards it is told %v", got)
	}
	if j := f.jobState(id); j.State != job.Done || j.Note != "it was paused already" || j.By != "admin" || j.Runner != followerID {
		t.Fatalf("the job is %+v", j)
	}

	// A scan through one session is that session's, and those for whoever leads are the leader's: in the order in which they came.
	scan := f.want(f.admin(leader, `{"command":"scan","path":"/x","recursive":false}`), 200).text("job_id")
	f.clock.Advance(time.Second)
	whoever := f.job(leaderID, "/y").ID
	f.clock.Advance(15 * time.Second)
	if got := told(leader); len(got) != 2 || got[0] != scan || got[1] != whoever {
		t.Fatalf("the leader is told %v; want %s, %s", got, scan, whoever)
	}
	if got := told(follower); len(got) != 0 {
		t.Fatalf("the follower is told %v", got)
	}
	if j := f.jobState(scan); string(j.Path) != "/x" || j.Recursive {
		t.Fatalf("the scan is %+v", j)
	}
}

// A command whose session ends, or whose agent is too old to know it, fails in words and does not wait for ever.
func TestCommandsThatNobodyTakesUp(t *testing.T) {
	f := newFixture(t, 1)
	leader, _ := f.create(0, "a")
	gone, _ := f.create(0, "b")
	old, _ := f.create(0, "c")
	ofGone := f.want(f.admin(gone, `{"command":"reload"}`), 200).text("job_id")
	ofOld := f.want(f.admin(old, `{"command":"reload"}`), 200).text("job_id")
	f.want(f.ask(0, "DELETE", gone, ``), 200)
	f.want(f.ask(0, "POST", leader+"/heartbeat", ``), 200)
	if j := f.jobState(ofGone); j.State != job.Failed || !strings.Contains(j.Error, "ended") {
		t.Errorf("of the session that ended: %+v", j)
	}
	if j := f.jobState(ofOld); j.State != job.Queued {
		t.Errorf("of the one that lives: %+v", j)
	}
	for range 50 { // it lives on, and says nothing of the command
		f.clock.Advance(14 * time.Second)
		f.want(f.ask(0, "POST", leader+"/heartbeat", ``), 200)
		f.want(f.ask(0, "POST", old+"/heartbeat", ``), 200)
	}
	if j := f.jobState(ofOld); j.State != job.Failed || !strings.Contains(j.Error, "did not begin this within") {
		t.Errorf("of the one that is old: %+v", j)
	}
	f.want(f.admin(gone, `{"command":"reload"}`), 419)
}

func TestCommandsThatAreRefused(t *testing.T) {
	f := newFixture(t, 1)
	leader, id := f.create(0, "a")
	for body, status := range map[string]int{
		`{"command":"dance"}`: 400, `{}`: 400, ``: 400, `{"command":"pause","path":"/x"}`: 400, `{"command":"pause","pace":1}`: 400,
		`{"command":"scan","path":"x"}`: 400, `{"command":"scan","path_b64":"*"}`: 400, `{"command":"scan","path":"/a","path_b64":"L2E"}`: 400,
		`{"command":"scan"}`: 200, `{"command":"scan","path_b64":"L_8"}`: 200,
	} {
		if a := f.admin(leader, body); a.status != status {
			t.Errorf("%s: %d %v", body, a.status, a.body)
		}
	}
	f.want(f.ask(0, "POST", leader+"/commands", `{"command":"pause"}`), 403)
	for range maxOpenJobs {
		if _, err := job.Ask(t.Context(), f.store, job.Job{View: view, Session: id}, f.clock.Now().UnixNano(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	if a := f.want(f.admin(leader, `{"command":"pause"}`), 429); a.text("hint") == "" {
		t.Errorf("%v", a.body)
	}
}

// While nothing is asked for, followers whose leader beats through the same process cost no request of their own for
// commands, and nothing is listed; a view whose only session is paused costs one conditional GET a heartbeat.
func TestIdleCommandsCostNothing(t *testing.T) {
	f := newFixture(t, 1)
	leader, _ := f.create(0, "a")
	follower, _ := f.create(0, "b")
	id := f.want(f.admin(follower, `{"command":"reload"}`), 200).text("job_id")
	f.want(f.ask(0, "POST", follower+"/jobs/"+id, fmt.Sprintf(`{"for_session_id":%q,"state":"done"}`, strings.TrimPrefix(follower, "/api/v1/pipe/session/"))), 200)
	beats := func(n int, paths ...string) (gets, lists uint64) {
		before := f.ingests[0].counted.Counts()
		for range n {
			for _, path := range paths {
				f.clock.Advance(15 * time.Second / time.Duration(len(paths)))
				f.want(f.ask(0, "POST", path+"/heartbeat", `{"agent_status":{"last_scan":{"scan":"snapshot"}},"paused":`+fmt.Sprint(path == follower)+`}`), 200)
			}
		}
		c := f.ingests[0].counted.Counts().Sub(before)
		return c.Get, c.List
	}
	beats(2, leader, follower) // the bell is heard, the follower's pause written
	if gets, lists := beats(10, leader, follower); lists != 0 || gets > 21+3 {
		t.Errorf("10 heartbeats of a leader and of a follower: %d GETs, %d LISTs; want 10 of the bell by the leader, 10 of the lease by the follower, 3 of the settings", gets, lists)
	}
	f.want(f.ask(0, "DELETE", leader, ``), 200)
	beats(1, follower)
	if gets, lists := beats(10, follower); lists != 0 || gets > 21+3 {
		t.Errorf("10 heartbeats of a paused session alone: %d GETs, %d LISTs", gets, lists)
	}
	o, err := session.List(t.Context(), f.store, view)
	if err != nil || o.Leader != "" {
		t.Errorf("a paused session leads: %+v, %v", o, err)
	}
}

// A status of absurd size costs an agent neither its session nor its state.
func TestStatusOfAbsurdSize(t *testing.T) {
	f := newFixture(t, 1)
	path, id := f.create(0, "a")
	f.want(f.ask(0, "POST", path+"/heartbeat", fmt.Sprintf(`{"agent_status":{"state":"audit","junk":%q}}`, strings.Repeat("x", 20<<10))), 200)
	o, err := session.List(t.Context(), f.store, view)
	if err != nil || o.Sessions[0].Record.ID != id || o.Sessions[0].Record.AgentStatus.State != "audit" || o.Sessions[0].Record.AgentStatus.Omitted == "" {
		t.Errorf("%+v, %v", o, err)
	}
	f.want(f.ask(0, "POST", path+"/heartbeat", fmt.Sprintf(`{"agent_status":{"junk":%q}}`, strings.Repeat("x", 300<<10))), 413)
	f.want(f.ask(0, "POST", path+"/heartbeat", ``), 200)
}
