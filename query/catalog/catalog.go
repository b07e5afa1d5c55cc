// Package catalog is the REST catalog of Iceberg, for reading: which tables there are, and the metadata of one. Each view that a key may
// read is a table of that name in the namespace fustor.
//
// Invariants: it answers with the form of Iceberg's REST specification, errors included; it hands out no credentials, so engines reach
// the store with their own; it writes nothing. A call reads one small object, or two. query mounts it at /iceberg.
package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/iceberg"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// Namespace is the one namespace that there is.
const Namespace = "fustor"

// Options are what an API needs.
type Options struct {
	Store store.Store
	// Protect asks for a key.
	Protect func(http.Handler) http.Handler
	// Views are the views of the store.
	Views func(context.Context) ([]string, error)
}

// API answers the calls.
type API struct {
	o       Options
	mux     *httpapi.Mux
	handler http.Handler
}

// endpoints are the calls of the specification that are answered. Clients leave out others.
var endpoints = []string{
	"GET /v1/{prefix}/namespaces", "GET /v1/{prefix}/namespaces/{namespace}", "HEAD /v1/{prefix}/namespaces/{namespace}",
	"GET /v1/{prefix}/namespaces/{namespace}/tables", "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
	"HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
}

// New makes the calls.
func New(o Options) *API {
	a := &API{o: o, mux: httpapi.NewMux()}
	const base, one = httpapi.IcebergPrefix + "/v1", httpapi.IcebergPrefix + "/v1/namespaces/{namespace}"
	for pattern, f := range map[string]func(*http.Request, *httpapi.Params) (any, error){
		base + "/config": a.config, base + "/namespaces": a.namespaces, one: a.namespace, one + "/tables": a.tables, one + "/tables/{table}": a.table,
	} {
		a.mux.Handle(http.MethodGet, pattern, o.Protect(httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
			q := httpapi.Query(r)
			for _, name := range []string{"pageToken", "pageSize"} { // one page has all
				q.String(name, "")
			}
			answer, err := f(r, q)
			if err != nil {
				return err
			}
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusNoContent)
				return nil
			}
			httpapi.WriteJSON(w, r, http.StatusOK, answer)
			return nil
		})))
	}
	a.handler = httpapi.ForIceberg(a.mux)
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Routes are the calls.
func (a *API) Routes() []httpapi.Route { return a.mux.Routes() }

type configAnswer struct {
	Defaults  map[string]string `json:"defaults"`
	Overrides map[string]string `json:"overrides"`
	Endpoints []string          `json:"endpoints"`
}

func (a *API) config(_ *http.Request, q *httpapi.Params) (any, error) {
	q.String("warehouse", "") // there is one
	return configAnswer{map[string]string{}, map[string]string{}, endpoints}, q.Err()
}

type namespacesAnswer struct {
	Namespaces [][]string `json:"namespaces"`
}

func (a *API) namespaces(_ *http.Request, q *httpapi.Params) (any, error) {
	switch parent := q.String("parent", ""); {
	case q.Err() != nil:
		return nil, q.Err()
	case parent == "":
		return namespacesAnswer{[][]string{{Namespace}}}, nil
	case parent == Namespace:
		return namespacesAnswer{[][]string{}}, nil
	default:
		return nil, noNamespace()
	}
}

func noNamespace() error {
	return &httpapi.IcebergError{Type: "NoSuchNamespaceException", Err: httpapi.Errorf(http.StatusNotFound, "the only namespace is %s", Namespace)}
}

func checkNamespace(r *http.Request, q *httpapi.Params) error {
	if err := q.Err(); err != nil {
		return err
	}
	if r.PathValue("namespace") != Namespace {
		return noNamespace()
	}
	return nil
}

type namespaceAnswer struct {
	Namespace  []string          `json:"namespace"`
	Properties map[string]string `json:"properties"`
}

func (a *API) namespace(r *http.Request, q *httpapi.Params) (any, error) {
	return namespaceAnswer{[]string{Namespace}, map[string]string{}}, checkNamespace(r, q)
}

type tablesAnswer struct {
	Identifiers []identifier `json:"identifiers"`
}

type identifier struct {
	Namespace []string `json:"namespace"`
	Name      string   `json:"name"`
}

// tables are the views of the key that are published.
func (a *API) tables(r *http.Request, q *httpapi.Params) (any, error) {
	if err := checkNamespace(r, q); err != nil {
		return nil, err
	}
	key, _ := access.FromContext(r.Context())
	views := key.Views.Names
	if key.Views.All {
		var err error
		if views, err = a.o.Views(r.Context()); err != nil {
			return nil, httpapi.StoreFailure(err)
		}
	}
	answer := tablesAnswer{Identifiers: []identifier{}}
	for _, view := range slices.Sorted(slices.Values(views)) {
		switch _, err := a.o.Store.Get(r.Context(), layout.IcebergHint(view)); {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, httpapi.StoreFailure(err)
		default:
			answer.Identifiers = append(answer.Identifiers, identifier{[]string{Namespace}, view})
		}
	}
	return answer, nil
}

type tableAnswer struct {
	Location string            `json:"metadata-location"`
	Metadata json.RawMessage   `json:"metadata"`
	Config   map[string]string `json:"config"`
}

// table loads a table.
func (a *API) table(r *http.Request, q *httpapi.Params) (any, error) {
	q.String("snapshots", "") // all of them are named in any case
	if err := checkNamespace(r, q); err != nil {
		return nil, err
	}
	view := r.PathValue("table")
	if !layout.ValidView(view) {
		return nil, noTable(view)
	}
	if err := access.CheckView(r.Context(), view); err != nil {
		return nil, err
	}
	t, err := iceberg.Load(r.Context(), a.o.Store, view)
	if errors.Is(err, iceberg.ErrNone) {
		return nil, noTable(view)
	}
	if err != nil {
		return nil, httpapi.StoreFailure(err)
	}
	return tableAnswer{
		Location: fmt.Sprintf("%s/metadata/v%d.metadata.json", t.Metadata.Location, t.Number), Metadata: t.Body, Config: iceberg.EngineConfig(a.o.Store.String()),
	}, nil
}

func noTable(view string) error {
	return &httpapi.IcebergError{Type: "NoSuchTableException", Err: httpapi.Errorf(http.StatusNotFound,
		"there is no table %q: a view is published when its first scan is complete, unless its settings say never; a forest is no table, its members are", view)}
}
