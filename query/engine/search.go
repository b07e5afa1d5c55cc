package engine

import (
	"context"
	"math"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// Search is what a search looks for. Bounds are inclusive.
type Search struct {
	Path               string
	pattern            pattern
	anyName            bool          // the pattern matches everything
	literal            *literal      // of the pattern
	needle             *layer.Needle // of the pattern
	types              [event.Other + 1]bool
	typeBits           uint8 // the same, as in layer.Group
	MinSize, MaxSize   int64 // bytes
	MinMtime, MaxMtime int64 // ns
	UID                int64 // -1: any
}

const (
	AllTypes  = "f,d,l,o"
	everyType = 1<<event.File | 1<<event.Directory | 1<<event.Symlink | 1<<event.Other
)

// NewSearch is a search for whatever has a name that matches, at and below a path.
func NewSearch(text, path string) (*Search, error) {
	w := &Search{Path: path, MaxSize: math.MaxInt64, MinMtime: math.MinInt64, MaxMtime: math.MaxInt64, UID: -1}
	var err error
	if w.pattern, err = compilePattern(text); err != nil {
		return nil, &PatternError{err}
	}
	w.literal, w.needle = w.pattern.literal(), w.pattern.needle()
	w.anyName = text == "*"
	w.OfTypes(AllTypes)
	return w, nil
}

// OfTypes has the search look for types alone: letters of f, d, l, o, or file, directory, symlink, other, separated by commas. It
// reports whether the list can be read.
func (w *Search) OfTypes(list string) bool {
	clear(w.types[:])
	w.typeBits = 0
	for word := range strings.SplitSeq(list, ",") {
		known := false
		for t := event.File; t <= event.Other; t++ {
			if word == t.Letter() || word == t.String() {
				w.types[t], known = true, true
				w.typeBits |= 1 << t
			}
		}
		if !known {
			return false
		}
	}
	return true
}

func (w *Search) bySize() bool  { return w.MinSize > 0 || w.MaxSize < math.MaxInt64 }
func (w *Search) byMtime() bool { return w.MinMtime > math.MinInt64 || w.MaxMtime < math.MaxInt64 }

// filtered reports whether not all rows with a name that matches are wanted, removed ones aside.
func (w *Search) filtered() bool {
	return w.bySize() || w.byMtime() || w.UID >= 0 || w.typeBits != everyType
}

// none reports whether no row of a group can be wanted, removed ones aside.
func (w *Search) none(g *layer.Group) bool {
	return g.Removed == g.Rows || g.MaxSize < w.MinSize || g.MinSize > w.MaxSize ||
		g.MaxMtimeSec < w.MinMtime/1e9-1 || g.MinMtimeSec > w.MaxMtime/1e9+1 ||
		g.Types&w.typeBits == 0 || w.UID >= 0 && g.Owners&layer.OwnerBit(uint32(w.UID)) == 0
}

// Search emits what is wanted at and below a path, after a position, up to limit; a NoPathError where there is no such
// path. What is at the path is looked up while the indexes are asked about what is below it.
func (v *Version) Search(ctx context.Context, w *Search, after *Position, limit int, out Emit) (*Position, error) {
	from, until, some := w.keys(after)
	stretches := v.stretches(from, until, limit)
	var root *evidence.Row
	var below *plan
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		root, err = v.Lookup(gctx, w.Path)
		return err
	})
	var planErr error // of less weight than that the path is not there
	if some {
		g.Go(func() error {
			below, planErr = v.plan(gctx, w, stretches[0], stretches[1])
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	page := limited{limit: limit, emit: out}
	if after == nil && root.Parent != "" && w.Matches(root) {
		if err := page.take(root); err != nil {
			return page.end(err)
		}
	}
	if root.Type != event.Directory || !some {
		return page.end(nil)
	}
	for i := 0; ; {
		if planErr != nil {
			return nil, planErr
		}
		if err := v.scan(ctx, w, below, limit, page.take); err != nil {
			return page.end(err)
		}
		if i++; i+1 == len(stretches) {
			return page.end(nil)
		}
		below, planErr = v.plan(ctx, w, stretches[i], stretches[i+1])
	}
}

// keys is the range of keys below the path that may have what is wanted; some is false where there is none.
func (w *Search) keys(after *Position) (from, until layer.Key, some bool) {
	root := layer.KeyOf(w.Path)
	parent := strings.TrimSuffix(w.Path, "/") + "/"
	from, until = layer.Key{Parent: parent}, subtreeEnd(parent)
	// Where the pattern says how the paths of all matches begin, the rest need not be looked at.
	if inside := w.pattern.inside(); strings.HasPrefix(inside, parent) {
		from, until = layer.Key{Parent: inside}, subtreeEnd(inside)
	} else if !strings.HasPrefix(parent, inside) {
		return from, until, false
	}
	if after != nil && after.Key != root {
		if next := keyAfter(after.Key); next.Compare(from) > 0 {
			from = next
		}
	}
	return from, until, true
}

// Matches reports whether a row is wanted; for the one that stands outside the range of the search.
func (w *Search) Matches(r *evidence.Row) bool {
	verdict := w.pattern.directory(r.Parent)
	return (verdict == every || verdict == byName && w.pattern.name(r.Name)) && w.attributes(int64(r.Type), r.Size, r.MtimeNs, int64(r.UID))
}

func (w *Search) attributes(kind, size, mtime, uid int64) bool {
	return w.types[kind] && size >= w.MinSize && size <= w.MaxSize && mtime >= w.MinMtime && mtime <= w.MaxMtime &&
		(w.UID < 0 || w.UID == uid)
}
