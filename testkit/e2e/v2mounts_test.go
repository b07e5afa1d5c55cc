//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/s3test"
)

// startMounts starts the four processes on MinIO, and mounts a directory twice: A has a V2 agent, B a native one of this view.
func startMounts(t *testing.T, bucket, nativeView string) *hosts {
	t.Helper()
	if _, err := exec.LookPath("bindfs"); err != nil {
		t.Skip("no bindfs: install it to test two mounts of one directory")
	}
	h := &hosts{disk: t.TempDir()}
	// A V2 agent that a cache of attributes shows an old state keeps it (docs/v2.md), so its mount has none.
	h.a, h.b = mount(t, h.disk, "A", "-o", "attr_timeout=0"), mount(t, h.disk, "B")
	h.a.v2, h.leader = true, h.a
	minio := s3test.MinIO(t)
	url := minio.URL("minio", bucket)
	for _, view := range []string{viewID, nativeView} {
		h.configure(t, url, view, 3*hostsAudit, v2Staleness) // what an audit finds is suspect for long enough that a sentinel looks
	}
	registerV2(t, url, viewID)
	h.must(t, os.Mkdir(filepath.Join(h.disk, "a"), 0o755))
	h.must(t, os.Mkdir(filepath.Join(h.disk, "b"), 0o755))
	h.parts = startParts(t, url)
	return h
}

// startV2OnA starts A's agent, and waits until it has a session.
func (h *hosts) startV2OnA() {
	h.t.Helper()
	h.a.agent = h.startV2Process(h.a.dir, "A", hostsLease/6)
	h.covers(h.a, 0)
}

// startNativeOnB starts B's agent, and waits until it watches.
func (h *hosts) startNativeOnB(view string) {
	h.t.Helper()
	h.b.agent = start(h.t, h.env, "agent", h.b.dir, "--ingest", h.ingestURL, "--view", view, "--agent-id", "B",
		"--state", filepath.Join(h.t.TempDir(), "session.json"))
	h.b.agent.says(covered, 0)
}

// TestV2Mounts has a V2 agent and a native one each feed a view of its own from a mount of its own of one directory. After each kind of
// round the V2 agent's view is the directory, in all that V2 reports, and in the end the native agent's view, too.
func TestV2Mounts(t *testing.T) {
	t.Parallel()
	const native = "native"
	h := startMounts(t, "v2-mounts", native)
	other := start(t, h.env, "compact", "--follow", "--store", h.store, "--view", native)
	nativeServer := append(slices.Clone(h.server[:len(h.server)-1]), native)

	work := newWorkload(t, filepath.Join(h.a.dir, "a"), 70)
	work.withoutLinks = true // V2's audits do not find what happens through another name
	work.run(operationsOf(150))
	h.startV2OnA()
	h.startNativeOnB(native)
	h.awaitRole("A", "leader", 1, patience(20*time.Second))
	h.same() // the snapshot
	work.run(operationsOf(300))
	h.same() // realtime

	h.write(h.b, "b/created", "by B")
	h.must(t, os.MkdirAll(filepath.Join(h.b.dir, "b/x/y"), 0o755))
	h.write(h.b, "b/x/y/deep", "by B")
	h.same() // what its kernel did not report is found by an audit
	// A sentinel's answer that comes after the audit would bring the file back.
	h.awaitNodeWithin(6*hostsAudit, "b/x/y/deep", "is whole", func(n *node) bool { return n != nil && !n.Suspect })
	h.awaitNodeWithin(6*hostsAudit, "b/created", "is whole", func(n *node) bool { return n != nil && !n.Suspect })
	h.must(t, os.Rename(filepath.Join(h.b.dir, "b/x"), filepath.Join(h.b.dir, "b/z")))
	h.must(t, os.Remove(filepath.Join(h.b.dir, "b/created")))
	h.same()
	additions, deletions := h.blindSpots()
	if !slices.Contains(additions, "/b/z/y/deep") || !slices.Contains(deletions, "/b/created") {
		t.Errorf("the blind spots are %q and %q", additions, deletions)
	}

	// A sentinel finds that a file grows in a directory that does not change, and so is skipped by audits.
	h.write(h.b, "b/growing", "")
	h.awaitNode("b/growing", "is there, and suspect", func(n *node) bool { return n != nil && n.Suspect })
	h.must(t, os.WriteFile(filepath.Join(h.b.dir, "b/growing"), make([]byte, 4711), 0o644))
	h.awaitNode("b/growing", "has its new size", func(n *node) bool { return n != nil && n.Size == 4711 })
	h.awaitNodeWithin(6*hostsAudit, "b/growing", "is whole", func(n *node) bool { return n != nil && !n.Suspect })

	h.must(t, os.WriteFile(filepath.Join(h.b.dir, "b/growing"), make([]byte, 815), 0o644)) // no audit of V2 finds that
	eventually(t, patience(10*time.Second), "A's mount shows what B wrote: FUSE keeps attributes for a second", func() bool {
		info, err := os.Stat(filepath.Join(h.a.dir, "b/growing"))
		return err == nil && info.Size() == 815
	})
	if r := h.ask(t, "scan", "/b", "--wait"); r.code != 0 {
		t.Fatalf("scan: exit code %d: %s", r.code, r.stderr)
	}
	if n := h.node("b/growing"); n == nil || n.Size != 815 {
		t.Errorf("after a scan on demand it is %+v", n)
	}
	h.same()

	disk := onDisk(t, h.disk)
	eventually(t, patience(60*time.Second), "the native agent's view of the other mount is the same", func() bool {
		view, err := nativeServer.find(t)
		return err == nil && difference(view, disk) == ""
	})
	ours, err := nativeServer.find(t)
	h.must(t, err)
	theirs, err := h.find(t)
	h.must(t, err)
	if d := difference(alikes(theirs, ours), alikes(ours, ours)); d != "" {
		t.Errorf("the V2 agent's view is not that of the native agent: %s", d)
	}
	if !other.running() {
		t.Error("the other view's compactor has ended")
	}
}

