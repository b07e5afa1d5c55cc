package agent_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
)

// BenchmarkFreshness is how long it takes from close(2) to a durable segment while files are written one after the other,
// so at the pace of one segment a second.
func BenchmarkFreshness(b *testing.B) {
	root := b.TempDir()
	r := start(b, newServer(b), root, func(o *agent.Options) { o.Tuning.SegmentAge = 0 })
	r.snapshotted()
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		path := fmt.Sprintf("/f%d", i)
		write(b, filepath.Join(root, path), "x")
		closed := time.Now()
		eventually(b, 10*time.Second, path, func() bool {
			r.view.mu.Lock()
			defer r.view.mu.Unlock()
			return r.view.rows[path].atomic
		})
		took = append(took, time.Since(closed))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
}
