// Package problem maps the errors of the engine to HTTP answers, in one place for calls and pages: the status, what is wrong, and
// what to do about it.
package problem

import (
	"cmp"
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
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
)

// RetryAfter is when to ask again for what comes without anybody's doing: a first snapshot, a leader.
const RetryAfter = 2 * time.Second

// Progress is how far the first snapshot of a view is: the member "progress" of the answer.
type Progress struct {
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Others      int64 `json:"others"`
	Bytes       int64 `json:"bytes"`
}

// Of maps an error of a question about a view. An httpapi.Error stays as it is, and so does the error of a context that ended. A
// damaged object is named, with what to do about it. Every other error is taken as one of the store.
func Of(view string, err error) error {
	var known *httpapi.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var member *forest.MemberError
	if errors.As(err, &member) {
		return ofMember(member)
	}
	if e := questionError(err); e != nil {
		return e
	}
	var damaged *layer.FormatError
	switch {
	case errors.As(err, &damaged):
		return &httpapi.Error{Status: http.StatusBadGateway, Detail: fmt.Sprintf("view %q cannot be read: %v", view, damaged), Cause: err,
			Hint: "restore the object from a backup of the object store, or reset the view so that its agents scan it again; other views are not affected"}
	case errors.Is(err, manifest.ErrFormat), errors.Is(err, session.ErrDamaged), errors.Is(err, viewconfig.ErrInvalid):
		return &httpapi.Error{Status: http.StatusBadGateway, Detail: fmt.Sprintf("view %q cannot be read: %v", view, err),
			Hint: "restore the object from a backup of the object store, or run the version of fustor that wrote it; other views are not affected"}
	}
	return httpapi.StoreFailure(err)
}

// ofMember maps the error of a forest none of whose members can answer: that of its first member, by name. That a path is in none of them
// needs no member's name.
func ofMember(e *forest.MemberError) error {
	err := Of(e.View, e.Err)
	var noPath *engine.NoPathError
	var noOwner *engine.NoOwnerError
	var known *httpapi.Error
	if errors.As(e.Err, &noPath) || errors.As(e.Err, &noOwner) || !errors.As(err, &known) {
		return err
	}
	named := *known
	named.Detail = fmt.Sprintf("no member of the forest can answer; %s: %s", e.View, known.Detail)
	if e.Absent > 0 {
		named.Detail = fmt.Sprintf("the members that answer have no such path, and not all answer; %s: %s", e.View, known.Detail)
	}
	return &named
}

