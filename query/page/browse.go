package page

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
)

// pageEntries is how many entries a page for people shows.
const pageEntries = 100

// pageFrame has what all pages of a view show.
type pageFrame struct {
	Title, View, ViewURL string
	Forest               bool   // the view is one: entries have a member
	Directory            bool   // a directory of a view is shown
	Admin                string // what app.js is told of administration; see administration
	Here                 string // URL of the directory that the search form searches below
	Query                string
	AsOf, NowURL         string // the version that was asked for, if not the current one, and the same page of that
	Cookie               bool
	Entries              []pageEntry
	NextURL              string
	Footer               pageFooter
}

type pageFooter struct {
	Version              uint64
	Folded, FoldedAt     string
	Observed, ObservedAt string
	ScanErrors           string
	Troubles             []string // of the view
	JSON, StateURL       string
}

type directoryPage struct {
	pageFrame
	Crumbs  []crumb
	Totals  *pageTotals
	Columns []pageColumn
	Empty   string
}

type searchPage struct {
	pageFrame
	Where   []textPart
	Summary string
	// Unreadable is how much of where was searched could not be read; empty: all was.
	Unreadable string
	// Incomplete says that some members did not answer, and Missing why.
	Incomplete string
	Missing    []string
}

type crumb struct {
	Name []textPart
	URL  string
}

type pageTotals struct{ Size, Bytes, Files, Directories, Others, Latest, Unreadable string }

type pageColumn struct{ Label, Class, URL, Sorted, Arrow string }

type pageEntry struct {
	Kind                   string
	Name, Target, Parent   []textPart
	URL, ParentURL         string
	Member, MemberURL      string // of a forest
	Size, Bytes, Files     string
	Modified, Exact, Owner string
	Suspect, AgentMissing  bool
	Unreadable             string // how much at or below it could not be read; empty: all was
}

// browsePage shows a directory or, with q, the hits of a search below it.
func (s *Pages) browsePage(w http.ResponseWriter, r *http.Request, key access.Record) error {
	view := r.PathValue("view_id")
	if err := access.CheckView(r.Context(), view); err != nil {
		return err
	}
	path, err := values.CleanPath("/" + r.PathValue("path"))
	if err != nil {
		return httpapi.BadRequest("the path "+err.Error(), "")
	}
	q := httpapi.Query(r)
	of, at := (*engine.ForestError)(nil), s.linkOf(q, view)
	if _, err := s.engine.Head(r.Context(), view); errors.As(err, &of) {
		if !q.Has("q") || q.String("show", "") != "" {
			if err := s.appParams(q, path); err != nil {
				return err
			}
			return s.forestPage(w, r, of, at, key, path)
		}
		return s.forestSearch(w, r, q, of, at, key, path)
	}
	if q.Has("q") && q.String("show", "") == "" {
		return s.searchPage(w, r, q, at, path)
	}
	if err := s.appParams(q, path); err != nil {
		return err
	}
	return s.directoryPage(w, r, q, at, path)
}

// appParams reads what an address of app.js says of how a directory is shown. Without scripts it is shown as a list.
func (s *Pages) appParams(q *httpapi.Params, path string) error {
	if q.Enum("show", "", "", "list", "map", "insight") == "" {
		return nil
	}
	for _, name := range []string{"by", "color", "since", "report"} {
		q.String(name, "")
	}
	_, _, err := s.filters(q, time.Unix(0, s.engine.Now()), q.String("q", "*"), path)
	return err
}

func (s *Pages) directoryPage(w http.ResponseWriter, r *http.Request, q *httpapi.Params, at link, path string) error {
	order := q.Enum("sort", engine.ByName, engine.ByName, engine.BySize, engine.ByAllocated, engine.ByMtime)
	v, p, err := s.openPage(r, q, at, "page", path, order)
	if err != nil {
		return err
	}
	dir, err := v.Lookup(r.Context(), path)
	if err != nil {
		return err
	}
	names, err := v.Names(r.Context())
	if err != nil {
		return err
	}
	now := s.engine.Moment(at.which, v)
	page := directoryPage{pageFrame: s.frameOf(v, at, r, s.engine.Now(), path, "/list?"), Crumbs: crumbs(at, path), Columns: columns(at, path, order), Empty: "This directory is empty."}
	if dir.Type != event.Directory {
		page.Entries = []pageEntry{entryOf(at, names, dir, now)}
		render(w, http.StatusOK, "directory", page)
		return nil
	}
	if err := v.Sum(r.Context(), dir); err != nil { // of a user
		return err
	}
	page.Directory, page.Totals = true, totalsOf(dir.Sub)
	page.Totals.Unreadable = unreadable(r.Context(), v, path)
	end, err := v.List(r.Context(), dir, engine.Listing{Order: order}, p.After, p.Limit, func(row *evidence.Row) error {
		e := entryOf(at, names, row, now)
		e.Unreadable = unreadable(r.Context(), v, row.Path())
		page.Entries = append(page.Entries, e)
		return nil
	})
	if err != nil {
		return err
	}
	if next := p.Next(v, end); next != "" {
		page.NextURL = pageURL(at, path, "sort", order, "cursor", next)
	}
	render(w, http.StatusOK, "directory", page)
	return nil
}

