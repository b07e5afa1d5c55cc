package compactor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/cputime"
	"github.com/fustor/fustor/testkit/gentree"
	"github.com/fustor/fustor/testkit/wait"
)

// planned is a merge that has begun: what it works on does not change any more.
type planned struct {
	head version
	plan plan
}

// end publishes a merge on whatever version is current, and holds the view before against the view after. It reports false where that
// version has no place for it.
func (h *harness) end(p planned, forgetful bool) bool {
	h.Helper()
	return h.checked(forgetful, func() bool {
		err := h.c.step(h.ctx, p.head, p.plan, time.Now().Add(time.Hour))
		if err != nil && !errors.Is(err, store.ErrLost) {
			h.Fatalf("%v", err)
		}
		return err == nil
	})
}

// plans are all merges that there can be of the current version.
func (h *harness) plans() (all []planned) {
	h.Helper()
	head := h.head()
	if len(head.Deltas) == 0 {
		return nil
	}
	spans, err := h.c.spans(h.ctx, head.Manifest)
	if err != nil {
		h.Fatalf("%v", err)
	}
	for i := range spans {
		all = append(all, planned{head, plan{span: &spans[i]}})
	}
	for n := 1; n <= len(head.Deltas); n++ {
		all = append(all, planned{head, plan{deltas: head.Deltas[:n]}})
	}
	return all
}

// TestMergesBesideEachOtherChangeNothing: whatever merges begin at whatever versions, end in whatever order, and whatever is folded between,
// each changes nothing that readers see, or is refused.
func TestMergesBesideEachOtherChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(fastTemp(), "fustor-beside-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		h := newHarness(t, dir, 0, Options{MaxDeltas: rapid.IntRange(1, 4).Draw(t, "deltas"), PartitionRows: int64(rapid.IntRange(2, 6).Draw(t, "partition")),
			InlinePartitions: rapid.IntRange(0, 2).Draw(t, "inline")})
		forgetful := rapid.Bool().Draw(t, "forgetful")
		if forgetful {
			config := viewconfig.Default(viewName)
			config.StalenessSeconds, config.TombstoneTTLSeconds = 0, 1e-9
			if err := viewconfig.Save(h.ctx, h.store, config); err != nil {
				t.Fatal(err)
			}
		}
		w := newWorld()
		s := h.teller("one")
		s.tell(w.listEvent("/", event.Snapshot))
		var begun []planned
		for range rapid.IntRange(2, 10).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"fold", "fold", "begin", "begin", "begin", "end", "end"}).Draw(t, "step") {
			case "fold":
				for range rapid.SampledFrom([]int{1, 2, 8}).Draw(t, "changes") {
					s.tell(w.step(t)...)
				}
				s.send()
				h.fold()
			case "begin":
				if all := h.plans(); len(all) > 0 {
					begun = append(begun, rapid.SampledFrom(all).Draw(t, "plan"))
				}
			case "end":
				if len(begun) > 0 {
					i := rapid.IntRange(0, len(begun)-1).Draw(t, "which")
					h.end(begun[i], forgetful)
					begun = append(begun[:i], begun[i+1:]...)
				}
			}
		}
		for _, p := range begun {
			h.end(p, forgetful)
		}
		s.send()
		h.fold()
		for n := 0; h.checkedMerge(forgetful); n++ {
			if n > 200 {
				t.Fatalf("merges do not end: %+v", h.head())
			}
		}
		compare(h, w)
		h.toBase()
		compare(h, w)
	})
}

