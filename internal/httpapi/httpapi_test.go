package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/internal/store"
)

func TestParamsAreStrict(t *testing.T) {
	read := func(query string) (string, error) {
		p := Query(httptest.NewRequest("GET", "/x?"+query, nil))
		path, limit, deep := p.Path("/"), p.Int("limit", 10, 1, 100), p.Bool("deep", false)
		kind, text := p.Enum("kind", "any", "file", "any"), p.String("text", "-")
		newer, isNewer := p.Time("newer", time.Unix(1000, 0))
		size, isSized := p.Size("size")
		return fmt.Sprintf("%s %d%v%s%s%d%v%d%v", path, limit, deep, kind, text, newer, isNewer, size, isSized), p.Err()
	}
	for query, want := range map[string]string{
		"":                                   "/ 10falseany-0false0false",
		"path=/a//b/&limit=7&deep=True":      "/a/b 7trueany-0false0false",
		"path_b64=L2H_&kind=file&text=":      "/a\xff 10falsefile0false0false",
		"path=%2Fa%FF&newer=10s&size=1K":     "/a\xff 10falseany-990000000000true1024true",
		"deep=0&path=/a+b%26c&text=%C3%A4+b": "/a b&c 10falseanyä b0false0false",
	} {
		if got, err := read(query); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", query, got, err, want)
		}
	}
	for _, query := range []string{
		"limt=7", "limit=0", "limit=101", "limit=", "limit=1.0", "limit=0x10", "limit=1&limit=2", "deep=yes", "deep=", "kind=dir", "newer=soon", "size=big",
		"path=", "path=a", "path=/../x", "path=/a%00", "path=/a&path_b64=L2E", "path_b64=!!", "path_b64=L2E=L2E", "path_b64=", "path_b64=Li4", "text=%00", "%zz=1", "a;b=1",
	} {
		got, err := read(query)
		var e *Error
		if !errors.As(err, &e) || e.Status != 400 || e.Detail == "" {
			t.Errorf("%s: %q, %v; want a 400", query, got, err)
		}
	}
}

// serve answers one request in a full frame and returns the answer and the log.
func serve(t *testing.T, r *http.Request, f func(http.ResponseWriter, *http.Request) error) (*http.Response, map[string]any, string) {
	t.Helper()
	var log bytes.Buffer
	mux := NewMux()
	mux.HandleFunc("POST", "/x/{id}", f)
	frame := Frame{Logger: slog.New(slog.NewTextHandler(&log, nil)), ServerTime: func() int64 { return 42 }}
	w := httptest.NewRecorder()
	frame.Wrap(mux).ServeHTTP(w, r)
	answer := w.Result()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(body, &decoded); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return answer, decoded, log.String()
}

func TestProblems(t *testing.T) {
	secret := errors.New("dial 10.0.0.1: secret inside")
	for _, tc := range []struct {
		name   string
		err    error
		status int
		retry  string
	}{
		{"ours", &Error{Status: 409, Detail: "taken", Hint: "wait", Cause: secret}, 409, ""},
		{"wrapped", fmt.Errorf("more: %w", &Error{Status: StatusSessionGone, Detail: "gone"}), 419, ""},
		{"unknown", secret, 500, ""},
		{"store", StoreFailure(secret), 503, "2"},
		{"denied", fmt.Errorf("get x: %w", store.ErrDenied), 503, "30"},
		{"no bucket", StoreFailure(store.ErrNoBucket), 503, "30"},
		{"too slow", StoreFailure(context.DeadlineExceeded), 503, "2"},
		{"too large", &http.MaxBytesError{Limit: 5}, 413, ""},
		{"retry", &Error{Status: 503, Detail: "later", RetryAfter: 1100 * time.Millisecond}, 503, "2"},
	} {
		answer, body, log := serve(t, httptest.NewRequest("POST", "/x/1?key=in-query", nil), func(w http.ResponseWriter, r *http.Request) error { return tc.err })
		if answer.StatusCode != tc.status || body["status"] != float64(tc.status) || answer.Header.Get("Content-Type") != "application/problem+json" ||
			body["detail"] == "" || body["title"] == "" || answer.Header.Get("Retry-After") != tc.retry || body["server_time_ns"] != 42.0 {
			t.Errorf("%s: %d %v %v", tc.name, answer.StatusCode, answer.Header, body)
		}
		if strings.Contains(fmt.Sprint(body), "secret inside") || strings.Contains(log, "in-query") {
			t.Errorf("%s: tells too much: %v\n%s", tc.name, body, log)
		}
		if errors.Is(tc.err, secret) && !strings.Contains(log, "secret inside") {
			t.Errorf("%s: the log does not know the cause: %s", tc.name, log)
		}
	}
}

