package watch

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/cputime"
)

// benchDirectories is how many directories there are: FUSTOR_BENCH_DIRS, or 100,000.
func benchDirectories(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("FUSTOR_BENCH_DIRS"))
	if err != nil {
		n = 100_000
	}
	if limit := watchLimit(); limit > 0 && n > limit*9/10 {
		b.Logf("the limit of %d watches does not allow %d directories for inotify", limit, n)
	}
	return n
}

// benchDirs makes a tree of so many directories, a hundred in each.
func benchDirs(b *testing.B, n int) string {
	b.Helper()
	root := b.TempDir()
	for i := range n {
		if err := os.MkdirAll(filepath.Join(root, fmt.Sprintf("group-%05d", i/100), fmt.Sprintf("run_%07d", i)), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	return root
}

func benchWatcher(b *testing.B, root, method string) *Watcher {
	b.Helper()
	x, err := tree.NewExcludes(nil)
	if err != nil {
		b.Fatal(err)
	}
	w, err := New(Config{
		Root: root, Method: method, Excludes: x, Now: func() int64 { return time.Now().UnixNano() }, Logger: slog.New(slog.DiscardHandler),
		Emit: func([]event.Event) bool { return true }, HasRoom: func() bool { return true },
		Overflow: func([]string) {}, RootLost: func(error) {}, RootBack: func() {},
	})
	if err != nil {
		b.Fatal(err)
	}
	if s := w.Status(); s.Method != method {
		b.Skipf("needs %s: %s", method, s.Reason)
	}
	return w
}

func coverBench(b *testing.B, w *Watcher) {
	b.Helper()
	root, err := w.OpenRoot()
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	gen := w.BeginCoverage()
	if err := scan.Run(b.Context(), scan.Config{Root: root, Excludes: w.cfg.Excludes, Now: w.cfg.Now, Cover: w.Cover}, &scan.Receiver{Counts: &scan.Counts{}}, "/"); err != nil {
		b.Fatal(err)
	}
	w.EndCoverage(gen, true)
}

// slab is the kernel's memory for objects, bytes.
func slab() int64 {
	body, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(body)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "SUnreclaim:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkCover watches a tree: the memory that it takes, of the kernel (unreclaimable slab of the whole host, so other
// work disturbs it) and of this process, and the processor's time. A second walk without watches is the scan's own share.
func BenchmarkCover(b *testing.B) {
	n := benchDirectories(b)
	root := benchDirs(b, n)
	total := float64(n + (n+99)/100 + 1)
	for _, method := range []string{"inotify", "fanotify"} {
		b.Run(method, func(b *testing.B) {
			var kernel, heap, cpu float64
			for b.Loop() {
				beforeHeap, beforeSlab := heapInUse(), slab()
				w := benchWatcher(b, root, method)
				began := cputime.Used()
				coverBench(b, w)
				cpu += (cputime.Used() - began).Seconds()
				heap += float64(heapInUse() - beforeHeap)
				kernel += float64(slab() - beforeSlab)
				if s := w.Status(); s.Unwatched > 0 {
					b.Logf("%d directories have no watch: %s", s.Unwatched, s.Reason)
				}
				w.Close()
			}
			b.ReportMetric(kernel/float64(b.N)/total, "kernel-B/dir")
			b.ReportMetric(heap/float64(b.N)/total, "heap-B/dir")
			b.ReportMetric(cpu/float64(b.N)/total*1e6, "cpu-µs/dir")
		})
	}
}

// BenchmarkNotices makes files as fast as this host can while the notifier is read: notices a second and of the reader's
// processor time, and whether any were lost. "others" happen on the same file system outside of the tree.
func BenchmarkNotices(b *testing.B) {
	for _, c := range []struct {
		method string
		others bool
	}{{"inotify", false}, {"fanotify", false}, {"fanotify", true}} {
		name := c.method
		if c.others {
			name += "/others"
		}
		b.Run(name, func(b *testing.B) {
			root, elsewhere := b.TempDir(), b.TempDir()
			w := benchWatcher(b, root, c.method)
			defer w.Close()
			coverBench(b, w)
			got, lost := 0, 0
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					notices, err := w.notifier.Read()
					if err != nil {
						return
					}
					for _, n := range notices {
						if n.Op&OpOverflow != 0 {
							lost++
						}
					}
					got += len(notices)
				}
			}()
			dir := root
			if c.others {
				dir = elsewhere
			}
			files, began := 0, time.Now()
			cpu := cputime.Used()
			for b.Loop() {
				f, err := os.Create(filepath.Join(dir, strconv.Itoa(files%50_000)))
				if err != nil {
					b.Fatal(err)
				}
				_ = f.Close()
				files++
			}
			took := time.Since(began)
			w.notifier.Finish()
			<-done
			b.ReportMetric(float64(files)/took.Seconds(), "files/s")
			b.ReportMetric(float64(got)/took.Seconds(), "notices/s")
			b.ReportMetric(float64(lost), "overflows")
			b.ReportMetric((cputime.Used()-cpu).Seconds()/float64(files)*1e6, "cpu-µs/file")
		})
	}
}

// BenchmarkIdle is the processor's time of a watcher to which nothing happens, for a second of real time each.
func BenchmarkIdle(b *testing.B) {
	for _, method := range []string{"inotify", "fanotify"} {
		b.Run(method, func(b *testing.B) {
			w := benchWatcher(b, benchDirs(b, 10_000), method)
			coverBench(b, w)
			done := make(chan error, 1)
			ctx, stop := context.WithCancel(b.Context())
			go func() { done <- w.Run(ctx) }()
			began, cpu := time.Now(), cputime.Used()
			for b.Loop() {
				<-time.After(time.Second)
			}
			b.ReportMetric((cputime.Used()-cpu).Seconds()/time.Since(began).Seconds()*100, "cpu-%")
			stop()
			<-done
		})
	}
}
