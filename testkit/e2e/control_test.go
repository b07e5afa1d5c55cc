//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/wait"
)

// sessionNow is what GET /sessions tells of an agent.
type sessionNow struct {
	ID     string `json:"session_id"`
	Agent  string `json:"agent_id"`
	Role   string `json:"role"`
	Paused bool   `json:"paused"`
	Status struct {
		State   string `json:"state"`
		Version string `json:"version"`
		Paused  *struct {
			By string `json:"by"`
		} `json:"paused"`
		Rates *struct {
			Entries float64 `json:"entries_per_s"`
		} `json:"rates"`
		LastScan *struct {
			Directories int `json:"directories"`
		} `json:"last_scan"`
		Errors map[string]struct {
			Count   int    `json:"count"`
			Example string `json:"example"`
		} `json:"read_errors"`
		Backlog int `json:"backlog_bytes"`
	} `json:"agent_status"`
}

// sessionsOf are a view's live sessions, by agent.
func (s server) sessionsOf(t testing.TB) map[string]sessionNow {
	t.Helper()
	r := s.ask(t, "sessions", "--json")
	if r.code != 0 {
		t.Fatalf("sessions: %s", r.stderr)
	}
	now := map[string]sessionNow{}
	for line := range strings.Lines(r.stdout) {
		var one sessionNow
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		now[one.Agent] = one
	}
	return now
}

