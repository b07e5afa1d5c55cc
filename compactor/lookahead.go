package compactor

import (
	"context"
	"sort"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/layer"
)

const (
	// lookaheadReads is how many reads a fold has under way.
	lookaheadReads = 16
	// lookaheadGap is how many bytes are rather read in vain than to make two requests, lookaheadRead how many one has.
	lookaheadGap, lookaheadRead = 160 << 10, 1 << 20
)

// lookahead reads the row groups that a walk will come to, some ahead of it: a fold of scattered changes would else wait
// for a request for each. What it cannot read the walk will find out.
type lookahead struct {
	cancel context.CancelFunc
	reads  []groupRead // in the order of the walk
	window int64       // bytes read and not passed, at most
	group  errgroup.Group
	done   chan struct{}

	mu     sync.Mutex
	moved  *sync.Cond
	passed int   // index of the first read that the walk has not passed
	ahead  int64 // bytes of those begun and not passed
	begun  int
	closed bool
}

// groupRead is one request: row groups that follow each other, and the last key that they are needed for.
type groupRead struct {
	layer    *layer.Layer
	from, to int
	bytes    int64
	last     layer.Key
}

// lookAhead begins to read what a batch speaks of.
func lookAhead(ctx context.Context, view *layer.View, b *batch, window int64) *lookahead {
	ctx, cancel := context.WithCancel(ctx)
	a := &lookahead{cancel: cancel, window: window, done: make(chan struct{})}
	a.moved = sync.NewCond(&a.mu)
	a.group.SetLimit(lookaheadReads)
	go func() {
		defer close(a.done)
		a.run(ctx, view, b)
		_ = a.group.Wait()
	}()
	return a
}

func (a *lookahead) run(ctx context.Context, view *layer.View, b *batch) {
	reads := plannedReads(ctx, view, b)
	a.mu.Lock()
	a.reads = reads
	a.mu.Unlock()
	for i := range reads {
		r := &reads[i]
		a.mu.Lock()
		for !a.closed && a.ahead > 0 && a.ahead+r.bytes > a.window {
			a.moved.Wait()
		}
		skip := i < a.passed
		if !skip {
			a.ahead += r.bytes
		}
		a.begun = i + 1
		closed := a.closed
		a.mu.Unlock()
		if closed {
			return
		}
		if !skip {
			a.group.Go(func() error { return r.layer.Warm(ctx, r.from, r.to) })
		}
	}
}

// pass says that the walk has come to a directory.
func (a *lookahead) pass(parent string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.passed < len(a.reads) && a.reads[a.passed].last.Parent < parent {
		if a.passed < a.begun {
			a.ahead -= a.reads[a.passed].bytes
		}
		a.passed++
	}
	a.moved.Signal()
}

func (a *lookahead) close() {
	a.mu.Lock()
	a.closed = true
	a.moved.Signal()
	a.mu.Unlock()
	a.cancel()
	<-a.done
}

// plannedReads are the requests for all names that a batch speaks of.
func plannedReads(ctx context.Context, view *layer.View, b *batch) []groupRead {
	parents := b.parents()
	p := readPlan{open: map[*layer.Layer]int{}, groups: map[*layer.Layer][]layer.Group{}}
	base, deltas := view.Base(), view.Deltas()
	each := func(yield func(*layer.Layer, layer.Key)) {
		for _, parent := range parents {
			last := "\x00"
			for i := range b.groups[parent].points {
				name := b.groups[parent].points[i].name
				if name == last {
					continue
				}
				last = name
				k := layer.Key{Parent: parent, Name: name}
				for _, l := range deltas {
					if info := l.Info(); info.Covers(k) {
						yield(l, k)
					}
				}
				at := sort.Search(len(base), func(i int) bool { info := base[i].Info(); return info.Last.Compare(k) >= 0 })
				if at < len(base) {
					if info := base[at].Info(); info.Covers(k) {
						yield(base[at], k)
					}
				}
			}
		}
	}
	each(func(l *layer.Layer, _ layer.Key) { p.groups[l] = nil })
	if !p.load(ctx) {
		return nil
	}
	each(p.need)
	return p.reads
}

// readPlan makes requests of names that come in order.
type readPlan struct {
	groups map[*layer.Layer][]layer.Group
	open   map[*layer.Layer]int // the last read of each layer
	reads  []groupRead
}

// load reads the layers' indexes.
func (p *readPlan) load(ctx context.Context) bool {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookaheadReads)
	layers := make([]*layer.Layer, 0, len(p.groups))
	for l := range p.groups {
		layers = append(layers, l)
	}
	for _, l := range layers {
		g.Go(func() error {
			groups, err := l.Groups(ctx)
			mu.Lock()
			p.groups[l] = groups
			mu.Unlock()
			return err
		})
	}
	return g.Wait() == nil
}

func (p *readPlan) need(l *layer.Layer, k layer.Key) {
	groups := p.groups[l]
	at, known := p.open[l]
	var r *groupRead
	if known {
		r = &p.reads[at]
		if groups[r.to-1].Covers(k) {
			r.last = k
			return
		}
	}
	i := sort.Search(len(groups), func(i int) bool { return groups[i].Last.Compare(k) >= 0 })
	if i == len(groups) || !groups[i].Covers(k) {
		return
	}
	if known && i >= r.to {
		gap := groups[i].Offset - groups[r.to-1].Offset - groups[r.to-1].Bytes
		if more := gap + groups[i].Bytes; gap <= lookaheadGap && r.bytes+more <= lookaheadRead {
			r.to, r.bytes, r.last = i+1, r.bytes+more, k
			return
		}
	}
	p.open[l] = len(p.reads)
	p.reads = append(p.reads, groupRead{layer: l, from: i, to: i + 1, bytes: groups[i].Bytes, last: k})
}
