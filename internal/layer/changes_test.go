package layer

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// edits change one column of a row each: those of compared are differences between two versions, those of passed are none.
var (
	compared = []func(*evidence.Row){
		func(r *evidence.Row) { r.MtimeNs++ },
		func(r *evidence.Row) { r.Size ^= 1 },
		func(r *evidence.Row) { r.Mode ^= 1 },
		func(r *evidence.Row) { r.UID++ },
		func(r *evidence.Row) { r.GID++ },
		func(r *evidence.Row) { r.Type, r.Sub = (r.Type+1)%(event.Other+1), evidence.Totals{} },
		func(r *evidence.Row) { r.Links = r.Links%5 + 1 },
		func(r *evidence.Row) { r.Links, r.Allocated = max(r.Links, 1), r.Allocated^1 },
		func(r *evidence.Row) { r.Links, r.CtimeNs = max(r.Links, 1), r.CtimeNs^1 },
		func(r *evidence.Row) { r.Links, r.ID = max(r.Links, 1), r.ID+1 },
		func(r *evidence.Row) { r.Links, r.BirthS = max(r.Links, 1), r.BirthS/2+1 },
		func(r *evidence.Row) { r.Target += "x" },
		func(r *evidence.Row) {
			r.Links = max(r.Links, 1)
			if r.ACL = event.NoACL; r.Type != event.Directory {
				r.ACL += "\x01\x00\x07\x00\xff\xff\xff\xff"
			}
		},
		func(r *evidence.Row) { r.Removed = !r.Removed },
	}
	passed = []func(*evidence.Row){
		func(*evidence.Row) {},
		func(r *evidence.Row) { r.ObservedAt++ },
		func(r *evidence.Row) { r.AtimeDay++ },
		func(r *evidence.Row) { r.Evidence = event.Audit },
		func(r *evidence.Row) { r.Agent += "x" },
		func(r *evidence.Row) { r.History = "x" },
		func(r *evidence.Row) { r.EndedAt++ },
	}
)

// differs reports whether the rows of a path in two versions are a difference.
func differs(a, b *evidence.Row) bool {
	return a.Type != b.Type || a.Mode != b.Mode || a.UID != b.UID || a.GID != b.GID || a.Size != b.Size || a.MtimeNs != b.MtimeNs ||
		a.Target != b.Target || a.Inode != b.Inode
}

