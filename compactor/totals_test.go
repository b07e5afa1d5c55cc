package compactor

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/testkit/sim"
)

// TestTotalsFollowFromWhatChanged: the totals of a directory are the sums over its entries, whatever of them comes, goes or changes, and whatever of them is
// looked at besides; so is whether there is something in it.
func TestTotalsFollowFromWhatChanged(t *testing.T) {
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	h.c = h.compactor(Options{})
	rapid.Check(t, func(t *rapid.T) {
		const observed = math.MaxInt64 - int64(48*time.Hour) // none of these lies in the future
		mtime := rapid.SampledFrom([]int64{-3e9, 5e9, 5e9 + 1, 7e9, 8e9, 1<<33*1e9 - 1, 1 << 33 * 1e9})
		size := rapid.SampledFrom([]int64{0, 1, 7, 1 << 62, math.MaxInt64})
		row := func(name, label string) evidence.Row {
			r := evidence.Row{Parent: "/n/", Name: name, ObservedAt: observed}
			switch rapid.SampledFrom([]string{"file", "file", "directory", "link", "gone", "none"}).Draw(t, label) {
			case "file":
				r.Type, r.MtimeNs, r.Size = event.File, mtime.Draw(t, label+" mtime"), size.Draw(t, label+" size")
			case "directory":
				r.Type, r.MtimeNs = event.Directory, mtime.Draw(t, label+" mtime")
				r.Sub = evidence.Totals{Files: rapid.Int64Range(0, 1).Draw(t, label+" files"), Directories: rapid.Int64Range(1, 2).Draw(t, label+" directories"), Bytes: size.Draw(t, label+" bytes"), Allocated: 3, LatestMtimeNs: mtime.Draw(t, label+" latest")}
			case "link":
				r.Type, r.MtimeNs = event.Symlink, mtime.Draw(t, label+" mtime")
			case "gone":
				r.Type, r.Removed, r.MtimeNs, r.Sub.LatestMtimeNs = event.Directory, true, math.MaxInt64, math.MaxInt64
			}
			return r
		}
		there := func(r *evidence.Row) bool { return r.Type != 0 }
		gives := func(r *evidence.Row) evidence.Totals {
			switch {
			case isDir(r, there(r)):
				return r.Sub
			case present(r, there(r)):
				return r.Own()
			}
			return evidence.Totals{LatestMtimeNs: evidence.NoMtime}
		}
		self := func(label string) evidence.Row {
			r := row("n", label)
			r.Parent = "/"
			return r
		}
		n := &node{row: self("now"), was: self("was"), direct: noChange(), latest: evidence.NoMtime, whole: rapid.Bool().Draw(t, "whole")}
		if rapid.IntRange(0, 3).Draw(t, "mostly") > 0 {
			n.was = evidence.Row{Parent: "/", Name: "n", Type: event.Directory}
			n.row = n.was
			n.row.Links, n.row.Allocated = 1, size.Draw(t, "it occupies")
		}
		n.known, n.wasDir = there(&n.row), isDir(&n.was, there(&n.was))
		n.before = n.was.Own()
		goes := rapid.SampledFrom([]string{"", "a", "d"}).Draw(t, "the newest goes")
		if goes != "" {
			n.whole = false
		}
		type change struct{ was, is evidence.Row }
		var changes []change
		want, holds := n.row.Own(), false
		out := h.c.newOutput(h.ctx, viewName, 5)
		out.group = rapid.IntRange(1, 3).Draw(t, "group")
		write := func(r evidence.Row) {
			if err := out.append(&r); err != nil {
				t.Fatal(err)
			}
		}
		newest := evidence.Row{Type: event.File, MtimeNs: observed, ObservedAt: observed, Size: math.MaxInt64}
		for _, key := range []layer.Key{{Parent: "/", Name: "n"}, {Parent: "/m/", Name: "z"}, {Parent: "/n", Name: "z"}} { // before it
			newest.Parent, newest.Name = key.Parent, key.Name
			write(newest)
		}
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"}[:rapid.IntRange(0, 7).Draw(t, "entries")] {
			c := change{is: row(name, name)}
			if c.was = (evidence.Row{Parent: "/n/", Name: name}); n.wasDir {
				if c.was = c.is; rapid.Bool().Draw(t, name+" changes") {
					c.was = row(name, name+" before")
				}
			}
			if n.wasDir && name == goes {
				c.was = evidence.Row{Parent: "/n/", Name: name, ObservedAt: observed, Type: event.File, MtimeNs: 1<<33*1e9 + 1}
				c.is = evidence.Row{Parent: "/n/", Name: name}
			}
			changes = append(changes, c)
			n.before = n.before.Plus(gives(&c.was))
			want = want.Plus(gives(&c.is))
			holds = holds || present(&c.is, there(&c.is))
			if there(&c.was) {
				write(c.was)
			}
		}
		for _, key := range []layer.Key{{Parent: "/n/a/", Name: "x"}, {Parent: "/o/", Name: "x"}} { // below it, and after
			newest.Parent, newest.Name = key.Parent, key.Name
			write(newest)
		}
		layers, err := out.finish()
		if err != nil {
			t.Fatal(err)
		}
		view, err := layer.OpenView(h.store, viewName, layers, nil, h.c.cache)
		if err != nil {
			t.Fatal(err)
		}
		order := make([]int, len(changes)) // directories are summed up after the rest
		for i := range order {
			order[i] = i
		}
		for _, i := range rapid.Permutation(order).Draw(t, "order") {
			c := changes[i]
			if c.was != c.is || n.whole || rapid.Bool().Draw(t, c.is.Name+" is looked at") {
				n.addChange(c.is.Name, gives(&c.was), gives(&c.is))
			}
		}
		if got := n.holdsSomething(); got != holds {
			t.Fatalf("there is something in it: %v, %+v", got, changes)
		}
		if !isDir(&n.row, n.known) {
			want = evidence.Totals{LatestMtimeNs: evidence.NoMtime}
			if present(&n.row, n.known) {
				want = n.row.Own()
			}
		}
		w := &walk{ctx: h.ctx, view: view}
		if got, err := w.after(n, "/n/"); err != nil || got != want {
			t.Fatalf("%+v, was %+v, with %+v: %+v, %v, want %+v", n.row, n.was, changes, got, err, want)
		}
	})
}

// TestViewWhoseRootGoes: whatever becomes of the root, the version's totals are those of what is there, and a view that was full has room.
func TestViewWhoseRootGoes(t *testing.T) {
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	h.c = h.compactor(Options{})
	h.allow(3)
	w, s := newWorld(), h.teller("one")
	for _, name := range []string{"/f", "/g", "/h"} {
		w.put(name, event.Entry{Type: event.File, MtimeNs: w.tick(), Size: 5})
	}
	tell := func(ev event.Event, entries int64) {
		t.Helper()
		s.tell(ev)
		s.send()
		h.fold()
		if h.present(); h.head().Entries() != entries {
			t.Errorf("%d entries, want %d: %+v", h.head().Entries(), entries, h.head().Totals)
		}
	}
	tell(w.listEvent("/", event.Snapshot), 3)
	tell(w.deleteEvent("/"), 0)
	put := w.putEvent("/")
	put.Entry.Type, put.Entry.Size = event.File, 7
	tell(put, 1)
	tell(w.putEvent("/"), 1)
	tell(w.listEvent("/", event.Audit), 3)
}
