package layer

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/evidence"
)

// Cursor goes through a view's rows in key order, each key once, in its newest form. Removed rows come too. It is
// before the first row at first. It is for one goroutine.
//
//	c := view.Cursor(ctx)
//	for ok := c.Seek(from); ok; ok = c.Next() {
//		…
//	}
//	if err := c.Err(); err != nil {
//		…
//	}
//
// The position is always in a span: rows of one block that follow each other in the view. Work by column goes from span
// to span: Span, then NextSpan.
type Cursor struct {
	ctx   context.Context
	runs  []*run
	order []*run // those not done, by their position; order[0] has the span
	until *Key

	block    *Block // nil before the first and after the last row
	row, end int    // the position, and the end of the span
	started  bool
	err      error
}

// Cursor makes a cursor. All it reads is read under ctx, and counted by its Meter.
func (v *View) Cursor(ctx context.Context) *Cursor {
	c := &Cursor{ctx: ctx}
	for i, l := range v.deltas {
		if n := len(c.runs) - 1; i > 0 && v.deltas[i-1].info.Last.Compare(l.info.First) < 0 { // layers of one large delta
			c.runs[n].layers = append(c.runs[n].layers, l)
			continue
		}
		c.runs = append(c.runs, &run{layers: []*Layer{l}, rank: i})
	}
	if len(v.base) > 0 {
		c.runs = append(c.runs, &run{layers: v.base, rank: len(v.deltas), base: true})
	}
	return c
}

// Until ends the cursor before the key k. Call it before the first Seek or Next.
func (c *Cursor) Until(k Key) *Cursor {
	c.until = &k
	for _, r := range c.runs {
		r.ahead.until = c.until
	}
	return c
}

// ReadAhead has row groups that follow each other read with requests of up to that many bytes per layer, one such
// request ahead of what is used. For long scans; a cursor given up leaves at most one request per layer to end by
// itself. Call it before the first Seek or Next.
func (c *Cursor) ReadAhead(bytes int64) *Cursor {
	for _, r := range c.runs {
		r.ahead.limit = bytes
	}
	return c
}

// SkipBase passes over base row groups without reading them: those that skip says have nothing of interest.
// Rows of deltas all come. Call it before the first Seek or Next.
func (c *Cursor) SkipBase(skip func(*Group) bool) *Cursor {
	for _, r := range c.runs {
		if r.base {
			r.skip = func(_ *Layer, _ int, g *Group) bool { return skip(g) }
			r.ahead.skip = r.skip
		}
	}
	return c
}

// Skip passes over row groups of any layer without reading them. A group of a delta may be skipped only for its keys:
// its rows hide those of the same keys below, which would come forth. Call it before the first Seek or Next.
func (c *Cursor) Skip(skip func(l *Layer, i int, g *Group) bool) *Cursor {
	for _, r := range c.runs {
		r.skip, r.ahead.skip = skip, skip
	}
	return c
}

// Hold makes the cursor use blocks that were fetched for it. Their keys are loaded only where it has to search in one; a
// caller that reads a span's rows loads them first.
func (c *Cursor) Hold(h Held) *Cursor {
	return c.BlocksFrom(func(p GroupRef) *Block { return h[p] })
}

// BlocksFrom makes the cursor ask block for each row group before it reads it; nil means that the cursor reads it itself.
// Call it before the first Seek or Next.
func (c *Cursor) BlocksFrom(block func(GroupRef) *Block) *Cursor {
	for _, r := range c.runs {
		r.blockSource = block
	}
	return c
}

