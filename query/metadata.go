package query

import (
	"context"
	"net/http"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
)

// metadata answers one node without what is below it; of a forest, that of each member.
func (s *Server) metadata(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	if err := q.Err(); err != nil {
		return err
	}
	of, err := s.open(r, view)
	if err != nil {
		return err
	}
	if of.forest != nil {
		of.setLimit(len(of.forest.Members))
		return s.answerPage(w, r, of, path, forest.Question{
			Ask: func(ctx context.Context, v *engine.Version, _ *engine.Position, _ int, out engine.Emit) (*engine.Position, error) {
				row, err := v.Lookup(ctx, path)
				if err != nil {
					return nil, err
				}
				return nil, out(row)
			}})
	}
	if s.notModified(w, r, of) {
		return nil
	}
	row, err := of.version.Lookup(r.Context(), path)
	if err != nil {
		return err
	}
	if err := of.nameRows(r.Context(), of.version); err != nil {
		return err
	}
	valid := validity{now: s.engine.Now()}
	valid.add(row)
	writeBody(w, of, valid.until, of.nodes(valid.now).node(nil, row))
	return nil
}
