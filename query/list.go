package query

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/fustor/fustor/internal/evidence"
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
	order := q.Enum("sort", engine.ByName, engine.ByName, engine.BySize, engine.ByAllocated, engine.ByMtime)
	limit := int64(0)
	if order != engine.ByName { // sorting holds a page in memory, so there is always a limit
		limit = defaultLimit
	}
	of, err := s.openPage(r, q, view, limit, maxLimit, "list", path, order)
	if err != nil {
		return err
	}
	question := forest.Question{Ask: func(ctx context.Context, v *engine.Version, after *engine.Position, limit int, out engine.Emit) (*engine.Position, error) {
		dir, err := v.LookupAhead(ctx, path, after, false)
		if err != nil {
			return nil, err
		}
		return v.List(ctx, dir, order, after, limit, out)
	}}
	if order != engine.ByName {
		if of.forest != nil {
			of.setLimit(min(of.limit(), max(100, maxSorted/len(of.forest.Members))))
		}
		question.Extra = func(r *evidence.Row) int64 { return engine.RankOf(r, order) }
		question.Compare = func(a, b *evidence.Row) int {
			return cmp.Or(cmp.Compare(engine.RankOf(b, order), engine.RankOf(a, order)), strings.Compare(a.Name, b.Name))
		}
	}
	return s.answerPage(w, r, of, path, question)
}
