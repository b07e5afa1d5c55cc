// Package httpapi is what Fustor's HTTP sides (ingest and query) share: errors as RFC 9457 problems, strict reading of
// parameters and bodies, JSON answers, and the frame around every handler (panics, access log, metrics, probes).
//
// It owns how the wire looks, never what is answered. Invariants: every error has a `detail`; an unknown, repeated or
// malformed parameter is a 400 and never guessed; no body is read without a bound; no header of a request, and so no
// key, reaches a log or an answer. Handlers return errors; only the frame turns them into answers and logs them.
package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// StatusSessionGone answers whoever speaks for a session that is no more, as Fustor agents know it.
const StatusSessionGone = 419

// statusClientGone is only logged: the client went away before the answer.
const statusClientGone = 499

// Error is an answer that is not the wanted one. Handlers return it; the client sees all of it but Cause.
type Error struct {
	Status     int
	Detail     string        // what is wrong, one line
	Hint       string        // what to do about it, one line; may be empty
	RetryAfter time.Duration // sent as Retry-After, in whole seconds rounded up, if not 0
	Cause      error         // for the log only
	// Passing: not a fault of this server or of what it reads, but a state that is as it should be and ends by itself, such
	// as a first scan under way. It is logged as other answers are, whatever its status.
	Passing bool
	// Extra are further members of the problem (RFC 9457, section 3.2), under names that it does not have yet.
	Extra map[string]any
}

// Error implements error.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Detail + ": " + e.Cause.Error()
	}
	return e.Detail
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf is an Error of a status without a hint.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Detail: fmt.Sprintf(format, args...)}
}

// BadRequest is an Error 400.
func BadRequest(detail, hint string) *Error {
	return &Error{Status: http.StatusBadRequest, Detail: detail, Hint: hint}
}

// ProblemBody is the body of an error, RFC 9457.
type ProblemBody struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
	// ServerTime is on errors of the pipe side too, as agents set their clocks by every answer.
	ServerTime int64 `json:"server_time_ns,omitempty"`
}

// Problem answers with an error. Only the first hint counts.
func Problem(w http.ResponseWriter, r *http.Request, status int, detail string, hint ...string) {
	e := &Error{Status: status, Detail: detail}
	if len(hint) > 0 {
		e.Hint = hint[0]
	}
	Fail(w, r, e)
}

// Fail answers with err, whatever it is, and leaves it to the frame to log. An *Error is sent as it is; what the store
// cannot do now is 503 with Retry-After; everything else is a 500 that tells no internals.
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	e := answerTo(r.Context(), err)
	note(w, err)
	h := w.Header()
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="fustor"`)
	}
	h.Del("ETag")
	h.Set("Cache-Control", "no-store")
	if forV2(r.Context()) {
		writeV2(w, e, err)
		return
	}
	if forIceberg(r.Context()) {
		writeIceberg(w, e, err)
		return
	}
	p := ProblemBody{Type: "about:blank", Title: title(e.Status), Status: e.Status, Detail: e.Detail, Hint: e.Hint}
	if now := serverTime(r.Context()); now != nil {
		p.ServerTime = now()
	}
	body, err := json.Marshal(p)
	if err == nil && len(e.Extra) > 0 {
		var extra []byte
		if extra, err = json.Marshal(e.Extra); err == nil {
			body = append(append(body[:len(body)-1], ','), extra[1:]...) // two objects become one
		}
	}
	if err != nil { // only what Extra brings can do that
		body = []byte(`{"detail":"internal error"}`)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Status)
	_, _ = w.Write(body) // a client that went away is no error of ours
}

// Explain is what Fail answers for err, for those who answer in another form, such as a page for people.
func Explain(ctx context.Context, err error) *Error { return answerTo(ctx, err) }

// Note leaves err to the frame to log, for those who answer in another form.
func Note(w http.ResponseWriter, err error) { note(w, err) }

// Abort gives up on an answer that has begun and cannot be completed: it leaves err to the frame to log and cuts the
// connection, lest the client take a part for the whole. It does not return.
func Abort(w http.ResponseWriter, err error) {
	note(w, err)
	panic(http.ErrAbortHandler)
}

func answerTo(ctx context.Context, err error) *Error {
	var e *Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &tooLarge):
		return Errorf(http.StatusRequestEntityTooLarge, "the body is larger than the %d bytes allowed here", tooLarge.Limit)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return Errorf(statusClientGone, "the client closed the request")
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Status: http.StatusServiceUnavailable, RetryAfter: 2 * time.Second, Detail: "the object store did not answer in time",
			Hint: "try again; if this continues, check the object store"}
	case storeError(err) != nil:
		return storeError(err)
	}
	return Errorf(http.StatusInternalServerError, "internal error")
}

// storeError explains what of the store reaches the top. Errors that name nothing (connection refused, a 5xx) are
// wrapped by StoreFailure on their way up.
func storeError(err error) *Error {
	unavailable := func(detail, hint string, after time.Duration) *Error {
		return &Error{Status: http.StatusServiceUnavailable, Detail: detail, Hint: hint, RetryAfter: after}
	}
	const doctor = "run `fustor doctor STORE_URL` with the server's credentials"
	switch {
	case errors.Is(err, store.ErrDenied):
		return unavailable("the object store refuses this server's credentials", doctor, 30*time.Second)
	case errors.Is(err, store.ErrNoBucket):
		return unavailable("the object store's bucket or directory does not exist", doctor, 30*time.Second)
	case errors.Is(err, store.ErrUnsupported):
		return unavailable("the object store does not support this operation", doctor, 30*time.Second)
	case errors.Is(err, errStore), errors.Is(err, store.ErrConflict):
		return unavailable("the object store is not available", "try again; if this continues, check the object store", 2*time.Second)
	}
	return nil
}

var errStore = errors.New("object store failed")

// StoreFailure marks an unnamed error of the store, so that Fail answers 503 and not 500. nil stays nil.
func StoreFailure(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errStore, err)
}

func title(status int) string {
	if status == StatusSessionGone {
		return "Session Gone"
	}
	if t := http.StatusText(status); t != "" {
		return t
	}
	return "Error"
}

type serverTimeKey struct{}

func serverTime(ctx context.Context) func() int64 {
	now, _ := ctx.Value(serverTimeKey{}).(func() int64)
	return now
}
