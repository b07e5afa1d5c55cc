package compactor

import (
	"context"
	"sort"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/layer"
)

const (
	// lookaheadReads is how many requests a fold makes at once.
	lookaheadReads = 16
	// lookaheadShare: one read may take this part of maxBytes, as a delta's read may be held for the whole walk.
	lookaheadShare = 16
	// decodedShare is about how much larger a row group is in memory than in its object.
	decodedShare = 5
)

// lookahead reads the row groups that a walk will need, ahead of it; otherwise a fold of scattered changes would wait for one
// request after the other. It holds them until the walk has passed them, whatever the cache does, so that each is read once.
// It ignores errors: the walk reads what is missing itself, and reports the error.
//
// The walk never waits for memory: what it needs now is read at once, beyond maxBytes if it must be (block).
type lookahead struct {
	ctx      context.Context
	cancel   context.CancelFunc
	maxBytes int64 // of row groups in memory, begun and not passed
	group    errgroup.Group
	done     chan struct{}

	planned chan struct{} // closed once reads and byGroup are there
	reads   []groupRead   // in the order of the walk
	byGroup map[layer.GroupRef]*groupRead

	mu        sync.Mutex
	moved     *sync.Cond
	position  string       // the walk's current directory
	bytesHeld int64        // bytes of the reads begun and not passed
	open      []*groupRead // these reads
	first     string       // the smallest of their last parents: before it there is nothing to free
	closed    bool
}

// groupRead is one request: neighbouring row groups of a layer, and the last directory that they are needed for.
type groupRead struct {
	groups []layer.GroupRef
	bytes  int64 // in memory
	last   string
	begun  bool
	passed bool
	held   layer.Held
	done   chan struct{} // closed once held is there, or cannot be
}

// lookaheadBytes is how many bytes a fold of this batch may read ahead: a small batch leaves room.
func (c *Compactor) lookaheadBytes(b *batch, turn *turn) int64 {
	return c.o.CacheBytes/2 + int64(max(0, turn.claims-b.size))*bytesPerClaim/4
}

