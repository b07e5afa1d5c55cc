package query

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/gentree"
)

// BenchmarkDiff compares a view of generated rows with a version in which a share of the rows has changed: in one place, or all over the
// view; after a fold, which leaves a delta, and after a merge, which copies the row groups that nothing has changed in. It measures the
// first page, and the whole diff as a stream, with an empty cache.
func BenchmarkDiff(b *testing.B) {
	f := newFixture(b)
	tree := gentree.New(gentree.Options{Seed: 1, Rows: *benchRows})
	d := &benchLayers{fixture: f, b: b}
	d.writeBase(tree, nil)
	first := f.commit(testView, func(m *manifest.Manifest) { m.Base, m.Totals = d.base, tree.Totals() })
	for _, share := range []float64{0.0001, 0.001, 0.01} {
		for _, place := range []string{"together", "scattered"} {
			n := int(share * float64(*benchRows))
			delta, merged := d.change(tree, n, place == "scattered")
			fold := f.commit(testView, func(m *manifest.Manifest) { m.Base, m.Deltas = d.base, []layer.Info{delta} })
			merge := f.commit(testView, func(m *manifest.Manifest) { m.Base, m.Deltas = merged, nil })
			for name, to := range map[string]*manifest.Manifest{"fold": fold, "merge": merge} {
				target := viewURL("diff", "from", number(first.Version), "to", number(to.Version))
				for form, accept := range map[string]string{"page": "application/json", "whole": ndjson} {
					b.Run(fmt.Sprintf("%g%%/%s/%s/%s", share*100, place, name, form), func(b *testing.B) { d.measure(b, target, accept) })
				}
			}
		}
	}
}

func (d *benchLayers) measure(b *testing.B, target, accept string) {
	counted := store.Count(d.st)
	var reads store.Counts
	for b.Loop() {
		before := counted.Counts()
		b.StopTimer()
		server := benchServer(b, d.fixture, counted, 128<<20)
		b.StartTimer()
		ask(b, server, target, accept)
		reads = counted.Counts().Sub(before)
	}
	b.ReportMetric(float64(reads.Get), "gets")
	b.ReportMetric(float64(reads.BytesIn)/1024, "KiB")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms")
}

// change makes a version in which n files have changed: the delta of a fold, and the base of a merge.
func (d *benchLayers) change(tree *gentree.Tree, n int, scattered bool) (delta layer.Info, merged []layer.Info) {
	d.b.Helper()
	changed := map[layer.Key]evidence.Row{}
	w := d.deltaWriter()
	every, i := *benchRows/n, 0
	for r := range tree.Rows() {
		if i++; len(changed) == n || r.Type != event.File || scattered && i%every != 0 || !scattered && i < *benchRows/2 {
			continue
		}
		row := *r
		row.Size, row.MtimeNs, row.ObservedAt = row.Size+1, row.MtimeNs+int64(time.Hour), row.ObservedAt+1
		changed[layer.Key{Parent: row.Parent, Name: row.Name}] = row
		if err := w.Append(&row); err != nil {
			d.b.Fatal(err)
		}
	}
	for _, info := range d.base {
		merged = append(merged, d.merge(info, changed))
	}
	return d.publish(w), merged
}

// merge writes a base partition with the changed rows, and copies the row groups without any.
func (d *benchLayers) merge(info layer.Info, changed map[layer.Key]evidence.Row) layer.Info {
	d.b.Helper()
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			d.b.Fatal(err)
		}
	}
	old, err := layer.Open(ctx, d.st, testView, info, layer.NewCache(64<<20))
	must(err)
	groups, err := old.Groups(ctx)
	must(err)
	w, any := d.writer(), false
	for i := range groups {
		block, err := old.Block(ctx, i)
		must(err)
		touched := false
		for j := range block.Len() {
			if _, touched = changed[block.Key(j)]; touched {
				break
			}
		}
		if !touched {
			raw, err := old.RawGroup(ctx, i)
			must(err)
			must(w.AppendGroup(raw))
			continue
		}
		any = true
		for j := range block.Len() {
			var r evidence.Row
			must(block.Row(j, &r))
			if new, ok := changed[block.Key(j)]; ok {
				r = new
			}
			must(w.Append(&r))
		}
	}
	if !any {
		return info
	}
	return d.publish(w)
}
