package compactor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/gentree"
)

// BenchmarkKeptVersions has a view change for some days, folds, merges and removes as a compactor does with the default settings, and
// says what a version costs that is kept for its day: bytes that the version of the day before, and the current one, do not have.
//
//	FUSTOR_BENCH_ROWS   of the view, a million
//	FUSTOR_BENCH_DAYS   days, 16; FUSTOR_BENCH_FOLDS is how many folds each has, 24
//	FUSTOR_BENCH_TABLE  publishes the table of Iceberg as well, which the default settings do every five minutes
//	FUSTOR_BENCH_PLANT  a directory for the view of the first day: it is made there once, and taken from there by hard links afterwards
//	FUSTOR_BENCH_KEEP   a new directory to leave the store in, for BenchmarkHistory of query, whose clock ends today. Name one case by -bench then
//
// With -v it says after each day what the history costs so far.
func BenchmarkKeptVersions(b *testing.B) {
	for _, pattern := range []string{"scattered", "clustered"} {
		for _, share := range []float64{0.001, 0.01, 0.1} {
			b.Run(fmt.Sprintf("%s/%g%%", pattern, share*100), func(b *testing.B) {
				for range b.N {
					keepFor(b, benchRows(b), benchNumber(b, "FUSTOR_BENCH_DAYS", 16), churn{share, pattern == "clustered", benchNumber(b, "FUSTOR_BENCH_FOLDS", 24)})
				}
			})
		}
	}
}

// benchNumber is a number from 1 on of the environment, or what it is without.
func benchNumber(b *testing.B, name string, without int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return without
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s is a number from 1 on, not %q", name, text)
	}
	return n
}

// churn is what changes in a day: a share of the rows, in so many folds; of ten files seven are written, one and a half are removed, one
// and a half are new. Scattered, these are any files of the view. Clustered, they are all files of eight stretches of directories, one
// after the other; four of these are the same for a week.
type churn struct {
	share     float64
	clustered bool
	folds     int
}

// of is what changes on a day in a view of rows: in which fold the n-th row does, if it does.
func (c *churn) of(rows, day int) func(n int) (fold int, ok bool) {
	if !c.clustered {
		return func(n int) (int, bool) {
			h := scramble(uint64(day)<<40 ^ uint64(n))
			return int(h & 0xffffff % uint64(c.folds)), float64(h>>24)/(1<<40) < c.share
		}
	}
	const stretches = 8
	size := max(1, int(float64(rows)*c.share/stretches))
	var first [stretches]int
	for i := range first {
		turn := day
		if i%2 == 0 {
			turn = day / 7
		}
		first[i] = i*rows/stretches + int(scramble(uint64(turn)<<8|uint64(i))%uint64(max(1, rows/stretches-size)))
	}
	return func(n int) (int, bool) {
		i := min(n*stretches/rows, stretches-1)
		if at := n - first[i]; at >= 0 && at < size {
			return (i*size + at) * c.folds / (stretches * size), true
		}
		return 0, false
	}
}

// scramble is splitmix64.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// events are the changes of some days, by fold.
func (c *churn) events(tree *gentree.Tree, from, to int) [][]event.Event {
	folds := make([][]event.Event, (to-from)*c.folds)
	for fold, e := range c.each(tree, from, to) {
		folds[fold] = append(folds[fold], e)
	}
	return folds
}

// each are the changes of some days with their folds, counted from the first of these days on, in the order of the tree's rows.
func (c *churn) each(tree *gentree.Tree, from, to int) iter.Seq2[int, event.Event] {
	return func(yield func(int, event.Event) bool) {
		var of []func(int) (int, bool)
		for day := from; day < to; day++ {
			of = append(of, c.of(tree.Len(), day))
		}
		n := 0
		for r := range tree.Rows() {
			n++
			if r.Type != event.File {
				continue
			}
			path := ""
			for i, changes := range of {
				fold, ok := changes(n - 1)
				if !ok {
					continue
				}
				if path == "" {
					path = r.Path()
				}
				day := from + i
				e := event.Event{Kind: event.Put, Evidence: event.Realtime, Path: path, Atomic: true}
				e.Entry = event.Entry{Name: r.Name, Type: r.Type, Mode: r.Mode, UID: r.UID, GID: r.GID, AtimeDay: r.AtimeDay, Size: r.Size + int64(day)*512, Inode: r.Inode}
				switch kind := scramble(uint64(n)+uint64(day)*7919) % 20; {
				case kind < 3:
					e = event.Event{Kind: event.Delete, Evidence: event.Realtime, Path: path}
				case kind < 6:
					e.Entry.Name += "." + strconv.Itoa(day)
					e.Path += "." + strconv.Itoa(day)
				}
				if !yield(i*c.folds+fold, e) {
					return
				}
			}
		}
	}
}

// atOnce is about how many changes are made up at once: each takes some 300 bytes.
const atOnce = 1_500_000

