package layer

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/casefold"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/testkit/gentree"
)

// names that try what lower case, characters and bytes are.
var searchName = rapid.OneOf(
	nameGen,
	rapid.StringMatching(`[a-cA-C._-]{1,8}`),
	rapid.StringMatching(`[abA]{6,9}(ä|Ä|_)?[ab]{3,9}`),
	rapid.StringMatching(`Prefix(-xyz)?[ab]{1,4}`),
	rapid.StringMatching(`[aB]{1,5}([_. -][aB0-9ä]{0,3}){1,4}([_.][aB]{1,3})?`),
	rapid.SampledFrom([]string{"Ärger.TXT", "ärger.txt", "İstanbul", "K\u212Alvin", "\xffÄB", "ab\xc3", "x�y", "ſtraße", "STRASSE", "ΑΣ", "ας", "日本語.so", "LIB.SO", "istanbul", "I\u0307stanbul",
		"café_07.png", "CAFE\u0301_07.png", "conﬁg_1.x", "config_1.x", "ẚ\u037eb", "5 \u1fef"}),
)

// holds is whether a name has a part as Needle.Add means it, in the most generous reading: bytes, or any case of ASCII.
func holds(name, part string, start, end bool) bool {
	ascii := func(s string) string {
		b := []byte(s)
		for i := range b {
			b[i] = lowerASCII[b[i]]
		}
		return string(b)
	}
	n, p := ascii(name), ascii(part)
	switch {
	case start && end:
		return n == p
	case start:
		return strings.HasPrefix(n, p)
	case end:
		return strings.HasSuffix(n, p)
	}
	return strings.Contains(n, p)
}

// TestSearchIndexLosesNothing: a row group that has a name with the part is in the set, however the layer came to be.
func TestSearchIndexLosesNothing(t *testing.T) {
	st := openStore(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		rows := map[Key]evidence.Row{}
		for range rapid.IntRange(30, 60).Draw(rt, "rows") {
			k := Key{Parent: rapid.SampledFrom([]string{"/", "/a/", "/b/"}).Draw(rt, "parent"), Name: searchName.Draw(rt, "name")}
			rows[k] = evidence.Row{Parent: k.Parent, Name: k.Name, Type: event.File, Removed: rapid.Bool().Draw(rt, "removed")}
		}
		all := sorted(rows)
		n++
		o := WriterOptions{ID: id(n), RowsPerGroup: rapid.IntRange(1, 6).Draw(rt, "group"), SearchSpan: rapid.IntRange(1, 3).Draw(rt, "span")}
		l := open(t, st, write(t, st, o, all))
		if rapid.Bool().Draw(rt, "copied") {
			n++
			l = open(t, st, copied(t, l, WriterOptions{ID: id(n), RowsPerGroup: 3, SearchSpan: rapid.IntRange(1, 2).Draw(rt, "span of the copy")}))
		}
		part := searchName.Draw(rt, "part")
		if rapid.Bool().Draw(rt, "of a row") {
			part = rapid.SampledFrom(all).Draw(rt, "row").Name
		}
		if !rapid.Bool().Draw(rt, "whole") {
			from := rapid.IntRange(0, len(part)).Draw(rt, "from")
			part = part[from:rapid.IntRange(from, len(part)).Draw(rt, "to")]
		}
		start, end := rapid.Bool().Draw(rt, "start"), rapid.Bool().Draw(rt, "end")
		var needle Needle
		has := func(name string) bool { return holds(name, part, start, end) }
		if rapid.Bool().Draw(rt, "in any case") {
			folded := casefold.String(part)
			needle.AddFolded(folded)
			has = func(name string) bool { return strings.Contains(casefold.String(name), folded) }
		} else {
			needle.Add(part, start, end)
		}
		set, err := l.mayHave(t.Context(), &needle, 0)
		if err != nil {
			rt.Fatal(err)
		}
		groups, _ := l.Groups(t.Context())
		for i := range groups {
			b, err := l.Block(t.Context(), i)
			if err != nil {
				rt.Fatal(err)
			}
			for j := range b.Len() {
				if has(b.Name(j)) && !set.Has(i) {
					rt.Fatalf("%q (start %v, end %v) is in %q of row group %d, which is not in the set", part, start, end, b.Name(j), i)
				}
			}
		}
	})
}

