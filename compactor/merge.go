package compactor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/trace"
)

// mergeCacheBytes bounds what a merge keeps decoded: it reads every row group once.
const mergeCacheBytes = 16 << 20

// blindTombstones is for how long a blind-spot deletion is remembered, beyond what any tombstone is.
const blindTombstones = 7 * 24 * time.Hour

// Merge does the next step of a merge, if the view has too many deltas or a merge is under way, and publishes it: some
// base partitions are rewritten with the rows that the deltas have for them, or the newest deltas become one. It reports
// whether it published a version; call it again until it did not. A step takes rows for at most three quarters of the time
// that ctx leaves.
//
// A merge is cut into steps so that an end at any time costs one step, no more: each step publishes a version, and the
// version says for which keys the base has what the deltas have (manifest.Merged).
//
//	deltas   ──a────c──────────f────h─────i──▶ keys
//	base     [  P1     ][  P2      ][  P3   ]
//	step 1   [  P1'    ]                        merged: P1's keys
//	step 2             [ P2' ]                  stopped at f by its limit: merged up to f
//	step 3             the rest of P2 …
//
// The deltas stay in the version until the base has nearly all of their rows. Readers that ask both get the same answer,
// as a delta's row and its copy in the base are equal.
func (c *Compactor) Merge(ctx context.Context, view string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.JobLimit)
	defer cancel()
	end, _ := ctx.Deadline()
	return c.mergeUntil(ctx, view, end.Add(-time.Until(end)/4))
}

// mergeUntil is Merge, with the time from which on the step takes no further rows.
func (c *Compactor) mergeUntil(ctx context.Context, view string, stop time.Time) (bool, error) {
	began := time.Now()
	head, p, err := c.toMerge(ctx, view, nil)
	if err == nil && p.none() {
		return false, nil
	}
	if err == nil {
		if err = c.turns.merges.Acquire(ctx, 1); err == nil {
			defer c.turns.merges.Release(1)
			var release func()
			head, p, release, err = c.claimMerge(ctx, view) // it may have waited
			defer release()
		}
	}
	if err == nil {
		if p.none() {
			return false, nil
		}
		stepCtx, span := trace.Since(ctx, began, "merge", trace.View(view), trace.Number("fustor.version", int64(head.Version+1)))
		err = c.step(stepCtx, head, p, stop)
		span.EndWith(err)
	}
	switch {
	case errors.Is(err, store.ErrLost):
		return false, nil
	case err != nil:
		c.metrics.failures.WithLabelValues("merge").Inc()
		return false, fmt.Errorf("merge view %s: %w", view, err)
	}
	c.metrics.duration.WithLabelValues("merge").Observe(time.Since(began).Seconds())
	return true, nil
}

// toMerge is what there is to merge that nobody has claimed, and of which version.
func (c *Compactor) toMerge(ctx context.Context, view string, claimed claimed) (version, plan, error) {
	head, err := c.current(ctx, view)
	if err != nil {
		return head, plan{}, err
	}
	p, err := c.plan(ctx, head.Manifest, claimed)
	return head, p, err
}

// step does what the plan says, and publishes it.
func (c *Compactor) step(ctx context.Context, head version, p plan, stop time.Time) error {
	g := &merger{
		c: c, ctx: ctx, cache: layer.NewCache(mergeCacheBytes), view: head.View,
		horizon: head.ObservedAt, partition: c.o.PartitionRows, stop: stop,
	}
	config, err := c.configs.Load(ctx, head.View)
	if err != nil {
		return err
	}
	g.ttl = int64(config.TombstoneTTL())
	switch {
	case p.span != nil:
		return g.intoBase(head, p.span)
	case len(p.deltas) == len(head.Deltas):
		return g.intoDelta(head, p.deltas, stretches(head.Manifest, layer.Key{}, nil))
	}
	return g.intoDelta(head, p.deltas, []stretch{{deltas: p.deltas}})
}

