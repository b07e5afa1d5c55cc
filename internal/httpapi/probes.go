package httpapi

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/fustor/fustor/internal/httpapi/openapi"
)

// Probes are the calls that every part answers: /healthz, /readyz, /metrics and /openapi.json.
type Probes struct {
	// Ready says whether the part can do its work now; nil: always. Its error, an *Error or one of the store, is the answer.
	Ready func(ctx context.Context) error
	// Gatherer is what /metrics shows; nil: an empty page.
	Gatherer prometheus.Gatherer
	// OpenAPI makes the document, JSON. It is called once, when somebody asks for it.
	OpenAPI func() ([]byte, error)
	// Protect wraps all but /healthz (keys); nil: open.
	Protect func(http.Handler) http.Handler
	// Open leaves /readyz and /metrics out of that: for probes and scrapers that have no key.
	Open bool
	// MaySee says whether a caller of /metrics, whom Protect let in, may see what is labelled with a view; nil, or Open: everything.
	MaySee func(ctx context.Context, view string) bool
}

// readyTimeout bounds what /readyz may take.
const readyTimeout = 5 * time.Second

// Register adds the probes to mux.
func (p Probes) Register(mux *Mux) {
	protect := p.Protect
	if protect == nil {
		protect = func(h http.Handler) http.Handler { return h }
	}
	gatherer := p.Gatherer
	if gatherer == nil {
		gatherer = prometheus.NewRegistry()
	}
	probe := protect
	if p.Open {
		probe = func(h http.Handler) http.Handler { return h }
	}
	p.OpenAPI = sync.OnceValues(p.OpenAPI)
	mux.HandleAPI("GET", "/healthz", &healthOperation, Handler(func(w http.ResponseWriter, r *http.Request) error {
		WriteJSON(w, r, http.StatusOK, ProbeAnswer{Status: "ok"})
		return nil
	}))
	mux.HandleAPI("GET", "/readyz", &readyOperation, probe(Handler(p.ready)))
	mux.HandleAPI("GET", "/metrics", &metricsOperation, probe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		promhttp.HandlerFor(p.seen(r.Context(), gatherer), promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})))
	mux.HandleAPI("GET", "/openapi.json", &documentOperation, protect(Handler(p.openAPI)))
}

// seen is what a caller may see of the metrics.
func (p Probes) seen(ctx context.Context, all prometheus.Gatherer) prometheus.Gatherer {
	if p.Open || p.MaySee == nil {
		return all
	}
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := all.Gather()
		for _, f := range families {
			f.Metric = slices.DeleteFunc(f.Metric, func(m *dto.Metric) bool {
				return slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == "view" && !p.MaySee(ctx, l.GetValue()) })
			})
		}
		return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return len(f.Metric) == 0 }), err
	})
}

// ProbeAnswer answers /healthz and /readyz.
type ProbeAnswer struct {
	Status string `json:"status"` // ok; ready
}

var (
	probeErrors     = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable}
	healthOperation = openapi.Operation{ID: "healthz", Tag: "probes", Summary: "The process answers", Open: true,
		Answers: []openapi.Answer{{Text: "It does.", Type: (*ProbeAnswer)(nil), Example: `{"status":"ok"}`}}}
	readyOperation = openapi.Operation{ID: "readyz", Tag: "probes", Summary: "The object store answers (a server with --open-probes asks for no key)",
		Answers: []openapi.Answer{{Text: "It does.", Type: (*ProbeAnswer)(nil), Example: `{"status":"ready"}`}}, Errors: probeErrors}
	metricsOperation = openapi.Operation{ID: "metrics", Tag: "probes", Summary: "Metrics for Prometheus (a server with --open-probes asks for no key)",
		Answers: []openapi.Answer{{Text: "Prometheus text format.", Media: "text/plain", Schema: `{"type":"string"}`}}, Errors: probeErrors}
	documentOperation = openapi.Operation{ID: "openapi", Tag: "probes", Summary: "This document",
		Answers: []openapi.Answer{{Text: "OpenAPI 3.1.", Schema: `{"type":"object"}`}}, Errors: probeErrors}
)

func (p Probes) ready(w http.ResponseWriter, r *http.Request) error {
	if p.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := p.Ready(ctx); err != nil {
			return StoreFailure(err)
		}
	}
	WriteJSON(w, r, http.StatusOK, ProbeAnswer{Status: "ready"})
	return nil
}

func (p Probes) openAPI(w http.ResponseWriter, r *http.Request) error {
	document, err := p.OpenAPI()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(document)
	return err
}

func isProbe(path string) bool { return path == "/healthz" || path == "/readyz" || path == "/metrics" }
