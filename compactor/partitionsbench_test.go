package compactor

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/cputime"
)

// plantPartitions makes a view of so many base partitions, each with one directory's files. Their indexes are objects of their own, as
// those of partitions of a million rows are. It returns the directories.
func (h *harness) plantPartitions(partitions int) (dirs []string) {
	h.Helper()
	const files, observed = 20, int64(1_750_000_000e9)
	var all evidence.Totals
	var rows [][]evidence.Row // of a partition each
	root := evidence.Row{Type: event.Directory, Mode: 0o755, ObservedAt: observed, Evidence: event.Snapshot, Open: true}
	var tops []evidence.Row
	for i := range partitions {
		name := fmt.Sprintf("project-%06d", i)
		dirs = append(dirs, "/"+name)
		top := evidence.Row{Parent: "/", Name: name, Type: event.Directory, Mode: 0o755, ObservedAt: observed, Evidence: event.Snapshot, Open: true}
		top.Sub = top.Own()
		var of []evidence.Row
		for f := range files {
			of = append(of, evidence.Row{Parent: "/" + name + "/", Name: fmt.Sprintf("sample_%04d.fastq.gz", f), Type: event.File, Mode: 0o644, Size: 100,
				MtimeNs: observed, ObservedAt: observed, Evidence: event.Snapshot})
			top.Sub = top.Sub.Plus(of[f].Own())
		}
		tops, all = append(tops, top), all.Plus(top.Sub)
		rows = append(rows, of)
	}
	root.Sub = root.Own().Plus(all)
	rows[0] = append(append([]evidence.Row{root}, tops...), rows[0]...)
	var base []layer.Info
	for _, of := range rows {
		id, err := h.c.newID()
		if err != nil {
			h.Fatalf("%v", err)
		}
		w := layer.NewWriter(layer.WriterOptions{ID: id})
		for i := range of {
			if err := w.Append(&of[i]); err != nil {
				h.Fatalf("%v", err)
			}
		}
		built, err := w.Finish()
		if len(built.Index) == 0 {
			built.Index, built.Info.Index, built.Info.IndexBytes = built.Info.Index, nil, int64(len(built.Info.Index))
		}
		if err == nil {
			err = layer.Publish(h.ctx, h.store, viewName, built)
		}
		if err != nil {
			h.Fatalf("%v", err)
		}
		base = append(base, built.Info)
	}
	epoch := h.epoch()
	_, err := h.c.publish(h.ctx, h.head(), "fold", func(m *manifest.Manifest) error {
		m.Epoch, m.Base, m.Totals, m.Scan.SnapshotDone, m.ObservedAt = epoch, base, root.Sub, 1, observed
		return nil
	})
	if err != nil {
		h.Fatalf("%v", err)
	}
	return dirs
}

// BenchmarkFoldByPartitions is a fold of one changed file by how many partitions the view has: what it takes, by the clock and of the
// processor, reads, writes and asks of the store. In "of-another", another process has published the version before, so head is read.
// cold-head is what a process that has just started reads to know the layers. FUSTOR_BENCH_ROWS leaves out views of more than a hundredth as
// many partitions.
func BenchmarkFoldByPartitions(b *testing.B) {
	type kind struct {
		partitions, inline int
		another            bool
	}
	for _, c := range []kind{{1, 0, false}, {100, 0, false}, {1000, 0, false}, {1000, 0, true}, {1000, 256, false}, {3000, 0, false}, {3000, 0, true}, {3000, 1 << 20, false},
		{10_000, 0, false}, {10_000, 0, true}, {10_000, 1 << 20, false}} {
		partitions, name := c.partitions, fmt.Sprint(c.partitions)
		switch c.inline {
		case 256:
			name += "-in-leaves"
		case 1 << 20:
			name += "-inline"
		}
		if c.another {
			name += "-of-another"
		}
		b.Run(name, func(b *testing.B) {
			if partitions*100 > benchRows(b) {
				b.Skip("FUSTOR_BENCH_ROWS asks for small views")
			}
			h := newHarness(b, b.TempDir(), 0, Options{InlinePartitions: c.inline})
			dirs := h.plantPartitions(partitions)
			s := h.teller("bench")
			counted := h.counted(Options{MaxDeltas: 1 << 20, InlinePartitions: c.inline})
			observed := int64(1_750_010_000e9)
			change := func() {
				observed += 1e9
				name := "sample_0007.fastq.gz"
				s.tell(event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: observed, Path: filepath.Join(dirs[len(dirs)/2], name), Atomic: true,
					Entry: event.Entry{Name: name, Type: event.File, Mode: 0o644, Size: observed % 1000, MtimeNs: observed}})
				s.send()
				h.fold()
			}
			change()
			before := counted.Counts()
			var took, used time.Duration
			for b.Loop() {
				if c.another { // another process has published since
					clear(h.c.known)
					h.c.knownFor = 0
				}
				began, cpu := time.Now(), cputime.Used()
				change()
				took, used = took+time.Since(began), used+cputime.Used()-cpu
			}
			spent, n := counted.Counts().Sub(before), float64(b.N)
			b.ReportMetric(took.Seconds()*1000/n, "ms/fold")
			b.ReportMetric(used.Seconds()*1000/n, "cpu-ms/fold")
			b.ReportMetric(float64(spent.BytesOut)/1024/n, "KiB-written/fold")
			b.ReportMetric(float64(spent.BytesIn)/1024/n, "KiB-read/fold")
			b.ReportMetric(float64(spent.Put)/n, "puts/fold")
			b.ReportMetric(float64(spent.Get)/n, "gets/fold")
			cold := store.Count(h.store)
			began := time.Now()
			if _, _, err := manifest.Load(h.ctx, cold, viewName); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(began).Seconds()*1000, "cold-head-ms")
			b.ReportMetric(float64(cold.Counts().BytesIn)/1024, "cold-head-KiB")
			b.ReportMetric(float64(cold.Counts().Get), "cold-head-gets")
			b.ReportMetric(0, "ns/op")
		})
	}
}
