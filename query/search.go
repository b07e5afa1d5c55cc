package query

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
)

// search answers the entries at and below a path whose names and attributes match, in key order.
func (s *Server) search(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	// Ages such as "7d" count from the time of the first page, which the cursor holds.
	now, cursor := s.engine.Now(), r.URL.Query().Get("cursor")
	if first, ok := engine.CursorExtra(cursor); ok {
		now = first
	} else if first, ok := forest.CursorExtra(cursor); ok {
		now = first
	}
	wanted, parts, err := searchParams(q, time.Unix(0, now))
	if err != nil {
		return err
	}
	of, err := s.openPage(r, q, view, 0, maxLimit, append(parts, "search")...)
	if err != nil {
		return err
	}
	return s.answerPage(w, r, of, wanted.Path, forest.Question{
		Extra: func(*evidence.Row) int64 { return now },
		Ask: func(ctx context.Context, v *engine.Version, after *engine.Position, limit int, out engine.Emit) (*engine.Position, error) {
			at, err := v.Search(ctx, wanted, after, limit, out)
			if at != nil {
				at.Extra = now
			}
			return at, err
		}})
}

// searchParams reads the parameters of a search. parts are their texts: what two calls must have in common to be the same search.
func searchParams(q *httpapi.Params, now time.Time) (wanted *engine.Search, parts []string, err error) {
	given := q.Has("pattern")
	text := q.String("pattern", "")
	alias := q.String("query", "")
	if q.Has("query") == given {
		return nil, nil, httpapi.BadRequest("a search needs exactly one pattern", "pass pattern, or its alias query, but not both; * matches everything")
	}
	if !given {
		text = alias
	}
	if wanted, err = engine.NewSearch(text, q.Path("/")); err != nil {
		return nil, nil, err
	}
	types := q.String("type", engine.AllTypes)
	if !wanted.OfTypes(types) {
		return nil, nil, httpapi.BadRequest(`parameter "type" is not a list of types`, "pass types separated by commas: f, d, l, o, or file, directory, symlink, other")
	}
	if n, given := q.Size("min_size"); given {
		wanted.MinSize = n
	}
	if n, given := q.Size("max_size"); given {
		wanted.MaxSize = n
	}
	if ns, given := q.Time("newer_than", now); given && ns < math.MaxInt64 {
		wanted.MinMtime = ns + 1
	}
	if ns, given := q.Time("older_than", now); given && ns > math.MinInt64 {
		wanted.MaxMtime = ns - 1
	}
	wanted.UID = q.Int("owner", -1, 0, math.MaxUint32)
	parts = []string{text, wanted.Path, types, strconv.FormatInt(wanted.UID, 10)}
	for _, name := range []string{"min_size", "max_size", "newer_than", "older_than"} {
		parts = append(parts, q.String(name, ""))
	}
	return wanted, parts, nil
}
