package layer

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/gentree"
)

const testView = "research"

func openStore(t testing.TB) *store.Counted {
	t.Helper()
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return store.Count(st)
}

// write makes a layer of rows that are in key order, and publishes it.
func write(t testing.TB, st store.Store, o WriterOptions, rows []evidence.Row) Info {
	t.Helper()
	w := NewWriter(o)
	for i := range rows {
		if err := w.Append(&rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	return publish(t, st, w)
}

func publish(t testing.TB, st store.Store, w *Writer) Info {
	t.Helper()
	b, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := Publish(t.Context(), st, testView, b); err != nil {
		t.Fatal(err)
	}
	return b.Info
}

func open(t testing.TB, st store.Store, info Info) *Layer {
	t.Helper()
	l, err := Open(t.Context(), st, testView, info, NewCache(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// rowsOf reads a layer row by row.
func rowsOf(t testing.TB, l *Layer) (out []evidence.Row) {
	t.Helper()
	groups, err := l.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for g := range groups {
		b, err := l.Block(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Len() {
			var r evidence.Row
			if err := b.Row(i, &r); err != nil {
				t.Fatal(err)
			}
			out = append(out, r)
		}
	}
	return out
}

func scan(t testing.TB, c *Cursor) (out []evidence.Row) {
	t.Helper()
	for c.Next() {
		var r evidence.Row
		if err := c.Row(&r); err != nil {
			t.Fatal(err)
		}
		if k := c.Key(); k.Parent != r.Parent || k.Name != r.Name {
			t.Fatalf("key %q, row %q", k.Path(), r.Path())
		}
		out = append(out, r)
	}
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t testing.TB, what string, got, want []evidence.Row) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d rows, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: row %d\n got %+v\nwant %+v", what, i, got[i], want[i])
		}
	}
}

// Names that try the order (space, dash and dot stand before the slash), and that are not UTF-8.
var nameGen = rapid.OneOf(
	rapid.SampledFrom([]string{"a", "b", "a-b", "a b", "a.b", "a0", "ab", "ä", "\xff", "a\xc3", "\xa9", "\xc3", "日本", "�", "x\xffy"}),
	rapid.StringMatching(`[a-c]{1,3}`),
	rapid.Map(rapid.SliceOfN(rapid.ByteRange(1, 255), 1, 5), func(b []byte) string {
		for i := range b {
			if b[i] == '/' {
				b[i] = '_'
			}
		}
		return string(b)
	}),
)

func keyGen(t *rapid.T) Key {
	parts := rapid.SliceOfN(nameGen, 0, 3).Draw(t, "path")
	k := Key{}
	for _, p := range parts {
		k = Key{Parent: k.Parent + k.Name + "/", Name: p}
	}
	return k
}

func rowGen(t *rapid.T, k Key) evidence.Row {
	number := func(name string) int64 { return rapid.Int64().Draw(t, name) }
	sum := func(name string) int64 { return rapid.Int64Min(0).Draw(t, name) } // negative ones are read as saturated
	r := evidence.Row{
		Parent: k.Parent, Name: k.Name,
		Type:       event.Type(rapid.IntRange(0, int(event.Other)).Draw(t, "type")),
		Mode:       rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
		UID:        rapid.Uint32().Draw(t, "uid"),
		GID:        rapid.SampledFrom([]uint32{0, 100, 1<<32 - 2}).Draw(t, "gid"),
		AtimeDay:   rapid.Int32().Draw(t, "atime"),
		Inode:      drawInode(t),
		Size:       rapid.Int64Min(0).Draw(t, "size"),
		MtimeNs:    number("mtime"),
		Removed:    rapid.Bool().Draw(t, "removed"),
		ObservedAt: number("observed"),
		Evidence:   event.Evidence(rapid.IntRange(0, int(event.OnDemand)).Draw(t, "evidence")),
		Agent:      rapid.SampledFrom([]string{"", "agent-1", "agent-2"}).Draw(t, "agent"),
		Source:     rapid.SampledFrom([]string{"", "fs://h/x", "fs://h/\xff"}).Draw(t, "source"),
	}
	if rapid.IntRange(0, 3).Draw(t, "marks") == 0 {
		r.AgentMissing, r.SuspectUntil, r.Watermark = true, number("suspect"), number("watermark")
		r.EndedAt = number("ended")
	}
	switch r.Type {
	case event.Symlink:
		r.Target = nameGen.Draw(t, "target")
	case event.Directory:
		r.Sub = evidence.Totals{Files: number("files"), Directories: number("dirs"), Others: number("others"), Bytes: sum("bytes"), LatestMtimeNs: number("latest"),
			Allocated: sum("sub allocated"), LinkedAllocated: sum("sub linked"), Unmeasured: number("sub unmeasured")}
	}
	return r
}

func rowsGen(t *rapid.T, most int) []evidence.Row {
	rows := map[Key]evidence.Row{}
	for range rapid.IntRange(1, most).Draw(t, "rows") {
		k := keyGen(t)
		rows[k] = rowGen(t, k)
	}
	return sorted(rows)
}

func sorted(rows map[Key]evidence.Row) []evidence.Row {
	keys := slices.SortedFunc(maps.Keys(rows), Key.Compare)
	out := make([]evidence.Row, 0, len(keys))
	for _, k := range keys {
		out = append(out, rows[k])
	}
	return out
}

func id(n int) string { return fmt.Sprintf("%026d", n) }

func TestWhatIsWrittenIsRead(t *testing.T) {
	st := openStore(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		rows := rowsGen(rt, 60)
		info := write(t, st, WriterOptions{ID: id(n), RowsPerGroup: rapid.IntRange(1, 20).Draw(rt, "group")}, rows)
		l := open(t, st, info)
		same(t, "layer", rowsOf(t, l), rows)
		if info.First != (Key{rows[0].Parent, rows[0].Name}) || info.Rows != int64(len(rows)) {
			t.Fatalf("info %+v", info)
		}
		groups, _ := l.Groups(t.Context())
		at := 0
		for i := range groups {
			checkGroup(t, &groups[i], rows[at:at+groups[i].Rows])
			at += groups[i].Rows
		}
	})
}

// checkGroup compares what the index says of a group with its rows.
func checkGroup(t testing.TB, g *Group, rows []evidence.Row) {
	t.Helper()
	want := *g
	want.First, want.Last = Key{rows[0].Parent, rows[0].Name}, Key{rows[len(rows)-1].Parent, rows[len(rows)-1].Name}
	want.Rows, want.Removed, want.AgentMissing, want.SuspectUntilNs, want.NotUTF8, want.Types, want.Owners = len(rows), 0, 0, 0, false, 0, 0
	want.MinMtimeSec, want.MaxMtimeSec, want.MinSize, want.MaxSize = math.MaxInt64, math.MinInt64, math.MaxInt64, 0 // of tombstones alone
	for _, r := range rows {
		want.SuspectUntilNs = max(want.SuspectUntilNs, r.SuspectUntil)
		for _, text := range []string{r.Parent, r.Name, r.Target, r.Source} { // each by itself: two halves of a letter make a whole
			want.NotUTF8 = want.NotUTF8 || !utf8.ValidString(text)
		}
		if r.AgentMissing {
			want.AgentMissing++
		}
		if r.Removed {
			want.Removed++
			continue
		}
		seconds := time.Unix(0, r.MtimeNs).Unix()
		want.MinMtimeSec, want.MaxMtimeSec = min(want.MinMtimeSec, seconds), max(want.MaxMtimeSec, seconds+1)
		smallest, _ := sizesOf(sizeCode(r.Size))
		_, largest := sizesOf(sizeCode(r.Size))
		want.MinSize, want.MaxSize = min(want.MinSize, smallest), max(want.MaxSize, largest)
		want.Types |= 1 << r.Type
		want.Owners |= OwnerBit(r.UID)
	}
	if *g != want {
		t.Fatalf("group\n%+v has the rows of\n%+v", *g, want)
	}
}

func TestRowsMustBeInOrder(t *testing.T) {
	w := NewWriter(WriterOptions{ID: id(1)})
	a, b := evidence.Row{Parent: "/a/", Name: "b"}, evidence.Row{Parent: "/a/", Name: "a"}
	if err := w.Append(&a); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(&b); err == nil {
		t.Fatal("a row out of order was taken")
	}
	w = NewWriter(WriterOptions{ID: id(1)})
	if err := w.Append(&a); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(&a); err == nil {
		t.Fatal("a row was taken twice")
	}
	if _, err := NewWriter(WriterOptions{ID: id(1)}).Finish(); err == nil {
		t.Fatal("a layer without rows")
	}
}

// TestCopiesAreEqual copies a layer's rows in random ways: by row, by part of a block, by whole row group.
func TestCopiesAreEqual(t *testing.T) {
	st := openStore(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n += 2
		rows := rowsGen(rt, 60)
		l := open(t, st, write(t, st, WriterOptions{ID: id(n), RowsPerGroup: rapid.IntRange(1, 20).Draw(rt, "group")}, rows))
		w := NewWriter(WriterOptions{ID: id(n + 1), RowsPerGroup: rapid.IntRange(1, 20).Draw(rt, "group")})
		groups, _ := l.Groups(t.Context())
		verbatim := 0
		for g := range groups {
			b, err := l.Block(t.Context(), g)
			if err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(rt, "verbatim") {
				verbatim++
				raw, err := l.RawGroup(t.Context(), g)
				if err != nil {
					t.Fatal(err)
				}
				if err := w.AppendGroup(raw); err != nil {
					t.Fatal(err)
				}
				continue
			}
			for i := 0; i < b.Len(); {
				end := rapid.IntRange(i, b.Len()).Draw(rt, "part")
				if err := w.AppendBlock(b, i, end); err != nil {
					t.Fatal(err)
				}
				if end < b.Len() {
					var r evidence.Row
					if err := b.Row(end, &r); err != nil {
						t.Fatal(err)
					}
					if err := w.Append(&r); err != nil {
						t.Fatal(err)
					}
				}
				i = end + 1
			}
		}
		if w.Rows() != int64(len(rows)) {
			t.Fatalf("%d rows, want %d", w.Rows(), len(rows))
		}
		copied := open(t, st, publish(t, st, w))
		same(t, "copy", rowsOf(t, copied), rows)
		again, _ := copied.Groups(t.Context())
		hashes := map[uint64]bool{}
		for _, g := range again {
			hashes[g.Hash] = true
		}
		for _, g := range groups {
			if hashes[g.Hash] {
				verbatim--
			}
		}
		if verbatim > 0 {
			t.Fatalf("%d row groups were not copied as they are", verbatim)
		}
	})
}

// TestViewIsTheNewestOfEachKey compares views of random layers with a map.
func TestViewIsTheNewestOfEachKey(t *testing.T) {
	st := openStore(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		model := map[Key]evidence.Row{}
		var infos [2][]Info // base, deltas
		rows := rowsGen(rt, 80)
		for len(rows) > 0 { // cut into partitions
			end := rapid.IntRange(1, len(rows)).Draw(rt, "partition")
			n++
			infos[0] = append(infos[0], write(t, st, WriterOptions{ID: id(n), RowsPerGroup: rapid.IntRange(1, 9).Draw(rt, "group")}, rows[:end]))
			for _, r := range rows[:end] {
				model[Key{r.Parent, r.Name}] = r
			}
			rows = rows[end:]
		}
		for range rapid.IntRange(0, 4).Draw(rt, "deltas") {
			n++
			rows := rowsGen(rt, 30)
			info := write(t, st, WriterOptions{ID: id(n), RowsPerGroup: rapid.IntRange(1, 9).Draw(rt, "group")}, rows)
			infos[1] = slices.Insert(infos[1], 0, info)
			for _, r := range rows {
				model[Key{r.Parent, r.Name}] = r
			}
		}
		cache := NewCache(rapid.SampledFrom([]int64{1, 20_000, 64 << 20}).Draw(rt, "cache"))
		v, err := OpenView(st, testView, infos[0], infos[1], cache)
		if err != nil {
			t.Fatal(err)
		}
		want := sorted(model)
		ahead := rapid.SampledFrom([]int64{0, 1, 3000, 1 << 20}).Draw(rt, "ahead")
		same(t, "view", scan(t, v.Cursor(t.Context()).ReadAhead(ahead)), want)
		checkGets(rt, v, model)
		checkSeeks(rt, v.Cursor(t.Context()).ReadAhead(ahead), want)
		until := keyGen(rt)
		end, _ := slices.BinarySearchFunc(want, until, func(r evidence.Row, k Key) int { return Key{r.Parent, r.Name}.Compare(k) })
		same(t, "until", scan(t, v.Cursor(t.Context()).ReadAhead(ahead).Until(until)), want[:end])
		checkSkip(t, v, want)
	})
}

