//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOneSourceTwoStores has one agent feed two views in two stores through two ingests from one source. Both are what find(1)
// prints, before and after changes; the agent says that it watches and scans once. While one ingest is away, the other view goes
// on, and the first catches up. Nothing is lost when the agent is killed and starts again.
func TestOneSourceTwoStores(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("find"); err != nil {
		t.Skip("find is not installed")
	}
	dir := inMemory(t)
	root, file := filepath.Join(dir, "tree"), filepath.Join(dir, "agent.yaml")
	grow := func(from, to int) {
		for i := from; i < to; i++ {
			at := filepath.Join(root, fmt.Sprint(i%7), fmt.Sprint(i%3))
			if err := os.MkdirAll(at, 0o700); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(at, fmt.Sprint("f", i)), strings.Repeat("x", i%50))
		}
	}
	grow(0, 500)
	var sides []*parts
	text := fmt.Sprintf("agent_id: both\nstate: %s/state\nsources: {tree: {path: %s}}\nsenders:\n", dir, root)
	for i := range 2 {
		p := &parts{t: t, store: "file://" + filepath.Join(dir, fmt.Sprint("store", i)), env: []string{"FUSTOR_API_KEY=" + apiKey}}
		p.ingest, p.ingestURL = p.startServer("ingest")
		p.query, p.queryURL = p.startServer("query")
		p.compact = start(t, p.env, "compact", "--follow", "--store", p.store, "--view", "shared")
		sides = append(sides, p)
		text += fmt.Sprintf("  s%d: {type: http, ingest: %q, api_key: %s}\n", i, p.ingestURL, apiKey)
	}
	writeFile(t, file, text+"pipes: {both: {source: tree, senders: [s0, s1], view: shared}}\n")
	a := start(t, nil, "agent", "--config", file)

	onDisk := func() string {
		out, err := exec.Command("find", root, "(", "-type", "f", "-printf", `/%P %s f\n`, ")", "-o", "-printf", `/%P 0 %y\n`).Output()
		if err != nil {
			t.Fatal(err)
		}
		return sorted(string(out))
	}
	inView := func(p *parts) string {
		r := command(t, p.env, "find", "--url", p.queryURL, "--view", "shared", "--json")
		var b strings.Builder
		for line := range strings.Lines(r.stdout) {
			var e struct {
				Path string `json:"path"`
				Size int64  `json:"size"`
				Type string `json:"type"`
			}
			if json.Unmarshal([]byte(line), &e) == nil && e.Path != "" {
				if e.Type != "f" {
					e.Size = 0
				}
				fmt.Fprintf(&b, "%s %d %s\n", e.Path, e.Size, e.Type)
			}
		}
		return sorted(b.String())
	}
	equal := func(what string, p *parts) {
		t.Helper()
		eventually(t, patience(60*time.Second), what, func() bool { return inView(p) == onDisk() })
	}
	for i, p := range sides {
		equal(fmt.Sprint("view ", i, " is the tree"), p)
	}
	if r := command(t, nil, "agent", "status", "--config", file); !strings.Contains(r.stdout, "both@s0, both@s1: one source, watched and scanned once") {
		t.Errorf("status:\n%s%s", r.stdout, r.stderr)
	}
	grow(500, 700)
	if err := os.RemoveAll(filepath.Join(root, "3")); err != nil {
		t.Fatal(err)
	}
	for i, p := range sides {
		equal(fmt.Sprint("view ", i, " is the tree after changes"), p)
	}
	sides[0].ingest.Pause()
	grow(700, 1200)
	equal("the other view goes on", sides[1])
	sides[0].ingest.Resume()
	equal("the first view catches up", sides[0])

	a.Kill()
	grow(1200, 1300)
	if err := os.RemoveAll(filepath.Join(root, "5")); err != nil {
		t.Fatal(err)
	}
	a.Restart()
	for i, p := range sides {
		equal(fmt.Sprint("view ", i, " is the tree after a kill"), p)
	}
	if r := command(t, nil, "agent", "status", "--config", file); !strings.Contains(r.stdout, "one source, watched and scanned once") {
		t.Errorf("status after a kill:\n%s%s", r.stdout, r.stderr)
	}
}

func sorted(lines string) string {
	all := strings.Split(lines, "\n")
	slices.Sort(all)
	return strings.Join(all, "\n")
}
