//go:build unix

package e2e

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/testkit/s3test"
	"github.com/fustor/fustor/testkit/wait"
)

// TestFourProcessesOnMinIO runs agent, ingest, compactor and query as processes of their own on a real S3 server.
func TestFourProcessesOnMinIO(t *testing.T) {
	minio := s3test.MinIO(t)
	for _, c := range []struct {
		name, sdk string
		direct    bool
	}{
		{"agent puts into the store", "minio", true},
		{"agent sends through ingest", "s3", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := minio.URL(c.sdk, c.sdk)
			p := startParts(t, url)
			dir, direct := t.TempDir(), ""
			if c.direct {
				direct = url
			}
			agent := p.startAgent(dir, "agent-1", direct)
			work(t, dir, 10, operationsOf(10_000), nil)
			p.equal(t, dir, time.Now(), patience(settle))
			for _, each := range []*process{agent, p.ingest, p.compact, p.query} {
				each.Stop()
			}
		})
	}
}

// TestKillAnyProcess kills each of the four, in random order and at random moments of a workload.
func TestKillAnyProcess(t *testing.T) {
	t.Parallel()
	minio := s3test.MinIO(t)
	url := minio.URL("minio", "killed")
	setSessionTimeout(t, url, 3*time.Second) // a killed agent's lease is free after that
	p := startParts(t, url)
	dir := inMemory(t)
	victims := []*process{p.startAgent(dir, "agent-1", url), p.ingest, p.compact, p.query}
	rnd := rand.New(rand.NewPCG(4, 4))
	for round := range max(1, operationsOf(3)) {
		w := newWorkload(t, filepath.Join(dir, "round"+string(rune('0'+round))), uint64(200+round))
		worked := make(chan struct{})
		go func() {
			defer close(worked)
			w.run(operationsOf(6000))
		}()
		for _, i := range rnd.Perm(len(victims)) {
			awaitPause(time.Duration(rnd.Int64N(int64(1200 * time.Millisecond))))
			victims[i].Kill()
			awaitPause(time.Duration(rnd.Int64N(int64(300 * time.Millisecond))))
			victims[i].Restart()
		}
		<-worked
		p.equal(t, dir, time.Now(), patience(20*time.Second))
	}
}

// TestTwoCompactorsAtOnce has two compactors work on one view, which several agents feed: every segment counts exactly
// once.
func TestTwoCompactorsAtOnce(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"directory", "versitygw", "LocalStack"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			url := fileStore(t)
			switch backend {
			case "versitygw":
				url = s3test.Versitygw(t).URL("s3", "twice")
			case "LocalStack":
				url = s3test.LocalStack(t).URL("s3", "twice")
			}
			p := startParts(t, url)
			compactors := []*process{p.compact, p.startCompact()}
			dir := t.TempDir()
			var agents []*process
			for _, id := range []string{"agent-1", "agent-2", "agent-3"} {
				agents = append(agents, p.startAgent(dir, id, url))
			}
			work(t, dir, 20, operationsOf(5_000), nil)
			p.equal(t, dir, time.Now(), patience(20*time.Second))
			for _, a := range agents {
				a.Stop()
			}
			p.countsExactly(patience(10 * time.Second))
			p.equal(t, dir, time.Now(), patience(10*time.Second))
			for _, c := range compactors {
				c.Stop()
			}
			versions := len(keysOf(t, p.objects(), layout.Manifests(viewID)))
			t.Logf("%d versions, %d races lost", p.head().Version, versions-int(p.head().Version))
		})
	}
}

// countsExactly waits until the view has counted each segment and each event in the store, and none twice.
func (p *parts) countsExactly(within time.Duration) {
	p.t.Helper()
	keys := p.segments()
	var events uint64
	for _, key := range keys {
		events += uint64(len(p.events(key)))
	}
	if len(keys) == 0 || events == 0 {
		p.t.Fatal("the agent has sent nothing")
	}
	deadline := time.Now().Add(wait.Limit(within))
	eventually(p.t, within, "all segments are folded", func() bool {
		counted := p.head().Counted
		exact := counted.Segments == uint64(len(keys)) && counted.Events == events
		if !exact && time.Until(deadline) < 100*time.Millisecond {
			p.t.Errorf("the view counted %d segments and %d events; in the store are %d and %d",
				counted.Segments, counted.Events, len(keys), events)
		}
		return exact
	})
	p.t.Logf("%d segments, %d events", len(keys), events)
}

// events are what a segment has, and no more than that: its header must be of this view.
func (p *parts) events(key string) []event.Event {
	p.t.Helper()
	o, err := p.objects().Get(p.t.Context(), key)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := event.NewReader(key, bytes.NewReader(o.Body), event.Limits{})
	if err != nil {
		p.t.Fatal(err)
	}
	var events []event.Event
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return events
		}
		if err != nil {
			p.t.Fatal(err)
		}
		kept := *e
		kept.Entries = append([]event.Entry(nil), e.Entries...)
		events = append(events, kept)
	}
}
