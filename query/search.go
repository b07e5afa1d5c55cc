package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layer"
)

// search answers the entries at and below a path whose name and attributes are as asked, in key order.
func (s *Server) search(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	// "7d" is counted from when the first page was asked for.
	now := s.clock.Now()
	if first, err := decodeCursor(r.URL.Query().Get("cursor"), 0); err == nil || errors.Is(err, errCursorQuery) {
		now = first.Rank
	}
	wanted, parts, err := searchParams(q, time.Unix(0, now))
	if err != nil {
		return err
	}
	v, p, err := s.openPage(r, q, view, 0, maxLimit, append(parts, "search")...)
	if err != nil {
		return err
	}
	return s.answerPage(w, r, v, p, wanted.path, func(limit int, out emit) (*position, error) {
		at, err := v.search(r.Context(), wanted, p.after, limit, out)
		if at != nil {
			at.rank = now
		}
		return at, err
	})
}

// wanted is what a search looks for. Bounds are inclusive.
type wanted struct {
	path               string
	pattern            pattern
	anyName            bool          // the pattern matches everything
	literal            *literal      // of the pattern
	needle             *layer.Needle // of the pattern
	types              [event.Other + 1]bool
	typeBits           uint8 // the same, as in layer.Group
	minSize, maxSize   int64 // bytes
	minMtime, maxMtime int64 // ns
	uid                int64 // -1: any
}

const (
	allTypes  = "f,d,l,o"
	everyType = 1<<event.File | 1<<event.Directory | 1<<event.Symlink | 1<<event.Other
)

// wantedNames is whatever has a name that matches, at and below a path.
func wantedNames(text, path string) (*wanted, error) {
	w := &wanted{path: path, maxSize: math.MaxInt64, minMtime: math.MinInt64, maxMtime: math.MaxInt64, uid: -1}
	var err error
	if w.pattern, err = compilePattern(text); err != nil {
		return nil, httpapi.BadRequest(fmt.Sprintf("the pattern: %v", err), `\ takes the next character as it is`)
	}
	w.literal, w.needle = w.pattern.literal(), w.pattern.needle()
	w.anyName = text == "*"
	w.readTypes(allTypes)
	return w, nil
}

// searchParams reads what to look for. The parts are the parameters' texts: what makes two searches the same.
func searchParams(q *httpapi.Params, now time.Time) (w *wanted, parts []string, err error) {
	given := q.Has("pattern")
	text := q.String("pattern", "")
	alias := q.String("query", "")
	if q.Has("query") == given {
		return nil, nil, httpapi.BadRequest("a search needs one pattern", "give pattern, or query, which is the same; * finds everything")
	}
	if !given {
		text = alias
	}
	if w, err = wantedNames(text, q.Path("/")); err != nil {
		return nil, nil, err
	}
	types := q.String("type", allTypes)
	if !w.readTypes(types) {
		return nil, nil, httpapi.BadRequest(`parameter "type" is not a list of types`, "letters of f, d, l, o, or file, directory, symlink, other, separated by commas")
	}
	if n, given := q.Size("min_size"); given {
		w.minSize = n
	}
	if n, given := q.Size("max_size"); given {
		w.maxSize = n
	}
	if ns, given := q.Time("newer_than", now); given && ns < math.MaxInt64 {
		w.minMtime = ns + 1
	}
	if ns, given := q.Time("older_than", now); given && ns > math.MinInt64 {
		w.maxMtime = ns - 1
	}
	w.uid = q.Int("owner", -1, 0, math.MaxUint32)
	parts = []string{text, w.path, types, strconv.FormatInt(w.uid, 10)}
	for _, name := range []string{"min_size", "max_size", "newer_than", "older_than"} {
		parts = append(parts, q.String(name, ""))
	}
	return w, parts, nil
}

func (w *wanted) readTypes(list string) bool {
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

func (w *wanted) bySize() bool  { return w.minSize > 0 || w.maxSize < math.MaxInt64 }
func (w *wanted) byMtime() bool { return w.minMtime > math.MinInt64 || w.maxMtime < math.MaxInt64 }

// filtered reports whether not all rows with a name that matches are wanted, removed ones aside.
func (w *wanted) filtered() bool {
	return w.bySize() || w.byMtime() || w.uid >= 0 || w.typeBits != everyType
}

// none reports whether no row of a group can be wanted, removed ones aside.
func (w *wanted) none(g *layer.Group) bool {
	return g.Removed == g.Rows || g.MaxSize < w.minSize || g.MinSize > w.maxSize ||
		g.MaxMtimeSec < w.minMtime/1e9-1 || g.MinMtimeSec > w.maxMtime/1e9+1 ||
		g.Types&w.typeBits == 0 || w.uid >= 0 && g.Owners&layer.OwnerBit(uint32(w.uid)) == 0
}

// search emits what is wanted at and below a path, after a position, up to limit; an error 404 where there is no such
// path. What is at the path is looked up while the indexes are asked about what is below it.
func (v *version) search(ctx context.Context, w *wanted, after *position, limit int, out emit) (*position, error) {
	from, until, some := w.keys(after)
	stretches := v.stretches(from, until, limit)
	var root *evidence.Row
	var below *plan
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		root, err = v.lookup(gctx, w.path)
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
	if after == nil && root.Parent != "" && w.row(root) {
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
func (w *wanted) keys(after *position) (from, until layer.Key, some bool) {
	root := layer.KeyOf(w.path)
	parent := strings.TrimSuffix(w.path, "/") + "/"
	from, until = layer.Key{Parent: parent}, subtreeEnd(parent)
	// Where the pattern says how the paths of all matches begin, the rest need not be looked at.
	if inside := w.pattern.inside(); strings.HasPrefix(inside, parent) {
		from, until = layer.Key{Parent: inside}, subtreeEnd(inside)
	} else if !strings.HasPrefix(parent, inside) {
		return from, until, false
	}
	if after != nil && after.key != root {
		if next := keyAfter(after.key); next.Compare(from) > 0 {
			from = next
		}
	}
	return from, until, true
}

// row reports whether a row is wanted; for the one that stands outside the range of the search.
func (w *wanted) row(r *evidence.Row) bool {
	verdict := w.pattern.directory(r.Parent)
	return (verdict == every || verdict == byName && w.pattern.name(r.Name)) && w.attributes(int64(r.Type), r.Size, r.MtimeNs, int64(r.UID))
}

func (w *wanted) attributes(kind, size, mtime, uid int64) bool {
	return w.types[kind] && size >= w.minSize && size <= w.maxSize && mtime >= w.minMtime && mtime <= w.maxMtime &&
		(w.uid < 0 || w.uid == uid)
}
