package compactor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/testkit/sim"
)

// TestDeltasMayGrowWithTheView: what deltas may have that the base has not is a share of the base, so that rewriting a partition of scattered
// changes takes in one row for each sixteen, whatever the view's size; it is bounded below for small views and above for head.
func TestDeltasMayGrowWithTheView(t *testing.T) {
	const partition = 1000
	c := &Compactor{o: Options{PartitionRows: partition}}
	for _, one := range []struct{ partitions, want int64 }{
		{0, 4 * partition}, {1, 4 * partition}, {64, 4 * partition}, {160, 10 * partition}, {500, 31_250}, {512, 32 * partition}, {10_000, 32 * partition},
	} {
		spans := make([]span, max(1, one.partitions))
		for i := range one.partitions {
			spans[i] = span{parts: []layer.Info{{Rows: partition}}, rows: partition}
		}
		if got := c.maxFresh(spans); got != one.want {
			t.Errorf("%d partitions: the deltas may have %d rows, want %d", one.partitions, got, one.want)
		}
	}
}

// infos are deltas of so many rows, the newest first, each over all keys.
func infos(rows ...int64) (deltas []layer.Info) {
	for i, n := range rows {
		deltas = append(deltas, layer.Info{ID: fmt.Sprint("d", i), Rows: n, First: layer.Key{Parent: "/", Name: "a"}, Last: layer.Key{Parent: "/", Name: "z"}})
	}
	return deltas
}

// TestNewestFew: two deltas at least become one, and as many more as are not much larger than the newer ones; so many that fewer are left than may be.
func TestNewestFew(t *testing.T) {
	for _, one := range []struct {
		most int
		rows []int64
		want int
	}{
		{2, []int64{1, 1, 5}, 2}, {2, []int64{1, 1, 4}, 3}, {2, []int64{9, 1, 21}, 2}, {2, []int64{9, 1, 20}, 3}, {2, []int64{1, 9, 1, 100}, 3},
		{2, []int64{1, 1, 5, 50}, 3}, // two are left at most otherwise, and then there are too many again
		{3, []int64{1, 1, 5, 50}, 2}, {3, []int64{1, 1, 4, 13}, 3}, {3, []int64{1, 1, 4, 12}, 4}, {3, []int64{100, 1}, 2}, {1, []int64{1, 100}, 2}, {8, []int64{1, 100, 1000}, 2}, {8, nil, 0},
	} {
		c := &Compactor{o: Options{MaxDeltas: one.most}}
		if got := c.newestFew(infos(one.rows...)); len(got) != one.want {
			t.Errorf("of deltas of %v rows, where %d may be, the newest %d become one, want %d", one.rows, one.most, len(got), one.want)
		}
	}
	// The layers of one fold are one delta: they are taken together, and their rows count together.
	deltas := infos(1, 1, 3, 3)
	deltas[2].Last.Name, deltas[3].First.Name = "m", "n"
	c := &Compactor{o: Options{MaxDeltas: 2}}
	if got := c.newestFew(deltas); len(got) != 2 {
		t.Errorf("beside one of two layers, the newest %d become one", len(got))
	}
	if runs := deltaRuns(deltas); len(runs) != 3 || len(runs[2]) != 2 {
		t.Errorf("runs: %v", runs)
	}
	deltas[3].First.Name = "m"
	if runs := deltaRuns(deltas); len(runs) != 4 {
		t.Errorf("deltas that have a key in common are one run: %v", runs)
	}
}