// Seek goes to the first key at or after k, forwards or backwards, and reports whether there is one. Inside the span
// it costs nothing; otherwise all layers are asked at once.
func (c *Cursor) Seek(k Key) bool {
	if c.err != nil {
		return false
	}
	if c.block != nil && c.block.Keyed() && c.Key().Compare(k) <= 0 && k.Compare(c.block.Key(c.end-1)) <= 0 {
		c.row = c.block.SearchFrom(c.row, k)
		return true
	}
	c.started, c.block = true, nil
	if c.err = c.seekRuns(k); c.err != nil {
		return false
	}
	c.order = c.order[:0]
	for _, r := range c.runs {
		if !r.done {
			c.order = append(c.order, r)
		}
	}
	slices.SortFunc(c.order, func(a, b *run) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	return c.pick()
}

// seekRuns seeks in all runs; those that must read do so in parallel.
func (c *Cursor) seekRuns(k Key) error {
	var cold []*run
	for _, r := range c.runs {
		ok, err := r.seek(c.ctx, k, false)
		if err != nil {
			return err
		}
		if !ok {
			cold = append(cold, r)
		}
	}
	if len(cold) == 1 {
		_, err := cold[0].seek(c.ctx, k, true)
		return err
	}
	g, ctx := errgroup.WithContext(c.ctx)
	g.SetLimit(parallelReads)
	for _, r := range cold {
		g.Go(func() error {
			_, err := r.seek(ctx, k, true)
			return err
		})
	}
	return g.Wait()
}

// Next goes to the next key and reports whether there is one. The first call goes to the view's first.
func (c *Cursor) Next() bool {
	if c.row+1 < c.end {
		c.row++
		return true
	}
	return c.NextSpan()
}

// NextSpan goes past the span.
func (c *Cursor) NextSpan() bool {
	if !c.started {
		return c.Seek(Key{})
	}
	if c.err != nil || c.block == nil {
		return false
	}
	c.block = nil
	if c.err = c.order[0].moveTo(c.ctx, c.end); c.err != nil {
		c.row, c.end = 0, 0
		return false
	}
	c.reorder(0)
	return c.pick()
}

// reorder puts order[i], whose position has moved on, where it belongs.
func (c *Cursor) reorder(i int) {
	if c.order[i].done {
		c.order = slices.Delete(c.order, i, i+1)
		return
	}
	for ; i+1 < len(c.order) && c.order[i+1].before(c.order[i]); i++ {
		c.order[i], c.order[i+1] = c.order[i+1], c.order[i]
	}
}

// pick makes a span of the row at order[0] and all that follow it before the next run's position.
func (c *Cursor) pick() bool {
	c.block, c.row, c.end = nil, 0, 0
	if len(c.order) == 0 || c.until != nil && c.order[0].key.Compare(*c.until) >= 0 {
		return false
	}
	top := c.order[0]
	for len(c.order) > 1 && c.order[1].key == top.key { // superseded
		if c.err = c.pass(c.order[1]); c.err != nil {
			return false
		}
		c.reorder(1)
	}
	if c.err = top.open(c.ctx); c.err != nil {
		return false
	}
	end := top.block.Len()
	if len(c.order) > 1 {
		end = c.endBefore(top, c.order[1].key)
	}
	if c.until != nil && c.err == nil {
		end = min(end, c.endBefore(top, *c.until))
	}
	if c.err != nil {
		return false
	}
	c.block, c.row, c.end = top.block, top.row, end
	return true
}

// pass moves a run on by one row.
func (c *Cursor) pass(r *run) error {
	if err := r.open(c.ctx); err != nil {
		return err
	}
	return r.moveTo(c.ctx, r.row+1)
}

// endBefore is where the rows of a run's block end that follow its position and come before k. The common case is first: all do.
func (c *Cursor) endBefore(r *run, k Key) int {
	if r.block.group.Last.Compare(k) < 0 {
		return r.block.Len()
	}
	if c.err = r.block.LoadKeys(); c.err != nil {
		return 0
	}
	return r.block.SearchFrom(r.row+1, k)
}

// Key is the key at the position.
func (c *Cursor) Key() Key { return c.block.Key(c.row) }

// Row sets r to the row at the position. Its strings stay valid.
func (c *Cursor) Row(r *evidence.Row) error {
	if err := c.block.Row(c.row, r); err != nil {
		c.err = err
		return err
	}
	return nil
}

// Shown is Row with what Block.Shown has.
func (c *Cursor) Shown(r *evidence.Row) error {
	if err := c.block.Shown(c.row, r); err != nil {
		c.err = err
		return err
	}
	return nil
}

// Atime adds to what Shown set what Block.Atime has.
func (c *Cursor) Atime(r *evidence.Row) error {
	if err := c.block.Atime(c.row, r); err != nil {
		c.err = err
		return err
	}
	return nil
}

// Brief sets r to a part of the row at the position: Block.Brief.
func (c *Cursor) Brief(r *evidence.Row) error {
	if err := c.block.Brief(c.row, r); err != nil {
		c.err = err
		return err
	}
	return nil
}

// Span is the block that has the position, the position's row in it, and where the span ends: rows from to to-1 are the
// view's next ones.
func (c *Cursor) Span() (b *Block, from, to int) { return c.block, c.row, c.end }

// Err is what ended the cursor early, if anything did.
func (c *Cursor) Err() error { return c.err }
