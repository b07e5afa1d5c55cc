//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestForest: "on which of the servers is it?" has one answer over all members, which follows every one of them, and a member whose first
// agent starts later.
func TestForest(t *testing.T) {
	p := &parts{t: t, store: fileStore(t), env: []string{"FUSTOR_API_KEY=" + apiKey}}
	p.known(p.store)
	p.ingest, p.ingestURL = p.startServer("ingest")
	p.query, p.queryURL = p.startServer("query")
	p.compact = start(t, p.env, "compact", "--follow", "--store", p.store)
	p.compact.says(regexp.MustCompile("compactor is ready"), 0)
	all := server{"--url", p.queryURL, "--api-key", apiKey, "--view", "all"}
	if r := command(t, nil, "admin", "view", "create", "all", "--members", "nfs*", "--store", p.store); r.code != 0 {
		t.Fatal(r.stderr)
	}
	if r := all.ask(t, "find"); r.code != 3 || !strings.Contains(r.stderr, "has no members yet") {
		t.Errorf("a forest without a member: %d %s", r.code, r.stderr)
	}
	write := func(path, body string) {
		t.Helper()
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(body), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	trees := map[string]string{}
	follow := func(view string) {
		dir := t.TempDir()
		for _, name := range []string{"data/run42/reads.bam", "data/" + view + ".txt"} {
			write(filepath.Join(dir, name), view)
		}
		trees[view] = dir
		start(t, p.env, "agent", dir, "--ingest", p.ingestURL, "--store", p.store, "--view", view, "--agent-id", "on-"+view, "--state", filepath.Join(t.TempDir(), "state.json"))
	}
	// same waits until the forest shows what is on all disks, and says why it does not.
	same := func() {
		t.Helper()
		why := ""
		eventually(t, patience(30*time.Second), "the forest shows what is on the disks", func() bool {
			var want, got []string
			for view, dir := range trees {
				for path, e := range onDisk(t, dir) {
					want = append(want, fmt.Sprint(view, ":", path, " ", e.size))
				}
			}
			r := all.ask(t, "find", "--json")
			for line := range strings.Lines(r.stdout) {
				var e struct {
					Member, Path string
					Size         int64
				}
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				got = append(got, fmt.Sprint(e.Member, ":", e.Path, " ", e.Size))
			}
			slices.Sort(want)
			slices.Sort(got)
			now := fmt.Sprintf("exit code %d %s\n got %q\nwant %q", r.code, r.stderr, got, want)
			if now != why {
				why = now
				t.Log(why)
			}
			return r.code == 0 && slices.Equal(got, want)
		})
	}
	follow("nfs1")
	follow("nfs2")
	same()
	if r := all.ask(t, "find", "--name", "reads.bam"); r.code != 0 || r.stdout != "nfs1:/data/run42/reads.bam\nnfs2:/data/run42/reads.bam\n" {
		t.Errorf("find --name: %d %q %s", r.code, r.stdout, r.stderr)
	}
	write(filepath.Join(trees["nfs2"], "data/new"), "new")
	if err := os.RemoveAll(filepath.Join(trees["nfs1"], "data/run42")); err != nil {
		t.Fatal(err)
	}
	follow("nfs3")
	same()
	if r := all.ask(t, "du", "/data/run42"); r.code != 0 || strings.Contains(r.stdout, "nfs1") || !strings.Contains(r.stdout, "\tnfs3:/data/run42\n") || !strings.Contains(r.stdout, "\ttotal\n") {
		t.Errorf("du: %d %q %s", r.code, r.stdout, r.stderr)
	}
	// An agent for a forest is told what is wrong. It goes on asking, as with a wrong key: somebody may put it right.
	refused := start(t, p.env, "agent", t.TempDir(), "--ingest", p.ingestURL, "--store", p.store, "--view", "all", "--agent-id", "x", "--state", filepath.Join(t.TempDir(), "state.json"))
	refused.says(regexp.MustCompile(`(view \\"all\\" is a forest)`), 0)
}