// stamped are the events of a fold, some n of them, as one after the other were seen within a time.
func stamped(events iter.Seq[event.Event], n int, from time.Time, over time.Duration) iter.Seq[event.Event] {
	return func(yield func(event.Event) bool) {
		i := 0
		for e := range events {
			e.ObservedAt = from.Add(time.Duration(float64(over) * min(1, float64(i)/float64(n)))).UnixNano()
			i++
			if e.Kind == event.Put {
				e.Entry.MtimeNs, e.Entry.CtimeNs, e.Entry.Allocated = e.ObservedAt-3e6, e.ObservedAt-3e6, event.Rounded(e.Entry.Size)
			}
			if !yield(e) {
				return
			}
		}
	}
}

// turned is a store in a directory with a clock of its own.
type turned struct {
	store.Store
	dir string
	now atomic.Int64
}

func (t *turned) clock() time.Time { return time.Unix(0, t.now.Load()) }

func (t *turned) Get(ctx context.Context, key string) (store.Object, error) {
	o, err := t.Store.Get(ctx, key)
	o.Date = t.clock()
	return o, err
}

func (t *turned) GetUpTo(ctx context.Context, key string, most int64) (store.Object, error) {
	o, err := t.Store.GetUpTo(ctx, key, most)
	o.Date = t.clock()
	return o, err
}

func (t *turned) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	o, err := t.Store.GetIfChanged(ctx, key, etag)
	o.Date = t.clock()
	return o, err
}

func (t *turned) written(key string, m store.Meta, err error) (store.Meta, error) {
	m.LastModified, m.Date = t.clock(), t.clock()
	if err == nil {
		err = os.Chtimes(filepath.Join(t.dir, filepath.FromSlash(key)), m.Date, m.Date)
	}
	return m, err
}

func (t *turned) Put(ctx context.Context, key string, body []byte) (store.Meta, error) {
	m, err := t.Store.Put(ctx, key, body)
	return t.written(key, m, err)
}

func (t *turned) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	m, err := t.Store.Create(ctx, key, body)
	return t.written(key, m, err)
}

func (t *turned) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	m, err := t.Store.Replace(ctx, key, body, etag)
	return t.written(key, m, err)
}

func (t *turned) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	p, err := t.Store.List(ctx, prefix, after, limit)
	p.Date = t.clock()
	return p, err
}

// keepFor has a view change for days, and reports what its history costs.
func keepFor(b *testing.B, rows, days int, c churn) {
	dir := os.Getenv("FUSTOR_BENCH_KEEP")
	if dir == "" {
		dir = b.TempDir()
	}
	st, err := local.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	end := time.Now().UTC().Truncate(24 * time.Hour)
	start := end.AddDate(0, 0, -days)
	clock := &turned{Store: st, dir: dir}
	clock.now.Store(start.Add(-time.Hour).UnixNano())
	counted := store.Count(clock)
	h := newHarness(b, dir, 0, Options{})
	h.store = counted
	config := viewconfig.Default(viewName)
	if os.Getenv("FUSTOR_BENCH_TABLE") == "" {
		config.IcebergIntervalSeconds = 0
	}
	h.c = h.compactor(Options{Now: clock.clock})
	h.planted(dir, rows)
	if err := viewconfig.Save(h.ctx, h.store, config); err != nil {
		b.Fatal(err)
	}
	tree := gentree.New(gentree.Options{Seed: 1, Rows: rows})
	s := h.teller("bench")
	var changes int
	var retention store.Counts
	before := counted.Counts()
	report := func(value float64, unit string) { b.ReportMetric(value, unit) }
	change := func(events iter.Seq[event.Event], about int, at time.Time, over time.Duration) {
		clock.now.Store(at.UnixNano())
		n := 0
		for e := range stamped(events, about, at.Add(-over), over) {
			s.tell(e)
			if n++; n%10_000 == 0 {
				s.send()
			}
		}
		s.send()
		changes += n
		h.once()
		for h.merge() {
		}
		began := counted.Counts()
		if err := h.c.Tend(h.ctx, viewName); err != nil {
			b.Fatal(err)
		}
		retention = sum(retention, counted.Counts().Sub(began))
	}
	over := 24 * time.Hour / time.Duration(c.folds)
	daily := float64(rows) * c.share
	step := 1 + int(atOnce/(daily+1))
	for day := 0; day < days; day += step {
		if last := min(day+step, days); c.folds == 1 && daily > atOnce {
			events := func(yield func(event.Event) bool) {
				for _, e := range c.each(tree, day, last) {
					if !yield(e) {
						return
					}
				}
			}
			change(events, int(daily), start.AddDate(0, 0, last).Add(-time.Second), over)
		} else {
			for i, events := range c.events(tree, day, last) {
				change(slices.Values(events), len(events), start.AddDate(0, 0, day).Add(over*time.Duration(i+1)-time.Second), over)
			}
		}
		if testing.Verbose() {
			fmt.Fprintf(os.Stderr, "%s, %s: after day %d", b.Name(), time.Now().Format(time.TimeOnly), min(day+step, days))
			keptDaily(b, h, clock).report(h, func(value float64, unit string) { fmt.Fprintf(os.Stderr, ", %.4g %s", value, unit) })
			fmt.Fprintln(os.Stderr)
		}
	}
	written := counted.Counts().Sub(before).BytesOut
	keptDaily(b, h, clock).report(h, report)
	table := int64(0)
	err = store.Each(h.ctx, h.store, layout.Iceberg(viewName), func(i store.Item, _ time.Duration) error {
		table += i.Size
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	report(float64(table)/(1<<20), "MiB-table")
	report(float64(changes)/float64(days), "changes/day")
	report(float64(written)/float64(days)/(1<<20), "MiB-written/day")
	report(float64(retention.Get)/float64(days), "retention-GETs/day")
	report(float64(retention.List)/float64(days), "retention-LISTs/day")
	report(float64(retention.Delete)/float64(days), "retention-DELETEs/day")
	report(float64(retention.Put)/float64(days), "retention-PUTs/day")
	report(0, "ns/op")
}

// planted plants a view, or takes what was planted before for another case.
func (h *harness) planted(dir string, rows int) {
	h.Helper()
	from := os.Getenv("FUSTOR_BENCH_PLANT")
	if from == "" {
		h.plant(rows)
		return
	}
	from = filepath.Join(from, strconv.Itoa(rows))
	if _, err := os.Stat(from); err != nil {
		h.plant(rows)
		h.link(dir, from+".part")
		if err := os.Rename(from+".part", from); err != nil {
			h.Fatalf("keep what was planted: %v", err)
		}
		return
	}
	h.link(from, dir)
}

// link has the objects of a store in another directory as well. They are as old there as the store's clock says.
func (h *harness) link(from, to string) {
	h.Helper()
	err := filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		name = filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Link(path, name); err != nil {
			return err
		}
		now := h.c.o.Now()
		return os.Chtimes(name, now, now)
	})
	if err != nil {
		h.Fatalf("link what was planted: %v", err)
	}
}

