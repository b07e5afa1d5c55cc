//go:build unix

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/s3test"
)

// TestHeartbeatsAreLost freezes ingest for longer than a lease: the leader's work stops in time, what happens meanwhile is
// not lost, and afterwards one leads again. Then a follower dies, which is nothing to the others.
func TestHeartbeatsAreLost(t *testing.T) {
	t.Parallel()
	url := fileStore(t)
	setSessionTimeout(t, url, leaseTime)
	p := startParts(t, url)
	dir := inMemory(t)
	agents := map[string]*process{}
	for _, id := range []string{"first", "second"} {
		agents[id] = p.startAgent(dir, id, url)
		eventually(t, patience(10*time.Second), id+" has a session", func() bool { return p.sessions()[id].ID != "" })
	}
	p.awaitRole("first", "leader", 1, patience(10*time.Second))

	p.ingest.Pause()
	agents["first"].says(regexp.MustCompile("the lease was not renewed in time; leader work stops"), 0)
	work(t, dir, 80, operationsOf(500), nil)
	awaitPause(leaseTime)
	p.ingest.Resume()
	var leader session
	eventually(t, patience(6*leaseTime), "one of two sessions leads again", func() bool {
		leaders, all := 0, p.sessions()
		for _, s := range all {
			if s.Role == "leader" {
				leaders, leader = leaders+1, s
			}
		}
		return leaders == 1 && len(all) == 2
	})
	p.equal(t, dir, time.Now(), patience(10*time.Second))

	follower := map[string]string{"first": "second", "second": "first"}[leader.Agent]
	agents[follower].Kill()
	work(t, dir, 81, operationsOf(500), nil)
	p.equal(t, dir, time.Now(), patience(10*time.Second))
	eventually(t, patience(4*leaseTime), "the follower's session has timed out", func() bool { return p.sessions()[follower].ID == "" })
	if now := p.sessions()[leader.Agent]; now.ID != leader.ID || *now.Term != *leader.Term {
		t.Errorf("the leader was session %s of term %d; after its follower's death it is %s of term %d", leader.ID, *leader.Term, now.ID, *now.Term)
	}
	for _, each := range []*process{p.ingest, p.compact, p.query, agents[leader.Agent]} {
		if !each.running() {
			t.Errorf("fustor %s ended with the follower", each.name)
		}
	}
}

// TestOneSessionOnly has a view that takes one session: the second agent is refused with 409, says so, waits, and takes over
// once the first is gone.
func TestOneSessionOnly(t *testing.T) {
	t.Parallel()
	url := fileStore(t)
	c := viewconfig.Default(viewID)
	c.SessionTimeoutSeconds, c.AllowConcurrentPush = leaseTime.Seconds(), false
	if err := viewconfig.Save(t.Context(), openStore(t, url), c); err != nil {
		t.Fatal(err)
	}
	p := startParts(t, url)
	dir := inMemory(t)
	first := p.startAgent(dir, "first", "")
	p.awaitRole("first", "leader", 1, patience(10*time.Second))
	second := p.startAgent(dir, "second", "")
	second.says(regexp.MustCompile(`msg="no session yet" .*409`), 0)
	work(t, dir, 82, operationsOf(500), nil)
	p.equal(t, dir, time.Now(), patience(10*time.Second))
	if s := p.sessions(); len(s) != 1 || s["first"].ID == "" {
		t.Errorf("the sessions are %v; the view takes one", s)
	}
	first.Stop()
	p.awaitRole("second", "leader", 2, patience(4*leaseTime))
	work(t, dir, 83, operationsOf(500), nil)
	p.equal(t, dir, time.Now(), patience(10*time.Second))
}

// TestKeyTellsItsView starts agents that name no view, with a key for one, and with one that is for another part.
func TestKeyTellsItsView(t *testing.T) {
	t.Parallel()
	url := fileStore(t)
	setSessionTimeout(t, url, leaseTime)
	p := startParts(t, url)
	keys := map[access.Role]string{}
	for _, role := range []access.Role{access.Ingest, access.Query} {
		keys[role] = access.GenerateKey()
		record := access.Record{Name: string(role), Roles: []access.Role{role}, Views: access.Views{Names: []string{viewID}}}
		if err := access.Register(t.Context(), p.objects(), keys[role], record); err != nil {
			t.Fatal(err)
		}
	}
	dir := inMemory(t)
	work(t, dir, 84, operationsOf(200), nil)
	args := []string{"agent", dir, "--ingest", p.ingestURL, "--agent-id", "nameless", "--state", filepath.Join(t.TempDir(), "state")}
	command(t, []string{"FUSTOR_API_KEY=" + keys[access.Query]}, args...).fails(t, `the role "ingest"`)
	command(t, []string{"FUSTOR_API_KEY=unknown"}, args...).fails(t, "key")
	start(t, []string{"FUSTOR_API_KEY=" + keys[access.Ingest]}, args...)
	p.awaitRole("nameless", "leader", 1, patience(10*time.Second))
	p.equal(t, dir, time.Now(), patience(10*time.Second))
}

// TestRenameHundredThousand renames a directory of 100,000 files in 100 directories.
func TestRenameHundredThousand(t *testing.T) {
	t.Parallel()
	p := startParts(t, s3test.MinIO(t).URL("minio", "renamed"))
	dir := inMemory(t)
	for i := range 100 {
		sub := filepath.Join(dir, "before", fmt.Sprint(i))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		for j := range 1000 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint("file-", j)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.startAgent(dir, "agent-1", "")
	p.equal(t, dir, time.Now(), patience(60*time.Second))
	if err := os.Rename(filepath.Join(dir, "before"), filepath.Join(dir, "after")); err != nil {
		t.Fatal(err)
	}
	took := p.equal(t, dir, time.Now(), patience(60*time.Second))
	var blind struct {
		Additions int `json:"additions_count"`
		Deletions int `json:"deletion_count"`
	}
	if err := getJSON(t.Context(), p.queryURL+"/api/v1/views/"+viewID+"/blind-spots", &blind); err != nil {
		t.Fatal(err)
	}
	if blind.Additions+blind.Deletions > 0 {
		t.Errorf("a rename that the kernel told of left blind spots: %+v", blind)
	}
	t.Logf("100,000 files are in their new place %v after the rename", took.Round(time.Millisecond))
}
