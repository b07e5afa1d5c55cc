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

// A search scans the row groups that its plan chose, column by column: names and parents first, other columns only of rows whose
// names match. It builds a whole row only for a hit. Workers take the plan's shards in order, and the hits are emitted in key order,
// so that a search holds the hits of a few shards at most.
//
// Example: a search for *.bam with limit 1,000 whose plan has 400 shards. Shards 0 and 1 are handed out at first. If shard 0 has
// 3 hits, the window doubles: shards 1 to 4 are under way. Once 1,001 hits are emitted, the search ends, and what the workers still
// scan is thrown away.

const (
	// maxWindow bounds the shards of a search that are under way, and so its parallel requests to the store.
	maxWindow = 16
	// decodedSize is about how many bytes of memory one stored byte of a row group takes when it is decoded.
	decodedSize = 5
)

// hit is a row that the search looks for.
type hit struct {
	block *layer.Block
	row   int
}

// shardResult is what a worker found in a shard.
type shardResult struct {
	hits []hit
	err  error
}

// scan emits the hits of a plan's shards, up to limit of them; 0: all.
func (v *Version) scan(ctx context.Context, s *Search, p *plan, limit int, out Emit) error {
	costOf(ctx).skipped.Add(p.skipped)
	if len(p.shards) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the workers end by themselves
	q := newShardQueue(v, p)
	defer q.close()
	for range min(maxWindow, len(p.shards)) {
		go q.work(ctx, s, limit)
	}
	var row evidence.Row
	for i := range q.results {
		q.handOut(i)
		select {
		case found := <-q.results[i]:
			if err := v.emitHits(s, found, &row, out); err != nil {
				return err
			}
			q.release(i, limit == 0 || len(found.hits) <= limit/8)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// shardQueue hands the shards of one search to its workers, in order. The shard that is emitted next is always handed out. Those
// after it are handed out within a window, and only while the process has memory for reading ahead. The window grows while shards
// bring few hits: a search that finds enough in its first shards reads nothing else, and a search that finds little reads in parallel.
type shardQueue struct {
	v         *Version
	plan      *plan
	results   []chan shardResult
	handedOut chan int
	filter    nameFilter
	next      int     // the first shard that is not handed out
	window    int     // how many shards may be under way
	weights   []int64 // by shard: the bytes taken from the memory for reading ahead
}

func newShardQueue(v *Version, p *plan) *shardQueue {
	q := &shardQueue{v: v, plan: p, handedOut: make(chan int, maxWindow), window: 2,
		results: make([]chan shardResult, len(p.shards)), weights: make([]int64, len(p.shards))}
	kept := int64(0)
	for i := range q.results {
		q.results[i] = make(chan shardResult, 1)
		kept += int64(len(p.shards[i].groups))
	}
	if kept > p.skipped { // most row groups seem to have such a name: reading names first would cost one more round of requests
		q.filter.score.Store(-2)
	}
	return q
}

// handOut hands out as many shards as may be under way when shard i is emitted next.
func (q *shardQueue) handOut(i int) {
	for ; q.next < len(q.results) && q.next-i < q.window; q.next++ {
		weight := decodedSize * q.plan.shards[q.next].bytes
		if q.next > i {
			if !q.v.ahead.TryAcquire(weight) {
				return
			}
			q.weights[q.next] = weight
		}
		q.handedOut <- q.next // it has room for a whole window
	}
}

// release gives the memory of shard i back. With widen, the window doubles.
func (q *shardQueue) release(i int, widen bool) {
	q.v.ahead.Release(q.weights[i])
	q.weights[i] = 0
	if widen {
		q.window = min(2*q.window, maxWindow)
	}
}

// close ends the workers and gives back the memory that is left.
func (q *shardQueue) close() {
	close(q.handedOut)
	for _, weight := range q.weights {
		q.v.ahead.Release(weight)
	}
}

func (q *shardQueue) work(ctx context.Context, s *Search, limit int) {
	for i := range q.handedOut {
		q.results[i] <- q.v.scanShard(ctx, s, q.plan, &q.plan.shards[i], limit, &q.filter)
	}
}

// emitHits emits the hits of a shard.
func (v *Version) emitHits(s *Search, found shardResult, row *evidence.Row, out Emit) error {
	for _, h := range found.hits {
		if err := h.block.Shown(h.row, row); err != nil {
			return v.ReadError(err)
		}
		if s.atime {
			if err := h.block.Atime(h.row, row); err != nil {
				return v.ReadError(err)
			}
		}
		let, err := s.gate.entries(s.start(), row.Parent)
		if err != nil {
			return err
		}
		s.gate.conceal(row, let)
		if err := out(row); err != nil {
			return err
		}
	}
	return found.err
}

// scanShard finds the hits of a shard. With a limit it stops when it has more than limit: the page needs no more.
//
// Where the cache cannot hold the version, it reads the names of the row groups first, and the rest only of groups with a name that
// has the literal.
func (v *Version) scanShard(ctx context.Context, s *Search, p *plan, part *shard, limit int, filter *nameFilter) (found shardResult) {
	if ctx.Err() != nil {
		return shardResult{err: ctx.Err()}
	}
	var buffer []uint32
	rows := 0
	defer func() { costOf(ctx).rows.Add(int64(rows)) }()
	groups, skip := part.groups, p.skip
	var withLiteral map[layer.GroupRef]groupNames
	namesFirst := s.literal != nil && !s.filtered() && !v.cache.Spacious(v.bytes)
	if namesFirst && filter.worthwhile() {
		var err error
		if withLiteral, err = s.literal.groupsWithLiteral(ctx, groups, &rows, filter); err != nil {
			return shardResult{err: v.ReadError(err)}
		}
		if len(withLiteral) == 0 {
			return shardResult{}
		}
		groups = slices.Collect(maps.Keys(withLiteral))
		skip = func(l *layer.Layer, i int, g *layer.Group) bool {
			_, ok := withLiteral[layer.GroupRef{Layer: l, Group: i}]
			return !ok || p.skip(l, i, g)
		}
	}
	held, err := layer.Fetch(ctx, groups)
	if err != nil {
		return shardResult{err: v.ReadError(err)}
	}
	view, err := v.rows.through(ctx, s.gate, keyRange{part.from, part.until})
	if err != nil {
		return shardResult{err: v.ReadError(err)}
	}
	if namesFirst {
		for group, b := range held {
			held[group] = b.Detached(withLiteral[group].names, withLiteral[group].offsets)
		}
	}
	c := view.Cursor(ctx).Until(part.until).Skip(skip).Hold(held)
	for ok := c.Seek(part.from); ok; ok = c.NextSpan() {
		if ctx.Err() != nil {
			return shardResult{err: ctx.Err()}
		}
		b, first, end := c.Span()
		rows += end - first
		before := len(found.hits)
		if found.hits, found.err = s.searchSpan(found.hits, b, first, end, &buffer); found.err != nil {
			found.err = v.ReadError(found.err)
			return found
		}
		filter.note(len(found.hits) > before)
		if len(found.hits) > before { // decode now what emitHits will need: here it is done in parallel
			var row evidence.Row
			if err := b.Shown(found.hits[before].row, &row); err != nil {
				return shardResult{err: v.ReadError(err)}
			}
		}
		if limit > 0 && len(found.hits) > limit {
			return found
		}
	}
	if err := c.Err(); err != nil {
		found.err = v.ReadError(err)
	}
	return found
}

// groupNames are the names of a row group, as layer.Block.Names gives them.
type groupNames struct {
	names   string
	offsets []uint32
}

// groupsWithLiteral reads only the names of row groups, and returns the groups in which a name has the literal. It adds the rows of
// the other groups to rows. A row group of a delta may be left out like any other: the rows that it hides have the same names.
func (l *literal) groupsWithLiteral(ctx context.Context, groups []layer.GroupRef, rows *int, filter *nameFilter) (map[layer.GroupRef]groupNames, error) {
	found := map[layer.GroupRef]groupNames{}
	for len(groups) > 0 {
		of := groups[0].Layer
		var numbers []int
		for len(numbers) < len(groups) && groups[len(numbers)].Layer == of {
			numbers = append(numbers, groups[len(numbers)].Group)
		}
		groups = groups[len(numbers):]
		noted := func(has bool, count int) bool {
			if !has {
				*rows += count
				filter.note(false)
			}
			return has
		}
		err := of.ScanNames(ctx, numbers, func(_ int, names *layer.CodedNames) bool {
			return noted(l.inCoded(names), len(names.Shared))
		}, func(group int, text string, offsets []uint32) {
			if noted(l.in(text), len(offsets)-1) {
				found[layer.GroupRef{Layer: of, Group: group}] = groupNames{strings.Clone(text), slices.Clone(offsets)}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// nameFilter decides, for one search, whether reading the names of a row group before the rest of it is worthwhile. If most row
// groups have no hit, names alone are a third of the bytes and half of the work, and eight times as many groups fit into the cache.
// If most have a hit, reading names first is extra work.
type nameFilter struct{ score atomic.Int32 }

func (g *nameFilter) worthwhile() bool { return g.score.Load() >= 0 }

// note takes in whether a row group had a hit. The last few groups decide.
func (g *nameFilter) note(hit bool) {
	if score := g.score.Load(); hit && score > -4 {
		g.score.Add(-1)
	} else if !hit && score < 4 {
		g.score.Add(1)
	}
}

// searchSpan appends the hits among rows from to to-1 of a block. rows is a buffer to work in.
func (s *Search) searchSpan(hits []hit, b *layer.Block, from, to int, rows *[]uint32) (_ []hit, err error) {
	left, err := s.wanted((*rows)[:0], b, from, to)
	if err != nil {
		return hits, err
	}
	for _, i := range left {
		hits = append(hits, hit{b, int(i)})
	}
	*rows = left
	return hits, nil
}

// start is where the search begins, as the Parent of the entries there.
func (s *Search) start() string { return strings.TrimSuffix(s.Path, "/") + "/" }

// wanted appends to left, which is empty, those of the rows from to to-1 of a block that are hits, and that the reader may see.
func (s *Search) wanted(left []uint32, b *layer.Block, from, to int) ([]uint32, error) {
	left, err := s.matching(left, b, from, to)
	if err != nil {
		return left, err
	}
	return s.gate.keep(s.start(), s.byMoreThanType(), s.Empty, b, left)
}

// matching appends to left, which is empty, those of the rows from to to-1 of a block that are hits.
func (s *Search) matching(left []uint32, b *layer.Block, from, to int) (_ []uint32, err error) {
	if g := b.Group(); s.excludes(&g) {
		return left, nil
	}
	// Decoding names costs more than decoding the attributes that a search asks for.
	attributesFirst := s.filtered() && !b.Keyed()
	if attributesFirst {
		if left, err = s.filterAttributes(appendRange(left, from, to), b); len(left) == 0 {
			return left, err
		}
	}
	if err := b.LoadKeys(); err != nil {
		return left, err
	}
	if attributesFirst {
		return s.filterRowsByName(left, b), nil
	}
	return s.filterAttributes(s.filterNames(left, b, from, to), b)
}

// filterNames appends those of the rows from to to-1 of a block whose directories and names match the pattern.
func (s *Search) filterNames(rows []uint32, b *layer.Block, from, to int) []uint32 {
	if s.anyName {
		return appendRange(rows, from, to)
	}
	text, offsets := b.Names()
	next := candidates{offsets: offsets, to: to}
	if s.literal != nil {
		next.finder = s.literal.finder(text[:offsets[to]], b.ASCII())
	}
	parentEnd, verdict := 0, matchesNone
	for i := next.next(from); i < to; i = next.next(i + 1) {
		if i >= parentEnd {
			parentEnd, verdict = min(to, b.ParentEnd(i)), s.pattern.directory(b.Parent(i))
		}
		switch {
		case verdict == matchesNone:
			i = parentEnd - 1
		case verdict == matchesAll:
			rows = appendRange(rows, i, parentEnd)
			i = parentEnd - 1
		case s.pattern.name(b.Parent(i), text[offsets[i]:offsets[i+1]]):
			rows = append(rows, uint32(i))
		}
	}
	return rows
}

// filterRowsByName keeps those rows whose directories and names match the pattern.
func (s *Search) filterRowsByName(rows []uint32, b *layer.Block) []uint32 {
	if s.anyName {
		return rows
	}
	keep := rows[:0]
	parentEnd, verdict := 0, matchesNone
	for _, i := range rows {
		if int(i) >= parentEnd {
			parentEnd, verdict = b.ParentEnd(int(i)), s.pattern.directory(b.Parent(int(i)))
		}
		if verdict == matchesAll || verdict == matchesByName && s.pattern.name(b.Parent(int(i)), b.Name(int(i))) {
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

// candidates are the rows of a span whose names may match.
type candidates struct {
	finder  *literalFinder // nil: every row is a candidate
	offsets []uint32
	to      int
}

// next is the first candidate at or after row i; to, or more, if there is none.
func (c *candidates) next(i int) int {
	if c.finder == nil || i >= c.to {
		return i
	}
	at := c.finder.next(int(c.offsets[i]))
	// The name that this byte is part of: the last that begins at or before it.
	return i + sort.Search(c.to-i, func(j int) bool { return int(c.offsets[i+j+1]) > at })
}
