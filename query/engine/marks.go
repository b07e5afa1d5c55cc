package engine

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// Marks are what is doubtful of a range of rows.
type Marks struct {
	BlindSpot bool
	// ends are when the suspicions of files end, in order, ns: those that had not ended when the marks were read.
	ends []int64
}

// Suspects is how many files are suspect at a time, and until when that is so (0: for good).
func (m *Marks) Suspects(now int64) (n, until int64) {
	i, _ := slices.BinarySearch(m.ends, now+1)
	if i < len(m.ends) {
		until = m.ends[i]
	}
	return int64(len(m.ends) - i), until
}

// Of are the marks of a row, where m are those of what is below its path.
func (m *Marks) Of(row *evidence.Row, now int64) *Marks {
	own := &Marks{BlindSpot: row.AgentMissing}
	switch {
	case row.Type == event.Directory:
		own.BlindSpot, own.ends = own.BlindSpot || m.BlindSpot, m.ends
	case row.Type == event.File && row.SuspectUntil > now:
		own.ends = []int64{row.SuspectUntil}
	}
	return own
}

// Marks reads what is doubtful of everything below a path. Row groups that have no mark are not read; those of the whole
// version are read once.
func (v *Version) Marks(ctx context.Context, path string, now int64) (*Marks, error) {
	parent := strings.TrimSuffix(path, "/") + "/"
	if path != "/" {
		return v.readMarks(ctx, parent, now)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.found == nil {
		found, err := v.readMarks(ctx, parent, now)
		if err != nil {
			return nil, err
		}
		v.found = found
	}
	return v.found, nil
}

func (v *Version) readMarks(ctx context.Context, parent string, now int64) (*Marks, error) {
	m := &Marks{}
	d := anyDoubt(now)
	c, err := v.doubtCursor(ctx, layer.Key{Parent: parent}, subtreeEnd(parent), d)
	if err != nil || c == nil {
		return m, err
	}
	for ok := c.Seek(layer.Key{Parent: parent}); ok; ok = c.NextSpan() {
		b, from, to := c.Span()
		if g := b.Group(); !d.group(&g) {
			continue
		}
		if err := m.add(b, from, to, now); err != nil {
			return nil, v.fail(err)
		}
	}
	if err := c.Err(); err != nil {
		return nil, v.fail(err)
	}
	slices.Sort(m.ends)
	return m, nil
}

// add takes in the marks of rows from to to-1 of a block. A removed row may be a blind spot: a deletion that was found
// by looking.
func (m *Marks) add(b *layer.Block, from, to int, now int64) error {
	missing, err := b.Numbers(layer.ColumnAgentMissing)
	if err != nil {
		return err
	}
	until, err := b.Numbers(layer.ColumnSuspectUntilNs)
	if err != nil {
		return err
	}
	types, err := b.Numbers(layer.ColumnType)
	if err != nil {
		return err
	}
	removed, err := b.Numbers(layer.ColumnRemoved)
	if err != nil {
		return err
	}
	for i := from; i < to; i++ {
		m.BlindSpot = m.BlindSpot || missing.At(i) != 0
		if ns := until.At(i); ns > now && removed.At(i) == 0 && event.Type(types.At(i)) == event.File {
			m.ends = append(m.ends, ns)
		}
	}
	return nil
}

// doubtCursor goes through the row groups with keys from from up to until that may have doubtful rows, and the deltas' over
// them. It is nil where no row group may have any. Only indexes of layers are read that may.
func (v *Version) doubtCursor(ctx context.Context, from, until layer.Key, d Doubt) (*layer.Cursor, error) {
	view := v.view.Within(from, until, d.layer)
	if view == nil {
		return nil, nil
	}
	layers := slices.DeleteFunc(slices.Concat(view.Deltas(), view.Base()), func(l *layer.Layer) bool {
		info := l.Info()
		return !d.layer(&info)
	})
	groups := make([][]layer.Group, len(layers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, l := range layers {
		g.Go(func() (err error) {
			groups[i], err = l.Groups(gctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, v.fail(err)
	}
	for i := range groups {
		for j := range groups[i] {
			if g := &groups[i][j]; g.Last.Compare(from) >= 0 && g.First.Compare(until) < 0 && d.group(g) {
				return view.Cursor(ctx).Until(until).ReadAhead(streamAhead).SkipBase(func(g *layer.Group) bool { return !d.group(g) }), nil
			}
		}
	}
	return nil, nil
}
