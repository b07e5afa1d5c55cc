package query

import (
	"context"
	"net/http"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
)

// metadata answers one node without what is below it; of a forest, that of each member.
func (s *Server) metadata(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path, once := q.Path("/"), q.Bool("links_once", false)
	of, err := s.open(r, q, view)
	if err != nil {
		return err
	}
	if of.forest != nil {
		of.setLimit(len(of.forest.Members))
		return s.answerPage(w, r, of, path, forest.Question{
			Ask: func(ctx context.Context, v *engine.Version, _ *engine.Position, _ int, out engine.Emit) (*engine.Position, error) {
				row, err := lookup(ctx, v, path, once)
				if err != nil {
					return nil, err
				}
				return nil, out(row)
			}})
	}
	if notModified(w, r, of) {
		return nil
	}
	row, err := lookup(r.Context(), of.version, path, once)
	if err != nil {
		return err
	}
	if err := of.nameRows(r.Context(), of.version); err != nil {
		return err
	}
	of.about(path)
	valid := validity{now: of.moment}
	valid.add(row)
	writeBody(w, of, valid.until, of.nodes().node(nil, row))
	return nil
}

// lookup finds one row; with once, the allocated bytes of a directory count each file once.
func lookup(ctx context.Context, v *engine.Version, path string, once bool) (*evidence.Row, error) {
	row, err := v.Lookup(ctx, path)
	if err == nil {
		err = v.Sum(ctx, row)
	}
	if err == nil && once && row.Type == event.Directory {
		err = v.LinksOnce(ctx, row)
	}
	return row, err
}
