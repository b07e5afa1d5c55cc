package query

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
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
	kind, limit := q.Enum("type", "file", "file", "directory", "f", "d"), int(q.Int("limit", defaultReport, 1, maxReport))
	of, wanted, err := s.openReport(r, q, view)
	if err != nil {
		return err
	}
	of.setLimit(limit)
	kinds := event.File
	if kind[0] == 'd' {
		kinds = event.Directory
	}
	bytes := func(r *evidence.Row) int64 {
		if kinds == event.Directory {
			return r.Sub.Bytes
		}
		return r.Size
	}
	return s.answerPage(w, r, of, wanted.Path, forest.Question{
		Compare: func(a, b *evidence.Row) int { return cmp.Or(cmp.Compare(bytes(b), bytes(a)), forest.CompareKeys(a, b)) },
		Ask: func(ctx context.Context, v *engine.Version, _ *engine.Position, limit int, out engine.Emit) (*engine.Position, error) {
			return nil, v.Largest(ctx, wanted, kinds, limit, out)
		},
		Whole: true})
}

// reportEmpty answers the directories below a path that have no entries.
func (s *Server) reportEmpty(w http.ResponseWriter, r *http.Request, view string) error {
	return s.answerRows(w, r, view, "empty", nodeWriter{}, (*engine.Version).EmptyDirectories)
}

// reportOdd answers the entries below a path about which something is odd, and what.
func (s *Server) reportOdd(w http.ResponseWriter, r *http.Request, view string) error {
	return s.answerRows(w, r, view, "odd", nodeWriter{oddities: true}, (*engine.Version).Odd)
}

// answerRows answers a report whose entries are nodes in the order of the rows, in pages.
func (s *Server) answerRows(w http.ResponseWriter, r *http.Request, view, name string, nodes nodeWriter,
	rows func(*engine.Version, context.Context, *engine.Search, *engine.Position, int, engine.Emit) (*engine.Position, error)) error {
	of, wanted, ages, err := s.openWanted(r, httpapi.Query(r), view, name, reportParams)
	if err != nil {
		return err
	}
	return s.answerNodes(w, r, of, wanted.Path, nodes, forest.Question{
		Extra: func(*evidence.Row) int64 { return ages },
		Ask: func(ctx context.Context, v *engine.Version, after *engine.Position, limit int, out engine.Emit) (*engine.Position, error) {
			at, err := rows(v, ctx, wanted, after, limit, out)
			if at != nil {
				at.Extra = ages
			}
			return at, err
		}})
}

// reportParams reads what a report wants of entries.
func reportParams(q *httpapi.Params, now time.Time) (wanted *engine.Search, parts []string, err error) {
	return filterParams(q, now, "*")
}

// openReport reads what a report without pages wants of entries, and opens what it is of; call it after what reads its own parameters.
func (s *Server) openReport(r *http.Request, q *httpapi.Params, view string) (of *subject, wanted *engine.Search, err error) {
	if wanted, _, err = reportParams(q, time.Unix(0, s.engine.Now())); err != nil {
		return nil, nil, err
	}
	if of, err = s.open(r, q, view); err != nil {
		return nil, nil, err
	}
	of.varies = of.varies || q.Relative()
	if q.Relative() && !of.which.IsCurrent() {
		wanted, _, err = reportParams(q, time.Unix(0, of.moment))
	}
	return of, wanted, err
}

// reportAnswer is the answer of a report whose entries are no nodes but E.
type reportAnswer[E any] struct {
	View    string `json:"view_id"`
	Path    string `json:"path"`
	PathB64 string `json:"path_b64,omitempty"`
	Version uint64 `json:"version,omitempty"` // of no forest
	// Since is the earlier version of a growth report; SinceAt and At are when the two versions were published.
	Since   uint64          `json:"since_version,omitempty"`
	SinceAt *values.Seconds `json:"since,omitempty"`
	At      *values.Seconds `json:"until,omitempty"`
	// AsOf is what ages count from: the time of the version's newest observation, on the file server's clock.
	AsOf    *values.Seconds `json:"as_of,omitempty"`
	Count   int             `json:"count"`
	Omitted int             `json:"more,omitempty"` // entries beyond the limit
	// Unreadable is how many paths at or below the path could not be read: the report is of what could be.
	Unreadable int `json:"unreadable,omitempty"`
	Entries    []E `json:"entries"`
	forestAnswer
}

