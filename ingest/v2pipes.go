package ingest

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/v2api"
	"github.com/fustor/fustor/internal/viewconfig"
)

// V2Bases are where clients of Fustor V2 whose base URL ends in /v2 have the pipe side.
var V2Bases = []string{httpapi.V2Prefix + "/api/v1/pipe", httpapi.V2Prefix + "/pipe"}

// routesForV2 are the calls of the pipe side under V2Bases. They are those under /api/v1/pipe, but errors are V2's, and so are the
// shapes of what administrators ask: a pipe of V2's server is what feeds a view, so that there is one for each view, of its name.
func (i *Ingest) routesForV2() *httpapi.Mux {
	mux := httpapi.NewMux()
	httpapi.GreetV2(mux)
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
		for pattern, f := range map[string]httpapi.Handler{"/pipes": i.pipesV2, "/pipes/{id}": i.pipeV2, "/stats": i.statsV2} {
			mux.Handle("GET", base+pattern, i.keys.Require(f, access.Ingest))
		}
	}
	return mux
}

// pipesV2 answers the pipes of the views that the key is for, by their ids.
func (i *Ingest) pipesV2(w http.ResponseWriter, r *http.Request) error {
	pipes, err := i.viewPipes(r)
	if err != nil {
		return explain(err)
	}
	byID := map[string]v2api.Pipe{}
	for _, p := range pipes {
		byID[p.ID] = p
	}
	httpapi.WriteJSON(w, r, http.StatusOK, byID)
	return nil
}

func (i *Ingest) pipeV2(w http.ResponseWriter, r *http.Request) error {
	view := r.PathValue("id")
	if err := access.CheckView(r.Context(), view); err != nil {
		return err
	}
	p, err := i.viewPipe(r.Context(), view)
	if err != nil {
		return explain(err)
	}
	httpapi.WriteJSON(w, r, http.StatusOK, p)
	return nil
}

// statsV2 answers the sums over those pipes.
func (i *Ingest) statsV2(w http.ResponseWriter, r *http.Request) error {
	pipes, err := i.viewPipes(r)
	if err != nil {
		return explain(err)
	}
	var sum v2api.PipeStatistics
	for _, p := range pipes {
		sum.Received, sum.Processed, sum.Errors = sum.Received+p.Statistics.Received, sum.Processed+p.Statistics.Processed, sum.Errors+p.Statistics.Errors
	}
	httpapi.WriteJSON(w, r, http.StatusOK, sum)
	return nil
}

// viewPipes are the pipes of the view that a request names, or else of all that its key is for.
func (i *Ingest) viewPipes(r *http.Request) ([]v2api.Pipe, error) {
	record, _ := access.FromContext(r.Context())
	views := record.Views.Names
	if record.Views.All {
		var err error
		if views, err = viewconfig.Names(r.Context(), i.store); err != nil {
			return nil, err
		}
	}
	if named := cmp.Or(r.Header.Get(viewHeader), r.URL.Query().Get("view")); named != "" {
		if err := access.CheckView(r.Context(), named); err != nil {
			return nil, err
		}
		views = []string{named}
	}
	pipes := make([]v2api.Pipe, len(views))
	g, ctx := errgroup.WithContext(r.Context())
	g.SetLimit(pipesAtOnce)
	for n, view := range views {
		g.Go(func() (err error) {
			pipes[n], err = i.viewPipe(ctx, view)
			return err
		})
	}
	return pipes, g.Wait()
}

// pipesAtOnce bounds the views whose pipes are read at once.
const pipesAtOnce = 16

// viewPipe is what feeds a view, as a pipe of V2's server. Events count once they are folded.
func (i *Ingest) viewPipe(ctx context.Context, view string) (p v2api.Pipe, err error) {
	overview, err := session.List(ctx, i.store, view)
	if err != nil {
		return p, err
	}
	p = v2api.Pipe{ID: view, View: view, State: "RUNNING", Info: "no session leads the view"}
	for _, s := range overview.Sessions {
		if s.Lives {
			p.Active++
		}
	}
	if overview.Leader != "" {
		p.Leader, p.Info = &overview.Leader, "session "+overview.Leader+" leads the view"
	}
	m, _, err := manifest.LoadRoot(ctx, i.store, view)
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
