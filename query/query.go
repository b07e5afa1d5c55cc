// Package query is the reading side: it answers questions about a view over HTTP. docs/api.md has every call. It parses calls and
// writes answers; query/engine finds the rows, query/problem maps errors, and query/page has the pages for people.
//
// It writes to the store only the scans that readers ask for, the reset of an administrator, and with Options.Administer what else
// administrators change. Invariants: an answer and all its
// pages are of exactly one version. Removed rows are not shown, but as deletions. A long answer streams, or a page bounds it. A
// damaged object fails only the calls that need it, and the error names it. `fustor query`, `fustor up` and the Lambda serve a Server.
package query

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/diskcache"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/httpapi/openapi"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/query/catalog"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
	"github.com/fustor/fustor/query/page"
	"github.com/fustor/fustor/query/problem"
	"github.com/fustor/fustor/query/v2"
)

// Options are what a Server needs. Store and Authenticator are required.
type Options struct {
	Store         store.Store
	Authenticator *access.Authenticator
	// MemoryBytes is about how much memory the process may use; 0: 256 MiB. Three eighths are for the cache of layers, a sixteenth
	// for heads, an eighth for reading ahead; the rest is for answers and garbage.
	MemoryBytes int64
	// CacheBytes bounds the cache of layers; 0: the share above.
	CacheBytes int64
	// Disk is a cache beneath that of layers; nil: none. Whoever opened it closes it.
	Disk *diskcache.Cache
	// HeadTTL is how long the head of a view is taken from memory before the store is asked again; 0: 250 ms, negative: not at all.
	HeadTTL time.Duration
	Logger  *slog.Logger // nil: none
	// AnswerAtOnce has feeds end where they would wait for changes, for functions that are billed by time.
	AnswerAtOnce bool
	// Registry gets the metrics, and /metrics shows it; nil: a new one.
	Registry *prometheus.Registry
	// Administer has the administrator's calls answered (internal/admin), for the page among others; the store must allow writing them.
	Administer bool
	// Retain is what the administrator's call for retention runs; nil: this server has none.
	Retain func(ctx context.Context, view string, dry bool) ([]admin.Removal, error)
	// OpenProbes has /readyz and /metrics answered without a key.
	OpenProbes bool
	// OpenAPI makes what /openapi.json shows, where the process serves more than this Server; nil: OpenAPI.
	OpenAPI func() ([]byte, error)
	Now     func() time.Time // nil: time.Now
}

// Server answers the reading calls. It is safe for concurrent use.
type Server struct {
	engine  *engine.Engine
	forests *forest.Forests
	keys    *access.Authenticator
	now     func() time.Time // this machine's
	mux     *httpapi.Mux
	v2      *v2.API
	catalog *catalog.API
	handler http.Handler

	administers bool // Options.Administer

	duplicates chan struct{} // holds a token while a report on duplicates runs
	largePages chan struct{} // holds a token while a large page of a tree is built

	atOnce    bool          // Options.AnswerAtOnce
	heartbeat time.Duration // of feeds
}

const (
	defaultMemory  = 256 << 20
	defaultHeadTTL = 250 * time.Millisecond
)

