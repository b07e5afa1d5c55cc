// Package hint passes on, between the processes of one store, that something is new, so that nobody has to wait until a poll finds it:
// ingest says that a view has segments, and the compactor says that it has a version.
//
// A hint is never needed. It tells the name of a view and nothing else, it may be lost, doubled or wrong, and whoever hears one looks
// into the store, as the next poll would. So a compactor takes hints from everybody who reaches its address, as it shows its metrics to
// everybody; a made-up hint costs it one poll.
package hint

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/sleep"
)

const (
	path = "/hints" // at the compactor

	// maxPending is of how many views somebody may have hints that were not taken yet. Further ones are dropped.
	maxPending = 1 << 14
	maxBody    = 4 << 20
	maxLine    = 1 << 10

	heartbeat  = 10 * time.Second // how long a stream of hints is silent at most
	maxStreams = 256

	sendTimeout = 5 * time.Second
	retryFirst  = time.Second
	retryMax    = 30 * time.Second
)

// hints are the views of which there is news. The zero value has none.
type hints struct {
	mu    sync.Mutex
	views map[string]struct{}
	some  chan struct{} // has room for one: there may be hints
}

func newHints() *hints { return &hints{views: map[string]struct{}{}, some: make(chan struct{}, 1)} }

// add takes one in. It never blocks.
func (h *hints) add(view string) {
	h.mu.Lock()
	if len(h.views) < maxPending {
		h.views[view] = struct{}{}
	}
	h.mu.Unlock()
	select {
	case h.some <- struct{}{}:
	default:
	}
}

// take is all that there are.
func (h *hints) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	views := slices.Sorted(maps.Keys(h.views))
	clear(h.views)
	return views
}

// body is what is sent: by a Teller once, by a Hub a line each.
type body struct {
	Views []string `json:"views"`
}

// Hub is the compactor's end. It takes hints of segments, and tells those of versions to all who listen.
type Hub struct {
	wake func(view string)

	mu        sync.Mutex
	listeners map[*hints]struct{}
}

// NewHub returns a Hub that passes hints of segments on to wake.
func NewHub(wake func(view string)) *Hub {
	return &Hub{wake: wake, listeners: map[*hints]struct{}{}}
}

// Published tells that the view has a new version. It never blocks.
func (h *Hub) Published(view string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		l.add(view)
	}
}

// Register adds the calls to a mux: POST takes hints, GET streams them, as lines of JSON.
func (h *Hub) Register(mux *httpapi.Mux) {
	mux.HandleFunc("POST", path, h.heard)
	mux.HandleFunc("GET", path, h.stream)
}

func (h *Hub) heard(w http.ResponseWriter, r *http.Request) error {
	var said body
	if err := httpapi.ReadJSON(w, r, &said, maxBody); err != nil {
		return err
	}
	for _, view := range said.Views {
		if layout.ValidView(view) {
			h.wake(view)
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// stream tells of versions until whoever listens goes, or the process ends.
func (h *Hub) stream(w http.ResponseWriter, r *http.Request) error {
	own := newHints()
	h.mu.Lock()
	if len(h.listeners) >= maxStreams {
		h.mu.Unlock()
		return &httpapi.Error{Status: http.StatusServiceUnavailable, RetryAfter: retryMax, Detail: fmt.Sprintf("%d listen already", maxStreams), Hint: "hints are not needed: poll"}
	}
	h.listeners[own] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.listeners, own)
		h.mu.Unlock()
	}()
	httpapi.Trust(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	out, lines := http.NewResponseController(w), json.NewEncoder(w)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for views := []string{}; ; {
		if err := lines.Encode(body{views}); err != nil {
			return nil // it has gone
		}
		if err := out.Flush(); err != nil {
			return nil
		}
		select {
		case <-own.some:
			views = own.take()
		case <-beat.C:
			views = []string{}
		case <-httpapi.Ending(r.Context()):
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

// Teller is ingest's end: it tells compactors that views have segments.
type Teller struct {
	log     *slog.Logger
	targets []target
}

type target struct {
	url    string
	hints  *hints
	client *http.Client
}

// CheckURL says what is wrong with the address of a compactor.
func CheckURL(compactor string) error {
	u, err := url.Parse(compactor)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not a URL such as http://compactor:8082", compactor)
	}
	return nil
}

// NewTeller tells these compactors, by the base of their URLs.
func NewTeller(compactors []string, log *slog.Logger) *Teller {
	t := &Teller{log: log}
	for _, c := range compactors {
		t.targets = append(t.targets, target{strings.TrimSuffix(c, "/") + path, newHints(), httpclient.New(nil)})
	}
	return t
}

// Segments says that a view has new segments. It never blocks.
func (t *Teller) Segments(view string) {
	for _, target := range t.targets {
		target.hints.add(view)
	}
}

// Run sends what Segments is told until ctx ends. What a compactor does not take is dropped: it polls.
func (t *Teller) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, to := range t.targets {
		all.Go(func() {
			keepTrying(ctx, t.log, to.url, func(ctx context.Context, well func()) error {
				for {
					select {
					case <-to.hints.some:
					case <-ctx.Done():
						return ctx.Err()
					}
					if views := to.hints.take(); len(views) > 0 {
						if err := to.send(ctx, views); err != nil {
							return err
						}
						well()
					}
				}
			})
		})
	}
	all.Wait()
}

func (t target) send(ctx context.Context, views []string) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	said, err := json.Marshal(body{views})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(said))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxLine))
	if answer.StatusCode != http.StatusNoContent {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}

// Listen calls published with each view that a compactor says has a new version, until ctx ends. It connects again by itself.
func Listen(ctx context.Context, compactor string, log *slog.Logger, published func(view string)) {
	listen(ctx, compactor, httpclient.New(nil), log, published)
}

func listen(ctx context.Context, compactor string, client *http.Client, log *slog.Logger, published func(view string)) {
	to := strings.TrimSuffix(compactor, "/") + path
	keepTrying(ctx, log, to, func(ctx context.Context, well func()) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		silence := time.AfterFunc(3*heartbeat, cancel)
		defer silence.Stop()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(req)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", answer.Status)
		}
		for lines := json.NewDecoder(answer.Body); ; {
			var said body
			if err := lines.Decode(&said); err != nil {
				return err
			}
			silence.Reset(3 * heartbeat)
			well()
			for _, view := range said.Views {
				published(view)
			}
		}
	})
}

// keepTrying calls try until ctx ends, with growing pauses while it fails; try calls well whenever something went well. The log hears of
// the first failure and of the end of it.
func keepTrying(ctx context.Context, log *slog.Logger, url string, try func(ctx context.Context, well func()) error) {
	failing, pause := false, retryFirst
	well := func() {
		if failing {
			log.Info("hints pass again", "url", url)
		}
		failing, pause = false, retryFirst
	}
	for ctx.Err() == nil {
		err := try(ctx, well)
		if ctx.Err() != nil {
			return
		}
		if !failing {
			log.Warn("no hints of what is new; changes show a little later, as they are found by polling", "url", url, "error", err)
		}
		failing = true
		_ = sleep.For(ctx, pause)
		pause = min(2*pause, retryMax)
	}
}
