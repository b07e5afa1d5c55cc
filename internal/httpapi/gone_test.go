package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
)

// brokenPipe is the connection of a client that went away.
type brokenPipe struct{ http.ResponseWriter }

func (brokenPipe) Write([]byte) (int, error) { return 0, fmt.Errorf("write tcp: %w", syscall.EPIPE) }

// A client that goes away is no error of the server; damage is one, whoever still listens.
func TestAClientThatGoesAwayIsNoError(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	write := func(w http.ResponseWriter) error { _, err := w.Write([]byte("x")); return err }
	for _, tc := range []struct {
		name  string
		ctx   context.Context
		pipe  bool
		serve func(w http.ResponseWriter, r *http.Request)
		level string
	}{
		{"the write fails", t.Context(), true, func(w http.ResponseWriter, _ *http.Request) { Abort(w, fmt.Errorf("answer: %w", write(w))) }, "INFO"},
		{"the connection ended", gone, false, func(w http.ResponseWriter, r *http.Request) { _ = write(w); Abort(w, r.Context().Err()) }, "INFO"},
		{"explained before", gone, false, func(w http.ResponseWriter, r *http.Request) {
			_ = write(w)
			Abort(w, Explain(r.Context(), r.Context().Err()))
		}, "INFO"},
		{"damage, and the write fails", t.Context(), true, func(w http.ResponseWriter, _ *http.Request) { _ = write(w); Abort(w, errors.New("damaged")) }, "ERROR"},
		{"damage, and the connection ended", gone, false, func(w http.ResponseWriter, _ *http.Request) { _ = write(w); Abort(w, errors.New("damaged")) }, "ERROR"},
		{"failure, and the write fails", t.Context(), true, func(w http.ResponseWriter, r *http.Request) { Fail(w, r, errors.New("failed")) }, "ERROR"},
		{"canceled by the server itself", t.Context(), false, func(w http.ResponseWriter, _ *http.Request) { _ = write(w); Abort(w, context.Canceled) }, "ERROR"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log bytes.Buffer
			h := Frame{Logger: slog.New(slog.NewTextHandler(&log, nil))}.Wrap(http.HandlerFunc(tc.serve))
			var w http.ResponseWriter = httptest.NewRecorder()
			if tc.pipe {
				w = brokenPipe{w}
			}
			func() {
				defer func() { _ = recover() }() // the abort
				h.ServeHTTP(w, httptest.NewRequestWithContext(tc.ctx, "GET", "/", nil))
			}()
			if !strings.Contains(log.String(), "level="+tc.level) {
				t.Errorf("want level %s: %s", tc.level, log.String())
			}
		})
	}
}
