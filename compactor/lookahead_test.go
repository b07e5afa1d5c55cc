package compactor

import (
	"testing"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/testkit/gentree"
)

// TestFoldReadsEachRowGroupOnce fold of scattered changes reads each row group once, though the cache has no room for any, and neighbours with one request.
func TestFoldReadsEachRowGroupOnce(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{PartitionRows: 100_000})
	files, _ := h.plant(200_000)
	s := h.teller("scattered")
	observed := int64(gentree.ScanStart) + 7200e9
	for i := 0; i < len(files); i += 3 {
		observed += 1e6
		s.tell(putOf(files[i], observed, int64(i)))
	}
	s.send()
	var groups, bytes int64
	for _, l := range h.head().Base {
		groups += (l.Rows + layer.RowsPerGroup - 1) / layer.RowsPerGroup
		bytes += l.Bytes
	}
	counted := h.counted(Options{PartitionRows: 100_000, CacheBytes: 1})
	before := counted.Counts()
	if h.fold() == 0 {
		t.Fatal("nothing was folded")
	}
	spent := counted.Counts().Sub(before)
	if most := groups/2 + 20; int64(spent.Get) > most {
		t.Errorf("%d GETs for %d row groups", spent.Get, groups)
	}
	if int64(spent.BytesIn) > bytes*5/4+1<<18 {
		t.Errorf("%d bytes were read of a base of %d", spent.BytesIn, bytes)
	}
}
