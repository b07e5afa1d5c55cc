package evidence

import (
	"slices"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/values"
)

// TestFieldsOf: each field that differs is named, and it alone; of an inode, only what both versions know.
func TestFieldsOf(t *testing.T) {
	row := func(change func(*Row)) *Row {
		r := &Row{Type: event.File, Mode: 0o644, UID: 1, GID: 2, Size: 3, MtimeNs: 4, Target: "t", Inode: event.Inode{Allocated: 5, Links: 1, CtimeNs: 6, ID: 7, BirthS: 8, ACL: event.NoACL}}
		change(r)
		return r
	}
	same := row(func(*Row) {})
	for i, c := range []struct {
		change func(*Row)
		want   []string
	}{
		{func(*Row) {}, nil},
		{func(r *Row) { r.AtimeDay, r.Agent, r.ObservedAt = 9, "a", 9 }, nil},
		{func(r *Row) { r.Type = event.Symlink }, []string{"type"}},
		{func(r *Row) { r.Size++ }, []string{"size"}},
		{func(r *Row) { r.MtimeNs++ }, []string{"mtime"}},
		{func(r *Row) { r.Mode++ }, []string{"mode"}},
		{func(r *Row) { r.UID++ }, []string{"uid"}},
		{func(r *Row) { r.GID++ }, []string{"gid"}},
		{func(r *Row) { r.Target = "u" }, []string{"target"}},
		{func(r *Row) { r.Allocated++ }, []string{"allocated"}},
		{func(r *Row) { r.Links++ }, []string{"links"}},
		{func(r *Row) { r.CtimeNs++ }, []string{"ctime"}},
		{func(r *Row) { r.ID++ }, []string{"inode"}},
		{func(r *Row) { r.BirthS++ }, []string{"birth"}},
		{func(r *Row) { r.ACL += "x" }, []string{"acl"}},
		{func(r *Row) { r.ID, r.BirthS, r.ACL = 0, 0, "" }, nil},                                // not known
		{func(r *Row) { r.Inode = event.Inode{}; r.Size++ }, []string{"size"}},                  // not measured
		{func(r *Row) { r.Hidden, r.Size = HiddenAttributes, 0 }, nil},                          // not to be seen
		{func(r *Row) { r.Hidden, r.Type = HiddenAttributes, event.Symlink }, []string{"type"}}, // but for this
		{func(r *Row) { r.Hidden, r.Size = HiddenTotals, 0 }, []string{"size"}},                 // hides something else
		{func(r *Row) { r.Mode, r.UID, r.ACL = 1, 2, "y" }, []string{"mode", "uid", "acl"}},     // in the order of the words
		{func(r *Row) { r.Type, r.BirthS = event.Directory, 1 }, []string{"type", "birth"}},     // the first and the last but one
		{func(r *Row) { r.ID, r.Links = 0, 5 }, []string{"links"}},                              // one of several that may be unknown
		{func(r *Row) { r.MtimeNs, r.CtimeNs, r.ID = 1, 2, 3 }, []string{"mtime", "ctime", "inode"}},
	} {
		other := row(c.change)
		for _, pair := range [][2]*Row{{same, other}, {other, same}} {
			if got := FieldsOf(pair[0], pair[1]).Words(); !slices.Equal(got, c.want) {
				t.Errorf("case %d: %q, want %q", i, got, c.want)
			}
		}
	}
	for want, c := range map[string]Change{"added": {After: same}, "removed": {Before: same}, "changed": {Before: same, After: same}} {
		if got := c.Kind(); got != want || c.Row() != same {
			t.Errorf("%s is %s of %+v", want, got, c.Row())
		}
	}
}

