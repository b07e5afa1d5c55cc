//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// notices are what a service manager is told.
type notices struct {
	mu  sync.Mutex
	all []string
}

func (n *notices) count(s string) (c int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, one := range n.all {
		if strings.HasPrefix(one, s) {
			c++
		}
	}
	return c
}

// TestServiceManagerIsTold has the agent under what systemd gives a service of Type=notify: it says that it has begun,
// feeds the watchdog, tells of a reload, and says that it ends.
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "fustor") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	told := &notices{}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := socket.Read(buffer)
			if err != nil {
				return
			}
			told.mu.Lock()
			told.all = append(told.all, string(buffer[:n]))
			told.mu.Unlock()
		}
	}()
	file := filepath.Join(dir, "agent.yaml")
	writeFile(t, file, fmt.Sprintf("state: %s/state\nsources: {t: {path: %s}}\nsenders: {e: {type: echo}}\npipes: {p: {source: t, sender: e, view: v}}\n", dir, dir))
	a := start(t, []string{"NOTIFY_SOCKET=" + filepath.Join(dir, "notify"), "WATCHDOG_USEC=300000"}, "agent", "--config", file)
	a.await("to say that it is ready", func() bool { return told.count("READY=1") == 1 })
	a.await("to feed the watchdog", func() bool { return told.count("WATCHDOG=1") >= 3 })
	if r := command(t, nil, "agent", "reload", "--config", file); r.code != 0 {
		t.Fatalf("reload: %s", r.stderr)
	}
	a.await("to tell of the reload", func() bool { return told.count("RELOADING=1\nMONOTONIC_USEC=") == 1 && told.count("READY=1") == 2 })
	a.Stop()
	eventually(t, patience(5*time.Second), "STOPPING=1", func() bool { return told.count("STOPPING=1") == 1 })
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestExampleConfigIsGood checks the file that is shipped for systemd.
func TestExampleConfigIsGood(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := os.ReadFile(filepath.Join("..", "..", "infra", "systemd", "agent.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "agent.yaml"), string(b))
	writeFile(t, filepath.Join(dir, "ingest.key"), apiKey+"\n")
	r := command(t, nil, "agent", "check", "--config", filepath.Join(dir, "agent.yaml"))
	if r.code != 0 || !strings.Contains(r.stdout, "agent.yaml is valid") {
		t.Errorf("%d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// pipesOf is what `fustor agent status` tells of an agent's pipes, by name.
type pipeNow struct {
	Pipe    string `json:"pipe"`
	State   string `json:"state"`
	Session string `json:"session_id"`
	Starts  int    `json:"starts"`
	Error   string `json:"error"`
}

func pipesOf(t testing.TB, file string) map[string]pipeNow {
	t.Helper()
	r := command(t, nil, "agent", "status", "--json", "--config", file)
	var st struct {
		Pipes []pipeNow `json:"pipes"`
	}
	if r.code != 0 || json.Unmarshal([]byte(r.stdout), &st) != nil {
		t.Fatalf("status: %s%s", r.stdout, r.stderr)
	}
	now := map[string]pipeNow{}
	for _, p := range st.Pipes {
		if p.State != "ending" {
			now[p.Pipe] = p
		}
	}
	return now
}

// TestReloadUnderLoad has two agents of twenty pipes each reload while every tree is written to: pipes come, go and
// change, and nothing of the others is lost, nor do their sessions end.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	const count, spare = 20, 4
	dir := inMemory(t) // short, too: the agents' sockets are in it
	storeURL := "file://" + filepath.Join(dir, "store")
	p := &parts{t: t, store: storeURL, env: []string{"FUSTOR_API_KEY=" + apiKey}}
	p.ingest, p.ingestURL = p.startServer("ingest")
	p.query, p.queryURL = p.startServer("query")
	compact := []string{"compact", "--follow", "--store", p.store}
	for i := range count + spare { // a compactor of all views looks for new ones once a minute
		compact = append(compact, "--view", fmt.Sprint("v", i))
	}
	p.compact = start(t, p.env, compact...)

	type pipe struct {
		tree    int
		workers int
	}
	config := func(agent string, pipes map[string]pipe) string {
		var b strings.Builder
		fmt.Fprintf(&b, "agent_id: %s\nstate: %s/%s\nsenders: {main: {type: http, ingest: %q, api_key: %s}}\nsources:\n", agent, dir, agent, p.ingestURL, apiKey)
		names := slices.Sorted(func(yield func(string) bool) {
			for name := range pipes {
				if !yield(name) {
					return
				}
			}
		})
		for _, name := range names {
			fmt.Fprintf(&b, "  s-%s: {path: %s/trees/%d, workers: %d}\n", name, dir, pipes[name].tree, pipes[name].workers)
		}
		b.WriteString("pipes:\n")
		for _, name := range names {
			fmt.Fprintf(&b, "  %s: {source: s-%s, sender: main, view: v%d}\n", name, name, pipes[name].tree)
		}
		return b.String()
	}
	trees := make([]string, count+spare)
	for i := range trees {
		trees[i] = filepath.Join(dir, "trees", fmt.Sprint(i))
		for d := range 3 {
			if err := os.MkdirAll(filepath.Join(trees[i], fmt.Sprint("d", d)), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	pipes := map[string]pipe{}
	for i := range count {
		pipes[fmt.Sprintf("p%02d", i)] = pipe{i, 1}
	}
	files, agents := map[string]string{}, map[string]*process{}
	for _, id := range []string{"a", "b"} {
		files[id] = filepath.Join(dir, id+".yaml")
		writeFile(t, files[id], config(id, pipes))
		agents[id] = start(t, nil, "agent", "--config", files[id])
	}
	working := func(id string) map[string]pipeNow {
		t.Helper()
		var now map[string]pipeNow
		eventually(t, patience(60*time.Second), "all pipes of "+id+" have sessions", func() bool {
			now = pipesOf(t, files[id])
			for name := range pipes {
				if now[name].Session == "" || now[name].State == "initializing" || now[name].State == "reconnecting" {
					return false
				}
			}
			return len(now) == len(pipes)
		})
		return now
	}
	eventually(t, patience(30*time.Second), "the agents answer", func() bool {
		return command(t, nil, "agent", "status", "--config", files["a"]).code == 0 && command(t, nil, "agent", "status", "--config", files["b"]).code == 0
	})
	before := map[string]map[string]pipeNow{"a": working("a"), "b": working("b")}

	// The load: files are made, changed, renamed and removed in every tree until the end.
	stop := make(chan struct{})
	var writers sync.WaitGroup
	writers.Add(1)
	written := 0
	go func() {
		defer writers.Done()
		for n := 0; ; n++ {
			for _, tree := range trees {
				select {
				case <-stop:
					return
				default:
				}
				name := filepath.Join(tree, fmt.Sprintf("d%d", n%3), fmt.Sprint("f", n))
				_ = os.WriteFile(name, []byte(strings.Repeat("x", n%100)), 0o600)
				if n%4 == 1 {
					_ = os.Rename(name, name+".renamed")
				}
				if n%4 == 2 {
					_ = os.Remove(filepath.Join(tree, fmt.Sprintf("d%d", (n-1)%3), fmt.Sprint("f", n-1, ".renamed")))
				}
				written++
			}
			awaitPause(5 * time.Millisecond)
		}
	}()
	changed := map[string]bool{}
	for round := range 3 {
		gone, other, added := fmt.Sprintf("p%02d", round), fmt.Sprintf("p%02d", 10+round), fmt.Sprintf("q%02d", round)
		delete(pipes, gone)
		pipes[other] = pipe{pipes[other].tree, 2}
		pipes[added] = pipe{count + round, 1}
		changed[other], changed[added] = true, true
		for id, file := range files {
			writeFile(t, file, config(id, pipes))
			r := command(t, nil, "agent", "reload", "--config", file)
			want := fmt.Sprintf("added    %s\nchanged  %s\nremoved  %s\n1 added, 1 changed, 1 removed, %d as before\n", added, other, gone, count-2)
			if r.code != 0 || r.stdout != want {
				t.Fatalf("reload: %s%s\nwant %s", r.stdout, r.stderr, want)
			}
		}
		working("a")
		working("b")
	}
	close(stop)
	writers.Wait()
	t.Logf("%d files were written meanwhile", written)
	for id := range agents {
		now := working(id)
		for name := range pipes {
			if changed[name] {
				continue
			}
			if now[name].Session != before[id][name].Session || now[name].Starts != 1 {
				t.Errorf("agent %s, pipe %s: session %s, %d starts; before the reloads %s", id, name, now[name].Session, now[name].Starts, before[id][name].Session)
			}
		}
		if log := agents[id].log.String(); strings.Contains(log, "scan=rescan") {
			t.Errorf("agent %s had to scan again", id)
		}
	}
	for name, pipe := range pipes {
		want := onDisk(t, trees[pipe.tree])
		s := server{"--url", p.queryURL, "--api-key", apiKey, "--view", fmt.Sprint("v", pipe.tree)}
		unlike := "never asked"
		defer func() {
			if unlike != "" {
				t.Logf("pipe %s: %s", name, unlike)
			}
		}()
		eventually(t, patience(60*time.Second), "the view of pipe "+name+" is its tree", func() bool {
			unlike = s.unlike(t, want)
			return unlike == ""
		})
	}
}
