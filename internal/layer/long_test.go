package layer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/testkit/gentree"
)

// TestLongGroupsAreHalved: names, sizes and times of nothing but chance do not make a cold list read more than its budget,
// whether rows or blocks are appended. Once a writer knows how long they get it cuts them before it compresses them, and so not in half.
func TestLongGroupsAreHalved(t *testing.T) {
	st := openStore(t)
	rng := rand.New(rand.NewPCG(1, 1))
	rows := make([]evidence.Row, 0, 4*RowsPerGroup)
	for i := range cap(rows) {
		size := rng.Int64N(1 << 40)
		rows = append(rows, evidence.Row{Parent: "/a/", Name: fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64()), Type: event.File,
			Size: size, MtimeNs: gentree.ScanStart + size, ObservedAt: gentree.ScanStart, AgentMissing: i%7 == 0, Agent: "a", Source: "fs://a/"})
	}
	slices.SortFunc(rows, func(a, b evidence.Row) int { return KeyOf(a.Path()).Compare(KeyOf(b.Path())) })
	info := write(t, st, WriterOptions{ID: id(1)}, rows)
	w := NewWriter(WriterOptions{ID: id(2)})
	first := open(t, st, info)
	for i := range 1 << 20 {
		b, err := first.Block(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.AppendBlock(b, 0, b.Len()); err != nil {
			t.Fatal(err)
		}
		if err := w.GroupEnds(); err != nil {
			t.Fatal(err)
		}
		if w.Rows() == int64(len(rows)) {
			break
		}
	}
	for _, info := range []Info{info, publish(t, st, w)} {
		l := open(t, st, info)
		groups, err := l.Groups(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range groups {
			if g := &groups[i]; g.Bytes > 160<<10 || g.Rows < RowsPerGroup/8 {
				t.Errorf("row group %d has %d rows in %d bytes", i, g.Rows, g.Bytes)
			} else if i > 3 && i < len(groups)-1 && g.Bytes < 140<<10 { // the first are parts of one that nobody knew to be too long
				t.Errorf("row group %d has but %d bytes", i, g.Bytes)
			}
		}
		if info.Marks.AgentMissing != int64(len(rows)+6)/7 {
			t.Errorf("%d rows are marked", info.Marks.AgentMissing)
		}
		same(t, "rows", rowsOf(t, l), rows)
	}
}
