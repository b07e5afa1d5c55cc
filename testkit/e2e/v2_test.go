//go:build unix

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/s3test"
	"github.com/fustor/fustor/testkit/v2agent"
	"github.com/fustor/fustor/testkit/wait"
)

// v2host is a host with a V2 agent, of whose changes the agent hears one by one.
type v2host struct {
	*v2agent.Agent
	t    testing.TB
	rnd  *rand.Rand
	stop func() // ends the agent as a crash would
	next int
	all  []string // files that are there
}

// startV2 starts a V2 agent on a directory.
func (p *parts) startV2(dir, id string, seed uint64) *v2host {
	p.t.Helper()
	h := &v2host{t: p.t, rnd: rand.New(rand.NewPCG(seed, seed)), Agent: &v2agent.Agent{URL: p.ingestURL, Key: v2Key, Task: id + ":pipe", Dir: dir, Batch: 50, Patience: patience(time.Minute)}}
	ctx, cancel := context.WithCancel(context.Background())
	h.OnError = func(err error) {
		if ctx.Err() == nil {
			p.t.Errorf("V2 agent %s: %v", id, err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.Run(ctx, leaseTime/4)
	}()
	h.stop = func() {
		cancel()
		<-done
	}
	p.t.Cleanup(h.stop)
	return h
}

// operate changes something, and tells of it unless blind. What is blind changes a directory: V2's audits skip directories that have
// not changed, and so do not find files that were written in place.
func (h *v2host) operate(blind bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait.Limit(patience(time.Minute)))
	defer cancel()
	var told []string
	full := func(p string) string { return filepath.Join(h.Dir, p) }
	must := func(err error) {
		if err != nil {
			h.t.Fatal(err)
		}
	}
	h.next++
	switch n := h.rnd.IntN(10); {
	case n < 5 || len(h.all) < 10:
		file := fmt.Sprintf("/d%d/e%d/f%d", h.rnd.IntN(5), h.rnd.IntN(5), h.next)
		if n == 0 {
			file += "\xff"
		}
		must(os.MkdirAll(full(path.Dir(file)), 0o755))
		must(os.WriteFile(full(file), make([]byte, h.rnd.IntN(500)), 0o644))
		h.all = append(h.all, file)
		told = append(told, file, path.Dir(file), path.Dir(path.Dir(file)), "/")
	case n < 8 || blind:
		i := h.rnd.IntN(len(h.all))
		must(os.Remove(full(h.all[i])))
		told = append(told, h.all[i], path.Dir(h.all[i]))
		h.all = append(h.all[:i], h.all[i+1:]...)
	default:
		file := h.all[h.rnd.IntN(len(h.all))]
		must(os.WriteFile(full(file), make([]byte, 1000+h.next), 0o644))
		told = append(told, file)
	}
	if !blind {
		must(h.Tell(ctx, told...))
	}
}

// alike is what a view that V2's agents feed shows of an entry: no owner, no mode, no more types than two, no ns.
func alike(e entry) entry {
	e.mode, e.uid, e.gid, e.target, e.mtimeNs = 0, 0, 0, "", 0
	if e.kind != 'd' && e.kind != 0 {
		e.kind = 'f'
	}
	return e
}

// equalV2 waits until the view is the tree in all that V2 tells.
func (p *parts) equalV2(dir string, within time.Duration) {
	p.t.Helper()
	disk := onDisk(p.t, dir)
	deadline := time.Now().Add(wait.Limit(within))
	for {
		view, err := p.find(p.t)
		wrong := ""
		if err != nil {
			wrong = err.Error()
		} else {
			view, want := alikes(view, disk), alikes(disk, disk)
			wrong = difference(view, want)
		}
		if wrong == "" {
			p.t.Logf("equal: %v", disk.sums())
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("not equal: %s", wrong)
		}
		awaitPause(100 * time.Millisecond)
	}
}

// alikes is a tree as V2 tells of it; times that are within a microsecond of those on disk are those.
func alikes(tr, disk tree) tree {
	out := tree{}
	for p, e := range tr {
		a := alike(e)
		if a.mtimeNs = e.mtimeNs; max(e.mtimeNs, disk[p].mtimeNs)-min(e.mtimeNs, disk[p].mtimeNs) < 1000 {
			a.mtimeNs = disk[p].mtimeNs
		}
		out[p] = a
	}
	return out
}

// setV2 prepares a view that V2's agents feed: short times, and a key.
func setV2(t testing.TB, storeURL string) {
	t.Helper()
	c := viewconfig.Default(viewID)
	c.SessionTimeoutSeconds, c.StalenessSeconds, c.AuditIntervalSeconds = leaseTime.Seconds(), 1, (leaseTime / 3).Seconds()
	if err := viewconfig.Save(t.Context(), openStore(t, storeURL), c); err != nil {
		t.Fatal(err)
	}
	registerV2(t, storeURL, viewID)
}

// v2Key is for one view: V2's agents name none.
const v2Key = "fustor_e2e-key-of-a-v2-agent"

func registerV2(t testing.TB, storeURL, view string) {
	t.Helper()
	record := access.Record{Name: "v2", Roles: []access.Role{access.Ingest}, Views: access.Views{Names: []string{view}}}
	if err := access.Register(t.Context(), openStore(t, storeURL), v2Key, record); err != nil {
		t.Fatal(err)
	}
}

// TestV2Up: `fustor up` takes a V2 agent beside its own.
func TestV2Up(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	u := startUp(t, dir, t.TempDir())
	u.equal(t, dir, time.Now(), patience(10*time.Second))
	said, err := os.ReadFile(filepath.Join(u.data, "up.json"))
	var up struct {
		URL  string `json:"url"`
		View string `json:"view"`
	}
	if err == nil {
		err = json.Unmarshal(said, &up)
	}
	if err != nil {
		t.Fatal(err)
	}
	registerV2(t, "file://"+filepath.Join(u.data, "store"), up.View)
	a := &v2agent.Agent{URL: up.URL, Key: v2Key, Task: "v2:pipe", Dir: dir}
	if _, err := a.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.Role() != "follower" {
		t.Errorf("beside the agent of up it is a %s", a.Role())
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Changed(t.Context(), false, "/file", "/"), a.Snapshot(t.Context()), a.Audit(t.Context())); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience(10*time.Second), "the view is the tree", func() bool {
		view, err := u.find(t)
		disk := onDisk(t, dir)
		return err == nil && difference(alikes(view, disk), alikes(disk, disk)) == ""
	})
}