// TestSearchIndexFindsWholeNames, byte for byte and in any case, whatever is special about their characters.
func TestSearchIndexFindsWholeNames(t *testing.T) {
	names := []string{"Ärger.TXT", "İstanbul", "K\u212Alvin", "\xffÄB", "x�y", "ſtraße", "STRASSE", "STRAẞE", "ΑΣ", "日本語.so", "I\u0307stanbul", "CAFE\u0301_07.png", "conﬁg_1.x", "ẚ\u037eb", "5 \u1fef"}
	slices.Sort(names)
	st := openStore(t)
	w := NewWriter(WriterOptions{ID: id(1), RowsPerGroup: 1, SearchSpan: 1})
	for _, name := range names {
		if err := w.Append(&evidence.Row{Parent: "/", Name: name, Type: event.File}); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, st, publish(t, st, w))
	for i, name := range names {
		var exact, folded Needle
		exact.Add(name, true, true)
		folded.AddFolded(casefold.String(name))
		for what, needle := range map[string]*Needle{"byte for byte": &exact, "in any case": &folded} {
			if set, err := l.mayHave(t.Context(), needle, 0); err != nil || !set.Has(i) {
				t.Errorf("%q is not found %s: %v", name, what, err)
			}
		}
	}
	// Earlier indexes have "straße" as it is: they are not asked for what it is folded to.
	var needle Needle
	needle.AddFolded("strasse")
	for version, asked := range map[byte]needleSlots{foldVersion: needle.now, foldVersion - 1: needle.before} {
		want := slices.Sorted(slices.Values(asked.grams))
		if first, _ := needle.in(&searchSection{version: version}); !slices.Equal(first, want) || len(needle.now.grams) <= len(needle.before.grams) {
			t.Errorf("version %d is asked for %v, want %v", version, first, want)
		}
	}
}

// TestOldSearchIndexesLoseNothing: earlier builds indexed names beyond ASCII as they are, and in lower case. What is asked of their
// indexes is there of every name that matches.
func TestOldSearchIndexesLoseNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		name := searchName.Draw(rt, "name")
		folded := casefold.String(name)
		from := rapid.IntRange(0, len(folded)).Draw(rt, "from")
		part := folded[from:rapid.IntRange(from, len(folded)).Draw(rt, "to")]
		var pairs pairSet
		var old slotSet
		for _, text := range []string{name, strings.ToLower(name)} {
			b := []byte(text)
			for i := range b {
				b[i] = lowerASCII[b[i]]
			}
			old.addText(&pairs, string(b))
		}
		old.addPairs(&pairs)
		var needle Needle
		needle.AddFolded(part)
		for _, slot := range slices.Concat(needle.before.grams, needle.before.short, needle.before.parts, needle.before.bridges) {
			if old[slot>>6]>>(slot&63)&1 == 0 {
				rt.Fatalf("slot %d of %q is not asked for rightly: the old index of %q lacks it", slot, part, name)
			}
		}
	})
	var needle Needle
	needle.AddFolded("plate_0042")
	if len(needle.before.grams) < 8 || len(needle.before.parts) == 0 {
		t.Fatalf("old indexes are asked for %d trigrams and %d parts", len(needle.before.grams), len(needle.before.parts))
	}
}