// TestStretchesAreWhatTheBaseLacks: in any range of keys, and whatever is merged, each key is in one stretch, with the deltas that have rows there
// which the base has not; where there are none it is in no stretch.
func TestStretchesAreWhatTheBaseLacks(t *testing.T) {
	name := func(n int) layer.Key { return layer.Key{Parent: "/", Name: string(rune('a' + n))} }
	rapid.Check(t, func(t *rapid.T) {
		ends := func(label string) (from layer.Key, to *layer.Key) {
			a, b := rapid.IntRange(0, 9).Draw(t, label+" from"), rapid.IntRange(0, 10).Draw(t, label+" to")
			if b < 10 {
				end := name(b)
				to = &end
			}
			return name(a), to
		}
		m := &manifest.Manifest{Deltas: infos(make([]int64, rapid.IntRange(1, 3).Draw(t, "deltas"))...)}
		for range rapid.IntRange(0, 4).Draw(t, "merges") {
			r := manifest.Merged{Delta: rapid.SampledFrom([]string{"d0", "d1", "d2", "gone"}).Draw(t, "delta")}
			if r.From, r.To = ends("merged"); manifest.CompareEnds(&r.From, r.To) < 0 {
				m.Merged = manifest.AddMerged(m.Merged, r)
			}
		}
		from, to := ends("of")
		got := stretches(m, from, to)
		at := from
		for _, s := range got {
			if s.from.Compare(at) < 0 || manifest.CompareEnds(&s.from, s.to) >= 0 || manifest.CompareEnds(s.to, to) > 0 || len(s.deltas) == 0 {
				t.Fatalf("from %v to %v, with %+v merged: %+v", from, to, m.Merged, got)
			}
			if s.to != nil {
				at = *s.to
			}
		}
		for n := range 10 {
			k := name(n)
			lacks := len(m.Deltas)
			for _, r := range m.Merged {
				if r.From.Compare(k) <= 0 && (r.To == nil || k.Compare(*r.To) < 0) {
					lacks = slices.IndexFunc(append(slices.Clone(m.Deltas), layer.Info{ID: r.Delta}), func(i layer.Info) bool { return i.ID == r.Delta })
				}
			}
			for i := range m.Deltas {
				if inBase(m, i, k) != (i >= lacks) {
					t.Fatalf("with %+v merged, the base has what delta %d has for %v: %v", m.Merged, i, k, i < lacks)
				}
			}
			if k.Compare(from) < 0 || to != nil && k.Compare(*to) >= 0 {
				lacks = 0
			}
			has := 0
			for _, s := range got {
				if s.from.Compare(k) <= 0 && (s.to == nil || k.Compare(*s.to) < 0) {
					has += len(s.deltas)
				}
			}
			if has != lacks {
				t.Fatalf("from %v to %v, with %+v merged, %v is in stretches of %d deltas, want %d: %+v", from, to, m.Merged, k, has, lacks, got)
			}
		}
	})
}

// laid is a version: base partitions of nine rows that begin at these names, and deltas, the newest first, with a row for each of these names. Only the
// deltas are in the store, each row in a row group of its own. Deltas of which each begins where the one before ends, or later, count as one.
func (h *harness) laid(base string, deltas ...string) *manifest.Manifest {
	h.Helper()
	m := &manifest.Manifest{View: viewName}
	for _, name := range strings.Fields(base) {
		first := layer.Key{Parent: "/", Name: name}
		m.Base = append(m.Base, layer.Info{ID: "b" + name, Rows: 9, First: first, Last: layer.Key{Parent: "/", Name: name + "~"}})
	}
	for _, names := range deltas {
		out := h.c.newOutput(h.ctx, viewName, 100)
		out.group = 1
		for _, name := range strings.Fields(names) {
			if err := out.append(&evidence.Row{Parent: "/", Name: name, Type: event.File}); err != nil {
				h.Fatalf("%v", err)
			}
		}
		layers, err := out.finish()
		if err != nil {
			h.Fatalf("%v", err)
		}
		m.Deltas = append(m.Deltas, layers...)
	}
	return m
}

