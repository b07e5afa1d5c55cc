package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/record"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/pipeapi"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

// target makes a Target of a document, which is given as its text.
func target(t *testing.T, document string, change func(*Options)) (*Target, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "openapi.yaml")
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Document: file, Server: "http://127.0.0.1:1/base", View: "v", Logger: slog.New(slog.DiscardHandler), Fields: mapping("path")}
	if change != nil {
		change(&o)
	}
	return New(t.Context(), o)
}

// mapping has each source as a field of the same name.
func mapping(sources ...string) (fields []record.Field) {
	for _, s := range sources {
		fields = append(fields, record.Field{To: s, From: s})
	}
	return fields
}

// operations is a document with these operations, each METHOD PATH ID ROLE; - is no id or role.
func operations(lines ...string) string {
	paths := map[string]map[string]any{}
	for _, line := range lines {
		part := strings.Fields(line)
		if paths[part[1]] == nil {
			paths[part[1]] = map[string]any{}
		}
		op := map[string]any{"requestBody": map[string]any{"content": map[string]any{"application/json": map[string]any{"schema": map[string]any{"type": "object"}}}}}
		if part[2] != "-" {
			op["operationId"] = part[2]
		}
		if part[3] != "-" {
			op["x-fustor-role"] = part[3]
		}
		paths[part[1]][strings.ToLower(part[0])] = op
	}
	b, err := json.Marshal(map[string]any{"openapi": "3.1.0", "paths": paths})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestOperationsAreFound(t *testing.T) {
	for _, test := range []struct {
		name       string
		document   string
		operations Operations
		want       string // session, heartbeat, events, close; or a part of the error
	}{
		{"by extension first", operations("POST /a - session", "POST /b beat heartbeat", "POST /c other events", "DELETE /d - close", "POST /x sendEvents -", "POST /sessions createSession -"),
			Operations{}, "POST /a|POST /b|POST /c|DELETE /d"},
		{"by operationId before the path", operations("POST /in create_Session -", "POST /events - -", "POST /put post-events -", "POST /sessions login -"), Operations{}, "POST /in||POST /put|"},
		{"by path", operations("POST /v1/sessions - -", "POST /v1/sessions/{id}/heartbeat - -", "POST /v1/sessions/{id}/events - -", "DELETE /v1/sessions/{id} - -", "GET /v1/events - -"),
			Operations{}, "POST /v1/sessions|POST /v1/sessions/{id}/heartbeat|POST /v1/sessions/{id}/events|DELETE /v1/sessions/{id}"},
		{"events alone", operations("POST /events - -"), Operations{}, "||POST /events|"},
		{"by config", operations("POST /session - -", "POST /events - -", "PUT /files/all putFiles -"), Operations{Events: "put /files/all", Session: None}, "||PUT /files/all|"},
		{"by config, operationId", operations("POST /events - -", "PUT /files/all putFiles -"), Operations{Events: "putFiles"}, "||PUT /files/all|"},
		{"ambiguous", operations("POST /a/events one -", "POST /b/events two -"), Operations{}, "several operations may be the one for events: POST /a/events (one), POST /b/events (two)"},
		{"ambiguous by extension", operations("POST /a - events", "POST /b - events"), Operations{}, "several operations may be the one for events: POST /a, POST /b"},
		{"none", operations("POST /a one -", "GET /b - -"), Operations{}, "no operation for events was found: name one under operations; those that take a body are POST /a (one)"},
		{"not there", operations("POST /events - -"), Operations{Events: "POST /nowhere"}, `no operation "POST /nowhere" for events; it has POST /events`},
		{"events of a session that nothing creates", operations("POST /in/{session_id}/events - -"), Operations{}, "no operation creates one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			to, err := target(t, test.document, func(o *Options) { o.Operations = test.operations })
			got := fmt.Sprint(err)
			if err == nil {
				var all []string
				for _, c := range []*call{to.session, to.heartbeat, to.events, to.end} {
					text := ""
					if c != nil {
						text = c.method + " " + c.path
					}
					all = append(all, text)
				}
				got = strings.Join(all, "|")
			}
			if got != test.want && (err == nil || !strings.Contains(got, test.want)) {
				t.Errorf("%s\nwant %s", got, test.want)
			}
		})
	}
}

