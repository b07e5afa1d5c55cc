package query

import (
	"context"
	"net/http"
	"strconv"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
)

// maxSorted bounds the rows that a sorted page of a forest holds in memory: each member holds a page. So the pages of many members are
// shorter than their limit.
const maxSorted = 40_000

// list answers a directory's entries.
func (s *Server) list(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	l := engine.Listing{Order: q.Enum("sort", engine.ByName, engine.ByName, engine.BySize, engine.ByAllocated, engine.ByFiles, engine.ByMtime), Reverse: q.Bool("reverse", false)}
	pattern := q.String("pattern", "")
	if q.Has("pattern") {
		if err := l.SetPattern(pattern); err != nil {
			return err
		}
	}
	limit := int64(0)
	if !l.InKeyOrder() { // sorting holds a page in memory, so there is always a limit
		limit = defaultLimit
	}
	same := []string{"list", path, l.Order}
	if l.Reverse || pattern != "" {
		same = append(same, strconv.FormatBool(l.Reverse), pattern)
	}
	of, err := s.openPage(r, q, view, limit, maxLimit, same...)
	if err != nil {
		return err
	}
	question := forest.Question{Ask: func(ctx context.Context, v *engine.Version, after *engine.Position, limit int, out engine.Emit) (*engine.Position, error) {
		dir, err := v.LookupAhead(ctx, path, after, false)
		if err != nil {
			return nil, err
		}
		return v.List(ctx, dir, l, after, limit, out)
	}}
	if !l.InKeyOrder() {
		if of.forest != nil {
			of.setLimit(min(of.limit(), max(100, maxSorted/len(of.forest.Members))))
		}
		question.Extra, question.Compare = l.Rank, l.Compare
	}
	return s.answerPage(w, r, of, path, question)
}