func fastDir(t *testing.T) string {
	dir, err := os.MkdirTemp(fastTemp(), "fustor-beside-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// scattered is a view of several partitions and of three deltas, the oldest of which has a row for each partition.
func scattered(t *testing.T, dir string) (*harness, *world, func(names ...string)) {
	h := newHarness(t, dir, 0, Options{MaxDeltas: 2, PartitionRows: 8, ClaimRows: 1})
	w := newWorld()
	s := h.teller("one")
	s.tell(w.listEvent("/", event.Snapshot))
	put := func(names ...string) {
		for _, name := range names {
			w.put("/"+name, event.Entry{Type: event.File, MtimeNs: w.tick(), Size: w.now})
			s.tell(w.putEvent("/" + name))
		}
		s.tell(w.putEvent("/"))
		s.send()
		h.fold()
	}
	var names []string
	for i := range 32 {
		names = append(names, fmt.Sprintf("f%02d", i))
	}
	put(names...)
	h.toBase()
	if n := len(h.head().Base); n < 3 {
		t.Fatalf("%d partitions", n)
	}
	put("f00", "f08", "f16", "f24", "f31")
	put("f01", "f31")
	put("f02", "f30")
	return h, w, put
}

// newestRuns are the layers of the newest n deltas.
func newestRuns(h *harness, n int) []layer.Info {
	return slices.Concat(deltaRuns(h.head().Deltas)[:n]...)
}

// TestMergesOfDisjointSpans end in either order, beside folds, and beside a merge of deltas that they began with; of two of one span, one ends.
func TestMergesOfDisjointSpans(t *testing.T) {
	for _, c := range []struct {
		name    string
		between func(h *harness, put func(...string))
		merged  int // how many of the three deltas count as merged in the end
	}{
		{"alone", func(*harness, func(...string)) {}, 3},
		{"beside a fold", func(_ *harness, put func(...string)) { put("f03", "f29") }, 3},
		{"two deltas became one", func(h *harness, _ func(...string)) {
			h.end(planned{h.head(), plan{deltas: newestRuns(h, 2)}}, false)
		}, 1},
		{"two deltas and a newer one became one", func(h *harness, put func(...string)) {
			put("f00", "f01", "f31")
			h.end(planned{h.head(), plan{deltas: newestRuns(h, 3)}}, false)
		}, 1},
		{"all became one", func(h *harness, _ func(...string)) { h.end(planned{h.head(), plan{deltas: h.head().Deltas}}, false) }, 0},
	} {
		for _, swapped := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, swapped), func(t *testing.T) {
				h, w, put := scattered(t, fastDir(t))
				head, all := h.head(), h.plans()
				one, two := all[0], all[len(head.Base)-1]
				if swapped {
					one, two = two, one
				}
				c.between(h, put)
				for _, p := range []planned{one, two} {
					if !h.end(p, false) {
						t.Fatalf("a merge was refused: %s", shape(h.head()))
					}
				}
				m := h.head()
				if c.merged == 0 && len(m.Merged) != 0 || c.merged > 0 && (len(m.Merged) != 2 || m.Merged[0].Delta != deltaRuns(head.Deltas)[3-c.merged][0].ID || m.Merged[1].Delta != m.Merged[0].Delta) {
					t.Errorf("merged: %s", shape(m))
				}
				for _, p := range []planned{one, two} {
					if h.end(p, false) {
						t.Errorf("a span was merged twice: %s", shape(h.head()))
					}
				}
				compare(h, w)
				h.toBase()
				compare(h, w)
			})
		}
	}
}

