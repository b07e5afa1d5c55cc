package layer

import (
	"encoding/binary"
	"math"
	"testing"

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
