package query

import (
	"context"
	"errors"
	"net/http"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
)

// sessions answers the live sessions of a view, even before the first snapshot is folded. The answer has no ETag, because sessions
// change without a new version.
func (s *Server) sessions(w http.ResponseWriter, r *http.Request, view string) error {
	if err := httpapi.Query(r).Err(); err != nil {
		return err
	}
	answer, err := s.readSessions(r.Context(), view)
	if err != nil {
		return err
	}
	httpapi.WriteJSON(w, r, http.StatusOK, answer)
	return nil
}

func (s *Server) readSessions(ctx context.Context, view string) (*engine.Sessions, error) {
	answer, err := s.engine.Sessions(ctx, view)
	if err != nil {
		return nil, err
	}
	if answer.Count == 0 && answer.Term == 0 { // either it has had no session yet, or the view does not exist
		_, err := s.engine.Head(ctx, view)
		var unknown *engine.NoViewError
		if errors.As(err, &unknown) {
			return nil, err
		}
	}
	return answer, nil
}
