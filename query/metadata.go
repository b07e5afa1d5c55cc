package query

import (
	"net/http"

	"github.com/fustor/fustor/internal/httpapi"
)

// metadata answers one node without what is below it.
func (s *Server) metadata(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	if err := q.Err(); err != nil {
		return err
	}
	v, err := s.engine.Current(r.Context(), view)
	if err != nil {
		return err
	}
	if s.notModified(w, r, v.Manifest) {
		return nil
	}
	row, err := v.Lookup(r.Context(), path)
	if err != nil {
		return err
	}
	valid := validity{now: s.engine.Now()}
	valid.add(row)
	writeBody(w, v.Manifest, valid.until, nodeWriter{now: valid.now}.node(nil, row))
	return nil
}
