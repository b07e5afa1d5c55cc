package query

import (
	"errors"
	"net/http"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/manifest"
)

// sessions answers who feeds the view. It does so before the first snapshot is folded too, and has no ETag: the records
// change while the version stands.
func (s *Server) sessions(w http.ResponseWriter, r *http.Request, view string) error {
	if err := httpapi.Query(r).Err(); err != nil {
		return err
	}
	answer, err := liveSessions(r.Context(), s.store, view)
	if err != nil {
		return explain(view, err)
	}
	if answer.Count == 0 && answer.Term == 0 { // a view that was never heard of looks so
		_, err := s.heads.current(r.Context(), view)
		if errors.Is(err, manifest.ErrNoHead) {
			err = s.absent(r.Context(), view)
		}
		var begun *httpapi.Error
		if errors.As(err, &begun) && begun.Status == http.StatusNotFound {
			return err
		}
	}
	httpapi.WriteJSON(w, r, http.StatusOK, answer)
	return nil
}
