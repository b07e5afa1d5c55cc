// Package catalog is the REST catalog of Iceberg, for reading: which tables there are, and the metadata of one. Each view that a key may
// read is a table of that name in the namespace fustor, its changes are one in the namespace changes, and in the namespace named it is a
// view of SQL over the table, with the columns that people ask for.
//
// Invariants: it answers with the form of Iceberg's REST specification, errors included; it hands out no credentials, so engines reach
// the store with their own; it writes nothing, and calls that would are refused as the specification says. A call about a table reads
// one small object, or two, and about a view of SQL some more; a list of tables one for each. query mounts it at /iceberg.
package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/httpapi/openapi"
	"github.com/fustor/fustor/internal/iceberg"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// The namespaces. A view of Fustor has its name in each; so names cannot collide, whatever views are called.
const (
	Namespace = iceberg.Namespace // of the tables; the one warehouse is called so, too
	changes   = "changes"         // of the tables of changes
	named     = "named"           // of the views of SQL
)

// lake is what docs/sql.md calls the catalog in an engine. Trino reads it in views of SQL, which have to name a catalog there.
const lake = "lake"

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
	o         Options
	mux       *httpapi.Mux
	handler   http.Handler
	endpoints []string // the calls as the specification names them, for clients, which then leave out others
}

// call is a call of the specification that is answered.
type call struct {
	method, path string // below /v1
	operation    *openapi.Operation
	// answer makes the body; nil: there is none.
	answer func(*API, http.ResponseWriter, *http.Request, *httpapi.Params) (any, error)
}

const (
	namespacePath = "/namespaces/{namespace}"
	tablePath     = namespacePath + "/tables/{table}"
	viewPath      = namespacePath + "/views/{view}"
)

// calls are those that are answered.
var calls = []call{
	{http.MethodGet, "/config", &configOperation, (*API).config},
	{http.MethodGet, "/namespaces", &namespacesOperation, (*API).namespaces},
	{http.MethodGet, namespacePath, &namespaceOperation, (*API).namespace},
	{http.MethodGet, namespacePath + "/tables", &tablesOperation, (*API).tables},
	{http.MethodGet, tablePath, &tableOperation, (*API).table},
	{http.MethodGet, tablePath + "/credentials", &credentialsOperation, (*API).credentials},
	{http.MethodPost, tablePath + "/metrics", &metricsOperation, (*API).metrics},
	{http.MethodGet, namespacePath + "/views", &viewsOperation, (*API).views},
	{http.MethodGet, viewPath, &viewOperation, (*API).view},
}

// refused are the calls of the specification that write, or that have the server plan a scan.
var refused = []string{
	"POST /namespaces", "DELETE " + namespacePath, "POST " + namespacePath + "/properties",
	"POST " + namespacePath + "/tables", "POST " + namespacePath + "/register", "POST " + tablePath, "DELETE " + tablePath,
	"POST " + tablePath + "/plan", "POST " + tablePath + "/tasks", "POST /tables/rename", "POST /transactions/commit",
	"POST " + namespacePath + "/views", "POST " + viewPath, "DELETE " + viewPath,
	"POST " + namespacePath + "/register-view", "POST /views/rename",
}

// New makes the calls.
func New(o Options) *API {
	a := &API{o: o, mux: httpapi.NewMux()}
	const base = httpapi.IcebergPrefix + "/v1"
	for _, c := range calls {
		a.mux.HandleAPI(c.method, base+c.path, c.operation, o.Protect(httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
			answer, err := c.answer(a, w, r, httpapi.Query(r))
			if err != nil {
				return err
			}
			return write(w, r, answer)
		})))
		a.endpoints = append(a.endpoints, c.method+" /v1/{prefix}"+c.path)
		if c.path == namespacePath || c.path == tablePath || c.path == viewPath {
			a.endpoints = append(a.endpoints, "HEAD /v1/{prefix}"+c.path)
		}
	}
	for _, c := range refused {
		method, path, _ := strings.Cut(c, " ")
		a.mux.Handle(method, base+path, o.Protect(httpapi.Handler(func(http.ResponseWriter, *http.Request) error { return errReadOnly })))
	}
	a.mux.HandleUnlisted(http.MethodPost, base+"/oauth/tokens", http.HandlerFunc(noTokens))
	a.handler = httpapi.ForIceberg(a.mux)
	return a
}