// copied copies a layer verbatim.
func copied(t testing.TB, l *Layer, o WriterOptions) Info {
	t.Helper()
	w := NewWriter(o)
	groups, err := l.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range groups {
		raw, err := l.RawGroup(t.Context(), i)
		if err == nil {
			err = w.AppendGroup(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return publish(t, l.st, w)
}

// columnsOf is a layer's search index.
func columnsOf(t testing.TB, l *Layer) []*slotSet {
	t.Helper()
	x, err := l.index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	columns, err := l.readSearchColumns(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	return columns
}

func equalColumns(a, b []*slotSet) bool {
	return slices.EqualFunc(a, b, func(x, y *slotSet) bool { return *x == *y })
}

// searchLayer is a layer with a search index of one column for each of its row groups.
func searchLayer(t testing.TB) (*Layer, Built) {
	t.Helper()
	st := openStore(t)
	w := NewWriter(WriterOptions{ID: id(1), RowsPerGroup: 200, SearchSpan: 1})
	for r := range gentree.New(gentree.Options{Seed: 3, Rows: 5000}).Rows() {
		if err := w.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	b, err := w.Finish()
	if err == nil {
		err = Publish(t.Context(), st, testView, b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return open(t, st, b.Info), b
}

// TestCopiedGroupsKeepTheirIndex: the index of a copy is that of what was copied, whether it was taken over or, as the
// old one was damaged, made anew.
func TestCopiedGroupsKeepTheirIndex(t *testing.T) {
	l, built := searchLayer(t)
	want := columnsOf(t, l)
	if len(want) != 25 {
		t.Fatalf("%d columns", len(want))
	}
	o := WriterOptions{ID: id(2), SearchSpan: 1}
	if got := columnsOf(t, open(t, l.st, copied(t, l, o))); !equalColumns(got, want) {
		t.Fatal("a copy has another search index")
	}
	x, _ := l.index(t.Context())
	damaged := slices.Clone(built.Data)
	damaged[x.search.pages[5].offset+1] ^= 1
	if _, err := l.st.Put(t.Context(), l.object(), damaged); err != nil {
		t.Fatal(err)
	}
	o.ID = id(3)
	if got := columnsOf(t, open(t, l.st, copied(t, open(t, l.st, built.Info), o))); !equalColumns(got, want) {
		t.Fatal("the search index was not made anew")
	}
}

// TestDamagedSearchIndexIsNoticed: by object and offset; the rows can be read all the same.
func TestDamagedSearchIndexIsNoticed(t *testing.T) {
	l, built := searchLayer(t)
	x, _ := l.index(t.Context())
	rows := rowsOf(t, l)
	rng := rand.New(rand.NewPCG(1, 1))
	var needle Needle
	needle.Add("quixotic", false, false)
	page := x.search.pages[pageOf(needle.now.grams[0])]
	for range 30 {
		damaged := slices.Clone(built.Data)
		damaged[page.offset+rng.Int64N(page.bytes)] ^= 1 << rng.IntN(8)
		if _, err := l.st.Put(t.Context(), l.object(), damaged); err != nil {
			t.Fatal(err)
		}
		fresh := open(t, l.st, built.Info)
		_, err := fresh.MayHave(t.Context(), &needle)
		wantFormatError(t, "a flipped bit", layout.Layer(testView, built.Info.ID), err)
		if at := fmt.Sprintf("%d+%d", page.offset, page.bytes); !strings.Contains(err.Error(), at) {
			t.Fatalf("%v does not name %s", err, at)
		}
		same(t, "the rows", rowsOf(t, fresh), rows)
	}
	if _, err := l.st.Put(t.Context(), l.object(), built.Data[:page.offset]); err != nil {
		t.Fatal(err)
	}
	var f *FormatError
	if _, err := open(t, l.st, built.Info).MayHave(t.Context(), &needle); !errors.As(err, &f) {
		t.Fatalf("a layer cut short: %v", err)
	}
}

// TestSearchReadsLittle: a search of a layer is one request of less than the index, and none the second time.
func TestSearchReadsLittle(t *testing.T) {
	l, _ := searchLayer(t)
	x, _ := l.index(t.Context())
	var m Meter
	ctx := WithMeter(t.Context(), &m)
	var needle, all Needle
	needle.Add(".so", false, true)
	if len(needle.now.grams) != 2 {
		t.Fatalf("%d trigrams of an extension", len(needle.now.grams))
	}
	set, err := l.MayHave(ctx, &needle)
	if err != nil || set == nil {
		t.Fatal(set, err)
	}
	size := x.search.pages[gramPages-1].offset + x.search.pages[gramPages-1].bytes - x.search.pages[0].offset
	if c := m.Cost(); c.Gets != 1 || c.Bytes == 0 || c.Bytes >= size {
		t.Fatalf("cost %+v of a search index of %d bytes", c, size)
	}
	m = Meter{}
	if _, err := l.MayHave(ctx, &needle); err != nil || m.Cost().Gets != 0 || m.Cost().Hits == 0 {
		t.Fatalf("the second time: %+v, %v", m.Cost(), err)
	}
	all.Add("", false, false)
	if set, err := l.MayHave(ctx, &all); set != nil || err != nil || m.Cost().Gets != 0 {
		t.Fatalf("no characters: %v, %v", set, err)
	}
}

// TestSmallLayersHaveNoSearchIndex, and are looked through.
func TestSmallLayersHaveNoSearchIndex(t *testing.T) {
	st := openStore(t)
	info, _ := treeLayer(t, st, 3*RowsPerGroup, WriterOptions{ID: id(1)})
	var needle Needle
	needle.Add("quixotic", false, false)
	if set, err := open(t, st, info).MayHave(t.Context(), &needle); set != nil || err != nil {
		t.Fatal(set, err)
	}
}

// TestOldIndexesKnowNoTypes: an index of version 1 rules no type and no owner out.
func TestOldIndexesKnowNoTypes(t *testing.T) {
	l, built := searchLayer(t)
	x, _ := l.index(t.Context())
	for i := range x.groups {
		if g := &x.groups[i]; g.Types == 0 || g.Types == math.MaxUint8 || g.Owners == 0 {
			t.Fatalf("%+v", g)
		}
	}
	parsed, err := parseIndex(x.body(1), 1)
	if err == nil {
		err = parsed.check(&built.Info)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range parsed.groups {
		if g := &parsed.groups[i]; g.Types != math.MaxUint8 || g.Owners != math.MaxUint64 || g.Hash != x.groups[i].Hash {
			t.Fatalf("%+v", g)
		}
	}
}

// TestShortPartsRuleOut: a pair of characters, or one, that no name has rules all row groups out; of an index that has
// trigrams alone it rules none out, and a copy of its row groups has pairs again.
func TestShortPartsRuleOut(t *testing.T) {
	l, built := searchLayer(t)
	groups, _ := l.Groups(t.Context())
	absent := [][3]any{{"q~", false, false}, {"~", false, false}, {"~", true, false}, {"~", false, true}, {"\x01", false, false}}
	left := func(l *Layer, part string, start, end bool) (n int) {
		var needle Needle
		needle.Add(part, start, end)
		set, err := l.MayHave(t.Context(), &needle)
		if err != nil {
			t.Fatal(err)
		}
		for i := range groups {
			if set.Has(i) {
				n++
			}
		}
		return n
	}
	x, _ := l.index(t.Context())
	stale := *x
	stale.search.version = 2
	l2 := open(t, l.st, built.Info)
	l2.loaded.Store(&stale)
	rewritten := open(t, l.st, copied(t, l2, WriterOptions{ID: id(8), SearchSpan: x.search.span}))
	for _, a := range absent {
		part, start, end := a[0].(string), a[1].(bool), a[2].(bool)
		if n := left(l, part, start, end); n > len(groups)/4 {
			t.Errorf("%q (%v, %v) leaves %d of %d row groups", part, start, end, n, len(groups))
		}
		if n := left(l2, part, start, end); n != len(groups) {
			t.Errorf("%q (%v, %v) leaves %d of %d row groups without pairs in the index", part, start, end, n, len(groups))
		}
		if n := left(rewritten, part, start, end); n > len(groups)/4 {
			t.Errorf("%q (%v, %v) leaves %d of %d row groups of the copy", part, start, end, n, len(groups))
		}
	}
}

// TestPartsTellNamesApart: names of which each row group has all trigrams, though from other names, are told apart by
// their parts, as far as one of those chosen spans what is different; an index of before has none and cannot.
func TestPartsTellNamesApart(t *testing.T) {
	st := openStore(t)
	const groups, each = 32, 200
	words := []string{"cell", "gene", "mask", "plate", "slide", "trace", "video", "frame"}
	w := NewWriter(WriterOptions{ID: id(1), RowsPerGroup: each, SearchSpan: 1})
	for g := range groups {
		for n := range each { // every word and every number, but not each with each
			if err := w.Append(&evidence.Row{Parent: fmt.Sprintf("/%03d/", g), Name: fmt.Sprintf("%03d %s%03d.png", n, words[(g+n)%len(words)], n), Type: event.File}); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := open(t, st, publish(t, st, w))
	x, _ := l.index(t.Context())
	stale := *x
	stale.search.version = shortVersion
	before := open(t, st, l.Info())
	before.loaded.Store(&stale)
	leaves := func(l *Layer, part string) (n int) {
		var needle Needle
		needle.Add(part, false, false)
		set, err := l.MayHave(t.Context(), &needle)
		if err != nil {
			t.Fatal(err)
		}
		for g := range groups {
			if set.Has(g) {
				n++
			}
		}
		return n
	}
	now, then, have := 0, 0, 0
	for n := 0; n < each; n += 7 {
		for _, end := range []string{"", ".png"} {
			part := fmt.Sprintf("%s%03d%s", words[n%3], n, end)
			have += groups / len(words)
			now += leaves(l, part)
			then += leaves(before, part)
		}
	}
	if now < have || 3*now > 2*then {
		t.Errorf("names that are in %d row groups leave %d, and %d without the rows of parts", have, now, then)
	}
}

// TestBridges: what spans a number, and no more.
func TestBridges(t *testing.T) {
	for text, want := range map[string][]string{
		"/label_000010.dcm/":                        {"el_.dc", "abel_.dc"},
		"label_10.dc":                               {"el_.dc", "abel_.dc"},
		"label_10.d":                                nil, // what follows is not known
		"bel_10.dcm":                                {"el_.dc"},
		"/x_1.h5/":                                  {"/x_.h0"},
		"/subject-S0003_L001_R2_001.fastq.gz/":      {"ct-.fa", "ject-.fa", "00_.fa", "0000_.fa", "00_.fa", "l000_.fa", "r0_.fa", "0_r0_.fa"},
		"/img_20240601_001413.jpg/":                 {"mg_.jp", "/img_.jp", "00_.jp", "0000_.jp"},
		"/review_sim-20201113.csv/":                 {"im-.cs", "_sim-.cs"},
		"/a_b_c.txt/":                               nil,
		"/part-00017-046c-9a-final.snappy.parquet/": {"rt--fi", "part--fi", "00--fi", "0000--fi", "0c--fi", "000c--fi"},
		"/2024.01.02_log/":                          {"00..00", "0000..00", "00._lo", "0.00._lo"},
	} {
		got := appendBridges(nil, text)
		var expected []uint32
		for _, b := range want {
			bridge := uint64(0)
			for i := range len(b) {
				bridge = bridge<<8 | uint64(b[i])
			}
			expected = append(expected, gramSlots+partSlots+hashed(bridge, bridgeSlots))
			if len(b) == 6 {
				expected = append(expected, gramSlots+partSlots+hashed(bridge|1<<56, bridgeSlots))
			}
		}
		if !slices.Equal(got, expected) {
			t.Errorf("%s: %d bridges %v, want %d %v", text, len(got), got, len(expected), expected)
		}
	}
}

// TestSizesAreRoundedOutwards: the index's bounds hold the sizes, a hundredth off at most, and stay as they are when they are
// rounded again, also those that earlier versions rounded.
func TestSizesAreRoundedOutwards(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.Int64Range(0, 1000), rapid.Int64Range(0, math.MaxInt64)).Draw(t, "size")
		low, high := sizesOf(sizeCode(size))
		if low > size || high < size || high-low > size/100 {
			t.Fatalf("%d is rounded to %d and %d", size, low, high)
		}
		g := Group{Rows: 1, MinSize: size, MaxSize: size}
		g.round()
		again := g
		if again.round(); again != g || g.MinSize != low || g.MaxSize != high {
			t.Fatalf("%+v, and again %+v", g, again)
		}
		bit := rapid.IntRange(0, 62).Draw(t, "bit")
		old := Group{Rows: 1, MinSize: 1 << bit, MaxSize: 1<<(bit+1) - 1}
		if again = old; bit < 62 {
			if again.round(); again != old {
				t.Fatalf("%+v became %+v", old, again)
			}
		}
	})
}

// TestFetchCoalesces: what lies close is read with one request, what was fetched is used, and damage is that of its group.
func TestFetchCoalesces(t *testing.T) {
	if got := coalesce([]byteRange{{0, 10, 0}, {10, 10, 0}, {20 + CoalesceGap, 5, 0}, {30 + 3*CoalesceGap, 5, 0}}); !slices.Equal(got, []int{3, 4}) {
		t.Fatalf("runs end at %v", got)
	}
	if got := coalesce([]byteRange{{0, MaxRange, 0}, {MaxRange, MaxRange, 0}, {2 * MaxRange, 3 * MaxRange, 0}, {5 * MaxRange, 1, 0}}); !slices.Equal(got, []int{1, 2, 3, 4}) {
		t.Fatalf("runs end at %v", got)
	}
	st := openStore(t)
	info, rows := treeLayer(t, st, 20_000, WriterOptions{ID: id(1), RowsPerGroup: 1000})
	v, err := OpenView(st, testView, []Info{info}, nil, NewCache(1))
	if err != nil {
		t.Fatal(err)
	}
	var m Meter
	ctx := WithMeter(t.Context(), &m)
	l := v.Base()[0]
	if _, err := l.Groups(ctx); err != nil {
		t.Fatal(err)
	}
	before := m.Cost()
	held, err := Fetch(ctx, []GroupRef{{l, 7}, {l, 3}, {l, 5}, {l, 4}})
	if err != nil {
		t.Fatal(err)
	}
	if c := m.Cost(); c.Gets-before.Gets != 1 || c.Groups != 4 {
		t.Fatalf("cost %+v", c)
	}
	c := v.Cursor(ctx).Hold(held).Skip(func(_ *Layer, i int, _ *Group) bool { return held[GroupRef{l, i}] == nil })
	same(t, "held", scan(t, c), slices.Concat(rows[3000:6000], rows[7000:8000]))
	if c := m.Cost(); c.Gets-before.Gets != 1 {
		t.Fatalf("what was held was read again: %+v", c)
	}
	groups, _ := l.Groups(ctx)
	o, err := st.Get(ctx, l.object())
	if err != nil {
		t.Fatal(err)
	}
	o.Body[groups[4].Offset+100] ^= 1
	if _, err := st.Put(ctx, l.object(), o.Body); err != nil {
		t.Fatal(err)
	}
	_, err = Fetch(ctx, []GroupRef{{l, 12}, {l, 4}})
	wantFormatError(t, "a damaged row group", l.object(), err)
	if at := fmt.Sprintf("%d+%d", groups[4].Offset, groups[4].Bytes); !strings.Contains(err.Error(), at) {
		t.Fatalf("%v does not name %s", err, at)
	}
}

// TestSearchIndexOfTheWorkedExample holds the example in the comment at the top of search.go.
func TestSearchIndexOfTheWorkedExample(t *testing.T) {
	const name = "config_000024.dcm"
	var column slotSet
	column.addNames(name, []uint32{0, uint32(len(name))})

	slots := map[string]map[uint32]bool{"trigrams": {}, "parts": {}, "bridges": {}}
	text := "/" + name + "/"
	for i := 0; i+3 <= len(text); i++ {
		slots["trigrams"][slotOf(gramAt(text, i))] = true
	}
	for i := 0; i+partLen <= len(text); i++ {
		part := uint64(0)
		for j := range partLen {
			part = nextPart(part, text[i+j])
		}
		slots["parts"][partSlot(part)] = true
	}
	for _, slot := range appendBridges(nil, text) {
		slots["bridges"][slot] = true
	}
	for kind, want := range map[string]int{"trigrams": 16, "parts": 13, "bridges": 3} {
		if len(slots[kind]) != want {
			t.Errorf("%d slots of %s, want %d", len(slots[kind]), kind, want)
		}
		for slot := range slots[kind] {
			if column[slot>>6]>>(slot&63)&1 == 0 {
				t.Errorf("a slot of %s is not set", kind)
			}
		}
	}

	var needle Needle
	needle.Add("fig_000024", false, false)
	if len(needle.now.grams) != 7 || len(needle.now.parts) != 4 || len(needle.now.bridges) != 0 {
		t.Errorf("the search asks for %d trigrams, %d parts and %d bridges, want 7, 4 and 0", len(needle.now.grams), len(needle.now.parts), len(needle.now.bridges))
	}
	for _, slot := range slices.Concat(needle.now.grams, needle.now.parts) {
		if column[slot>>6]>>(slot&63)&1 == 0 {
			t.Errorf("the search asks for slot %d, which the name does not set: it would be missed", slot)
		}
	}
}
