// Package v2 answers the reading calls of Fustor V2's clients, unchanged, under the base path /v2 (docs/v2.md). It owns V2's
// parameters, shapes and errors; the rows come from Views, which package query implements, and it knows no engine.
//
// Invariants: an answer is whole, of one version, and is written as it is read; only directories wait in memory. If it would be too
// large, it is an error before anything is sent. Every error is {"detail": …}. A browser's cookie is no key here: any site may ask.
package v2

import (
	"context"
	"net/http"

	"golang.org/x/sync/semaphore"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/v2api"
)

// bases are where the calls on a view are: V2's clients add /api/v1 to their base URL, or have it there already.
var bases = [...]string{httpapi.V2Prefix + "/api/v1/views/{view_id}/", httpapi.V2Prefix + "/views/{view_id}/"}

// Views are the views as this package sees them. Errors are as the native calls have them.
type Views interface {
	// Current opens the newest version of a view; ErrForest if it has members.
	Current(ctx context.Context, view string) (Version, error)
	// Forest opens the members of a forest, by name, and looks a clean path up in each.
	Forest(ctx context.Context, view, path string) ([]Member, error)
	// Scan asks for a scan of a path. An empty job: no agent leads, so no scan can run.
	Scan(ctx context.Context, view, path string, recursive bool) (job string, err error)
	Sessions(ctx context.Context, view string) (v2api.Sessions, error)
	// Jobs are the scans, the newest first.
	Jobs(ctx context.Context, view string) ([]v2api.Job, error)
	Job(ctx context.Context, view, id string) (v2api.Job, error)
}

// Version is one version of a view. use may keep nothing of a row.
type Version interface {
	// Now is the store's time, ns: it decides which rows are suspect.
	Now() int64
	// Lookup is the row of a clean path, or not ok.
	Lookup(ctx context.Context, path string) (row *evidence.Row, ok bool, err error)
	// Below passes over what is below a directory, depth levels of it, in key order; limit 0: all.
	Below(ctx context.Context, dir *evidence.Row, depth, limit int, use func(*evidence.Row) error) error
	// Search passes over the entries that are no directories and whose paths match a pattern of Python's fnmatch.
	Search(ctx context.Context, pattern string, use func(*evidence.Row) error) error
	// Suspects passes over the files that may still be written to.
	Suspects(ctx context.Context, use func(*evidence.Row) error) error
	// BlindSpots passes over the additions and changes, or over the deletions, that no agent's kernel reported.
	BlindSpots(ctx context.Context, deletions bool, use func(*evidence.Row) error) error
	Stats(ctx context.Context) (v2api.Stats, error)
}

// ViewHandler answers one call on a view that the caller may read.
type ViewHandler func(w http.ResponseWriter, r *http.Request, view string) error

// Options are what an API needs, all of it.
type Options struct {
	Views Views
	// Protect has a handler called only for callers that may read the view of the path (view_id).
	Protect func(ViewHandler) http.Handler
	// Reset resets the view of the path, for callers that may.
	Reset http.Handler
	// MaxTreeItems is how many nodes a tree may have.
	MaxTreeItems int64
}

// API answers the calls. It is safe for concurrent use.
type API struct {
	views    Views
	maxItems int64
	waiting  *semaphore.Weighted // directories that trees hold until their turn
	mux      *httpapi.Mux
	handler  http.Handler // the mux
}

// New returns an API.
func New(o Options) *API {
	a := &API{views: o.Views, maxItems: o.MaxTreeItems, waiting: semaphore.NewWeighted(o.MaxTreeItems), mux: httpapi.NewMux()}
	httpapi.GreetV2(a.mux)
	for _, base := range bases {
		for _, c := range []struct {
			method, name string
			handler      ViewHandler
		}{
			{http.MethodGet, "tree", a.tree}, {http.MethodGet, "search", a.search}, {http.MethodGet, "stats", a.stats},
			{http.MethodGet, "blind-spots", a.blindSpots}, {http.MethodGet, "suspect-list", a.suspects},
			{http.MethodPut, "suspect-list", updateSuspects}, {http.MethodGet, "sessions", a.sessions},
			{http.MethodGet, "jobs", a.jobs}, {http.MethodGet, "jobs/{job_id}", a.job},
		} {
			a.mux.Handle(c.method, base+c.name, o.Protect(c.handler))
		}
		a.mux.Handle(http.MethodDelete, base+"reset", o.Reset)
	}
	a.handler = httpapi.ForV2(a.mux)
	return a
}

// Routes are the calls. No OpenAPI document lists them.
func (a *API) Routes() []httpapi.Route { return a.mux.Routes() }

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }
