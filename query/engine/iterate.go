package engine

import (
	"context"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// A rowIterator passes over the rows of a directory or a subtree in key order and leaves out removed rows. The ranges of keys below
// are exact, because no name and no parent has a NUL, and every parent ends in a slash.
//
// Example: the entries of /a are the keys from {"/a/", ""} up to {"/a/\x00", ""}; everything below /a is from {"/a/", ""} up to
// {"/a0", ""}, as '0' is the byte after '/'. So "/a-b/" and "/a.txt" are not below "/a".

const (
	// streamAhead is how many bytes of a layer a long iteration reads with one request.
	streamAhead = 2 << 20
	// longIteration is from how many rows on an iteration is long: about a row group.
	longIteration = 8 << 10
	// checkEvery is after how many rows an iteration checks whether its context has ended.
	checkEvery = 1 << 12
)

// keyAfter is the first key after k.
func keyAfter(k layer.Key) layer.Key { return layer.Key{Parent: k.Parent, Name: k.Name + "\x00"} }

// childrenEnd is the first key after the entries with that parent.
func childrenEnd(parent string) layer.Key { return layer.Key{Parent: parent + "\x00"} }

// subtreeEnd is the first key after everything below the directory whose entries have that parent.
func subtreeEnd(parent string) layer.Key {
	return layer.Key{Parent: parent[:len(parent)-1] + "0"}
}

// rowIterator is one pass over a range of rows.
type rowIterator struct {
	ctx    context.Context
	v      *Version
	gate   *gate  // nil: everything is emitted
	start  string // where the question begins: the Parent of that directory's entries
	rows   *layer.Cursor
	row    evidence.Row
	passed int  // rows
	atime  bool // rows have the day of their last access

	inside string  // the Parent of the row before
	let    verdict // what the gate lets through of its entries
	asked  bool    // whether whole is known
	whole  bool    // the gate lets everything through: gate.wholly
}

// iterate returns a pass up to a key, for a question that begins at the directory whose entries have the Parent start. limit is how many
// rows the caller takes at most; 0: all. Only long passes read ahead.
func (v *Version) iterate(ctx context.Context, start string, until layer.Key, limit int) (*rowIterator, error) {
	g, err := v.gate(ctx)
	if err != nil {
		return nil, err
	}
	return v.through(ctx, g, start, until, limit)
}

// through is iterate for who passes a gate.
func (v *Version) through(ctx context.Context, g *gate, start string, until layer.Key, limit int) (*rowIterator, error) {
	view, err := v.rows.through(ctx, g, keyRange{layer.Key{Parent: start}, until})
	if err != nil {
		return nil, v.ReadError(err)
	}
	c := view.Cursor(ctx).Until(until)
	if ahead := aheadFor(limit); ahead > 0 {
		c.ReadAhead(ahead)
	}
	return &rowIterator{ctx: ctx, v: v, gate: g, start: start, rows: c, atime: asksAtime(ctx)}, nil
}

// shown goes from the position, if ok, to the next row that the gate lets through and that is not removed, and reads it: whatever is to
// be concealed of it is still there. complete: with all columns.
func (it *rowIterator) shown(ok, complete bool) (bool, error) {
	for ; ok; ok = it.rows.Next() {
		if it.passed++; it.passed%checkEvery == 0 {
			if err := it.ctx.Err(); err != nil {
				return false, err
			}
		}
		for {
			some, err := it.enter()
			if err != nil {
				return false, err
			}
			if some {
				break
			}
			if !it.rows.Seek(subtreeEnd(it.inside)) {
				return false, it.end()
			}
		}
		read := it.rows.Shown
		if complete {
			read = it.rows.Row
		}
		if err := read(&it.row); err != nil {
			return false, it.v.ReadError(err)
		}
		if it.row.Removed {
			continue
		}
		if it.let == everything && !it.whole {
			if err := it.gate.note(&it.row); err != nil {
				return false, err
			}
		}
		return true, nil
	}
	return false, it.end()
}

type atimeKey struct{}

// WithAtime returns a context whose searches and trees emit rows with the day of their last access, and when they were observed.
func WithAtime(ctx context.Context) context.Context { return context.WithValue(ctx, atimeKey{}, true) }

func asksAtime(ctx context.Context) bool { return ctx.Value(atimeKey{}) != nil }

// seek goes to the first row of the range after the position, or at from and later without one. False if there is none.
func (it *rowIterator) seek(from layer.Key, after *Position) bool {
	if after != nil {
		if next := after.next(); next.Compare(from) > 0 {
			from = next
		}
	}
	return it.rows.Seek(from)
}

// emit emits the current row, unless it is removed.
func (it *rowIterator) emit(out Emit) error {
	if it.passed++; it.passed%checkEvery == 0 {
		if err := it.ctx.Err(); err != nil {
			return err
		}
	}
	if err := it.rows.Shown(&it.row); err != nil {
		return it.v.ReadError(err)
	}
	if it.row.Removed {
		return nil
	}
	if it.atime {
		if err := it.rows.Atime(&it.row); err != nil {
			return it.v.ReadError(err)
		}
	}
	if it.gate != nil {
		if it.let == everything && !it.whole {
			if err := it.gate.note(&it.row); err != nil {
				return err
			}
		}
		it.gate.conceal(&it.row, it.let)
	}
	return out(&it.row)
}

// enter notes which directory the current row is in, and reports whether the gate lets anything of its entries through. If not, nothing
// below it is let through either.
func (it *rowIterator) enter() (some bool, err error) {
	if it.gate == nil {
		return true, nil
	}
	if !it.asked {
		if it.whole, err = it.gate.wholly(it.start); err != nil {
			return false, err
		}
		it.asked = true
	}
	if it.whole {
		it.let = everything
		return true, nil
	}
	if p := it.rows.Key().Parent; p != it.inside || it.let == nothing {
		it.inside = p
		it.let, err = it.gate.entries(it.start, p)
	}
	return it.let != nothing, err
}

// charge adds the rows passed to the cost.
func (it *rowIterator) charge() { costOf(it.ctx).rows.Add(int64(it.passed)) }

// end is the error that ended the pass; nil if it came to its end.
func (it *rowIterator) end() error {
	if err := it.rows.Err(); err != nil {
		return it.v.ReadError(err)
	}
	return nil
}

// children emits the entries of a directory after a position.
func (v *Version) children(ctx context.Context, parent string, after *Position, limit int, out Emit) error {
	it, err := v.iterate(ctx, parent, childrenEnd(parent), limit)
	if err != nil {
		return err
	}
	defer it.charge()
	if it.let, err = it.gate.entries(parent, parent); err != nil || it.let == nothing {
		return err
	}
	for ok := it.seek(layer.Key{Parent: parent}, after); ok; ok = it.rows.Next() {
		if err := it.emit(out); err != nil {
			return err
		}
	}
	return it.end()
}

// subtree emits what is below a directory, depth levels of it, after a position. It seeks past what lies deeper.
func (v *Version) subtree(ctx context.Context, parent string, depth int, after *Position, limit int, out Emit) error {
	it, err := v.iterate(ctx, parent, subtreeEnd(parent), limit)
	if err != nil {
		return err
	}
	defer it.charge()
	slashes := strings.Count(parent, "/") + depth // a parent with so many is too deep
	inside, deep := "", 0
	for ok := it.seek(layer.Key{Parent: parent}, after); ok; {
		if p := it.rows.Key().Parent; p != inside {
			inside, deep = p, endOfSlash(p, slashes)
		}
		if deep > 0 {
			ok = it.rows.Seek(subtreeEnd(inside[:deep]))
			continue
		}
		if some, err := it.enter(); err != nil {
			return err
		} else if !some {
			ok = it.rows.Seek(subtreeEnd(inside))
			continue
		}
		if err := it.emit(out); err != nil {
			return err
		}
		ok = it.rows.Next()
	}
	return it.end()
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

// From emits an entry and what is below it, depth levels of it, in the order of the rows: after a position, up to limit.
func (v *Version) From(ctx context.Context, root *evidence.Row, depth int, after *Position, limit int, out Emit) (*Position, error) {
	own := layer.Key{Parent: root.Parent, Name: root.Name}
	if after == nil || after.Including && after.Key == own {
		if err := out(root); err != nil {
			return nil, err
		}
		if limit == 1 && root.Type == event.Directory && depth > 0 {
			return &Position{Key: own}, nil
		}
		after, limit = nil, max(0, limit-1)
	}
	return v.Below(ctx, root, depth, after, limit, out)
}

// Below emits what is below a directory, depth levels of it, in the order of the rows: after a position, up to limit.
func (v *Version) Below(ctx context.Context, root *evidence.Row, depth int, after *Position, limit int, out Emit) (*Position, error) {
	if root.Type != event.Directory || depth == 0 {
		return nil, nil
	}
	page := pageLimiter{limit: limit, emit: out}
	if depth == 1 {
		return page.end(v.children(ctx, root.ChildParent(), after, limit, page.take))
	}
	return page.end(v.subtree(ctx, root.ChildParent(), depth, after, limit, page.take))
}
