package layer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/testkit/gentree"
)

// mergeInto copies a layer into a writer as a merge does, with some rows in place of its own, and others between them. rows are all that there shall
// be, in order.
func mergeInto(t testing.TB, l *Layer, w *Writer, rows []evidence.Row, changed func(*evidence.Row) bool) {
	t.Helper()
	groups, err := l.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for g := range groups {
		b, err := l.BlockToCopy(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		from := 0
		for len(rows) > 0 && keyOfRow(&rows[0]).Compare(groups[g].Last) <= 0 {
			from = b.SearchFrom(from, keyOfRow(&rows[0]))
			end := from
			for end < b.Len() && len(rows) > 0 && b.Key(end) == keyOfRow(&rows[0]) && !changed(&rows[0]) {
				rows, end = rows[1:], end+1
			}
			if end == from { // a row that the block has otherwise, or not at all
				err = w.Append(&rows[0])
				rows = rows[1:]
			} else {
				err = w.AppendBlock(b, from, end)
			}
			if err != nil {
				t.Fatal(err)
			}
			from = end
		}
		if err := w.GroupEnds(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range rows {
		if err := w.Append(&rows[i]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnchangedColumnsAreCopied: where a merge changes the size of a row, all other columns of its row group are those that there were, byte by
// byte, as a writer that compresses less has made them; and a row group without any change is the same as a whole.
func TestUnchangedColumnsAreCopied(t *testing.T) {
	st := openStore(t)
	const size = 2000
	rows := slices.Collect(copies(gentree.Options{Seed: 1, Rows: 6 * size}))
	before := open(t, st, write(t, st, WriterOptions{ID: id(1), RowsPerGroup: size, SearchSpan: 1, Fast: true}, rows))
	at := slices.IndexFunc(rows[3*size+100:], func(r evidence.Row) bool { return r.Type == event.File }) + 3*size + 100
	rows[at].Size++
	w := NewWriter(WriterOptions{ID: id(2), RowsPerGroup: size, SearchSpan: 1})
	mergeInto(t, before, w, rows, func(r *evidence.Row) bool { return r == &rows[at] })
	after := open(t, st, publish(t, st, w))
	same(t, "rows", rowsOf(t, after), rows)
	old, _ := before.Groups(t.Context())
	groups, _ := after.Groups(t.Context())
	if len(groups) != len(old) {
		t.Fatalf("%d row groups became %d", len(old), len(groups))
	}
	for g := range groups {
		was, err := before.BlockToCopy(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		is, err := after.BlockToCopy(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		for c := range Column(columns) {
			want := g != at/size || c != ColumnSize
			if got := slices.Equal(was.chunk(c), is.chunk(c)); got != want {
				t.Errorf("row group %d, column %s: the same bytes %v, want %v", g, specs[c].name, got, want)
			}
		}
	}
	if !equalColumns(columnsOf(t, before), columnsOf(t, after)) {
		t.Error("the search index differs")
	}
}

func copies(o gentree.Options) func(func(evidence.Row) bool) {
	return func(yield func(evidence.Row) bool) {
		for r := range gentree.New(o).Rows() {
			if !yield(*r) {
				return
			}
		}
	}
}

// TestRowGroupsStayAsTheyWereCut: new rows in one row group do not shift those that follow. Up to a quarter more stay in it; what does
// not fill half of another is joined with the next, which ends where it did.
func TestRowGroupsStayAsTheyWereCut(t *testing.T) {
	st := openStore(t)
	const size, groups = 64, 10
	var rows []evidence.Row
	row := func(name string) evidence.Row {
		return evidence.Row{Parent: "/a/", Name: name, Type: event.File, Mode: 0o644, ObservedAt: gentree.ScanStart, Agent: "a"}
	}
	for i := range size * groups {
		rows = append(rows, row(fmt.Sprintf("%06d", i)))
	}
	base := open(t, st, write(t, st, WriterOptions{ID: id(1), RowsPerGroup: size}, rows))
	for n, c := range []struct {
		added int // rows of the third
		want  []int
	}{
		{0, []int{64, 64, 64, 64, 64, 64, 64, 64, 64, 64}},
		{1, []int{64, 64, 65, 64, 64, 64, 64, 64, 64, 64}},
		{16, []int{64, 64, 80, 64, 64, 64, 64, 64, 64, 64}},
		{17, []int{64, 64, 80, 65, 64, 64, 64, 64, 64, 64}},
		{32, []int{64, 64, 80, 80, 64, 64, 64, 64, 64, 64}},
		{50, []int{64, 64, 80, 34, 64, 64, 64, 64, 64, 64, 64}},
	} {
		t.Run(fmt.Sprint(c.added), func(t *testing.T) {
			var added []evidence.Row
			for i := range c.added {
				added = append(added, row(fmt.Sprintf("%06d+%03d", 2*size+5, i)))
			}
			all := slices.Insert(slices.Clone(rows), 2*size+6, added...)
			w := NewWriter(WriterOptions{ID: id(2 + n), RowsPerGroup: size})
			mergeInto(t, base, w, all, func(*evidence.Row) bool { return false })
			after := open(t, st, publish(t, st, w))
			same(t, "rows", rowsOf(t, after), all)
			cut, err := after.Groups(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			for i := range cut {
				got = append(got, cut[i].Rows)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("row groups of %d rows, want %d", got, c.want)
			}
		})
	}
}

// TestMergedLayers: whatever a merge changes, adds and leaves out, the layer has what it should, no row group is longer than it may be, and the
// search index has all names, and no others if it could tell them apart before.
func TestMergedLayers(t *testing.T) {
	st, n := openStore(t), 0
	rapid.Check(t, func(rt *rapid.T) {
		n += 2
		rows := rowsGen(rt, 80)
		group, span := rapid.IntRange(1, 20).Draw(rt, "group"), rapid.IntRange(1, 3).Draw(rt, "span")
		base := open(t, st, write(t, st, WriterOptions{ID: id(n), RowsPerGroup: group, SearchSpan: span, Fast: rapid.Bool().Draw(rt, "fast")}, rows))
		often := rapid.SampledFrom([]int{1, 3, 10, 100}).Draw(rt, "often")
		different := map[Key]bool{}
		var all []evidence.Row
		for _, r := range rows {
			switch rapid.IntRange(0, 2*often).Draw(rt, "what") {
			case 0: // changed
				r.Mode ^= 1
				different[keyOfRow(&r)] = true
			case 1: // gone for good
				continue
			case 2: // and another
				more := r
				more.Name += "\x01"
				different[keyOfRow(&more)] = true
				all = append(all, more)
			}
			all = append(all, r)
		}
		slices.SortStableFunc(all, compareKeys)
		all = slices.CompactFunc(all, func(a, b evidence.Row) bool { return compareKeys(a, b) == 0 })
		if len(all) == 0 {
			all = rows[:1] // a layer has a row
		}
		w := NewWriter(WriterOptions{ID: id(n + 1), RowsPerGroup: group, SearchSpan: 1})
		mergeInto(t, base, w, all, func(r *evidence.Row) bool { return different[keyOfRow(r)] })
		merged := open(t, st, publish(t, st, w))
		same(t, "rows", rowsOf(t, merged), all)
		groups, _ := merged.Groups(t.Context())
		columns := columnsOf(t, merged)
		for i := range groups {
			if groups[i].Rows > group+group/4 {
				t.Fatalf("a row group has %d rows, others %d", groups[i].Rows, group)
			}
			if len(columns) == 0 {
				continue // a short layer has no search index
			}
			b, err := merged.Block(t.Context(), i)
			if err != nil {
				t.Fatal(err)
			}
			var names slotSet
			names.addNames(b.Names())
			for w := range names {
				if extra := columns[i][w] &^ names[w]; names[w]&^columns[i][w] != 0 || span == 1 && extra != 0 {
					t.Fatalf("the search index has %x of row group %d in word %d, not %x", columns[i][w], i, w, names[w])
				}
			}
		}
	})
}

// TestVeryLongRowsAreMerged: rows that are each longer than a row group should be get one each.
func TestVeryLongRowsAreMerged(t *testing.T) {
	st := openStore(t)
	rng := rand.New(rand.NewPCG(1, 1))
	text := func() string {
		b := make([]byte, 63<<10)
		for i := range b {
			b[i] = '0' + byte(rng.IntN(200)) // not UTF-8, and so written twice
		}
		return string(b)
	}
	var rows []evidence.Row
	for range 5 {
		rows = append(rows, evidence.Row{Parent: "/" + text() + "/", Name: text(), Target: text() + text()[:1<<10], Type: event.Symlink})
	}
	slices.SortFunc(rows, compareKeys)
	base := open(t, st, write(t, st, WriterOptions{ID: id(1)}, rows))
	rows[2].Mode = 0o777
	w := NewWriter(WriterOptions{ID: id(2)})
	mergeInto(t, base, w, rows, func(r *evidence.Row) bool { return r == &rows[2] })
	same(t, "rows", rowsOf(t, open(t, st, publish(t, st, w))), rows)
}

func keyOfRow(r *evidence.Row) Key { return Key{r.Parent, r.Name} }

func compareKeys(a, b evidence.Row) int { return keyOfRow(&a).Compare(keyOfRow(&b)) }
