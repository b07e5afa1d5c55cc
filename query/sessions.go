package query

import (
	"context"
	"errors"
	"net/http"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
)

// forestSessions are the live sessions of the members of a forest.
type forestSessions struct {
	View   string            `json:"view_id"`
	Active []sessionOfMember `json:"active_sessions"`
	Count  int               `json:"count"`
	Mounts []mountOfMember   `json:"mounts"`
	// Refused are the segments that were refused in the last week.
	Refused []refusalOfMember `json:"refused"`
	forestAnswer
}

// sessionOfMember is a session, and the member that it feeds.
type sessionOfMember struct {
	Member string `json:"member"`
	engine.Session
}

// mountOfMember is a mount, and the member whose root is there.
type mountOfMember struct {
	Member string `json:"member"`
	engine.Mount
}

// refusalOfMember is a refused segment, and the member that it was for.
type refusalOfMember struct {
	Member string `json:"member"`
	engine.Refusal
}

// sessions answers the live sessions of a view, even before the first snapshot is folded. The answer has no ETag, because sessions
// change without a new version.
func (s *Server) sessions(w http.ResponseWriter, r *http.Request, view string) error {
	if err := httpapi.Query(r).Err(); err != nil {
		return err
	}
	answer, err := s.readSessions(r.Context(), view)
	var of *engine.ForestError
	if errors.As(err, &of) {
		return s.sessionsOfForest(w, r, of)
	}
	if err != nil {
		return err
	}
	httpapi.WriteJSON(w, r, http.StatusOK, answer)
	return nil
}

// readSessions reads the live sessions of a view. NoViewError or ForestError if it is none.
func (s *Server) readSessions(ctx context.Context, view string) (*engine.Sessions, error) {
	answer, err := s.engine.Sessions(ctx, view)
	if err != nil {
		return nil, err
	}
	if answer.Count == 0 && answer.Term == 0 { // it has had no session yet, or it is no view
		_, err := s.engine.Head(ctx, view)
		var unknown *engine.NoViewError
		var of *engine.ForestError
		if errors.As(err, &unknown) || errors.As(err, &of) {
			return nil, err
		}
	}
	answer.Mounts, err = s.engine.Mounts(ctx, view)
	return answer, err
}

func (s *Server) sessionsOfForest(w http.ResponseWriter, r *http.Request, of *engine.ForestError) error {
	fo, err := s.forests.Members(r.Context(), of, s.mayRead(r.Context()))
	if err != nil {
		return err
	}
	lists, err := forest.Ask(r.Context(), fo, forest.Deadline, func(ctx context.Context, m *forest.Member) (*engine.Sessions, error) {
		return s.readSessions(ctx, m.View)
	})
	if err != nil {
		return err
	}
	a := forestSessions{View: of.View, Active: []sessionOfMember{}, Mounts: []mountOfMember{}, Refused: []refusalOfMember{}}
	for i, m := range fo.Members {
		if m.Status != forest.OK {
			continue
		}
		for _, one := range lists[i].Active {
			a.Active = append(a.Active, sessionOfMember{m.View, one})
		}
		for _, mount := range lists[i].Mounts {
			a.Mounts = append(a.Mounts, mountOfMember{m.View, mount})
		}
		for _, one := range lists[i].Refused {
			a.Refused = append(a.Refused, refusalOfMember{m.View, one})
		}
	}
	a.Count = len(a.Active)
	a.forestAnswer = (&subject{view: of.View, forest: fo}).forestAnswer(r.Context())
	setMembers(w.Header(), fo)
	httpapi.WriteJSON(w, r, http.StatusOK, a)
	return nil
}
