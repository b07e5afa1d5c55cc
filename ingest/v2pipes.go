package ingest

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/v2api"
)

// V2Bases are where clients of Fustor V2 whose base URL ends in /v2 have the pipe side.
var V2Bases = []string{httpapi.V2Prefix + "/api/v1/pipe", httpapi.V2Prefix + "/pipe"}

// routesForV2 are the calls of the pipe side under V2Bases. They are those under /api/v1/pipe, but errors are V2's, and so are the
// shapes of what administrators ask: a pipe of V2's server is what feeds a view, so that there is one for each view, of its name.
func (i *Ingest) routesForV2() *httpapi.Mux {
	mux := httpapi.NewMux()
	for _, base := range V2Bases {
		handle := func(method, pattern string, f func(*call) error, roles ...access.Role) {
			mux.Handle(method, base+pattern, i.keys.Require(i.call(f), append([]access.Role{access.Ingest}, roles...)...))
		}
		handle("GET", "/session", i.authorized, access.Query)
		handle("POST", "/session", i.createV2)
		handle("DELETE", "/session/{id}", i.endSession)
		handle("POST", "/session/{id}/heartbeat", i.anyHeartbeat)
		handle("POST", "/session/heartbeat", i.anyHeartbeat)
		handle("POST", "/ingest/{id}/events", i.takeEvents)
		handle("POST", "/{id}/events", i.takeEvents)
		handle("POST", "/ingest", i.takeEvents)
		handle("POST", "/consistency/audit/start", i.auditMark)
		handle("POST", "/consistency/audit/end", i.auditMark)
		handle("GET", "/consistency/sentinel/tasks", i.sentinelTasks)
		handle("POST", "/consistency/sentinel/feedback", i.sentinelFeedback)
		handle("GET", "/pipes", i.pipesV2)
		handle("GET", "/pipes/{id}", i.pipeV2)
		handle("GET", "/stats", i.statsV2)
	}
	return mux
}

// pipesV2 answers the one pipe of the key's view, by its id.
func (i *Ingest) pipesV2(c *call) error {
	p, err := i.viewPipe(c)
	if err != nil {
		return err
	}
	return c.ok(map[string]v2api.Pipe{p.ID: p})
}

func (i *Ingest) pipeV2(c *call) error {
	if id := c.r.PathValue("id"); id != c.view {
		return &httpapi.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("there is no pipe %q", id), Hint: "a view has one pipe, of its name"}
	}
	p, err := i.viewPipe(c)
	if err != nil {
		return err
	}
	return c.ok(p)
}

func (i *Ingest) statsV2(c *call) error {
	p, err := i.viewPipe(c)
	if err != nil {
		return err
	}
	return c.ok(p.Statistics)
}

// viewPipe is what feeds a view, as a pipe of V2's server. Events count once they are folded.
func (i *Ingest) viewPipe(c *call) (p v2api.Pipe, err error) {
	overview, err := session.List(c.ctx, i.store, c.view)
	if err != nil {
		return p, err
	}
	p = v2api.Pipe{ID: c.view, View: c.view, State: "RUNNING", Info: "no session leads the view"}
	for _, s := range overview.Sessions {
		if s.Lives {
			p.Active++
		}
	}
	if overview.Leader != "" {
		p.Leader, p.Info = &overview.Leader, "session "+overview.Leader+" leads the view"
	}
	m, _, err := manifest.Load(c.ctx, i.store, c.view)
	if errors.Is(err, manifest.ErrNoHead) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	p.Statistics = v2api.PipeStatistics{Received: m.Counted.Events, Processed: m.Counted.Events}
	for _, by := range m.Sessions {
		if by.Broken {
			p.Statistics.Errors++
		}
	}
	return p, nil
}
