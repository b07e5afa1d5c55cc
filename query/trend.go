package query

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
)

// trendEntry is what a path was in a kept version: of a directory, the sums of what is below it.
type trendEntry struct {
	Version     uint64         `json:"version"`
	PublishedAt values.Seconds `json:"published_at"`
	Exists      bool           `json:"exists"`
	Files       int64          `json:"files"`
	Directories int64          `json:"directories"`
	Bytes       int64          `json:"bytes"`
	Allocated   int64          `json:"allocated"`
	Unmeasured  int64          `json:"unmeasured"` // entries of which allocated has nothing
}

// reportTrend answers how large a path was over the kept versions, one of each interval of time.
func (s *Server) reportTrend(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path, limit, text := q.Path("/"), int(q.Int("limit", defaultReport, 1, maxReport)), q.String("every", "1d")
	every, err := values.ParseDuration(text)
	if err != nil || every < time.Second {
		return httpapi.BadRequest(fmt.Sprintf("parameter \"every\" is not a duration of at least 1s: %.100q", text), "write it as 1h, 1d or 2w")
	}
	if err := q.Err(); err != nil {
		return err
	}
	now, err := s.engine.Current(r.Context(), view)
	var of *engine.ForestError
	if errors.As(err, &of) {
		return &httpapi.Error{Status: http.StatusConflict, Detail: fmt.Sprintf("view %q is a forest, and a trend is of one view", of.View),
			Hint: "ask its members one by one; /views lists them"}
	}
	if err != nil {
		return err
	}
	points, omitted, err := s.engine.Trend(r.Context(), now, path, every, limit)
	if err != nil {
		return err
	}
	a := reportAnswer[trendEntry]{View: view, Version: now.Manifest.Version, Count: len(points), Omitted: omitted, Entries: []trendEntry{}}
	a.Path, a.PathB64 = values.PathFields(path)
	found := omitted > 0
	for _, p := range points {
		e := trendEntry{Version: p.Kept.Version, PublishedAt: values.Seconds(p.Kept.At.UnixNano())}
		if p.Row != nil {
			found = true
			sums := sumsOf(p.Row)
			e.Exists, e.Files, e.Directories, e.Bytes, e.Allocated, e.Unmeasured = true, sums.Files, sums.Directories, sums.Bytes, sums.Allocated, sums.Unmeasured
		}
		a.Entries = append(a.Entries, e)
	}
	if !found {
		return &httpapi.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("none of the versions that this looked at has %q", path),
			Hint: "/log looks at all that are kept"}
	}
	httpapi.WriteJSON(w, r, http.StatusOK, &a)
	return nil
}
