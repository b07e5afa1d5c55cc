package query

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
)

// search answers the entries at and below a path whose names and attributes match, in key order.
func (s *Server) search(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	nodes := nodeWriter{atime: q.Bool("atime", false)}
	of, wanted, ages, err := s.openWanted(r, q, view, "search", searchParams)
	if err != nil {
		return err
	}
	if nodes.atime {
		r = r.WithContext(engine.WithAtime(r.Context()))
	}
	return s.answerNodes(w, r, of, wanted.Path, nodes, forest.Question{
		Extra: func(*evidence.Row) int64 { return ages },
		Ask: func(ctx context.Context, v *engine.Version, after *engine.Position, limit int, out engine.Emit) (*engine.Position, error) {
			at, err := v.Search(ctx, wanted, after, limit, out)
			if at != nil {
				at.Extra = ages
			}
			return at, err
		}})
}

// openWanted reads what a call wants of entries, and opens the page. ages is what cursors hold: the time (ns) that ages such as "7d" count
// from, if there are any; 0 otherwise, so that the same question has the same answer later.
func (s *Server) openWanted(r *http.Request, q *httpapi.Params, view, call string,
	read func(*httpapi.Params, time.Time) (*engine.Search, []string, error)) (of *subject, wanted *engine.Search, ages int64, err error) {
	now := s.agesFrom(r)
	wanted, parts, err := read(q, time.Unix(0, now))
	if err != nil {
		return nil, nil, 0, err
	}
	if of, err = s.openPage(r, q, view, 0, maxLimit, append(parts, call)...); err != nil {
		return nil, nil, 0, err
	}
	if ages = of.timeFor(q, now); ages == 0 || of.which.IsCurrent() || q.Has("cursor") {
		return of, wanted, ages, nil
	}
	// What "7d" meant at an earlier time is known now that its version is.
	wanted, _, err = read(q, time.Unix(0, of.moment))
	return of, wanted, of.moment, err
}

// agesFrom is the time, ns, that ages such as "7d" count from: that of the first page, which the cursor holds.
func (s *Server) agesFrom(r *http.Request) int64 {
	cursor := r.URL.Query().Get("cursor")
	if first, ok := engine.CursorExtra(cursor); ok {
		return first
	}
	if first, ok := forest.CursorExtra(cursor); ok {
		return first
	}
	return s.engine.Now()
}

// timeFor is the time that cursors hold: now if the question has ages that count from it, otherwise 0, so that the same question has the
// same answer later. An answer to ages has no ETag.
func (a *subject) timeFor(q *httpapi.Params, now int64) int64 {
	if q.Relative() {
		a.varies = true
		return now
	}
	return 0
}

// maxNames bounds the globs of one search.
const maxNames = 100

// errPatterns says what a search lacks, or has too much of.
var errPatterns = httpapi.BadRequest("a search needs exactly one pattern", "pass pattern, or its alias query, but not both; * matches everything")

// searchParams reads the parameters of a search: those of filterParams, with a pattern, names or a regular expression among them.
func searchParams(q *httpapi.Params, now time.Time) (wanted *engine.Search, parts []string, err error) {
	given, alias := q.Has("pattern"), q.String("query", "*")
	others := len(q.Strings("name"))+len(q.Strings("not_name")) > 0 || q.Has("regex")
	if given && q.Has("query") || !given && !q.Has("query") && !others {
		return nil, nil, errPatterns
	}
	return filterParams(q, now, alias)
}

// filterParams reads what a search or a report wants of entries. absent is the pattern if none is given. parts are the texts of the
// parameters: what two calls must have in common to ask for the same.
func filterParams(q *httpapi.Params, now time.Time, absent string) (wanted *engine.Search, parts []string, err error) {
	return entryParams(q, now, q.String("pattern", absent), q.Path("/"))
}

// entryParams reads the filters of a call or a page that has the pattern and the path in another place.
func entryParams(q *httpapi.Params, now time.Time, text, path string) (wanted *engine.Search, parts []string, err error) {
	names, not := q.Strings("name"), q.Strings("not_name")
	if len(names) > maxNames || len(not) > maxNames {
		return nil, nil, httpapi.BadRequest(fmt.Sprintf("a search has more than %d names", maxNames), "ask in several calls, or use a glob for many names")
	}
	if wanted, err = engine.NewSearch(text, path); err != nil {
		return nil, nil, err
	}
	if err = wanted.OfNames(names, not); err != nil {
		return nil, nil, err
	}
	if q.Has("regex") {
		regex, err := values.ParseRegex(q.String("regex", ""))
		if err != nil {
			return nil, nil, httpapi.BadRequest(fmt.Sprintf(`parameter "regex": %v`, err), "pass "+values.RegexForms)
		}
		wanted.OfRegex(regex)
	}
	types := q.String("type", engine.AllTypes)
	if !wanted.OfTypes(types) {
		return nil, nil, httpapi.BadRequest(`parameter "type" is not a list of types`, "pass types separated by commas: f, d, l, o, or file, directory, symlink, other")
	}
	if err := attributeParams(q, &wanted.Attributes, now); err != nil {
		return nil, nil, err
	}
	parts = append([]string{text, wanted.Path, q.String("regex", ""), types, strconv.Itoa(len(names))}, slices.Concat(names, not)...)
	for _, name := range attributeNames {
		parts = append(parts, q.String(name, ""))
	}
	return wanted, parts, nil
}

