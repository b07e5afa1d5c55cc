package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Probes are the calls that every part answers: /healthz, /readyz, /metrics and /openapi.json.
type Probes struct {
	// Ready says whether the part can do its work now; nil: always. Its error, an *Error or one of the store, is the answer.
	Ready func(ctx context.Context) error
	// Gatherer is what /metrics shows; nil: an empty page.
	Gatherer prometheus.Gatherer
	// OpenAPI is the document, JSON.
	OpenAPI []byte
	// Protect wraps all but /healthz (keys); nil: open.
	Protect func(http.Handler) http.Handler
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
	mux.HandleFunc("GET", "/healthz", func(w http.ResponseWriter, r *http.Request) error {
		WriteJSON(w, r, http.StatusOK, map[string]string{"status": "ok"})
		return nil
	})
	mux.Handle("GET", "/readyz", protect(Handler(p.ready)))
	mux.Handle("GET", "/metrics", protect(promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{})))
	mux.Handle("GET", "/openapi.json", protect(Handler(p.openAPI)))
}

func (p Probes) ready(w http.ResponseWriter, r *http.Request) error {
	if p.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := p.Ready(ctx); err != nil {
			return StoreFailure(err)
		}
	}
	WriteJSON(w, r, http.StatusOK, map[string]string{"status": "ready"})
	return nil
}

func (p Probes) openAPI(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(p.OpenAPI)
	return err
}

func isProbe(path string) bool { return path == "/healthz" || path == "/readyz" || path == "/metrics" }
