package agent_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/bus"
	"github.com/fustor/fustor/agent/hang"
	"github.com/fustor/fustor/agent/known"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/testkit/cputime"
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
	clock := pipe.NewClock(pipe.NewTicks(lease.Host()))
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
	cfg := scan.Config{Root: root, Excludes: x, Now: clock.Now}
	to := &scan.Receiver{Evidence: event.Snapshot, Counts: counts,
		Emit: func(ctx context.Context, ev *event.Event, _ scan.Reading) error { return s.Scan(ctx, 1, ev, nil) }}
	if covered {
		cfg.Cover = coverer(b, dir)
	}
	if err := scan.Run(context.Background(), cfg, to, "/"); err != nil {
		b.Fatal(err)
	}
	s.Close()
	drain.Wait()
	return counts.Files.Load() + counts.Directories.Load() + counts.Others.Load()
}

// rivals are programs that walk the same tree.
func rivals(dir string) map[string][]string {
	return map[string][]string{
		"Find": {"find", dir, "-xdev", "-printf", `%P\0%y\0%s\0%T@\0%m\0%U\0%G\0%l\0`},
		"Du":   {"du", "-x", "-s", dir},
		"Fd":   {"fdfind", "--unrestricted", "--one-file-system", "--list-details", ".", dir},
		// fd alone prints names, and looks at no file.
		"FdNames": {"fdfind", "--unrestricted", "--one-file-system", ".", dir},
	}
}

// BenchmarkScanAgainstFind and those below scan a warm tree into segments and run a program on it, in turns, and report the
// ratios of their wall times and of their processor times; the latter hold on a busy machine, too. FUSTOR_BENCH_TREE names the tree;
// FUSTOR_BENCH_COLD=1 drops the kernel's caches before each run, as root.
func BenchmarkScanAgainstFind(b *testing.B)    { scanAgainst(b, "Find") }
func BenchmarkScanAgainstDu(b *testing.B)      { scanAgainst(b, "Du") }
func BenchmarkScanAgainstFd(b *testing.B)      { scanAgainst(b, "Fd") }
func BenchmarkScanAgainstFdNames(b *testing.B) { scanAgainst(b, "FdNames") }

