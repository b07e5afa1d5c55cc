package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
)

const (
	// defaultQuiet is for how long nothing may have changed.
	defaultQuiet = time.Minute
	// maxQuiet bounds it.
	maxQuiet = 7 * 24 * time.Hour
	// maxCompleteWait is how long a call may wait for a change of its answer, seconds.
	maxCompleteWait = 300
)

// completeAnswer says whether what is at and below a path is complete, and what that rests on.
type completeAnswer struct {
	View     string `json:"view_id"`
	Path     string `json:"path"`
	PathB64  string `json:"path_b64,omitempty"`
	Complete bool   `json:"complete"`
	// Reasons are why it is not complete; none if it is.
	Reasons []engine.Reason `json:"reasons"`
	Quiet   float64         `json:"quiet_s"`

	// KnownUntil is until when the view certainly has everything that happened; null: nothing is certain.
	KnownUntil  *values.Seconds  `json:"known_until"`
	LastChange  *completeChange  `json:"last_change"` // null: nothing changed within the quiet time
	Exists      bool             `json:"exists"`
	Files       int64            `json:"files"`
	Directories int64            `json:"directories"`
	Bytes       int64            `json:"bytes"`
	Suspects    completeSuspects `json:"suspects"`
	Unreadable  int              `json:"unreadable"`
	BlindSpots  int64            `json:"blind_spots"`
	RestsOn     completeRests    `json:"rests_on"`
	NextAudit   *values.Seconds  `json:"next_audit"` // null: none is due

	Version  uint64         `json:"version"`
	FoldedAt values.Seconds `json:"folded_at"`
	Now      values.Seconds `json:"now"` // the store's time of the answer
}

// completeChange is the last change that counts.
type completeChange struct {
	At      values.Seconds `json:"at"`
	Path    string         `json:"path,omitempty"` // empty: what was there when the view began
	PathB64 string         `json:"path_b64,omitempty"`
}

// completeSuspects are the files that may still be written to.
type completeSuspects struct {
	Count int64       `json:"count"`
	First []pathEntry `json:"first"`
}

// completeRests is what the answer rests on.
type completeRests struct {
	// Realtime: reports of the kernels suffice. Otherwise a scan has to look, as other hosts may change the tree without a report.
	Realtime bool              `json:"realtime"`
	Agents   []completeWatcher `json:"agents"`
	Scan     *completeScan     `json:"scan"` // null: none is known
}

// completeWatcher is an agent that feeds the view.
type completeWatcher struct {
	Agent      string          `json:"agent_id"`
	Session    string          `json:"session_id"`
	Source     string          `json:"source_uri"`
	Role       string          `json:"role"`
	Coverage   string          `json:"coverage,omitempty"`
	Local      bool            `json:"local_file_system"`
	KnownUntil *values.Seconds `json:"known_until"` // null: it has not sent everything, or does not say
}

// completeScan is the last scan that has looked at everything below the path.
type completeScan struct {
	Scan    string         `json:"scan"` // snapshot, audit or on-demand
	BeganAt values.Seconds `json:"began_at"`
}

// complete answers whether what is at and below a path is complete. With wait it answers once that is so, something new is known, or the
// time is over.
func (s *Server) complete(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	wanted := engine.Wanted{Path: q.Path("/"), MinFiles: q.Int("min_files", 0, 0, math.MaxInt64)}
	wanted.MinBytes, _ = q.Size("min_bytes")
	quiet, wait := q.String("quiet", defaultQuiet.String()), q.Int("wait", 0, 0, maxCompleteWait)
	known := q.Int("known", 0, 0, math.MaxInt64)
	var err error
	if wanted.Quiet, err = values.ParseDuration(quiet); err != nil || wanted.Quiet > maxQuiet {
		return httpapi.BadRequest(fmt.Sprintf("parameter \"quiet\" is not a duration of at most %s: %.100q", maxQuiet, quiet), "write it as 60s, 5m or 1h")
	}
	if err := q.Err(); err != nil {
		return err
	}
	if s.atOnce || r.Method == http.MethodHead {
		wait = 0
	}
	c, err := s.awaitComplete(r.Context(), view, wanted, time.Duration(wait)*time.Second, uint64(known))
	var of *engine.ForestError
	if errors.As(err, &of) {
		return &httpapi.Error{Status: http.StatusConflict, Detail: fmt.Sprintf("view %q is a forest, and this is asked of one view", of.View),
			Hint: "ask its members one by one; /views lists them"}
	}
	if err != nil {
		return err
	}
	httpapi.WriteJSON(w, r, http.StatusOK, s.completeAnswerOf(view, wanted, c))
	return nil
}

