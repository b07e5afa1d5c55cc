package send

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

// bucket is an object store that takes presigned uploads, create-only.
type bucket struct {
	mu      sync.Mutex
	objects map[string]string
	status  int // answered instead, if not 0
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	switch {
	case b.status != 0:
		w.WriteHeader(b.status)
	case r.Header.Get("If-None-Match") != "*":
		w.WriteHeader(http.StatusBadRequest)
	case b.objects[r.URL.Path] != "":
		w.WriteHeader(http.StatusPreconditionFailed)
	default:
		b.objects[r.URL.Path] = string(body)
	}
}

func newClient(t *testing.T, h http.Handler) *Client {
	t.Helper()
	c, err := NewClient("http://ingest/base", "key", "v", Handler(h), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPresignedUploads(t *testing.T) {
	b := &bucket{objects: map[string]string{}}
	srv := httptest.NewServer(b)
	defer srv.Close()
	asked := 0
	s := NewIngest(newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path != "/base/api/v1/pipe/session/s1/uploads" || r.Header.Get("X-API-Key") != "key" || r.URL.Query().Get("view") != "v" {
			t.Errorf("request %s %v", r.URL, r.Header)
		}
		var q pipeapi.UploadsRequest
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		var grants []pipeapi.Grant
		for i := range uint64(*q.Count) {
			grants = append(grants, pipeapi.Grant{Seq: *q.FromSeq + i, Upload: store.Upload{Method: "PUT", URL: srv.URL + "/seg/" + string('a'+rune(*q.FromSeq+i)),
				Header: http.Header{"If-None-Match": {"*"}}, Expires: time.Now().Add(time.Hour)}})
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(pipeapi.Uploads{Uploads: grants})
	})), srv.Client())
	for seq := range uint64(3) {
		if err := s.Send(t.Context(), pipe.Segment{View: "v", Session: "s1", Seq: seq, Body: []byte("body")}); err != nil {
			t.Fatal(err)
		}
	}
	// The answer to an upload was lost: it is sent again.
	if err := s.Send(t.Context(), pipe.Segment{View: "v", Session: "s1", Seq: 2, Body: []byte("body")}); err != nil {
		t.Error(err)
	}
	if len(b.objects) != 3 || b.objects["/seg/c"] != "body" || asked != 1 {
		t.Errorf("objects %v, asked %d times", b.objects, asked)
	}
	b.status = http.StatusForbidden // the grant has expired by the store's clock: ask for another
	if err := s.Send(t.Context(), pipe.Segment{View: "v", Session: "s1", Seq: 3, Body: []byte("x")}); err == nil || strings.Contains(err.Error(), srv.URL) {
		t.Errorf("error %v", err)
	}
	b.status = 0
	if err := s.Send(t.Context(), pipe.Segment{View: "v", Session: "s1", Seq: 3, Body: []byte("x")}); err != nil || asked != 2 {
		t.Errorf("error %v, asked %d times", err, asked)
	}
	srv.Close()
	if err := s.Send(t.Context(), pipe.Segment{View: "v", Session: "s1", Seq: 4, Body: []byte("x")}); err == nil || strings.Contains(err.Error(), "/seg/") {
		t.Errorf("the presigned URL, which is a credential, shows: %v", err)
	}
}

// Where ingest wants small segments, it gets them, and large ones go past it. One that ingest does not take is uploaded.
func TestSmallSegmentsGoThroughIngest(t *testing.T) {
	b := &bucket{objects: map[string]string{}}
	srv := httptest.NewServer(b)
	defer srv.Close()
	var through []string
	busy := false
	s := NewIngest(newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if !strings.HasSuffix(r.URL.Path, "/uploads") {
			if busy {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			through = append(through, string(body))
			_, _ = w.Write([]byte(`{"status":"stored"}`))
			return
		}
		var grants []pipeapi.Grant
		for seq := range uint64(9) {
			grants = append(grants, pipeapi.Grant{Seq: seq, Upload: store.Upload{Method: "PUT", URL: srv.URL + "/seg/" + string('a'+rune(seq)),
				Header: http.Header{"If-None-Match": {"*"}}, Expires: time.Now().Add(time.Hour)}})
		}
		_ = json.NewEncoder(w).Encode(pipeapi.Uploads{Uploads: grants, Through: 5})
	})), srv.Client())
	send := func(session string, seq uint64, body string) error {
		return s.Send(t.Context(), pipe.Segment{View: "v", Session: session, Seq: seq, Body: []byte(body)})
	}
	for seq, body := range []string{"first", "small", "larger"} {
		if err := send("s1", uint64(seq), body); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Join(through, " ") != "small" || len(b.objects) != 2 || b.objects["/seg/c"] != "larger" {
		t.Errorf("through ingest %q, uploaded %v", through, b.objects)
	}
	busy = true
	if err := send("s1", 3, "lost"); err == nil {
		t.Error("a segment that ingest did not take counts as sent")
	}
	if err := send("s1", 3, "lost"); err != nil || b.objects["/seg/d"] != "lost" {
		t.Errorf("%v: %v", err, b.objects)
	}
}

