package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/fustor/fustor/internal/trace"
)

// Frame is what surrounds every handler of a server.
type Frame struct {
	Logger  *slog.Logger     // nil: no log
	Metrics *Metrics         // nil: none
	Now     func() time.Time // for durations in log and metrics; nil: time.Now
	Timeout time.Duration    // of a request's context; 0: none
	// ServerTime, if set, puts server_time_ns on problems: the store's time, ns.
	ServerTime func() int64
}

// Wrap returns h in the frame: panics become 500, every request is logged once, with its error if it had one, and
// counted. It must stand directly around the Mux, which names the route on the request it is given.
func (f Frame) Wrap(h http.Handler) http.Handler {
	if f.Now == nil {
		f.Now = time.Now
	}
	if f.Logger == nil {
		f.Logger = slog.New(slog.DiscardHandler)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(h, w, r) })
}

func (f Frame) serve(h http.Handler, w http.ResponseWriter, r *http.Request) {
	start := f.Now()
	if f.Timeout > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), f.Timeout)
		defer cancel()
		r = r.WithContext(ctx)
	}
	if f.ServerTime != nil {
		r = r.WithContext(context.WithValue(r.Context(), serverTimeKey{}, f.ServerTime))
	}
	rec := &recorder{ResponseWriter: w}
	var span *trace.Span
	if !isProbe(r.URL.Path) {
		var ctx context.Context
		if ctx, span = trace.Start(trace.Extract(r.Context(), r.Header), trace.Server, methodName(r.Method)); span != nil {
			r = r.WithContext(ctx)
		}
	}
	f.Metrics.begin()
	defer func() {
		if v := recover(); v != nil {
			f.recovered(rec, r, v)
		}
		took := f.Now().Sub(start)
		f.Metrics.end(r, rec, took)
		endSpan(span, r, rec)
		f.log(r, rec, took)
		if rec.abort {
			if !r.ProtoAtLeast(1, 1) {
				rec.Flush()
				breakOff(r.Context())
			}
			panic(http.ErrAbortHandler)
		}
	}()
	h.ServeHTTP(rec, r)
}

// endSpan tells what became of a request. The path is that of the call; what is asked for is in the query string, which is not told.
func endSpan(span *trace.Span, r *http.Request, rec *recorder) {
	if span == nil {
		return
	}
	route, status := routeOf(r), rec.code()
	span.Name(methodName(r.Method) + " " + route)
	span.Is(trace.Text("http.request.method", methodName(r.Method)), trace.Text("http.route", route), trace.Number("http.response.status_code", int64(status)),
		trace.Number("http.response.body.size", rec.bytes))
	if view := r.PathValue("view_id"); view != "" {
		span.Is(trace.View(view))
	}
	if status >= 500 || rec.abort {
		span.Failed(http.StatusText(status))
	}
	span.End()
}

// recovered answers a panic if nothing was sent yet; otherwise the connection must be cut, lest the client take a part
// for the whole.
func (f Frame) recovered(rec *recorder, r *http.Request, v any) {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		rec.abort = true
		return
	}
	err := fmt.Errorf("panic: %v\n%s", v, debug.Stack())
	if rec.status == 0 {
		Fail(rec, r, err)
		return
	}
	rec.err, rec.abort = err, true
}

func (f Frame) log(r *http.Request, rec *recorder, took time.Duration) {
	level := slog.LevelInfo
	var e *Error
	switch {
	case rec.code() == http.StatusNotImplemented: // the caller has another way
	case !rec.abort && errors.As(rec.err, &e) && e.Passing:
	case rec.clientGone(r.Context()): // such as `fustor find | head -1`
	case rec.code() >= 500 || rec.abort:
		level = slog.LevelError
	case isProbe(r.URL.Path):
		level = slog.LevelDebug
	}
	if !f.Logger.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", methodName(r.Method)),
		slog.String("path", r.URL.Path), // never the query string, never a header
		slog.Int("status", rec.code()),
		slog.Int64("bytes", rec.bytes),
		slog.Duration("took", took),
		slog.String("client", ClientIP(r)),
	}
	if rec.err != nil {
		attrs = append(attrs, slog.String("error", rec.err.Error()))
	}
	f.Logger.LogAttrs(r.Context(), level, "request", attrs...)
}

// ClientIP is the address that asks: that of the peer of the connection, or the one for which a trusted proxy asks (Proxies). Headers of
// others that claim another address are not believed.
func ClientIP(r *http.Request) string {
	if ip, ok := forwardedClient(r); ok {
		return ip.String()
	}
	return PeerIP(r)
}

// PeerIP is the address of the peer of the connection.
func PeerIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	err    error
	abort  bool
	waits  bool // Waits

	writeError error // of the connection to the client
}

// clientGone reports whether an answer was given up because nobody takes it: writing failed, or the server saw the
// connection end. What was wrong besides counts as ours.
func (w *recorder) clientGone(ctx context.Context) bool {
	var e *Error
	switch {
	case !w.abort:
		return false
	case w.err == nil:
		return w.writeError != nil
	case w.writeError != nil && errors.Is(w.err, w.writeError):
		return true
	case errors.Is(w.err, context.Canceled), errors.As(w.err, &e) && e.Status == statusClientGone:
		return errors.Is(ctx.Err(), context.Canceled)
	}
	return false
}

func (w *recorder) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	if err != nil && w.writeError == nil {
		w.writeError = err
	}
	return n, err
}

// Flush lets streams through to handlers that ask for http.Flusher.
func (w *recorder) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Unwrap serves http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// note keeps the error of an answer for the log.
func note(w http.ResponseWriter, err error) {
	if rec := recorderOf(w); rec != nil {
		rec.err = err
	}
}

// Waits says that an answer lasts as long as its client wants, such as a long poll or a feed: how long it takes says nothing of the
// server, so the histogram of durations leaves it out.
func Waits(w http.ResponseWriter) {
	if rec := recorderOf(w); rec != nil {
		rec.waits = true
	}
}

// recorderOf is the recorder that a handler writes through; nil where it stands in no Frame.
func recorderOf(w http.ResponseWriter) *recorder {
	for w != nil {
		if rec, ok := w.(*recorder); ok {
			return rec
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil
		}
		w = wrapper.Unwrap()
	}
	return nil
}
