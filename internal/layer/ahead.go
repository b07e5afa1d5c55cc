package layer

import "context"

// readAhead reads row groups in order with few, large requests: windows that begin small and double. The next window is read
// while one is used. The zero readAhead reads one row group at a time.
type readAhead struct {
	limit int64                                // bytes of a window; 0 turns it off
	until *Key                                 // groups from there on are not wanted; nil wants all
	skip  func(l *Layer, i int, g *Group) bool // nor are those that this says; nil: none

	last   GroupRef // the group that was asked for last
	window window
	next   chan window // at most one is under way; nil for none
	size   int64       // of the window last begun
}

// window is a sequence of row groups that were read at once.
type window struct {
	at  GroupRef
	raw []RawGroup
	err error
}

func (w *window) has(p GroupRef) bool {
	return w.at.Layer == p.Layer && p.Group >= w.at.Group && p.Group < w.at.Group+len(w.raw)
}

// firstWindow is the size of the first window after a jump, bytes: about two row groups.
const firstWindow = 256 << 10

// block is a row group's block.
func (a *readAhead) block(ctx context.Context, l *Layer, group int) (*Block, error) {
	p := GroupRef{l, group}
	follows := group > 0 && a.last == GroupRef{l, group - 1} || group == 0 && a.last.Layer != nil
	a.last = p
	if b := l.cache.block(l.cacheKey(group)); b != nil {
		return b, b.LoadKeys()
	}
	if a.limit <= 0 || !follows {
		a.size = 0
		return l.Block(ctx, group)
	}
	if err := a.advance(ctx, p); err != nil {
		return nil, err
	}
	return l.decoded(ctx, group, a.window.raw[group-a.window.at.Group])
}

// advance makes p part of the window.
func (a *readAhead) advance(ctx context.Context, p GroupRef) error {
	if a.window.has(p) {
		return nil
	}
	a.window = window{}
	if a.next != nil {
		select {
		case a.window = <-a.next:
		case <-ctx.Done():
			return ctx.Err()
		}
		a.next = nil
	}
	if !a.window.has(p) { // a failure of a read that nobody asked for does not count
		x, err := p.Layer.index(ctx)
		if err != nil {
			return err
		}
		a.window = a.read(ctx, x, p, a.end(x, p))
	}
	if a.window.err != nil {
		return a.window.err
	}
	return a.begin(ctx, p.Layer)
}

// begin starts to read what follows the window.
func (a *readAhead) begin(ctx context.Context, l *Layer) error {
	x, err := l.index(ctx)
	if err != nil {
		return err
	}
	p := GroupRef{l, a.window.at.Group + len(a.window.raw)}
	if p.Group >= len(x.groups) || !a.wanted(x, p) {
		return nil
	}
	end := a.end(x, p)
	next := make(chan window, 1) // so that nobody has to take it
	a.next = next
	go func() { next <- a.read(ctx, x, p, end) }()
	return nil
}

// wanted reports whether a group is worth reading before it is asked for.
func (a *readAhead) wanted(x *index, p GroupRef) bool {
	if a.skip != nil && a.skip(p.Layer, p.Group, &x.groups[p.Group]) {
		return false
	}
	return (a.until == nil || x.groups[p.Group].First.Compare(*a.until) < 0) && p.Layer.cache.block(p.Layer.cacheKey(p.Group)) == nil
}

// end is where a window that begins at p ends.
func (a *readAhead) end(x *index, p GroupRef) int {
	a.size = min(max(2*a.size, firstWindow), a.limit)
	end, n := p.Group+1, x.groups[p.Group].Bytes
	for end < len(x.groups) && n+x.groups[end].Bytes <= a.size && a.wanted(x, GroupRef{p.Layer, end}) {
		n += x.groups[end].Bytes
		end++
	}
	return end
}

func (*readAhead) read(ctx context.Context, x *index, p GroupRef, end int) window {
	raw, err := p.Layer.readGroups(ctx, x, p.Group, end)
	return window{at: p, raw: raw, err: err}
}
