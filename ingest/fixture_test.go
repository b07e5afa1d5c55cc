package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/logs"
	"github.com/fustor/fustor/testkit/openapitest"
	"github.com/fustor/fustor/testkit/sessiontest"
)

const view = "research"

// The keys of every fixture.
const (
	agentKey  = "key-of-an-agent"
	otherKey  = "key-of-another-views-agent"
	manyKey   = "key-for-several-views"
	readerKey = "key-of-a-reader"
	adminKey  = "key-of-an-admin"
)

// fixture is one store and several ingest processes on it.
type fixture struct {
	t       *testing.T
	clock   *sessiontest.Clock
	store   store.Store
	ingests []*Ingest
	log     *logs.Buffer
	stored  chan string
}

func newFixture(t *testing.T, n int) *fixture {
	t.Helper()
	dir, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	clock := sessiontest.NewClock(time.Time{})
	f := &fixture{t: t, clock: clock, store: sessiontest.New(dir, clock, time.Second, nil), log: &logs.Buffer{}, stored: make(chan string, 1000)}
	for range n {
		f.ingests = append(f.ingests, f.newIngest(f.store, clock.Now))
	}
	return f
}

func (f *fixture) newIngest(s store.Store, now func() time.Time) *Ingest {
	f.t.Helper()
	only := func(views ...string) access.Views { return access.Views{Names: views} }
	keys, err := access.New(access.Options{Store: s, Now: now, Static: []access.Static{
		{Key: agentKey, Record: access.Record{Name: "agent", Roles: []access.Role{access.Ingest}, Views: only(view)}},
		{Key: otherKey, Record: access.Record{Name: "other", Roles: []access.Role{access.Ingest}, Views: only("other")}},
		{Key: manyKey, Record: access.Record{Name: "many", Roles: []access.Role{access.Ingest}, Views: only(view, "other")}},
		{Key: readerKey, Record: access.Record{Name: "reader", Roles: []access.Role{access.Query}, Views: only(view)}},
		{Key: adminKey, Record: access.Record{Name: "admin", Roles: []access.Role{access.Admin}, Views: access.AllViews}},
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	i, err := New(Options{Store: s, Authenticator: keys, Now: now, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
		OnSegment: func(view, session string, seq uint64) { f.stored <- session }})
	if err != nil {
		f.t.Fatal(err)
	}
	return i
}

// document is what /openapi.json shows.
func (f *fixture) document() []byte { return documentOf(f.t, f.ingests[0]) }

func documentOf(t testing.TB, i *Ingest) []byte {
	t.Helper()
	b, err := i.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// api is the document that every answer must keep to; it is the same for all ingests.
var api struct {
	once sync.Once
	*openapitest.Document
}

// answer is what came back, decoded.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

func (a answer) text(name string) string    { s, _ := a.body[name].(string); return s }
func (a answer) number(name string) float64 { n, _ := a.body[name].(float64); return n }

// ask sends a request with the agent's key to the n-th ingest. Every answer must be JSON and tell the time.
func (f *fixture) ask(n int, method, path, body string) answer {
	f.t.Helper()
	return f.send(f.ingests[n], agentKey, method, path, []byte(body))
}

func (f *fixture) send(i *Ingest, key, method, path string, body []byte) answer {
	f.t.Helper()
	return f.sendAs(i, key, "", method, path, body)
}

// sendAs sends with a session's secret, too.
func (f *fixture) sendAs(i *Ingest, key, secret, method, path string, body []byte) answer {
	f.t.Helper()
	r := httptest.NewRequest(method, path, bytes.NewReader(body)).WithContext(context.Background())
	if key != "" {
		r.Header.Set("X-API-Key", key)
	}
	if secret != "" {
		r.Header.Set(pipeapi.SecretHeader, secret)
	}
	w := httptest.NewRecorder()
	i.Handler().ServeHTTP(w, r)
	api.once.Do(func() { api.Document = openapitest.Read(f.t, documentOf(f.t, i)) })
	api.Answer(f.t, r, w.Code, w.Header(), w.Body.Bytes())
	a := answer{status: w.Code, header: w.Header()}
	raw, err := io.ReadAll(w.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &a.body); err != nil {
		f.t.Fatalf("%s %s: %d %q: %v", method, path, w.Code, raw, err)
	}
	if strings.HasPrefix(path, "/api/") && a.number("server_time_ns") == 0 && w.Code != 503 { // a store that does not answer has no time
		f.t.Errorf("%s %s: %d without server_time_ns: %s", method, path, w.Code, raw)
	}
	if isProblem := w.Header().Get("Content-Type") == "application/problem+json"; isProblem != (w.Code >= 400) || isProblem && a.text("detail") == "" {
		f.t.Errorf("%s %s: %d %s %s", method, path, w.Code, w.Header().Get("Content-Type"), raw)
	}
	return a
}

func (f *fixture) want(a answer, status int) answer {
	f.t.Helper()
	if a.status != status {
		f.t.Fatalf("status %d, want %d: %v", a.status, status, a.body)
	}
	return a
}

// create makes a session and returns its path and its id.
func (f *fixture) create(n int, task string) (path, id string) {
	f.t.Helper()
	a := f.want(f.ask(n, "POST", "/api/v1/pipe/session/", `{"task_id":"`+task+`"}`), 200)
	return "/api/v1/pipe/session/" + a.text("session_id"), a.text("session_id")
}

// segment makes the bytes of a segment with one event.
func segment(t testing.TB, h event.Header) []byte {
	t.Helper()
	if h.Nonce == "" {
		h.Nonce = "nonce"
	}
	if h.Agent == "" {
		h.Agent = "agent"
	}
	var b bytes.Buffer
	w, err := event.NewWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	err = w.Add(&event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: 1, Path: "/a"})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (f *fixture) overwriteRoster(r session.Roster, old store.Meta) {
	f.t.Helper()
	body, err := seal.JSON(layout.Roster(view), r)
	if err == nil {
		_, err = store.Swap(f.t.Context(), f.store, layout.Roster(view), body, old.ETag)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}
