package engine

import (
	"context"
	"errors"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// Doubtful entries are files that may still be written to (suspects) and changes that no agent's kernel reported (blind spots). Both are
// rare: the counts in layers and row groups (layer.Marks) tell where there are any, and only those row groups are read.

// DoubtKind is a kind of doubtful rows.
type DoubtKind struct {
	// marks reports whether a layer or a row group with these marks may have such rows.
	marks func(m layer.Marks) bool
	// rows returns a function that reports whether row i of a block is such a row. It decodes columns once a block.
	rows func(b *layer.Block) (func(i int) bool, error)
}

// layer and group report whether a layer and a row group may have such rows. A layer without marks may.
func (kind DoubtKind) layer(i *layer.Info) bool  { return i.Marks == nil || kind.marks(*i.Marks) }
func (kind DoubtKind) group(g *layer.Group) bool { return kind.marks(g.Marks()) }

// anyDoubt is the marks of every doubtful row at a time; it has no rows function.
func anyDoubt(now int64) DoubtKind {
	return DoubtKind{marks: func(m layer.Marks) bool { return m.AgentMissing > 0 || m.SuspectUntilNs > now }}
}

// Suspects are the files that may still be written to at a time.
func Suspects(now int64) DoubtKind {
	return DoubtKind{
		marks: func(m layer.Marks) bool { return m.SuspectUntilNs > now },
		rows: func(b *layer.Block) (func(int) bool, error) {
			c, err := numbers(b, layer.ColumnSuspectUntilNs, layer.ColumnRemoved, layer.ColumnType)
			return func(i int) bool {
				return c[0].At(i) > now && c[1].At(i) == 0 && event.Type(c[2].At(i)) == event.File
			}, err
		},
	}
}

// BlindSpots are the additions and changes, or the deletions, that no agent's kernel reported.
func BlindSpots(deletions bool) DoubtKind {
	return DoubtKind{
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

// eachDoubtful calls use with every row of a kind at and below root, in key order, until it fails. Rows of the base that a
// delta replaced are left out.
func (v *Version) eachDoubtful(ctx context.Context, root *evidence.Row, kind DoubtKind, use func(b *layer.Block, i int) error) error {
	parent := root.ChildParent()
	end := subtreeEnd(parent)
	from := layer.Key{Parent: parent}
	if root.Parent == "" {
		from = layer.Key{} // the root's own row
	}
	g, err := v.gate(ctx)
	if err != nil {
		return err
	}
	c, err := v.doubtCursor(ctx, g, from, end, kind)
	if err != nil || c == nil {
		return err
	}
	for ok := c.Seek(from); ok; ok = c.NextSpan() {
		b, first, to := c.Span()
		if g := b.Group(); !kind.group(&g) {
			continue
		}
		is, err := kind.rows(b)
		if err != nil {
			return v.ReadError(err)
		}
		for i := first; i < to; i++ {
			if !is(i) {
				continue
			}
			if seen, err := g.seesDoubt(parent, b, i); err != nil {
				return err
			} else if !seen {
				continue
			}
			if err := use(b, i); err != nil {
				return err
			}
		}
	}
	if err := c.Err(); err != nil {
		return v.ReadError(err)
	}
	return nil
}

// seesDoubt reports whether a reader who asks from a directory on sees the attributes of row i of a block. Removed rows are seen where the
// directory that they were in is.
func (g *gate) seesDoubt(start string, b *layer.Block, i int) (bool, error) {
	if g == nil {
		return true, nil
	}
	if err := b.LoadKeys(); err != nil {
		return false, g.v.ReadError(err)
	}
	if b.Parent(i) == "" { // the root's own row
		return true, nil
	}
	let, err := g.entries(start, b.Parent(i))
	return let == everything, err
}

// hideSums takes the stored sums out of a row that a reader sees.
func (v *Version) hideSums(ctx context.Context, row *evidence.Row) error {
	g, err := v.gate(ctx)
	g.conceal(row, everything)
	return err
}

// Doubtful emits the rows of a kind after a position, up to limit of them, and counts all there are.
func (v *Version) Doubtful(ctx context.Context, root *evidence.Row, kind DoubtKind, after *Position, limit int, out Emit) (count int64, at *Position, err error) {
	page := pageLimiter{limit: limit, emit: out}
	full := false
	var row evidence.Row
	err = v.eachDoubtful(ctx, root, kind, func(b *layer.Block, i int) error {
		count++
		if full || after != nil && b.Key(i).Compare(after.next()) < 0 {
			return nil
		}
		if err := b.Row(i, &row); err != nil {
			return v.ReadError(err)
		}
		if err := v.hideSums(ctx, &row); err != nil {
			return err
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

// CountDoubtful counts the rows of a kind at and below root.
func (v *Version) CountDoubtful(ctx context.Context, root *evidence.Row, kind DoubtKind) (count int64, err error) {
	err = v.eachDoubtful(ctx, root, kind, func(*layer.Block, int) error { count++; return nil })
	return count, err
}
