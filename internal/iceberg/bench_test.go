package iceberg

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/gentree"
)

var (
	benchRows  = flag.Int("rows", 200_000, "rows of the view that is published")
	benchEvery = flag.Int("every", 100, "one in so many of them changes before the view is published again")
)

// BenchmarkPublish publishes a view whole, and then again after changes of a hundredth of its rows that are scattered over all of it. It
// says what each asks of the store, and the most memory that the heap took; and the same of the table of its changes.
func BenchmarkPublish(b *testing.B) {
	st, err := local.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	root, err := Root(st.String())
	if err != nil {
		b.Fatal(err)
	}
	counted := &counter{Store: st}
	p := &Publisher{Store: counted, Root: root, Cache: layer.NewCache(32 << 20), Now: func() int64 { return time.Now().UnixNano() }, Random: bytesOf{rand.New(rand.NewPCG(1, 1))}}
	ids := 0
	writer := func(perGroup int) *layer.Writer {
		ids++
		return layer.NewWriter(layer.WriterOptions{ID: fmt.Sprintf("01JZ%022d", ids), RowsPerGroup: perGroup})
	}
	finish := func(w *layer.Writer) layer.Info {
		built, err := w.Finish()
		if err == nil {
			err = layer.Publish(b.Context(), st, testView, built)
		}
		if err != nil {
			b.Fatal(err)
		}
		return built.Info
	}
	m := &manifest.Manifest{Format: 1, View: testView, Version: 1, Nonce: "x", FoldedAt: 1}
	base, delta := writer(layer.RowsPerGroup), writer(layer.DeltaRowsPerGroup)
	n := 0
	add := func(w *layer.Writer, r *evidence.Row) {
		if err := w.Append(r); err != nil {
			b.Fatal(err)
		}
	}
	for r := range gentree.New(gentree.Options{Seed: 5, Rows: *benchRows}).Rows() {
		if base.Rows() == 1<<20 {
			m.Base, base = append(m.Base, finish(base)), writer(layer.RowsPerGroup)
		}
		add(base, r)
		if n++; n%*benchEvery == 0 {
			changed := *r
			changed.Removed = n%(10**benchEvery) == 0
			changed.MtimeNs += 1e9
			add(delta, &changed)
		}
	}
	m.Base = append(m.Base, finish(base))
	next := *m
	next.Version, next.Deltas = 2, []layer.Info{finish(delta)}
	measured := func(name string, do func(b *testing.B) error) {
		b.Run(name, func(b *testing.B) {
			debug.SetGCPercent(50)
			runtime.GC()
			*counted = counter{Store: st}
			var peak atomic.Uint64
			done, ended := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				var s runtime.MemStats
				for {
					runtime.ReadMemStats(&s)
					peak.Store(max(peak.Load(), s.HeapInuse))
					select {
					case <-done:
						return
					case <-time.After(5 * time.Millisecond):
					}
				}
			}()
			err := do(b)
			close(done)
			<-ended
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(peak.Load())/(1<<20), "MiB-heap")
			b.ReportMetric(float64(counted.gets), "GETs")
			b.ReportMetric(float64(counted.puts), "PUTs")
			b.ReportMetric(float64(counted.bytes), "bytes-written")
		})
	}
	for _, v := range []*manifest.Manifest{m, &next} {
		measured(fmt.Sprintf("version%d", v.Version), func(b *testing.B) error {
			result, err := p.Publish(b.Context(), testView, func(*Table) ([]*manifest.Manifest, error) { return []*manifest.Manifest{v}, nil }, nil)
			b.ReportMetric(float64(result.DeletedRows), "deleted-rows")
			b.ReportMetric(float64(len(v.Base)+len(v.Deltas)), "layers")
			return err
		})
	}
	if _, err := manifest.Commit(b.Context(), st, m, ""); err != nil { // the table of changes reads what it was at
		b.Fatal(err)
	}
	for _, v := range []*manifest.Manifest{m, &next} {
		measured(fmt.Sprintf("changes%d", v.Version), func(b *testing.B) error {
			result, err := p.PublishChanges(b.Context(), testView, []*manifest.Manifest{v}, 0)
			b.ReportMetric(float64(result.Rows), "changes")
			return err
		})
	}
}