const records30 = `
openapi: 3.0.3
servers: [{url: "https://{host}.example.org/{base}", variables: {host: {default: api}, base: {default: v2}}}]
security: [{oauth: [read]}, {key: []}]
paths:
  /in/{site}/events:
    parameters: [{$ref: '#/components/parameters/Site'}]
    post:
      requestBody: {$ref: '#/components/requestBodies/Batch'}
components:
  parameters:
    Site: {name: site, in: path, required: true, schema: {type: string, default: leiden}}
  requestBodies:
    Batch: {content: {application/json: {schema: {$ref: '#/components/schemas/Batch'}}}}
  securitySchemes:
    oauth: {type: oauth2}
    key: {type: apiKey, in: header, name: X-Token}
  schemas:
    Batch:
      allOf:
        - {$ref: '#/components/schemas/Head'}
        - {type: object, required: [events], properties: {events: {type: array, items: {$ref: '#/components/schemas/Event'}}}}
    Head: {type: object, required: [version], properties: {version: {type: integer, enum: [3]}, done: {type: boolean}, next: {$ref: '#/components/schemas/Head'}}}
    Event: {type: object, required: [path], properties: {path: {type: string}, size: {type: integer}, when: {type: number}}}
`

func TestDocumentsOfEitherVersion(t *testing.T) {
	fields := []record.Field{{To: "path", From: "path"}, {To: "size", From: "size"}, {To: "when", From: "mtime_ns", Type: "seconds"}, {To: "done", From: "end"}}
	_, err := target(t, records30, func(o *Options) { o.Server, o.Key, o.Fields = "", "k", fields })
	if err == nil || !strings.Contains(err.Error(), "does not say which host") { // the host is but an example
		t.Errorf("error %v", err)
	}
	to, err := target(t, strings.Replace(records30, "{host}.example.org", "api.example.org", 1), func(o *Options) { o.Server, o.Key, o.Fields = "", "k", fields })
	if err != nil {
		t.Fatal(err)
	}
	r, err := to.events.request(t.Context(), "k", map[string]string{"view": "v"}, []byte("{}"))
	if err != nil || r.URL.String() != "https://api.example.org/v2/in/leiden/events" || r.Header.Get("X-Token") != "k" {
		t.Errorf("%v %v %v", r.URL, r.Header, err)
	}
	s := &segment{t: to, header: event.Header{View: "v", Agent: "a", Session: "s"}}
	body, err := to.format.body(s, &batch{phase: "snapshot", end: true, rows: []byte(`{"path":"/a"}`)})
	if err != nil || string(body) != `{"done":true,"events":[{"path":"/a"}],"version":3}` {
		t.Errorf("%s %v", body, err)
	}
	// 3.1 has schemas that are true, types that are several, and constants.
	to, err = target(t, `{"openapi":"3.1.0","paths":{"/events":{"post":{"requestBody":{"content":{"application/json":{"schema":
		{"type":"array","items":{"type":"object","required":["path","size","kind"],"properties":{"path":{"type":"string"},"size":{"anyOf":[{"type":"integer"},{"type":"null"}]},
		"kind":{"const":"file"},"more":true}}}}}}}}}}`, func(o *Options) { o.Fields = mapping("path", "size") })
	if err != nil {
		t.Fatal(err)
	}
	row, err := to.format.(*records).row(&record.Subject{Header: &s.header, Event: &event.Event{Kind: event.Delete}, Path: "/a"})
	if err != nil || string(row) != `{"path":"/a","size":null,"kind":"file"}` {
		t.Errorf("%s %v", row, err)
	}
}

