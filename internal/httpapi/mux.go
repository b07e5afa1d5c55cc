package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/httpapi/openapi"
)

// Route is one call that a Mux answers.
type Route struct {
	Method  string
	Pattern string // as in http.ServeMux, without method and trailing slash
	// Operation describes it in the server's OpenAPI document; nil: it is not in there, as a page for people.
	Operation *openapi.Operation
}

// Mux is http.ServeMux for APIs: handlers return errors, a trailing slash makes no difference, what it does not know is
// a problem like every other error, and it can tell what it serves.
type Mux struct {
	mux    *http.ServeMux
	routes []Route
}

// NewMux returns a Mux without routes.
func NewMux() *Mux { return &Mux{mux: http.NewServeMux()} }

// Handle serves method (GET serves HEAD too) on pattern, which begins and does not end with a slash, and on pattern
// with a trailing slash, unless it ends in a wildcard of the rest ({name...}).
func (m *Mux) Handle(method, pattern string, h http.Handler) { m.HandleAPI(method, pattern, nil, h) }

// HandleAPI is Handle for a call that the server's OpenAPI document describes as o.
func (m *Mux) HandleAPI(method, pattern string, o *openapi.Operation, h http.Handler) {
	m.routes = append(m.routes, Route{method, pattern, o})
	if pattern == "/" {
		m.mux.Handle(method+" /{$}", h)
		return
	}
	m.mux.Handle(method+" "+pattern, h)
	if !strings.HasSuffix(pattern, "...}") {
		m.mux.Handle(method+" "+pattern+"/{$}", h)
	}
}

// HandleUnlisted is Handle for another name of a call, kept for clients that know it by that: Routes does not tell of it.
func (m *Mux) HandleUnlisted(method, pattern string, h http.Handler) {
	m.Handle(method, pattern, h)
	m.routes = m.routes[:len(m.routes)-1]
}

// HandleFunc is Handle for a function whose error is answered by Fail.
func (m *Mux) HandleFunc(method, pattern string, f func(http.ResponseWriter, *http.Request) error) {
	m.Handle(method, pattern, Handler(f))
}

// Handler is a handler that may fail before it has written anything; Fail answers then.
type Handler func(http.ResponseWriter, *http.Request) error

// ServeHTTP implements http.Handler.
func (f Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := f(w, r); err != nil {
		Fail(w, r, err)
	}
}

// OpenAPI makes the document of the routes that have an Operation, and of other calls.
func (m *Mux) OpenAPI(d openapi.Document, others ...openapi.Call) ([]byte, error) {
	return d.Build(slices.Concat(m.OpenAPICalls(), others))
}

// OpenAPICalls are the routes, for a document.
func (m *Mux) OpenAPICalls() []openapi.Call {
	calls := make([]openapi.Call, 0, len(m.routes))
	for _, r := range m.routes {
		calls = append(calls, openapi.Call{Method: r.Method, Path: r.Pattern, Operation: r.Operation})
	}
	return calls
}

// Routes are the calls served, in the order in which they were added.
func (m *Mux) Routes() []Route { return slices.Clone(m.routes) }

// Knows reports whether a call answers r.
func (m *Mux) Knows(r *http.Request) bool {
	_, pattern := m.mux.Handler(r)
	return pattern != ""
}

// ServeHTTP implements http.Handler.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, pattern := m.mux.Handler(r)
	if pattern != "" {
		m.mux.ServeHTTP(w, r)
		return
	}
	// ServeMux knows whether it is 404 or 405 and what is allowed; only its words are replaced.
	probe := statusOnly{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(&probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		allow := probe.header.Get("Allow")
		w.Header().Set("Allow", allow)
		Problem(w, r, probe.status, "this path does not accept "+methodName(r.Method), "it accepts "+allow)
		return
	}
	Problem(w, r, http.StatusNotFound, "there is nothing at this path", "the calls are listed in /openapi.json")
}

// methodName keeps what a client made up out of answers.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "that method"
}

type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
