// Package ingest is the pipe side of Fustor's HTTP API: what agents speak. It registers their sessions, elects one
// leader for each view, keeps both alive by heartbeats, and takes in or grants the upload of segments.
//
// It keeps no state: everything is in the object store (internal/session), and any number of ingest processes on one
// store give the same answers. What a process remembers saves reads and decides nothing. Every answer carries
// server_time_ns, the store's time, by which agents set their clocks. cmd/ serves the Handler.
package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/httpapi/openapi"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// requestTimeout bounds everything that a request asks of the store, and the reading of its body.
const requestTimeout = 60 * time.Second

// Options of an Ingest. Store and Authenticator must be given.
type Options struct {
	Store         store.Store
	Authenticator *access.Authenticator
	Logger        *slog.Logger         // nil: no log
	Registry      *prometheus.Registry // for metrics, shown at /metrics; nil: one of its own
	OpenProbes    bool                 // /readyz and /metrics are answered without a key
	Now           func() time.Time     // nil: time.Now
	Rand          io.Reader            // of ids and nonces; nil: crypto/rand
	// AnswerAtOnce has calls that wait for commands answered at once, for functions that are billed by time.
	AnswerAtOnce bool
	// Retain is what the administrator's call for retention runs; nil: this server has none.
	Retain func(ctx context.Context, view string, dry bool) ([]admin.Removal, error)
	// UploadMemory bounds the bytes of segments that are in memory at once, at least MinUploadMemory; further uploads wait. 0: 128 MiB.
	UploadMemory int64
	// OnSegment, if set, hears of every segment that came through this process. It must not block. Agents then send small segments
	// through it and not past it.
	OnSegment func(view, session string, seq uint64)
}

// Ingest answers the pipe side. It is safe for concurrent use.
type Ingest struct {
	store   store.Store
	counted *store.Counted
	clock   *store.Clock
	ledger  *session.Ledger
	views   *viewconfig.Loader
	keys    *access.Authenticator
	logger  *slog.Logger
	now     func() time.Time
	random  io.Reader
	bells   bells
	// answerAtOnce is Options.AnswerAtOnce.
	answerAtOnce bool
	onSegment    func(view, session string, seq uint64)
	uploads      *uploads
	metrics      *metrics
	v2           *v2side
	mux          *httpapi.Mux
	v2mux        *httpapi.Mux // routesForV2
	handler      http.Handler
}

// New returns an Ingest. It asks nothing of the store yet.
func New(o Options) (*Ingest, error) {
	if o.Store == nil || o.Authenticator == nil {
		return nil, errors.New("ingest needs a store and an authenticator")
	}
	if o.UploadMemory == 0 {
		o.UploadMemory = uploadMemory
	}
	if o.UploadMemory < MinUploadMemory {
		return nil, fmt.Errorf("the memory for uploads is %d bytes, and segments may take %d of it", o.UploadMemory, MinUploadMemory)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	i := &Ingest{clock: store.NewClock(o.Now), counted: store.Count(o.Store), keys: o.Authenticator, logger: o.Logger, now: o.Now,
		random:       o.Rand,
		answerAtOnce: o.AnswerAtOnce, bells: bells{heard: map[string]heard{}}, onSegment: o.OnSegment, uploads: newUploads(o.UploadMemory, maxSegment+maxSegment/4, maxSegment)}
	i.store = i.clock.Watch(i.counted)
	i.views = viewconfig.NewLoader(i.store, o.Now)
	var err error
	if i.ledger, err = session.NewLedger(i.store, i.clock, o.Rand); err != nil {
		return nil, err
	}
	requests, err := httpapi.NewMetrics(o.Registry, "ingest")
	if err == nil {
		err = httpapi.RegisterStoreCounts(o.Registry, "ingest", i.counted)
	}
	if err == nil {
		i.metrics, err = newMetrics(o.Registry, o.Now)
	}
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if i.v2, err = newV2(i); err != nil {
		return nil, err
	}
	administrator, err := admin.New(admin.Options{Store: i.store, Now: o.Now, Random: o.Rand, Retain: o.Retain})
	if err != nil {
		return nil, err
	}
	i.mux = i.routes(o.Registry, o.OpenProbes)
	administrator.Register(i.mux, func(h http.Handler) http.Handler { return i.keys.Require(h, access.Admin) })
	frame := httpapi.Frame{Logger: o.Logger, Metrics: requests, Now: o.Now, Timeout: requestTimeout, ServerTime: i.clock.Measured}
	i.v2mux = i.routesForV2()
	forV2 := httpapi.ForV2(i.v2mux)
	i.handler = frame.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if httpapi.IsV2(r.URL.Path) {
			forV2.ServeHTTP(w, r)
			return
		}
		i.mux.ServeHTTP(w, r)
	}))
	return i, nil
}

