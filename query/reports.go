package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/report"
)

const (
	defaultReport = 100
	maxReport     = 1000
	// duplicatesFrom is the least size that counts as worth looking for twice, if the call names none.
	duplicatesFrom = 1 << 20
)

// scopeOf is what a report on a path of a version is about.
func (v *version) scopeOf(ctx context.Context, path string) (report.Scope, error) {
	root, err := v.lookup(ctx, path)
	if err != nil {
		return report.Scope{}, err
	}
	if root.Type != event.Directory {
		return report.Scope{}, errNotDirectory(path)
	}
	return report.Scope{View: v.view, Root: root}, nil
}

// reportLargest answers the largest files, or directories, below a path.
func (s *Server) reportLargest(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path, kind := q.Path("/"), q.Enum("type", "file", "file", "directory")
	p := page{limit: int(q.Int("limit", defaultReport, 1, maxReport))}
	if err := q.Err(); err != nil {
		return err
	}
	v, err := s.current(r.Context(), view)
	if err != nil {
		return err
	}
	return s.answerPage(w, r, v, p, path, func(limit int, out emit) (*position, error) {
		scope, err := v.scopeOf(r.Context(), path)
		if err != nil {
			return nil, err
		}
		of := event.File
		if kind == "directory" {
			of = event.Directory
		}
		rows, err := scope.Largest(r.Context(), of, limit)
		for i := range rows {
			if err := out(&rows[i]); err != nil {
				return nil, err
			}
		}
		return nil, v.fail(err)
	})
}

// reportEmpty answers the directories below a path that have no entry.
func (s *Server) reportEmpty(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	v, p, err := s.openPage(r, q, view, 0, maxLimit, "empty", path)
	if err != nil {
		return err
	}
	return s.answerPage(w, r, v, p, path, func(limit int, out emit) (*position, error) {
		scope, err := v.scopeOf(r.Context(), path)
		if err != nil {
			return nil, err
		}
		var from layer.Key
		if p.after != nil {
			from = keyAfter(p.after.key)
		}
		page := limited{limit: limit, emit: out}
		at, err := page.end(scope.EmptyDirectories(r.Context(), from, page.take))
		return at, v.fail(err)
	})
}

// reportAnswer is the answer of a report whose entries are no nodes.
type reportAnswer struct {
	View    string `json:"view_id"`
	Path    string `json:"path"`
	PathB64 string `json:"path_b64,omitempty"`
	Version uint64 `json:"version"`
	// Since is, of growth, the earlier version, and when the two were published.
	Since   uint64          `json:"since_version,omitempty"`
	SinceAt *values.Seconds `json:"since,omitempty"`
	At      *values.Seconds `json:"until,omitempty"`
	// AsOf is what ages count from: the file server's time when the version was observed.
	AsOf    *values.Seconds `json:"as_of,omitempty"`
	Count   int             `json:"count"`
	More    int             `json:"more,omitempty"` // entries beyond the limit
	Entries []any           `json:"entries"`
}

// answerReport looks up what is asked and answers entries as JSON or NDJSON.
func (s *Server) answerReport(w http.ResponseWriter, r *http.Request, v *version, path string, limit int,
	produce func(ctx context.Context, scope report.Scope, a *reportAnswer) error) error {
	if s.notModified(w, r, v.m) {
		return nil
	}
	scope, err := v.scopeOf(r.Context(), path)
	if err != nil {
		return err
	}
	a := &reportAnswer{View: v.m.View, Version: v.m.Version, Entries: []any{}}
	a.Path, a.PathB64 = values.PathFields(path)
	if err := produce(r.Context(), scope, a); err != nil {
		return v.fail(err)
	}
	if len(a.Entries) > limit {
		a.Entries, a.More = a.Entries[:limit], len(a.Entries)-limit
	}
	a.Count = len(a.Entries)
	if !wantsLines(r) {
		body, err := json.Marshal(a)
		if err != nil {
			return err
		}
		writeBody(w, v.m, 0, body)
		return nil
	}
	out := &lines{w: w, m: v.m}
	for _, e := range a.Entries {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		out.b = append(out.b, line...)
		if err := out.end(); err != nil {
			return err
		}
	}
	return out.finish(r.Context(), "", nil)
}

