package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
)

// explain turns what reading a view failed with into the answer: a damaged object is named, with what to do about it;
// what else the store says is the store's.
func explain(view string, err error) error {
	var known *httpapi.Error
	var damaged *layer.FormatError
	switch {
	case err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &damaged):
		return &httpapi.Error{Status: http.StatusBadGateway, Detail: fmt.Sprintf("view %q cannot be read: %v", view, damaged), Cause: err,
			Hint: "restore the object from a backup of the object store, or reset the view so that its agents scan it anew; other views are not affected"}
	case errors.Is(err, manifest.ErrFormat), errors.Is(err, session.ErrDamaged):
		return &httpapi.Error{Status: http.StatusBadGateway, Detail: fmt.Sprintf("view %q cannot be read: %v", view, err),
			Hint: "restore the object from a backup of the object store, or run the version of fustor that wrote it; other views are not affected"}
	}
	return httpapi.StoreFailure(err)
}

func errNoView(view string) error {
	return &httpapi.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("there is no view %q", view),
		Hint: "check its name; a view comes to be when its first agent starts"}
}

func errNoPath(path string) error {
	shown, b64 := values.PathFields(path)
	e := &httpapi.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("there is no %q in this version of the view", shown)}
	if b64 != "" {
		e.Extra = map[string]any{"path_b64": b64}
	}
	return e
}

func errNotDirectory(path string) error {
	shown, _ := values.PathFields(path)
	return httpapi.BadRequest(fmt.Sprintf("%q is not a directory", shown), "only directories have entries; /metadata has this one")
}

func errGone(version uint64) error {
	return &httpapi.Error{Status: http.StatusGone, Detail: fmt.Sprintf("version %d is no longer kept", version),
		Hint: "start again on the current version, without a cursor"}
}

// notReady is how far the first snapshot of a view is.
type notReady struct {
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Others      int64 `json:"others"`
	Bytes       int64 `json:"bytes"`
}

// retryAfter is when to look again for a first snapshot.
const retryAfter = 2 * time.Second

func errNotReady(view string, m *manifest.Manifest) error {
	p := notReady{}
	if m != nil {
		p = notReady{m.Totals.Files, m.Totals.Directories, m.Totals.Others, m.Totals.Bytes}
	}
	return &httpapi.Error{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter, Passing: true,
		Detail: fmt.Sprintf("the first scan of view %q is not complete: %d files, %d directories and %d bytes so far", view, p.Files, p.Directories, p.Bytes),
		Hint:   "try again later; /sessions says who scans",
		Extra:  map[string]any{"progress": p}}
}

// absent says why a view has no version: it was never heard of, or its agents have only begun.
func (s *Server) absent(ctx context.Context, view string) error {
	for _, key := range []string{layout.Roster(view), layout.ViewConfig(view)} {
		_, err := s.store.Get(ctx, key)
		if err == nil {
			return errNotReady(view, nil)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return errNoView(view)
}