// OpenAPI makes the document of what the Handler serves (OpenAPI 3.1, JSON).
func (i *Ingest) OpenAPI() ([]byte, error) {
	d := document
	d.Path, d.Types, d.Notes = slices.Concat(d.Path, admin.OpenAPIPath), slices.Concat(d.Types, admin.OpenAPITypes), slices.Concat(d.Notes, admin.OpenAPINotes)
	return i.mux.OpenAPI(d)
}

// Handler serves the pipe side and the probes.
func (i *Ingest) Handler() http.Handler { return i.handler }

func (i *Ingest) routes(gatherer prometheus.Gatherer, openProbes bool) *httpapi.Mux {
	mux := httpapi.NewMux()
	httpapi.Probes{Ready: i.ready, Gatherer: gatherer, Open: openProbes,
		MaySee: func(ctx context.Context, view string) bool { return access.CheckView(ctx, view) == nil }, OpenAPI: i.OpenAPI, Protect: func(h http.Handler) http.Handler {
			return i.keys.Require(h, access.Ingest, access.Query)
		}}.Register(mux)
	handle := func(method, pattern string, o *openapi.Operation, f func(*call) error) {
		mux.HandleAPI(method, "/api/v1/pipe"+pattern, o, i.keys.Require(i.call(f), access.Ingest))
	}
	mux.HandleAPI("GET", "/api/v1/pipe/session", &authorizedOperation, i.keys.Require(i.call(i.authorized), access.Ingest, access.Query))
	handle("POST", "/session", &createSessionOperation, i.createAnySession)
	handle("DELETE", "/session/{id}", &endSessionOperation, i.endSession)
	handle("POST", "/session/{id}/heartbeat", &heartbeatOperation, i.anyHeartbeat)
	handle("POST", "/session/{id}/uploads", &grantUploadsOperation, i.grantUploads)
	handle("PUT", "/session/{id}/segments/{seq}", &putSegmentOperation, i.putSegment)
	handle("POST", "/ingest/{id}/events", &sendEventsOperation, i.takeEvents)
	handle("POST", "/consistency/audit/start", &auditStartOperation, i.auditMark)
	handle("POST", "/consistency/audit/end", &auditEndOperation, i.auditMark)
	handle("GET", "/session/{id}/commands", &awaitCommandsOperation, i.awaitCommands)
	mux.HandleAPI("POST", "/api/v1/pipe/session/{id}/commands", &askCommandOperation, i.keys.Require(i.call(i.askCommand), access.Admin))
	handle("POST", "/session/{id}/jobs/{job}", &reportJobOperation, i.reportJob)
	handle("GET", "/consistency/sentinel/tasks", &sentinelTasksOperation, i.sentinelTasks)
	handle("POST", "/consistency/sentinel/feedback", &sentinelFeedbackOperation, i.sentinelFeedback)
	handle("GET", "/pipes", &listPipesOperation, i.listPipes)
	handle("GET", "/pipes/{id}", &showPipeOperation, i.showPipe)
	handle("GET", "/stats", &statsOperation, i.stats)
	i.routesOfV2(mux)
	return mux
}

// ready asks the store for something small, whether or not it is there.
func (i *Ingest) ready(ctx context.Context) error {
	_, err := i.store.Get(ctx, layout.ViewConfig("default"))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