func sum(a, b store.Counts) store.Counts {
	return store.Counts{Get: a.Get + b.Get, Put: a.Put + b.Put, List: a.List + b.List, Delete: a.Delete + b.Delete}
}

// keptVersions are the versions that are kept for their days, and head, with the bytes of each of their layers.
type keptVersions struct {
	daily []map[string]int64
	head  map[string]int64
	all   map[string]int64 // of all versions that are kept, for whatever reason
}

func keptDaily(b *testing.B, h *harness, clock *turned) *keptVersions {
	b.Helper()
	head := h.head()
	list, now, err := manifest.List(h.ctx, h.store, viewName, 0, 0, nil)
	if err != nil {
		b.Fatal(err)
	}
	chain, _, err := manifest.Chain(h.ctx, h.store, head.Manifest, list)
	if err != nil {
		b.Fatal(err)
	}
	sizes := map[string]int64{}
	err = store.Each(h.ctx, h.store, layout.Layers(viewName), func(i store.Item, _ time.Duration) error {
		name := filepath.Base(i.Key)
		sizes[name[:len(name)-len(filepath.Ext(name))]] += i.Size // a layer and its index
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	config, err := h.c.configs.Load(h.ctx, viewName)
	if err != nil {
		b.Fatal(err)
	}
	k := &keptVersions{all: map[string]int64{}}
	kept, _ := config.Keep().Least().Split(chain, head.Manifest, nil, now)
	for _, v := range kept {
		m, err := manifest.NewLeaves(0, 0).LoadKey(h.ctx, h.store, viewName, v.Key)
		if err != nil {
			b.Fatal(err)
		}
		layers := map[string]int64{v.Key: v.Bytes}
		for id := range idsOf(m) {
			layers[id] = sizes[id]
		}
		for id, n := range layers {
			k.all[id] = n
		}
		if k.head = layers; slices.Contains(v.Why, history.Daily) {
			k.daily = append(k.daily, layers)
		}
	}
	return k
}

// report says what a kept version costs on the average, the dearest, and the cheapest.
func (k *keptVersions) report(h *harness, report func(float64, string)) {
	const mib = 1 << 20
	union := map[string]int64{}
	var most, least int64
	for i, v := range k.daily {
		var own int64
		for id, n := range v {
			union[id] = n
			if i > 0 && !has(k.daily[i-1], id) {
				own += n
			}
		}
		if most = max(most, own); i > 0 && (i == 1 || own < least) {
			least = own
		}
	}
	var past, view, rest int64
	for id, n := range union {
		if !has(k.head, id) {
			past += n
		}
	}
	for _, n := range k.head {
		view += n
	}
	for id, n := range k.all {
		if !has(union, id) && !has(k.head, id) {
			rest += n
		}
	}
	report(float64(len(k.daily)), "daily-versions")
	report(float64(past)/float64(max(1, len(k.daily)))/mib, "MiB/daily-version")
	report(float64(most)/mib, "MiB-dearest")
	report(float64(least)/mib, "MiB-cheapest")
	report(float64(rest)/mib, "MiB-other-versions")
	report(float64(view)/mib, "MiB-view")
	report(float64(len(h.head().Base)), "partitions")
}

func has(m map[string]int64, id string) bool {
	_, ok := m[id]
	return ok
}
