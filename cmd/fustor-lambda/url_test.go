//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/cmd/internal/parts"
	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/query"
	"github.com/fustor/fustor/testkit/lambdatest"
)

const (
	testView = "research"
	testKey  = "fustor_lambda-test-key"
)

// response is an HTTP answer, whole or broken off.
type response struct {
	status int
	header map[string]string
	body   string
	cookie []string
	broke  error // while the body came
	failed error // of the invocation
}

// ask invokes a function as its Function URL does.
func ask(t *testing.T, f *lambdatest.Function, method, path, query string, header http.Header, body []byte) response {
	t.Helper()
	payload, err := lambdatest.URLEvent(method, path, query, header, body, "203.0.113.7")
	if err != nil {
		t.Fatal(err)
	}
	return invoke(t, f, payload)
}

func invoke(t *testing.T, f *lambdatest.Function, payload []byte) response {
	t.Helper()
	result, err := f.Invoke(t.Context(), payload)
	if err != nil {
		return response{failed: err}
	}
	if !result.Streamed {
		t.Errorf("the answer is not streamed")
	}
	prelude, err := result.Prelude()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(result.Body)
	return response{status: prelude.Status, header: prelude.Headers, body: string(text), cookie: prelude.Cookies, broke: err}
}

func get(t *testing.T, f *lambdatest.Function, path string, header http.Header) response {
	t.Helper()
	path, query, _ := strings.Cut(path, "?")
	return ask(t, f, http.MethodGet, path, query, header, nil)
}

func withKey() http.Header { return http.Header{"X-Api-Key": {testKey}} }

// stored is the tests' directory store, which has the key and was found fit.
func stored(t *testing.T) (store.Store, string) {
	t.Helper()
	once.Do(func() { // the probe of a store is seconds of writes and races
		if st, setup = parts.OpenForWriting(t.Context(), "file://"+filepath.Join(scratch, "store")); setup != nil {
			return
		}
		setup = register(t.Context(), st)
	})
	if setup != nil {
		t.Fatal(setup)
	}
	return st, "FUSTOR_STORE=" + st.String()
}

var (
	once  sync.Once
	st    store.Store
	setup error
)

func register(ctx context.Context, st store.Store) error {
	return access.Register(ctx, st, testKey, access.Record{Name: "test", Roles: []access.Role{access.Ingest, access.Query},
		Views: access.Views{Names: []string{testView}}, CreatedAt: 1})
}

// openSession makes a session at an ingest function.
func openSession(t *testing.T, f *lambdatest.Function) string {
	t.Helper()
	h := withKey()
	h.Set("Content-Type", "application/json")
	r := ask(t, f, http.MethodPost, "/api/v1/pipe/session/", "", h, fmt.Appendf(nil, `{"task_id":"a:%s","session_timeout_seconds":600}`, t.Name()))
	var s struct {
		ID string `json:"session_id"`
	}
	if err := json.Unmarshal([]byte(r.body), &s); err != nil || s.ID == "" {
		t.Fatalf("create a session: %+v", r)
	}
	return s.ID
}

func segment(t *testing.T, session string, seq uint64, names ...string) []byte {
	t.Helper()
	return segmentOf(t, testView, session, seq, names...)
}

