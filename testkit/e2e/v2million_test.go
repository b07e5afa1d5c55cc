//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/v2api"
	"github.com/fustor/fustor/testkit/s3test"
	"github.com/fustor/fustor/testkit/v2agent"
)

// maxIngest is what ingest may take for the rows of one V2 agent, bytes.
const maxIngest = 256 << 20

// TestV2Million has one V2 agent send a tree of a million rows, first as a snapshot and then as an audit, in V2's batches. What ingest
// takes of memory is bounded; the rates are in docs/benchmarks.md.
func TestV2Million(t *testing.T) {
	directories := shortOr(1_000, 20_000)
	minio := s3test.MinIO(t)
	url := minio.URL("minio", "v2-million")
	registerV2(t, url, viewID)
	p := startParts(t, url)
	a := &v2agent.Agent{URL: p.ingestURL, Key: v2Key, Task: "v2:pipe", Timeout: 3600}
	if _, err := a.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{v2api.Snapshot, v2api.Audit} {
		began, rows := time.Now(), 0
		send := func(batch []v2api.Row, end bool) {
			t.Helper()
			var events []any
			if len(batch) > 0 {
				events = append(events, v2agent.Event(v2api.Update, kind, batch...))
			}
			rows += len(batch)
			if err := a.Call(t.Context(), "POST", "/pipe/ingest/"+a.Session()+"/events", a.Events(kind, events, end, nil), nil); err != nil {
				t.Fatal(err)
			}
		}
		manyRows(directories, func(batch []v2api.Row) { send(batch, false) })
		sent := time.Since(began)
		send(nil, true)
		done := time.Since(began)
		_, peak := p.ingest.memory()
		t.Logf("%s: %d rows sent in %v, %.0f a second; in segments after %v; ingest's peak %d MiB", kind, rows, sent.Round(time.Millisecond),
			float64(rows)/sent.Seconds(), done.Round(time.Millisecond), peak>>20)
		if peak > maxIngest {
			t.Errorf("ingest took %d MiB, more than %d", peak>>20, maxIngest>>20)
		}
		eventually(t, patience(5*time.Minute), "the view has all rows", func() bool {
			sums, err := p.du(t)
			return err == nil && sums.Directories == int64(directories)+1 && sums.Files == 49*int64(directories)
		})
		t.Logf("%s: all in the view after %v", kind, time.Since(began).Round(time.Millisecond))
	}
	if keys := keysOf(t, p.objects(), "views/"+viewID+"/staging/"); len(keys) != 1 {
		t.Errorf("%d objects are staged after the audit", len(keys))
	}
}

// manyRows calls f with batches of 1000 rows of a made tree, each in no order.
func manyRows(directories int, f func([]v2api.Row)) {
	rnd := rand.New(rand.NewPCG(1, 1))
	mtime := time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC).UnixNano()
	var batch []v2api.Row
	add := func(path, name string, size int64, directory bool) {
		mtime += 1e6
		batch = append(batch, v2api.Row{Path: v2api.Text(path), Name: v2api.Text(name), Size: v2api.Whole(size), Modified: v2api.Seconds(mtime),
			Created: v2api.Seconds(mtime), IsDirectory: v2api.Of(directory)})
		if len(batch) == 1000 {
			rnd.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
			f(batch)
			batch = nil
		}
	}
	add("/", "", 4096, true)
	for d := range directories {
		name := fmt.Sprintf("study-%05d", d)
		add("/"+name, name, 4096, true)
		for i := range 49 {
			file := fmt.Sprintf("image_%06d.dcm", i)
			add("/"+name+"/"+file, file, int64(rnd.IntN(1<<20)), false)
		}
	}
	if len(batch) > 0 {
		f(batch)
	}
}
