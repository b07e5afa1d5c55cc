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
)

// mergeCacheBytes bounds what a merge keeps decoded: it passes every row group once.
const mergeCacheBytes = 16 << 20

// blindTombstones is for how long a blind-spot deletion is remembered, beyond what any tombstone is.
const blindTombstones = 7 * 24 * time.Hour

// Merge makes fewer layers of a view's deltas if there are too many: small ones become one delta, and once they weigh
// enough against the base partitions they lie over, those are written anew with them. It reports whether it published
// a version.
func (c *Compactor) Merge(ctx context.Context, view string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	head, err := c.current(ctx, view)
	if err != nil {
		return false, fmt.Errorf("merge view %s: %w", view, err)
	}
	p := c.plan(head.Manifest)
	if len(p.deltas) == 0 {
		return false, nil
	}
	began := time.Now()
	err = c.merge(ctx, head, p)
	switch {
	case errors.Is(err, store.ErrLost):
		return false, nil
	case err != nil:
		c.metrics.failures.WithLabelValues("merge").Inc()
		return false, fmt.Errorf("merge view %s: %w", view, err)
	}
	c.metrics.merged(p, time.Since(began))
	return true, nil
}

// plan is what a merge does: all deltas into the base partitions, or the newest few into one delta.
type plan struct {
	deltas []layer.Info
	toBase bool
	rows   int64 // in the deltas
}

func (c *Compactor) plan(m *manifest.Manifest) plan {
	n := len(m.Deltas)
	if n <= c.o.MaxDeltas {
		return plan{}
	}
	all := plan{deltas: m.Deltas, toBase: true}
	base := int64(0)
	for _, l := range m.Deltas {
		all.rows += l.Rows
	}
	for _, l := range m.Base {
		base += l.Rows
	}
	if base == 0 || all.rows >= base/8 || all.rows >= 2*c.o.PartitionRows {
		return all
	}
	few := plan{}
	for i, l := range m.Deltas {
		if i >= 2 && l.Rows > 2*few.rows && n-i < c.o.MaxDeltas {
			break
		}
		few.rows += l.Rows
		few.deltas = m.Deltas[:i+1]
	}
	return few
}

func (c *Compactor) merge(ctx context.Context, head version, p plan) error {
	g := &merger{
		c: c, ctx: ctx, cache: layer.NewCache(mergeCacheBytes), view: head.View,
		horizon: head.ObservedAt, partition: c.o.PartitionRows,
	}
	config, err := c.configs.Load(ctx, head.View)
	if err != nil {
		return err
	}
	g.ttl = int64(config.TombstoneTTL())
	if p.toBase {
		return g.intoBase(head, p)
	}
	return g.intoDelta(head, p)
}

// merger is one merge under way.
type merger struct {
	c         *Compactor
	ctx       context.Context
	cache     *layer.Cache
	view      string
	horizon   int64 // the view's newest observation: tombstones age against it
	ttl       int64
	partition int64
}

// forgotten reports whether a row may leave the view for good, where nothing older lies below.
func (g *merger) forgotten(r *evidence.Row) bool {
	age := g.horizon - r.ObservedAt
	return r.Removed && age > g.ttl && (!r.AgentMissing || age > int64(blindTombstones))
}

// intoDelta makes one delta of the newest few. Tombstones stay: older layers lie below.
func (g *merger) intoDelta(head version, p plan) error {
	cursor, err := g.deltas(p.deltas)
	if err != nil {
		return err
	}
	out := g.c.newOutput(g.ctx, g.view, g.partition)
	out.group = layer.DeltaRowsPerGroup
	var row evidence.Row
	for ok := cursor.Seek(layer.Key{}); ok; ok = cursor.Next() {
		if err := cursor.Row(&row); err != nil {
			return err
		}
		if err := out.append(&row); err != nil {
			return err
		}
	}
	if err := cursor.Err(); err != nil {
		return err
	}
	layers, err := out.finish()
	if err != nil {
		return err
	}
	_, err = g.c.publish(g.ctx, head, "merge", func(m *manifest.Manifest) error {
		i := indexOf(m.Deltas, p.deltas)
		if i < 0 {
			return errOvertaken
		}
		m.Deltas = slices.Replace(m.Deltas, i, i+len(p.deltas), layers...)
		return nil
	})
	return err
}

func (g *merger) deltas(infos []layer.Info) (*layer.Cursor, error) {
	v, err := layer.OpenView(g.c.o.Store, g.view, nil, infos, g.cache)
	if err != nil {
		return nil, err
	}
	return v.Cursor(g.ctx), nil
}

