package engine

import (
	"context"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// Walks go through the rows of a directory or a subtree in key order and leave out what is removed. No name and no
// parent has a NUL, and a parent ends in a slash, so that the key ranges below hold exactly what they are meant to.

const (
	// streamAhead is how many bytes of a layer a long walk reads at once.
	streamAhead = 2 << 20
	// longWalk is from how many rows on a walk is long; row groups have about so many.
	longWalk = 8 << 10
	// checkEvery is after how many rows a walk looks whether anybody still waits for it.
	checkEvery = 1 << 12
)

// keyAfter is the first key after k.
func keyAfter(k layer.Key) layer.Key { return layer.Key{Parent: k.Parent, Name: k.Name + "\x00"} }

// childrenEnd is the first key after the entries with that parent.
func childrenEnd(parent string) layer.Key { return layer.Key{Parent: parent + "\x00"} }

// subtreeEnd is the first key after everything below the directory with that parent: '0' comes after '/'.
func subtreeEnd(parent string) layer.Key {
	return layer.Key{Parent: parent[:len(parent)-1] + "0"}
}

// walk is one pass over a range of rows.
type walk struct {
	ctx    context.Context
	v      *Version
	cursor *layer.Cursor
	row    evidence.Row
	n      int
}

// walk makes a pass up to a key; limit is how many rows are expected at most, 0 any number.
func (v *Version) walk(ctx context.Context, until layer.Key, limit int) *walk {
	c := v.view.Cursor(ctx).Until(until)
	if limit == 0 || limit > longWalk {
		c.ReadAhead(streamAhead)
	}
	return &walk{ctx: ctx, v: v, cursor: c}
}

// seek goes to the first row of the range that comes after the position, or at or after from where there is none.
func (w *walk) seek(from layer.Key, after *Position) bool {
	if after != nil {
		if next := keyAfter(after.Key); next.Compare(from) > 0 {
			from = next
		}
	}
	return w.cursor.Seek(from)
}

// emit passes the row at the place on, unless it is removed.
func (w *walk) emit(out Emit) error {
	if w.n++; w.n%checkEvery == 0 {
		if err := w.ctx.Err(); err != nil {
			return err
		}
	}
	if err := w.cursor.Shown(&w.row); err != nil {
		return w.v.fail(err)
	}
	if w.row.Removed {
		return nil
	}
	return out(&w.row)
}

// charge has the rows that were passed counted.
func (w *walk) charge() { costOf(w.ctx).rows.Add(int64(w.n)) }

// end is what ended the pass early, if anything did.
func (w *walk) end() error {
	if err := w.cursor.Err(); err != nil {
		return w.v.fail(err)
	}
	return nil
}

// children emits the entries of a directory after a position.
func (v *Version) children(ctx context.Context, parent string, after *Position, limit int, out Emit) error {
	w := v.walk(ctx, childrenEnd(parent), limit)
	defer w.charge()
	for ok := w.seek(layer.Key{Parent: parent}, after); ok; ok = w.cursor.Next() {
		if err := w.emit(out); err != nil {
			return err
		}
	}
	return w.end()
}

// subtree emits what is below a directory, depth levels of it, after a position. What lies deeper is jumped over.
func (v *Version) subtree(ctx context.Context, parent string, depth int, after *Position, limit int, out Emit) error {
	w := v.walk(ctx, subtreeEnd(parent), limit)
	defer w.charge()
	slashes := strings.Count(parent, "/") + depth // as many in a parent are too deep
	inside, deep := "", 0
	for ok := w.seek(layer.Key{Parent: parent}, after); ok; {
		if p := w.cursor.Key().Parent; p != inside {
			inside, deep = p, endOfSlash(p, slashes)
		}
		if deep > 0 {
			ok = w.cursor.Seek(subtreeEnd(inside[:deep]))
			continue
		}
		if err := w.emit(out); err != nil {
			return err
		}
		ok = w.cursor.Next()
	}
	return w.end()
}

// endOfSlash is where the nth slash of s ends; 0 if it has fewer.
func endOfSlash(s string, n int) int {
	for i := 0; i < len(s); i++ {
		if s[i] == '/' {
			if n--; n == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// Below emits what is below a directory, depth levels of it, in the order of the rows: after a position, up to limit.
func (v *Version) Below(ctx context.Context, root *evidence.Row, depth int, after *Position, limit int, out Emit) (*Position, error) {
	if root.Type != event.Directory || depth == 0 {
		return nil, nil
	}
	page := limited{limit: limit, emit: out}
	if depth == 1 {
		return page.end(v.children(ctx, root.ChildParent(), after, limit, page.take))
	}
	return page.end(v.subtree(ctx, root.ChildParent(), depth, after, limit, page.take))
}