func TestThroughIngestWhereNothingIsPresigned(t *testing.T) {
	var got []string
	s := NewIngest(newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.HasSuffix(r.URL.Path, "/uploads") {
			got = append(got, "ask")
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		got = append(got, r.Method+" "+r.URL.Path+" "+string(body))
		if string(body) == "dead" {
			w.WriteHeader(419)
			_, _ = w.Write([]byte(`{"detail":"the session has ended","hint":"create a new session"}`))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":"stored"}`))
	})), nil)
	for seq, body := range []string{"one", "two"} {
		if err := s.Send(t.Context(), pipe.Segment{Session: "s1", Seq: uint64(seq), Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	want := "ask;PUT /base/api/v1/pipe/session/s1/segments/0 one;PUT /base/api/v1/pipe/session/s1/segments/1 two"
	if strings.Join(got, ";") != want {
		t.Errorf("requests %q", got)
	}
	err := s.Send(t.Context(), pipe.Segment{Session: "s1", Seq: 2, Body: []byte("dead")})
	if !errors.Is(err, ErrSessionGone) || !strings.Contains(err.Error(), "create a new session") {
		t.Errorf("error %v", err)
	}
}

// Where a store does not take what ingest signs, segments go through ingest until the session ends; where ingest does not reach the
// store either, or the store is only busy, uploads are tried again and again.
func TestUploadsThatNeverWork(t *testing.T) {
	for _, c := range []struct {
		name           string
		store, ingest  int // what they answer: 0, that it is stored
		tries          int
		way            string // of each try and of one with the next session, where the store takes all: u an upload, i through ingest
		refused, later bool
	}{
		{"refuses", 403, 0, 4, "uuiiu", true, false},
		{"knows no conditions", 501, 0, 3, "uuiu", true, false},
		{"is away", -1, 0, 3, "uuiu", true, false},
		{"is a page", 200, 0, 3, "uuiu", true, false},
		{"is busy", 503, 0, 12, "uuuuuuuuuuiiu", true, false},
		{"is busy, and ingest is", 503, 503, 13, "uuuuuuuuuuiuiu", false, false},
		{"refuses both", 403, 503, 6, "uuiuiuu", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bucket{objects: map[string]string{}}
			var works atomic.Bool
			var mu sync.Mutex
			way := ""
			went := func(by string) string { // an upload that was aborted may still be in its handler
				mu.Lock()
				defer mu.Unlock()
				way += by
				return way
			}
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				went("u")
				switch {
				case works.Load():
					b.ServeHTTP(w, r)
				case c.store < 0:
					panic(http.ErrAbortHandler)
				default:
					w.Header().Set("Content-Type", "text/html")
					w.WriteHeader(c.store)
				}
			}))
			defer front.Close()
			s := NewIngest(newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if strings.HasSuffix(r.URL.Path, "/uploads") {
					var q pipeapi.UploadsRequest
					if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
						t.Error(err)
					}
					_ = json.NewEncoder(w).Encode(pipeapi.Uploads{Uploads: []pipeapi.Grant{{Seq: *q.FromSeq, Upload: store.Upload{Method: "PUT", URL: front.URL,
						Header: http.Header{"If-None-Match": {"*"}}, Expires: time.Now().Add(time.Hour)}}}})
					return
				}
				if went("i"); c.ingest != 0 {
					w.WriteHeader(c.ingest)
				}
				_, _ = io.WriteString(w, `{"status":"stored"}`)
			})), front.Client())
			told := 0
			s.OnRefused = func(why error) {
				if told++; why == nil {
					t.Error("no reason")
				}
			}
			for try := range c.tries {
				err := s.Send(t.Context(), pipe.Segment{Session: "s1", Seq: 0, Body: []byte("x")})
				if ok := c.ingest == 0 && strings.HasSuffix(went(""), "i"); ok != (err == nil) {
					t.Errorf("try %d of %s: error %v", try, went(""), err)
				}
			}
			if refused := s.Refused() != nil; refused != c.refused || refused != (told == 1) {
				t.Errorf("refused %v, told %d times", s.Refused(), told)
			}
			works.Store(true)
			if err := s.Send(t.Context(), pipe.Segment{Session: "s2", Seq: 0, Body: []byte("x")}); err != nil || s.Refused() != nil {
				t.Errorf("the next session: error %v, refused %v", err, s.Refused())
			}
			if way := went(""); way != c.way {
				t.Errorf("ways %s, want %s", way, c.way)
			}
		})
	}
}

