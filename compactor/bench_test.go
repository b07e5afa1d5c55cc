package compactor

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/cputime"
	"github.com/fustor/fustor/testkit/gentree"
)

// benchRows is how large the views of the benchmarks are: FUSTOR_BENCH_ROWS, or a million.
func benchRows(b *testing.B) int { return benchNumber(b, "FUSTOR_BENCH_ROWS", 1_000_000) }

// tellTree sends a generated tree as the listings of a snapshot, in segments as an agent cuts them.
func tellTree(s *teller, rows int) {
	const perSegment = 64 << 10
	entries := 0
	observed := int64(gentree.ScanStart)
	dirs := map[string]event.Entry{}
	var listing event.Event
	flush := func() {
		if listing.Kind == 0 {
			return
		}
		s.tell(listing)
		if entries += len(listing.Entries); entries >= perSegment {
			s.send()
			entries = 0
		}
	}
	for r := range gentree.New(gentree.Options{Seed: 1, Rows: rows}).Rows() {
		e := event.Entry{Name: r.Name, Type: r.Type, Mode: r.Mode, UID: r.UID, GID: r.GID, AtimeDay: r.AtimeDay, Size: r.Size, MtimeNs: r.MtimeNs, Target: r.Target, Inode: r.Inode}
		if r.Type == event.Directory {
			dirs[r.ChildParent()] = e
		}
		if r.Parent == "" {
			continue
		}
		if listing.Kind == 0 || childParent(listing.Path) != r.Parent || len(listing.Entries) == event.MaxListingEntries {
			more := listing.Kind != 0 && childParent(listing.Path) == r.Parent
			if more {
				listing.To = r.Name
			}
			flush()
			observed++
			path := strings.TrimSuffix(r.Parent, "/")
			if path == "" {
				path = "/"
			}
			listing = event.Event{Kind: event.Listing, Evidence: event.Snapshot, ObservedAt: observed, Path: path, Entry: dirs[r.Parent]}
			if more {
				listing.From = r.Name
			}
		}
		listing.Entries = append(listing.Entries, e)
	}
	flush()
	s.tell(event.Event{Kind: event.Marked, Evidence: event.Snapshot, ObservedAt: observed + 1, Path: "/", Mark: event.Mark{Kind: event.SnapshotEnd}})
	s.send()
}

// tellChanges sends realtime puts of every so-many-th file of the tree.
func tellChanges(s *teller, rows, every int) int {
	n, i := 0, 0
	observed := int64(gentree.ScanStart) + 3600e9
	for r := range gentree.New(gentree.Options{Seed: 1, Rows: rows}).Rows() {
		if i++; i%every != 0 || r.Type != event.File {
			continue
		}
		observed += 1e6
		s.tell(event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: observed, Path: r.Path(), Atomic: true,
			Entry: event.Entry{Name: r.Name, Type: r.Type, Mode: r.Mode, UID: r.UID, GID: r.GID, Size: r.Size + 1, MtimeNs: observed}})
		if n++; n%10_000 == 0 {
			s.send()
		}
	}
	s.send()
	return n
}

// resident resets and reads the peak of the process's resident memory, bytes; 0 where the system does not tell.
func resident() int64 {
	body, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(body)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

func resetResident() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// BenchmarkFoldAndMerge folds a whole snapshot from its segments, merges included, then realtime changes upon it, then
// merges those: every fifth file, or every FUSTOR_BENCH_EVERY-th. Rates are by processor time, so that they hold on a busy machine. Run it with FUSTOR_BENCH_ROWS=10000000 for the large view.
func BenchmarkFoldAndMerge(b *testing.B) {
	rows := benchRows(b)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(200 << 20)) // as `fustor compact` does
	for range b.N {
		b.StopTimer()
		dir := b.TempDir()
		h := newHarness(b, dir, 0, Options{})
		s := h.teller("bench")
		tellTree(s, rows)
		s.h.c = h.compactor(Options{CacheBytes: 32 << 20})
		runtime.GC()
		resetResident()
		b.StartTimer()

		var folding, merging time.Duration
		for more := true; more; {
			began := cputime.Used()
			folded := h.fold()
			folding += cputime.Used() - began
			began = cputime.Used()
			merged := h.merge()
			merging += cputime.Used() - began
			more = folded > 0 || merged
		}
		b.ReportMetric(float64(rows)/folding.Seconds(), "listed/cpu-s")
		b.ReportMetric(merging.Seconds(), "cpu-s-merging")
		b.ReportMetric(float64(resident())/(1<<20), "peak-MiB")
		b.StopTimer()
		if got := h.head().Totals; got.Files+got.Directories+got.Others != int64(rows) {
			b.Fatalf("%d rows in the view, %d were sent", got.Files+got.Directories+got.Others, rows)
		}
		h.toBase()
		b.ReportMetric(bytesPerRow(h), "B/row")
		events := tellChanges(s, rows, benchNumber(b, "FUSTOR_BENCH_EVERY", 5))
		runtime.GC()
		resetResident()
		b.StartTimer()

		began := cputime.Used()
		for h.fold() > 0 {
		}
		b.ReportMetric(float64(events)/(cputime.Used()-began).Seconds(), "events/cpu-s")
		began = cputime.Used()
		merged := h.head().Rows()
		h.toBase()
		b.ReportMetric(float64(merged)/(cputime.Used()-began).Seconds(), "merged-rows/cpu-s")
		b.ReportMetric(float64(resident())/(1<<20), "peak-MiB-changes")
		b.ReportMetric(bytesPerRow(h), "B/row-changed")
	}
}

