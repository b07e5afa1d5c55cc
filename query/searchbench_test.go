package query

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/fault"
)

// searchClasses are the kinds of searches that cost differently. Rare ones look for a name of the view: one made of words
// that every part of the view has, which no index of trigrams can tell from others, and one of 16 hexadecimal digits.
var searchClasses = []struct {
	name   string
	params []string
}{
	{"no-match", []string{"pattern", "nothing-has-this"}},
	{"rare-words", []string{"pattern", ".h5"}},
	{"rare-hex", []string{"pattern", ".pt"}},
	{"common-limit", []string{"pattern", "txt", "limit", "100"}},
	{"common-all", []string{"pattern", "txt"}},
	{"extension-none", []string{"pattern", "*.so"}},
	{"extension", []string{"pattern", "*.bam.bai", "limit", "1000"}},
	{"glob-middle", []string{"pattern", "IMG_*_235959*.mp4"}},
	{"path-glob", []string{"pattern", "/**/*.h5"}},
	{"two-letters", []string{"pattern", "qz"}},
	{"two-letters-limit", []string{"pattern", "ta", "limit", "100"}},
	{"non-ascii", []string{"pattern", "ÄRGER"}},
	{"large-files", []string{"pattern", "*", "min_size", "60G"}},
	{"owner", []string{"pattern", "*", "owner", "7"}},
}

// searchTargets are the searches as URLs, and how each is asked: all of it as a stream, a limit as one answer.
func searchTargets(files []string) (names []string, target, accept map[string]string) {
	target, accept = map[string]string{}, map[string]string{}
	named := func(suffix string) string {
		for _, f := range files {
			if strings.HasSuffix(f, suffix) {
				return f
			}
		}
		return files[0]
	}
	for _, c := range searchClasses {
		params := slices.Clone(c.params)
		switch c.name {
		case "rare-words", "rare-hex":
			params[1] = filepath.Base(named(params[1]))
		case "path-glob":
			params[1] = filepath.Dir(named(".h5")) + params[1]
		}
		names = append(names, c.name)
		target[c.name], accept[c.name] = viewURL("search", params...), ndjson
		if slices.Contains(params, "limit") {
			accept[c.name] = ""
		}
	}
	return names, target, accept
}

// delayed is a store that takes 20 ms more for every request.
func delayed(st store.Store) *store.Counted {
	return store.Count(fault.New(st, func(fault.Call) fault.Fault { return fault.Fault{Delay: 20 * time.Millisecond} }))
}

// percentiles reports the median and the 99th percentile.
func percentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkSearch searches a view: warm in a process with the default memory, and cold in one that has just started.
//
//	go test -run '^$' -bench Search -benchtime 20x ./query -rows 10000000 -view /tmp/view-10M
func BenchmarkSearch(b *testing.B) {
	f, files, _ := benchView(b)
	names, target, accept := searchTargets(files)
	warm := benchServer(b, f, f.st, 0)
	for _, name := range names {
		b.Run("warm/"+name, func(b *testing.B) {
			ask(b, warm, target[name], accept[name])
			ask(b, warm, target[name], accept[name])
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				ask(b, warm, target[name], accept[name])
				took = append(took, time.Since(start))
			}
			percentiles(b, took)
		})
	}
	for _, name := range names {
		b.Run("cold/"+name, func(b *testing.B) { benchCold(b, f, func(int) string { return target[name] }, accept[name]) })
	}
}

// benchCold asks servers that have just started, over a store that takes 20 ms more for every request.
func benchCold(b *testing.B, f *fixture, target func(i int) string, accept string) {
	st := delayed(f.st)
	var took []time.Duration
	var gets, bytes, most uint64
	for i := 0; b.Loop(); i++ {
		s := benchServer(b, f, st, 0)
		before, start := st.Counts(), time.Now()
		ask(b, s, target(i), accept)
		took = append(took, time.Since(start))
		d := st.Counts().Sub(before)
		gets, bytes, most = gets+d.Get, bytes+d.BytesIn, max(most, d.BytesIn)
	}
	percentiles(b, took)
	b.ReportMetric(float64(gets)/float64(b.N), "GETs")
	b.ReportMetric(float64(bytes)/float64(b.N)/1024, "KiB")
	b.ReportMetric(float64(most)/1024, "KiB-max")
}