func TestWhatCannotWorkIsSaidAtTheStart(t *testing.T) {
	for _, test := range []struct {
		from, to string // in records30
		change   func(*Options)
		want     string
	}{
		{"", "", func(o *Options) { o.Key = "" }, "it needs a key"},
		{"{key: []}", "{oauth: []}", nil, `the security scheme "oauth, oauth"`},
		{"security: [{oauth: [read]}, {key: []}]", "", nil, "the document does not say how to send one"},
		{"default: leiden", "minLength: 1", nil, "no operation creates one"},
		{"name: site, in: path", "name: tenant, in: query", nil, "no operation creates one"},
		{"required: [path]", "required: [path, owner]", nil, `field "owner" is required, and nothing in fields_mapping gives it`},
		{"required: [version]", "required: [version, producer]", nil, `field "producer" of the request is required`},
		{"size: {type: integer}", "size: {type: string}", nil, `field "size" is of type string, and size is integer: add a type to its mapping`},
		{"", "", func(o *Options) { o.Fields = mapping("path", "uid") }, `it has no field "uid"; a record has path, size, when`},
		{"", "", func(o *Options) {
			o.Fields = append(mapping("path"), record.Field{To: "done", From: "path", Type: "boolean"})
		}, `field "done" is one of the whole request, which has no path`},
		{"", "", func(o *Options) { o.Fields = nil }, "it does not take Fustor's own events: give the pipe a fields_mapping"},
		{"'#/components/schemas/Head'", "'other.yaml#/Head'", nil, "leads to another document"},
		{"'#/components/schemas/Head'", "'#/components/schemas/Tail'", nil, "leads nowhere"},
		{"3.0.3", "2.0", nil, "versions 3.0 and 3.1 are known"},
		{"3.0.3", "[", nil, "neither JSON nor YAML"},
		{"application/json", "text/csv", nil, "it takes no JSON body"},
	} {
		_, err := target(t, strings.Replace(records30, test.from, test.to, 1), func(o *Options) {
			o.Key, o.Fields = "k", mapping("path", "size")
			if test.change != nil {
				test.change(o)
			}
		})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant %s", test.to, err, test.want)
		}
	}
	_, err := target(t, operations("POST /login createSession -", "POST /events - -"), func(o *Options) {
		o.Operations = Operations{Session: "POST /login"}
	})
	if err != nil {
		t.Error(err)
	}
	login := strings.Replace(operations("POST /sessions - -", "POST /events - -"), `"/sessions":{"post":{"requestBody":{"content":{"application/json":{"schema":{`,
		`"/sessions":{"post":{"requestBody":{"content":{"application/json":{"schema":{"required":["password","user"],`, 1)
	_, err = target(t, login, nil)
	if err == nil || !strings.Contains(err.Error(), `requires fields that the sender does not know: password, user; name another under operations, or "none"`) {
		t.Error(err)
	}
}

