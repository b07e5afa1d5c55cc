package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/problem"
)

const (
	// maxWait is how long a call may wait for changes, seconds.
	maxWait = 3600
	// feedHeartbeat is how long a feed is silent at most.
	feedHeartbeat = 15 * time.Second
	// feedLife is how long a feed of server-sent events lasts: its client connects again by itself, perhaps to another server.
	feedLife = time.Hour
	// feedMargin is how long before the deadline of a call a feed ends, so that its end arrives.
	feedMargin = time.Second
)

// feed answers the changes of a view after a version, version by version, and waits for more: as server-sent events for as long as the
// client wants, otherwise as lines until there were some and the current version is reached.
func (s *Server) feed(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	events := wantsEvents(r)
	after, wait, limit := q.String("after", ""), q.Int("wait", 0, 0, maxWait), int(q.Int("limit", 0, 1, maxLimit))
	wanted, parts, err := filterParams(q, time.Unix(0, s.engine.Now()), "*")
	if err != nil {
		return err
	}
	if err := q.Err(); err != nil {
		return err
	}
	switch {
	case q.Has("after") && after == "":
		return httpapi.BadRequest(`parameter "after" is empty`, "leave it out to begin with what is new from now on")
	case events && (q.Has("wait") || q.Has("limit")):
		return httpapi.BadRequest("server-sent events have no limit and no time to wait", "leave wait and limit out, or ask for application/x-ndjson")
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" { // a browser that connects again sends the address that it began with
		after = last
	}
	f, err := s.openFeed(r.Context(), view, after, wanted, parts)
	if err != nil {
		return err
	}
	within := f.Next() != nil                      // the cursor is in the middle of a version
	if _, err := f.Step(r.Context()); err != nil { // while it can still be an answer of its own
		return err
	}
	life := time.Duration(wait) * time.Second
	if events {
		life = feedLife
	}
	if s.atOnce || r.Method == http.MethodHead {
		life = 0
	}
	if life > 0 {
		httpapi.Waits(w)
	}
	ctx, stop := context.WithCancelCause(r.Context())
	defer stop(nil)
	out := newFeedWriter(w, r, events, f.At())
	check := func() {
		if err := access.CheckAgain(r.Context(), view); err != nil {
			stop(err)
		}
	}
	stopBeats := out.beat(s.heartbeat, check)
	defer stopBeats()
	if !within {
		out.told(f, 0, "", true)
	}
	out.flush()
	err = s.tell(ctx, f, q, out, limit, life)
	stopBeats() // nothing comes after the end
	if cause := context.Cause(ctx); err != nil && errors.Is(err, context.Canceled) && r.Context().Err() == nil {
		err = cause
	}
	return out.finish(r.Context(), f, err)
}

// openFeed opens a feed, and checks what its first version knows of what is wanted. A feed that goes on at a cursor was checked when it
// began.
func (s *Server) openFeed(ctx context.Context, view, after string, wanted *engine.Search, parts []string) (*engine.Feed, error) {
	f, err := s.engine.OpenFeed(ctx, view, after, parts...)
	if of, isForest := s.forestOf(ctx, view, err); isForest {
		return nil, &httpapi.Error{Status: http.StatusConflict, Detail: fmt.Sprintf("view %q is a forest, and a feed is of one view", of.View),
			Hint: "follow its members, one feed for each; /views lists them"}
	}
	if err != nil || f.Resumed() {
		return f, err
	}
	if _, err := engine.NewDiff(ctx, f.At(), f.At(), wanted); err != nil {
		return nil, err
	}
	if wanted.Path == "/" {
		return f, nil
	}
	_, err = f.At().Lookup(ctx, wanted.Path)
	if noPath := new(engine.NoPathError); after == "" || !errors.As(err, &noPath) {
		return f, err
	}
	now, err := s.engine.Current(ctx, view) // it may have come since
	if err == nil {
		_, err = now.Lookup(ctx, wanted.Path)
	}
	return f, err
}

// tell tells the changes of one version after the other. At the current one it ends if there were any, and otherwise it waits for life, if
// out is not one of events; at a limit (0: none) it ends at once.
func (s *Server) tell(ctx context.Context, f *engine.Feed, q *httpapi.Params, out *feedWriter, limit int, life time.Duration) error {
	end := time.Now().Add(life)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-feedMargin).Before(end) {
		end = deadline.Add(-feedMargin)
	}
	ending := httpapi.Ending(ctx)
	for told := 0; ; {
		select {
		case <-ending:
			return nil
		default:
		}
		more, err := f.Step(ctx)
		if err != nil {
			return err
		}
		if more {
			left := 0
			if limit > 0 {
				left = limit - told
			}
			n, err := s.tellVersion(engine.Afresh(ctx), f, q, out, left)
			if told += n; err != nil || limit > 0 && told >= limit {
				return err
			}
			continue
		}
		if out.flush(); told > 0 && !out.events {
			return nil
		}
		waiting, cancel := context.WithDeadline(ctx, end)
		release := cancelOn(ending, cancel)
		err = f.Wait(waiting)
		over := waiting.Err() != nil
		release()
		cancel()
		if err != nil && over && ctx.Err() == nil { // the time is over, or the process ends
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// cancelOn calls cancel when a channel is closed, until it is released.
func cancelOn(closed <-chan struct{}, cancel func()) (release func()) {
	released := make(chan struct{})
	go func() {
		select {
		case <-closed:
			cancel()
		case <-released:
		}
	}()
	return func() { close(released) }
}

// tellVersion tells the changes of the feed's next version, up to limit (0: all).
func (s *Server) tellVersion(ctx context.Context, f *engine.Feed, q *httpapi.Params, out *feedWriter, limit int) (told int, err error) {
	// Ages count from when a version was published, so that whoever goes on at a cursor is told the same.
	wanted, _, err := filterParams(q, time.Unix(0, f.Next().Manifest.FoldedAt), "*")
	if err != nil {
		return 0, err
	}
	d, err := f.Diff(ctx, wanted)
	if err != nil {
		return 0, err
	}
	moves := &engine.Moves{Complete: true}
	if d != nil {
		if moves, err = s.movesOf(ctx, f, d); err != nil {
			return 0, err
		}
	}
	changes := changeWriter{moves: moves}
	if changes.before, err = f.At().Names(ctx); err == nil {
		changes.after, err = f.Next().Names(ctx)
	}
	if err != nil {
		return 0, err
	}
	version, within := f.Next(), f.Within()
	err = f.Changes(ctx, d, limit, func(c *evidence.Change) error {
		told++
		return out.change(version.Manifest, f.CursorAt(c), func(b []byte) []byte { return changes.append(b, c) })
	})
	if err == nil && f.Next() == nil {
		out.told(f, told, movesWord(moves), within || told > 0)
	}
	return told, err
}

// movesOf recognises the moves of a feed's next version.
func (s *Server) movesOf(ctx context.Context, f *engine.Feed, d *engine.Diff) (*engine.Moves, error) {
	m, err := s.engine.Moves(ctx, d)
	if noPath := new(engine.NoPathError); errors.As(err, &noPath) { // in neither version: nothing changed there
		return &engine.Moves{Complete: true}, nil
	}
	return m, f.ReadError(ctx, err)
}

// problemOf is what a feed says is wrong.
func problemOf(ctx context.Context, view string, err error) *httpapi.Error {
	return httpapi.Explain(ctx, problem.Of(view, err))
}