// TestOwnTotals: what one entry adds to the sums of the directories above it.
func TestOwnTotals(t *testing.T) {
	const day = 24 * 3600e9
	measured := func(links uint32) event.Inode { return event.Inode{Allocated: 4096, Links: links, CtimeNs: 1} }
	for _, c := range []struct {
		what string
		row  Row
		want Totals
	}{
		{"a file", Row{Type: event.File, Size: 10, MtimeNs: 5, ObservedAt: 6, Inode: measured(1)}, Totals{Files: 1, Bytes: 10, LatestMtimeNs: 5, Allocated: 4096}},
		{"a file of two names", Row{Type: event.File, Size: 10, MtimeNs: 5, ObservedAt: 6, Inode: measured(2)}, Totals{Files: 1, Bytes: 10, LatestMtimeNs: 5, Allocated: 4096, LinkedAllocated: 4096}},
		{"a file of V2", Row{Type: event.File, Size: 10, MtimeNs: 5}, Totals{Files: 1, Bytes: 10, LatestMtimeNs: 5, Unmeasured: 1}},
		{"a directory", Row{Type: event.Directory, Size: 10, MtimeNs: 5, Inode: measured(7)}, Totals{Directories: 1, LatestMtimeNs: NoMtime, Allocated: 4096}},
		{"a symlink", Row{Type: event.Symlink, Size: 10, MtimeNs: 5, Inode: measured(1)}, Totals{Others: 1, LatestMtimeNs: NoMtime, Allocated: 4096}},
		{"a tombstone", Row{Type: event.File, Size: 10, Removed: true, Inode: measured(2)}, Totals{LatestMtimeNs: NoMtime}},
		{"a day ahead", Row{Type: event.File, MtimeNs: 6 + day, ObservedAt: 6, Inode: measured(1)}, Totals{Files: 1, LatestMtimeNs: 6 + day, Allocated: 4096}},
		{"more than a day ahead", Row{Type: event.File, MtimeNs: 7 + day, ObservedAt: 6, Inode: measured(1)}, Totals{Files: 1, LatestMtimeNs: NoMtime, Allocated: 4096}},
		{"far ahead, of a build that did not ask", Row{Type: event.File, MtimeNs: 9 * day, ObservedAt: 6}, Totals{Files: 1, LatestMtimeNs: 9 * day, Unmeasured: 1}},
	} {
		if got := c.row.Own(); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.what, got, c.want)
		}
	}
	a, b := Totals{1, 2, 3, 4, 5, 6, 7, 8}, Totals{10, 20, 30, 40, 50, 60, 70, 80}
	want := Totals{11, 22, 33, 44, 50, 66, 77, 88}
	if a.Plus(b) != want || b.Plus(a) != want {
		t.Errorf("%+v and %+v", a.Plus(b), b.Plus(a))
	}
	for _, full := range []Totals{{Bytes: values.MaxSum}, {Allocated: values.MaxSum}, {LinkedAllocated: values.MaxSum}} {
		if !full.Saturated() || full.Plus(a) != (Totals{1, 2, 3, max(full.Bytes, 4), 5, max(full.Allocated, 6), max(full.LinkedAllocated, 7), 8}) || a.Saturated() {
			t.Errorf("%+v", full.Plus(a))
		}
	}
	for path, r := range map[string]Row{"/": {}, "/a": {Parent: "/", Name: "a"}, "/a/b": {Parent: "/a/", Name: "b"}} {
		below := path + "/"
		if path == "/" {
			below = "/"
		}
		if r.Path() != path || r.ChildParent() != below {
			t.Errorf("%q, %q", r.Path(), r.ChildParent())
		}
	}
}

