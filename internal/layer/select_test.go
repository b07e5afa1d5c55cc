package layer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/evidence"
)

// TestSelectionsAreThoseOfRows: a selection by columns is the rows that match, whatever the columns' form and whether they are decoded.
func TestSelectionsAreThoseOfRows(t *testing.T) {
	st, n := openStore(t), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		rows := rowsGen(rt, 40)
		few := rapid.Bool().Draw(rt, "few values")
		for i := range rows {
			if r := &rows[i]; few {
				r.Size, r.MtimeNs, r.UID, r.AtimeDay, r.ObservedAt = r.Size%3, r.MtimeNs%3, r.UID%3, r.AtimeDay%3, r.ObservedAt%3
				r.Links, r.Allocated, r.CtimeNs, r.ID, r.BirthS = r.Links%3, r.Allocated%3, r.CtimeNs%3, r.ID%3, r.BirthS%3
				if r.Links == 0 {
					r.Inode = evidence.Row{}.Inode
				}
			}
		}
		l := open(t, st, write(t, st, WriterOptions{ID: id(n), RowsPerGroup: 100}, rows))
		raw, err := l.RawGroup(t.Context(), 0)
		if err != nil {
			rt.Fatal(err)
		}
		known, err := decodeBlock(raw)
		if err != nil {
			rt.Fatal(err)
		}
		all := []uint32{}
		for i := range rows {
			if rapid.IntRange(0, 3).Draw(rt, "asked") > 0 {
				all = append(all, uint32(i))
			}
		}
		keep := []uint32{1000}
		// check compares a selection by a block of which nothing is decoded, and by the same block again, with the rows that are wanted.
		check := func(what string, selected func(b *Block, keep []uint32) ([]uint32, error), wanted func(i int) bool) {
			b, err := openBlock(raw)
			if err != nil {
				rt.Fatal(err)
			}
			want := slices.Clone(keep)
			for _, i := range all {
				if wanted(int(i)) {
					want = append(want, i)
				}
			}
			for range 2 {
				if got, err := selected(b, slices.Clone(keep)); err != nil || !slices.Equal(got, want) {
					rt.Fatalf("%s: %v, %v; want %v", what, got, err, want)
				}
				for _, c := range []Column{ColumnSize, ColumnMtimeNs, ColumnType, ColumnLinks} { // now they are decoded
					if _, err := b.Numbers(c); err != nil {
						rt.Fatal(err)
					}
				}
			}
		}
		bound := func(values func(i int) int64) (low, high int64) {
			near := func(of string) int64 {
				return values(rapid.IntRange(0, len(rows)-1).Draw(rt, of)) + rapid.SampledFrom([]int64{-1, 0, 0, 1}).Draw(rt, "beside it")
			}
			return near("low"), near("high")
		}
		for c := range columns {
			if f := specs[c].form; f == formKey || f == formText {
				if _, err := known.Numbers(c); err == nil {
					rt.Fatalf("column %s has numbers", c)
				}
				continue
			}
			numbers, err := known.Numbers(c)
			if err != nil {
				rt.Fatal(err)
			}
			low, high := bound(func(i int) int64 { return numbers.At(i) })
			check(c.String(), func(b *Block, keep []uint32) ([]uint32, error) { return b.Within(keep, all, c, low, high) },
				func(i int) bool { return numbers.At(i) >= low && numbers.At(i) <= high })
			set := rapid.Uint64().Draw(rt, "set")
			check("a set of "+c.String(), func(b *Block, keep []uint32) ([]uint32, error) { return b.Among(keep, all, c, set) },
				func(i int) bool { v := numbers.At(i); return v >= 0 && v < 64 && set>>v&1 == 1 })
		}
		measured := all[:0:0]
		for _, i := range all {
			if rows[i].Measured() {
				measured = append(measured, i)
			}
		}
		all = measured
		low, high := bound(func(i int) int64 { return rows[i].Allocated })
		check("allocated", func(b *Block, keep []uint32) ([]uint32, error) { return b.WithinAllocated(keep, all, low, high) },
			func(i int) bool { return rows[i].Allocated >= low && rows[i].Allocated <= high })
		from, to := bound(func(i int) int64 { return rows[i].CtimeNs })
		check("ctimes", func(b *Block, keep []uint32) ([]uint32, error) { return b.WithinCtimes(keep, all, from, to) },
			func(i int) bool { return rows[i].CtimeNs >= from && rows[i].CtimeNs <= to })
		first, last := bound(func(i int) int64 { return rows[i].BirthS })
		check("births", func(b *Block, keep []uint32) ([]uint32, error) { return b.WithinBirths(keep, all, first, last) },
			func(i int) bool { return rows[i].BirthS != 0 && rows[i].BirthS >= first && rows[i].BirthS <= last })
		check("two columns", func(b *Block, keep []uint32) ([]uint32, error) {
			return b.Where(keep, all, func(v []int64) bool { return v[0] == int64(rows[0].Type) || v[1] < rows[0].Size }, ColumnType, ColumnSize)
		}, func(i int) bool { return rows[i].Type == rows[0].Type || rows[i].Size < rows[0].Size })
	})
}

// TestConstantColumns: a column with one value in all rows says so, which readers go by, whatever its form.
func TestConstantColumns(t *testing.T) {
	st := openStore(t)
	var rows []evidence.Row
	for _, name := range []string{"a", "b", "c"} {
		rows = append(rows, evidence.Row{Parent: "/", Name: name, MtimeNs: 5, ObservedAt: 6, Size: 7, Mode: 0o644})
	}
	for i, fast := range []bool{false, true} {
		l := open(t, st, write(t, st, WriterOptions{ID: id(i + 1), Fast: fast}, rows))
		b, err := l.Block(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for c, want := range map[Column]int64{ColumnMtimeNs: 5, ColumnObservedAtNs: 6, ColumnSize: 7, ColumnMode: 0o644, ColumnUID: 0, ColumnType: 0} {
			n, err := b.Numbers(c)
			if err != nil {
				t.Fatal(err)
			}
			if v, constant := n.Constant(); v != want || !constant {
				t.Errorf("column %s: %d, constant: %v", c, v, constant)
			}
		}
	}
}
