package engine

import (
	"context"
	"errors"

	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Sessions are the live sessions of a view, as /sessions answers them.
type Sessions struct {
	View   string    `json:"view_id"`
	Active []Session `json:"active_sessions"`
	Count  int       `json:"count"`
	// Term is the lease's: that of the leader, or of the last one where nobody leads.
	Term   uint64  `json:"term"`
	Leader *string `json:"leader_session_id"`
	// Mounts are where hosts mount the view's root by its settings, beside the source URIs of sessions.
	Mounts []Mount `json:"mounts"`
	// Refused are the segments that were refused in the last week, the newest first and at most 20; RefusedCount is how many there were
	// since the view began.
	Refused      []Refusal `json:"refused"`
	RefusedCount uint64    `json:"refused_count"`
}

// Mount is a path where hosts mount the view's root.
type Mount struct {
	Path string `json:"path"`
}

// Session is one live session.
type Session struct {
	ID             string               `json:"session_id"`
	Task           string               `json:"task_id"`
	Agent          string               `json:"agent_id"`
	ClientIP       string               `json:"client_ip"`
	Source         string               `json:"source_uri"`
	Role           string               `json:"role"`           // leader or follower
	Term           *uint64              `json:"term,omitempty"` // of the leader
	CanSnapshot    bool                 `json:"can_snapshot"`   // the leader scans
	CanAudit       bool                 `json:"can_audit"`
	CanRealtime    bool                 `json:"can_realtime"`
	CanSend        bool                 `json:"can_send"`
	Paused         bool                 `json:"paused"`             // it neither scans nor sends, and does not lead
	Coverage       string               `json:"coverage,omitempty"` // realtime, realtime-hotset or audit-only, as the agent says
	LastActivity   values.Seconds       `json:"last_activity"`      // the store's time of the last proof of life
	CreatedAt      values.Seconds       `json:"created_at"`
	TimeoutSeconds float64              `json:"session_timeout_seconds"`
	AgentStatus    *pipeapi.AgentStatus `json:"agent_status,omitempty"`
	// Silence is of a leader that gets nothing done although it should, and of a follower that lost the lease for that and has sent
	// nothing since.
	Silence *Silence `json:"silence,omitempty"`
}

// Silence is how a session got nothing done while it led.
type Silence struct {
	Since  values.Seconds `json:"since"` // the store's time
	Term   uint64         `json:"term"`  // in which it led
	Owes   string         `json:"owes"`  // segments, scan or first-scan
	Reason string         `json:"reason"`
}

// Sessions reads the live sessions of a view. It leaves Mounts empty.
func (e *Engine) Sessions(ctx context.Context, view string) (*Sessions, error) {
	overview, err := session.List(ctx, e.store, view)
	if err != nil {
		return nil, err
	}
	a := &Sessions{View: view, Active: []Session{}, Mounts: []Mount{}, Term: overview.Term}
	if overview.Leader != "" {
		a.Leader = &overview.Leader
	}
	for _, status := range overview.Sessions {
		if status.Lives {
			a.Active = append(a.Active, sessionOf(status, overview.Term))
		}
	}
	a.Count = len(a.Active)
	a.Refused, a.RefusedCount, err = e.refused(ctx, view)
	return a, err
}

// Mounts are where hosts mount the view's root by its settings. A change shows within a minute. Settings that nobody can read name
// none: a reader who asks who feeds the view should not be stopped by them.
func (e *Engine) Mounts(ctx context.Context, view string) ([]Mount, error) {
	config, err := e.configs.Load(ctx, view)
	if errors.Is(err, viewconfig.ErrInvalid) {
		e.logger.Warn("the mounts of a view are unknown, because its settings cannot be read", "view", view, "err", err)
		return []Mount{}, nil
	}
	if err != nil {
		return nil, err
	}
	mounts := make([]Mount, len(config.Mounts))
	for i, p := range config.Mounts {
		mounts[i].Path = p
	}
	return mounts, nil
}

func sessionOf(status session.Status, term uint64) Session {
	r := status.Record
	s := Session{
		ID: r.ID, Task: r.Task, Agent: r.Agent, ClientIP: r.ClientIP, Source: r.Source, Role: "follower",
		CanRealtime: r.CanRealtime, CanSend: !r.Paused, Paused: r.Paused, CreatedAt: values.Seconds(r.CreatedAt),
		LastActivity: values.Seconds(status.LastActivity), TimeoutSeconds: r.TimeoutSeconds, AgentStatus: r.AgentStatus,
	}
	if r.AgentStatus != nil {
		s.Coverage = r.AgentStatus.Coverage
	}
	if by := status.Silence; by != nil {
		s.Silence = &Silence{Since: values.Seconds(by.Since), Term: by.Term, Owes: by.Owes, Reason: "it " + by.Reason()}
	}
	if status.Leads {
		s.Role, s.Term, s.CanSnapshot, s.CanAudit = "leader", &term, true, true
	}
	return s
}
