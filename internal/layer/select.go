package layer

import (
	"encoding/binary"

	"github.com/fustor/fustor/internal/event"
)

// Selections are lists of rows of a block, ascending, that are narrowed column by column.

// Within appends to keep, which may be rows[:0], the rows whose value in a column of numbers lies between low and high. The
// column is decoded only where its bounds do not decide already.
func (b *Block) Within(keep, rows []uint32, c Column, low, high int64) ([]uint32, error) {
	if smallest, largest, known := b.bounds(c); known {
		switch {
		case largest < low || smallest > high:
			return keep, nil
		case smallest >= low && largest <= high:
			return append(keep, rows...), nil
		}
	}
	n, err := b.Numbers(c)
	if err != nil {
		return keep, err
	}
	if n.values != nil {
		for _, i := range rows {
			if v := n.values[i]; v >= low && v <= high {
				keep = append(keep, i)
			}
		}
		return keep, nil
	}
	return n.keepCoded(keep, rows, func(v int64) bool { return v >= low && v <= high }), nil
}

// Among is Within for a set of small values: those whose bit is set.
func (b *Block) Among(keep, rows []uint32, c Column, bits uint64) ([]uint32, error) {
	n, err := b.Numbers(c)
	if err != nil {
		return keep, err
	}
	has := func(v int64) bool { return v >= 0 && v < 64 && bits>>v&1 == 1 }
	if n.values == nil {
		return n.keepCoded(keep, rows, has), nil
	}
	for _, i := range rows {
		if has(n.values[i]) {
			keep = append(keep, i)
		}
	}
	return keep, nil
}

// keepCoded asks about each value of the dictionary once.
func (n *Numbers) keepCoded(keep, rows []uint32, has func(int64) bool) []uint32 {
	if n.codes == nil {
		if has(n.dict[0]) {
			keep = append(keep, rows...)
		}
		return keep
	}
	wanted, any := make([]bool, len(n.dict)), false
	for code, v := range n.dict {
		wanted[code] = has(v)
		any = any || wanted[code]
	}
	if !any {
		return keep
	}
	for _, i := range rows {
		if wanted[n.codes[i]] {
			keep = append(keep, i)
		}
	}
	return keep
}

// bounds are the smallest and the largest value of a column, removed rows included, as its page's header has them. It
// knows those of 64-bit columns that are not decoded yet.
func (b *Block) bounds(c Column) (smallest, largest int64, known bool) {
	chunk := &b.chunks[c]
	if len(chunk.min) != 8 || len(chunk.max) != 8 || b.numbers[c].Load() != nil {
		return 0, 0, false
	}
	return int64(binary.LittleEndian.Uint64(chunk.min)), int64(binary.LittleEndian.Uint64(chunk.max)), true
}

// WithinAllocated is Within for the bytes that entries occupy. The rows are measured: their links are not 0.
func (b *Block) WithinAllocated(keep, rows []uint32, low, high int64) ([]uint32, error) {
	return b.Where(keep, rows, func(v []int64) bool {
		allocated := event.Rounded(v[0]) + v[1]
		return allocated >= low && allocated <= high
	}, ColumnSize, ColumnAllocatedExcess)
}

// WithinCtimes is Within for ctimes. The rows are measured: their links are not 0.
func (b *Block) WithinCtimes(keep, rows []uint32, low, high int64) ([]uint32, error) {
	return b.Where(keep, rows, func(v []int64) bool {
		ctime := ctimeOf(v[0], v[1])
		return ctime >= low && ctime <= high
	}, ColumnCtimeNs, ColumnMtimeNs)
}

// WithinBirths is Within for births that are known, in seconds. The rows are measured: their links are not 0.
func (b *Block) WithinBirths(keep, rows []uint32, low, high int64) ([]uint32, error) {
	return b.Where(keep, rows, func(v []int64) bool {
		if v[0] == noBirth {
			return false
		}
		n := event.Inode{CtimeNs: ctimeOf(v[1], v[2])}
		n.SetBirthBefore(v[0])
		return n.BirthS != 0 && n.BirthS >= low && n.BirthS <= high
	}, ColumnBirth, ColumnCtimeNs, ColumnMtimeNs)
}

// ctimeOf is a ctime as the column has it.
func ctimeOf(stored, mtime int64) int64 {
	if stored == asMtime {
		return mtime
	}
	return stored
}

// Where appends to keep, which may be rows[:0], the rows whose values in some columns of numbers are wanted. wanted gets them in the
// order of the columns, and must not keep them.
func (b *Block) Where(keep, rows []uint32, wanted func(values []int64) bool, columns ...Column) ([]uint32, error) {
	if len(rows) == 0 {
		return keep, nil
	}
	numbers := make([]*Numbers, len(columns))
	for k, c := range columns {
		var err error
		if numbers[k], err = b.Numbers(c); err != nil {
			return keep, err
		}
	}
	values := make([]int64, len(columns))
	for _, i := range rows {
		for k, n := range numbers {
			values[k] = n.At(int(i))
		}
		if wanted(values) {
			keep = append(keep, i)
		}
	}
	return keep, nil
}
