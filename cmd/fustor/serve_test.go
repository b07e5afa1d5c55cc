//go:build !reading

package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/query"
)

// fromElsewhere is a listener of this machine whose connections seem to come from another one.
type fromElsewhere struct{ net.Listener }

func (l fromElsewhere) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return remoteConn{c}, nil
}

type remoteConn struct{ net.Conn }

func (remoteConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1000} }

// TestPagesSeeEveryRefusal asks everything that the servers' documents describe, and what they do not, without a key, with a wrong one, and
// on a connection above the limit. A page of an allowed origin can read each answer; without these headers its browser shows it none.
func TestPagesSeeEveryRefusal(t *testing.T) {
	const page, key = "https://app.example.org", "fustor_the-key-of-this-test"
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := authenticator(access.Options{Store: st}, key)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	q, err := query.New(query.Options{Store: st, Authenticator: keys, Logger: log, Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	i, err := ingest.New(ingest.Options{Store: st, Authenticator: keys, Logger: log, Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	cors, err := httpapi.NewCORS([]string{page})
	if err != nil {
		t.Fatal(err)
	}
	serveAt := func(h http.Handler, limit int) (address string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- servingFlags{ConnectionsPerAddress: limit}.serve(ctx, fromElsewhere{l}, cors, h, log) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return l.Addr().String()
	}
	for name, h := range map[string]http.Handler{"query": q.Handler(), "ingest": i.Handler()} {
		open, full := serveAt(h, 0), serveAt(h, 1)
		held, err := net.Dial("tcp", full) // the one that the address may have
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { held.Close() })
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		ask := func(method, address, path, key string) *http.Response {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader(""))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Origin", page)
			if key != "" {
				r.Header.Set("X-API-Key", key)
			}
			if method == http.MethodOptions {
				r.Header.Set("Access-Control-Request-Method", http.MethodGet)
			}
			response, err := client.Do(r)
			if err != nil {
				t.Fatalf("%s: %s %s: %v", name, method, path, err)
			}
			return response
		}
		type call struct{ method, path string }
		calls := []call{{"GET", "/nothing"}, {"GET", "/v2/nothing"}, {"GET", "/api/v1/views//x"}, {"BREW", "/"}, {"GET", "/%00"}}
		for _, document := range []string{"/openapi.json", "/api/v1/pipe/openapi.json"} {
			response := ask("GET", open, document, key)
			var d struct{ Paths map[string]map[string]any }
			err := json.NewDecoder(response.Body).Decode(&d)
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				continue // it is the other part's
			}
			if err != nil {
				t.Fatal(err)
			}
			for path, methods := range d.Paths {
				for method := range methods {
					calls = append(calls, call{strings.ToUpper(method), strings.NewReplacer("{view}", "v", "{", "", "}", "").Replace(path)})
				}
			}
		}
		if len(calls) < 15 {
			t.Errorf("%s: its document describes %d calls", name, len(calls))
		}
		asked := 0
		for _, c := range calls {
			for _, from := range []struct{ what, address, key string }{
				{"without a key", open, ""}, {"with a wrong key", open, "no-such-key-no-such-key-no-such-key"}, {"above the limit", full, ""},
			} {
				response := ask(c.method, from.address, c.path, from.key)
				response.Body.Close()
				asked++
				if allowed := response.Header.Get("Access-Control-Allow-Origin"); allowed != page && allowed != "*" {
					t.Errorf("%s: %s %s %s: %s, and the page may not see it", name, c.method, c.path, from.what, response.Status)
				}
				if from.address == full && (response.StatusCode != http.StatusTooManyRequests || !response.Close || response.Header.Get("Retry-After") == "" ||
					!strings.Contains(response.Header.Get("Access-Control-Expose-Headers"), "Retry-After")) {
					t.Errorf("%s: %s %s above the limit: %s, the connection ends: %v, %v", name, c.method, c.path, response.Status, response.Close, response.Header)
				}
			}
		}
		// The question before the call is answered, so that the call has an answer to show.
		response := ask(http.MethodOptions, full, "/api/v1/views/v/tree", "")
		response.Body.Close()
		if response.StatusCode != http.StatusOK || !response.Close || response.Header.Get("Access-Control-Allow-Origin") != page {
			t.Errorf("%s: preflight above the limit: %s, the connection ends: %v, %v", name, response.Status, response.Close, response.Header)
		}
		t.Logf("%s: %d answers", name, asked)
	}
}