// merger is one step of a merge.
type merger struct {
	c         *Compactor
	ctx       context.Context
	cache     *layer.Cache
	view      string
	horizon   int64 // the view's newest observation: tombstones age against it
	ttl       int64
	partition int64
	stop      time.Time // no further rows are taken then
}

// mayForget reports whether a tombstone is old enough to leave the view for good. It may do so only in the base: in a delta
// it hides the row of an older layer.
func (g *merger) mayForget(r *evidence.Row) bool {
	age := g.horizon - r.ObservedAt
	return r.Removed && age > g.ttl && (!r.AgentMissing || age > int64(blindTombstones))
}

// intoDelta makes the newest few deltas into one. Tombstones stay, as older layers lie below. Only where it takes all
// deltas may the ranges leave out what is merged into the base; otherwise a row of an older delta would show instead.
func (g *merger) intoDelta(head version, deltas []layer.Info, of []stretch) error {
	out := g.c.newDelta(g.ctx, g.view)
	rows := g.rowsOf(of)
	var row evidence.Row
	for ; rows.more(); rows.next() {
		if err := rows.row(&row); err != nil {
			return err
		}
		if err := out.append(&row); err != nil {
			return err
		}
	}
	if rows.err != nil {
		return rows.err
	}
	layers, err := out.finish()
	if err != nil {
		return err
	}
	_, err = g.c.publish(g.ctx, head, "merge", func(m *manifest.Manifest) error {
		i := indexOf(m.Deltas, deltas)
		if i < 0 || len(deltas) == len(head.Deltas) && i+len(deltas) != len(m.Deltas) {
			return errOvertaken
		}
		m.ReplaceDeltas(i, len(deltas), layers)
		return nil
	})
	if err == nil {
		g.c.metrics.mergedRows.Add(float64(rows.count))
	}
	return err
}

// intoBase rewrites the base partitions of a span with the rows that the deltas have for them. The deltas stay, and the
// version says that their rows there are merged. Meanwhile folds and other merges may go on, as long as these partitions stay: what folds
// add lies above the new base as it did above the old one.
func (g *merger) intoBase(head version, s *span) error {
	rows := g.rowsOf(stretches(head.Manifest, s.from, s.to))
	rows.limit = stepPartitions * g.partition
	layers, err := g.rewrite(s, rows)
	if err != nil {
		return err
	}
	done := manifest.Merged{From: s.from, To: s.to}
	if rows.stopped != nil {
		done.To = rows.stopped
	}
	_, err = g.c.publish(g.ctx, head, "merge", func(m *manifest.Manifest) error {
		at := indexOf(m.Base, s.parts)
		if at < 0 || len(s.parts) == 0 && len(m.Base) > 0 {
			return errOvertaken
		}
		newest, err := g.stillAbove(head, m)
		if err != nil {
			return err
		}
		m.Base = slices.Replace(m.Base, at, at+len(s.parts), layers...)
		if newest != "" {
			done.Delta = newest
			m.Merged = manifest.AddMerged(m.Merged, done)
		}
		return nil
	})
	if err == nil {
		g.c.metrics.mergedRows.Add(float64(rows.count))
	}
	return err
}

// stillAbove is the newest delta of the draft m such that it and all older ones were in head, too; none: "". It is errOvertaken where m is
// not known to have come of head by folds and merges alone.
//
// Where other merges have made some of head's newest deltas into one, that one has their rows, and perhaps newer ones. So it lies above
// what was merged of them, as a fold's delta would, and only the older ones count as merged:
//
//	head      d5 d4 d3 d2 d1 │ P      this merge makes P' of P and all five
//	meanwhile d6, and then the three newest became one: N = d6 d5 d4
//	m         N d3 d2 d1     │ P      becomes N d3 d2 d1 │ P', merged: d3 and older
//
// A row that leaves all deltas is in the base where it was, so P would not be there any more. A repair goes back to an earlier version,
// which lacks what P' would bring: it does not follow head.
func (g *merger) stillAbove(head version, m *manifest.Manifest) (string, error) {
	same := 0 // of the oldest
	for same < min(len(head.Deltas), len(m.Deltas)) && head.Deltas[len(head.Deltas)-1-same].ID == m.Deltas[len(m.Deltas)-1-same].ID {
		same++
	}
	if same < len(head.Deltas) {
		if err := g.follows(head, m.Parent); err != nil {
			return "", err
		}
	}
	if same == 0 {
		return "", nil
	}
	return m.Deltas[len(m.Deltas)-same].ID, nil
}

