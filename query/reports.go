package query

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/report"
)

const (
	defaultReport = 100
	maxReport     = 1000
	// duplicatesFrom is the default of min_size: smaller duplicates waste little.
	duplicatesFrom = 1 << 20
)

// reportLargest answers the largest files, or directories, below a path.
func (s *Server) reportLargest(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path, kind := q.Path("/"), q.Enum("type", "file", "file", "directory")
	p := engine.Page{Limit: int(q.Int("limit", defaultReport, 1, maxReport))}
	if err := q.Err(); err != nil {
		return err
	}
	v, err := s.engine.Current(r.Context(), view)
	if err != nil {
		return err
	}
	return s.answerPage(w, r, v, p, path, func(limit int, out engine.Emit) (*engine.Position, error) {
		of := event.File
		if kind == "directory" {
			of = event.Directory
		}
		return nil, v.Largest(r.Context(), path, of, limit, out)
	})
}

// reportEmpty answers the directories below a path that have no entries.
func (s *Server) reportEmpty(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	v, p, err := s.openPage(r, q, view, 0, maxLimit, "empty", path)
	if err != nil {
		return err
	}
	return s.answerPage(w, r, v, p, path, func(limit int, out engine.Emit) (*engine.Position, error) {
		return v.EmptyDirectories(r.Context(), path, p.After, limit, out)
	})
}

// reportAnswer is the answer of a report whose entries are no nodes but E.
type reportAnswer[E any] struct {
	View    string `json:"view_id"`
	Path    string `json:"path"`
	PathB64 string `json:"path_b64,omitempty"`
	Version uint64 `json:"version"`
	// Since is the earlier version of a growth report; SinceAt and At are when the two versions were published.
	Since   uint64          `json:"since_version,omitempty"`
	SinceAt *values.Seconds `json:"since,omitempty"`
	At      *values.Seconds `json:"until,omitempty"`
	// AsOf is what ages count from: the time of the version's newest observation, on the file server's clock.
	AsOf    *values.Seconds `json:"as_of,omitempty"`
	Count   int             `json:"count"`
	Omitted int             `json:"more,omitempty"` // entries beyond the limit
	Entries []E             `json:"entries"`
}

// answerReport answers the entries that produce appends, as JSON or NDJSON.
func answerReport[E any](s *Server, w http.ResponseWriter, r *http.Request, v *engine.Version, path string, limit int,
	produce func(ctx context.Context, scope report.Scope, a *reportAnswer[E]) error) error {
	if s.notModified(w, r, v.Manifest) {
		return nil
	}
	scope, err := v.Scope(r.Context(), path)
	if err != nil {
		return err
	}
	a := &reportAnswer[E]{View: v.Manifest.View, Version: v.Manifest.Version, Entries: []E{}}
	a.Path, a.PathB64 = values.PathFields(path)
	if err := produce(r.Context(), scope, a); err != nil {
		return v.ReadError(err)
	}
	if len(a.Entries) > limit {
		a.Entries, a.Omitted = a.Entries[:limit], len(a.Entries)-limit
	}
	a.Count = len(a.Entries)
	if !wantsLines(r) {
		body, err := json.Marshal(a)
		if err != nil {
			return err
		}
		writeBody(w, v.Manifest, 0, body)
		return nil
	}
	out := &ndjsonWriter{w: w, manifest: v.Manifest}
	for _, e := range a.Entries {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		out.buffer = append(out.buffer, line...)
		if err := out.endLine(); err != nil {
			return err
		}
	}
	return out.finish(r.Context(), "", nil)
}

// totalsJSON are totals as answers have them.
type totalsJSON struct{ evidence.Totals }

// MarshalJSON implements json.Marshaler.
func (t totalsJSON) MarshalJSON() ([]byte, error) { return appendTotals(nil, t.Totals), nil }

type usageEntry struct {
	UID       *uint32    `json:"uid,omitempty"`
	GID       *uint32    `json:"gid,omitempty"`
	Extension *string    `json:"extension,omitempty"`
	Totals    totalsJSON `json:"totals"`
}

// reportUsage answers how much each owner, group or extension has below a path.
func (s *Server) reportUsage(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path, by := q.Path("/"), q.Enum("by", "owner", "owner", "group", "extension")
	limit := int(q.Int("limit", maxReport, 1, maxLimit))
	if err := q.Err(); err != nil {
		return err
	}
	v, err := s.engine.Current(r.Context(), view)
	if err != nil {
		return err
	}
	return answerReport(s, w, r, v, path, limit, func(ctx context.Context, scope report.Scope, a *reportAnswer[usageEntry]) error {
		switch by {
		case "extension":
			list, err := scope.ByExtension(ctx)
			for _, e := range list {
				a.Entries = append(a.Entries, usageEntry{Extension: &e.Of, Totals: totalsJSON{e.Totals}})
			}
			return err
		case "group":
			list, err := scope.ByGroup(ctx)
			for _, e := range list {
				a.Entries = append(a.Entries, usageEntry{GID: &e.Of, Totals: totalsJSON{e.Totals}})
			}
			return err
		}
		list, err := scope.ByOwner(ctx)
		for _, e := range list {
			a.Entries = append(a.Entries, usageEntry{UID: &e.Of, Totals: totalsJSON{e.Totals}})
		}
		return err
	})
}

type bucketEntry struct {
	From  *int64 `json:"from"` // bytes, or seconds of age; null: open
	To    *int64 `json:"to"`
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes"`
}