func checkGets(t *rapid.T, v *View, model map[Key]evidence.Row) {
	ask := slices.Collect(maps.Keys(model))
	for range 10 {
		ask = append(ask, keyGen(t))
	}
	for _, k := range ask {
		var r evidence.Row
		found, err := v.Get(context.Background(), k, &r)
		want, ok := model[k]
		if err != nil || found != ok || r != want {
			t.Fatalf("get %q: %v %v %+v, want %v %+v", k.Path(), err, found, r, ok, want)
		}
	}
}

// checkSeeks seeks at random, with a few steps after each.
func checkSeeks(t *rapid.T, c *Cursor, want []evidence.Row) {
	for range 20 {
		k := keyGen(t)
		if rapid.Bool().Draw(t, "present") {
			r := want[rapid.IntRange(0, len(want)-1).Draw(t, "row")]
			k = Key{r.Parent, r.Name}
		}
		at, _ := slices.BinarySearchFunc(want, k, func(r evidence.Row, k Key) int { return Key{r.Parent, r.Name}.Compare(k) })
		ok := c.Seek(k)
		for range rapid.IntRange(0, 5).Draw(t, "steps") {
			if ok != (at < len(want)) {
				t.Fatalf("seek %q: %v at row %d of %d, %v", k.Path(), ok, at, len(want), c.Err())
			}
			if !ok {
				break
			}
			var r evidence.Row
			if err := c.Row(&r); err != nil || r != want[at] {
				t.Fatalf("seek %q: %v %+v, want %+v", k.Path(), err, r, want[at])
			}
			if rapid.Bool().Draw(t, "span") {
				_, from, to := c.Span()
				at += to - from
				ok = c.NextSpan()
			} else {
				at++
				ok = c.Next()
			}
		}
	}
}