// New returns a Server. It reads nothing yet.
func New(o Options) (*Server, error) {
	if o.Store == nil || o.Authenticator == nil {
		return nil, errors.New("query: Options.Store and Options.Authenticator are required")
	}
	if o.MemoryBytes <= 0 {
		o.MemoryBytes = defaultMemory
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = o.MemoryBytes / 8 * 3
	}
	if o.HeadTTL == 0 {
		o.HeadTTL = defaultHeadTTL
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	metrics, err := httpapi.NewMetrics(o.Registry, "query")
	if err != nil {
		return nil, fmt.Errorf("register query metrics: %w", err)
	}
	counted := store.Count(o.Store)
	if err := httpapi.RegisterStoreCounts(o.Registry, "query", counted); err != nil {
		return nil, fmt.Errorf("register query metrics: %w", err)
	}
	if err := o.Registry.Register(diskFigures{o.Disk}); err != nil {
		return nil, fmt.Errorf("register query metrics: %w", err)
	}
	e := engine.New(engine.Options{
		Store: counted, Now: o.Now, MemoryBytes: o.MemoryBytes, CacheBytes: o.CacheBytes, Disk: o.Disk, HeadTTL: o.HeadTTL, Logger: o.Logger,
	})
	s := &Server{
		engine: e, forests: forest.New(e, o.Now), keys: o.Authenticator, now: o.Now, mux: httpapi.NewMux(),
		duplicates: make(chan struct{}, 1), largePages: make(chan struct{}, 1),
		administers: o.Administer, atOnce: o.AnswerAtOnce, heartbeat: feedHeartbeat,
	}
	if o.OpenAPI == nil {
		o.OpenAPI = s.OpenAPI
	}
	administrator, err := admin.New(admin.Options{Store: e.Store(), Now: o.Now, Random: rand.Reader, Retain: o.Retain})
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	s.routes(o, administrator)
	s.handler = httpapi.Compress(httpapi.Frame{Logger: o.Logger, Metrics: metrics, Now: o.Now}.Wrap(s.keys.Wrap(http.HandlerFunc(s.dispatch))))
	return s, nil
}

// OpenAPI makes the document of the calls that the Handler serves, the pages aside (OpenAPI 3.1, JSON).
func (s *Server) OpenAPI() ([]byte, error) {
	d := document
	d.Path = slices.Concat(d.Path, catalog.PathParameters)
	d.Types = slices.Concat(d.Types, catalog.Types)
	if s.administers { // the first of their path parameters is the view
		d.Path, d.Types, d.Notes = slices.Concat(d.Path, admin.OpenAPIPath[1:]), slices.Concat(d.Types, admin.OpenAPITypes), slices.Concat(d.Notes, admin.OpenAPINotes)
	}
	return s.mux.OpenAPI(d, s.catalog.OpenAPICalls()...)
}

// Handler serves the reading calls, the probes and the pages.
func (s *Server) Handler() http.Handler { return s.handler }

// Invalidate makes the next call on a view ask the store for its head. A compactor in the same process calls it after it publishes.
func (s *Server) Invalidate(view string) { s.engine.Invalidate(view) }

// changing forgets what is known of a view after an administrator's call that changes it, so that the next call does not show it as it was.
func (s *Server) changing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		if view := r.PathValue("view_id"); view != "" && r.Method != http.MethodGet {
			s.engine.Forget(view)
		}
	})
}

