//go:build linux

package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/s3test"
)

var (
	soakFor   = flag.Duration("soak", 0, "how long TestSoak breaks things; not run if 0")
	soakStore = flag.String("soak.store", "minio", "the S3 server of TestSoak: minio or versitygw")
)

// TestSoak has eight hosts change one tree at a modest rate, through mounts of their own, while agents, servers and the store
// are killed and frozen at random: one agent, one server and the store may be down at the same time. In the end the view must be
// the tree, and must have counted each segment and each event once.
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("takes as long as one gives it: make soak runs it")
	}
	const many = 8
	h := &hosts{disk: t.TempDir()}
	var on []*host
	for i := range many {
		m := mount(t, h.disk, fmt.Sprint("host-", i))
		h.must(t, os.Mkdir(filepath.Join(h.disk, m.name), 0o755))
		on = append(on, m)
	}
	start, known := map[string]func(testing.TB) *s3test.Server{"minio": s3test.MinIO, "versitygw": s3test.Versitygw}[*soakStore]
	if !known {
		t.Fatalf("-soak.store is minio or versitygw, not %q", *soakStore)
	}
	store := start(t)
	url := store.URL("minio", "soak")
	h.configure(t, url, viewID, hostsHot, hostsStaleness)
	h.parts = startParts(t, url)
	var agents []*process
	for i, m := range on {
		direct := ""
		if i%2 == 0 {
			direct = url
		}
		h.startAgentAhead(m, direct, fmt.Sprint(i-many/2, "h"))
		agents = append(agents, m.agent)
	}

	end := time.Now().Add(*soakFor)
	faults := &tally{of: map[string]int{}}
	var operations atomic.Int64
	var busy sync.WaitGroup
	for i, m := range on {
		w := newWorkload(t, filepath.Join(m.dir, m.name, "work"), uint64(100+i))
		busy.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				w.run(10)
				operations.Add(10)
				awaitPause(time.Second)
			}
		})
	}
	servers := []*process{h.ingest, h.compact, h.query}
	busy.Go(func() { breakProcesses(t, agents, 6*time.Second, end, faults, 1) })
	busy.Go(func() { breakProcesses(t, servers, 12*time.Second, end, faults, 2) })
	rnd := rand.New(rand.NewPCG(8, 8))
	for awaitPause(upTo(rnd, 40*time.Second)); time.Now().Before(end) && !t.Failed(); awaitPause(upTo(rnd, 40*time.Second)) {
		if rnd.IntN(2) == 0 {
			faults.add("store killed")
			store.Kill()
			awaitPause(upTo(rnd, hostsLease))
			store.Start(t)
			continue
		}
		faults.add("store frozen")
		store.Pause()
		awaitPause(upTo(rnd, 2*hostsLease))
		store.Continue()
	}
	busy.Wait()
	keepUp(t, append(servers, agents...), faults)
	took := h.equal(t, h.disk, time.Now(), patience(time.Minute))
	for _, a := range agents {
		a.Stop()
	}
	h.countsExactly(patience(time.Minute))
	h.equal(t, h.disk, time.Now(), patience(time.Minute))
	head := h.head()
	t.Logf("%s, %v, %d hosts: %d operations, faults %v; equal %v after the end, at version %d, with %d segments and %d events folded, led in %d terms",
		*soakStore, *soakFor, many, operations.Load(), faults.of, took.Round(time.Millisecond), head.Version, head.Counted.Segments, head.Counted.Events, head.Term)
}

// tally counts what was broken.
type tally struct {
	mu sync.Mutex
	of map[string]int
}

func (c *tally) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[what]++
}

// breakProcesses kills and freezes one of them after the other, until the end.
func breakProcesses(t *testing.T, victims []*process, pause time.Duration, end time.Time, faults *tally, seed uint64) {
	rnd := rand.New(rand.NewPCG(8, seed))
	for awaitPause(upTo(rnd, pause)); time.Now().Before(end) && !t.Failed(); awaitPause(upTo(rnd, pause)) {
		keepUp(t, victims, faults)
		victim := victims[rnd.IntN(len(victims))]
		if rnd.IntN(3) == 0 {
			faults.add(victim.name + " frozen")
			victim.Pause()
			awaitPause(upTo(rnd, 2*hostsLease))
			victim.Resume()
			continue
		}
		faults.add(victim.name + " killed")
		victim.Kill()
		if victim.cmd.ProcessState.Exited() { // by itself, just before
			continue
		}
		awaitPause(upTo(rnd, 2*time.Second))
		victim.Restart()
	}
}

var startWithoutStore = regexp.MustCompile(`fustor: error: (check|read) store .*\n.*\n$`)

// keepUp starts servers again that could not begin as the store was down, as whatever supervises them would. No process
// may have ended for another reason.
func keepUp(t *testing.T, processes []*process, faults *tally) {
	t.Helper()
	for _, p := range processes {
		switch {
		case p.running():
		case p.name != "agent" && startWithoutStore.MatchString(p.log.String()):
			faults.add(p.name + " started without a store")
			p.Restart()
		default:
			t.Errorf("fustor %s ended by itself", p.name)
		}
	}
}

// upTo is a random time below d.
func upTo(rnd *rand.Rand, d time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(d))) }
