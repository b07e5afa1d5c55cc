package v2rows

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// fanIn is how many runs of rows are merged at once: each takes a chunk of memory. Tests make it small.
var fanIn = 64

// run is sorted rows: the keys of its chunks, in order.
type run []string

// merge brings the staged rows of a round into order, in bounded memory: many runs are merged into fewer until fanIn are left.
type merge struct {
	rows     *Rows
	view, id string
	held     *heldRound
	renewed  time.Time
}

// reduce returns runs, at most fanIn of them, of which the later ones came later.
func (m *merge) reduce(ctx context.Context) (*mergedRuns, error) {
	prefix := layout.Staged(m.view, m.id, m.held.Number)
	var runs []run
	err := eachAfter(ctx, m.rows.o.Store, prefix+"0-", "", func(i store.Item) { runs = append(runs, run{i.Key}) })
	if err != nil {
		return nil, err
	}
	for level := 1; len(runs) > fanIn; level++ {
		var next []run
		for group := range slices.Chunk(runs, fanIn) {
			merged, err := m.write(ctx, fmt.Sprintf("%s%d-%06d", prefix, level, len(next)), group)
			if err != nil {
				return nil, err
			}
			next = append(next, merged)
		}
		runs = next
	}
	return mergeRuns(ctx, m.rows.o.Store, runs)
}

// write merges runs into one.
func (m *merge) write(ctx context.Context, prefix string, runs []run) (merged run, err error) {
	in, err := mergeRuns(ctx, m.rows.o.Store, runs)
	if err != nil {
		return nil, err
	}
	c := chunk{}
	put := func() error {
		if c.rows == 0 {
			return nil
		}
		key := fmt.Sprintf("%s-%06d", prefix, len(merged))
		// Who merges the same runs once more writes the same.
		if _, err := m.rows.o.Store.Put(ctx, key, c.take()); err != nil {
			return fmt.Errorf("merge staged rows: %w", err)
		}
		merged = append(merged, key)
		return m.renew(ctx)
	}
	for {
		s, ok, err := in.next(ctx)
		if err != nil {
			return nil, err
		}
		if !ok {
			return merged, put()
		}
		if c.add(&s); c.full() {
			if err := put(); err != nil {
				return nil, err
			}
		}
	}
}

// renew shows others that this process still works on the round.
func (m *merge) renew(ctx context.Context) error {
	if time.Since(m.renewed) < claimLife/4 {
		return nil
	}
	m.renewed = time.Now()
	return m.rows.replace(ctx, m.view, m.id, m.held, m.held.round)
}

// mergedRuns reads several runs as one: of rows with one key that of the latest run.
type mergedRuns struct {
	store store.Store
	heap  runHeap
}

// runCursor stands at a row of a run.
type runCursor struct {
	chunks run
	order  int
	reader chunkReader
	at     staged
}

func mergeRuns(ctx context.Context, s store.Store, runs []run) (*mergedRuns, error) {
	m := &mergedRuns{store: s}
	for i, r := range runs {
		c := &runCursor{chunks: r, order: i}
		ok, err := c.advance(ctx, s)
		if err != nil {
			return nil, err
		}
		if ok {
			m.heap = append(m.heap, c)
		}
	}
	heap.Init(&m.heap)
	return m, nil
}

// advance goes on to the next row.
func (c *runCursor) advance(ctx context.Context, s store.Store) (ok bool, err error) {
	for {
		if c.at, ok, err = c.reader.next(); err != nil || ok {
			return ok, err
		}
		if len(c.chunks) == 0 {
			return false, nil
		}
		key := c.chunks[0]
		c.chunks = c.chunks[1:]
		o, err := s.Get(ctx, key)
		if err == nil {
			c.reader, err = openChunk(o.Body)
		}
		if err != nil {
			return false, fmt.Errorf("read %s: %w", key, err)
		}
	}
}

// next is the next row; not ok is the end.
func (m *mergedRuns) next(ctx context.Context) (s staged, ok bool, err error) {
	for len(m.heap) > 0 {
		c := m.heap[0]
		s = c.at
		more, err := c.advance(ctx, m.store)
		if err != nil {
			return s, false, err
		}
		if more {
			heap.Fix(&m.heap, 0)
		} else {
			heap.Pop(&m.heap)
		}
		if len(m.heap) == 0 || s.compare(&m.heap[0].at) != 0 {
			return s, true, nil
		}
	}
	return s, false, nil
}

// runHeap has the smallest row first, and of equal ones that which came first.
type runHeap []*runCursor

func (h runHeap) Len() int { return len(h) }
func (h runHeap) Less(i, j int) bool {
	return cmp.Or(h[i].at.compare(&h[j].at), cmp.Compare(h[i].order, h[j].order)) < 0
}
func (h runHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)   { *h = append(*h, x.(*runCursor)) }
func (h *runHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
