//go:build linux && soak

package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store/s3test"
)

var soakFor = flag.Duration("soak", 30*time.Minute, "how long TestSoak breaks things")

// TestSoak has eight hosts change one tree at a modest rate, through mounts of their own, while processes and the store are
// killed and frozen at random. In the end the view must be the tree.
func TestSoak(t *testing.T) {
	const many = 8
	h := &hosts{disk: t.TempDir()}
	var on []*host
	for i := range many {
		m := mount(t, h.disk, fmt.Sprint("host-", i))
		h.must(t, os.Mkdir(filepath.Join(h.disk, m.name), 0o755))
		on = append(on, m)
	}
	minio := s3test.MinIO(t)
	url := minio.URL("minio", "soak")
	h.configure(t, url)
	h.parts = startParts(t, url)
	victims := []*process{h.ingest, h.compact, h.query}
	for i, m := range on {
		direct := ""
		if i%2 == 0 {
			direct = url
		}
		m.agent = h.startAgentAhead(m, direct, fmt.Sprint(i-many/2, "h"))
		victims = append(victims, m.agent)
	}

	end := time.Now().Add(*soakFor)
	var operations atomic.Int64
	done := make(chan struct{}, many)
	for i, m := range on {
		w := newWorkload(t, filepath.Join(m.dir, m.name, "work"), uint64(100+i))
		go func() {
			for time.Now().Before(end) && !t.Failed() {
				w.run(10)
				operations.Add(10)
				awaitPause(time.Second)
			}
			done <- struct{}{}
		}()
	}
	faults := map[string]int{}
	rnd := rand.New(rand.NewPCG(8, 8))
	for time.Now().Before(end) && !t.Failed() {
		awaitPause(upTo(rnd, 6*time.Second))
		victim := victims[rnd.IntN(len(victims))]
		switch rnd.IntN(8) {
		case 0:
			faults["store killed"]++
			minio.Kill()
			awaitPause(upTo(rnd, hostsLease))
			minio.Start(t)
		case 1:
			faults["store frozen"]++
			minio.Pause()
			awaitPause(upTo(rnd, 2*hostsLease))
			minio.Continue()
		case 2, 3:
			faults[victim.name+" frozen"]++
			victim.Pause()
			awaitPause(upTo(rnd, 2*hostsLease))
			victim.Resume()
		default:
			faults[victim.name+" killed"]++
			victim.Kill()
			awaitPause(upTo(rnd, 2*time.Second))
			victim.Restart()
		}
	}
	for range on {
		<-done
	}
	for _, p := range victims {
		if !p.running() {
			t.Errorf("fustor %s ended by itself", p.name)
		}
	}
	took := h.equal(t, h.disk, time.Now(), patience(time.Minute))
	head := h.head()
	t.Logf("%v, %d hosts: %d operations, faults %v; equal %v after the end, at version %d, with %d segments and %d events folded, led in %d terms",
		*soakFor, many, operations.Load(), faults, took.Round(time.Millisecond), head.Version, head.Counted.Segments, head.Counted.Events, head.Term)
}

// upTo is a random time below d.
func upTo(rnd *rand.Rand, d time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(d))) }