// write writes an answer with an ETag, or none if there is nothing to say.
func write(w http.ResponseWriter, r *http.Request, answer any) error {
	if answer == nil || r.Method == http.MethodHead {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encode an answer of the catalog: %w", err)
	}
	sum := sha256.Sum256(body)
	tag := `W/"` + hex.EncodeToString(sum[:12]) + `"`
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "private, no-cache")
	for given := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		if "W/"+strings.TrimPrefix(strings.TrimSpace(given), "W/") == tag {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	h.Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // a client that went away is no error of ours
	return nil
}

// errReadOnly refuses what would write.
var errReadOnly = &httpapi.IcebergError{Type: "UnsupportedOperationException", Err: &httpapi.Error{Status: http.StatusNotAcceptable,
	Detail: "this catalog is for reading: its tables are views of Fustor, which publishes them", Hint: "write to a table of another catalog"}}

// noTokens answers clients that are set up to ask for a token: an API key is one already.
func noTokens(w http.ResponseWriter, _ *http.Request) {
	body := []byte(`{"error":"unsupported_grant_type","error_description":"an API key of Fustor is the token: set the property token, not credential"}` + "\n")
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write(body)
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Routes are the calls.
func (a *API) Routes() []httpapi.Route { return a.mux.Routes() }

// OpenAPICalls are the calls for the server's OpenAPI document.
func (a *API) OpenAPICalls() []openapi.Call { return a.mux.OpenAPICalls() }

type configAnswer struct {
	Defaults  map[string]string `json:"defaults"`
	Overrides map[string]string `json:"overrides"`
	Endpoints []string          `json:"endpoints"`
}

func (a *API) config(_ http.ResponseWriter, _ *http.Request, q *httpapi.Params) (any, error) {
	if w := q.String("warehouse", ""); w != "" && w != Namespace && q.Err() == nil {
		return nil, httpapi.BadRequest(fmt.Sprintf("there is no warehouse %q", w), "the only one is "+Namespace+"; leave it out, or name that")
	}
	return configAnswer{map[string]string{}, map[string]string{}, a.endpoints[1:]}, q.Err() // the first is this one
}

// page is which part of a list a request asks for: all of it, unless it has a pageToken, which is empty for the first page, or a
// pageSize.
type page struct {
	token string
	size  int64 // 0: all
}

func readPage(q *httpapi.Params) (p page) {
	if q.Has("pageToken") || q.Has("pageSize") {
		p.token, p.size = q.String("pageToken", ""), q.Int("pageSize", defaultPage, 1, 1<<31-1)
	}
	return p
}

// of are the names of the page, and the token of the next one. names are sorted.
func (p page) of(names []string) (part []string, next string, err error) {
	if p.size == 0 {
		return names, "", nil
	}
	after, err := base64.RawURLEncoding.DecodeString(p.token)
	if err != nil {
		return nil, "", httpapi.BadRequest("the pageToken is not one that this catalog gave", "begin again with an empty one")
	}
	at, found := slices.BinarySearch(names, string(after))
	if found {
		at++
	}
	if names = names[at:]; int64(len(names)) > p.size {
		names = names[:p.size]
		next = base64.RawURLEncoding.EncodeToString([]byte(names[p.size-1]))
	}
	return names, next, nil
}

// defaultPage is how many entries a page has if the request does not say.
const defaultPage = 1000

type namespacesAnswer struct {
	Namespaces [][]string `json:"namespaces"`
	Next       string     `json:"next-page-token,omitempty"`
}

func (a *API) namespaces(_ http.ResponseWriter, _ *http.Request, q *httpapi.Params) (any, error) {
	parent, asked, all := q.String("parent", ""), readPage(q), []string{changes, Namespace, named}
	switch {
	case q.Err() != nil:
		return nil, q.Err()
	case slices.Contains(all, parent):
		all = nil
	case parent != "":
		return nil, noNamespace(parent)
	}
	names, next, err := asked.of(all)
	answer := namespacesAnswer{Namespaces: [][]string{}, Next: next}
	for _, name := range names {
		answer.Namespaces = append(answer.Namespaces, []string{name})
	}
	return answer, err
}

// noNamespace refuses a name, whose parts are separated by the unit separator.
func noNamespace(name string) error {
	return &httpapi.IcebergError{Type: "NoSuchNamespaceException", Err: httpapi.Errorf(http.StatusNotFound, "there is no namespace %q: those that there are are %s, %s and %s",
		strings.ReplaceAll(name, "\x1f", "."), Namespace, changes, named)}
}

func checkNamespace(r *http.Request, q *httpapi.Params) error {
	if err := q.Err(); err != nil {
		return err
	}
	switch name := r.PathValue("namespace"); name {
	case Namespace, changes, named:
		return nil
	default:
		return noNamespace(name)
	}
}

type namespaceAnswer struct {
	Namespace  []string          `json:"namespace"`
	Properties map[string]string `json:"properties"`
}

func (a *API) namespace(_ http.ResponseWriter, r *http.Request, q *httpapi.Params) (any, error) {
	return namespaceAnswer{[]string{r.PathValue("namespace")}, map[string]string{}}, checkNamespace(r, q)
}

type tablesAnswer struct {
	Identifiers []identifier `json:"identifiers"`
	Next        string       `json:"next-page-token,omitempty"`
}

type identifier struct {
	Namespace []string `json:"namespace"`
	Name      string   `json:"name"`
}

const parallelReads = 8

// tablesOf is where the tables of a namespace are; nil: it has none.
func tablesOf(namespace string) func(view string) string {
	switch namespace {
	case Namespace:
		return layout.Iceberg
	case changes:
		return layout.IcebergChanges
	}
	return nil
}

// tables are the tables of the namespace whose views the key may read.
func (a *API) tables(_ http.ResponseWriter, r *http.Request, q *httpapi.Params) (any, error) {
	return a.list(r, q, tablesOf(r.PathValue("namespace")))
}

// views are the views of SQL of the namespace: one for each table.
func (a *API) views(_ http.ResponseWriter, r *http.Request, q *httpapi.Params) (any, error) {
	if r.PathValue("namespace") == named {
		return a.list(r, q, layout.Iceberg)
	}
	return a.list(r, q, nil)
}

// list are the views of the key that have a table. A page is of so many views, and has those of them.
func (a *API) list(r *http.Request, q *httpapi.Params, table func(view string) string) (any, error) {
	asked := readPage(q)
	if err := checkNamespace(r, q); err != nil {
		return nil, err
	}
	if table == nil {
		return tablesAnswer{Identifiers: []identifier{}}, nil
	}
	key, _ := access.FromContext(r.Context())
	views := slices.Clone(key.Views.Names)
	if key.Views.All {
		var err error
		if views, err = a.o.Views(r.Context()); err != nil {
			return nil, httpapi.StoreFailure(err)
		}
	}
	views = slices.DeleteFunc(views, func(view string) bool { return !key.Views.Has(view) })
	slices.Sort(views)
	views, next, err := asked.of(slices.Compact(views))
	if err != nil {
		return nil, err
	}
	published := make([]bool, len(views))
	g, ctx := errgroup.WithContext(r.Context())
	g.SetLimit(parallelReads)
	for i, view := range views {
		g.Go(func() (err error) {
			published[i], err = a.published(ctx, table(view))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	answer := tablesAnswer{Identifiers: []identifier{}, Next: next}
	for i, view := range views {
		if published[i] {
			answer.Identifiers = append(answer.Identifiers, identifier{[]string{r.PathValue("namespace")}, view})
		}
	}
	return answer, nil
}

// published reports whether there is the table with a prefix.
func (a *API) published(ctx context.Context, table string) (bool, error) {
	_, err := a.o.Store.Get(ctx, layout.IcebergHint(table))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, httpapi.StoreFailure(err)
}

// checkTable is the view that a request is about, if its key may read it. Where there is no such namespace, there is no such table:
// engines ask for the table snapshots of the namespace fustor.research, and take that answer to mean the snapshots of a table.
func checkTable(r *http.Request, q *httpapi.Params) (view string, err error) {
	if err := q.Err(); err != nil {
		return "", err
	}
	namespace, view := r.PathValue("namespace"), r.PathValue("table")
	if tablesOf(namespace) == nil {
		return "", noTable(strings.ReplaceAll(namespace, "\x1f", ".") + "." + view)
	}
	if !layout.ValidView(view) {
		return "", noTable(view)
	}
	return view, access.CheckView(r.Context(), view)
}

type tableAnswer struct {
	Location    string            `json:"metadata-location"`
	Metadata    json.RawMessage   `json:"metadata"`
	Config      map[string]string `json:"config"`
	Credentials []struct{}        `json:"storage-credentials"`
}

// table loads a table.
func (a *API) table(_ http.ResponseWriter, r *http.Request, q *httpapi.Params) (any, error) {
	q.String("referenced-by", "") // of a view that reads it; who may read the table may read it there
	snapshots := q.Enum("snapshots", "all", "all", "refs")
	view, err := checkTable(r, q)
	if err != nil {
		return nil, err
	}
	read := iceberg.Load
	if r.PathValue("namespace") == changes {
		read = iceberg.LoadChanges
	}
	t, err := read(r.Context(), a.o.Store, view)
	if errors.Is(err, iceberg.ErrNone) {
		return nil, noTableOf(r, view)
	}
	if err != nil {
		return nil, httpapi.StoreFailure(err)
	}
	if snapshots == "refs" {
		if t.Body, err = t.OnlyRefs(); err != nil {
			return nil, err
		}
	}
	return tableAnswer{Location: fmt.Sprintf("%s/metadata/v%d.metadata.json", t.Metadata.Location, t.Number), Metadata: bytes.TrimSpace(t.Body),
		Config: iceberg.EngineConfig(a.o.Store.String()), Credentials: []struct{}{}}, nil
}

type credentialsAnswer struct {
	Credentials []struct{} `json:"storage-credentials"`
}

// credentials are none: engines have their own.
func (a *API) credentials(_ http.ResponseWriter, r *http.Request, q *httpapi.Params) (any, error) {
	q.String("planId", "")
	q.String("referenced-by", "")
	return credentialsAnswer{[]struct{}{}}, a.checkPublished(r, q)
}

func (a *API) checkPublished(r *http.Request, q *httpapi.Params) error {
	view, err := checkTable(r, q)
	if err != nil {
		return err
	}
	there, err := a.published(r.Context(), tablesOf(r.PathValue("namespace"))(view))
	if err == nil && !there {
		return noTableOf(r, view)
	}
	return err
}

// maxReport bounds a report of metrics, bytes.
const maxReport = 1 << 20

// metrics takes what an engine reports of a scan, which nobody asks for.
func (a *API) metrics(w http.ResponseWriter, r *http.Request, q *httpapi.Params) (any, error) {
	if err := a.checkPublished(r, q); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	if err != nil {
		return nil, err
	}
	var report struct {
		Type string `json:"report-type"`
	}
	if json.Unmarshal(body, &report) != nil || report.Type == "" {
		return nil, httpapi.BadRequest("the body is no report of metrics", "it is a JSON object with a report-type")
	}
	return nil, nil
}

func noTable(view string) error {
	return &httpapi.IcebergError{Type: "NoSuchTableException", Err: httpapi.Errorf(http.StatusNotFound,
		"there is no table %q: a view is published when its first scan is complete, unless its settings say never; a forest is no table, its members are", view)}
}

// noTableOf is noTable in the namespace that a request is about.
func noTableOf(r *http.Request, view string) error {
	if r.PathValue("namespace") != changes {
		return noTable(view)
	}
	return &httpapi.IcebergError{Type: "NoSuchTableException", Err: httpapi.Errorf(http.StatusNotFound,
		"there is no table of the changes of %q: they are published if its settings ask for it (--iceberg-changes)", view)}
}

// viewAnswer is a view of SQL.
type viewAnswer struct {
	Location string               `json:"metadata-location"`
	Metadata iceberg.ViewMetadata `json:"metadata"`
	Config   map[string]string    `json:"config"`
}

// view loads a view of SQL.
func (a *API) view(_ http.ResponseWriter, r *http.Request, q *httpapi.Params) (any, error) {
	q.String("referenced-by", "")
	if err := q.Err(); err != nil {
		return nil, err
	}
	namespace, view := r.PathValue("namespace"), r.PathValue("view")
	if layout.ValidView(view) {
		if err := access.CheckView(r.Context(), view); err != nil {
			return nil, err
		}
	}
	if namespace != named || !layout.ValidView(view) {
		return nil, noView(strings.ReplaceAll(namespace, "\x1f", ".") + "." + view)
	}
	t, err := iceberg.Load(r.Context(), a.o.Store, view)
	if errors.Is(err, iceberg.ErrNone) {
		return nil, noView(named + "." + view)
	}
	if err != nil {
		return nil, httpapi.StoreFailure(err)
	}
	names, err := manifest.NewestNames(r.Context(), a.o.Store, view)
	if err != nil {
		return nil, httpapi.StoreFailure(err)
	}
	m := t.ViewMetadata(view, lake, names)
	return viewAnswer{m.Location + "/metadata/view.json", m, map[string]string{}}, nil
}

func noView(name string) error {
	return &httpapi.IcebergError{Type: "NoSuchViewException", Err: httpapi.Errorf(http.StatusNotFound,
		"there is no view of SQL %q: each table of the namespace %s has one in the namespace %s", name, Namespace, named)}
}