// questionError maps an error that lies in the question, or in when it was asked; nil for other errors.
func questionError(err error) error {
	var (
		noView       *engine.NoViewError
		noPath       *engine.NoPathError
		noOwner      *engine.NoOwnerError
		notDirectory *engine.NotDirectoryError
		notReady     *engine.NotReadyError
		notLed       *engine.NotLedError
		gone         *engine.GoneError
		feedGone     *engine.FeedGoneError
		notKept      *engine.NotKeptError
		incomplete   *engine.IncompleteError
		noVersion    *engine.NoVersionError
		pattern      *engine.PatternError
		isForest     *engine.ForestError
		noMembers    *forest.NoMembersError
		forbidden    *forest.ForbiddenError
		noTime       *forest.NoTimeError
		late         *forest.TimeoutError
		notReadable  *engine.NotReadableError
	)
	switch {
	case errors.As(err, &isForest):
		return httpapi.BadRequest(isForest.Error(), "forests do not nest, and some calls are for views alone: ask a view, or name the forest's members")
	case errors.As(err, &noTime):
		return httpapi.BadRequest(noTime.Error(), "pass as_of with a time, such as 7d, yesterday or 2026-01-31T12:00:00Z; or ask a member")
	case errors.As(err, &noMembers):
		return &httpapi.Error{Status: http.StatusNotFound, Detail: noMembers.Error(), Hint: "no view matches them: `fustor admin view configure` changes the members"}
	case errors.As(err, &forbidden):
		return &httpapi.Error{Status: http.StatusForbidden, Detail: forbidden.Error(), Hint: "a key for a forest needs its members: ask the administrator of this Fustor for a key that has them"}
	case errors.As(err, &late):
		return &httpapi.Error{Status: http.StatusServiceUnavailable, RetryAfter: RetryAfter, Passing: true, Detail: late.Error(), Hint: "try again; ask that member alone, which has no such deadline"}
	case errors.As(err, &noView):
		return &httpapi.Error{Status: http.StatusNotFound, Detail: noView.Error(), Hint: "check the name; a view is created when its first agent starts"}
	case errors.As(err, &noPath):
		return noSuchPath(noPath.Path)
	case errors.As(err, &noOwner):
		return httpapi.BadRequest(noOwner.Error(), "check the name, which is that of the hosts with the files, or pass the number; the report on usage lists all owners and groups")
	case errors.As(err, &notDirectory):
		shown, _ := values.PathFields(notDirectory.Path)
		return httpapi.BadRequest(fmt.Sprintf("%q is not a directory", shown), "only directories have entries; /metadata shows this path")
	case errors.Is(err, engine.ErrTooManyDirectories):
		return httpapi.BadRequest("too many directories: more than a million would have to be summed up", "pass a path further down")
	case errors.Is(err, engine.ErrRestricted):
		return &httpapi.Error{Status: http.StatusForbidden, Detail: engine.ErrRestricted.Error(), Hint: "docs/access.md lists the questions that are; others need a key for everything"}
	case errors.As(err, &notReadable):
		shown, _ := values.PathFields(cmp.Or(notReadable.Path, "/"))
		return &httpapi.Error{Status: http.StatusForbidden, Detail: fmt.Sprintf("permission denied: you may not list %q", shown), Hint: "docs/access.md has the rules"}
	case errors.As(err, &notReady) && notReady.Restricted:
		return &httpapi.Error{Status: http.StatusServiceUnavailable, RetryAfter: RetryAfter, Passing: true, Detail: notReady.Error(), Hint: "try again later"}
	case errors.As(err, &notReady):
		begun, hint := notReady.Begun, "try again later; /sessions shows which agent scans"
		if by := notReady.Leading; by.Silence != nil {
			hint = fmt.Sprintf("agent %q leads the view and has got nothing done since %s: it %s; see to that agent, or start another, which takes over",
				by.Agent, time.Unix(0, by.Silence.Since).UTC().Format(time.RFC3339), by.Silence.Reason())
		}
		return &httpapi.Error{Status: http.StatusServiceUnavailable, RetryAfter: RetryAfter, Passing: true, Detail: notReady.Error(),
			Hint:  hint,
			Extra: map[string]any{"progress": Progress{begun.Files, begun.Directories, begun.Others, begun.Bytes}}}
	case errors.As(err, &notLed):
		return &httpapi.Error{Status: http.StatusServiceUnavailable, RetryAfter: RetryAfter, Passing: true, Detail: notLed.Error(),
			Hint: "start an agent, or wait until one takes over; /sessions shows the agents of the view"}
	case errors.As(err, &feedGone):
		return feedEnded(feedGone)
	case errors.As(err, &gone):
		return &httpapi.Error{Status: http.StatusGone, Detail: gone.Error(), Hint: "start again without a cursor, on the current version"}
	case errors.As(err, &notKept):
		return notThere(notKept, notKept.Before, notKept.After)
	case errors.As(err, &incomplete):
		return notThere(incomplete, nil, incomplete.After)
	case errors.As(err, &noVersion):
		return httpapi.BadRequest(noVersion.Error(),
			"pass the number of a version, 0 for the oldest that is kept, a time (7d, yesterday, 2026-01-31, RFC 3339, Unix seconds with a point) or the name of a pin; fustor versions (GET /versions) lists versions and pins")
	case errors.As(err, &pattern):
		return httpapi.BadRequest(pattern.Error(), `put \ before a character to match it literally`)
	case errors.Is(err, engine.ErrCursor), errors.Is(err, engine.ErrCursorQuery):
		return httpapi.BadRequest(err.Error(), "pass a cursor unchanged, with the parameters of the call that gave it; only limit and wait may differ")
	}
	return nil
}

// Nearest are the kept versions next to one that is not there: the member "nearest" of the answer.
type Nearest struct {
	Before *Kept `json:"before,omitempty"`
	After  *Kept `json:"after,omitempty"`
}

// Kept is a version that is kept.
type Kept struct {
	Version     uint64         `json:"version"`
	PublishedAt values.Seconds `json:"published_at"`
}

// notThere says that a version is not kept or cannot be read, with the nearest that can.
func notThere(err error, before, after *manifest.Published) error {
	e := &httpapi.Error{Status: http.StatusGone, Detail: err.Error(), Hint: "fustor versions (GET /versions) lists the versions that are kept"}
	if before == nil && after == nil {
		return e
	}
	kept := func(p *manifest.Published) *Kept {
		if p == nil {
			return nil
		}
		return &Kept{p.Version, values.Seconds(p.At.UnixNano())}
	}
	e.Hint = "use one of them; fustor versions (GET /versions) lists the versions that are kept"
	if before == nil || after == nil {
		e.Hint = "use that version; `fustor admin view configure` sets how long a history is kept (--keep-daily and its like)"
	}
	e.Extra = map[string]any{"nearest": Nearest{kept(before), kept(after)}}
	return e
}

// feedEnded says that a feed cannot go on, and where to begin again.
func feedEnded(gone *engine.FeedGoneError) error {
	err := notThere(gone, gone.Before, gone.After)
	var e *httpapi.Error
	if errors.As(err, &e) {
		e.Hint = "the changes since then are not known one by one any more: take a diff from a version that is kept (fustor versions lists them), or read the tree as of a version; then go on with after= that version"
	}
	return err
}

func noSuchPath(path string) error {
	shown, b64 := values.PathFields(path)
	e := &httpapi.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("there is no %q in this version of the view", shown)}
	if b64 != "" {
		e.Extra = map[string]any{"path_b64": b64}
	}
	return e
}
