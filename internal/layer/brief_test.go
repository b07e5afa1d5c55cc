package layer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/testkit/gentree"
)

// TestBriefIsAPartOfRow is Row without what it does not promise.
func TestBriefIsAPartOfRow(t *testing.T) {
	w := NewWriter(WriterOptions{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Fast: true, RowsPerGroup: DeltaRowsPerGroup})
	n := int64(0)
	for r := range gentree.New(gentree.Options{Seed: 3, Rows: 2000}).Rows() {
		n++
		r.Removed, r.EndedAt, r.ObservedAt = n%7 == 0, n%5, n*1e9+n%3
		if n%11 == 0 {
			r.History = string([]byte{byte(n), 0xff})
		}
		if err := w.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	built, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	x, err := decodeIndex(built.Info.Index, &built.Info)
	if len(built.Index) > 0 {
		x, err = decodeIndex(built.Index, &built.Info)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.groups {
		g := x.groups[i]
		b, err := decodeBlock(RawGroup{Group: g, Data: built.Data[g.Offset : g.Offset+g.Bytes]})
		if err != nil {
			t.Fatal(err)
		}
		for j := range b.Len() {
			var brief, row evidence.Row
			if err := b.Brief(j, &brief); err != nil {
				t.Fatal(err)
			}
			if err := b.Row(j, &row); err != nil {
				t.Fatal(err)
			}
			want := evidence.Row{Parent: row.Parent, Name: row.Name, Type: row.Type, Size: row.Size, MtimeNs: row.MtimeNs,
				Removed: row.Removed, ObservedAt: row.ObservedAt, EndedAt: row.EndedAt, History: row.History,
				Inode: event.Inode{Links: row.Links, Allocated: row.Allocated}}
			if brief != want {
				t.Fatalf("row %d of group %d: %+v, want %+v", j, i, brief, want)
			}
		}
	}
}

// TestNamesAreLookedAt: a glance sees what the keys have, and leaves the block as it was.
func TestNamesAreLookedAt(t *testing.T) {
	st := openStore(t)
	for n, name := range []string{"plain", "not UTF-8 \xff"} {
		w := NewWriter(WriterOptions{ID: id(n + 1)})
		for i := range 1000 {
			if err := w.Append(&evidence.Row{Parent: "/", Name: fmt.Sprintf("%s %04d", name, i), Type: event.File}); err != nil {
				t.Fatal(err)
			}
		}
		l := open(t, st, publish(t, st, w))
		held, err := Fetch(t.Context(), []GroupRef{{l, 0}})
		if err != nil {
			t.Fatal(err)
		}
		b := held[GroupRef{l, 0}]
		var text string
		var offsets []uint32
		if err := b.ScanNames(nil, func(s string, at []uint32) { text, offsets = strings.Clone(s), slices.Clone(at) }); err != nil {
			t.Fatal(err)
		}
		if b.Keyed() != (n == 1) {
			t.Errorf("names that are %s: the keys are there: %v", name, b.Keyed())
		}
		if err := b.LoadKeys(); err != nil {
			t.Fatal(err)
		}
		if wantText, wantOffsets := b.Names(); text != wantText || !slices.Equal(offsets, wantOffsets) {
			t.Errorf("names that are %s: %d bytes were seen, and there are %d", name, len(text), len(wantText))
		}
	}
}

// TestCodedNames: what is seen of names as they are stored makes the same names, and where that is said not to be worth it,
// nothing else is seen; of row groups in the cache, of those read in part, and of those whose names are in two columns.
func TestCodedNames(t *testing.T) {
	st := openStore(t)
	info, rows := treeLayer(t, st, 20_000, WriterOptions{ID: id(1), RowsPerGroup: 3000})
	l := open(t, st, info)
	var m Meter
	ctx := WithMeter(t.Context(), &m)
	if _, err := l.Block(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	groups := []int{0, 2, 3, 5}
	var coded, whole []int
	err := l.ScanNames(ctx, groups, func(g int, names *CodedNames) bool {
		coded = append(coded, g)
		before := ""
		for i, shared := range names.Shared {
			name := before[:shared] + names.Rest[names.Starts[i]:names.Starts[i+1]]
			if want := rows[3000*g+i].Name; name != want {
				t.Fatalf("name %d of row group %d is %q, want %q", i, g, name, want)
			}
			before = name
		}
		return g == 5
	}, func(g int, text string, offsets []uint32) {
		whole = append(whole, g)
		for i := range len(offsets) - 1 {
			if name, want := text[offsets[i]:offsets[i+1]], rows[3000*g+i].Name; name != want {
				t.Fatalf("name %d of row group %d is %q, want %q", i, g, name, want)
			}
		}
	})
	if err != nil || !slices.Equal(coded, []int{0, 3, 5}) || !slices.Equal(whole, []int{2, 5}) {
		t.Fatalf("seen as stored %v, and whole %v: %v", coded, whole, err)
	}
	if c := m.Cost(); c.Groups != 3 {
		t.Errorf("cost %+v", c)
	}
	m = Meter{}
	err = l.ScanNames(ctx, groups, func(int, *CodedNames) bool { return false }, func(int, string, []uint32) {})
	if c := m.Cost(); err != nil || c.Groups != 0 || c.Hits != 3 {
		t.Errorf("the second time: cost %+v, %v", c, err)
	}
}

// TestNamesAreReadAlone: without the rest of their row group, a quarter or so of it where row groups lie apart; those of an
// index of before, which does not say where they end, with all of it. Damage is told by object and offset.
func TestNamesAreReadAlone(t *testing.T) {
	st := openStore(t)
	info, _ := treeLayer(t, st, 50_000, WriterOptions{ID: id(1)})
	var m Meter
	ctx := WithMeter(t.Context(), &m)
	look := func(l *Layer, g int) error {
		return l.ScanNames(ctx, []int{g}, func(int, *CodedNames) bool { return true }, func(int, string, []uint32) {})
	}
	l := open(t, st, info)
	groups, err := l.Groups(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m = Meter{}
	if err := look(l, 3); err != nil || m.Cost().Bytes != groups[3].Keys || 2*groups[3].Keys > groups[3].Bytes {
		t.Errorf("%+v of a row group of %d bytes, %d of them keys: %v", m.Cost(), groups[3].Bytes, groups[3].Keys, err)
	}
	x, _ := l.index(ctx)
	before, err := parseIndex(x.body(keysVersion-1), keysVersion-1)
	if err != nil {
		t.Fatal(err)
	}
	old := open(t, st, info)
	old.loaded.Store(before)
	m = Meter{}
	if err := look(old, 3); err != nil || m.Cost().Bytes != groups[3].Bytes {
		t.Errorf("%+v of a row group of %d bytes by an old index: %v", m.Cost(), groups[3].Bytes, err)
	}
	o, err := st.Get(ctx, l.object())
	if err != nil {
		t.Fatal(err)
	}
	o.Body[groups[2].Offset+groups[2].Keys-5] ^= 1
	if _, err := st.Put(ctx, l.object(), o.Body); err != nil {
		t.Fatal(err)
	}
	err = look(open(t, st, info), 2)
	wantFormatError(t, "damaged names", l.object(), err)
	if at := fmt.Sprintf("%d+%d", groups[2].Offset, groups[2].Bytes); err != nil && !strings.Contains(err.Error(), at) {
		t.Errorf("%v does not name %s", err, at)
	}
}
