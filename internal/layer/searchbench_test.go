//go:build unix

package layer

import (
	"syscall"
	"testing"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/testkit/gentree"
)

// BenchmarkSearchIndex measures what the search index of a partition costs, beside all that writing it takes: in seconds
// of the processor, so that the share is right on a busy machine.
func BenchmarkSearchIndex(b *testing.B) {
	var rows []evidence.Row
	for r := range gentree.New(gentree.Options{Seed: 1, Rows: partition}).Rows() {
		rows = append(rows, *r)
	}
	var index, pages, all, pageBytes float64
	for b.Loop() {
		began := cpuSeconds(b)
		w := NewWriter(WriterOptions{ID: id(1)})
		for i := range rows {
			if err := w.Append(&rows[i]); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Finish(); err != nil {
			b.Fatal(err)
		}
		all += cpuSeconds(b) - began
		names, offsets := []byte(nil), []uint32{0}
		for i := range rows {
			names = append(names, rows[i].Name...)
			offsets = append(offsets, uint32(len(names)))
		}
		began = cpuSeconds(b)
		var columns []*gramSet
		for i := 0; i < len(rows); i += RowsPerGroup {
			columns = append(columns, &gramSet{})
			columns[len(columns)-1].addNames(textIn(names), offsets[i:min(i+RowsPerGroup, len(rows))+1])
		}
		index += cpuSeconds(b) - began
		began = cpuSeconds(b)
		e, err := newEncoder()
		if err != nil {
			b.Fatal(err)
		}
		for i := range searchPages {
			pageBytes += float64(len(e.zstd.EncodeAll(transposed(columns, i), nil)))
		}
		pages += cpuSeconds(b) - began
	}
	b.ReportMetric(pageBytes/float64(b.N)/partition, "bytes/row")
	b.ReportMetric(100*(index+pages)/all, "%-of-writing")
	b.ReportMetric(1e9*index/float64(b.N)/partition, "cpu-ns/row-names")
	b.ReportMetric(1e9*pages/float64(b.N)/partition, "cpu-ns/row-pages")
	b.ReportMetric(1e9*all/float64(b.N)/partition, "cpu-ns/row-writing")
	b.ReportMetric(0, "ns/op")
}

// cpuSeconds is what the process has used of the processors.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}
