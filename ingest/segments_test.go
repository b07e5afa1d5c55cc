package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/fault"
)

func TestSegments(t *testing.T) {
	f := newFixture(t, 2)
	session, id := f.create(0, "a")
	body := segment(t, event.Header{View: view, Session: id, Seq: 0})
	for n := range 2 { // the second time through another process
		if a := f.want(f.send(f.ingests[n], agentKey, "PUT", session+"/segments/0", body), 200); a.text("status") != "stored" {
			t.Errorf("%v", a.body)
		}
		if got := <-f.stored; got != id {
			t.Errorf("told of %q", got)
		}
	}
	stored, err := f.store.Get(context.Background(), layout.Segment(view, id, 0))
	if err != nil || string(stored.Body) != string(body) {
		t.Errorf("stored %d bytes, %v", len(stored.Body), err)
	}
	other := segment(t, event.Header{View: view, Session: id, Seq: 0, Nonce: "other"})
	f.want(f.send(f.ingests[1], agentKey, "PUT", session+"/segments/0", other), 409)
	damaged := append([]byte(nil), segment(t, event.Header{View: view, Session: id, Seq: 1})...)
	damaged[len(damaged)/2] ^= 1
	good := segment(t, event.Header{View: view, Session: id, Seq: 1})
	for name, tc := range map[string]struct {
		seq    string
		body   []byte
		status int
	}{
		"empty":         {"1", nil, 400},
		"no segment":    {"1", []byte("hello"), 400},
		"damaged":       {"1", damaged, 400},
		"cut off":       {"1", good[:len(good)-5], 400},
		"other seq":     {"2", good, 400},
		"other view":    {"1", segment(t, event.Header{View: "other", Session: id, Seq: 1}), 400},
		"other session": {"1", segment(t, event.Header{View: view, Session: id + "x", Seq: 1}), 400},
		"no number":     {"one", good, 400},
		"negative":      {"-1", good, 400},
		"huge":          {"9007199254740992", good, 400},
		"too large":     {"1", make([]byte, maxSegment+1), 413},
	} {
		if a := f.send(f.ingests[0], agentKey, "PUT", session+"/segments/"+tc.seq, tc.body); a.status != tc.status {
			t.Errorf("%s: %d %v, want %d", name, a.status, a.body, tc.status)
		}
	}
	if _, err := f.store.Get(context.Background(), layout.Segment(view, id, 1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a segment that was refused is stored: %v", err)
	}
	if a := f.want(f.ask(0, "POST", session+"/uploads", `{"from_seq":1,"count":2}`), 501); !strings.Contains(a.text("hint"), "PUT") {
		t.Errorf("%v", a.body)
	}
	f.want(f.ask(1, "DELETE", session, ""), 200)
	f.want(f.send(f.ingests[0], agentKey, "PUT", session+"/segments/1", good), 419)
}

// granting is a store that can presign, as S3 does without asking anybody.
type granting struct{ store.Store }

func (g granting) PresignCreate(_ context.Context, key string, ttl time.Duration) (store.Upload, error) {
	return store.Upload{Method: "PUT", URL: "https://store.example/" + key, Header: http.Header{"If-None-Match": {"*"}}}, nil
}

func TestUploads(t *testing.T) {
	f := newFixture(t, 0)
	f.ingests = []*Ingest{f.newIngest(granting{f.store}, f.clock.Now)}
	session, id := f.create(0, "a")
	a := f.want(f.ask(0, "POST", session+"/uploads", `{"from_seq":7,"count":3}`), 200)
	if got := a.number("through_bytes"); got != smallSegment { // somebody wants to hear of them
		t.Errorf("segments of up to %v bytes are to go through ingest", got)
	}
	uploads := a.body["uploads"].([]any)
	if len(uploads) != 3 {
		t.Fatalf("%v", a.body)
	}
	for n, u := range uploads {
		u := u.(map[string]any)
		if u["seq"] != float64(7+n) || u["method"] != "PUT" || u["url"] != "https://store.example/"+layout.Segment(view, id, uint64(7+n)) ||
			u["headers"].(map[string]any)["If-None-Match"].([]any)[0] != "*" {
			t.Errorf("%v", u)
		}
	}
	for _, body := range []string{``, `{}`, `{"from_seq":0}`, `{"count":1}`, `{"from_seq":-1,"count":1}`, `{"from_seq":0,"count":0}`, `{"from_seq":0,"count":101}`,
		`{"from_seq":1.5,"count":1}`, `{"from_seq":9007199254740991,"count":2}`} {
		if a := f.ask(0, "POST", session+"/uploads", body); a.status != 400 {
			t.Errorf("%s: %v", body, a)
		}
	}
}

// Whatever the store does, agents get a problem that says when to come again, and the server goes on.
func TestBrokenStore(t *testing.T) {
	f := newFixture(t, 1)
	session, id := f.create(0, "a")
	failing := errors.New("connection refused by 10.1.2.3")
	for _, failure := range []error{failing, store.ErrDenied, store.ErrNoBucket, fault.Status(fault.Get, 503), context.DeadlineExceeded} {
		bad := fault.New(f.store, func(fault.Call) fault.Fault { return fault.Fault{Lost: fmt.Errorf("get: %w", failure)} })
		i := f.newIngest(bad, f.clock.Now)
		for _, tc := range []struct{ method, path, body string }{
			{"POST", "/api/v1/pipe/session", `{"task_id":"b"}`}, {"POST", session + "/heartbeat", ``}, {"DELETE", session, ``},
			{"PUT", session + "/segments/0", string(segment(t, event.Header{View: view, Session: id}))}, {"GET", "/api/v1/pipe/pipes", ``}, {"GET", "/readyz", ``},
		} {
			a := f.send(i, agentKey, tc.method, tc.path, []byte(tc.body))
			if a.status != 503 || a.header.Get("Retry-After") == "" || a.text("hint") == "" || strings.Contains(fmt.Sprint(a.body), "10.1.2.3") {
				t.Errorf("%v: %s %s: %d %v", failure, tc.method, tc.path, a.status, a.body)
			}
		}
		f.want(f.send(i, "", "GET", "/healthz", nil), 200)
	}
	if !strings.Contains(f.log.String(), "10.1.2.3") {
		t.Error("the log does not say what is wrong")
	}
	f.want(f.ask(0, "POST", session+"/heartbeat", ""), 200)
	f.want(f.send(f.ingests[0], agentKey, "GET", "/readyz", nil), 200)
	// What cannot be read is named in the log only.
	if _, err := f.store.Put(context.Background(), layout.ViewConfig(view), []byte("{")); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(2 * time.Minute)
	if a := f.want(f.ask(0, "POST", "/api/v1/pipe/session", `{"task_id":"c"}`), 500); a.text("hint") == "" {
		t.Errorf("%v", a.body)
	}
	if !strings.Contains(f.log.String(), layout.ViewConfig(view)) {
		t.Error("the log does not name the damaged object")
	}
}