func (s *Pages) searchPage(w http.ResponseWriter, r *http.Request, q *httpapi.Params, at link, path string) error {
	text := q.String("q", "")
	_, wanted, err := s.filters(q, time.Unix(0, s.engine.Now()), text, path)
	if err != nil {
		return err
	}
	v, p, err := s.openPage(r, q, at, append(wanted, "found")...)
	if err != nil {
		return err
	}
	now := s.engine.Moment(at.which, v)
	search, _, err := s.filters(q, time.Unix(0, now), text, path) // what "7d" means is known now that the version is
	if err != nil {
		return err
	}
	page := searchPage{pageFrame: s.frameOf(v, at, r, s.engine.Now(), path, "/search?pattern="+url.QueryEscape(text)+"&")}
	page.Title, page.Query = "“"+text+"”", text
	if path != "/" {
		page.Where = parts(path)
	}
	end, err := v.Search(r.Context(), search, p.After, p.Limit, func(row *evidence.Row) error {
		names, err := v.Names(r.Context())
		if err != nil {
			return err
		}
		e := entryOf(at, names, row, now)
		parent := strings.TrimSuffix(row.Parent, "/")
		e.Parent, e.ParentURL = parts(parent+"/"), browseURL(at, parent)
		page.Entries = append(page.Entries, e)
		return nil
	})
	if err != nil {
		return err
	}
	page.Summary, page.Unreadable = summary(len(page.Entries), end != nil, p.After != nil), unreadable(r.Context(), v, path)
	if next := p.Next(v, end); next != "" {
		page.NextURL = nextURL(r, at, path, next)
	}
	render(w, http.StatusOK, "found", page)
	return nil
}

// maxEntries bounds the parameter limit of a page.
const maxEntries = 10_000

// openPage opens the version and the page that the request asks for.
func (s *Pages) openPage(r *http.Request, q *httpapi.Params, at link, parts ...string) (*engine.Version, engine.Page, error) {
	limit, cursor, err := pageParams(q)
	if err != nil {
		return nil, engine.Page{}, err
	}
	return s.engine.OpenPage(r.Context(), at.view, at.which, cursor, limit, parts...)
}

func pageParams(q *httpapi.Params) (limit int, cursor string, err error) {
	limit, cursor = int(q.Int("limit", pageEntries, 1, maxEntries)), q.String("cursor", "")
	given := q.Has("cursor")
	if err = q.Err(); err == nil && given && cursor == "" {
		err = engine.ErrCursor
	}
	return limit, cursor, err
}

func summary(n int, more, continued bool) string {
	switch {
	case n == 0 && !continued:
		return "No name matches."
	case more || continued:
		return values.Plural(n, "match", "matches") + " on this page."
	}
	return values.Plural(n, "match", "matches") + "."
}

func (s *Pages) frameOf(v *engine.Version, at link, r *http.Request, now int64, path, call string) pageFrame {
	view := v.Manifest.View
	param := "path=" + url.QueryEscape(path)
	if _, b64 := values.PathFields(path); b64 != "" {
		param = "path_b64=" + b64
	}
	_, err := r.Cookie(keyCookie)
	f := pageFrame{
		Title: readable(path), View: view, ViewURL: browseURL(at, "/"), Here: pathURL(view, path), AsOf: at.asOf(), NowURL: pathURL(view, path), Cookie: err == nil, Admin: s.administration(r.Context()),
		Footer: pageFooter{
			Version: v.Manifest.Version, StateURL: "/state/" + view, JSON: "/api/v1/views/" + view + call + param + at.param(),
			Folded: ago(now, v.Manifest.FoldedAt), FoldedAt: exact(v.Manifest.FoldedAt), Observed: ago(now, v.Manifest.ObservedAt), ObservedAt: exact(v.Manifest.ObservedAt),
		},
	}
	if path == "/" {
		f.Title = view
	}
	if isUser(r.Context()) {
		f.Footer.StateURL = ""
	} else if n := v.Manifest.Scan.ErrorCount; n > 0 {
		f.Footer.ScanErrors = values.Plural(n, "directory", "directories")
	}
	for _, t := range engine.TroublesOf(r.Context(), v.Manifest) {
		f.Footer.Troubles = append(f.Footer.Troubles, t.Text)
	}
	return f
}

func crumbs(at link, path string) []crumb {
	out := []crumb{{parts(at.view), browseURL(at, "/")}}
	for i := 1; i < len(path); {
		end := i + strings.IndexByte(path[i:]+"/", '/')
		out = append(out, crumb{parts(path[i:end]), browseURL(at, path[:end])})
		i = end + 1
	}
	out[len(out)-1].URL = ""
	return out
}