// dispatch has three muxes, as the calls of Fustor V2 and those of Iceberg's catalog have errors of their own forms.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	if httpapi.IsV2(r.URL.Path) {
		s.v2.ServeHTTP(w, r)
		return
	}
	if httpapi.IsIceberg(r.URL.Path) {
		s.catalog.ServeHTTP(w, r)
		return
	}
	if page.IsAsked(r) && !s.mux.Knows(r) {
		page.Unknown(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) routes(o Options, administrator *admin.Admin) {
	protect := func(h http.Handler) http.Handler { return page.WithCookie(s.keys.Require(h, access.Query)) }
	s.mux.HandleAPI(http.MethodGet, "/api/v1/views", &viewsOperation, s.protectReader(httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
		return s.serveCall(w, r, "", s.views)
	})))
	route := func(method, call string, o *openapi.Operation, f viewHandler) {
		h := httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error { return s.serveView(w, r, f) })
		if forReaders[call] && method == http.MethodGet {
			s.mux.HandleAPI(method, "/api/v1/views/{view_id}/"+call, o, s.protectReader(h))
			return
		}
		s.mux.HandleAPI(method, "/api/v1/views/{view_id}/"+call, o, protect(h))
	}
	for _, c := range []struct {
		name      string
		operation *openapi.Operation
		handler   viewHandler
	}{
		{"tree", &treeOperation, s.tree}, {"list", &listOperation, s.list}, {"metadata", &metadataOperation, s.metadata},
		{"search", &searchOperation, s.search}, {"diff", &diffOperation, s.diff}, {"changes", &changesOperation, s.feed}, {"complete", &completeOperation, s.complete},
		{"log", &logOperation, s.log}, {"access", &accessOperation, s.access},
		{"stats", &statsOperation, s.stats}, {"suspect-list", &suspectListOperation, s.suspectList},
		{"blind-spots", &blindSpotsOperation, s.listBlindSpots}, {"versions", &versionsOperation, s.listVersions},
		{"reports/largest", &reportLargestOperation, s.reportLargest}, {"reports/usage", &reportUsageOperation, s.reportUsage},
		{"reports/histogram", &reportHistogramOperation, s.reportHistogram},
		{"reports/empty-directories", &reportEmptyDirectoriesOperation, s.reportEmpty},
		{"reports/odd", &reportOddOperation, s.reportOdd},
		{"reports/duplicates", &reportDuplicatesOperation, s.reportDuplicates}, {"reports/growth", &reportGrowthOperation, s.reportGrowth},
		{"reports/trend", &reportTrendOperation, s.reportTrend},
		{"sessions", &sessionsOperation, s.sessions}, {"jobs", &jobsOperation, s.jobs}, {"jobs/{job_id}", &jobOperation, s.showJob},
	} {
		route(http.MethodGet, c.name, c.operation, c.handler)
	}
	route(http.MethodPut, "suspect-list", &updateSuspectsOperation, s.updateSuspects)
	reset := s.changing(administrator.ResetHandler(s.keys))
	s.mux.HandleAPI(http.MethodDelete, "/api/v1/views/{view_id}/reset", &resetOperation, reset)
	if o.Administer {
		administrator.Register(s.mux, func(h http.Handler) http.Handler {
			return page.WithOwnCookie(s.keys.Require(s.changing(h), access.Admin))
		})
	}
	s.v2 = v2.New(v2.Options{Views: v2Views{s}, Reset: reset, MaxTreeItems: maxTreeLimit, Protect: func(f v2.ViewHandler) http.Handler {
		return s.keys.Require(httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
			return s.serveView(w, r, viewHandler(f))
		}), access.Query)
	}})
	s.catalog = catalog.New(catalog.Options{Store: s.engine.Store(), Protect: func(h http.Handler) http.Handler { return s.keys.Require(h, access.Query) },
		Views: func(ctx context.Context) ([]string, error) {
			names, _, err := s.engine.Views(ctx)
			return names, err
		}})
	httpapi.Probes{Ready: s.engine.Ready, Gatherer: o.Registry, OpenAPI: o.OpenAPI, Protect: protect, Open: o.OpenProbes,
		MaySee: func(ctx context.Context, view string) bool { return access.CheckView(ctx, view) == nil }}.Register(s.mux)
	page.New(s.engine, s.forests, s.keys, entryParams, o.Administer).Register(s.mux)
}

// viewHandler answers one call on a view that the caller may read.
type viewHandler func(w http.ResponseWriter, r *http.Request, view string) error

func (s *Server) serveView(w http.ResponseWriter, r *http.Request, f viewHandler) error {
	view := r.PathValue("view_id")
	if err := access.CheckView(r.Context(), view); err != nil {
		return err
	}
	return s.serveCall(w, r, view, f)
}

// serveCall answers a call, and says what that cost. view is empty where the call is about none.
func (s *Server) serveCall(w http.ResponseWriter, r *http.Request, view string, f viewHandler) error {
	if err := r.Context().Err(); err != nil { // the client has gone: do not build an answer from the cache
		return err
	}
	ctx, charged := engine.WithCost(r.Context())
	c := &cost{Cost: charged, started: s.now(), now: s.now}
	r = r.WithContext(ctx)
	var err error
	if c.explain, err = takeExplain(r); err != nil {
		return err
	}
	if _, restricted := engine.ReaderOf(ctx); restricted { // what an answer costs depends on what it does not show
		if c.explain {
			return &httpapi.Error{Status: http.StatusForbidden, Detail: "what an answer costs is shown only to those who may see everything", Hint: "leave out explain"}
		}
		c.hidden = true
	}
	out := &costWriter{ResponseWriter: w, cost: c}
	if err := f(out, r, view); err != nil {
		if !out.written && !c.hidden {
			w.Header().Set("Fustor-Cost", c.header())
		}
		return problem.Of(view, err)
	}
	out.send()
	return nil
}