// lookAhead begins to read what is needed for the claims of some groups, which come in order.
func lookAhead(ctx context.Context, view *layer.View, groups []*group, window int64) *lookahead {
	a := &lookahead{maxBytes: window, done: make(chan struct{}), planned: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.moved = sync.NewCond(&a.mu)
	a.group.SetLimit(lookaheadReads)
	go func() {
		defer close(a.done)
		a.plan(view, groups)
		a.run()
		_ = a.group.Wait()
	}()
	return a
}

func (a *lookahead) plan(view *layer.View, groups []*group) {
	defer close(a.planned)
	a.reads = plannedReads(a.ctx, view, groups, a.maxBytes/lookaheadShare)
	a.byGroup = map[layer.GroupRef]*groupRead{}
	for i := range a.reads {
		r := &a.reads[i]
		r.done = make(chan struct{})
		for _, p := range r.groups {
			a.byGroup[p] = r
		}
	}
}

func (a *lookahead) run() {
	for i := range a.reads {
		r := &a.reads[i]
		a.mu.Lock()
		for !a.closed && !r.begun && r.last >= a.position && a.bytesHeld > 0 && a.bytesHeld+r.bytes > a.maxBytes {
			a.moved.Wait()
		}
		closed, skip := a.closed, r.begun || r.last < a.position
		if !closed && !skip {
			a.begin(r)
		}
		a.mu.Unlock()
		if closed {
			return
		}
		if !skip {
			a.group.Go(func() error { a.read(r); return nil })
		}
	}
}

// begin counts a read as begun; a.mu is held.
func (a *lookahead) begin(r *groupRead) {
	r.begun = true
	a.bytesHeld += r.bytes
	if len(a.open) == 0 || r.last < a.first {
		a.first = r.last
	}
	a.open = append(a.open, r)
}

func (a *lookahead) read(r *groupRead) {
	held, _ := layer.Fetch(a.ctx, r.groups)
	for _, b := range held {
		_ = b.Prepare() // here, where several do so at once
	}
	a.mu.Lock()
	if !r.passed {
		r.held = held
	}
	a.mu.Unlock()
	close(r.done)
}

// block is a row group that the walk needs now. It waits for a read that is under way, and does one that has not begun. It
// is nil if none was planned, or the read failed.
func (a *lookahead) block(p layer.GroupRef) *layer.Block {
	<-a.planned
	r := a.byGroup[p]
	if r == nil {
		return nil
	}
	a.mu.Lock()
	mine := !r.begun
	if mine {
		a.begin(r)
	}
	a.mu.Unlock()
	if mine {
		a.read(r)
	}
	<-r.done
	a.mu.Lock()
	defer a.mu.Unlock()
	return r.held[p]
}

// moveTo says that the walk is at a directory: reads that are needed only before it are let go.
func (a *lookahead) moveTo(parent string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.position = parent
	if len(a.open) == 0 || a.first >= parent {
		return
	}
	kept := a.open[:0]
	for _, r := range a.open {
		if r.last < parent {
			r.passed, r.held = true, nil
			a.bytesHeld -= r.bytes
			continue
		}
		if len(kept) == 0 || r.last < a.first {
			a.first = r.last
		}
		kept = append(kept, r)
	}
	clear(a.open[len(kept):])
	a.open = kept
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

// plannedReads are the requests for all names of some groups, of at most about limit bytes in memory each.
func plannedReads(ctx context.Context, view *layer.View, groups []*group, limit int64) []groupRead {
	p := readPlan{limit: limit, deltas: layersToRead(view.Deltas()), base: layersToRead(view.Base())}
	for _, g := range groups {
		p.each(g, func(l *layerReads, _ *group) { l.wanted = true })
	}
	if !p.load(ctx) {
		return nil
	}
	p.at = 0
	for _, g := range groups {
		p.each(g, p.addClaims)
	}
	return p.reads
}

// readPlan turns names, which come in order, into requests.
type readPlan struct {
	deltas, base []layerReads
	limit        int64
	at           int // the first base partition that does not end before the current names
	reads        []groupRead
}

// layerReads is a layer, and how far the plan has come in it.
type layerReads struct {
	layer  *layer.Layer
	info   layer.Info
	wanted bool
	groups []layer.Group
	at     int // the first row group that does not end before the current names
	open   int // the index of the layer's last read, plus 1; 0: none yet
}

func layersToRead(layers []*layer.Layer) []layerReads {
	out := make([]layerReads, len(layers))
	for i, l := range layers {
		out[i] = layerReads{layer: l, info: l.Info()}
	}
	return out
}

// each calls use with the layers that may have something for the claims about a directory's entries. Directories come in order.
func (p *readPlan) each(g *group, use func(*layerReads, *group)) {
	if len(g.claims) == 0 {
		return
	}
	first, last := g.keyRange()
	for i := range p.deltas {
		if l := &p.deltas[i]; l.info.First.Compare(last) <= 0 && first.Compare(l.info.Last) <= 0 {
			use(l, g)
		}
	}
	for p.at < len(p.base) && p.base[p.at].info.Last.Compare(first) < 0 {
		p.at++
	}
	for i := p.at; i < len(p.base) && p.base[i].info.First.Compare(last) <= 0; i++ {
		use(&p.base[i], g)
	}
}

// keyRange is the first and the last key that a group has a claim about.
func (g *group) keyRange() (first, last layer.Key) {
	return layer.Key{Parent: g.parent, Name: g.claims[0].name}, layer.Key{Parent: g.parent, Name: g.claims[len(g.claims)-1].name}
}

// load reads the indexes of the layers that are wanted.
func (p *readPlan) load(ctx context.Context) bool {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookaheadReads)
	for _, layers := range [][]layerReads{p.deltas, p.base} {
		for i := range layers {
			l := &layers[i]
			if !l.wanted {
				continue
			}
			g.Go(func() (err error) {
				l.groups, err = l.layer.Groups(ctx)
				return err
			})
		}
	}
	return g.Wait() == nil
}

// addClaims plans the reads of one layer for what is said of a directory's entries: mostly they are all in one row group.
func (p *readPlan) addClaims(l *layerReads, g *group) {
	first, last := g.keyRange()
	l.advance(first)
	if l.at < len(l.groups) && last.Compare(l.groups[l.at].Last) <= 0 {
		if last.Compare(l.groups[l.at].First) >= 0 {
			p.addGroup(l, last)
		}
		return
	}
	for i := range g.claims {
		k := layer.Key{Parent: g.parent, Name: g.claims[i].name}
		if l.advance(k); l.at < len(l.groups) && l.groups[l.at].Covers(k) {
			p.addGroup(l, k)
		}
	}
}

// advance goes to the row group that has k, if there is one: in steps that double, as it is mostly near.
func (l *layerReads) advance(k layer.Key) {
	ended := func(i int) bool { return l.groups[i].Last.Compare(k) < 0 }
	step := 1
	for l.at+step < len(l.groups) && ended(l.at+step-1) {
		l.at, step = l.at+step, 2*step
	}
	end := min(l.at+step, len(l.groups))
	l.at += sort.Search(end-l.at, func(i int) bool { return !ended(l.at + i) })
}

// addGroup adds the row group that a layer has come to, up to a key: to the layer's last request, if it is not far from there.
func (p *readPlan) addGroup(l *layerReads, k layer.Key) {
	group := &l.groups[l.at]
	var r *groupRead
	if l.open > 0 {
		r = &p.reads[l.open-1]
		last := &l.groups[r.groups[len(r.groups)-1].Group]
		if last == group {
			r.last = k.Parent
			return
		}
		from, end := l.groups[r.groups[0].Group].Offset, last.Offset+last.Bytes
		if group.Offset-end > layer.CoalesceGap || group.Offset+group.Bytes-from > layer.MaxRange ||
			r.bytes+decodedShare*group.Bytes > p.limit {
			r = nil
		}
	}
	if r == nil {
		p.reads = append(p.reads, groupRead{})
		l.open = len(p.reads)
		r = &p.reads[l.open-1]
	}
	r.groups = append(r.groups, layer.GroupRef{Layer: l.layer, Group: l.at})
	r.bytes, r.last = r.bytes+decodedShare*group.Bytes, k.Parent
}