// reportQuestion is a report whose entries are no nodes.
type reportQuestion[E any] struct {
	wanted *engine.Search
	limit  int
	// of makes the report of one version.
	of func(ctx context.Context, v *engine.Version, scope report.Scope, a *reportAnswer[E]) error
	// merge makes one list of those of a forest's members, in the order of a report.
	merge func(parts []reportPart[E]) []E
}

// reportPart is the report of one member of a forest.
type reportPart[E any] struct {
	member string
	*reportAnswer[E]
}

// answerReport answers the entries of a report, as JSON or NDJSON.
func answerReport[E any](s *Server, w http.ResponseWriter, r *http.Request, of *subject, q reportQuestion[E]) error {
	if !wantsLines(r) && notModified(w, r, of) {
		return nil
	}
	one := func(ctx context.Context, v *engine.Version) (*reportAnswer[E], error) {
		scope, err := v.Scope(ctx, q.wanted)
		if err != nil {
			return nil, err
		}
		a := &reportAnswer[E]{Version: v.Manifest.Version, Entries: []E{}}
		return a, v.ReadError(q.of(ctx, v, scope, a))
	}
	if of.forest == nil {
		a, err := one(r.Context(), of.version)
		if err != nil {
			return err
		}
		return writeReport(w, r, of, q.wanted.Path, q.limit, a)
	}
	list, err := forest.Ask(r.Context(), of.forest, forest.ReportDeadline, func(ctx context.Context, m *forest.Member) (*reportAnswer[E], error) {
		return one(ctx, m.Version)
	})
	if err != nil {
		return err
	}
	var parts []reportPart[E]
	a := &reportAnswer[E]{Entries: []E{}}
	for i, m := range of.forest.Members {
		if m.Status != forest.OK {
			continue
		}
		parts = append(parts, reportPart[E]{m.View, list[i]})
		if at := list[i].AsOf; a.AsOf == nil || at != nil && *at < *a.AsOf {
			a.AsOf = at
		}
		a.Omitted += list[i].Omitted
	}
	a.Entries = append(a.Entries, q.merge(parts)...)
	return writeReport(w, r, of, q.wanted.Path, q.limit, a)
}

