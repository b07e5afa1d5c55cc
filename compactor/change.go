package compactor

import (
	"math/bits"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/values"
)

// change is a change of totals. added and lost are the newest mtimes that came and that went.
//
// Sums of bytes in totals are saturated: one of values.MaxSum may be larger. The difference of two of them is exact nevertheless, as
// a sum over a directory's entries takes the sums of the entries as they are, saturated ones included:
//
//	entries  MaxSum (a directory that has more), 5, 7     sum in 128 bits: MaxSum+12     totals: MaxSum
//	-7                                                    sum in 128 bits: MaxSum+5      totals: MaxSum
//	the directory shrinks to 100                          sum in 128 bits: 105           totals: 105
//
// So totals below MaxSum follow from the totals before and the change. Those that were MaxSum, and shrink, need the sum in 128 bits,
// for which the entries are read again (entrySums).
type change struct {
	files, directories, others, unmeasured int64
	bytes, allocated, linked               wide
	added, lost                            int64
}

func noChange() change { return change{added: evidence.NoMtime, lost: evidence.NoMtime} }

// add adds that something which contributed before now contributes after.
func (c *change) add(before, after evidence.Totals) {
	c.files += after.Files - before.Files
	c.directories += after.Directories - before.Directories
	c.others += after.Others - before.Others
	c.unmeasured += after.Unmeasured - before.Unmeasured
	c.bytes = c.bytes.plus(after.Bytes).minus(before.Bytes)
	c.allocated = c.allocated.plus(after.Allocated).minus(before.Allocated)
	c.linked = c.linked.plus(after.LinkedAllocated).minus(before.LinkedAllocated)
	c.added = max(c.added, after.LatestMtimeNs)
	c.lost = max(c.lost, before.LatestMtimeNs)
}

// take adds another change.
func (c *change) take(o *change) {
	c.files, c.directories, c.others, c.unmeasured = c.files+o.files, c.directories+o.directories, c.others+o.others, c.unmeasured+o.unmeasured
	c.bytes, c.allocated, c.linked = c.bytes.and(o.bytes), c.allocated.and(o.allocated), c.linked.and(o.linked)
	c.added, c.lost = max(c.added, o.added), max(c.lost, o.lost)
}

// changed are totals after the change, but for the latest mtime. exact is false if sums of bytes cannot be known from those before:
// they were saturated and shrink, or an earlier build let them wrap around.
func (c *change) changed(t evidence.Totals) (after evidence.Totals, exact bool) {
	exact = true
	sum := func(before int64, by wide) int64 {
		after := by.plus(before)
		if before == values.MaxSum && by.negative() || after.negative() {
			exact = false
		}
		return after.saturated()
	}
	return evidence.Totals{
		Files: t.Files + c.files, Directories: t.Directories + c.directories, Others: t.Others + c.others, Unmeasured: t.Unmeasured + c.unmeasured,
		Bytes: sum(t.Bytes, c.bytes), Allocated: sum(t.Allocated, c.allocated), LinkedAllocated: sum(t.LinkedAllocated, c.linked),
		LatestMtimeNs: t.LatestMtimeNs,
	}, exact
}

// entrySums sets the sums of bytes of a directory that changes by c to those of its own row and its entries as they were, and c. It
// reads all entries, but nothing below them.
func (w *walk) entrySums(own evidence.Totals, parent string, c *change, to *evidence.Totals) error {
	bytes, allocated, linked := c.bytes.plus(own.Bytes), c.allocated.plus(own.Allocated), c.linked.plus(own.LinkedAllocated)
	cursor := w.view.Cursor(w.ctx).Until(layer.Key{Parent: parent + "\x00"})
	var row evidence.Row
	for ok := cursor.Seek(layer.Key{Parent: parent}); ok; ok = cursor.Next() {
		if err := cursor.Row(&row); err != nil {
			return err
		}
		t := row.Own()
		if isDir(&row, true) {
			t = row.Sub
		}
		bytes, allocated, linked = bytes.plus(t.Bytes), allocated.plus(t.Allocated), linked.plus(t.LinkedAllocated)
	}
	to.Bytes, to.Allocated, to.LinkedAllocated = bytes.saturated(), allocated.saturated(), linked.saturated()
	return cursor.Err()
}

// wide is a signed number of 128 bits, which sums of fewer than 2^63 numbers of 64 bits cannot exceed.
type wide struct{ high, low uint64 }

func (w wide) plus(n int64) wide {
	low, carry := bits.Add64(w.low, uint64(n), 0)
	high, _ := bits.Add64(w.high, uint64(n>>63), carry)
	return wide{high, low}
}

func (w wide) and(o wide) wide {
	low, carry := bits.Add64(w.low, o.low, 0)
	high, _ := bits.Add64(w.high, o.high, carry)
	return wide{high, low}
}

func (w wide) minus(n int64) wide {
	low, borrow := bits.Sub64(w.low, uint64(n), 0)
	high, _ := bits.Sub64(w.high, uint64(n>>63), borrow)
	return wide{high, low}
}

func (w wide) negative() bool { return int64(w.high) < 0 }

// saturated is the number as totals have it: from 0 to values.MaxSum.
func (w wide) saturated() int64 {
	switch {
	case w.negative():
		return 0
	case w.high > 0 || w.low > values.MaxSum:
		return values.MaxSum
	}
	return int64(w.low)
}