// follows is an error unless the version of this key came of head: each says which one it came of.
func (g *merger) follows(head version, key string) error {
	for key != head.Key() {
		m, err := manifest.LoadKeyRoot(g.ctx, g.c.o.Store, g.view, key)
		switch {
		case errors.Is(err, store.ErrNotFound): // retention was there, so it was long ago
			return errOvertaken
		case err != nil:
			return err
		case m.Version <= head.Version || m.Parent == "":
			return errOvertaken
		}
		key = m.Parent
	}
	return nil
}

// baseRowBytes is what a row takes in the base, a little more than it mostly does.
const baseRowBytes = 24

// rewrite merges rows of deltas into the partitions of a span. If there are none, the partitions stay as they are. The new
// partitions are of about one size, between 4/5 and 5/4 of the configured one.
func (g *merger) rewrite(s *span, d *deltaRows) ([]layer.Info, error) {
	if !d.more() {
		return s.parts, d.err
	}
	rows := s.rows + min(s.fresh, d.limit)
	pieces := (rows + g.partition) / (g.partition + g.partition/4)
	out := g.c.newOutput(g.ctx, g.view, rows/max(1, pieces)+1)
	out.hint = baseRowBytes * out.rows
	for _, info := range s.parts {
		if err := g.mergeLayer(info, d, out); err != nil {
			return nil, err
		}
	}
	if err := g.writeDeltaRowsBefore(d, nil, out); err != nil {
		return nil, err
	}
	return out.finish()
}

// deltaRows iterates over the rows of deltas in some ranges of keys: the newest row of each key.
type deltaRows struct {
	g       *merger
	rest    []stretch // those after the current one
	cursor  *layer.Cursor
	ok      bool
	count   int64
	limit   int64      // how many rows the step may take; 0: no limit
	stopped *layer.Key // the first key not taken, once the step has taken enough
	err     error
}

func (g *merger) rowsOf(of []stretch) *deltaRows {
	d := &deltaRows{g: g, rest: of}
	d.nextStretch()
	return d
}

// nextStretch goes to the first row of the next range that has any.
func (d *deltaRows) nextStretch() {
	for d.ok = false; !d.ok && d.err == nil && len(d.rest) > 0; {
		s := d.rest[0]
		d.rest = d.rest[1:]
		v, err := layer.OpenView(d.g.c.o.Store, d.g.view, nil, s.deltas, d.g.cache)
		if err != nil {
			d.err = err
			return
		}
		d.cursor = v.Cursor(d.g.ctx)
		if s.to != nil {
			d.cursor.Until(*s.to)
		}
		d.ok = d.cursor.Seek(s.from)
		d.err = d.cursor.Err()
	}
}

func (d *deltaRows) more() bool { return d.ok }

func (d *deltaRows) key() layer.Key { return d.cursor.Key() }

func (d *deltaRows) row(r *evidence.Row) error { return d.cursor.Row(r) }

// next goes on, unless the step has taken enough.
func (d *deltaRows) next() {
	d.count++
	if d.ok = d.cursor.Next(); !d.ok {
		if d.err = d.cursor.Err(); d.err == nil {
			d.nextStretch()
		}
	}
	if d.ok && d.limit > 0 && (d.count >= d.limit || d.count%1024 == 0 && time.Now().After(d.g.stop)) {
		k := d.key()
		d.stopped, d.ok = &k, false
	}
}