// intoBase writes those base partitions anew that the deltas touch. Folds go on meanwhile: what they add lies over the
// new base as it did over the old one.
func (g *merger) intoBase(head version, p plan) error {
	cursor, err := g.deltas(p.deltas)
	if err != nil {
		return err
	}
	var base []layer.Info
	parts := max(1, len(head.Base))
	for i := range parts {
		part := partition{rows: p.rows / int64(parts)}
		if i < len(head.Base) {
			part.info, part.rows = &head.Base[i], part.rows+head.Base[i].Rows
		}
		if i > 0 {
			part.from = head.Base[i].First
		}
		if i+1 < len(head.Base) {
			part.to = &head.Base[i+1].First
		}
		layers, err := g.rewrite(part, cursor)
		if err != nil {
			return err
		}
		base = append(base, layers...)
	}
	_, err = g.c.publish(g.ctx, head, "merge", func(m *manifest.Manifest) error {
		i := indexOf(m.Deltas, p.deltas)
		if i < 0 || i+len(p.deltas) != len(m.Deltas) || indexOf(m.Base, head.Base) != 0 || len(m.Base) != len(head.Base) {
			return errOvertaken
		}
		m.Base, m.Deltas = base, m.Deltas[:i]
		return nil
	})
	return err
}

// partition is a stretch of keys, from from up to and without to, with the base layer that holds it now.
type partition struct {
	from layer.Key
	to   *layer.Key // nil is open
	info *layer.Info
	rows int64 // an estimate of what it will hold
}

func (p *partition) has(k layer.Key) bool { return p.to == nil || k.Compare(*p.to) < 0 }

// rewrite merges the deltas' rows of one partition into it. One that has none stays as it is.
func (g *merger) rewrite(p partition, deltas *layer.Cursor) ([]layer.Info, error) {
	d := ahead{cursor: deltas, part: &p, ok: deltas.Seek(p.from)}
	if err := deltas.Err(); err != nil {
		return nil, err
	}
	if !d.more() {
		if p.info == nil {
			return nil, nil
		}
		return []layer.Info{*p.info}, nil
	}
	pieces := (p.rows + g.partition) / (g.partition + g.partition/4)
	out := g.c.newOutput(g.ctx, g.view, p.rows/max(1, pieces)+1)
	if p.info != nil {
		if err := g.mergeLayer(*p.info, &d, out); err != nil {
			return nil, err
		}
	}
	if err := g.drain(&d, nil, out); err != nil {
		return nil, err
	}
	return out.finish()
}

// ahead is the deltas' cursor within a partition.
type ahead struct {
	cursor *layer.Cursor
	part   *partition
	ok     bool
}

func (d *ahead) more() bool { return d.ok && d.part.has(d.cursor.Key()) }
func (d *ahead) next()      { d.ok = d.cursor.Next() }

// mergeLayer merges a base layer, row group by row group. A row group that no change touches is copied as it is.
func (g *merger) mergeLayer(info layer.Info, d *ahead, out *output) error {
	l, err := layer.Open(g.ctx, g.c.o.Store, g.view, info, g.cache)
	if err != nil {
		return err
	}
	groups, err := l.Groups(g.ctx)
	if err != nil {
		return err
	}
	for i, group := range groups {
		if err := g.drain(d, &group.First, out); err != nil {
			return err
		}
		touched := d.more() && d.cursor.Key().Compare(group.Last) <= 0
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

// mergeGroup merges one row group: stretches between two changes are taken over as columns.
func (g *merger) mergeGroup(l *layer.Layer, i int, d *ahead, out *output) error {
	b, err := l.Block(g.ctx, i)
	if err != nil {
		return err
	}
	var row evidence.Row
	for at := 0; at < b.Len(); {
		end, replaced := b.Len(), false
		if d.more() {
			k := d.cursor.Key()
			end = b.SearchFrom(at, k)
			replaced = end < b.Len() && b.Key(end) == k
		}
		if err := g.keep(b, at, end, out); err != nil {
			return err
		}
		at = end
		if replaced {
			at++
		}
		if at < b.Len() || replaced {
			if err := g.put(d, &row, out); err != nil {
				return err
			}
		}
	}
	return d.cursor.Err()
}

// keep takes over rows of a block, those apart that may be forgotten.
func (g *merger) keep(b *layer.Block, from, to int, out *output) error {
	if b.Group().Removed > 0 {
		return g.keepOneByOne(b, from, to, out)
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

func (g *merger) keepOneByOne(b *layer.Block, from, to int, out *output) error {
	var row evidence.Row
	for i := from; i < to; i++ {
		if err := b.Row(i, &row); err != nil {
			return err
		}
		if g.forgotten(&row) {
			continue
		}
		if err := out.append(&row); err != nil {
			return err
		}
	}
	return nil
}

// put writes the delta row at hand and passes it.
func (g *merger) put(d *ahead, row *evidence.Row, out *output) error {
	if err := d.cursor.Row(row); err != nil {
		return err
	}
	if !g.forgotten(row) {
		if err := out.append(row); err != nil {
			return err
		}
	}
	d.next()
	return nil
}

// drain writes the delta rows before a key, or all that the partition has left.
func (g *merger) drain(d *ahead, before *layer.Key, out *output) error {
	var row evidence.Row
	for d.more() && (before == nil || d.cursor.Key().Compare(*before) < 0) {
		if err := g.put(d, &row, out); err != nil {
			return err
		}
	}
	return d.cursor.Err()
}
