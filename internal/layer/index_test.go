package layer

import (
	"errors"
	"math"
	"math/bits"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// TestSizeCodes: each size lies within the bounds of its code, which no other size has, and larger sizes have larger codes.
func TestSizeCodes(t *testing.T) {
	var sizes []int64
	for size := range int64(3000) {
		sizes = append(sizes, size)
	}
	for shift := range 63 {
		for _, near := range []int64{-1, 0, 1} {
			if size := int64(1)<<shift + near; size >= 0 {
				sizes = append(sizes, size)
			}
		}
	}
	for _, size := range append(sizes, math.MaxInt64-1, math.MaxInt64) {
		code := sizeCode(size)
		smallest, largest := sizesOf(code)
		if size < smallest || size > largest || size < 1<<sizeBits && smallest != largest {
			t.Fatalf("size %d has the code %d of %d to %d", size, code, smallest, largest)
		}
		if sizeCode(smallest) != code || sizeCode(largest) != code {
			t.Fatalf("the bounds %d and %d of code %d have the codes %d and %d", smallest, largest, code, sizeCode(smallest), sizeCode(largest))
		}
		if smallest > 0 && sizeCode(smallest-1) != code-1 || largest < math.MaxInt64 && sizeCode(largest+1) != code+1 {
			t.Fatalf("the sizes around %d to %d have other codes than those around %d", smallest, largest, code)
		}
	}
}

// TestEveryVersionOfTheIndexIsRead: what a version has is as it was, and what it lacks may be anything.
func TestEveryVersionOfTheIndexIsRead(t *testing.T) {
	l, built := searchLayer(t)
	x, err := l.index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for version := byte(1); version <= IndexVersion; version++ {
		got, err := parseIndex(x.body(version), version)
		if err == nil {
			err = got.check(&built.Info)
		}
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		span := x.search.span
		if version == 1 {
			span = 0
		}
		if got.search.span != span || len(got.groups) != len(x.groups) {
			t.Fatalf("version %d: a span of %d over %d row groups", version, got.search.span, len(got.groups))
		}
		for i := range got.search.pages {
			want := x.search.pages[i]
			if version == 1 || i >= pagesIn(version) {
				want = searchPage{}
			}
			if got.search.pages[i] != want {
				t.Fatalf("version %d: page %d: %+v, want %+v", version, i, got.search.pages[i], want)
			}
		}
		for i := range got.groups {
			g, want := got.groups[i], x.groups[i]
			if version < 3 {
				if g.MinSize > want.MinSize || bits.Len64(uint64(g.MinSize)) != bits.Len64(uint64(want.MinSize)) || g.MaxSize < want.MaxSize || bits.Len64(uint64(g.MaxSize)) != bits.Len64(uint64(want.MaxSize)) {
					t.Fatalf("version %d: sizes from %d to %d, of %d to %d", version, g.MinSize, g.MaxSize, want.MinSize, want.MaxSize)
				}
				want.MinSize, want.MaxSize = g.MinSize, g.MaxSize
			}
			if version < 2 {
				want.Types, want.Owners = math.MaxUint8, math.MaxUint64
			}
			if version < keysVersion {
				want.Keys, want.KeysHash = 0, 0
			}
			if g != want {
				t.Fatalf("version %d: row group %d:\n got %+v\nwant %+v", version, i, g, want)
			}
		}
	}
}

// TestTombstonesHaveNoTypes: row groups of tombstones alone rule all types and owners out, also where the index does not say.
func TestTombstonesHaveNoTypes(t *testing.T) {
	l, _ := searchLayer(t)
	x, err := l.index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	removed := *x
	removed.groups = append([]Group(nil), x.groups...)
	removed.groups[1].Removed = removed.groups[1].Rows
	for version := byte(1); version <= IndexVersion; version++ {
		got, err := parseIndex(removed.body(version), version)
		if err != nil || got.groups[1].Types != 0 || got.groups[1].Owners != 0 || got.groups[2].Types == 0 || got.groups[2].Owners == 0 {
			t.Errorf("version %d: %+v, %v", version, got, err)
		}
	}
}

// TestIndexesThatContradictThemselvesAreRefused, though their checksums fit.
func TestIndexesThatContradictThemselvesAreRefused(t *testing.T) {
	l, built := searchLayer(t)
	x, err := l.index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := len(x.groups) - 1
	for what, change := range map[string]func(x *index){
		"a row group without rows":          func(x *index) { x.groups[1].Rows, x.groups[1].Removed = 0, 0 },
		"a row group without bytes":         func(x *index) { x.groups[last].Bytes, x.groups[last].Keys = 0, 0 },
		"more tombstones than rows":         func(x *index) { x.groups[1].Removed = x.groups[1].Rows + 1 },
		"more rows than a row group has":    func(x *index) { x.groups[1].Rows = MaxRowsPerGroup + 1 },
		"keys of no length":                 func(x *index) { x.groups[1].Keys = -1 },
		"keys that are longer than it all":  func(x *index) { x.groups[1].Keys = x.groups[1].Bytes + 1 },
		"row groups behind the end":         func(x *index) { x.groups[last].Bytes += x.bytes },
		"a page of no length":               func(x *index) { x.search.pages[3].bytes = 0 },
		"a page behind the end":             func(x *index) { x.search.pages[searchPages-1].bytes += x.bytes },
		"more columns than a layer has":     func(x *index) { x.search.span = maxGroups + 1 },
		"row groups in another order":       func(x *index) { x.groups[1], x.groups[2] = x.groups[2], x.groups[1] },
		"a row group that ends before":      func(x *index) { x.groups[1].First, x.groups[1].Last = x.groups[1].Last, x.groups[1].First },
		"a row group that begins as before": func(x *index) { x.groups[2].First = x.groups[1].Last },
		"the second one does":               func(x *index) { x.groups[1].First = x.groups[0].Last },
		"no row groups":                     func(x *index) { x.groups, x.search = nil, searchSection{} },
		"another layer's id":                func(x *index) { x.id += "x" },
		"another first key":                 func(x *index) { x.groups[0].First.Name += "x" },
		"other marks":                       func(x *index) { x.groups[1].SuspectUntilNs++ },
	} {
		changed := *x
		changed.groups = append([]Group(nil), x.groups...)
		change(&changed)
		got, err := parseIndex(changed.body(IndexVersion), IndexVersion)
		if err == nil {
			err = got.check(&built.Info)
		}
		if err == nil {
			t.Errorf("%s: taken for an index", what)
		}
	}
	// One row group by itself, whatever the manifest says of it.
	for _, c := range []struct {
		rows, removed int
		bytes, keys   int64
		good          bool
	}{
		{1, 0, 1, 0, true}, {1, 1, 90, 90, true}, {MaxRowsPerGroup, MaxRowsPerGroup, 100, 50, true},
		{0, 0, 50, 10, false}, {-1, -2, 50, 10, false}, {1, 2, 50, 10, false}, {MaxRowsPerGroup + 1, 0, 50, 10, false},
		{1, 0, 0, 0, false}, {1, 0, -1, 0, false}, {1, 0, 101, 10, false}, {1, 0, 50, 51, false}, {1, 0, 50, -1, false},
	} {
		one := index{id: id(1), bytes: int64(len(parquetMagic)) + 100, groups: []Group{{Rows: c.rows, Removed: c.removed, Bytes: c.bytes, Keys: c.keys}}}
		if _, err := parseIndex(one.body(IndexVersion), IndexVersion); (err == nil) != c.good {
			t.Errorf("%+v: %v", c, err)
		}
	}
	body := x.body(IndexVersion)
	for n := 0; n < len(body); n += 1 + n/50 {
		if _, err := parseIndex(body[:n], IndexVersion); err == nil {
			t.Fatalf("the first %d bytes of %d are taken for an index", n, len(body))
		}
	}
	if _, err := parseIndex(append(body, 0), IndexVersion); !errors.Is(err, errIndex) {
		t.Errorf("one byte more: %v", err)
	}
	// A row group of one row begins and ends with it.
	one := open(t, l.st, write(t, l.st, WriterOptions{ID: id(9), RowsPerGroup: 1}, []evidence.Row{{Type: event.Directory}, {Parent: "/", Name: "a"}}))
	if groups, err := one.Groups(t.Context()); err != nil || len(groups) != 2 {
		t.Errorf("row groups of one row: %d, %v", len(groups), err)
	}
}

// TestSearchSpan: a column of the search index stands for a row group, or for as many small ones as have its rows.
func TestSearchSpan(t *testing.T) {
	for rows, want := range map[int]int{0: 1, RowsPerGroup: 1, RowsPerGroup/2 + 1: 1, RowsPerGroup / 2: 2, RowsPerGroup / 4: 4, MaxRowsPerGroup: 1} {
		if got := NewWriter(WriterOptions{RowsPerGroup: rows}).o.SearchSpan; got != want {
			t.Errorf("row groups of %d rows: %d in a column, want %d", rows, got, want)
		}
	}
}

// TestFirstRowGroups: those that may have keys of a range, and whether they are at hand.
func TestFirstRowGroups(t *testing.T) {
	l, _ := searchLayer(t)
	groups, err := l.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	behind := Key{Parent: "0"}
	for i := range groups {
		for _, c := range []struct {
			from, until Key
			most        int
			want        int // how many from i on
		}{
			{groups[i].First, behind, 1000, len(groups) - i},
			{groups[i].Last, behind, 2, min(2, len(groups)-i)},
			{groups[i].First, groups[i].Last, 3, 1},
			{groups[i].First, groups[i].First, 3, 0},
			{groups[i].Last, behind, 0, 0},
		} {
			fresh := New(l.st, testView, l.info, NewCache(64<<20))
			if fresh.Cached(c.from, c.until, c.most) {
				t.Fatalf("row group %d, %d at most: at hand without an index", i, c.most)
			}
			first, err := fresh.First(t.Context(), c.from, c.until, c.most)
			if err != nil || len(first) != c.want || c.want > 0 && first[0] != (GroupRef{fresh, i}) {
				t.Fatalf("row group %d, %d at most: %v, %v; want %d", i, c.most, first, err, c.want)
			}
			for _, g := range first {
				if fresh.Cached(c.from, c.until, c.most) {
					t.Fatalf("row group %d, %d at most: at hand without row group %d", i, c.most, g.Group)
				}
				if _, err := fresh.Block(t.Context(), g.Group); err != nil {
					t.Fatal(err)
				}
			}
			if !fresh.Cached(c.from, c.until, c.most) {
				t.Fatalf("row group %d, %d at most: not at hand when it was read", i, c.most)
			}
		}
	}
}
