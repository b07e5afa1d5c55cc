package report

import (
	"context"
	"sort"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/values"
)

// Bucket is the files whose size, or age, is at least From and less than To.
type Bucket struct {
	From, To     int64 // bytes, or seconds; From of the first and To of the last are what the field of the file can hold
	Files, Bytes int64 // Bytes are saturated (values.MaxSum)
}

// Unbounded is To of the last bucket; its negative is From of the first bucket of ages.
const Unbounded = 1<<63 - 1

const day = 24 * 3600

// Classes are a way to put files into buckets: by size or by age.
type Classes struct {
	bounds []int64
	least  int64 // From of the first bucket
	column layer.Column
	value  func(int64) int64 // what the bounds are of, by the column
}

var (
	sizeBounds = []int64{1, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20,
		1 << 30, 4 << 30, 16 << 30, 64 << 30, 256 << 30, 1 << 40, 4 << 40}
	ageBounds = []int64{0, day, 7 * day, 30 * day, 90 * day, 180 * day, 365 * day, 2 * 365 * day, 3 * 365 * day, 5 * 365 * day, 10 * 365 * day}
)

// Sizes are 0, below 1 KiB, then powers of four.
func Sizes() *Classes {
	return &Classes{sizeBounds, 0, layer.ColumnSize, func(v int64) int64 { return v }}
}

// ModifiedAges are how long before now, ns in the file server's time, files were modified. The first bucket has the files of the
// future.
func ModifiedAges(now int64) *Classes {
	return &Classes{ageBounds, -Unbounded, layer.ColumnMtimeNs, func(mtime int64) int64 { return seconds(now, mtime) }}
}

// AccessedAges are ModifiedAges by the day of the last access. A file that was read today is in the bucket that begins with 0.
func AccessedAges(now int64) *Classes {
	return &Classes{ageBounds, -Unbounded, layer.ColumnAtimeDay, func(at int64) int64 {
		age := floorDiv(now, 1e9) - at*day
		if age < 0 {
			return age
		}
		return age / day * day
	}}
}

// buckets are all of them, with nothing in them.
func (c *Classes) buckets() []Bucket {
	out := make([]Bucket, len(c.bounds)+1)
	out[0].From, out[len(c.bounds)].To = c.least, Unbounded
	for i, b := range c.bounds {
		out[i].To, out[i+1].From = b, b
	}
	return out
}

// bucket is that of a value of the column; near is one that is likely.
func (c *Classes) bucket(all []Bucket, near *Bucket, column int64) *Bucket {
	if v := c.value(column); v < near.From || v >= near.To {
		return &all[sort.Search(len(c.bounds), func(j int) bool { return c.bounds[j] > v })]
	}
	return near
}

// seconds is now - then in whole seconds, rounded down.
func seconds(now, then int64) int64 {
	age := floorDiv(now, 1e9) - floorDiv(then, 1e9)
	if age == 0 && then > now {
		return -1
	}
	return age
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Histogram counts the files by their class.
func (s Scope) Histogram(ctx context.Context, classes *Classes) ([]Bucket, error) {
	out := classes.buckets()
	p := pass{ctx: ctx, scope: s, columns: []layer.Column{layer.ColumnSize, classes.column}}
	err := p.each(func(s *span) error {
		at := &out[0]
		for i := s.from; i < s.to; i++ {
			if !s.is(i, event.File) {
				continue
			}
			at = classes.bucket(out, at, s.columns[1].At(i))
			at.Files++
			at.Bytes = values.Sum(at.Bytes, s.columns[0].At(i))
		}
		return nil
	})
	return out, err
}
