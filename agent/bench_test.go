package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
)

// benchTree is the tree to scan: FUSTOR_BENCH_TREE, or one of a hundred thousand files.
func benchTree(b *testing.B) string {
	b.Helper()
	if dir := os.Getenv("FUSTOR_BENCH_TREE"); dir != "" {
		return dir
	}
	dir := b.TempDir()
	for d := range 2000 {
		sub := filepath.Join(dir, fmt.Sprintf("project-%03d", d/50), fmt.Sprintf("run_%04d", d))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range 50 {
			file, err := os.Create(filepath.Join(sub, fmt.Sprintf("sample_%06d.dat", f)))
			if err != nil {
				b.Fatal(err)
			}
			_ = file.Close()
		}
	}
	return dir
}

// scanToSegments scans a tree into encoded segments, which are thrown away.
func scanToSegments(b *testing.B, dir string, covered bool) uint64 {
	b.Helper()
	clock := pipe.NewClock(nil, nil)
	s := pipe.New(pipe.Config{View: "bench", Agent: "a", Source: "fs://bench", Now: clock.Now})
	if _, err := s.Begin("session", 1); err != nil {
		b.Fatal(err)
	}
	var drain sync.WaitGroup
	drain.Go(func() {
		for {
			seg, err := s.Next(context.Background())
			if err != nil {
				return
			}
			s.Sent(seg)
		}
	})
	root, err := tree.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	x, err := tree.NewExcludes(tree.DefaultExcludes)
	if err != nil {
		b.Fatal(err)
	}
	counts := &scan.Counts{}
	cfg := scan.Config{Root: root, Excludes: x, Evidence: event.Snapshot, Now: clock.Now, Counts: counts,
		Emit: func(ctx context.Context, ev *event.Event, _ scan.Place) error { return s.Scan(ctx, 1, ev, nil) }}
	if covered {
		cfg.Cover = coverer(b, dir)
	}
	if err := scan.Run(context.Background(), cfg, "/"); err != nil {
		b.Fatal(err)
	}
	s.Close()
	drain.Wait()
	return counts.Files.Load() + counts.Directories.Load() + counts.Others.Load()
}

// BenchmarkScanAgainstFind scans a warm tree into segments and runs `find -printf` on it, in turns, and reports the
// ratio of their wall times.
func BenchmarkScanAgainstFind(b *testing.B) {
	find, err := exec.LookPath("find")
	if err != nil {
		b.Skip("find is not installed")
	}
	dir := benchTree(b)
	runFind := func() time.Duration {
		start := time.Now()
		cmd := exec.Command(find, dir, "-xdev", "-printf", `%P\0%y\0%s\0%T@\0%m\0%U\0%G\0%l\0`)
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	runFind()
	for _, covered := range []bool{false, true} {
		b.Run(fmt.Sprintf("watch=%v", covered), func(b *testing.B) {
			b.ReportAllocs()
			var ours, theirs time.Duration
			var entries uint64
			for b.Loop() {
				start := time.Now()
				entries += scanToSegments(b, dir, covered)
				ours += time.Since(start)
				b.StopTimer()
				theirs += runFind()
				b.StartTimer()
			}
			b.ReportMetric(float64(entries)/ours.Seconds(), "entries/s")
			b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio-to-find")
		})
	}
}

// coverer is a watcher's Cover, with nobody listening to what it hears.
func coverer(b *testing.B, dir string) func(tree.Root, tree.Dir, string) (scan.Place, error) {
	b.Helper()
	x, err := tree.NewExcludes(nil)
	if err != nil {
		b.Fatal(err)
	}
	w, err := watch.New(watch.Config{Root: dir, Excludes: x, Now: pipe.NewClock(nil, nil).Now, Logger: slog.New(slog.DiscardHandler),
		Emit: func([]event.Event) bool { return true }, HasRoom: func() bool { return true }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Close)
	return w.Cover
}
