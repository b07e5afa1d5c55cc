package query

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/gentree"
)

var (
	benchRows      = flag.Int("rows", 1_000_000, "rows of the benchmarks' view")
	benchDeltaRows = flag.Int("delta-group", layer.DeltaRowsPerGroup, "rows of a row group of the benchmarks' deltas")
	benchStore     = flag.String("view", "", "directory to keep the benchmarks' view in, for other runs with the same -rows; it is made where there is none")
)

// benchSample is which paths the benchmarks ask for.
type benchSample struct{ Files, Dirs []string }

// benchView is a view of generated rows in base partitions of a million, with two small deltas over them.
func benchView(b *testing.B) (f *fixture, files, dirs []string) {
	b.Helper()
	if *benchStore == "" {
		return makeBenchView(b, newFixture(b))
	}
	st, err := local.Open(*benchStore)
	if err != nil {
		b.Fatal(err)
	}
	f = serve(b, st)
	name := filepath.Join(*benchStore, fmt.Sprintf("sample-of-%d.json", *benchRows))
	var sample benchSample
	if raw, err := os.ReadFile(name); err == nil {
		if err := json.Unmarshal(raw, &sample); err != nil {
			b.Fatal(err)
		}
		return f, sample.Files, sample.Dirs
	}
	f, files, dirs = makeBenchView(b, f)
	raw, err := json.Marshal(benchSample{files, dirs})
	if err == nil {
		err = os.WriteFile(name, raw, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	return f, files, dirs
}

func makeBenchView(b *testing.B, f *fixture) (_ *fixture, files, dirs []string) {
	b.Helper()
	tree := gentree.New(gentree.Options{Seed: 1, Rows: *benchRows})
	l := &benchLayers{fixture: f, b: b}
	rng := rand.New(rand.NewPCG(1, 1))
	l.writeBase(tree, func(r *evidence.Row) {
		if rng.IntN(*benchRows/2000+1) != 0 {
			return
		}
		if r.Type == event.Directory {
			dirs = append(dirs, r.Path())
		} else {
			files = append(files, r.Path())
		}
	})
	var deltas []layer.Info
	for seed := range uint64(2) {
		w := l.deltaWriter()
		for r := range tree.Changes(seed, 1000) {
			if err := w.Append(r); err != nil {
				b.Fatal(err)
			}
		}
		deltas = append(deltas, l.publish(w))
	}
	f.commit(testView, func(next *manifest.Manifest) {
		next.Base, next.Deltas, next.Totals = l.base, deltas, tree.Totals()
	})
	return f, files, dirs
}

// discard is a client that reads everything and keeps nothing.
type discard struct {
	header http.Header
	status int
	n      int64
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { d.n += int64(len(b)); return len(b), nil }

func ask(b *testing.B, h http.Handler, target, accept string) int64 {
	req := httptest.NewRequest("GET", target, nil)
	req.Header.Set("X-API-Key", queryKey)
	req.Header.Set("Accept", accept)
	d := &discard{header: http.Header{}, status: 200}
	h.ServeHTTP(d, req)
	if d.status != 200 && d.status != 404 { // the deltas remove a few
		b.Fatalf("%s: %d", target, d.status)
	}
	return d.n
}

// server is a Server as it runs in production.
func benchServer(b *testing.B, f *fixture, st store.Store, cache int64) http.Handler {
	b.Helper()
	s, err := New(Options{Store: st, Authenticator: f.server.keys, CacheBytes: cache})
	if err != nil {
		b.Fatal(err)
	}
	return s.Handler()
}

func BenchmarkRead(b *testing.B) {
	f, files, dirs := benchView(b)
	calls := []struct {
		name   string
		target func(i int) string
	}{
		{"stat", func(i int) string { return viewURL("metadata", "path", files[i%len(files)]) }},
		{"du", func(i int) string { return viewURL("metadata", "path", dirs[i%len(dirs)]) }},
		{"list", func(i int) string { return viewURL("list", "path", dirs[i%len(dirs)]) }},
		{"stats", func(i int) string { return viewURL("stats") }},
	}
	warm := benchServer(b, f, f.st, 2<<30)
	for _, c := range calls {
		b.Run("warm/"+c.name, func(b *testing.B) {
			for i := range len(files) + len(dirs) {
				ask(b, warm, c.target(i), "")
			}
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				ask(b, warm, c.target(i), "")
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
	for _, c := range calls {
		b.Run("cold/"+c.name, func(b *testing.B) {
			counted := store.Count(f.st)
			var most store.Counts
			for i := 0; b.Loop(); i++ {
				before := counted.Counts()
				ask(b, benchServer(b, f, counted, 64<<20), c.target(i), "")
				d := counted.Counts().Sub(before)
				most.Get, most.BytesIn = max(most.Get, d.Get), max(most.BytesIn, d.BytesIn)
			}
			b.ReportMetric(float64(most.Get), "gets-max")
			b.ReportMetric(float64(most.BytesIn)/1024, "KiB-max")
			deepest := 0
			for i := range min(b.N, 20) {
				deepest = max(deepest, fewestRounds(b, f, c.target(i), 3))
			}
			b.ReportMetric(float64(deepest), "rounds-max")
		})
	}
	benchScans(b, warm)
}

// benchScans goes through the whole view.
func benchScans(b *testing.B, warm http.Handler) {
	for _, pattern := range []string{"nothing-has-this", "*.nothing", "/*/nothing/**", "metrics"} {
		b.Run("warm/search/"+fmt.Sprintf("%q", pattern), func(b *testing.B) {
			target := viewURL("search", "pattern", pattern, "limit", "1000")
			ask(b, warm, target, "")
			for b.Loop() {
				ask(b, warm, target, "")
			}
			b.ReportMetric(float64(*benchRows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		})
	}
	for name, target := range map[string]string{"nodes": viewURL("tree"), "paths": viewURL("tree", "only_path", "true")} {
		b.Run("warm/stream/"+name, func(b *testing.B) {
			for b.Loop() {
				b.SetBytes(ask(b, warm, target, ndjson))
			}
			b.ReportMetric(float64(*benchRows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		})
	}
	b.Run("warm/tree-page", func(b *testing.B) {
		for b.Loop() {
			b.SetBytes(ask(b, warm, viewURL("tree"), ""))
		}
	})
}