// leads waits until a host's agent leads.
func (h *hosts) leads(on *host) {
	h.t.Helper()
	eventually(h.t, patience(5*hostsLease), on.name+" leads", func() bool { return h.sessions()[on.name].Role == "leader" })
	h.leader = on
}

// TestV2KilledAnywhere kills each of the five processes at random moments, while a V2 agent and a native one feed one view from two
// mounts of one directory, which changes through both. Then each agent leads in turn.
func TestV2KilledAnywhere(t *testing.T) {
	t.Parallel()
	h := startMounts(t, "v2-killed-anywhere", viewID)
	h.startV2OnA()
	h.startNativeOnB(viewID)
	rnd := rand.New(rand.NewPCG(13, 13))
	victims, killed := []*process{h.ingest, h.compact, h.query, h.a.agent, h.b.agent}, map[string]int{}
	for round := range shortOr(1, 8) {
		var stops []func() int
		for i, each := range []*host{h.a, h.b} {
			w := newWorkload(t, filepath.Join(each.dir, []string{"a", "b"}[i], fmt.Sprint(round%10)), uint64(100+2*round+i))
			w.withoutLinks = true
			stops = append(stops, loadOf(t, w))
		}
		for range 30 {
			victim := victims[rnd.IntN(len(victims))]
			if rnd.IntN(3) == 0 {
				victim = victims[rnd.IntN(3)] // more often a server: an agent has to find a session first
			}
			awaitPause(time.Duration(rnd.Int64N(int64(700 * time.Millisecond))))
			victim.Kill()
			killed[victim.name]++
			awaitPause(time.Duration(rnd.Int64N(int64(150 * time.Millisecond))))
			victim.Restart()
		}
		operations := 0
		for _, stop := range stops {
			operations += stop()
		}
		t.Logf("round %d: killed so far %v, %d operations", round, killed, operations)
		// An agent has not heard of what happened while it was killed. The native one finds all of it, at the latest by the audits that
		// list what has not changed; V2's takes a snapshot when it leads.
		h.leadAlone(h.b, h.a)
		h.a.agent.Restart()
		h.leadAlone(h.a, h.b)
		h.b.agent.Restart()
	}
}

// leadAlone kills one host's agent, and has the other's lead and find what neither kernel reports.
func (h *hosts) leadAlone(on, killed *host) {
	h.t.Helper()
	killed.agent.Kill()
	h.leads(on)
	wrote := fmt.Sprintf("%c/%s-%d", killed.name[0]|0x20, "blind", time.Now().UnixNano())
	h.write(killed, wrote, "nobody reports it")
	h.equalV2(h.disk, patience(60*time.Second))
	h.must(h.t, os.Remove(filepath.Join(killed.dir, wrote)))
	if on.v2 {
		h.same()
		return
	}
	h.equal(h.t, h.disk, time.Now(), patience(20*time.Second)) // owners and modes, too
}
