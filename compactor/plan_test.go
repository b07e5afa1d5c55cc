package compactor

import (
	"testing"

	"github.com/fustor/fustor/internal/layer"
)

// TestDeltasMayGrowWithTheView: what deltas may have that the base has not is a share of the base, so that rewriting a partition of scattered
// changes takes in one row for each sixteen, whatever the view's size; it is bounded below for small views and above for head.
func TestDeltasMayGrowWithTheView(t *testing.T) {
	const partition = 1000
	c := &Compactor{o: Options{PartitionRows: partition}}
	for _, one := range []struct{ partitions, want int64 }{
		{0, 4 * partition}, {1, 4 * partition}, {64, 4 * partition}, {160, 10 * partition}, {500, 31_250}, {512, 32 * partition}, {10_000, 32 * partition},
	} {
		spans := make([]span, max(1, one.partitions))
		for i := range one.partitions {
			spans[i] = span{parts: []layer.Info{{Rows: partition}}, rows: partition}
		}
		if got := c.maxFresh(spans); got != one.want {
			t.Errorf("%d partitions: the deltas may have %d rows, want %d", one.partitions, got, one.want)
		}
	}
}
