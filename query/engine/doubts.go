package engine

import (
	"context"
	"errors"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// What is doubtful of a view: files that may still be written to, and blind spots, which no agent's kernel reported. Both
// are rare, and row groups without such rows are not read.

// Doubt is a kind of doubtful rows.
type Doubt struct {
	// marks reports whether rows with these marks may be such rows.
	marks func(m layer.Marks) bool
	// row reports whether row i of a block is one. Columns are decoded once a block.
	rows func(b *layer.Block) (func(i int) bool, error)
}

// layer and group report whether a layer and a row group may have such rows. A layer that does not say may.
func (d Doubt) layer(i *layer.Info) bool  { return i.Marks == nil || d.marks(*i.Marks) }
func (d Doubt) group(g *layer.Group) bool { return d.marks(g.Marks()) }

// anyDoubt are all doubtful rows at a time.
func anyDoubt(now int64) Doubt {
	return Doubt{marks: func(m layer.Marks) bool { return m.AgentMissing > 0 || m.SuspectUntilNs > now }}
}

// Suspects are the files that may still be written to at a time.
func Suspects(now int64) Doubt {
	return Doubt{
		marks: func(m layer.Marks) bool { return m.SuspectUntilNs > now },
		rows: func(b *layer.Block) (func(int) bool, error) {
			c, err := numbers(b, layer.ColumnSuspectUntilNs, layer.ColumnRemoved, layer.ColumnType)
			return func(i int) bool {
				return c[0].At(i) > now && c[1].At(i) == 0 && event.Type(c[2].At(i)) == event.File
			}, err
		},
	}
}

// BlindSpots are additions and changes, or deletions, that no kernel reported.
func BlindSpots(deletions bool) Doubt {
	return Doubt{
		marks: func(m layer.Marks) bool { return m.AgentMissing > 0 },
		rows: func(b *layer.Block) (func(int) bool, error) {
			c, err := numbers(b, layer.ColumnAgentMissing, layer.ColumnRemoved)
			return func(i int) bool { return c[0].At(i) != 0 && (c[1].At(i) != 0) == deletions }, err
		},
	}
}

func numbers(b *layer.Block, columns ...layer.Column) ([]*layer.Numbers, error) {
	decoded := make([]*layer.Numbers, len(columns))
	for i, c := range columns {
		var err error
		if decoded[i], err = b.Numbers(c); err != nil {
			return nil, err
		}
	}
	return decoded, nil
}

// eachDoubtful calls use with every doubtful row at and below root, in key order, until it returns errStop. Rows of the base
// that a delta replaced are not among them.
func (v *Version) eachDoubtful(ctx context.Context, root *evidence.Row, d Doubt, use func(b *layer.Block, i int) error) error {
	parent := root.ChildParent()
	end := subtreeEnd(parent)
	from := layer.Key{Parent: parent}
	if root.Parent == "" {
		from = layer.Key{} // the root's own row
	}
	c, err := v.doubtCursor(ctx, from, end, d)
	if err != nil || c == nil {
		return err
	}
	for ok := c.Seek(from); ok; ok = c.NextSpan() {
		b, first, to := c.Span()
		if g := b.Group(); !d.group(&g) {
			continue
		}
		is, err := d.rows(b)
		if err != nil {
			return v.fail(err)
		}
		for i := first; i < to; i++ {
			if is(i) {
				if err := use(b, i); err != nil {
					return err
				}
			}
		}
	}
	if err := c.Err(); err != nil {
		return v.fail(err)
	}
	return nil
}

// Doubtful emits the doubtful rows after a position, limit of them at most, and says how many there are in all.
func (v *Version) Doubtful(ctx context.Context, root *evidence.Row, d Doubt, after *Position, limit int, out Emit) (count int64, at *Position, err error) {
	page := limited{limit: limit, emit: out}
	full := false
	var row evidence.Row
	err = v.eachDoubtful(ctx, root, d, func(b *layer.Block, i int) error {
		count++
		if full || after != nil && b.Key(i).Compare(after.Key) <= 0 {
			return nil
		}
		if err := b.Row(i, &row); err != nil {
			return v.fail(err)
		}
		err := page.take(&row)
		if errors.Is(err, errStop) {
			full, err = true, nil
		}
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	at, err = page.end(nil)
	return count, at, err
}

// CountDoubtful is how many rows at and below root are doubtful.
func (v *Version) CountDoubtful(ctx context.Context, root *evidence.Row, d Doubt) (count int64, err error) {
	err = v.eachDoubtful(ctx, root, d, func(*layer.Block, int) error { count++; return nil })
	return count, err
}