// bytesPerRow is what the base layers of the view take, indexes included.
func bytesPerRow(h *harness) float64 {
	var bytes, rows int64
	for _, l := range h.head().Base {
		bytes += l.Bytes + l.IndexBytes + int64(len(l.Index))
		rows += l.Rows
	}
	return float64(bytes) / float64(max(1, rows))
}

// BenchmarkFoldOneChange is a single file that changes in a large view: what it costs must not depend on the view.
func BenchmarkFoldOneChange(b *testing.B) {
	rows := benchRows(b)
	h := newHarness(b, b.TempDir(), 0, Options{})
	s := h.teller("bench")
	tellTree(s, rows)
	h.once()
	h.toBase()
	path := someFile(h)
	b.ResetTimer()
	observed := int64(gentree.ScanStart) + 7200e9
	for range b.N {
		observed += 1e9
		s.tell(event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: observed, Path: path, Atomic: true,
			Entry: event.Entry{Name: filepath.Base(path), Type: event.File, Size: observed % 1000, MtimeNs: observed}})
		s.send()
		h.once()
	}
}

// someFile is the path of a file about the middle of the view.
func someFile(h *harness) string {
	m := h.head()
	v, err := layer.OpenView(h.store, viewName, m.Base, m.Deltas, layer.NewCache(1<<20))
	if err != nil {
		h.Fatalf("%v", err)
	}
	c := v.Cursor(h.ctx)
	var row evidence.Row
	for ok := c.Seek(m.Base[len(m.Base)/2].First); ok; ok = c.Next() {
		if err := c.Row(&row); err != nil {
			h.Fatalf("%v", err)
		}
		if row.Type == event.File {
			return row.Path()
		}
	}
	h.Fatalf("no file: %v", fmt.Sprint(c.Err()))
	return ""
}

// plant makes the view of a generated tree, as a first scan would have left it, without one. It returns the paths of some
// files and of the directories at the top.
func (h *harness) plant(rows int) (files, tops []string) {
	h.Helper()
	tree := gentree.New(gentree.Options{Seed: 1, Rows: rows})
	out := h.c.newOutput(h.ctx, viewName, h.c.o.PartitionRows)
	n := 0
	for r := range tree.Rows() {
		if err := out.append(r); err != nil {
			h.Fatalf("%v", err)
		}
		if n++; n%(rows/20_000+1) == 0 && r.Type == event.File {
			files = append(files, r.Path())
		}
		if r.Parent == "/" {
			tops = append(tops, r.Path())
		}
	}
	layers, err := out.finish()
	if err == nil {
		epoch := h.epoch()
		_, err = h.c.publish(h.ctx, h.head(), "fold", func(m *manifest.Manifest) error {
			m.Epoch = epoch
			m.Base, m.Totals, m.Scan.SnapshotDone, m.ObservedAt = layers, tree.Totals(), 1, gentree.ScanStart+3600e9
			return nil
		})
	}
	if err != nil {
		h.Fatalf("%v", err)
	}
	return files, tops
}

// counted makes the harness's compactor work on a store that counts.
func (h *harness) counted(o Options) *store.Counted {
	h.Helper()
	counted := store.Count(h.store)
	plain := h.store
	h.store = counted
	h.c = h.compactor(o)
	h.store = plain
	return counted
}

