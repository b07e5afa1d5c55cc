package query

import (
	"net/http"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
)

// list answers a directory's entries.
func (s *Server) list(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	order := q.Enum("sort", engine.ByName, engine.ByName, engine.BySize, engine.ByMtime)
	limit := int64(0)
	if order != engine.ByName { // sorting holds a page in memory, so there is always a limit
		limit = defaultLimit
	}
	v, p, err := s.openPage(r, q, view, limit, maxLimit, "list", path, order)
	if err != nil {
		return err
	}
	return s.answerPage(w, r, v, p, path, func(limit int, out engine.Emit) (*engine.Position, error) {
		dir, err := v.LookupAhead(r.Context(), path, p.After, false)
		if err != nil {
			return nil, err
		}
		return v.List(r.Context(), dir, order, p.After, limit, out)
	})
}
