package query

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
)

// search answers the entries at and below a path whose name and attributes are as asked, in key order.
func (s *Server) search(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	// "7d" is counted from when the first page was asked for.
	now := s.engine.Now()
	if first, ok := engine.CursorExtra(r.URL.Query().Get("cursor")); ok {
		now = first
	}
	wanted, parts, err := searchParams(q, time.Unix(0, now))
	if err != nil {
		return err
	}
	v, p, err := s.openPage(r, q, view, 0, maxLimit, append(parts, "search")...)
	if err != nil {
		return err
	}
	return s.answerPage(w, r, v, p, wanted.Path, func(limit int, out engine.Emit) (*engine.Position, error) {
		at, err := v.Search(r.Context(), wanted, p.After, limit, out)
		if at != nil {
			at.Extra = now
		}
		return at, err
	})
}

// searchParams reads what to look for. The parts are the parameters' texts: what makes two searches the same.
func searchParams(q *httpapi.Params, now time.Time) (w *engine.Search, parts []string, err error) {
	given := q.Has("pattern")
	text := q.String("pattern", "")
	alias := q.String("query", "")
	if q.Has("query") == given {
		return nil, nil, httpapi.BadRequest("a search needs exactly one pattern", "pass pattern, or its alias query, but not both; * matches everything")
	}
	if !given {
		text = alias
	}
	if w, err = engine.NewSearch(text, q.Path("/")); err != nil {
		return nil, nil, err
	}
	types := q.String("type", engine.AllTypes)
	if !w.OfTypes(types) {
		return nil, nil, httpapi.BadRequest(`parameter "type" is not a list of types`, "pass types separated by commas: f, d, l, o, or file, directory, symlink, other")
	}
	if n, given := q.Size("min_size"); given {
		w.MinSize = n
	}
	if n, given := q.Size("max_size"); given {
		w.MaxSize = n
	}
	if ns, given := q.Time("newer_than", now); given && ns < math.MaxInt64 {
		w.MinMtime = ns + 1
	}
	if ns, given := q.Time("older_than", now); given && ns > math.MinInt64 {
		w.MaxMtime = ns - 1
	}
	w.UID = q.Int("owner", -1, 0, math.MaxUint32)
	parts = []string{text, w.Path, types, strconv.FormatInt(w.UID, 10)}
	for _, name := range []string{"min_size", "max_size", "newer_than", "older_than"} {
		parts = append(parts, q.String(name, ""))
	}
	return w, parts, nil
}
