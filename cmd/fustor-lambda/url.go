package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdaurl"

	"github.com/fustor/fustor/internal/httpapi"
)

// answerMargin is how long before its deadline an invocation's context ends, so that there is time to say so.
const answerMargin = 300 * time.Millisecond

// serveURL serves a handler behind a Function URL that streams its answers (InvokeMode RESPONSE_STREAM).
func serveURL(h http.Handler, log *slog.Logger) function {
	serve := lambdaurl.Wrap(guard{h, log})
	return func(ctx context.Context, payload json.RawMessage) (any, error) {
		enter(ctx)
		request, err := urlRequest(payload)
		if err != nil {
			log.ErrorContext(ctx, "unknown event", "error", err.Error())
			return nil, err
		}
		a := &answer{}
		ctx, cancel := context.WithCancel(context.WithValue(ctx, answerKey{}, a))
		if deadline, ok := ctx.Deadline(); ok {
			ctx, cancel = withEarlier(ctx, cancel, deadline.Add(-answerMargin))
		}
		response, err := serve(ctx, request)
		if err != nil {
			cancel()
			return nil, err
		}
		delete(response.Headers, "Content-Length") // the stream comes in chunks, whatever its length
		response.Body = &body{Reader: response.Body, answer: a, cancel: cancel}
		return response, nil
	}
}

func withEarlier(ctx context.Context, outer context.CancelFunc, deadline time.Time) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	return ctx, func() { cancel(); outer() }
}

// urlRequest reads the event of a Function URL, payload format 2.0.
func urlRequest(payload []byte) (*events.LambdaFunctionURLRequest, error) {
	request := &events.LambdaFunctionURLRequest{}
	if err := json.Unmarshal(payload, request); err != nil {
		return nil, fmt.Errorf("event of a Function URL: %w", err)
	}
	if request.Version != "2.0" || request.RequestContext.HTTP.Method == "" {
		return nil, errors.New("this function accepts only events of its Function URL, payload format 2.0")
	}
	// The path comes as it was sent; one that cannot stand in a URL is escaped, lest it fail the invocation.
	if strings.ContainsAny(request.RawPath, "?#") || !parses(request.RawPath) {
		request.RawPath = (&url.URL{Path: request.RawPath}).EscapedPath()
	}
	if strings.Contains(request.RawQueryString, "#") {
		request.RawQueryString = strings.ReplaceAll(request.RawQueryString, "#", "%23")
	}
	return request, nil
}

func parses(path string) bool {
	_, err := url.Parse("https://h" + path)
	return err == nil
}

// answer is what became of one.
type answer struct{ aborted atomic.Bool }

type answerKey struct{}

// guard stands around a handler, where there is no net/http server to do it: a panic is a 500 as long as nothing was sent,
// and later breaks the stream off.
type guard struct {
	http.Handler
	log *slog.Logger
}

// ServeHTTP implements http.Handler.
func (g guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	complete(r)
	rec := &sent{ResponseWriter: w, bodyless: r.Method == http.MethodHead}
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) { // those are logged already
			g.log.ErrorContext(r.Context(), "panic", "error", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
		if !rec.begun {
			httpapi.Problem(w, r, http.StatusInternalServerError, "internal error")
			return
		}
		if a, ok := r.Context().Value(answerKey{}).(*answer); ok {
			a.aborted.Store(true) // before the stream's end, so that its reader knows
		}
	}()
	g.Handler.ServeHTTP(rec, r)
}

// complete adds what a server would know of a request and lambdaurl leaves out.
func complete(r *http.Request) {
	event, ok := lambdaurl.RequestFromContext(r.Context())
	if !ok {
		return
	}
	if event.IsBase64Encoded {
		r.ContentLength = int64(base64.StdEncoding.DecodedLen(len(event.Body)) - strings.Count(event.Body[max(0, len(event.Body)-2):], "="))
	}
	if r.Header.Get("Cookie") == "" && len(event.Cookies) > 0 {
		r.Header.Set("Cookie", strings.Join(event.Cookies, "; "))
	}
}

// sent knows whether an answer has begun.
type sent struct {
	http.ResponseWriter
	begun    bool
	bodyless bool // HEAD: the body is left out, as a server of net/http does
}

func (s *sent) WriteHeader(status int) {
	if status < 200 {
		return // there is only one answer
	}
	s.begun = true
	s.ResponseWriter.WriteHeader(status)
}

func (s *sent) Write(b []byte) (int, error) {
	if s.bodyless {
		if !s.begun {
			s.WriteHeader(http.StatusOK)
		}
		return len(b), nil
	}
	s.begun = true
	return s.ResponseWriter.Write(b)
}

// Flush implements http.Flusher: what is written is on its way already.
func (s *sent) Flush() {}

// body is an answer's stream. One that was aborted ends in an error, by which Lambda breaks the connection: nobody may
// take a part for the whole.
type body struct {
	io.Reader
	answer *answer
	cancel context.CancelFunc
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.answer.aborted.Load() {
		err = errors.New("the answer broke off")
	}
	return n, err
}

// Close ends the handler, if nobody reads on.
func (b *body) Close() error {
	b.cancel()
	if c, ok := b.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