// checkSkip: passing over base groups without marks loses no row with one.
func checkSkip(t testing.TB, v *View, want []evidence.Row) {
	t.Helper()
	marked := func(rows []evidence.Row) (out []evidence.Row) {
		for _, r := range rows {
			if r.AgentMissing {
				out = append(out, r)
			}
		}
		return out
	}
	got := scan(t, v.Cursor(t.Context()).SkipBase(func(g *Group) bool { return g.AgentMissing == 0 }))
	same(t, "marked", marked(got), marked(want))
}

func TestTreeOfManyGroups(t *testing.T) {
	st := openStore(t)
	tree := gentree.New(gentree.Options{Seed: 3, Rows: 100_000})
	var rows []evidence.Row
	model := map[Key]evidence.Row{}
	for r := range tree.Rows() {
		rows = append(rows, *r)
		model[Key{r.Parent, r.Name}] = *r
	}
	base := []Info{write(t, st, WriterOptions{ID: id(1)}, rows[:60_000]), write(t, st, WriterOptions{ID: id(2)}, rows[60_000:])}
	var deltas []Info
	for d := range 8 {
		var changed []evidence.Row
		for r := range tree.Changes(uint64(d), 50) {
			changed = append(changed, *r)
			model[Key{r.Parent, r.Name}] = *r
		}
		deltas = slices.Insert(deltas, 0, write(t, st, WriterOptions{ID: id(10 + d), RowsPerGroup: 500}, changed))
	}
	v, err := OpenView(st, testView, base, deltas, NewCache(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "view", scan(t, v.Cursor(t.Context()).ReadAhead(1<<20)), sorted(model))
}

func TestKeysNameTheObjects(t *testing.T) {
	st := openStore(t)
	info := write(t, st, WriterOptions{ID: id(1)}, []evidence.Row{{Type: event.Directory}})
	if len(info.Index) == 0 || info.IndexBytes != 0 {
		t.Fatalf("the index of one row is not inline: %+v", info)
	}
	if _, err := st.Get(t.Context(), layout.Layer(testView, info.ID)); err != nil {
		t.Fatal(err)
	}
	before := st.Counts()
	l := open(t, st, info)
	if got := st.Counts().Sub(before).Get; got != 0 {
		t.Fatalf("%d GETs for an inline index", got)
	}
	var m Meter
	if _, err := l.Block(WithMeter(t.Context(), &m), 0); err != nil {
		t.Fatal(err)
	}
	groups, _ := l.Groups(t.Context())
	if want := (Cost{Gets: 1, Bytes: groups[0].Bytes, Groups: 1}); m.Cost() != want {
		t.Fatalf("cost %+v, want %+v", m.Cost(), want)
	}
}

// drawInode draws what an inode tells, or nothing.
func drawInode(t *rapid.T) event.Inode {
	if rapid.Bool().Draw(t, "unmeasured") {
		return event.Inode{}
	}
	return event.Inode{
		Links: rapid.Uint32Min(1).Draw(t, "links"), Allocated: rapid.Int64Min(0).Draw(t, "allocated"),
		CtimeNs: rapid.Int64Min(asMtime+1).Draw(t, "ctime"), ID: rapid.Uint64().Draw(t, "inode"),
		BirthS: rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(-event.MaxBirthS, event.MaxBirthS)).Draw(t, "birth"),
		ACL:    rapid.SampledFrom([]event.ACL{"", event.NoACL, event.NoACL + "\x01\x00\x07\x00\xff\xff\xff\xff"}).Draw(t, "acl"),
	}
}
