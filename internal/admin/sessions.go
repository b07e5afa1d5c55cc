package admin

import (
	"context"

	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/values"
)

// Session is one of a view's sessions.
type Session struct {
	ID           string          `json:"session_id"`
	Task         string          `json:"task_id"`
	Agent        string          `json:"agent_id"`
	Source       string          `json:"source_uri"`
	ClientIP     string          `json:"client_ip"`
	Role         string          `json:"role"`  // leader, follower
	State        string          `json:"state"` // live, ended, lost (timed out, and nobody has noticed yet)
	EndedReason  string          `json:"ended_reason,omitempty"`
	CreatedAt    values.Seconds  `json:"created_at"`
	LastActivity *values.Seconds `json:"last_activity"`
	Timeout      float64         `json:"session_timeout_seconds"`
}

// Sessions are a view's, the oldest first, those included that ended and are not forgotten yet.
func (a *Admin) Sessions(ctx context.Context, view string) ([]Session, error) {
	if err := a.exists(ctx, view); err != nil {
		return nil, err
	}
	overview, err := session.List(ctx, a.store, view)
	if err != nil {
		return nil, err
	}
	sessions := []Session{}
	for _, s := range overview.Sessions {
		r := s.Record
		out := Session{ID: r.ID, Task: r.Task, Agent: r.Agent, Source: r.Source, ClientIP: r.ClientIP, Role: "follower", State: "lost",
			EndedReason: r.EndedReason, CreatedAt: values.Seconds(r.CreatedAt), Timeout: r.TimeoutSeconds}
		if s.Leads {
			out.Role = "leader"
		}
		switch {
		case s.Lives:
			out.State = "live"
		case r.Ended:
			out.State = "ended"
		}
		if s.LastActivity > 0 {
			at := values.Seconds(s.LastActivity)
			out.LastActivity = &at
		}
		sessions = append(sessions, out)
	}
	return sessions, nil
}

// EndSession ends a session. Its agent, if it lives, hears of it with its next heartbeat and begins a new one.
func (a *Admin) EndSession(ctx context.Context, view, id string) error {
	sessions, err := a.Sessions(ctx, view)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if s.ID == id {
			return a.ledger.End(ctx, view, id, session.ByAdmin)
		}
	}
	return refuse(NotFound, "`fustor admin session list` lists them", "view %q has no session %q", view, id)
}