func scanAgainst(b *testing.B, rival string) {
	dir := benchTree(b)
	command := rivals(dir)[rival]
	if _, err := exec.LookPath(command[0]); err != nil {
		b.Skip(command[0] + " is not installed")
	}
	runRival := func() (took, spent time.Duration) {
		dropCaches(b)
		start, run := time.Now(), exec.Command(command[0], command[1:]...)
		if err := run.Run(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start), run.ProcessState.UserTime() + run.ProcessState.SystemTime()
	}
	runRival()
	for _, covered := range []bool{false, true} {
		b.Run(fmt.Sprintf("watch=%v", covered), func(b *testing.B) {
			b.ReportAllocs()
			var ours, theirs, oursSpent, theirsSpent time.Duration
			var entries uint64
			for b.Loop() {
				dropCaches(b)
				start, before := time.Now(), cputime.Used()
				entries += scanToSegments(b, dir, covered)
				ours, oursSpent = ours+time.Since(start), oursSpent+cputime.Used()-before
				b.StopTimer()
				took, spent := runRival()
				theirs, theirsSpent = theirs+took, theirsSpent+spent
				b.StartTimer()
			}
			b.ReportMetric(float64(entries)/ours.Seconds(), "entries/s")
			b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio-to-"+strings.ToLower(rival))
			b.ReportMetric(oursSpent.Seconds()/theirsSpent.Seconds(), "cpu-ratio")
			b.ReportMetric(float64(oursSpent.Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// dropCaches makes the next run a cold one, if that is asked for.
func dropCaches(b *testing.B) {
	b.Helper()
	if os.Getenv("FUSTOR_BENCH_COLD") == "" {
		return
	}
	if err := exec.Command("sync").Run(); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkResume scans a tree whole, and as after a restart when nothing has changed, in turns, both watching. It reports
// the calls of each and the ratio of their wall times.
func BenchmarkResume(b *testing.B) {
	dir := benchTree(b)
	sys := &counting{System: tree.OS}
	x, err := tree.NewExcludes(tree.DefaultExcludes)
	if err != nil {
		b.Fatal(err)
	}
	run := func(from *scan.Known, listed func(string, int64, scan.Content, iter.Seq[string])) (time.Duration, calls) {
		before := sys.calls.load()
		root, err := sys.OpenRoot(dir)
		if err != nil {
			b.Fatal(err)
		}
		defer root.Close()
		start := time.Now()
		err = scan.Run(context.Background(), scan.Config{
			Root: root, Excludes: x, Now: pipe.NewClock(pipe.NewTicks(lease.Host())).Now, Cover: coverer(b, dir),
		}, &scan.Receiver{
			Evidence: event.Snapshot, Counts: &scan.Counts{}, Known: from, Listed: listed,
			Emit: func(context.Context, *event.Event, scan.Reading) error { return nil },
		}, "/")
		if err != nil {
			b.Fatal(err)
		}
		return time.Since(start), sys.calls.load().minus(before)
	}
	log, err := known.Open(filepath.Join(b.TempDir(), "dirs"), known.Identity{View: "bench"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	run(nil, func(path string, mtime int64, _ scan.Content, dirs iter.Seq[string]) {
		log.Listed("s", 1, path, mtime, dirs)
	})
	log.Sent("s", 1)
	log.Alive("s", time.Now().Add(time.Second))
	var whole, resumed time.Duration
	var all, few calls
	for b.Loop() {
		var took time.Duration
		took, all = run(nil, nil)
		whole += took
		start := time.Now()
		from, err := log.Load()
		if err != nil {
			b.Fatal(err)
		}
		load := time.Since(start)
		took, few = run(from, nil)
		resumed += load + took
	}
	b.ReportMetric(float64(all.lstats), "lstats-whole")
	b.ReportMetric(float64(all.reads), "reads-whole")
	b.ReportMetric(float64(all.opens), "opens-whole")
	b.ReportMetric(float64(few.lstats), "lstats-resumed")
	b.ReportMetric(float64(few.reads), "reads-resumed")
	b.ReportMetric(float64(few.opens), "opens-resumed")
	b.ReportMetric(resumed.Seconds()/whole.Seconds(), "ratio-to-whole")
}

// calls are looks at a tree.
type calls struct{ opens, reads, lstats uint64 }

func (c calls) minus(o calls) calls {
	return calls{c.opens - o.opens, c.reads - o.reads, c.lstats - o.lstats}
}

// counting counts the calls of directories. What a watcher looks at beside them is not among them.
type counting struct {
	tree.System
	calls counter
}

type counter struct{ opens, reads, lstats atomic.Uint64 }

func (c *counter) load() calls { return calls{c.opens.Load(), c.reads.Load(), c.lstats.Load()} }

func (c *counting) OpenRoot(path string) (tree.Root, error) {
	root, err := c.System.OpenRoot(path)
	return &countingRoot{root, &c.calls}, err
}

type countingRoot struct {
	tree.Root
	c *counter
}

func (r *countingRoot) OpenDir(path string) (tree.Dir, error) {
	r.c.opens.Add(1)
	d, err := r.Root.OpenDir(path)
	if err != nil {
		return nil, err
	}
	return &countingDir{d, r.c}, nil
}

type countingDir struct {
	tree.Dir
	c *counter
}

func (d *countingDir) FD() int { return d.Dir.(interface{ FD() int }).FD() }

func (d *countingDir) Read(n *tree.Names) error {
	d.c.reads.Add(1)
	return d.Dir.Read(n)
}

func (d *countingDir) Lstat(n *tree.Names, i int) (tree.Info, error) {
	d.c.lstats.Add(1)
	return d.Dir.Lstat(n, i)
}

// BenchmarkPipesOnOneSource is what agents on one tree cost until each has taken its snapshot: with a source of their own each,
// and with one for all. It reports the processor time, the calls into the tree, and the watches.
func BenchmarkPipesOnOneSource(b *testing.B) {
	dir := benchTree(b)
	for _, pipes := range []int{1, 2, 4} {
		for _, shared := range []bool{false, true} {
			b.Run(fmt.Sprintf("pipes=%d/shared=%v", pipes, shared), func(b *testing.B) {
				sys, watches := &counting{System: tree.OS}, newTally()
				var took, spent time.Duration
				for b.Loop() {
					b.StopTimer()
					agents := benchPipes(b, dir, pipes, shared, sys, watches)
					ctx, cancel := context.WithCancel(context.Background())
					var all sync.WaitGroup
					b.StartTimer()
					start, before := time.Now(), cputime.Used()
					for _, a := range agents {
						all.Go(func() { _ = a.Run(ctx) })
					}
					for _, a := range agents {
						eventually(b, 5*time.Minute, "a snapshot", func() bool { return a.Status().LastScan != nil })
					}
					took, spent = took+time.Since(start), spent+cputime.Used()-before
					b.StopTimer()
					cancel()
					all.Wait()
					b.StartTimer()
				}
				n, c := float64(b.N), sys.calls.load()
				b.ReportMetric(took.Seconds()/n, "s")
				b.ReportMetric(spent.Seconds()/n, "cpu-s")
				b.ReportMetric(float64(c.opens)/n, "opens")
				b.ReportMetric(float64(c.lstats)/n, "lstats")
				b.ReportMetric(float64(watches.adds.Load())/n, "watches")
			})
		}
	}
}

// discards is a sender that sends nothing.
type discards struct{}

func (discards) Send(context.Context, pipe.Segment) error { return nil }

// benchPipes makes agents on one tree, each of which leads a view of its own.
func benchPipes(b *testing.B, dir string, pipes int, shared bool, sys tree.System, watches *tally) (agents []*agent.Agent) {
	b.Helper()
	one := bus.New(lease.Clocks{}.Or(lease.Host()), slog.New(slog.DiscardHandler))
	on := newServer(b)
	for i := range pipes {
		o := agent.Options{
			Root: dir, View: fmt.Sprint("bench", i), AgentID: fmt.Sprint("bench-", i), IngestURL: "http://ingest", IngestHTTP: on.http, APIKey: apiKey,
			Sender: discards{}, Tuning: agent.Tuning{System: sys, Notifier: watches.notifier},
		}
		if shared {
			o.Bus = one
		}
		a, err := agent.New(o)
		if err != nil {
			b.Fatal(err)
		}
		agents = append(agents, a)
	}
	return agents
}

// BenchmarkLook is a look at one path, as the watcher makes it for every change: bare, and so that it may hang.
func BenchmarkLook(b *testing.B) {
	dir := b.TempDir()
	calls := hang.New(0, nil)
	defer calls.Stop()
	for name, sys := range map[string]tree.System{"bare": tree.OS, "bounded": hang.System(tree.OS, calls)} {
		b.Run(name, func(b *testing.B) {
			root, err := sys.OpenRoot(dir)
			if err != nil {
				b.Fatal(err)
			}
			defer root.Close()
			look := root.Looker()
			defer look.Close()
			for b.Loop() {
				_, _ = look.Lstat("/nothing")
			}
		})
	}
}

// coverer is a watcher's Cover, with nobody listening to what it hears.
func coverer(b *testing.B, dir string) func(tree.Root, tree.Dir, string, tree.Info) (scan.Reading, error) {
	b.Helper()
	x, err := tree.NewExcludes(nil)
	if err != nil {
		b.Fatal(err)
	}
	w, err := watch.New(watch.Config{Root: dir, Excludes: x, Now: pipe.NewClock(pipe.NewTicks(lease.Host())).Now, Logger: slog.New(slog.DiscardHandler),
		Emit: func([]event.Event) bool { return true }, HasRoom: func() bool { return true }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Close)
	return w.Cover
}