// TestChangesAreWhatDiffers: of two versions, whatever folds and merges lie between them, the keys come whose rows differ, in order, with
// the rows of both.
func TestChangesAreWhatDiffers(t *testing.T) {
	st, n := openStore(t), 0
	rapid.Check(t, func(rt *rapid.T) {
		cache := NewCache(64 << 20)
		layerOf := func(rows []evidence.Row) *Layer {
			n++
			return New(st, testView, write(t, st, WriterOptions{ID: id(n), RowsPerGroup: 4}, rows), cache)
		}
		partitions := func(rows []evidence.Row) (out []*Layer) {
			for len(rows) > 0 {
				end := rapid.IntRange(1, len(rows)).Draw(rt, "partition")
				out, rows = append(out, layerOf(rows[:end])), rows[end:]
			}
			return out
		}
		model := map[Key]evidence.Row{}
		for _, r := range rowsGen(rt, 30) {
			model[Key{r.Parent, r.Name}] = r
		}
		now := NewView(partitions(sorted(model)), nil)
		fold := func() {
			changed := map[Key]evidence.Row{}
			for _, r := range rowsGen(rt, 8) {
				changed[Key{r.Parent, r.Name}] = r
			}
			for range rapid.IntRange(0, 8).Draw(rt, "edits") {
				r := rapid.SampledFrom(sorted(model)).Draw(rt, "edited")
				rapid.SampledFrom(slices.Concat(compared, passed)).Draw(rt, "edit")(&r)
				changed[Key{r.Parent, r.Name}] = r
			}
			maps.Copy(model, changed)
			now = NewView(now.base, append([]*Layer{layerOf(sorted(changed))}, now.deltas...))
		}
		// merge makes one delta of some that follow each other, or, if the oldest is among them, has them in the base.
		merge := func() {
			from := rapid.IntRange(0, len(now.deltas)).Draw(rt, "newest merged")
			to := rapid.IntRange(from, len(now.deltas)).Draw(rt, "behind the oldest merged")
			if to == len(now.deltas) && rapid.Bool().Draw(rt, "with the base") {
				at := rapid.IntRange(0, len(now.base)).Draw(rt, "partitions that stay")
				if to > from {
					at = 0
				}
				merged := scan(t, NewView(now.base[at:], now.deltas[from:]).Cursor(t.Context()))
				now = NewView(slices.Concat(now.base[:at], partitions(merged)), now.deltas[:from])
			} else if to > from {
				merged := scan(t, NewView(nil, now.deltas[from:to]).Cursor(t.Context()))
				now = NewView(now.base, slices.Concat(now.deltas[:from], []*Layer{layerOf(merged)}, now.deltas[to:]))
			}
		}
		steps := func(what string) {
			for range rapid.IntRange(0, 3).Draw(rt, what) {
				rapid.SampledFrom([]func(){fold, merge}).Draw(rt, "step")()
			}
		}
		steps("before")
		old, was := now, maps.Clone(model)
		steps("between")

		from, until := Key{}, Key{Parent: "0"}
		if rapid.Bool().Draw(rt, "bounded") {
			from, until = keyGen(rt), keyGen(rt)
		}
		type difference struct {
			before, after evidence.Row
			was, is       bool
		}
		var want, got []difference
		both := maps.Clone(was)
		maps.Copy(both, model)
		for _, k := range slices.SortedFunc(maps.Keys(both), Key.Compare) {
			d := difference{before: was[k], after: model[k]}
			_, d.was = was[k]
			d.was, d.is = d.was && !d.before.Removed, !d.after.Removed
			if !d.was {
				d.before = evidence.Row{}
			}
			if !d.is {
				d.after = evidence.Row{}
			}
			if k.Compare(from) >= 0 && k.Compare(until) < 0 && (d.was != d.is || d.is && differs(&d.before, &d.after)) {
				want = append(want, d)
			}
		}
		complete := rapid.Bool().Draw(rt, "complete")
		c, err := CompareViews(t.Context(), old, now, from, until, rapid.SampledFrom([]int64{0, 1 << 20}).Draw(rt, "ahead"))
		if err != nil {
			rt.Fatal(err)
		}
		for c.Next() {
			var d difference
			d.was, d.is = c.Found()
			if err := c.Read(&d.before, &d.after, complete); err != nil {
				rt.Fatal(err)
			}
			got = append(got, d)
		}
		if c.Err() != nil || len(got) != len(want) {
			rt.Fatalf("%d differences, want %d: %v", len(got), len(want), c.Err())
		}
		for i := range want {
			if !complete { // Read is Shown then, which TestShown has
				shown(&want[i].before)
				shown(&want[i].after)
			}
			if got[i] != want[i] {
				rt.Fatalf("difference %d:\n got %+v\nwant %+v", i, got[i], want[i])
			}
		}
	})
}

// shown leaves out what readers are not shown.
func shown(r *evidence.Row) {
	r.AtimeDay, r.ObservedAt, r.Evidence, r.Watermark, r.EndedAt, r.History = 0, 0, 0, 0, 0, ""
}

// TestChangesPassOverWhatIsShared: row groups that a merge copied are passed over unread.
func TestChangesPassOverWhatIsShared(t *testing.T) {
	st := openStore(t)
	var rows []evidence.Row
	for i := range 100 {
		rows = append(rows, evidence.Row{Parent: "/", Name: string(rune('A' + i)), Type: event.File, Size: int64(i)})
	}
	open := func(n int) *View {
		v, err := OpenView(st, testView, []Info{write(t, st, WriterOptions{ID: id(n), RowsPerGroup: 10}, rows)}, nil, NewCache(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	old := open(1)
	rows[42].Size = 1000
	now := open(2)
	var m Meter
	c, err := CompareViews(WithMeter(t.Context(), &m), old, now, Key{}, Key{Parent: "0"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for c.Next() {
		found++
	}
	if cost := m.Cost(); c.Err() != nil || found != 1 || c.Rows() != 10 || c.Skipped() != 9 || cost.Groups != 2 {
		t.Errorf("%d differences among %d keys, %d row groups passed over, %+v: %v", found, c.Rows(), c.Skipped(), cost, c.Err())
	}
}
