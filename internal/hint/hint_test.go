package hint

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/testkit/logs"
	"github.com/fustor/fustor/testkit/wait"
)

const patience = 10 * time.Second

// heard is what somebody was told, in order.
type heard struct {
	mu    sync.Mutex
	views []string
}

func (h *heard) tell(view string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.views = append(h.views, view)
}

func (h *heard) of(view string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.views, view)
}

func serve(hub *Hub) http.Handler {
	mux := httpapi.NewMux()
	hub.Register(mux)
	return mux
}

// TestHintsPass from an ingest to the compactor and from there to a query, again after the compactor was away, and say once that it is.
func TestHintsPass(t *testing.T) {
	segments, versions, said := &heard{}, &heard{}, &logs.Buffer{}
	logger := slog.New(slog.NewTextHandler(said, nil))
	hub := NewHub(segments.tell)
	var away sync.Map
	handler := serve(hub)
	compactor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, is := away.Load("now"); is {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	defer compactor.Close()
	ctx, cancel := context.WithCancel(t.Context())
	teller := NewTeller([]string{compactor.URL + "/"}, logger)
	var running sync.WaitGroup
	running.Go(func() { teller.Run(ctx) })
	running.Go(func() { Listen(ctx, compactor.URL, logger, versions.tell) })
	defer running.Wait()
	defer cancel()

	pass := func(view string) {
		t.Helper()
		wait.For(t, patience, "a hint of segments in "+view, func() bool {
			teller.Segments(view)
			return segments.of(view)
		})
		wait.For(t, patience, "a hint of a version of "+view, func() bool {
			hub.Published(view)
			return versions.of(view)
		})
	}
	pass("a")
	if n := said.Count("level=WARN"); n != 0 {
		t.Errorf("%d warnings: %s", n, said)
	}
	away.Store("now", true)
	compactor.CloseClientConnections()
	wait.For(t, patience, "two who say that there are no hints", func() bool {
		teller.Segments("lost")
		return said.Count("no hints") == 2
	})
	away.Delete("now")
	pass("b")
	if warned, well := said.Count("level=WARN"), said.Count("hints pass again"); warned != 2 || well != 2 {
		t.Errorf("%d warnings, and %d times that hints pass again: %s", warned, well, said)
	}
}

// TestHintsAreBounded: whoever does not take hints has a bounded number, and what is no hint costs nothing.
func TestHintsAreBounded(t *testing.T) {
	h := newHints()
	for i := range 2 * maxPending {
		h.add(fmt.Sprint("v", i))
		h.add("v1")
	}
	if n := len(h.take()); n != maxPending {
		t.Errorf("%d hints", n)
	}
	if len(h.take()) != 0 {
		t.Error("a hint was given twice")
	}
	woken := &heard{}
	mux := serve(NewHub(woken.tell))
	for body, want := range map[string]int{
		`{"views":["../x","A","","v"]}`: 204, `{}`: 204, ``: 204, `{"views":"v"}`: 400, `[`: 400, `{"views":[` + strings.Repeat(`"a",`, maxBody/4) + `"b"]}`: 413,
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(body)))
		if w.Code != want {
			t.Errorf("%.40s is answered %d: %s", body, w.Code, w.Body)
		}
	}
	if !slices.Equal(woken.views, []string{"v"}) {
		t.Errorf("woken: %q", woken.views)
	}
}

// TestStreamsEnd when the process is asked to end, and are so many at most.
func TestStreamsEnd(t *testing.T) {
	hub := NewHub(func(string) {})
	server, ending := httptest.NewUnstartedServer(serve(hub)), make(chan struct{})
	server.Config.BaseContext = func(net.Listener) context.Context { return httpapi.WithEnding(context.Background(), ending) }
	server.Start()
	defer server.Close()
	var streams []*http.Response
	for range maxStreams {
		answer, err := http.Get(server.URL + path)
		if err != nil || answer.StatusCode != 200 {
			t.Fatal(answer, err)
		}
		streams = append(streams, answer)
	}
	answer, err := http.Get(server.URL + path)
	if err != nil || answer.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("one more: %v %v", answer, err)
	}
	answer.Body.Close()
	close(ending)
	for _, s := range streams {
		if _, err := io.Copy(io.Discard, s.Body); err != nil {
			t.Fatal(err)
		}
		s.Body.Close()
	}
	wait.For(t, patience, "all to be forgotten", func() bool {
		hub.mu.Lock()
		defer hub.mu.Unlock()
		return len(hub.listeners) == 0
	})
}

// TestSilentStreamIsLeft: a compactor that is gone without a word is not listened to for ever.
func TestSilentStreamIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		c := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			asked++
			body, w := io.Pipe()
			go func() {
				fmt.Fprintln(w, `{"views":[]}`)
				<-r.Context().Done()
				w.CloseWithError(r.Context().Err())
			}()
			return &http.Response{StatusCode: 200, Body: body, Header: http.Header{}}, nil
		})}
		var running sync.WaitGroup
		running.Go(func() { listen(ctx, "http://compactor", c, slog.New(slog.DiscardHandler), func(string) {}) })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if asked < 3 || asked > 5 {
			t.Errorf("connected %d times", asked)
		}
		cancel()
		running.Wait()
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
