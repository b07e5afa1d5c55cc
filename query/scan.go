package query

import (
	"context"
	"runtime"
	"slices"
	"sort"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// A scan looks at a range of keys by column: at names and parents first, at other columns only where those match, and
// makes rows only of what is wanted. The range is cut into shards that workers take in order; what they find is used in
// key order, so that a scan holds a few shards' hits at most.

const (
	// shardGroups is how many row groups a shard has about.
	shardGroups = 4
	// shardAhead is how many bytes of a layer a worker reads at once.
	shardAhead = 1 << 20
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

// scan emits what is wanted of the keys from from up to until; limit is how many are used at most, 0 all.
func (v *version) scan(ctx context.Context, w *wanted, from, until layer.Key, limit int, out emit) error {
	bounds, err := v.shards(ctx, from, until)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the workers end by themselves
	results := make([]chan shard, len(bounds)-1)
	for i := range results {
		results[i] = make(chan shard, 1)
	}
	workers := min(runtime.GOMAXPROCS(0), len(results))
	tickets := make(chan struct{}, 2*workers) // shards begun and not used up
	turns := make(chan int)
	go func() {
		defer close(turns)
		for i := range results {
			select {
			case tickets <- struct{}{}:
				turns <- i
			case <-ctx.Done():
				return
			}
		}
	}()
	for range workers {
		go func() {
			for i := range turns {
				results[i] <- v.scanShard(ctx, w, bounds[i], bounds[i+1], limit)
			}
		}()
	}
	var row evidence.Row
	for _, result := range results {
		select {
		case found := <-result:
			if err := v.use(found, &row, out); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		<-tickets
	}
	return nil
}

// use emits a shard's hits.
func (v *version) use(found shard, row *evidence.Row, out emit) error {
	for _, h := range found.hits {
		if err := h.block.Row(h.row, row); err != nil {
			return v.fail(err)
		}
		if err := out(row); err != nil {
			return err
		}
	}
	return found.err
}

// shards cuts a range of keys where row groups begin, in whatever layer: the first bound is from, the last is until.
func (v *version) shards(ctx context.Context, from, until layer.Key) ([]layer.Key, error) {
	layers := slices.Concat(v.view.Deltas(), v.view.Base())
	groups := make([][]layer.Group, len(layers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, l := range layers {
		if info := l.Info(); info.Last.Compare(from) < 0 || info.First.Compare(until) >= 0 {
			continue
		}
		g.Go(func() (err error) {
			groups[i], err = l.Groups(gctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, v.fail(err)
	}
	var starts []layer.Key
	for i := range groups {
		for j := range groups[i] {
			if first := groups[i][j].First; first.Compare(from) > 0 && first.Compare(until) < 0 {
				starts = append(starts, first)
			}
		}
	}
	slices.SortFunc(starts, layer.Key.Compare)
	bounds := []layer.Key{from}
	for i := shardGroups - 1; i < len(starts); i += shardGroups {
		if starts[i] != bounds[len(bounds)-1] {
			bounds = append(bounds, starts[i])
		}
	}
	return append(bounds, until), nil
}

// scanShard finds what is wanted of a part of the range, limit+1 hits at most if there is a limit.
func (v *version) scanShard(ctx context.Context, w *wanted, from, until layer.Key, limit int) (found shard) {
	c := v.view.Cursor(ctx).Until(until).ReadAhead(shardAhead).SkipBase(w.none)
	for ok := c.Seek(from); ok; ok = c.NextSpan() {
		if ctx.Err() != nil {
			return shard{err: ctx.Err()}
		}
		b, first, end := c.Span()
		before := len(found.hits)
		if found.hits, found.err = w.span(found.hits, b, first, end); found.err != nil {
			found.err = v.fail(found.err)
			return found
		}
		if len(found.hits) > before { // decode here what use will need, as here it is done in parallel
			var row evidence.Row
			if err := b.Row(found.hits[before].row, &row); err != nil {
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

// span appends the hits among rows from to to-1 of a block.
func (w *wanted) span(hits []hit, b *layer.Block, from, to int) ([]hit, error) {
	if g := b.Group(); w.none(&g) {
		return hits, nil
	}
	text, offsets := b.Names()
	var columns *attributes
	rows := candidates{offsets: offsets, to: to}
	if w.literal != nil {
		rows.probe = w.literal.probe(text[:offsets[to]])
	}
	parentEnd, verdict := 0, none
	for i := rows.next(from); i < to; i = rows.next(i + 1) {
		if i >= parentEnd {
			parentEnd, verdict = b.ParentEnd(i), w.pattern.directory(b.Parent(i))
		}
		if verdict == none {
			i = parentEnd - 1
			continue
		}
		if verdict == byName && !w.pattern.name(text[offsets[i]:offsets[i+1]]) {
			continue
		}
		if columns == nil {
			var err error
			if columns, err = attributesOf(b); err != nil {
				return nil, err
			}
		}
		if columns.wanted(w, i) {
			hits = append(hits, hit{b, i})
		}
	}
	return hits, nil
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

// attributes are the columns that a search looks at beside the names.
type attributes struct{ kind, size, mtime, uid, removed *layer.Numbers }

func attributesOf(b *layer.Block) (*attributes, error) {
	a := &attributes{}
	for _, column := range []struct {
		to *(*layer.Numbers)
		of layer.Column
	}{
		{&a.kind, layer.ColumnType}, {&a.size, layer.ColumnSize}, {&a.mtime, layer.ColumnMtimeNs},
		{&a.uid, layer.ColumnUID}, {&a.removed, layer.ColumnRemoved},
	} {
		var err error
		if *column.to, err = b.Numbers(column.of); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *attributes) wanted(w *wanted, i int) bool {
	return a.removed.At(i) == 0 && w.attributes(a.kind.At(i), a.size.At(i), a.mtime.At(i), a.uid.At(i))
}