// TestClock: the skew is the most frequent one of the newest samples, whole seconds rounded down, the smaller of two; and samples may come in
// any number of parts.
func TestClock(t *testing.T) {
	sample := func(seconds int64) Sample { return Sample{1e15, 1e15 - seconds*1e9} }
	many := func(seconds int64, n int) []Sample { return slices.Repeat([]Sample{sample(seconds)}, n) }
	for i, c := range []struct {
		samples []Sample
		want    int64
	}{
		{nil, 0},
		{many(3, 1), 3},
		{append(many(3, 1), many(-2, 2)...), -2},
		{append(many(5, 2), many(3, 2)...), 3},
		{append(many(3, 2), many(5, 2)...), 3},
		{slices.Concat(many(7, 2), many(1, 3), many(7, 2)), 7}, // runs of one value add up
		{[]Sample{{1, 2}}, -1},
		{[]Sample{{0, 1e9}}, -1},
		{[]Sample{{1e9 + 1, 0}}, 1},
		{append(many(9, ClockSamples/2+1), many(4, ClockSamples)...), 4},
		{append(many(9, ClockSamples/2), many(4, ClockSamples/2)...), 4},
		{append(many(9, ClockSamples/2+1), many(4, ClockSamples/2-1)...), 9},
	} {
		whole := Clock{}.Add(c.samples)
		if got := whole.Skew(); got != c.want*1e9 {
			t.Errorf("case %d: %d, want %d", i, got, c.want*1e9)
		}
		var parts Clock
		for part := range slices.Chunk(c.samples, 37) {
			parts = parts.Add(part)
		}
		if !slices.Equal(parts.Runs, whole.Runs) {
			t.Errorf("case %d: in parts %v, at once %v", i, parts.Runs, whole.Runs)
		}
	}
	var equal []Sample // many values, each as often as the others
	for v := range int64(50) {
		equal = append(equal, many(v+3, 2)...)
	}
	if got := (Clock{}).Add(equal).Skew(); got != 3e9 {
		t.Errorf("of values as frequent as each other: %d, want the smallest", got)
	}
	before := Clock{}.Add(many(9, ClockSamples))
	after := before.Add(many(4, 3))
	if want := [][2]int64{{9, ClockSamples - 3}, {4, 3}}; !slices.Equal(after.Runs, want) || !slices.Equal(before.Runs, [][2]int64{{9, ClockSamples}}) {
		t.Errorf("%v became %v", before.Runs, after.Runs)
	}
	if again, want := after.Add(many(4, ClockSamples-4)), [][2]int64{{9, 1}, {4, ClockSamples - 1}}; !slices.Equal(again.Runs, want) {
		t.Errorf("%v, want %v", again.Runs, want)
	}
}

// TestTheSameInstant: what was observed as of the moment at which something ended is void, what was observed at that moment is not; a
// report at that moment stands, as it is what says so.
func TestTheSameInstant(t *testing.T) {
	e := Ends{Reported: 10, Observed: 20}
	for _, c := range []struct {
		at, since int64
		void      bool
	}{{30, 11, false}, {30, 10, true}, {30, 9, true}, {20, 11, false}, {19, 11, true}, {5, 5, true}} {
		if e.endsObservation(c.at, c.since) != c.void {
			t.Errorf("observed at %d as of %d: void %t", c.at, c.since, !c.void)
		}
	}
	for at, void := range map[int64]bool{9: true, 19: true, 20: false, 21: false} {
		if e.endsReport(at) != void {
			t.Errorf("reported at %d: void %t", at, !void)
		}
	}
	if got := (Ends{Reported: 30}); got.endsReport(30) || !got.endsReport(29) || e.Max(got) != (Ends{30, 20}) {
		t.Errorf("%+v, %+v", got, e.Max(got))
	}
	for _, c := range []struct {
		from, to, name string
		want           bool
	}{{"", "", "a", true}, {"b", "", "a", false}, {"b", "", "b", true}, {"", "c", "b", true}, {"", "c", "c", false}, {"b", "c", "bz", true}} {
		if (&Listing{From: c.from, To: c.to}).covers(c.name) != c.want {
			t.Errorf("[%q, %q) covers %q: %t", c.from, c.to, c.name, !c.want)
		}
	}
	for _, c := range []struct {
		l, o [2]string
		want bool
	}{
		{[2]string{"", ""}, [2]string{"b", "c"}, true}, {[2]string{"", ""}, [2]string{"", ""}, true}, {[2]string{"b", ""}, [2]string{"", ""}, false},
		{[2]string{"", "c"}, [2]string{"", ""}, false}, {[2]string{"", "c"}, [2]string{"b", "c"}, true}, {[2]string{"", "c"}, [2]string{"b", "d"}, false}, {[2]string{"b", "c"}, [2]string{"b", "c"}, true},
	} {
		if (&Listing{From: c.l[0], To: c.l[1]}).includes(&Listing{From: c.o[0], To: c.o[1]}) != c.want {
			t.Errorf("%q includes %q: %t", c.l, c.o, !c.want)
		}
	}
}