// BenchmarkColdLatency asks for single entries and directories of a view as BenchmarkSearch does cold.
//
//	go test -run '^$' -bench ColdLatency -benchtime 100x ./query -rows 10000000 -view /tmp/view-10M
func BenchmarkColdLatency(b *testing.B) {
	f, files, dirs := benchView(b)
	for name, target := range map[string]func(i int) string{
		"stat": func(i int) string { return viewURL("metadata", "path", files[i%len(files)]) },
		"du":   func(i int) string { return viewURL("metadata", "path", dirs[i%len(dirs)]) },
		"list": func(i int) string { return viewURL("list", "path", dirs[i%len(dirs)]) },
	} {
		b.Run(name, func(b *testing.B) { benchCold(b, f, target, "") })
	}
}

// BenchmarkResident runs a mixed load of eight clients for ten seconds in a process that keeps to the default memory, and
// reports the most that it had resident. The view must be there already, so that this process does nothing else:
//
//	go test -run '^$' -bench Resident -benchtime 1x ./query -rows 10000000 -view /tmp/view-10M
func BenchmarkResident(b *testing.B) {
	if *benchStore == "" {
		b.Skip("needs -view DIR with a view that another benchmark made")
	}
	f, files, dirs := benchView(b)
	names, target, accept := searchTargets(files)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(defaultMemory - defaultMemory/5)) // as `fustor query` does
	runtime.GC()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Skip("needs Linux: ", err)
	}
	for b.Loop() {
		s := benchServer(b, f, f.st, 0)
		var asked atomic.Int64
		end := time.Now().Add(10 * time.Second)
		var clients sync.WaitGroup
		for c := range 8 {
			clients.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(c), 1))
				for time.Now().Before(end) {
					benchMixed(b, s, rng, files, dirs, names, target, accept)
					asked.Add(1)
				}
			})
		}
		clients.Wait()
		b.ReportMetric(float64(asked.Load())/10, "calls/s")
	}
	b.ReportMetric(float64(peakResident(b))/(1<<20), "MiB-peak")
}

// benchMixed is one call of a mixed load: eight in ten are lookups and lists, the others searches and long streams.
func benchMixed(b *testing.B, s http.Handler, rng *rand.Rand, files, dirs, names []string, target, accept map[string]string) {
	file, dir := files[rng.IntN(len(files))], dirs[rng.IntN(len(dirs))]
	switch n := rng.IntN(100); {
	case n < 35:
		ask(b, s, viewURL("metadata", "path", file), "")
	case n < 55:
		ask(b, s, viewURL("metadata", "path", dir), "")
	case n < 80:
		ask(b, s, viewURL("list", "path", dir), "")
	case n < 85:
		ask(b, s, viewURL("tree", "path", dir, "limit", "10000"), "")
	case n < 99:
		name := names[rng.IntN(len(names))]
		if name == "common-all" || name == "two-letters" { // they go through everything: one in a hundred is enough
			name = "no-match"
		}
		ask(b, s, target[name], accept[name])
	default:
		name := []string{"common-all", "two-letters"}[rng.IntN(2)]
		ask(b, s, target[name], accept[name])
	}
}

// peakResident is the most memory that the process had resident since it was last reset, bytes.
func peakResident(b *testing.B) int64 {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.SplitSeq(string(raw), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				b.Fatal(fmt.Errorf("%s: %w", line, err))
			}
			return n << 10
		}
	}
	b.Fatal("no VmHWM")
	return 0
}
