package layer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/gentree"
)

// Brief is Row without what it does not promise.
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
				Removed: row.Removed, ObservedAt: row.ObservedAt, EndedAt: row.EndedAt, History: row.History}
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
		held, err := Fetch(t.Context(), []Place{{l, 0}})
		if err != nil {
			t.Fatal(err)
		}
		b := held[Place{l, 0}]
		var text string
		var offsets []uint32
		if err := b.LookAtNames(func(s string, at []uint32) { text, offsets = strings.Clone(s), slices.Clone(at) }); err != nil {
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
