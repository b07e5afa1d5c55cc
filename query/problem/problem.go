// Package problem turns what the engine fails with into the answer of HTTP, in one place for calls and pages: the status, what is
// wrong, and what to do about it.
package problem

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
)

// RetryAfter is when to look again for what comes by itself: a first snapshot, a leader.
const RetryAfter = 2 * time.Second

// Progress is how far the first snapshot of a view is: the member "progress" of the answer.
type Progress struct {
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Others      int64 `json:"others"`
	Bytes       int64 `json:"bytes"`
}

// Of is the answer where a question about a view failed with err. An httpapi.Error stays, and so does what says that the caller has
// gone. A damaged object is named, with what to do about it; the rest is the store's.
func Of(view string, err error) error {
	var known *httpapi.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if e := asked(err); e != nil {
		return e
	}
	var damaged *layer.FormatError
	switch {
	case errors.As(err, &damaged):
		return &httpapi.Error{Status: http.StatusBadGateway, Detail: fmt.Sprintf("view %q cannot be read: %v", view, damaged), Cause: err,
			Hint: "restore the object from a backup of the object store, or reset the view so that its agents scan it anew; other views are not affected"}
	case errors.Is(err, manifest.ErrFormat), errors.Is(err, session.ErrDamaged):
		return &httpapi.Error{Status: http.StatusBadGateway, Detail: fmt.Sprintf("view %q cannot be read: %v", view, err),
			Hint: "restore the object from a backup of the object store, or run the version of fustor that wrote it; other views are not affected"}
	}
	return httpapi.StoreFailure(err)
}

// asked is the answer where the question is at fault, or comes too early or too late; nil for other errors.
func asked(err error) error {
	var (
		noView       *engine.NoViewError
		noPath       *engine.NoPathError
		notDirectory *engine.NotDirectoryError
		notReady     *engine.NotReadyError
		notLed       *engine.NotLedError
		gone         *engine.GoneError
		notKept      *engine.NotKeptError
		incomplete   *engine.IncompleteError
		pattern      *engine.PatternError
	)
	switch {
	case errors.As(err, &noView):
		return &httpapi.Error{Status: http.StatusNotFound, Detail: noView.Error(), Hint: "check its name; a view comes to be when its first agent starts"}
	case errors.As(err, &noPath):
		return noSuchPath(noPath.Path)
	case errors.As(err, &notDirectory):
		shown, _ := values.PathFields(notDirectory.Path)
		return httpapi.BadRequest(fmt.Sprintf("%q is not a directory", shown), "only directories have entries; /metadata has this one")
	case errors.As(err, &notReady):
		begun := notReady.Begun
		return &httpapi.Error{Status: http.StatusServiceUnavailable, RetryAfter: RetryAfter, Passing: true, Detail: notReady.Error(),
			Hint:  "try again later; /sessions says who scans",
			Extra: map[string]any{"progress": Progress{begun.Files, begun.Directories, begun.Others, begun.Bytes}}}
	case errors.As(err, &notLed):
		return &httpapi.Error{Status: http.StatusServiceUnavailable, RetryAfter: RetryAfter, Passing: true, Detail: notLed.Error(),
			Hint: "start an agent, or wait until one takes over; /sessions says who feeds the view"}
	case errors.As(err, &gone):
		return &httpapi.Error{Status: http.StatusGone, Detail: gone.Error(), Hint: "start again on the current version, without a cursor"}
	case errors.As(err, &notKept):
		hint := "/versions lists those that are"
		if notKept.Oldest.Version != 0 {
			hint = "ask since that one, or have the compactor keep a longer history"
		}
		return &httpapi.Error{Status: http.StatusGone, Detail: notKept.Error(), Hint: hint}
	case errors.As(err, &incomplete):
		return &httpapi.Error{Status: http.StatusGone, Detail: incomplete.Error(), Hint: "ask since 0, the oldest version that can be compared with"}
	case errors.As(err, &pattern):
		return httpapi.BadRequest(pattern.Error(), `\ takes the next character as it is`)
	case errors.Is(err, engine.ErrCursor), errors.Is(err, engine.ErrCursorQuery):
		return httpapi.BadRequest(err.Error(), "give next_cursor as it came, with the same parameters but limit")
	case errors.Is(err, engine.ErrSince):
		return httpapi.BadRequest(`parameter "since" is no version and no time`,
			"a version's number, 0 for the oldest that is kept, or a time: 7d, 2026-01-31, RFC 3339, Unix seconds with a point")
	}
	return nil
}

func noSuchPath(path string) error {
	shown, b64 := values.PathFields(path)
	e := &httpapi.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("there is no %q in this version of the view", shown)}
	if b64 != "" {
		e.Extra = map[string]any{"path_b64": b64}
	}
	return e
}