func TestStoreTakesARepeatedSegmentForTheFirst(t *testing.T) {
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	s := &Store{Store: st, OnSegment: func(key string) { keys = append(keys, key) }}
	seg := pipe.Segment{View: "v", Session: "s1", Seq: 7, Body: []byte("body")}
	for range 2 {
		if err := s.Send(t.Context(), seg); err != nil {
			t.Fatal(err)
		}
	}
	if len(keys) != 2 || keys[0] != "views/v/segments/s1/00000000000000000007.zst" {
		t.Errorf("keys %q", keys)
	}
	seg.Body = []byte("another's")
	if err := s.Send(t.Context(), seg); !errors.Is(err, store.ErrLost) {
		t.Errorf("error %v", err)
	}
}

func TestHandlerThatPanicsIsAnError(t *testing.T) {
	c := newClient(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	if _, err := c.Heartbeat(t.Context(), "s1", pipeapi.Heartbeat{}); err == nil {
		t.Error("no error")
	}
}

// A redirect must not take the key to another host, and a write is not sent again elsewhere.
func TestKeysStayOnTheirHost(t *testing.T) {
	var got []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = append(got, "other "+r.Header.Get("X-API-Key")) }))
	defer other.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away/api/v1/pipe/session/":
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		case "/found/api/v1/pipe/session/":
			http.Redirect(w, r, "/here/api/v1/pipe/session/", http.StatusFound)
		case "/moved/api/v1/pipe/session/":
			http.Redirect(w, r, "/here/api/v1/pipe/session/", http.StatusPermanentRedirect)
		default:
			got = append(got, r.Method+" "+r.Header.Get("X-API-Key"))
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"session_id":"s1"}`)
		}
	}))
	defer srv.Close()
	for path, want := range map[string]string{
		"/away": "answered a redirect (307) to " + other.URL + "/away", "/found": "answered a redirect (302) to " + srv.URL + "/here", "/moved": "(308) to " + srv.URL + "/here", "": "",
	} {
		c, err := NewClient(srv.URL+path, "key", "v", srv.Client(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.CreateSession(t.Context(), pipeapi.Registration{Task: "t"}); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v", path, err)
		}
	}
	if len(got) != 1 || got[0] != "POST key" {
		t.Errorf("requests %q", got)
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{"7": 7 * time.Second, "-1": 0, "": 0, "soon": 0, time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat): 0} {
		if got := RetryAfter(http.Header{"Retry-After": {text}}); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if got := RetryAfter(http.Header{"Retry-After": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}}); got < 58*time.Minute || got > time.Hour {
		t.Errorf("a date: %v", got)
	}
}

// TestStatusDoesNotWaitForIngest asks why uploads are refused while ingest takes its time to grant one.
func TestStatusDoesNotWaitForIngest(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	s := NewIngest(newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-goOn
		w.WriteHeader(http.StatusInternalServerError)
	})), nil)
	sent := make(chan error, 1)
	go func() { sent <- s.Send(t.Context(), pipe.Segment{Session: "s1", Body: []byte("x")}) }()
	<-asked
	told := make(chan error, 1)
	go func() { told <- s.Refused() }()
	select {
	case err := <-told:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for ingest")
	}
	close(goOn)
	if <-sent == nil {
		t.Error("it was sent")
	}
}