// reportHistogram answers how many files below a path are in each class of size or age.
func (s *Server) reportHistogram(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path, of := q.Path("/"), q.Enum("of", "size", "size", "mtime", "atime")
	if err := q.Err(); err != nil {
		return err
	}
	v, err := s.engine.Current(r.Context(), view)
	if err != nil {
		return err
	}
	return answerReport(s, w, r, v, path, maxReport, func(ctx context.Context, scope report.Scope, a *reportAnswer[bucketEntry]) error {
		var list []report.Bucket
		var err error
		now := v.Manifest.ObservedAt - v.Manifest.Clock.Skew()
		switch of {
		case "size":
			list, err = scope.Sizes(ctx)
		case "mtime":
			list, err = scope.ModifiedAges(ctx, now)
		default:
			list, err = scope.AccessedAges(ctx, now)
		}
		if of != "size" {
			at := values.Seconds(now)
			a.AsOf = &at
		}
		for _, b := range list {
			e := bucketEntry{From: &b.From, To: &b.To, Files: b.Files, Bytes: b.Bytes}
			if b.From == -report.Unbounded {
				e.From = nil
			}
			if b.To == report.Unbounded {
				e.To = nil
			}
			a.Entries = append(a.Entries, e)
		}
		return err
	})
}

type pathEntry struct {
	Path    string `json:"path"`
	PathB64 string `json:"path_b64,omitempty"`
}

func pathEntryOf(path string) (e pathEntry) {
	e.Path, e.PathB64 = values.PathFields(path)
	return e
}

type duplicateEntry struct {
	Size   int64       `json:"size"`
	Count  int64       `json:"count"`
	Wasted int64       `json:"wasted"`
	Paths  []pathEntry `json:"paths"` // the first few
}

// reportDuplicates answers the files below a path that have the same name and size.
func (s *Server) reportDuplicates(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path, limit := q.Path("/"), int(q.Int("limit", defaultReport, 1, maxReport))
	minSize, given := q.Size("min_size")
	if !given {
		minSize = duplicatesFrom
	}
	if err := q.Err(); err != nil {
		return err
	}
	v, err := s.engine.Current(r.Context(), view)
	if err != nil {
		return err
	}
	return answerReport(s, w, r, v, path, limit, func(ctx context.Context, scope report.Scope, a *reportAnswer[duplicateEntry]) error {
		select { // one at a time, for the memory
		case s.duplicates <- struct{}{}:
			defer func() { <-s.duplicates }()
		case <-ctx.Done():
			return ctx.Err()
		}
		list, err := scope.Duplicates(ctx, minSize, limit)
		for _, d := range list {
			e := duplicateEntry{Size: d.Size, Count: d.Count, Wasted: d.Wasted()}
			for _, p := range d.Paths {
				e.Paths = append(e.Paths, pathEntryOf(p))
			}
			a.Entries = append(a.Entries, e)
		}
		return err
	})
}

type growthEntry struct {
	pathEntry
	Bytes       int64      `json:"bytes"` // how many more than before
	Files       int64      `json:"files"`
	Directories int64      `json:"directories"`
	From        totalsJSON `json:"from"`
	To          totalsJSON `json:"to"`
}

// reportGrowth answers the directories below a path that have grown or shrunk since an earlier version.
func (s *Server) reportGrowth(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path, since := q.Path("/"), q.String("since", "0")
	depth, limit := int(q.Int("depth", 1, 1, 100)), int(q.Int("limit", defaultReport, 1, maxReport))
	if err := q.Err(); err != nil {
		return err
	}
	now, err := s.engine.Current(r.Context(), view)
	if err != nil {
		return err
	}
	old, err := s.engine.Earlier(r.Context(), now, since)
	if err != nil {
		return err
	}
	return answerReport(s, w, r, now, path, limit, func(ctx context.Context, _ report.Scope, a *reportAnswer[growthEntry]) error {
		before, after := values.Seconds(old.Manifest.FoldedAt), values.Seconds(now.Manifest.FoldedAt)
		a.Since, a.SinceAt, a.At = old.Manifest.Version, &before, &after
		list, err := now.Growth(ctx, old, path, depth, limit)
		for _, g := range list {
			a.Entries = append(a.Entries, growthEntry{pathEntryOf(g.Path), g.Bytes(), g.Files(), g.Directories(), totalsJSON{g.From}, totalsJSON{g.To}})
		}
		return err
	})
}

type versionEntry struct {
	Version     uint64         `json:"version"`
	PublishedAt values.Seconds `json:"published_at"`
	Current     bool           `json:"current"`
}

type versionsAnswer struct {
	View     string         `json:"view_id"`
	Versions []versionEntry `json:"versions"`
	Count    int            `json:"count"`
}

// listVersions answers the versions that are kept, the newest first.
func (s *Server) listVersions(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	limit := q.Int("limit", defaultReport, 1, maxReport)
	before := q.Int("before", 0, 1, 1<<62)
	if err := q.Err(); err != nil {
		return err
	}
	v, err := s.engine.Current(r.Context(), view)
	if err != nil {
		return err
	}
	last := v.Manifest.Version
	if before > 0 {
		last = min(last, uint64(before)-1)
	}
	first := uint64(1)
	if last >= uint64(limit) {
		first = last - uint64(limit) + 1
	}
	list, _, err := manifest.History(r.Context(), s.engine.Store(), view, first, int(limit))
	if err != nil {
		return err
	}
	a := versionsAnswer{View: view, Versions: []versionEntry{}}
	for i := len(list) - 1; i >= 0; i-- {
		if e := list[i]; e.Version <= last {
			a.Versions = append(a.Versions, versionEntry{e.Version, values.Seconds(e.At.UnixNano()), e.Version == v.Manifest.Version})
		}
	}
	a.Count = len(a.Versions)
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	writeBody(w, v.Manifest, 0, body)
	return nil
}