// TestPlans: what is merged next follows from the version, and from what others have claimed.
func TestPlans(t *testing.T) {
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	h.c = h.compactor(Options{MaxDeltas: 2, PartitionRows: 4}) // so 16 rows may wait for a base that is not ripe, and no partition is widened
	const many = "c1 c2 c3 c4 c5"                              // rows of an old delta that is much larger
	none, deltas := "none", func(n int) string { return fmt.Sprint(n, " deltas") }
	one := func(names string) string { // a row in each of these partitions, none of which is ripe
		return strings.Join(strings.Split(names, ""), "5 ") + "5"
	}
	const wide = "a b c d e f g h i j k l m n o p q r s t"
	elsewhere := []manifest.Merged{{From: layer.Key{Parent: "0"}, To: &layer.Key{Parent: "1"}, Delta: "0"}}
	for _, c := range []struct {
		what    string
		most    int // deltas; 0: two
		base    string
		deltas  []string
		merged  []manifest.Merged // Delta is the number of the delta
		claimed string
		want    string
	}{
		{what: "few deltas", base: "a", deltas: []string{"b", "a"}, want: none},
		{what: "too many, of which the newest are small", base: "a", deltas: []string{"d", "c9", many}, want: deltas(2)},
		{what: "too many, all of a size", base: "a z", deltas: []string{"z2", "z1", "a"}, want: "bz"},
		{what: "none is ripe", base: "a g m s", deltas: []string{"m1", "g1", "a1"}, want: deltas(3)},
		{what: "no base", deltas: []string{"m1", "g1", "a1"}, want: claimOfFirstBase},
		{what: "the first of several that are ripe", base: "a g m", deltas: []string{"m2", "g2 m1", "g1"}, want: "bg"},
		{what: "the deltas are claimed, and all that is ripe", base: "a", deltas: []string{"d", "c9", many}, claimed: claimOfDeltas + " ba", want: none},
		{what: "the deltas are claimed", base: "a", deltas: []string{"d", "c9", many}, claimed: claimOfDeltas, want: "ba"},
		{what: "a ripe one is claimed", base: "a g m", deltas: []string{"m2", "g2 m1", "g1"}, claimed: "bg", want: "bm"},
		{what: "all that is ripe is claimed", base: "a g m", deltas: []string{"m2", "g2 m1", "g1"}, claimed: "bg bm", want: deltas(3)},
		{what: "a merge is under way", base: "a g m", deltas: []string{"g1 g2 m1 m2"}, merged: []manifest.Merged{{To: &layer.Key{Parent: "/", Name: "m"}, Delta: "0"}}, want: "bm"},
		{what: "a merge is under way, of what is not ripe", base: "a g m", deltas: []string{"g1 g2 m1"}, merged: []manifest.Merged{{To: &layer.Key{Parent: "/", Name: "m"}, Delta: "0"}}, want: deltas(1)},
		{what: "half of the rows are in the base", base: "a g m", deltas: []string{"g1 m1"}, merged: []manifest.Merged{{To: &layer.Key{Parent: "/", Name: "m"}, Delta: "0"}}, want: deltas(1)},
		{what: "less than half of the rows are in the base", base: "a g m s", deltas: []string{"g1 m1 s1"}, merged: []manifest.Merged{{To: &layer.Key{Parent: "/", Name: "m"}, Delta: "0"}}, want: none},
		{what: "a merge of another one is under way", base: "a g m", deltas: []string{"g1 g2 m1"}, merged: []manifest.Merged{{To: &layer.Key{Parent: "/", Name: "m"}, Delta: "0"}}, claimed: "ba", want: none},
		{what: "only an older delta is merged", base: "a g m", deltas: []string{"g1 g2", "g1 g2 m1 m2"}, merged: []manifest.Merged{{To: &layer.Key{Parent: "/", Name: "m"}, Delta: "1"}}, want: "bg"},
		{what: "a merge is under way, and deltas are as many as may be", most: 3, base: "a g m", deltas: []string{"m2", "g2 m1", "g1 g3 g4 g5 g6 g7 g8"}, merged: elsewhere, want: "bg"},
		{what: "rows before the first partition", base: "g m", deltas: []string{"a3", "a2", "a1"}, want: "bg"},
		{what: "a row at the end of a merged range", base: "a m", deltas: []string{"m n"}, merged: []manifest.Merged{{To: &layer.Key{Parent: "/", Name: "m"}, Delta: "0"}}, want: "bm"},
		{what: "as much as may wait", base: wide, deltas: []string{one("abcdefghijklmnop")}, merged: elsewhere, want: none},
		{what: "more than may wait", base: wide, deltas: []string{one("abcdefghijklmnopq")}, merged: elsewhere, want: "ba"},
	} {
		m := h.laid(c.base, c.deltas...)
		for _, r := range c.merged {
			r.Delta = m.Deltas[r.Delta[0]-'0'].ID
			m.Merged = append(m.Merged, r)
		}
		claimed := claimed{}
		for _, name := range strings.Fields(c.claimed) {
			claimed[name] = true
		}
		h.c.o.MaxDeltas = cmp.Or(c.most, 2)
		p, err := h.c.plan(h.ctx, m, claimed)
		if err != nil {
			t.Fatal(err)
		}
		got := p.name()
		switch {
		case p.none():
			got = none
		case p.span == nil:
			got = deltas(len(p.deltas))
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

// TestTheDensestPartitionGoesFirst of those that are not ripe, by the share of its rows that would change; but none that another one has claimed.
func TestTheDensestPartitionGoesFirst(t *testing.T) {
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	h.c = h.compactor(Options{MaxDeltas: 2, PartitionRows: 1}) // four rows may wait
	type of struct{ fresh, rows int64 }
	for _, c := range []struct {
		partitions []of
		claimed    string
		want       string
	}{
		{[]of{{2, 17}, {3, 25}}, "", "b1"}, {[]of{{3, 25}, {4, 34}}, "", "b0"}, {[]of{{2, 17}, {4, 35}}, "", "b0"}, {[]of{{1, 18}, {2, 17}, {4, 40}, {0, 1}}, "", "b1"},
		{[]of{{1, 18}, {2, 17}, {4, 40}, {0, 1}}, "b1", "b2"}, {[]of{{1, 9}, {1, 9}, {1, 9}, {1, 9}, {1, 9}}, "", "b0"}, {[]of{{1, 9}, {1, 9}, {1, 9}, {1, 9}}, "", ""},
		{[]of{{4, 40}, {4, 40}}, "b0", ""},
	} {
		var base, rows []string
		for i, p := range c.partitions {
			base = append(base, fmt.Sprint(i))
			for n := range p.fresh {
				rows = append(rows, fmt.Sprint(i, ".", n))
			}
		}
		m := h.laid(strings.Join(base, " "), strings.Join(rows, " "))
		for i, p := range c.partitions {
			m.Base[i].Rows = p.rows
		}
		m.Merged = []manifest.Merged{{From: layer.Key{Parent: "0"}, Delta: m.Deltas[0].ID}}
		p, err := h.c.plan(h.ctx, m, claimed{c.claimed: true})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if p.span != nil {
			got = p.name()
		}
		if got != c.want || len(p.deltas) > 0 {
			t.Errorf("%v, %q claimed: %q, want %q", c.partitions, c.claimed, got, c.want)
		}
	}
}

// TestPlanCountsItsRows: those of the partitions and what comes to them, or those of the deltas.
func TestPlanCountsItsRows(t *testing.T) {
	for _, c := range []struct {
		plan plan
		want int64
	}{{plan{}, 0}, {plan{span: &span{rows: 5, fresh: 2}}, 7}, {plan{deltas: infos(3, 4)}, 7}} {
		if got := c.plan.rows(); got != c.want {
			t.Errorf("%+v: %d rows", c.plan, got)
		}
	}
	for _, c := range []struct {
		rows, fresh int64
		ripe        bool
	}{{0, 0, false}, {0, 1, true}, {8, 1, true}, {9, 1, false}, {16, 2, true}, {17, 2, false}} {
		if s := (&span{rows: c.rows, fresh: c.fresh}); s.ripe() != c.ripe {
			t.Errorf("%d rows for a partition of %d: ripe: %v", c.fresh, c.rows, !c.ripe)
		}
	}
}

// TestSmallNeighboursAreTakenAlong: partitions that follow the one that is rewritten, are nobody else's, and make half of a partition with it at most.
func TestSmallNeighboursAreTakenAlong(t *testing.T) {
	c := &Compactor{o: Options{PartitionRows: 20}}
	for _, one := range []struct {
		rows    []int64 // of each partition, one of which is fresh
		from    int
		claimed string
		want    int
	}{
		{[]int64{4, 3, 3, 3}, 0, "", 3}, {[]int64{4, 3, 4, 3}, 0, "", 2}, {[]int64{4, 3, 3, 3}, 1, "", 3}, {[]int64{4, 9, 1}, 0, "", 1}, {[]int64{11, 1}, 0, "", 1},
		{[]int64{4, 3, 3, 3}, 0, "b1", 1}, {[]int64{4, 3, 3, 3}, 0, "b2", 2}, {[]int64{4, 3, 3, 3}, 0, "b0", 3}, {[]int64{4, 3}, 1, "", 1},
	} {
		var spans []span
		var base []layer.Info
		ends := make([]layer.Key, len(one.rows))
		for i, n := range one.rows {
			base = append(base, layer.Info{ID: fmt.Sprint("b", i), Rows: n - 1})
			ends[i].Name = fmt.Sprint(i)
		}
		for i, n := range one.rows {
			spans = append(spans, span{first: i, parts: base[i : i+1], rows: n - 1, fresh: 1, to: &ends[i]})
		}
		before := slices.Clone(base)
		w := c.widen(&spans[one.from], spans, claimed{one.claimed: true})
		rows := int64(0)
		for i := range w.parts {
			rows += w.parts[i].Rows
		}
		if len(w.parts) != one.want || w.first != one.from || w.rows != rows || w.fresh != int64(one.want) || w.to != &ends[one.from+one.want-1] || !slices.EqualFunc(base, before, func(a, b layer.Info) bool { return a.ID == b.ID }) {
			t.Errorf("%v from %d, %q claimed: %+v", one.rows, one.from, one.claimed, w)
		}
	}
	spans := []span{{fresh: 3}} // a view without a base
	if w := c.widen(&spans[0], spans, nil); w.fresh != 3 || len(w.parts) != 0 {
		t.Errorf("without a base: %+v", w)
	}
}