// mergeLayer merges a base layer, row group by row group. A row group is copied verbatim, as compressed bytes, if no delta
// has a key in it, it has no tombstones (they may be due to be forgotten), and it is at least half full (small ones are
// joined with what follows). With few changes that is most of the base: copying is more than four times as fast.
func (g *merger) mergeLayer(info layer.Info, d *deltaRows, out *output) error {
	l, err := layer.Open(g.ctx, g.c.o.Store, g.view, info, g.cache)
	if err != nil {
		return err
	}
	groups, err := l.Groups(g.ctx)
	if err != nil {
		return err
	}
	for i, group := range groups {
		if err := g.writeDeltaRowsBefore(d, &group.First, out); err != nil {
			return err
		}
		touched := d.more() && d.key().Compare(group.Last) <= 0
		if !touched && group.Removed == 0 && group.Rows >= layer.RowsPerGroup/2 {
			if err := g.copyGroup(l, i, out); err != nil {
				return err
			}
			continue
		}
		if err := g.mergeGroup(l, i, d, out); err != nil {
			return err
		}
	}
	return nil
}

// copyGroup copies a row group verbatim.
func (g *merger) copyGroup(l *layer.Layer, i int, out *output) error {
	raw, err := l.RawGroup(g.ctx, i)
	if err != nil {
		return err
	}
	w, err := out.open()
	if err != nil {
		return err
	}
	return w.AppendGroup(raw)
}

// mergeGroup merges one row group. Rows between two changed keys are copied column by column, without making rows of them.
func (g *merger) mergeGroup(l *layer.Layer, i int, d *deltaRows, out *output) error {
	b, err := l.BlockToCopy(g.ctx, i)
	if err != nil {
		return err
	}
	var row evidence.Row
	for at := 0; at < b.Len(); {
		end, replaced := b.Len(), false
		if d.more() {
			k := d.key()
			end = b.SearchFrom(at, k)
			replaced = end < b.Len() && b.Key(end) == k
		}
		if err := g.copyRows(b, at, end, out); err != nil {
			return err
		}
		at = end
		if replaced {
			at++
		}
		if at < b.Len() || replaced {
			if err := g.writeDeltaRow(d, &row, out); err != nil {
				return err
			}
		}
	}
	if d.err == nil && out.writer != nil {
		return out.writer.GroupEnds()
	}
	return d.err
}

// copyRows copies rows of a block, without tombstones that may be forgotten.
func (g *merger) copyRows(b *layer.Block, from, to int, out *output) error {
	if b.Group().Removed > 0 {
		return g.copyRowByRow(b, from, to, out)
	}
	for from < to {
		w, err := out.open()
		if err != nil {
			return err
		}
		n := min(to-from, int(max(1, out.rows-w.Rows())))
		if err := w.AppendBlock(b, from, from+n); err != nil {
			return err
		}
		from += n
	}
	return nil
}

func (g *merger) copyRowByRow(b *layer.Block, from, to int, out *output) error {
	var row evidence.Row
	for i := from; i < to; i++ {
		if err := b.Row(i, &row); err != nil {
			return err
		}
		if g.mayForget(&row) {
			continue
		}
		if err := out.append(&row); err != nil {
			return err
		}
	}
	return nil
}

// writeDeltaRow writes the current row of the deltas, and goes on to the next.
func (g *merger) writeDeltaRow(d *deltaRows, row *evidence.Row, out *output) error {
	if err := d.row(row); err != nil {
		return err
	}
	if !g.mayForget(row) {
		if err := out.append(row); err != nil {
			return err
		}
	}
	d.next()
	return nil
}

// writeDeltaRowsBefore writes the rows of the deltas before a key; nil is all that are left.
func (g *merger) writeDeltaRowsBefore(d *deltaRows, before *layer.Key, out *output) error {
	var row evidence.Row
	for d.more() && (before == nil || d.key().Compare(*before) < 0) {
		if err := g.writeDeltaRow(d, &row, out); err != nil {
			return err
		}
	}
	return d.err
}
