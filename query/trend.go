package query

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
)

// trendEntry is what a path was in a kept version: of a directory, the sums of what is below it.
type trendEntry struct {
	Member      string         `json:"member,omitempty"` // of a forest
	Version     uint64         `json:"version"`
	PublishedAt values.Seconds `json:"published_at"`
	Exists      bool           `json:"exists"`
	trendSums
	// Shares are the sums of each owner or group, the most bytes first.
	Shares []trendShare `json:"shares,omitempty"`
}

type trendSums struct {
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Bytes       int64 `json:"bytes"`
	Allocated   int64 `json:"allocated"`
	Unmeasured  int64 `json:"unmeasured"` // entries of which allocated has nothing
}

func trendSumsOf(t evidence.Totals) trendSums {
	return trendSums{t.Files, t.Directories, t.Bytes, t.Allocated, t.Unmeasured}
}

// trendShare is what an owner or a group has.
type trendShare struct {
	UID   *uint32 `json:"uid,omitempty"`
	GID   *uint32 `json:"gid,omitempty"`
	Owner string  `json:"owner,omitempty"` // of uid; without a name, the number
	Group string  `json:"group,omitempty"` // of gid
	trendSums
}

// trendQuestion is what a call asks.
type trendQuestion struct {
	path  string
	every time.Duration
	limit int
	by    string // owner, group; empty: no shares
}

// reportTrend answers how large a path was over the kept versions, one of each interval of time.
func (s *Server) reportTrend(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	t := trendQuestion{path: q.Path("/"), limit: int(q.Int("limit", defaultReport, 1, maxReport)), by: q.Enum("by", "", "owner", "group")}
	text := q.String("every", "1d")
	var err error
	if t.every, err = values.ParseDuration(text); err != nil || t.every < time.Second {
		return httpapi.BadRequest(fmt.Sprintf("parameter \"every\" is not a duration of at least 1s: %.100q", text), "write it as 1h, 1d or 2w")
	}
	if err := q.Err(); err != nil {
		return err
	}
	of, err := s.openWhich(r, view, engine.Which{})
	if err != nil {
		return err
	}
	of.varies = true // the history goes on without a new version
	if of.forest == nil {
		a, err := s.trend(r.Context(), of.version, t)
		if err != nil {
			return err
		}
		return writeReport(w, r, of, t.path, t.limit, a)
	}
	list, err := forest.Ask(r.Context(), of.forest, forest.ReportDeadline, func(ctx context.Context, m *forest.Member) (*reportAnswer[trendEntry], error) {
		return s.trend(ctx, m.Version, t)
	})
	if err != nil {
		return err
	}
	a := &reportAnswer[trendEntry]{Entries: []trendEntry{}}
	for i, m := range of.forest.Members {
		if m.Status != forest.OK {
			continue
		}
		for _, e := range list[i].Entries {
			e.Member = m.View
			a.Entries = append(a.Entries, e)
		}
		a.Omitted += list[i].Omitted
	}
	slices.SortStableFunc(a.Entries, func(a, b trendEntry) int { return cmp.Compare(a.PublishedAt, b.PublishedAt) })
	return writeReport(w, r, of, t.path, len(a.Entries), a)
}

// trend is the trend of a view. NoPathError if none of the versions has the path.
func (s *Server) trend(ctx context.Context, now *engine.Version, q trendQuestion) (*reportAnswer[trendEntry], error) {
	points, omitted, err := s.engine.Trend(ctx, now, q.path, q.every, q.limit)
	if err != nil {
		return nil, err
	}
	a := &reportAnswer[trendEntry]{Version: now.Manifest.Version, Omitted: omitted, Entries: []trendEntry{}}
	found := omitted > 0
	for _, p := range points {
		e := trendEntry{Version: p.Kept.Version, PublishedAt: values.Seconds(p.Kept.At.UnixNano())}
		if p.Row != nil {
			found = true
			e.Exists, e.trendSums = true, trendSumsOf(sumsOf(p.Row))
		}
		a.Entries = append(a.Entries, e)
	}
	if !found {
		return nil, &engine.NoPathError{Path: q.path}
	}
	if q.by == "" {
		return a, nil
	}
	return a, engine.TrendShares(ctx, points, q.path, q.by == "group", func(i int, shares []engine.OwnerShare) error {
		names, err := points[i].Version.Names(ctx)
		if err != nil {
			return err
		}
		for _, share := range shares[:min(maxReport, len(shares))] {
			e := trendShare{trendSums: trendSumsOf(share.Totals)}
			if q.by == "group" {
				e.GID, e.Group = &share.Of, names.Shown(true, "", share.Of)
			} else {
				e.UID, e.Owner = &share.Of, names.Shown(false, "", share.Of)
			}
			a.Entries[i].Shares = append(a.Entries[i].Shares, e)
		}
		return nil
	})
}
