package layer

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/fustor/fustor/internal/layout"
)

// TestStatisticsAreThoseOfAllRows: the bounds of a layer hold for its rows, and are not wider than they must be.
func TestStatisticsAreThoseOfAllRows(t *testing.T) {
	b, _ := interopLayer(t)
	st := openStore(t)
	if _, err := st.Put(t.Context(), layout.Layer(testView, b.Info.ID), b.Data); err != nil {
		t.Fatal(err)
	}
	if len(b.Index) > 0 {
		if _, err := st.Put(t.Context(), layout.LayerIndex(testView, b.Info.ID), b.Index); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, st, b.Info)
	all, err := l.Statistics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != int(columns) {
		t.Fatalf("statistics of %d columns", len(all))
	}
	minSize, maxSize, minMtime, maxMtime := int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64), int64(math.MinInt64)
	minParent, maxName := "~", ""
	for _, r := range rowsOf(t, l) {
		minSize, maxSize = min(minSize, r.Size), max(maxSize, r.Size)
		minMtime, maxMtime = min(minMtime, r.MtimeNs), max(maxMtime, r.MtimeNs)
		minParent, maxName = min(minParent, readable(r.Parent)), max(maxName, readable(r.Name))
	}
	long := func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }
	for _, s := range all {
		if bounds := specs[s.Column].bounds; !bounds && (s.Min != nil || s.Max != nil) || bounds && s.Min == nil {
			t.Errorf("%s has the bounds %q and %q", s.Column, s.Min, s.Max)
		}
		if s.Bytes <= 0 {
			t.Errorf("%s takes %d bytes", s.Column, s.Bytes)
		}
		switch s.Column {
		case ColumnSize:
			if long(s.Min) != minSize || long(s.Max) != maxSize {
				t.Errorf("sizes from %d to %d, want %d to %d", long(s.Min), long(s.Max), minSize, maxSize)
			}
		case ColumnMtimeNs:
			if long(s.Min) != minMtime || long(s.Max) != maxMtime {
				t.Errorf("times from %d to %d, want %d to %d", long(s.Min), long(s.Max), minMtime, maxMtime)
			}
		case ColumnParent:
			if string(s.Min) != minParent {
				t.Errorf("parents from %q, want %q", s.Min, minParent)
			}
		case ColumnName:
			if string(s.Max) != maxName {
				t.Errorf("names to %q, want %q", s.Max, maxName)
			}
		}
	}
	for name, want := range map[string]Column{"golden": columns1, "golden-2": columns2, "golden-3": columns3, "golden-4": columns} {
		if all, err := goldenLayer(t, name).Statistics(t.Context()); err != nil || len(all) != int(want) {
			t.Errorf("%s: statistics of %d columns, want %d: %v", name, len(all), want, err)
		}
	}
}

// TestStatisticsOfOtherColumns: columns that this build does not know, and parts of columns, count for none that it knows; a bound that one row
// group does not say is not known.
func TestStatisticsOfOtherColumns(t *testing.T) {
	column := func(low, high []byte, bytes int64, path ...string) (c format.ColumnChunk) {
		c.MetaData.Type, c.MetaData.PathInSchema, c.MetaData.TotalCompressedSize = format.Int64, path, bytes
		c.MetaData.Statistics = format.Statistics{MinValue: low, MaxValue: high}
		return c
	}
	long := func(v int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }
	groups := []format.RowGroup{
		{Columns: []format.ColumnChunk{column(long(-5), long(300), 10, "size"), column(long(1), long(2), 7, "mtime_ns"), column(long(0), long(9), 1, "later"), column(long(0), long(9), 1, "size", "part")}},
		{Columns: []format.ColumnChunk{column(long(-6), long(299), 20, "size"), column(nil, long(3), 7, "mtime_ns")}},
		{Columns: []format.ColumnChunk{column(long(7), long(8), 30, "size")}},
	}
	want := []Statistics{{Column: ColumnSize, Bytes: 60, Min: long(-6), Max: long(300)}, {Column: ColumnMtimeNs, Bytes: 14}}
	if got := summed(groups); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for c, want := range map[Column]string{ColumnParent: "parent", columns - 1: specs[columns-1].name, columns: fmt.Sprintf("column %d", int(columns)), -1: "column -1"} {
		if c.String() != want {
			t.Errorf("column %d is %q, want %q", int(c), c, want)
		}
	}
}