// attributeNames are the parameters that attributeParams reads.
var attributeNames = []string{"owner", "group", "perm", "empty", "min_size", "max_size", "newer_than", "older_than", "min_links", "max_links", "inode",
	"min_allocated", "max_allocated", "changed_after", "changed_before", "born_after", "born_before", "accessed_after", "accessed_before"}

// attributeParams reads what a search wants of an entry beside its name and its type.
func attributeParams(q *httpapi.Params, a *engine.Attributes, now time.Time) error {
	size := func(name string, bound *int64) {
		if n, given := q.Size(name); given {
			*bound = n
		}
	}
	after := func(name string, lowest *int64) {
		if ns, given := q.Time(name, now); given && ns < math.MaxInt64 {
			*lowest = ns + 1
		}
	}
	before := func(name string, highest *int64) {
		if ns, given := q.Time(name, now); given && ns > math.MinInt64 {
			*highest = ns - 1
		}
	}
	size("min_size", &a.MinSize)
	size("max_size", &a.MaxSize)
	size("min_allocated", &a.MinAllocated)
	size("max_allocated", &a.MaxAllocated)
	after("newer_than", &a.MinMtime)
	before("older_than", &a.MaxMtime)
	after("changed_after", &a.MinCtime)
	before("changed_before", &a.MaxCtime)
	birthParams(q, a, now)
	accessParams(q, a, now)
	owner, group := q.String("owner", ""), q.String("group", "")
	a.OfOwners(owner, group)
	for name, text := range map[string]string{"owner": owner, "group": group} {
		if id, err := strconv.ParseInt(text, 10, 64); err == nil && (id < 0 || id > math.MaxUint32) || text == "" && q.Has(name) {
			return httpapi.BadRequest(fmt.Sprintf("parameter %q is neither a name nor a number from 0 to %d", name, uint32(math.MaxUint32)), "pass what an entry's owner, group, uid or gid is")
		}
	}
	a.MinLinks = q.Int("min_links", 0, 0, math.MaxUint32)
	a.MaxLinks = q.Int("max_links", math.MaxInt64, 0, math.MaxUint32)
	a.Empty = q.Bool("empty", false)
	if q.Has("inode") {
		var err error
		if a.Inode, err = strconv.ParseUint(q.String("inode", ""), 10, 64); err != nil || a.Inode == 0 {
			return httpapi.BadRequest(`parameter "inode" is not the number of an inode`, "pass the member inode of an entry: a number from 1 to 18446744073709551615")
		}
	}
	if q.Has("perm") {
		perm, err := values.ParsePerm(q.String("perm", ""))
		if err != nil {
			return httpapi.BadRequest(`parameter "perm" is not a condition on modes`, values.PermForms)
		}
		a.Perm = &perm
	}
	return nil
}

// birthParams reads the bounds of the birth time. Entries have its second alone: born_before wants seconds that are over by then, so that
// it finds nothing that is younger, and born_after wants the others.
func birthParams(q *httpapi.Params, a *engine.Attributes, now time.Time) {
	if ns, given := q.Time("born_after", now); given {
		a.MinBirth = time.Unix(0, ns).Unix()
	}
	if ns, given := q.Time("born_before", now); given {
		a.MaxBirth = time.Unix(0, ns).Unix() - 1
	}
}

// accessParams reads the bounds of the access time. Entries have its day alone, in UTC: accessed_before wants days that are over by
// then, so that it finds nothing that was read later, and accessed_after wants the others.
func accessParams(q *httpapi.Params, a *engine.Attributes, now time.Time) {
	day := func(ns int64) int64 { return time.Unix(0, ns).UTC().Truncate(24*time.Hour).Unix() / 86400 }
	if ns, given := q.Time("accessed_after", now); given {
		a.MinAtimeDay = day(ns)
	}
	if ns, given := q.Time("accessed_before", now); given {
		a.MaxAtimeDay = day(ns) - 1
	}
}
