package page

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
	"github.com/fustor/fustor/query/problem"
)

// forestPage shows a path in all members of a forest, with how each of them fares.
type forestPage struct {
	pageFrame
	Crumbs  []crumb
	Totals  *pageTotals
	Members []memberEntry
}

// memberEntry is a member of a forest and what it has at a path.
type memberEntry struct {
	Name, URL, StateURL       string
	Size, Bytes, Files        string
	Latest, Observed, Problem string
	Unreadable                string // how much could not be read; empty: all was
}

func (s *Pages) forestPage(w http.ResponseWriter, r *http.Request, of *engine.ForestError, at link, key access.Record, path string) error {
	fo, err := s.forests.Open(r.Context(), of, at.which, key.Views.Has)
	if fo == nil {
		return err
	}
	var rows []*evidence.Row
	if err == nil {
		rows, err = forest.Ask(r.Context(), fo, forest.Deadline, func(ctx context.Context, m *forest.Member) (*evidence.Row, error) {
			return m.Version.Lookup(ctx, path)
		})
	}
	if r.Context().Err() != nil || len(fo.Members) == 0 || err != nil && path != "/" {
		return err
	}
	now := s.engine.Now()
	page := forestPage{pageFrame: s.forestFrame(at, r, path, "/stats?"), Crumbs: crumbs(at, path)}
	all := evidence.Totals{LatestMtimeNs: evidence.NoMtime}
	for i, m := range fo.Members {
		e := memberEntry{Name: m.View, StateURL: "/state/" + m.View}
		if isUser(r.Context()) {
			e.StateURL = ""
		}
		if m.Status != forest.OK {
			e.Problem = problemOf(r.Context(), m)
			page.Members = append(page.Members, e)
			continue
		}
		row := rows[i]
		totals := row.Own()
		if row.Type == event.Directory {
			if err := m.Version.Sum(r.Context(), row); err != nil { // of a user
				return err
			}
			totals = row.Sub
		}
		all = all.Plus(totals)
		e.URL, e.Observed = browseURL(link{m.View, at.which}, path), ago(now, m.Version.Manifest.ObservedAt)
		e.Size, e.Bytes, e.Files = sum(totals.Bytes), count(totals.Bytes), count(totals.Files)
		if totals.LatestMtimeNs != evidence.NoMtime {
			e.Latest = minute(totals.LatestMtimeNs)
		}
		e.Unreadable = unreadable(r.Context(), m.Version, path)
		page.Members = append(page.Members, e)
	}
	page.Totals = totalsOf(all)
	render(w, http.StatusOK, "forest", page)
	return nil
}

// forestSearch shows the hits of a search in all members.
func (s *Pages) forestSearch(w http.ResponseWriter, r *http.Request, q *httpapi.Params, of *engine.ForestError, at link, key access.Record, path string) error {
	text := q.String("q", "")
	_, wanted, err := s.filters(q, time.Unix(0, s.engine.Now()), text, path)
	if err != nil {
		return err
	}
	limit, cursor, err := pageParams(q)
	if err != nil {
		return err
	}
	fo, p, err := s.forests.OpenPage(r.Context(), of, at.which, key.Views.Has, cursor, limit, append(wanted, "found")...)
	if err != nil {
		return err
	}
	now := s.engine.Moment(at.which, nil)
	search, _, err := s.filters(q, time.Unix(0, now), text, path) // ages count from then
	if err != nil {
		return err
	}
	page := searchPage{pageFrame: s.forestFrame(at, r, path, "/search?pattern="+url.QueryEscape(text)+"&")}
	page.Title, page.Query = "“"+text+"”", text
	if path != "/" {
		page.Where = parts(path)
	}
	end, err := fo.Rows(r.Context(), forest.Question{
		Ask: func(ctx context.Context, v *engine.Version, after *engine.Position, limit int, out engine.Emit) (*engine.Position, error) {
			return v.Search(ctx, search, after, limit, out)
		}}, p, func(m *forest.Member, row *evidence.Row) error {
		names, err := m.Version.Names(r.Context())
		if err != nil {
			return err
		}
		e := entryOf(link{m.View, at.which}, names, row, now)
		parent := strings.TrimSuffix(row.Parent, "/")
		e.Member, e.MemberURL = m.View, browseURL(link{m.View, at.which}, "/")
		e.Parent, e.ParentURL = parts(parent+"/"), browseURL(link{m.View, at.which}, parent)
		page.Entries = append(page.Entries, e)
		return nil
	})
	if err != nil {
		return err
	}
	page.Summary = summary(len(page.Entries), end != nil, p.After != nil)
	var lacking []string
	for _, m := range fo.Members {
		if !m.Status.Answered() {
			page.Missing = append(page.Missing, m.View+": "+problemOf(r.Context(), m))
		} else if m.Status == forest.OK {
			if text := unreadable(r.Context(), m.Version, path); text != "" {
				lacking = append(lacking, m.View+": "+text)
			}
		}
	}
	page.Unreadable = strings.Join(lacking, ", ")
	if n := len(page.Missing); n > 0 {
		page.Incomplete = fmt.Sprintf("Not complete: %d of %s did not answer.", n, values.Plural(len(fo.Members), "member", "members"))
	}
	if next := p.Next(fo, end); next != "" {
		page.NextURL = nextURL(r, at, path, next)
	}
	render(w, http.StatusOK, "found", page)
	return nil
}

// problemOf says why a member does not answer, or that it has no such path.
func problemOf(ctx context.Context, m *forest.Member) string {
	if m.Status == forest.Absent {
		return "no such path"
	}
	return httpapi.Explain(ctx, problem.Of(m.View, m.Err)).Detail
}

// forestFrame is frameOf for a forest, which has no version of its own.
func (s *Pages) forestFrame(at link, r *http.Request, path, call string) pageFrame {
	param := "path=" + url.QueryEscape(path)
	if _, b64 := values.PathFields(path); b64 != "" {
		param = "path_b64=" + b64
	}
	view := at.view
	_, err := r.Cookie(keyCookie)
	f := pageFrame{Title: readable(path), View: view, ViewURL: browseURL(at, "/"), Here: pathURL(view, path), Forest: true, AsOf: at.asOf(), NowURL: pathURL(view, path), Cookie: err == nil, Admin: s.administration(r.Context()),
		Footer: pageFooter{JSON: "/api/v1/views/" + view + call + param + at.param()}}
	if path == "/" {
		f.Title = view
	}
	return f
}