func TestPanics(t *testing.T) {
	answer, body, log := serve(t, httptest.NewRequest("POST", "/x/1", nil), func(http.ResponseWriter, *http.Request) error { panic("oh no") })
	if answer.StatusCode != 500 || body["detail"] != "internal error" || !strings.Contains(log, "oh no") || !strings.Contains(log, "httpapi_test.go") {
		t.Errorf("%d %v\n%s", answer.StatusCode, body, log)
	}
	// Half an answer must not pass for a whole one.
	server := httptest.NewServer(Frame{}.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", 1<<20))
		panic("half-way")
	})))
	defer server.Close()
	got, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if _, err := io.ReadAll(got.Body); err == nil {
		t.Error("the answer broke off and looks whole")
	}
}

func TestMux(t *testing.T) {
	mux := NewMux()
	mux.HandleFunc("GET", "/", func(w http.ResponseWriter, r *http.Request) error { WriteJSON(w, r, 200, "root"); return nil })
	mux.HandleFunc("GET", "/a/{id}", func(w http.ResponseWriter, r *http.Request) error {
		WriteJSON(w, r, 200, r.PathValue("id"))
		return nil
	})
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry, "test")
	if err != nil {
		t.Fatal(err)
	}
	h := Frame{Metrics: metrics}.Wrap(mux)
	for _, tc := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/", 200, `"root"`}, {"GET", "/a/x", 200, `"x"`}, {"GET", "/a/x/", 200, `"x"`}, {"HEAD", "/a/x", 200, ""}, {"GET", "/a/x%2Fy", 200, `"x/y"`},
		{"GET", "/b", 404, "problem"}, {"GET", "/a/x/y", 404, "problem"}, {"POST", "/a/x", 405, "it accepts GET, HEAD"}, {"BREW", "/a/x", 405, "that method"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, nil))
		body := strings.TrimSpace(w.Body.String())
		isProblem := w.Header().Get("Content-Type") == "application/problem+json"
		if w.Code != tc.status || isProblem != (tc.status >= 400) || tc.status < 400 && tc.method == "GET" && body != tc.body {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, w.Code, body)
		}
		if tc.status == 405 && !strings.Contains(body, tc.body) {
			t.Errorf("%s %s: %s", tc.method, tc.path, body)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	routes := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "fustor_http_requests_total" && l.GetName() == "route" {
					routes[l.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	if routes["/a/{id}"] != 4 || routes["/"] != 1 || routes["none"] != 4 || len(routes) != 3 {
		t.Errorf("requests by route: %v", routes)
	}
}

func TestReadJSON(t *testing.T) {
	type input struct {
		Name string   `json:"name"`
		Size *float64 `json:"size"`
	}
	for _, tc := range []struct {
		body, media string
		status      int
	}{
		{`{"name":"a","size":1.5}`, "application/json", 0}, {`{"name":"a"} `, "application/json; charset=utf-8", 0}, {``, "", 0}, {`{}`, "", 0},
		{`{"nam":"a"}`, "", 400}, {`{"name":1}`, "", 400}, {`{"name":"a"}{}`, "", 400}, {`{"name":`, "", 400}, {`[]`, "", 400}, {`x`, "", 400},
		{`{}`, "text/plain", 415}, {`{"name":"` + strings.Repeat("a", 100) + `"}`, "", 413},
	} {
		r := httptest.NewRequest("POST", "/x/1", strings.NewReader(tc.body))
		if tc.media != "" {
			r.Header.Set("Content-Type", tc.media)
		}
		answer, _, _ := serve(t, r, func(w http.ResponseWriter, r *http.Request) error {
			var in input
			if err := ReadJSON(w, r, &in, 64); err != nil {
				return err
			}
			WriteJSON(w, r, 200, in)
			return nil
		})
		if want := max(tc.status, 200); answer.StatusCode != want {
			t.Errorf("%.30s as %q: %d, want %d", tc.body, tc.media, answer.StatusCode, want)
		}
	}
	// A length that is not announced is bounded as well.
	r := httptest.NewRequest("POST", "/x/1", io.LimitReader(endless{}, 1<<30))
	r.ContentLength = -1
	answer, _, _ := serve(t, r, func(w http.ResponseWriter, r *http.Request) error { _, err := ReadBody(w, r, 1000); return err })
	if answer.StatusCode != 413 {
		t.Errorf("an endless body: %d", answer.StatusCode)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestWaitsAreNoDurations: what waits for news, as long as its client wants, is counted and not in the histogram.
func TestWaitsAreNoDurations(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry, "test")
	if err != nil {
		t.Fatal(err)
	}
	mux := NewMux()
	mux.HandleFunc("GET", "/poll", func(w http.ResponseWriter, r *http.Request) error {
		Waits(w)
		WriteJSON(w, r, 200, "news")
		return nil
	})
	mux.HandleFunc("GET", "/call", func(w http.ResponseWriter, r *http.Request) error { WriteJSON(w, r, 200, "at once"); return nil })
	h := Frame{Metrics: metrics}.Wrap(mux)
	for _, path := range []string{"/poll", "/call"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
	Waits(httptest.NewRecorder()) // in no Frame
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "route" {
					found[f.GetName()+" "+l.GetValue()]++
				}
			}
		}
	}
	if found["fustor_http_requests_total /poll"] != 1 || found["fustor_http_request_seconds /poll"] != 0 || found["fustor_http_request_seconds /call"] != 1 {
		t.Error(found)
	}
}

// TestOpenProbes: without a key, probes and scrapers are let in where the server is set to, and nobody reads the document.
func TestOpenProbes(t *testing.T) {
	for _, open := range []bool{false, true} {
		mux := NewMux()
		Probes{Open: open, OpenAPI: func() ([]byte, error) { return []byte("{}"), nil }, Protect: func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
		}}.Register(mux)
		for path, want := range map[string]int{"/healthz": 200, "/readyz": 401, "/metrics": 401, "/openapi.json": 401} {
			if open && path != "/openapi.json" {
				want = 200
			}
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if w.Code != want {
				t.Errorf("open %v: %s answers %d", open, path, w.Code)
			}
		}
	}
}

// TestMetricsOfOtherViews: a key for some views does not show the others.
func TestMetricsOfOtherViews(t *testing.T) {
	registry := prometheus.NewRegistry()
	for _, name := range []string{"views_total", "hidden_total"} {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name}, []string{"view"})
		registry.MustRegister(v)
		v.WithLabelValues("theirs").Inc()
		if name == "views_total" {
			v.WithLabelValues("mine").Inc()
		}
	}
	other := prometheus.NewCounter(prometheus.CounterOpts{Name: "other_total"})
	registry.MustRegister(other)
	for _, open := range []bool{false, true} {
		mux := NewMux()
		Probes{Open: open, Gatherer: registry, OpenAPI: func() ([]byte, error) { return nil, nil },
			MaySee: func(_ context.Context, view string) bool { return view == "mine" }}.Register(mux)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		body := w.Body.String()
		if strings.Contains(body, "theirs") != open || strings.Contains(body, "hidden_total") != open || !strings.Contains(body, `view="mine"`) || !strings.Contains(body, "other_total 0") {
			t.Errorf("open %v: %s", open, body)
		}
	}
}
