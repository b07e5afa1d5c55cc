package compactor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/gentree"
)

// BenchmarkWriteAmplification folds a long run of changes, two fifths of the view's rows in all, and says how many bytes
// merges write for each that folds write. FUSTOR_BENCH_PARTITIONS says how many base partitions the view has at first (10).
func BenchmarkWriteAmplification(b *testing.B) {
	rows, parts := benchRows(b), benchNumber(b, "FUSTOR_BENCH_PARTITIONS", 10)
	for _, pattern := range []string{"scattered", "one-tree", "log"} {
		b.Run(pattern, func(b *testing.B) {
			for range b.N {
				amplify(b, pattern, rows, int64(rows/parts+1))
			}
		})
	}
}

func amplify(b *testing.B, pattern string, rows int, partition int64) {
	b.StopTimer()
	o := Options{PartitionRows: partition}
	h := newHarness(b, b.TempDir(), 0, o)
	files, _ := h.plant(rows)
	slices.Sort(files)
	rng := rand.New(rand.NewPCG(1, 1))
	s := h.teller("bench")
	counted := h.counted(o)
	observed := int64(gentree.ScanStart) + 7200e9
	next := func(n int) string {
		switch f := files[rng.IntN(len(files))]; pattern {
		case "scattered":
			return f + strconv.Itoa(rng.IntN(rows/len(files)))
		case "one-tree":
			return files[len(files)/2+rng.IntN(len(files)/100)] + strconv.Itoa(rng.IntN(rows/len(files)))
		}
		return fmt.Sprintf("/m-logs/%010d.log", n)
	}
	const folds = 200
	var folded, merged uint64
	made, deepest := 0, 0
	b.StartTimer()
	for range folds {
		for range rows * 2 / 5 / folds {
			observed += 1e6
			made++
			s.tell(putOf(next(made), observed, observed%1e6))
		}
		s.tell(event.Event{Kind: event.Marked, Evidence: event.Realtime, ObservedAt: observed, Path: "/", Mark: event.Mark{Kind: event.Overflow}})
		s.send()
		before := counted.Counts()
		h.fold()
		folded += counted.Counts().BytesOut - before.BytesOut
		before = counted.Counts()
		for h.merge() {
		}
		merged += counted.Counts().BytesOut - before.BytesOut
		deepest = max(deepest, len(deltaRuns(h.head().Deltas)))
	}
	m := h.head()
	deltas := int64(0)
	for _, d := range m.Deltas {
		deltas += d.Rows
	}
	b.ReportMetric(float64(folded)/float64(made), "folded-B/event")
	b.ReportMetric(float64(merged)/float64(folded), "merged-B/folded-B")
	b.ReportMetric(float64(deepest), "deltas-at-most")
	b.ReportMetric(float64(deltas)/float64(made), "left-in-deltas")
}