// segmentOf is a segment whose listing of / has these names.
func segmentOf(t *testing.T, view, session string, seq uint64, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	now := time.Now().UnixNano()
	w, err := event.NewWriter(&b, event.Header{View: view, Session: session, Agent: "a", Source: "fs://a/data", Seq: seq, Term: 1,
		CreatedAt: now, Nonce: fmt.Sprint(session, seq), Local: true})
	if err != nil {
		t.Fatal(err)
	}
	listing := event.Event{Kind: event.Listing, Evidence: event.Snapshot, Path: "/", ObservedAt: now,
		Entry: event.Entry{Type: event.Directory, Mode: 0o755, MtimeNs: now - 1e9}}
	for _, n := range names {
		listing.Entries = append(listing.Entries, event.Entry{Name: n, Type: event.File, Size: 7, MtimeNs: now - 2e9, Mode: 0o644})
	}
	events := []event.Event{
		{Kind: event.Marked, Evidence: event.Snapshot, ObservedAt: now, Path: "/", Mark: event.Mark{Kind: event.SnapshotBegin}}, listing,
		{Kind: event.Marked, Evidence: event.Snapshot, ObservedAt: now + 1, Path: "/", Mark: event.Mark{Kind: event.SnapshotEnd}},
	}
	for i := range events {
		if err := w.Add(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestURLAnswersAsTheServers: the functions and the servers give the same answers to the same requests, also with names
// that are no text, long paths, binary bodies and cookies.
func TestURLAnswersAsTheServers(t *testing.T) {
	st, env := stored(t)
	ingest, read := newFunction(t, "ingest", env), newFunction(t, "query", env)
	id := openSession(t, ingest)
	long := strings.Repeat("n", 255)
	names := []string{"a b+c%41.txt", "caf\xe9", long, "ünïcode"}
	put := "/api/v1/pipe/session/" + id + "/segments/0"
	h := withKey()
	h.Set("Content-Type", "application/octet-stream")
	for range 2 { // the same bytes may come again
		if r := ask(t, ingest, http.MethodPut, put, "", h, segment(t, id, 0, names...)); r.status != http.StatusOK && r.status != http.StatusConflict {
			t.Fatalf("put a segment: %+v", r)
		}
	}
	c, err := compactor.New(compactor.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Once(t.Context(), testView); err != nil || n == 0 {
		t.Fatalf("fold: %d, %v", n, err)
	}
	keys, err := access.New(access.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	q, err := query.New(query.Options{Store: st, Authenticator: keys})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(q.Handler())
	defer server.Close()
	const base = "/api/v1/views/" + testView
	cookie := http.Header{"Cookie": {"fustor_key=ZnVzdG9yX2xhbWJkYS10ZXN0LWtleQ; other=1"}}
	for _, c := range []struct {
		path   string
		header http.Header
		want   string
	}{
		{base + "/metadata?path=/a%20b%2Bc%2541.txt", withKey(), `"size":7`},
		{base + "/metadata?path=/a+b%2Bc%2541.txt", withKey(), `"size":7`},
		{base + "/metadata?path_b64=L2NhZuk", withKey(), `"path_b64":"L2NhZuk"`},
		{base + "/metadata?path=/caf%E9", withKey(), ""},
		{base + "/metadata?path=/" + long, withKey(), long},
		{base + "/metadata?path=/gone", withKey(), "detail"},
		{base + "/metadata?pth=/", withKey(), "pth"},
		{base + "/list?path=/&limit=2", withKey(), "next_cursor"},
		{base + "/tree?path=/&recursive=true", http.Header{"X-Api-Key": {testKey}, "Accept": {"application/x-ndjson"}}, "\n"},
		{"/v2" + base + "/tree", withKey(), `\udce9`},
		{"/v2/views/" + testView + "/search?pattern=*b%2Bc*", withKey(), `"content_type":"file"`},
		{"/v2" + base + "/tree?path=/gone", withKey(), `{"detail":`},
		{"/v2" + base + "/tree", nil, `{"detail":`},
		{"/v2" + base + "/stats", withKey(), `"total_files"`},
		{base + "/metadata?path=/", nil, "this call needs an API key"},
		{base + "/metadata?path=/", http.Header{"X-Api-Key": {"wrong"}}, "unknown or expired"},
		{base + "/metadata?path=/", http.Header{"Authorization": {"Bearer " + testKey}}, `"subtree"`},
		{"/api/v1/views/other/metadata?path=/", withKey(), "not for view"},
		{"/browse/" + testView, cookie, "<html"},
		{"/browse/" + testView + "/caf%C3%A9", cookie, "<html"},
		{"/", cookie, ""},
		{"/nothing/at/" + strings.Repeat("long/", 400), withKey(), "nothing at this path"},
		{"/a%2Fb%3Fc", withKey(), "nothing at this path"},
		{"/openapi.json", withKey(), "openapi"},
	} {
		got := get(t, read, c.path, c.header)
		request, err := http.NewRequest(http.MethodGet, server.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != nil {
			request.Header = c.header.Clone()
		}
		want, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(want.Body)
		want.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		name := c.path[:min(len(c.path), 60)]
		if got.failed != nil || got.broke != nil || got.status != want.StatusCode || timeless(got.body) != timeless(string(body)) {
			t.Errorf("%s: the function answers %+v\nthe server %d %s", name, got, want.StatusCode, body)
		}
		for _, h := range []string{"Content-Type", "Etag", "Location", "Www-Authenticate", "Cache-Control"} {
			if got.header[h] != want.Header.Get(h) {
				t.Errorf("%s: %s is %q, of the server %q", name, h, got.header[h], want.Header.Get(h))
			}
		}
		if n, ok := got.header["Content-Length"]; ok {
			t.Errorf("%s: a stream of length %s", name, n)
		}
		if !strings.Contains(got.body, c.want) {
			t.Errorf("%s: %q lacks %q", name, got.body, c.want)
		}
	}
}

// timeless is an answer without the fields that tell of its own time and cost.
func timeless(body string) string {
	var v map[string]any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	for _, f := range []string{"cost", "latency_ms", "server_time_ns", "staleness_seconds", "logical_now"} {
		delete(v, f)
	}
	out, _ := json.Marshal(v)
	return string(out)
}

// TestURLBodies: what comes as text, what comes in base64, and what is broken.
func TestURLBodies(t *testing.T) {
	_, env := stored(t)
	f := newFunction(t, "ingest", env)
	id := openSession(t, f)
	path := "/api/v1/pipe/session/" + id + "/segments/0"
	payload, err := lambdatest.URLEvent(http.MethodPut, path, "", withKey(), segment(t, id, 0, "x"), "203.0.113.7")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(payload, []byte(`"isBase64Encoded":true`)) {
		t.Fatal("a segment is no text")
	}
	for name, damage := range map[string]func(string) string{
		"not base64": func(s string) string { return strings.Replace(s, `"body":"`, `"body":"*`, 1) },
		"cut off":    func(s string) string { return strings.Replace(s, `"body":"`, `"body":"AAAA`, 1) },
	} {
		if r := invoke(t, f, []byte(damage(string(payload)))); r.status != http.StatusBadRequest {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := invoke(t, f, payload); r.status != http.StatusOK {
		t.Errorf("put: %+v", r)
	}
	if r := invoke(t, f, payload); r.status != http.StatusOK {
		t.Errorf("put once more: %+v", r)
	}
	awaitLog(t, f, `"client":"203.0.113.7"`)
	if strings.Contains(f.Log(), testKey) {
		t.Error("a key stands in the log")
	}
}

// TestURLHead: HEAD answers what GET does, without a body.
func TestURLHead(t *testing.T) {
	_, env := stored(t)
	f := newFunction(t, "query", env)
	for _, path := range []string{"/healthz", "/api/v1/views/" + testView + "/tree", "/openapi.json", "/nothing"} {
		want, got := get(t, f, path, withKey()), ask(t, f, http.MethodHead, path, "", withKey(), nil)
		if got.body != "" || got.status != want.status || got.header["Content-Type"] != want.header["Content-Type"] || got.failed != nil || got.broke != nil {
			t.Errorf("HEAD %s: %+v, GET answers %d %v", path, got, want.status, want.header)
		}
	}
}

// TestURLPathsThatAreNone cannot fail an invocation.
func TestURLPathsThatAreNone(t *testing.T) {
	_, env := stored(t)
	f := newFunction(t, "query", env)
	for _, path := range []string{"/a b", "/%zz", "/a?b", "/a#b", "/\x01", "/ü", "", "//x", "/%"} {
		r := ask(t, f, http.MethodGet, path, "x=%zz&y=#", withKey(), nil)
		if r.failed != nil || r.status < 200 || r.status >= 500 {
			t.Errorf("path %q: %+v", path, r)
		}
	}
}
