//go:build unix

package layer

import (
	"testing"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/testkit/cputime"
	"github.com/fustor/fustor/testkit/gentree"
)

// BenchmarkSearchIndex measures what the search index of a partition costs, beside all that writing it takes: in seconds
// of the processor, so that the share is right on a busy machine.
func BenchmarkSearchIndex(b *testing.B) {
	var rows []evidence.Row
	for r := range gentree.New(gentree.Options{Seed: 1, Rows: int(partition)}).Rows() {
		rows = append(rows, *r)
	}
	var index, pages, all, pageBytes float64
	for b.Loop() {
		began := cputime.Used().Seconds()
		w := NewWriter(WriterOptions{ID: id(1)})
		for i := range rows {
			if err := w.Append(&rows[i]); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Finish(); err != nil {
			b.Fatal(err)
		}
		all += cputime.Used().Seconds() - began
		names, offsets := []byte(nil), []uint32{0}
		for i := range rows {
			names = append(names, rows[i].Name...)
			offsets = append(offsets, uint32(len(names)))
		}
		began = cputime.Used().Seconds()
		var columns []*slotSet
		for i := 0; i < len(rows); i += RowsPerGroup {
			columns = append(columns, &slotSet{})
			columns[len(columns)-1].addNames(textIn(names), offsets[i:min(i+RowsPerGroup, len(rows))+1])
		}
		index += cputime.Used().Seconds() - began
		began = cputime.Used().Seconds()
		e, err := newEncoder()
		if err != nil {
			b.Fatal(err)
		}
		for i := range searchPages {
			pageBytes += float64(len(e.zstd.EncodeAll(transposed(columns, i), nil)))
		}
		pages += cputime.Used().Seconds() - began
	}
	b.ReportMetric(pageBytes/float64(b.N)/float64(partition), "bytes/row")
	b.ReportMetric(100*(index+pages)/all, "%-of-writing")
	b.ReportMetric(1e9*index/float64(b.N)/float64(partition), "cpu-ns/row-names")
	b.ReportMetric(1e9*pages/float64(b.N)/float64(partition), "cpu-ns/row-pages")
	b.ReportMetric(1e9*all/float64(b.N)/float64(partition), "cpu-ns/row-writing")
	b.ReportMetric(0, "ns/op")
}