// TestRemoteCare has an admin pause, resume, reload, scan and stop pipes of two agents from afar. A pause hands the view over
// and loses nothing; it outlives a crash of the agent; the other pipes go on; no log tells the key.
func TestRemoteCare(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "fustor")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &parts{t: t, store: "file://" + filepath.Join(dir, "store"), env: []string{"FUSTOR_API_KEY=" + apiKey}}
	for _, view := range []string{"one", "two"} {
		c := viewconfig.Default(view)
		c.SessionTimeoutSeconds = 4 * patience(time.Second).Seconds()
		if err := viewconfig.Save(t.Context(), openStore(t, p.store), c); err != nil {
			t.Fatal(err)
		}
	}
	debug := func(env []string, args ...string) *process {
		return start(t, env, append(args, "--log-level", "debug")...)
	}
	p.ingest = debug(p.env, "ingest", "--store", p.store, "--listen", "127.0.0.1:0")
	p.query = debug(p.env, "query", "--store", p.store, "--listen", "127.0.0.1:0", "--log-format", "json")
	p.compact = debug(p.env, "compact", "--follow", "--store", p.store, "--view", "one")
	p.ingestURL = p.ingest.says(readyURL, 0)
	p.queryURL = p.query.says(regexp.MustCompile(`"msg":"query is ready","part":"query",.*"url":"([^"]+)"`), 0)
	one := server{"--url", p.queryURL, "--api-key", apiKey, "--view", "one"}
	two := server{"--url", p.queryURL, "--api-key", apiKey, "--view", "two"}
	care := func(args ...string) result {
		return one.ask(t, append([]string{"sessions", args[0], "--ingest", p.ingestURL}, args[1:]...)...)
	}

	root := filepath.Join(dir, "tree")
	for d := range 3 {
		if err := os.MkdirAll(filepath.Join(root, fmt.Sprint("d", d)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("d0/before", "x")
	files, agents := map[string]string{}, map[string]*process{}
	for _, id := range []string{"a", "b"} {
		files[id] = filepath.Join(dir, id+".yaml")
		writeFile(t, files[id], fmt.Sprintf(`{agent_id: %[1]s, state: %[2]s/%[1]s, senders: {main: {type: http, ingest: %[3]q, api_key: %[4]s}},
sources: {t: {path: %[2]s/tree}}, pipes: {first: {source: t, sender: main, view: one}, second: {source: t, sender: main, view: two}}}
`, id, dir, p.ingestURL, apiKey))
		agents[id] = debug(nil, "agent", "--config", files[id])
		eventually(t, patience(20*time.Second), "agent "+id+" has sessions", func() bool {
			return one.sessionsOf(t)[id].Status.State != "" && two.sessionsOf(t)[id].Status.State != ""
		})
	}
	is := func(what string, ok func(a, b sessionNow) bool) {
		t.Helper()
		eventually(t, patience(20*time.Second), what, func() bool {
			now := one.sessionsOf(t)
			return ok(now["a"], now["b"])
		})
	}
	is("a leads and tells of its scan", func(a, b sessionNow) bool {
		return a.Role == "leader" && b.Role == "follower" && a.Status.State == "watching" && a.Status.LastScan != nil && a.Status.LastScan.Directories == 4 &&
			a.Status.Rates != nil && a.Status.Version != ""
	})
	before := pipesOf(t, files["a"])

	// Pause, over HTTP. Another session leads; what happens meanwhile arrives by its scans and its kernel.
	request, err := http.NewRequest(http.MethodPost, p.ingestURL+"/api/v1/pipe/session/"+one.sessionsOf(t)["a"].ID+"/commands?view=one", strings.NewReader(`{"command":"pause"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"X-Api-Key": {apiKey}, "Content-Type": {"application/json"}}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if response.StatusCode != 200 || !strings.Contains(string(body), `"state":"queued"`) {
		t.Fatalf("%d %s", response.StatusCode, body)
	}
	is("a is paused, and b leads", func(a, b sessionNow) bool {
		return a.Paused && a.Role == "follower" && a.Status.State == "paused" && a.Status.Paused != nil && strings.Contains(a.Status.Paused.By, "given at start") && b.Role == "leader"
	})
	began := time.Now()
	write("d1/meanwhile", "abc")
	one.equal(t, root, began, patience(20*time.Second))
	is("a keeps what it saw, and sends nothing", func(a, b sessionNow) bool { return a.Status.Backlog > 0 && b.Role == "leader" })
	if r := care("scan", "a", "/", "--wait"); r.code != 1 || !strings.Contains(r.stderr, "is paused and does not lead") {
		t.Errorf("a scan through a paused session: %d %s%s", r.code, r.stdout, r.stderr)
	}
	if r := care("scan", "b", "/d1", "--wait"); r.code != 0 || r.stdout != "agent b: scanned /d1\n" {
		t.Errorf("a scan through the leader: %d %s%s", r.code, r.stdout, r.stderr)
	}

	// The pause outlives a crash; meanwhile the other session is paused too, so that nobody leads.
	killed := one.sessionsOf(t)["a"].ID
	agents["a"].Kill()
	agents["a"].Restart()
	is("a is paused still, in another session", func(a, _ sessionNow) bool { return a.ID != killed && a.Paused && a.Status.State == "paused" })
	if r := command(t, nil, "agent", "pause", "first", "--config", files["b"]); r.code != 0 || r.stdout != "pipe first paused\n" {
		t.Errorf("pause on the host: %s%s", r.stdout, r.stderr)
	}
	is("nobody leads", func(a, b sessionNow) bool { return a.Role == "follower" && b.Role == "follower" && b.Paused })
	if r := one.ask(t, "sessions"); !strings.Contains(r.stdout, "The view has no leader, so nothing is scanned: all sessions are paused") {
		t.Errorf("sessions: %s", r.stdout)
	}
	began = time.Now()
	write("d2/nobody", "12345")
	if err := os.Remove(filepath.Join(root, "d0/before")); err != nil {
		t.Fatal(err)
	}
	if r := care("resume", "a", "--wait"); r.code != 0 || r.stdout != "agent a: resumed\n" {
		t.Errorf("resume: %d %s%s", r.code, r.stdout, r.stderr)
	}
	is("a leads again", func(a, b sessionNow) bool { return a.Role == "leader" && !a.Paused && b.Paused })
	one.equal(t, root, began, patience(20*time.Second))

	// Stop one pipe: the other goes on; a reload starts it again, and fails in words where the file is wrong.
	if r := command(t, nil, "agent", "resume", "first", "--config", files["b"]); r.code != 0 || r.stdout != "pipe first is running again\n" {
		t.Errorf("resume on the host: %s%s", r.stdout, r.stderr)
	}
	if r := care("stop", "a", "--wait"); r.code != 0 || !strings.HasPrefix(r.stdout, "agent a: stopped") {
		t.Errorf("stop: %d %s%s", r.code, r.stdout, r.stderr)
	}
	is("b leads, a is gone", func(a, b sessionNow) bool { return a.ID == "" && b.Role == "leader" })
	if now := pipesOf(t, files["a"]); now["first"].State != "stopped" || !strings.Contains(now["first"].Error, "stopped by key") || now["second"].Session == "" {
		t.Errorf("after a stop: %+v", now)
	}
	reload := func(agent string) result {
		return two.ask(t, "sessions", "reload", agent, "--wait", "--ingest", p.ingestURL)
	}
	if r := reload("a"); r.code != 0 || !strings.Contains(r.stdout, "1 started again") {
		t.Errorf("reload: %d %s%s", r.code, r.stdout, r.stderr)
	}
	is("a is back", func(a, _ sessionNow) bool { return a.ID != "" })
	good, err := os.ReadFile(files["a"])
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, files["a"], strings.Replace(string(good), "{", "{nonsense: 1, ", 1))
	if r := reload("a"); r.code != 1 || !strings.Contains(r.stderr, "nonsense") {
		t.Errorf("reload of a bad file: %d %s%s", r.code, r.stdout, r.stderr)
	}
	if now := pipesOf(t, files["a"]); now["second"].Session == "" || now["second"].Starts != 1 || before["second"].Starts != 1 {
		t.Errorf("the other pipe: %+v", now)
	}
	one.equal(t, root, began, patience(20*time.Second))

	// An agent of one tree ends well, and says who asked; without a file there is nothing to reload.
	alone := start(t, p.env, "agent", root, "--ingest", p.ingestURL, "--view", "one", "--agent-id", "alone", "--state", filepath.Join(dir, "alone.json"), "--log-level", "debug")
	eventually(t, patience(20*time.Second), "the third has a session", func() bool { return one.sessionsOf(t)["alone"].Status.State != "" })
	if r := care("reload", "alone", "--wait"); r.code != 1 || !strings.Contains(r.stderr, "no config file") {
		t.Errorf("reload without a file: %d %s%s", r.code, r.stdout, r.stderr)
	}
	if r := care("stop", "alone", "--wait"); r.code != 0 {
		t.Errorf("stop: %d %s%s", r.code, r.stdout, r.stderr)
	}
	select {
	case <-alone.ended:
		if code := alone.cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(alone.log.String(), `stopped by key \"given at start\"`) {
			t.Errorf("it ended with %d", code)
		}
	case <-time.After(wait.Limit(patience(10 * time.Second))):
		t.Error("it does not end")
	}
	for _, process := range []*process{p.ingest, p.query, p.compact, agents["a"], agents["b"], alone} {
		log := process.log.String()
		if strings.Contains(log, apiKey) {
			t.Errorf("the log of fustor %s tells the key", process.name)
		}
		if !strings.Contains(log, "part="+process.name) && !strings.Contains(log, `"part":"`+process.name+`"`) {
			t.Errorf("the log of fustor %s does not say which part speaks", process.name)
		}
	}
}