// awaitComplete asks again and again until the answer is yes, or is another one than at first. known is the version of the answer that the
// caller has; 0: none.
func (s *Server) awaitComplete(ctx context.Context, view string, wanted engine.Wanted, wait time.Duration, known uint64) (*engine.Completeness, error) {
	end := time.Now().Add(wait)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-feedMargin).Before(end) {
		end = deadline.Add(-feedMargin)
	}
	every := min(max(wanted.Quiet/20, 500*time.Millisecond), 5*time.Second)
	ending := httpapi.Ending(ctx)
	var codes []string
	for first := true; ; first = false {
		c, err := s.engine.Complete(ctx, view, wanted)
		if err != nil {
			return nil, err
		}
		now := codesOf(c)
		if first {
			codes = now
		}
		version := c.Version.Manifest.Version
		if first && known == 0 {
			known = version
		}
		if c.Complete || version != known || !slices.Equal(codes, now) || !time.Now().Add(every).Before(end) {
			return c, nil
		}
		select {
		case <-time.After(every):
		case <-ending:
			return c, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func codesOf(c *engine.Completeness) (codes []string) {
	for _, r := range c.Reasons {
		codes = append(codes, r.Code)
	}
	return codes
}

func (s *Server) completeAnswerOf(view string, wanted engine.Wanted, c *engine.Completeness) *completeAnswer {
	m := c.Version.Manifest
	a := &completeAnswer{View: view, Complete: c.Complete, Reasons: c.Reasons, Quiet: wanted.Quiet.Seconds(), KnownUntil: secondsOrNil(c.KnownUntil),
		Exists: c.Row != nil, Suspects: completeSuspects{c.Suspects, []pathEntry{}}, Unreadable: c.Unreadable, BlindSpots: c.BlindSpots,
		RestsOn: completeRests{Realtime: c.Realtime, Agents: []completeWatcher{}}, NextAudit: secondsOrNil(c.NextAudit),
		Version: m.Version, FoldedAt: values.Seconds(m.FoldedAt), Now: values.Seconds(s.engine.Now())}
	a.Path, a.PathB64 = values.PathFields(wanted.Path)
	if a.Reasons == nil {
		a.Reasons = []engine.Reason{}
	}
	if c.LastChange > 0 {
		a.LastChange = &completeChange{At: values.Seconds(c.LastChange)}
		if c.LastChanged != "" {
			a.LastChange.Path, a.LastChange.PathB64 = values.PathFields(c.LastChanged)
		}
	}
	if c.Row != nil {
		sums := sumsOf(c.Row)
		a.Files, a.Directories, a.Bytes = sums.Files, sums.Directories, sums.Bytes
	}
	for _, path := range c.SuspectPaths {
		a.Suspects.First = append(a.Suspects.First, pathEntryOf(path))
	}
	for _, w := range c.Watchers {
		a.RestsOn.Agents = append(a.RestsOn.Agents, completeWatcher{w.Agent, w.Session, w.Source, w.Role, w.Coverage, w.Local, secondsOrNil(w.KnownUntil)})
	}
	if c.Looked != nil {
		a.RestsOn.Scan = &completeScan{c.Looked.How, values.Seconds(c.Looked.BeganAt)}
	}
	return a
}

// sumsOf are the sums of a path with everything below it.
func sumsOf(r *evidence.Row) evidence.Totals {
	if r.Type == event.Directory {
		return r.Sub
	}
	return r.Own()
}

// secondsOrNil is a time; nil if it is 0.
func secondsOrNil(ns int64) *values.Seconds {
	if ns == 0 {
		return nil
	}
	at := values.Seconds(ns)
	return &at
}