func putOf(path string, observed, size int64) event.Event {
	return event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: observed, Path: path, Atomic: true,
		Entry: event.Entry{Name: filepath.Base(path), Type: event.File, Mode: 0o644, Size: size, MtimeNs: observed}}
}

// BenchmarkFoldRequests is what a fold of one changed file asks of the store, with nothing cached and then warm.
func BenchmarkFoldRequests(b *testing.B) {
	rows := benchRows(b)
	h := newHarness(b, b.TempDir(), 0, Options{})
	files, _ := h.plant(rows)
	s := h.teller("bench")
	observed := int64(gentree.ScanStart) + 7200e9
	for i := range b.N {
		counted := h.counted(Options{})
		for _, when := range []string{"cold", "warm"} {
			observed += 1e9
			s.tell(putOf(files[(len(files)/2+i)%len(files)], observed, observed%1000))
			s.send()
			before := counted.Counts()
			h.fold()
			spent := counted.Counts().Sub(before)
			b.ReportMetric(float64(spent.Get), when+"-gets")
			b.ReportMetric(float64(spent.Put), when+"-puts")
			b.ReportMetric(float64(spent.BytesIn)/1024, when+"-KiB-read")
			b.ReportMetric(float64(spent.BytesOut)/1024, when+"-KiB-written")
		}
	}
	body, _ := h.head().Encode()
	b.ReportMetric(float64(len(body))/1024, "head-KiB")
}

// BenchmarkFoldRename folds the deletion of everything below the root but for a few files: what one event expands to must not
// take memory. FUSTOR_BENCH_MEMORY is the budget in MiB.
func BenchmarkFoldRename(b *testing.B) {
	rows := benchRows(b)
	memory := int64(benchNumber(b, "FUSTOR_BENCH_MEMORY", DefaultMemory>>20))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(memory << 20 / 32 * 25))
	for range b.N {
		b.StopTimer()
		h := newHarness(b, b.TempDir(), 0, Options{Memory: memory << 20})
		_, tops := h.plant(rows)
		s := h.teller("bench")
		for i, dir := range tops {
			s.tell(event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: gentree.ScanStart + 7200e9 + int64(i), Path: dir})
		}
		s.send()
		counted := h.counted(Options{Memory: memory << 20})
		runtime.GC()
		resetResident()
		b.StartTimer()
		began := cputime.Used()
		h.fold()
		b.ReportMetric(float64(rows)/(cputime.Used()-began).Seconds(), "rows/cpu-s")
		b.ReportMetric(float64(resident())/(1<<20), "peak-MiB")
		b.ReportMetric(float64(counted.Counts().BytesOut)/(1<<20), "MiB-written")
		if got := h.head().Totals; got.Directories != 1 {
			b.Fatalf("left: %+v", got)
		}
		resetResident()
		for h.merge() {
		}
		b.ReportMetric(float64(resident())/(1<<20), "peak-MiB-merging")
	}
}

// BenchmarkFoldWorkers folds a whole snapshot, and then changes of every fifth file (or every FUSTOR_BENCH_EVERY-th), with one worker and
// with more: by the clock, and by processor time.
func BenchmarkFoldWorkers(b *testing.B) {
	rows := benchRows(b)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(200 << 20)) // as `fustor compact` does
	for _, workers := range []int{1, 2, 4} {
		b.Run(fmt.Sprint("workers=", workers), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				h := newHarness(b, b.TempDir(), 0, Options{})
				s := h.teller("bench")
				tellTree(s, rows)
				h.c = h.compactor(Options{Workers: workers})
				folds := func(n int, what string) {
					runtime.GC()
					resetResident()
					var clock, cpu time.Duration
					for more := true; more; {
						began, used := time.Now(), cputime.Used()
						folded := h.fold()
						clock, cpu = clock+time.Since(began), cpu+cputime.Used()-used
						more = folded > 0 || h.merge()
					}
					b.ReportMetric(float64(n)/clock.Seconds(), what+"/s")
					b.ReportMetric(float64(n)/cpu.Seconds(), what+"/cpu-s")
					b.ReportMetric(float64(resident())/(1<<20), what+"-peak-MiB")
				}
				b.StartTimer()
				folds(rows, "listed")
				b.StopTimer()
				h.toBase()
				events := tellChanges(s, rows, benchNumber(b, "FUSTOR_BENCH_EVERY", 5))
				b.StartTimer()
				folds(events, "events")
			}
		})
	}
}
