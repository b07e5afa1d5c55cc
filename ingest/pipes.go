package ingest

import (
	"net/http"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
)

// pipe is a live session as people look at it; its id is the task's.
type pipe struct {
	ID           string         `json:"id"`
	View         string         `json:"view_id"`
	Session      string         `json:"session_id"`
	Agent        string         `json:"agent_id"`
	Source       string         `json:"source_uri"`
	ClientIP     string         `json:"client_ip"`
	Role         string         `json:"role"`
	CanRealtime  bool           `json:"can_realtime"`
	Paused       bool           `json:"paused"` // it does not run for leader
	Timeout      float64        `json:"session_timeout_seconds"`
	CreatedAt    values.Seconds `json:"created_at"`
	LastActivity values.Seconds `json:"last_activity"`
	AgentStatus  map[string]any `json:"agent_status,omitempty"`
}

func pipeOf(s session.Status) pipe {
	r := s.Record
	p := pipe{ID: r.Task, View: r.View, Session: r.ID, Agent: r.Agent, Source: r.Source, ClientIP: r.ClientIP, Role: "follower",
		CanRealtime: r.CanRealtime, Paused: r.Paused, Timeout: r.TimeoutSeconds, CreatedAt: values.Seconds(r.CreatedAt),
		LastActivity: values.Seconds(s.LastActivity), AgentStatus: r.AgentStatus}
	if s.Leads {
		p.Role = "leader"
	}
	return p
}

func (i *Ingest) livePipes(c *call) ([]pipe, session.Overview, error) {
	overview, err := session.List(c.ctx, i.store, c.view)
	if err != nil {
		return nil, overview, err
	}
	pipes := []pipe{}
	for _, s := range overview.Sessions {
		if s.Lives {
			pipes = append(pipes, pipeOf(s))
		}
	}
	return pipes, overview, nil
}

func (i *Ingest) listPipes(c *call) error {
	pipes, _, err := i.livePipes(c)
	if err != nil {
		return err
	}
	return c.ok(struct {
		View  string `json:"view_id"`
		Pipes []pipe `json:"pipes"`
		Count int    `json:"count"`
		timed
	}{c.view, pipes, len(pipes), c.timed()})
}

func (i *Ingest) showPipe(c *call) error {
	pipes, _, err := i.livePipes(c)
	if err != nil {
		return err
	}
	for _, p := range pipes {
		if p.ID == c.r.PathValue("id") {
			return c.ok(struct {
				pipe
				timed
			}{p, c.timed()})
		}
	}
	return &httpapi.Error{Status: http.StatusNotFound, Detail: "no live session of this view has that task", Hint: "GET /api/v1/pipe/pipes lists them"}
}

func (i *Ingest) stats(c *call) error {
	pipes, overview, err := i.livePipes(c)
	if err != nil {
		return err
	}
	return c.ok(struct {
		View   string       `json:"view_id"`
		Live   int          `json:"live_sessions"`
		Ended  int          `json:"ended_sessions"` // that are not folded to their end
		Leader string       `json:"leader_session_id"`
		Term   uint64       `json:"term"`
		Store  store.Counts `json:"store_requests"` // of this process, for all views
		timed
	}{c.view, len(pipes), len(overview.Sessions) - len(pipes), overview.Leader, overview.Lease.Term, i.counted.Counts(), c.timed()})
}

// auditMark takes in what agents of old say around an audit. Here every listing of an audit counts by itself, so that
// nothing is owed to its beginning or its end; both are part of the segments.
func (i *Ingest) auditMark(c *call) error {
	if err := httpapi.ReadJSON(c.w, c.r, &struct{}{}, 0); err != nil {
		return err
	}
	return c.ok(struct {
		Status string `json:"status"`
		View   string `json:"view_id"`
		timed
	}{"accepted", c.view, c.timed()})
}
