package engine

import (
	"context"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync/atomic"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// A scan looks at what a plan leaves of a range of keys by column: at names and parents first, at other columns only
// where those match, and makes rows only of what is wanted. Workers take the plan's shards in order; what they find is
// used in key order, so that a scan holds a few shards' hits at most.

const (
	// maxWindow is how many shards of a scan are under way at most: so many requests to the store are.
	maxWindow = 16
	// decodedSize is about how many bytes of memory a byte of a row group in the store becomes.
	decodedSize = 5
)

// hit is a row that is wanted.
type hit struct {
	block *layer.Block
	row   int
}

// shard is what was found in a part of the range.
type shard struct {
	hits []hit
	err  error
}

// scan emits what is wanted of what a plan leaves; limit is how many are used at most, 0 all.
func (v *Version) scan(ctx context.Context, w *Search, p *plan, limit int, out Emit) error {
	costOf(ctx).skipped.Add(p.skipped)
	if len(p.shards) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the workers end by themselves
	s := newScan(v, p)
	defer s.close()
	for range min(maxWindow, len(p.shards)) {
		go s.work(ctx, w, limit)
	}
	var row evidence.Row
	for i := range s.results {
		s.dispatch(i)
		select {
		case found := <-s.results[i]:
			if err := v.use(found, &row, out); err != nil {
				return err
			}
			s.used(i, limit == 0 || len(found.hits) <= limit/8)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// scanning is a scan under way. Shards are handed out in order: the one that is used next always, those after it within
// a window that grows while little is found, and as far as the process has memory for reading ahead.
type scanning struct {
	v       *Version
	plan    *plan
	results []chan shard
	turns   chan int
	glances glances
	next    int     // the first shard that is not handed out
	window  int     // how many may be under way
	weights []int64 // of the memory taken for each
}

func newScan(v *Version, p *plan) *scanning {
	s := &scanning{v: v, plan: p, turns: make(chan int, maxWindow), window: 2,
		results: make([]chan shard, len(p.shards)), weights: make([]int64, len(p.shards))}
	kept := int64(0)
	for i := range s.results {
		s.results[i] = make(chan shard, 1)
		kept += int64(len(p.shards[i].places))
	}
	if kept > p.skipped { // the name seems to be everywhere: looking at names first would be a round more to the store
		s.glances.score.Store(-2)
	}
	return s
}

// dispatch hands shards out, as many as may be under way when shard i is the next to be used.
func (s *scanning) dispatch(i int) {
	for ; s.next < len(s.results) && s.next-i < s.window; s.next++ {
		weight := decodedSize * s.plan.shards[s.next].bytes
		if s.next > i {
			if !s.v.ahead.TryAcquire(weight) {
				return
			}
			s.weights[s.next] = weight
		}
		s.turns <- s.next // has room for a whole window
	}
}

// used gives shard i's memory back. More are to be under way where it brought the end no nearer.
func (s *scanning) used(i int, more bool) {
	s.v.ahead.Release(s.weights[i])
	s.weights[i] = 0
	if more {
		s.window = min(2*s.window, maxWindow)
	}
}

// close ends the workers and gives back what is left.
func (s *scanning) close() {
	close(s.turns)
	for _, w := range s.weights {
		s.v.ahead.Release(w)
	}
}

func (s *scanning) work(ctx context.Context, w *Search, limit int) {
	for i := range s.turns {
		s.results[i] <- s.v.scanShard(ctx, w, s.plan, &s.plan.shards[i], limit, &s.glances)
	}
}

// use emits a shard's hits.
func (v *Version) use(found shard, row *evidence.Row, out Emit) error {
	for _, h := range found.hits {
		if err := h.block.Shown(h.row, row); err != nil {
			return v.fail(err)
		}
		if err := out(row); err != nil {
			return err
		}
	}
	return found.err
}

// scanShard finds what is wanted of a part of the range, limit+1 hits at most if there is a limit.
func (v *Version) scanShard(ctx context.Context, w *Search, p *plan, part *searchShard, limit int, glances *glances) (found shard) {
	if ctx.Err() != nil {
		return shard{err: ctx.Err()}
	}
	var buffer []uint32
	rows := 0
	defer func() { costOf(ctx).rows.Add(int64(rows)) }()
	places, skip := part.places, p.skip
	var left map[layer.GroupRef]sighting
	apart := w.literal != nil && !w.filtered() && !v.cache.Spacious(v.bytes)
	if apart && glances.worth() {
		var err error
		if left, err = w.literal.among(ctx, places, &rows, glances); err != nil {
			return shard{err: v.fail(err)}
		}
		if len(left) == 0 {
			return shard{}
		}
		places = slices.Collect(maps.Keys(left))
		skip = func(l *layer.Layer, i int, g *layer.Group) bool {
			_, ok := left[layer.GroupRef{Layer: l, Group: i}]
			return !ok || p.skip(l, i, g)
		}
	}
	held, err := layer.Fetch(ctx, places)
	if err != nil {
		return shard{err: v.fail(err)}
	}
	if apart {
		for place, b := range held {
			held[place] = b.Detached(left[place].names, left[place].offsets)
		}
	}
	c := v.view.Cursor(ctx).Until(part.until).Skip(skip).Hold(held)
	for ok := c.Seek(part.from); ok; ok = c.NextSpan() {
		if ctx.Err() != nil {
			return shard{err: ctx.Err()}
		}
		b, first, end := c.Span()
		rows += end - first
		before := len(found.hits)
		if found.hits, found.err = w.span(found.hits, b, first, end, &buffer); found.err != nil {
			found.err = v.fail(found.err)
			return found
		}
		glances.saw(len(found.hits) > before)
		if len(found.hits) > before { // decode here what use will need, as here it is done in parallel
			var row evidence.Row
			if err := b.Shown(found.hits[before].row, &row); err != nil {
				return shard{err: v.fail(err)}
			}
		}
		if limit > 0 && len(found.hits) > limit {
			return found
		}
	}
	if err := c.Err(); err != nil {
		found.err = v.fail(err)
	}
	return found
}

// sighting are the names of a row group, as layer.Block.Names has them.
type sighting struct {
	names   string
	offsets []uint32
}

// among looks at the names of row groups for a moment and returns those groups that have the literal in one. It adds the rows of the
// others to rows. A delta's row group may be left out like any: what it hides has the same names.
func (l *literal) among(ctx context.Context, places []layer.GroupRef, rows *int, glances *glances) (map[layer.GroupRef]sighting, error) {
	left := map[layer.GroupRef]sighting{}
	for len(places) > 0 {
		of := places[0].Layer
		var groups []int
		for len(groups) < len(places) && places[len(groups)].Layer == of {
			groups = append(groups, places[len(groups)].Group)
		}
		places = places[len(groups):]
		has := func(has bool, among int) bool {
			if !has {
				*rows += among
				glances.saw(false)
			}
			return has
		}
		err := of.ScanNames(ctx, groups, func(_ int, names *layer.CodedNames) bool {
			return has(l.inCoded(names), len(names.Shared))
		}, func(group int, text string, offsets []uint32) {
			if has(l.in(text), len(offsets)-1) {
				left[layer.GroupRef{Layer: of, Group: group}] = sighting{strings.Clone(text), slices.Clone(offsets)}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

// glances says of a scan whether it is worth to look at the names of a row group before it is read and decoded to stay: where
// most have no hit that is a third of what is read and half of the work, and the cache keeps eight of them in place of one. Where
// most have one it is more.
type glances struct{ score atomic.Int32 }

func (g *glances) worth() bool { return g.score.Load() >= 0 }

// saw notes whether a row group had a hit. It weighs the last few.
func (g *glances) saw(hit bool) {
	if score := g.score.Load(); hit && score > -4 {
		g.score.Add(-1)
	} else if !hit && score < 4 {
		g.score.Add(1)
	}
}

// span appends the hits among rows from to to-1 of a block. It uses rows as a buffer.
func (w *Search) span(hits []hit, b *layer.Block, from, to int, rows *[]uint32) (_ []hit, err error) {
	if g := b.Group(); w.none(&g) {
		return hits, nil
	}
	left := (*rows)[:0]
	// Names cost more to decode than the attributes that a search asks for.
	attributesFirst := w.filtered() && !b.Keyed()
	if attributesFirst {
		if left, err = w.narrow(appendRange(left, from, to), b); len(left) == 0 {
			return hits, err
		}
	}
	if err := b.LoadKeys(); err != nil {
		return hits, err
	}
	if attributesFirst {
		left = w.matching(left, b)
	} else if left, err = w.narrow(w.named(left, b, from, to), b); err != nil {
		return hits, err
	}
	for _, i := range left {
		hits = append(hits, hit{b, int(i)})
	}
	*rows = left
	return hits, nil
}

// named appends those rows from to to-1 of a block whose names and directories match.
func (w *Search) named(rows []uint32, b *layer.Block, from, to int) []uint32 {
	if w.anyName {
		return appendRange(rows, from, to)
	}
	text, offsets := b.Names()
	next := candidates{offsets: offsets, to: to}
	if w.literal != nil {
		next.probe = w.literal.probe(text[:offsets[to]])
	}
	parentEnd, verdict := 0, none
	for i := next.next(from); i < to; i = next.next(i + 1) {
		if i >= parentEnd {
			parentEnd, verdict = min(to, b.ParentEnd(i)), w.pattern.directory(b.Parent(i))
		}
		switch {
		case verdict == none:
			i = parentEnd - 1
		case verdict == every:
			rows = appendRange(rows, i, parentEnd)
			i = parentEnd - 1
		case w.pattern.name(text[offsets[i]:offsets[i+1]]):
			rows = append(rows, uint32(i))
		}
	}
	return rows
}

// matching keeps those of rows whose names and directories match.
func (w *Search) matching(rows []uint32, b *layer.Block) []uint32 {
	if w.anyName {
		return rows
	}
	keep := rows[:0]
	parentEnd, verdict := 0, none
	for _, i := range rows {
		if int(i) >= parentEnd {
			parentEnd, verdict = b.ParentEnd(int(i)), w.pattern.directory(b.Parent(int(i)))
		}
		if verdict == every || verdict == byName && w.pattern.name(b.Name(int(i))) {
			keep = append(keep, i)
		}
	}
	return keep
}

func appendRange(rows []uint32, from, to int) []uint32 {
	for i := from; i < to; i++ {
		rows = append(rows, uint32(i))
	}
	return rows
}

// narrow keeps those rows of a block whose attributes are as wanted, column by column, the ones first that rule out
// most. A column is decoded only if there is something left and its bounds do not tell.
func (w *Search) narrow(rows []uint32, b *layer.Block) (_ []uint32, err error) {
	g := b.Group()
	for _, f := range [...]struct {
		column    layer.Column
		low, high int64
		needed    bool
	}{
		{layer.ColumnSize, w.MinSize, w.MaxSize, w.bySize()},
		{layer.ColumnMtimeNs, w.MinMtime, w.MaxMtime, w.byMtime()},
		{layer.ColumnUID, w.UID, w.UID, w.UID >= 0},
		{layer.ColumnRemoved, 0, 0, g.Removed > 0},
	} {
		if f.needed && len(rows) > 0 {
			if rows, err = b.Within(rows[:0], rows, f.column, f.low, f.high); err != nil {
				return nil, err
			}
		}
	}
	if len(rows) > 0 && g.Types&^w.typeBits != 0 {
		return b.Among(rows[:0], rows, layer.ColumnType, uint64(w.typeBits))
	}
	return rows, nil
}

// candidates are the rows of a span that may match by their names.
type candidates struct {
	probe   *probe // nil: all
	offsets []uint32
	to      int
}

// next is the first candidate at or after row i; to or beyond it if there is none.
func (c *candidates) next(i int) int {
	if c.probe == nil || i >= c.to {
		return i
	}
	at := c.probe.next(int(c.offsets[i]))
	// The row that has this byte: the last that begins at or before it.
	return i + sort.Search(c.to-i, func(j int) bool { return int(c.offsets[i+j+1]) > at })
}