// segmentOf is a segment of these events.
func segmentOf(t *testing.T, session string, seq uint64, events ...event.Event) pipe.Segment {
	t.Helper()
	var b bytes.Buffer
	w, err := event.NewWriter(&b, event.Header{View: "v", Session: session, Agent: "a", Source: "fs://h/d", Seq: seq, Term: 1, CreatedAt: 5, Nonce: "n"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		e := &events[i]
		if e.ObservedAt == 0 {
			e.ObservedAt = int64(1000*seq) + int64(i) + 1
		}
		_, e.Entry.Name = event.Split(e.Path)
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return pipe.Segment{View: "v", Session: session, Seq: seq, Body: b.Bytes()}
}

func put(path string) event.Event {
	return event.Event{Kind: event.Put, Evidence: event.Realtime, Path: path, Entry: event.Entry{Type: event.File}, Atomic: true}
}

// request is one that a server was sent.
type request struct {
	path, key, body string
}

// serve answers requests with these statuses in turn, and then with 200.
func serve(t *testing.T, statuses ...int) (url string, got *[]request) {
	t.Helper()
	got = &[]request{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*got = append(*got, request{r.Method + " " + r.URL.Path, r.Header.Get("Idempotency-Key"), string(body)})
		status := http.StatusOK
		if len(statuses) > 0 {
			status, statuses = statuses[0], statuses[1:]
		}
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "7")
		}
		w.WriteHeader(status)
		io.WriteString(w, `{"session_id":"s1","role":"follower","detail":"why"}`)
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

const listed = `{"openapi":"3.1.0","paths":{"/events":{"post":{"requestBody":{"content":{"application/json":{"schema":
	{"type":"array","maxItems":2,"items":{"type":"object","properties":{"path":{"type":"string"}}}}}}}}}}}`

// begin creates the session of an agent.
func begin(t *testing.T, to *Target) pipeapi.Session {
	t.Helper()
	c, err := send.NewClient(URL, "", "v", send.Handler(to.Handler()), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.CreateSession(t.Context(), pipeapi.Registration{Task: "a:p", ClientInfo: pipeapi.ClientInfo{pipeapi.InfoAgent: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestARequestIsSentAgainWithItsKey(t *testing.T) {
	url, got := serve(t, 200, 503, 422, 429, 401, 409)
	to, err := target(t, listed, func(o *Options) { o.Server = url })
	if err != nil {
		t.Fatal(err)
	}
	s := begin(t, to)
	if !s.IsLeader || s.Term == 0 || s.Epoch != "" {
		t.Errorf("%+v", s)
	}
	seg := segmentOf(t, s.ID, 0, put("/a"), put("/b"), put("/c"))
	var errs []error
	for range 10 {
		err := to.Send(t.Context(), seg)
		if err == nil {
			break
		}
		errs = append(errs, err)
	}
	var status *send.StatusError
	if len(errs) != 5 || !errors.As(errs[0], &status) || status.RetryAfter != 7*time.Second || !errors.Is(errs[1], send.ErrUnacceptable) || !strings.Contains(errs[1].Error(), "why") ||
		errors.Is(errs[2], send.ErrUnacceptable) || !errors.Is(errs[3], send.ErrRefused) || errors.Is(errs[4], send.ErrTaken) || errors.Is(errs[4], send.ErrSessionGone) {
		t.Errorf("errors %q", errs)
	}
	if len(*got) != 7 || (*got)[0].body != `[{"path":"/a"},{"path":"/b"}]` {
		t.Fatalf("%q", *got)
	}
	for _, r := range (*got)[1:] { // what was taken is not sent again
		if r.body != `[{"path":"/c"}]` || r.key != (*got)[1].key || r.key == (*got)[0].key || r.key == "" {
			t.Errorf("%q", r)
		}
	}
	// Another process has another session, and the same key for what it sends again.
	again, err := target(t, listed, func(o *Options) { o.Server = url })
	if err != nil {
		t.Fatal(err)
	}
	one, two, three := put("/a"), put("/b"), put("/c")
	one.ObservedAt, two.ObservedAt, three.ObservedAt = 1, 2, 3
	if err := again.Send(t.Context(), segmentOf(t, begin(t, again).ID, 7, one, two, three)); err != nil {
		t.Fatal(err)
	}
	if n := len(*got); (*got)[n-2].key != (*got)[0].key || (*got)[n-1].key != (*got)[1].key {
		t.Errorf("other keys: %q", *got)
	}
}

const sessions = `{"openapi":"3.1.0","paths":{
	"/sessions":{"post":{"requestBody":{"content":{"application/json":{"schema":{"type":"object","required":["agentId"],"properties":{"agentId":{"type":"string"}}}}}}}},
	"/sessions/{key}":{"delete":{}},"/sessions/{key}/heartbeat":{"post":{}},
	"/sessions/{key}/events":{"post":{"requestBody":{"content":{"application/json":{"schema":{"type":"object","properties":{"path":{"type":"string"}}}}}}}}}}`

func TestSessionsOfTheServer(t *testing.T) {
	url, got := serve(t, 201, 200, 204, 410)
	to, err := target(t, sessions, func(o *Options) { o.Server = url })
	if err != nil {
		t.Fatal(err)
	}
	s := begin(t, to)
	if s.ID != "s1" || s.IsLeader {
		t.Errorf("%+v", s)
	}
	c, err := send.NewClient(URL, "", "v", send.Handler(to.Handler()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if beat, err := c.Heartbeat(t.Context(), s.ID, pipeapi.Heartbeat{}); err != nil || beat.IsLeader {
		t.Errorf("%+v %v", beat, err)
	}
	if err := to.Send(t.Context(), segmentOf(t, s.ID, 0, put("/a"))); err != nil {
		t.Error(err)
	}
	if err := to.Send(t.Context(), segmentOf(t, s.ID, 1, put("/b"))); !errors.Is(err, send.ErrSessionGone) {
		t.Errorf("error %v", err)
	}
	if err := to.Send(t.Context(), segmentOf(t, "earlier", 1, put("/b"))); !errors.Is(err, send.ErrSessionGone) {
		t.Errorf("error %v", err)
	}
	if err := c.CloseSession(t.Context(), "of-an-earlier-process"); err != nil {
		t.Error(err)
	}
	var paths []string
	for _, r := range *got {
		paths = append(paths, r.path+" "+r.body)
	}
	want := []string{`POST /sessions {"agentId":"a"}`, "POST /sessions/s1/heartbeat ", `POST /sessions/s1/events {"path":"/a"}`, `POST /sessions/s1/events {"path":"/b"}`,
		"DELETE /sessions/of-an-earlier-process "}
	if !slices.Equal(paths, want) {
		t.Errorf("%q\nwant %q", paths, want)
	}
}

func FuzzDocument(f *testing.F) {
	for _, seed := range []string{records30, listed, sessions, operations("POST /events - -")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parse([]byte(text))
		if err != nil {
			return
		}
		d := &document{spec: s}
		to := &Target{o: Options{Server: "http://x", Key: "k", View: "v", Fields: mapping("path", "size")}}
		if to.findOperations(d) == nil {
			_, _ = newFormat(to.events, &to.o, false)
		}
	})
}