// TestMergeDoesNotFollowARepair: where a view went back to an earlier version, by a later one, what a merge made of lost deltas is refused.
func TestMergeDoesNotFollowARepair(t *testing.T) {
	h, _, _ := scattered(t, fastDir(t))
	p := h.plans()[0]
	_, err := h.c.publish(h.ctx, h.head(), "repair", func(m *manifest.Manifest) error {
		before, err := manifest.LoadKeyRoot(h.ctx, h.store, viewName, m.Parent)
		if err != nil {
			return err
		}
		m.Parent, m.Deltas = before.Parent, m.Deltas[1:]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.c.step(h.ctx, p.head, p.plan, time.Now().Add(time.Hour)); !errors.Is(err, store.ErrLost) {
		t.Fatalf("%v, %s", err, shape(h.head()))
	}
}

// TestMergesAreClaimed: compactors plan apart what takes long, a claim that is not ended expires by the store's clock, and one that expires
// while its merge is under way is harmless.
func TestMergesAreClaimed(t *testing.T) {
	dir := fastDir(t)
	h, w, _ := scattered(t, dir)
	claims := func() (names []string) {
		err := store.Each(h.ctx, h.store, layout.MergeClaims(viewName), func(i store.Item, _ time.Duration) error {
			names = append(names, i.Key)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	// A merge of few deltas is first, then each partition.
	claim := func() (*Compactor, planned, func()) {
		c := h.compactor(h.c.o)
		head, p, release, err := c.claimMerge(h.ctx, viewName)
		if err != nil {
			t.Fatal(err)
		}
		return c, planned{head, p}, release
	}
	seen := map[string]bool{}
	dead, first, _ := claim()
	seen[first.plan.name()] = true
	_, second, release := claim()
	if seen[second.plan.name()] || second.plan.none() {
		t.Fatalf("the second plans %+v, the first %+v", second.plan, first.plan)
	}
	seen[second.plan.name()] = true
	for {
		c, p, _ := claim()
		if p.plan.none() {
			if c.leftOver(viewName) {
				t.Error("what others have just claimed is looked at again at once")
			}
			now := time.Now().Add(claimTTL)
			c.o.Now = func() time.Time { return now }
			if first, again := c.leftOver(viewName), c.leftOver(viewName); !first || again {
				t.Errorf("after claims are over, a compactor that left all to others looks: %v, and once more: %v", first, again)
			}
			break
		}
		if seen[p.plan.name()] {
			t.Fatalf("%s is planned twice", p.plan.name())
		}
		seen[p.plan.name()] = true
	}
	if len(claims()) != len(seen) || len(seen) < 3 {
		t.Fatalf("%v are claimed: %q", seen, claims())
	}
	release()
	_, again, _ := claim()
	if again.plan.name() != second.plan.name() {
		t.Errorf("after a claim has ended, %s is planned", again.plan.name())
	}
	key := layout.MergeClaim(viewName, first.plan.name())
	old := time.Now().Add(-claimTTL - time.Minute)
	if err := os.Chtimes(filepath.Join(dir, filepath.FromSlash(key)), old, old); err != nil {
		t.Fatal(err)
	}
	heir, taken, release := claim()
	if taken.plan.name() != first.plan.name() {
		t.Fatalf("a claim that is over: %s is planned, not %s", taken.plan.name(), first.plan.name())
	}
	if err := heir.step(h.ctx, taken.head, taken.plan, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	release()
	if err := dead.step(h.ctx, first.head, first.plan, time.Now().Add(time.Hour)); !errors.Is(err, store.ErrLost) {
		t.Errorf("the merge whose claim expired: %v", err)
	}
	compare(h, w)
}

// TestOneCallsTheNext: a compactor that is woken and does not poll calls another one as long as there is more to merge than is claimed, and
// the last one calls nobody.
func TestOneCallsTheNext(t *testing.T) {
	h, _, _ := scattered(t, fastDir(t))
	o := h.c.o
	o.CallOthers = true
	called := func() string {
		object, err := h.store.Get(h.ctx, layout.MoreMerges(viewName))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return object.ETag
	}
	claim := func(o Options) (p plan) {
		var err error
		_, p, _, err = h.compactor(o).claimMerge(h.ctx, viewName)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	claims, calls := 0, 0
	for last := called(); ; claims++ {
		if p := claim(o); p.none() {
			break
		}
		if now := called(); now != last {
			calls, last = calls+1, now
		}
	}
	if claims < 3 || calls != claims-1 {
		t.Errorf("%d compactors claimed a merge, %d called another one", claims, calls)
	}
	if err := h.store.Delete(h.ctx, layout.MoreMerges(viewName)); err != nil {
		t.Fatal(err)
	}
	large, polls := o, o
	large.ClaimRows, polls.CallOthers = 1<<20, false
	for _, o := range []Options{large, polls} {
		h, _, _ = scattered(t, fastDir(t))
		if p := claim(o); p.none() || called() != "" {
			t.Errorf("a small merge, or a compactor where others poll, calls others: %+v", o)
		}
	}
}

// together lets a merge's claim end once another one is about to, too, or nobody has come for a while.
type together struct {
	store.Store
	met  chan struct{}
	mets atomic.Int32
	most time.Duration // to wait
}

func (s *together) Delete(ctx context.Context, key string) error {
	if strings.HasPrefix(key, layout.MergeClaims(viewName)) {
		select {
		case s.met <- struct{}{}:
			s.mets.Add(1)
		case <-s.met:
		case <-time.After(s.most):
		}
	}
	return s.Store.Delete(ctx, key)
}

// TestOneProcessMergesAtOnce as many parts of a view as its memory has room for.
func TestOneProcessMergesAtOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for _, merges := range []int{1, 2} {
		h, w, _ := scattered(t, fastDir(t))
		before := h.head().Version
		meeting := &together{Store: h.store, met: make(chan struct{}), most: 20 * time.Millisecond}
		if merges > 1 {
			meeting.most = wait.Limit(200 * time.Millisecond)
		}
		o := h.c.o
		o.Store, o.Memory = meeting, int64(merges)*mergeBytes
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(h.ctx)
		var ran sync.WaitGroup
		ran.Go(func() { _ = c.Run(ctx, viewName) })
		wait.For(t, 20*time.Second, "all is merged", func() bool {
			_, p, err := h.c.toMerge(h.ctx, viewName, nil)
			return err == nil && p.none()
		})
		cancel()
		ran.Wait()
		if met := meeting.mets.Load(); (met > 0) != (merges == 2) {
			t.Errorf("with room for %d, two merges were at it at the same time %d times", merges, met)
		}
		if h.head().Version == before {
			t.Error("nothing was merged")
		}
		compare(h, w)
	}
}

// TestRetentionRemovesClaims that nobody has ended, once they are older than the grace.
func TestRetentionRemovesClaims(t *testing.T) {
	dir := fastDir(t)
	h, _, _ := scattered(t, dir)
	old := time.Now().Add(-2 * h.c.o.Grace)
	dead, call := layout.MergeClaim(viewName, "dead"), layout.MoreMerges(viewName)
	for key, at := range map[string]time.Time{dead: old, call: old, layout.MergeClaim(viewName, "live"): time.Now()} {
		if _, err := h.store.Create(h.ctx, key, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, filepath.FromSlash(key)), at, at); err != nil {
			t.Fatal(err)
		}
	}
	removed, err := h.c.Retention(h.ctx, viewName, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(removed) != 2 || removed[0].Key != dead || removed[1].Key != call {
		t.Errorf("removed: %+v", removed)
	}
	live, over, err := h.c.mergeClaims(h.ctx, viewName)
	if err != nil || len(over) != 0 || len(live) != 1 || !live["live"] {
		t.Errorf("left: %v, %v, %v", live, over, err)
	}
}

// BenchmarkMergesBeside: a row in five of a view of ten partitions has changed, and one or two compactors merge it, or one that has room for two
// merges.
func BenchmarkMergesBeside(b *testing.B) {
	rows := benchRows(b)
	for _, c := range []struct {
		name               string
		compactors, merges int
	}{{"1", 1, 1}, {"2", 2, 1}, {"1-of-two", 1, 2}} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				mergeBeside(b, rows, c.compactors, c.merges)
			}
		})
	}
}

func mergeBeside(b *testing.B, rows, compactors, merges int) {
	b.StopTimer()
	o := Options{PartitionRows: int64(rows/10 + 1), ClaimRows: 1, Memory: int64(merges) * mergeBytes, BatchClaims: 128 << 10, CacheBytes: 64 << 20}
	h := newHarness(b, b.TempDir(), 0, o)
	files, _ := h.plant(rows)
	slices.Sort(files)
	s := h.teller("bench")
	observed := int64(gentree.ScanStart) + 7200e9
	for i := range rows / 5 {
		observed += 1e6
		s.tell(putOf(files[i*7919%len(files)]+strconv.Itoa(i*31%(rows/len(files))), observed, observed%1e6))
		if i%(rows/50) == rows/50-1 {
			s.send()
			h.fold()
		}
	}
	var all []*Compactor
	for range compactors {
		all = append(all, h.compactor(o))
	}
	before := cputime.Used()
	b.StartTimer()
	var group sync.WaitGroup
	steps := make([]int, compactors)
	for i, c := range all {
		if merges > 1 { // as Run has it
			w := &viewWorker{c: c, view: viewName, ctx: h.ctx, merges: make(chan struct{}, merges)}
			c.views[viewName] = w
			w.mergeBeside()
			for len(w.merges) > 0 {
				time.Sleep(time.Millisecond)
			}
			continue
		}
		group.Go(func() {
			for {
				merged, err := c.Merge(h.ctx, viewName)
				if err != nil {
					b.Error(err)
				}
				if err != nil || !merged {
					return
				}
				steps[i]++
			}
		})
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric((cputime.Used() - before).Seconds(), "cpu-s")
	b.ReportMetric(float64(slices.Min(steps)), "steps-at-least")
	b.ReportMetric(float64(slices.Max(steps)), "steps-at-most")
}

// TestSmallMergesAreNotClaimed: they cost no request more.
func TestSmallMergesAreNotClaimed(t *testing.T) {
	h, w, _ := scattered(t, fastDir(t))
	c := h.counted(Options{MaxDeltas: 2, PartitionRows: 8})
	for merged := true; merged; {
		var err error
		if merged, err = h.c.Merge(h.ctx, viewName); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Counts().List; n > 1 { // that which proves head
		t.Errorf("%d lists", n)
	}
	compare(h, w)
}

// TestMergesGoOnWithoutClaims: where the store lets nobody claim, merges are as before.
func TestMergesGoOnWithoutClaims(t *testing.T) {
	h, w, _ := scattered(t, fastDir(t))
	ctx, cancel := context.WithCancel(h.ctx)
	cancel()
	if _, _, _, err := h.c.claimMerge(ctx, viewName); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	h.c.o.Store = noClaims{h.c.o.Store}
	for h.checkedMerge(false) {
	}
	if n := len(h.head().Deltas); n > 2 {
		t.Errorf("%d deltas are left", n)
	}
	compare(h, w)
}

// noClaims refuses what is asked for claims.
type noClaims struct{ store.Store }

func (s noClaims) List(ctx context.Context, prefix, after string, max int) (store.Page, error) {
	if prefix == layout.MergeClaims(viewName) {
		return store.Page{}, store.ErrDenied
	}
	return s.Store.List(ctx, prefix, after, max)
}
