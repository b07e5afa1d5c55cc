package ingest

import (
	"net/http"
	"strings"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/values"
)

func pipeOf(s session.Status) pipeapi.Pipe {
	r := s.Record
	p := pipeapi.Pipe{ID: r.Task, View: r.View, Session: r.ID, Agent: r.Agent, Source: r.Source, ClientIP: r.ClientIP, Role: "follower",
		CanRealtime: r.CanRealtime, Paused: r.Paused, Timeout: r.TimeoutSeconds, CreatedAt: values.Seconds(r.CreatedAt),
		LastActivity: values.Seconds(s.LastActivity), AgentStatus: r.AgentStatus}
	if s.Leads {
		p.Role = "leader"
	}
	return p
}

func (i *Ingest) livePipes(c *call) ([]pipeapi.Pipe, session.Overview, error) {
	overview, err := session.List(c.ctx, i.store, c.view)
	if err != nil {
		return nil, overview, err
	}
	pipes := []pipeapi.Pipe{}
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
	return c.ok(pipeapi.Pipes{View: c.view, Pipes: pipes, Count: len(pipes), Timed: c.timed()})
}

func (i *Ingest) showPipe(c *call) error {
	pipes, _, err := i.livePipes(c)
	if err != nil {
		return err
	}
	for _, p := range pipes {
		if p.ID == c.r.PathValue("id") {
			return c.ok(pipeapi.OnePipe{Pipe: p, Timed: c.timed()})
		}
	}
	return &httpapi.Error{Status: http.StatusNotFound, Detail: "no live session of this view has that task", Hint: "GET /api/v1/pipe/pipes lists them"}
}

func (i *Ingest) stats(c *call) error {
	pipes, overview, err := i.livePipes(c)
	if err != nil {
		return err
	}
	return c.ok(pipeapi.Stats{View: c.view, Live: len(pipes), Ended: len(overview.Sessions) - len(pipes), Leader: overview.Leader, Term: overview.Term,
		Store: i.counted.Counts(), Timed: c.timed()})
}

// auditMark takes in what agents of old say around an audit. Here every listing of an audit counts by itself, so that
// nothing is owed to its beginning or its end; both are part of the segments.
func (i *Ingest) auditMark(c *call) error {
	if _, err := httpapi.ReadLooseJSON(c.w, c.r, &struct{}{}, maxSessionBody); err != nil {
		return err
	}
	status := "audit_started"
	if strings.HasSuffix(strings.TrimSuffix(c.r.URL.Path, "/"), "/end") {
		status = "audit_ended"
	}
	return c.ok(pipeapi.AuditMarked{Status: status, Drivers: 1, View: c.view, Timed: c.timed()})
}