func columns(at link, path, order string) []pageColumn {
	column := func(label, class, sort, direction, arrow string) pageColumn {
		c := pageColumn{Label: label, Class: class, URL: pageURL(at, path, "sort", sort)}
		if sort == order {
			c.Class, c.Sorted, c.Arrow, c.URL = class+" sorted", direction, arrow, ""
		}
		return c
	}
	return []pageColumn{
		column("Name", "name", engine.ByName, "ascending", "↑"), column("Size", "number", engine.BySize, "descending", "↓"),
		{Label: "Files below", Class: "number optional"}, column("Modified (UTC)", "when", engine.ByMtime, "descending", "↓"),
		{Label: "Owner", Class: "when optional"},
	}
}

func totalsOf(t evidence.Totals) *pageTotals {
	p := &pageTotals{Size: sum(t.Bytes), Bytes: count(t.Bytes), Files: values.Plural(t.Files, "file", "files")}
	if below := t.Directories - 1; below > 0 {
		p.Directories = values.Plural(below, "directory below", "directories below")
	}
	if t.Others > 0 {
		p.Others = values.Plural(t.Others, "link or special file", "links and special files")
	}
	if t.LatestMtimeNs != evidence.NoMtime {
		p.Latest = minute(t.LatestMtimeNs)
	}
	return p
}

func entryOf(at link, names *manifest.Names, r *evidence.Row, now int64) pageEntry {
	e := pageEntry{
		Kind: r.Type.String(), Name: parts(r.Name), Size: size(r.Size), Bytes: count(r.Size),
		Modified: minute(r.MtimeNs), Exact: exact(r.MtimeNs),
		Owner: names.Shown(false, r.Source, r.UID), Suspect: r.SuspectUntil > now, AgentMissing: r.AgentMissing,
	}
	if r.Hidden&evidence.HiddenAttributes != 0 {
		e = pageEntry{Kind: e.Kind, Name: e.Name}
		if r.Type == event.Directory {
			e.URL = browseURL(at, r.Path())
		}
		return e
	}
	switch r.Type {
	case event.Directory:
		e.URL = browseURL(at, r.Path())
		if r.Hidden&evidence.HiddenTotals != 0 {
			e.Size, e.Bytes = "", ""
			break
		}
		e.Size, e.Bytes, e.Files = sum(r.Sub.Bytes), count(r.Sub.Bytes), count(r.Sub.Files)
	case event.Symlink:
		e.Target, e.Size = parts(r.Target), ""
	case event.Other:
		e.Size = ""
	}
	return e
}

// isUser reports whether a page is shown to a user, as file permissions allow.
func isUser(ctx context.Context) bool {
	_, restricted := engine.ReaderOf(ctx)
	return restricted
}

// unreadable says how many paths at or below a path the last scans could not read; empty: none, or they may be hidden.
func unreadable(ctx context.Context, v *engine.Version, path string) string {
	n := v.Unreadable(path)
	if n == 0 || isUser(ctx) {
		return ""
	}
	return values.Plural(n, "path could not be read", "paths could not be read")
}

// link is where the links of a page lead: to a view, at the version that the page is of.
type link struct {
	view  string
	which engine.Which
}

// linkOf reads the parameter as_of.
func (s *Pages) linkOf(q *httpapi.Params, view string) link {
	at := link{view: view}
	if text := q.String("as_of", ""); text != "" {
		at.which = engine.WhichOf("as_of", text, s.engine.Now())
	}
	return at
}

// asOf is the text of the parameter as_of; empty: the current version.
func (at link) asOf() string { return at.which.String() }

// param is as_of behind other parameters.
func (at link) param() string {
	if at.which.IsCurrent() {
		return ""
	}
	return "&as_of=" + url.QueryEscape(at.asOf())
}

// browseURL is the page of a path.
func browseURL(at link, path string) string {
	if at.which.IsCurrent() {
		return pathURL(at.view, path)
	}
	return pageURL(at, path)
}

// pathURL is the page of a path of the current version.
func pathURL(view, path string) string {
	var b strings.Builder
	b.WriteString("/browse/" + view)
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if segment != "" {
			b.WriteString("/" + url.PathEscape(segment))
		}
	}
	return b.String()
}

// pageURL is the page of a path with parameters name, value, …
func pageURL(at link, path string, params ...string) string {
	q := url.Values{}
	if !at.which.IsCurrent() {
		q.Set("as_of", at.asOf())
	}
	for i := 0; i+1 < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	return pathURL(at.view, path) + "?" + q.Encode()
}

// nextURL is the next page of a search: the same question, from the cursor on.
func nextURL(r *http.Request, at link, path, cursor string) string {
	q := r.URL.Query()
	q.Del("limit")
	q.Set("cursor", cursor)
	return pathURL(at.view, path) + "?" + q.Encode()
}

func size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// sum is a sum of sizes, with a mark if it may be larger than it says.
func sum(n int64) string {
	if n == values.MaxSum {
		return "≥ " + size(n)
	}
	return size(n)
}

func count(n int64) string { return values.Count(n) }

func minute(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02 15:04") }
func exact(ns int64) string {
	return time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05.999999999 UTC")
}

func ago(now, then int64) string {
	return humanize.RelTime(time.Unix(0, then), time.Unix(0, max(now, then)), "ago", "")
}
