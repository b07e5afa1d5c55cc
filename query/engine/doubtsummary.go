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

// DoubtSummary summarizes the doubtful rows of a range: how many files are suspect, and whether there is a blind spot.
type DoubtSummary struct {
	BlindSpot bool
	// suspectUntil has the time until which each suspect file is suspect, ns, sorted: of those that were suspect when it was read.
	suspectUntil []int64
}

// Suspects is how many files are suspect at a time, and until when that number holds (0: as long as the version).
func (m *DoubtSummary) Suspects(now int64) (n, until int64) {
	i, _ := slices.BinarySearch(m.suspectUntil, now+1)
	if i < len(m.suspectUntil) {
		until = m.suspectUntil[i]
	}
	return int64(len(m.suspectUntil) - i), until
}

// Of is the summary of a row with everything below it, where m is the summary of what is below its path.
func (m *DoubtSummary) Of(row *evidence.Row, now int64) *DoubtSummary {
	own := &DoubtSummary{BlindSpot: row.AgentMissing}
	switch {
	case row.Type == event.Directory:
		own.BlindSpot, own.suspectUntil = own.BlindSpot || m.BlindSpot, m.suspectUntil
	case row.Type == event.File && row.SuspectUntil > now:
		own.suspectUntil = []int64{row.SuspectUntil}
	}
	return own
}

// Doubts summarizes the doubtful rows below a path. Row groups without any are not read. The summary of the whole version is read
// once, and again for an earlier time.
func (v *Version) Doubts(ctx context.Context, path string, now int64) (*DoubtSummary, error) {
	parent := strings.TrimSuffix(path, "/") + "/"
	if _, restricted := ReaderOf(ctx); restricted || path != "/" {
		return v.readDoubts(ctx, parent, now)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.doubts == nil || now < v.doubtsFrom {
		found, err := v.readDoubts(ctx, parent, now)
		if err != nil {
			return nil, err
		}
		v.doubts, v.doubtsFrom = found, now
	}
	return v.doubts, nil
}

func (v *Version) readDoubts(ctx context.Context, parent string, now int64) (*DoubtSummary, error) {
	m := &DoubtSummary{}
	d := anyDoubt(now)
	g, err := v.gate(ctx)
	if err != nil {
		return nil, err
	}
	c, err := v.doubtCursor(ctx, g, layer.Key{Parent: parent}, subtreeEnd(parent), d)
	if err != nil || c == nil {
		return m, err
	}
	for ok := c.Seek(layer.Key{Parent: parent}); ok; ok = c.NextSpan() {
		b, from, to := c.Span()
		if g := b.Group(); !d.group(&g) {
			continue
		}
		if err := m.add(b, from, to, now, func(i int) (bool, error) { return g.seesDoubt(parent, b, i) }); err != nil {
			return nil, v.ReadError(err)
		}
	}
	if err := c.Err(); err != nil {
		return nil, v.ReadError(err)
	}
	slices.Sort(m.suspectUntil)
	return m, nil
}

// add takes in rows from to to-1 of a block. A removed row may be a blind spot: a deletion that no kernel reported.
func (m *DoubtSummary) add(b *layer.Block, from, to int, now int64, sees func(i int) (bool, error)) error {
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
		ns := until.At(i)
		suspect := ns > now && removed.At(i) == 0 && event.Type(types.At(i)) == event.File
		if missing.At(i) == 0 && !suspect {
			continue
		}
		if seen, err := sees(i); err != nil {
			return err
		} else if !seen {
			continue
		}
		m.BlindSpot = m.BlindSpot || missing.At(i) != 0
		if suspect {
			m.suspectUntil = append(m.suspectUntil, ns)
		}
	}
	return nil
}

// doubtCursor returns a cursor, for who passes a gate, over the row groups of a range that may have rows of a kind, and over the rows of deltas that hide rows
// in them. It is nil if no row group may have any. It reads the indexes only of layers that may.
func (v *Version) doubtCursor(ctx context.Context, g *gate, from, until layer.Key, d DoubtKind) (*layer.Cursor, error) {
	view, err := v.rows.those(ctx, keyRange{from, until}, d.layer)
	if err != nil {
		return nil, v.ReadError(err)
	}
	if view = view.Within(from, until, d.layer); view == nil {
		return nil, nil
	}
	layers := slices.DeleteFunc(slices.Concat(view.Deltas(), view.Base()), func(l *layer.Layer) bool {
		info := l.Info()
		return !d.layer(&info)
	})
	groups := make([][]layer.Group, len(layers))
	reads, gctx := errgroup.WithContext(ctx)
	reads.SetLimit(16)
	for i, l := range layers {
		reads.Go(func() (err error) {
			groups[i], err = l.Groups(gctx)
			return err
		})
	}
	if err := reads.Wait(); err != nil {
		return nil, v.ReadError(err)
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