// sums are the totals of an answer's entry.
type sums struct{ evidence.Totals }

// MarshalJSON implements json.Marshaler.
func (t sums) MarshalJSON() ([]byte, error) { return appendTotals(nil, t.Totals), nil }

type usageEntry struct {
	UID       *uint32 `json:"uid,omitempty"`
	GID       *uint32 `json:"gid,omitempty"`
	Extension *string `json:"extension,omitempty"`
	Totals    sums    `json:"totals"`
}

// reportUsage answers who, or what kind of files, has how much below a path.
func (s *Server) reportUsage(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path, by := q.Path("/"), q.Enum("by", "owner", "owner", "group", "extension")
	limit := int(q.Int("limit", maxReport, 1, maxLimit))
	if err := q.Err(); err != nil {
		return err
	}
	v, err := s.current(r.Context(), view)
	if err != nil {
		return err
	}
	return s.answerReport(w, r, v, path, limit, func(ctx context.Context, scope report.Scope, a *reportAnswer) error {
		switch by {
		case "extension":
			list, err := scope.ByExtension(ctx)
			for _, e := range list {
				a.Entries = append(a.Entries, usageEntry{Extension: &e.Of, Totals: sums{e.Totals}})
			}
			return err
		case "group":
			list, err := scope.ByGroup(ctx)
			for _, e := range list {
				a.Entries = append(a.Entries, usageEntry{GID: &e.Of, Totals: sums{e.Totals}})
			}
			return err
		}
		list, err := scope.ByOwner(ctx)
		for _, e := range list {
			a.Entries = append(a.Entries, usageEntry{UID: &e.Of, Totals: sums{e.Totals}})
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

// reportHistogram answers how many files below a path are how large, or how old.
func (s *Server) reportHistogram(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path, of := q.Path("/"), q.Enum("of", "size", "size", "mtime", "atime")
	if err := q.Err(); err != nil {
		return err
	}
	v, err := s.current(r.Context(), view)
	if err != nil {
		return err
	}
	return s.answerReport(w, r, v, path, maxReport, func(ctx context.Context, scope report.Scope, a *reportAnswer) error {
		var list []report.Bucket
		var err error
		now := v.m.ObservedAt - v.m.Clock.Skew()
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
	Paths  []pathEntry `json:"paths"` // the first of them
}

// reportDuplicates answers the files below a path that have name and size in common.
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
	v, err := s.current(r.Context(), view)
	if err != nil {
		return err
	}
	return s.answerReport(w, r, v, path, limit, func(ctx context.Context, scope report.Scope, a *reportAnswer) error {
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
	Bytes       int64 `json:"bytes"` // how many more
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	From        sums  `json:"from"`
	To          sums  `json:"to"`
}

// reportGrowth answers which directories below a path have grown, or shrunk, since an earlier version.
func (s *Server) reportGrowth(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path, since := q.Path("/"), q.String("since", "0")
	depth, limit := int(q.Int("depth", 1, 1, 100)), int(q.Int("limit", defaultReport, 1, maxReport))
	if err := q.Err(); err != nil {
		return err
	}
	now, err := s.current(r.Context(), view)
	if err != nil {
		return err
	}
	old, err := s.earlier(r.Context(), now, since)
	if err != nil {
		return err
	}
	return s.answerReport(w, r, now, path, limit, func(ctx context.Context, _ report.Scope, a *reportAnswer) error {
		before, after := values.Seconds(old.m.FoldedAt), values.Seconds(now.m.FoldedAt)
		a.Since, a.SinceAt, a.At = old.m.Version, &before, &after
		list, err := report.GrowthOf(ctx, old.view, now.view, path, depth, limit)
		for _, g := range list {
			a.Entries = append(a.Entries, growthEntry{pathEntryOf(g.Path), g.Bytes(), g.Files(), g.Directories(), sums{g.From}, sums{g.To}})
		}
		return old.fail(err) // its layers may be gone meanwhile
	})
}

// earlier opens a version of the past: a number, 0 for the oldest that is kept and whole, or a time in any of the forms of other
// parameters but whole Unix seconds.
func (s *Server) earlier(ctx context.Context, now *version, text string) (*version, error) {
	number, err := strconv.ParseUint(text, 10, 64)
	isNumber := err == nil
	var m *manifest.Manifest
	switch {
	case isNumber && number == 0:
		m, err = manifest.First(ctx, s.store, now.m, (*manifest.Manifest).Ready)
	case isNumber:
		m, err = manifest.At(ctx, s.store, now.m, number)
	default:
		at, wrong := values.ParseTime(text, time.Unix(0, s.clock.Now()))
		if wrong != nil {
			return nil, httpapi.BadRequest(`parameter "since" is no version and no time`,
				"a version's number, 0 for the oldest that is kept, or a time: 7d, 2026-01-31, RFC 3339, Unix seconds with a point")
		}
		var oldest manifest.Published
		m, oldest, err = manifest.Before(ctx, s.store, now.m, time.Unix(0, at))
		if errors.Is(err, store.ErrNotFound) && oldest.Version != 0 {
			return nil, &httpapi.Error{Status: http.StatusGone,
				Detail: fmt.Sprintf("no version that old is kept: the oldest is version %d of %s", oldest.Version, oldest.At.UTC().Format(time.RFC3339)),
				Hint:   "ask since that one, or have the compactor keep a longer history"}
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, &httpapi.Error{Status: http.StatusGone, Detail: fmt.Sprintf("version %s is not kept", text),
			Hint: "/versions lists those that are"}
	}
	if err != nil {
		return nil, explain(now.m.View, err)
	}
	if !m.Ready() {
		return nil, &httpapi.Error{Status: http.StatusGone, Detail: fmt.Sprintf("in version %d the first scan was not complete yet", m.Version),
			Hint: "ask since 0, the oldest version that can be compared with"}
	}
	v, err := s.versions.of(m, m.Version != now.m.Version)
	return v, explain(now.m.View, err)
}

type versionEntry struct {
	Version     uint64         `json:"version"`
	PublishedAt values.Seconds `json:"published_at"`
	Current     bool           `json:"current"`
}

// listVersions answers the versions that are kept, the newest first.
func (s *Server) listVersions(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	limit := q.Int("limit", defaultReport, 1, maxReport)
	before := q.Int("before", 0, 1, 1<<62)
	if err := q.Err(); err != nil {
		return err
	}
	v, err := s.current(r.Context(), view)
	if err != nil {
		return err
	}
	last := v.m.Version
	if before > 0 {
		last = min(last, uint64(before)-1)
	}
	first := uint64(1)
	if last >= uint64(limit) {
		first = last - uint64(limit) + 1
	}
	list, _, err := manifest.History(r.Context(), s.store, view, first, int(limit))
	if err != nil {
		return explain(view, err)
	}
	a := struct {
		View     string         `json:"view_id"`
		Versions []versionEntry `json:"versions"`
		Count    int            `json:"count"`
	}{View: view, Versions: []versionEntry{}}
	for i := len(list) - 1; i >= 0; i-- {
		if e := list[i]; e.Version <= last {
			a.Versions = append(a.Versions, versionEntry{e.Version, values.Seconds(e.At.UnixNano()), e.Version == v.m.Version})
		}
	}
	a.Count = len(a.Versions)
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	writeBody(w, v.m, 0, body)
	return nil
}
