package layer

import (
	"testing"

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