// TestV2Killed kills ingest and the compactor at random moments while a V2 agent snapshots, audits and tells of changes, some of
// which only its audits find.
func TestV2Killed(t *testing.T) {
	t.Parallel()
	minio := s3test.MinIO(t)
	url := minio.URL("minio", "v2-killed")
	setV2(t, url)
	p := startParts(t, url)
	dir := inMemory(t)
	h := p.startV2(dir, "v2", 7)
	rnd := rand.New(rand.NewPCG(11, 11))
	ends, ended := context.WithCancel(context.Background())
	var killer sync.WaitGroup
	kills := 0
	killer.Go(func() {
		for ends.Err() == nil {
			awaitPause(time.Duration(rnd.Int64N(int64(600 * time.Millisecond))))
			victim := p.ingest
			if rnd.IntN(3) == 0 {
				victim = p.compact
			}
			victim.Kill()
			kills++
			awaitPause(time.Duration(rnd.Int64N(int64(100 * time.Millisecond))))
			victim.Restart()
		}
	})
	for range operationsOf(shortOr(300, 20_000)) {
		h.operate(h.rnd.IntN(5) == 0)
	}
	ended()
	killer.Wait()
	t.Logf("killed %d times during %d operations", kills, h.next)
	p.equalV2(dir, patience(30*time.Second))
	for range operationsOf(100) {
		h.operate(true)
	}
	p.equalV2(dir, patience(30*time.Second)) // audits alone
}

// TestV2AndNative has a V2 agent and a native one feed one view, each leading in turn.
func TestV2AndNative(t *testing.T) {
	t.Parallel()
	url := fileStore(t)
	setV2(t, url)
	p := startParts(t, url)
	dir := inMemory(t)
	v2 := p.startV2(dir, "v2", 5)
	p.awaitRole("v2", "leader", 1, patience(10*time.Second))
	for range operationsOf(200) {
		v2.operate(false)
	}
	p.equalV2(dir, patience(10*time.Second))
	native := p.startAgent(dir, "native", "")
	p.awaitRole("native", "follower", 0, patience(10*time.Second))
	for range operationsOf(200) {
		v2.operate(true) // the native agent's kernel tells of it, or the V2 agent's audit
	}
	p.equalV2(dir, patience(10*time.Second))

	v2.stop()
	p.awaitRole("native", "leader", 2, patience(4*leaseTime))
	for range operationsOf(200) {
		v2.operate(true)
	}
	p.equal(t, dir, time.Now(), patience(15*time.Second)) // owners and modes, too

	again := p.startV2(dir, "v2", 6)
	again.all, again.next = v2.all, v2.next
	p.awaitRole("v2", "follower", 0, patience(10*time.Second))
	for range operationsOf(200) {
		again.operate(false)
	}
	p.equal(t, dir, time.Now(), patience(15*time.Second)) // both report all of it, in whichever order
	before := onDisk(t, dir)
	native.Kill()
	p.awaitRole("v2", "leader", 3, patience(4*leaseTime))
	for range operationsOf(200) {
		again.operate(true)
	}
	p.equalV2(dir, patience(15*time.Second))
	// What the native agent knew of owners, modes and nanoseconds stays, whatever V2's snapshot and audits see of it.
	after := onDisk(t, dir)
	view, err := p.find(t)
	if err != nil {
		t.Fatal(err)
	}
	for path, e := range after {
		if before[path] == e && view[path] != e {
			t.Errorf("%q is %v, was reported so by the native agent, and is in the view %v", path, e, view[path])
		}
	}
}