// writeReport cuts a report at its limit, and writes it.
func writeReport[E any](w http.ResponseWriter, r *http.Request, of *subject, path string, limit int, a *reportAnswer[E]) error {
	of.about(path)
	a.View, a.forestAnswer, a.Unreadable = of.view, of.forestAnswer(r.Context()), of.unreadable
	a.Path, a.PathB64 = values.PathFields(path)
	if len(a.Entries) > limit {
		a.Omitted += len(a.Entries) - limit
		a.Entries = a.Entries[:limit]
	}
	a.Count = len(a.Entries)
	if !wantsLines(r) {
		body, err := json.Marshal(a)
		if err != nil {
			return err
		}
		writeBody(w, of, 0, body)
		return nil
	}
	out := newLines(w, r, of)
	for _, e := range a.Entries {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		out.buffer = append(out.buffer, line...)
		if err := out.endLine(); err != nil {
			return out.finish(r.Context(), "", err)
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
	Owner     string     `json:"owner,omitempty"` // of uid; without a name, the number
	Group     string     `json:"group,omitempty"` // of gid
	Extension *string    `json:"extension,omitempty"`
	Totals    totalsJSON `json:"totals"`
	// Across are its files by size or age, in a cross table: the buckets that have any.
	Across []bucketEntry `json:"across,omitempty"`
	// Members are what the members of a forest have of it.
	Members []memberTotals `json:"members,omitempty"`
}

type memberTotals struct {
	Member string     `json:"member"`
	Totals totalsJSON `json:"totals"`
}

// key tells entries apart.
func (e usageEntry) key() (key string) {
	switch {
	case e.UID != nil:
		return strconv.FormatUint(uint64(*e.UID), 10)
	case e.GID != nil:
		return strconv.FormatUint(uint64(*e.GID), 10)
	}
	return *e.Extension
}

// order is that of report.Share.
func (e usageEntry) order(o usageEntry) int {
	number := func(e usageEntry) (n uint32) {
		if e.UID != nil {
			n = *e.UID
		} else if e.GID != nil {
			n = *e.GID
		}
		return n
	}
	extension := func(e usageEntry) (s string) {
		if e.Extension != nil {
			s = *e.Extension
		}
		return s
	}
	return cmp.Or(cmp.Compare(o.Totals.Bytes, e.Totals.Bytes), cmp.Compare(o.Totals.Files, e.Totals.Files), cmp.Compare(number(e), number(o)),
		strings.Compare(extension(e), extension(o)))
}

// mergeUsage adds up what the members of a forest have.
func mergeUsage(parts []reportPart[usageEntry]) (out []usageEntry) {
	at := map[string]int{}
	for _, p := range parts {
		for _, e := range p.Entries {
			i, known := at[e.key()]
			if !known {
				i = len(out)
				at[e.key()] = i
				sum := e
				sum.Totals.Totals, sum.Across = evidence.Totals{LatestMtimeNs: evidence.NoMtime}, nil
				out = append(out, sum)
			}
			out[i].Totals.Totals = out[i].Totals.Plus(e.Totals.Totals)
			out[i].Across = addBuckets(out[i].Across, e.Across)
			out[i].Members = append(out[i].Members, memberTotals{p.member, e.Totals})
		}
	}
	slices.SortFunc(out, usageEntry.order)
	return out
}

// reportUsage answers how much each owner, group or extension has below a path.
func (s *Server) reportUsage(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	by, across := q.Enum("by", "owner", "owner", "group", "extension"), q.Enum("across", "", "size", "mtime", "atime")
	limit := int(q.Int("limit", maxReport, 1, maxLimit))
	of, wanted, err := s.openReport(r, q, view)
	if err != nil {
		return err
	}
	return answerReport(s, w, r, of, reportQuestion[usageEntry]{wanted, limit, func(ctx context.Context, v *engine.Version, scope report.Scope, a *reportAnswer[usageEntry]) error {
		classes, asOf := classesOf(across, v)
		names, err := v.Names(ctx)
		if err != nil {
			return err
		}
		a.AsOf = asOf
		switch by {
		case "extension":
			list, err := scope.ByExtension(ctx, classes)
			for _, e := range list {
				a.Entries = append(a.Entries, usageEntry{Extension: &e.Of, Totals: totalsJSON{e.Totals}, Across: acrossOf(e.Across)})
			}
			return err
		case "group":
			list, err := scope.ByGroup(ctx, classes)
			for _, e := range list {
				a.Entries = append(a.Entries, usageEntry{GID: &e.Of, Group: names.Shown(true, "", e.Of), Totals: totalsJSON{e.Totals}, Across: acrossOf(e.Across)})
			}
			return err
		}
		list, err := scope.ByOwner(ctx, classes)
		for _, e := range list {
			a.Entries = append(a.Entries, usageEntry{UID: &e.Of, Owner: names.Shown(false, "", e.Of), Totals: totalsJSON{e.Totals}, Across: acrossOf(e.Across)})
		}
		return err
	}, mergeUsage})
}

// classesOf are the classes of size, mtime or atime; nil for the empty word. asOf is what ages count from; nil if they are none.
func classesOf(word string, v *engine.Version) (classes *report.Classes, asOf *values.Seconds) {
	now := v.Manifest.ObservedAt - v.Manifest.Clock.Skew()
	at := values.Seconds(now)
	switch word {
	case "size":
		return report.Sizes(), nil
	case "mtime":
		return report.ModifiedAges(now), &at
	case "atime":
		return report.AccessedAges(now), &at
	}
	return nil, nil
}

// acrossOf are the buckets that have files.
func acrossOf(list []report.Bucket) (out []bucketEntry) {
	for _, b := range list {
		if b.Files > 0 {
			out = append(out, bucketOf(b))
		}
	}
	return out
}

// addBuckets adds buckets that have files to others, in order.
func addBuckets(to, more []bucketEntry) []bucketEntry {
	for _, b := range more {
		i, found := slices.BinarySearchFunc(to, b, func(x, b bucketEntry) int { return cmp.Compare(x.least(), b.least()) })
		if !found {
			to = slices.Insert(to, i, bucketEntry{From: b.From, To: b.To})
		}
		to[i].Files += b.Files
		to[i].setBytes(values.Sum(to[i].Bytes, b.Bytes))
	}
	return to
}

type bucketEntry struct {
	From  *int64 `json:"from"` // bytes, or seconds of age; null: open
	To    *int64 `json:"to"`
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes"`
	// Saturated: bytes may be more than it says.
	Saturated bool `json:"saturated,omitempty"`
	// Members are what the members of a forest have of it, those that have any.
	Members []memberBucket `json:"members,omitempty"`
}

func (e *bucketEntry) setBytes(n int64) { e.Bytes, e.Saturated = n, n == values.MaxSum }

// bucketOf is a bucket as answers have it.
func bucketOf(b report.Bucket) bucketEntry {
	e := bucketEntry{From: &b.From, To: &b.To, Files: b.Files}
	e.setBytes(b.Bytes)
	if b.From == -report.Unbounded {
		e.From = nil
	}
	if b.To == report.Unbounded {
		e.To = nil
	}
	return e
}

// least is From, or less than any.
func (e bucketEntry) least() int64 {
	if e.From == nil {
		return -report.Unbounded
	}
	return *e.From
}

type memberBucket struct {
	Member    string `json:"member"`
	Files     int64  `json:"files"`
	Bytes     int64  `json:"bytes"`
	Saturated bool   `json:"saturated,omitempty"`
}

// mergeBuckets adds up what the members of a forest have. They all have the same buckets.
func mergeBuckets(parts []reportPart[bucketEntry]) (out []bucketEntry) {
	for _, p := range parts {
		for i, e := range p.Entries {
			if i == len(out) {
				out = append(out, bucketEntry{From: e.From, To: e.To})
			}
			out[i].Files += e.Files
			out[i].setBytes(values.Sum(out[i].Bytes, e.Bytes))
			if e.Files > 0 {
				out[i].Members = append(out[i].Members, memberBucket{p.member, e.Files, e.Bytes, e.Saturated})
			}
		}
	}
	return out
}

// reportHistogram answers how many files below a path are in each class of size or age.
func (s *Server) reportHistogram(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	of := q.Enum("of", "size", "size", "mtime", "atime")
	subject, wanted, err := s.openReport(r, q, view)
	if err != nil {
		return err
	}
	return answerReport(s, w, r, subject, reportQuestion[bucketEntry]{wanted, maxReport, func(ctx context.Context, v *engine.Version, scope report.Scope, a *reportAnswer[bucketEntry]) error {
		classes, asOf := classesOf(of, v)
		a.AsOf = asOf
		list, err := scope.Histogram(ctx, classes)
		for _, b := range list {
			a.Entries = append(a.Entries, bucketOf(b))
		}
		return err
	}, mergeBuckets})
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
	Size      int64           `json:"size"`
	Count     int64           `json:"count"`
	Wasted    int64           `json:"wasted"`
	Saturated bool            `json:"saturated,omitempty"` // wasted may be more than it says
	Paths     []duplicatePath `json:"paths"`               // the first few
}

type duplicatePath struct {
	Member string `json:"member,omitempty"` // of a forest
	pathEntry
}

// reportDuplicates answers the files below a path that have the same name and size.
func (s *Server) reportDuplicates(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	limit := int(q.Int("limit", defaultReport, 1, maxReport))
	minSize, given := q.Size("min_size")
	if !given {
		minSize = duplicatesFrom
	}
	of, wanted, err := s.openReport(r, q, view)
	if err != nil {
		return err
	}
	if !wantsLines(r) && notModified(w, r, of) {
		return nil
	}
	select { // one at a time, for the memory
	case s.duplicates <- struct{}{}:
		defer func() { <-s.duplicates }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	a := &reportAnswer[duplicateEntry]{Entries: []duplicateEntry{}}
	if of.forest != nil {
		err = forestDuplicates(r.Context(), of.forest, wanted, minSize, limit, a)
	} else {
		a.Version = of.version.Manifest.Version
		err = duplicates(r.Context(), of.version, wanted, minSize, limit, a)
	}
	if err != nil {
		return err
	}
	return writeReport(w, r, of, wanted.Path, limit, a)
}

func duplicates(ctx context.Context, v *engine.Version, wanted *engine.Search, minSize int64, limit int, a *reportAnswer[duplicateEntry]) error {
	scope, err := v.Scope(ctx, wanted)
	if err != nil {
		return err
	}
	list, err := scope.Duplicates(ctx, minSize, limit)
	a.Entries = append(a.Entries, duplicateEntries(list, func(int) string { return "" })...)
	return v.ReadError(err)
}

// forestDuplicates looks for duplicates in all members together. If one fails, it begins again without that member.
func forestDuplicates(ctx context.Context, fo *forest.Forest, wanted *engine.Search, minSize int64, limit int, a *reportAnswer[duplicateEntry]) error {
	scopes, err := forest.Ask(ctx, fo, forest.Deadline, func(ctx context.Context, m *forest.Member) (report.Scope, error) {
		return m.Version.Scope(ctx, wanted)
	})
	for err == nil {
		var members []*forest.Member
		var in []report.Scope
		for i, m := range fo.Members {
			if m.Status == forest.OK {
				members, in = append(members, m), append(in, scopes[i])
			}
		}
		list, failed := report.DuplicatesIn(ctx, in, forest.ReportDeadline, minSize, limit)
		var of *report.ScopeError
		switch {
		case failed == nil:
			a.Entries = append(a.Entries, duplicateEntries(list, func(i int) string { return members[i].View })...)
			return nil
		case ctx.Err() != nil || !errors.As(failed, &of):
			return failed
		}
		m := members[of.Scope]
		reason := m.Version.ReadError(of.Err)
		if errors.Is(reason, context.DeadlineExceeded) {
			reason = &forest.TimeoutError{After: forest.ReportDeadline}
		}
		m.Fail(reason)
		err = fo.Err()
	}
	return err
}

func duplicateEntries(list []report.Duplicate, member func(scope int) string) (out []duplicateEntry) {
	for _, d := range list {
		e := duplicateEntry{Size: d.Size, Count: d.Count, Wasted: d.Wasted(), Saturated: d.Wasted() == values.MaxSum}
		for i, p := range d.Paths {
			e.Paths = append(e.Paths, duplicatePath{member(d.In[i]), pathEntryOf(p)})
		}
		out = append(out, e)
	}
	return out
}

type growthEntry struct {
	Member string `json:"member,omitempty"` // of a forest
	pathEntry
	Bytes       int64      `json:"bytes"` // how many more than before
	Files       int64      `json:"files"`
	Directories int64      `json:"directories"`
	Saturated   bool       `json:"saturated,omitempty"` // from or to is, so that bytes may be off
	From        totalsJSON `json:"from"`
	To          totalsJSON `json:"to"`
}

// reportGrowth answers the directories below a path that have grown or shrunk since an earlier version.
func (s *Server) reportGrowth(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	since := q.String("since", "0")
	depth, limit := int(q.Int("depth", 1, 1, 100)), int(q.Int("limit", defaultReport, 1, maxReport))
	of, wanted, err := s.openReport(r, q, view)
	if err != nil {
		return err
	}
	of.varies = true // the earlier version may be the oldest that is kept, or the one of a time ago
	return answerReport(s, w, r, of, reportQuestion[growthEntry]{wanted, limit, func(ctx context.Context, now *engine.Version, _ report.Scope, a *reportAnswer[growthEntry]) error {
		old, err := s.engine.Earlier(ctx, now.Manifest.View, "since", since)
		if err != nil {
			return err
		}
		if old.Manifest.Version > now.Manifest.Version {
			return httpapi.BadRequest(fmt.Sprintf("version %d, of since=%s, is later than version %d, of as_of=%s", old.Manifest.Version, since, now.Manifest.Version, of.which),
				"pass a since that is before as_of; times such as 7d count from now in both")
		}
		before, after := values.Seconds(old.Manifest.FoldedAt), values.Seconds(now.Manifest.FoldedAt)
		a.Since, a.SinceAt, a.At = old.Manifest.Version, &before, &after
		list, err := now.Growth(ctx, old, wanted, depth, limit)
		if errors.Is(err, report.ErrTooManyDirectories) {
			return httpapi.BadRequest(fmt.Sprintf("more than %d directories have what the filter wants", report.MaxFiltered), "pass a smaller depth, or a path further down")
		}
		for _, g := range list {
			a.Entries = append(a.Entries, growthEntry{"", pathEntryOf(g.Path), g.Bytes(), g.Files(), g.Directories(), g.Saturated(), totalsJSON{g.From}, totalsJSON{g.To}})
		}
		return err
	}, mergeGrowth})
}

// mergeGrowth merges the lists of a forest's members: the largest changes first, as in each of them.
func mergeGrowth(parts []reportPart[growthEntry]) (out []growthEntry) {
	for _, p := range parts {
		for _, e := range p.Entries {
			e.Member = p.member
			out = append(out, e)
		}
	}
	magnitude := func(n int64) int64 { return max(n, -n) }
	slices.SortStableFunc(out, func(a, b growthEntry) int {
		return cmp.Or(cmp.Compare(magnitude(b.Bytes), magnitude(a.Bytes)), cmp.Compare(magnitude(b.Files), magnitude(a.Files)), strings.Compare(a.Path, b.Path))
	})
	return out
}

type versionEntry struct {
	Member      string          `json:"member,omitempty"` // of a forest
	Version     uint64          `json:"version"`
	PublishedAt values.Seconds  `json:"published_at"`
	Current     bool            `json:"current"`
	Kept        []string        `json:"kept"`
	Pins        []string        `json:"pins,omitempty"`
	Until       *values.Seconds `json:"kept_until"`
	// What the version has; left out for a reader who may not see everything.
	*versionCounts
}

type versionCounts struct {
	Rows        int64 `json:"rows"`
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Bytes       int64 `json:"bytes"`
}

type versionsAnswer struct {
	View     string         `json:"view_id"`
	Versions []versionEntry `json:"versions"`
	Count    int            `json:"count"`
	forestAnswer
}

// listVersions answers the versions that are kept, the newest first; of a forest, those of each member.
func (s *Server) listVersions(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	limit := int(q.Int("limit", defaultReport, 1, maxReport))
	before := uint64(q.Int("before", 0, 1, 1<<62))
	lasting := q.Bool("kept", false)
	if err := q.Err(); err != nil {
		return err
	}
	of, err := s.openWhich(r, view, engine.Which{})
	if err != nil {
		return err
	}
	of.varies = true // earlier versions are removed without a new one
	a := versionsAnswer{View: view, Versions: []versionEntry{}}
	if of.forest == nil {
		if a.Versions, err = s.versionsOf(r.Context(), of.version, before, lasting, limit); err != nil {
			return err
		}
	} else {
		if before != 0 {
			return httpapi.BadRequest(`parameter "before" is for views`, "ask a member for its earlier versions")
		}
		lists, err := forest.Ask(r.Context(), of.forest, forest.Deadline, func(ctx context.Context, m *forest.Member) ([]versionEntry, error) {
			return s.versionsOf(ctx, m.Version, 0, lasting, limit)
		})
		if err != nil {
			return err
		}
		for i, m := range of.forest.Members {
			for _, e := range lists[i] {
				e.Member = m.View
				a.Versions = append(a.Versions, e)
			}
		}
	}
	a.Count, a.forestAnswer = len(a.Versions), of.forestAnswer(r.Context())
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	writeBody(w, of, 0, body)
	return nil
}

// versionsOf are the kept versions of a view up to v, as engine.History has them.
func (s *Server) versionsOf(ctx context.Context, v *engine.Version, before uint64, lasting bool, limit int) ([]versionEntry, error) {
	list, err := s.engine.History(ctx, v, before, lasting, limit)
	out := []versionEntry{}
	for _, k := range list {
		e := versionEntry{Version: k.Version, PublishedAt: values.Seconds(k.At.UnixNano()), Current: k.Version == v.Manifest.Version, Kept: k.Why, Pins: k.Pins}
		if _, restricted := engine.ReaderOf(ctx); !restricted {
			t := &k.Manifest.Totals
			e.versionCounts = &versionCounts{k.Manifest.Rows(), t.Files, t.Directories, t.Bytes}
		}
		if e.Kept == nil {
			e.Kept = []string{}
		}
		if k.Until.Before(history.Forever) {
			until := values.Seconds(k.Until.UnixNano())
			e.Until = &until
		}
		out = append(out, e)
	}
	return out, err
}
