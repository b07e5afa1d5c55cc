package page

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/query/engine"
)

// doubtEntries is how many of each kind of doubt the state page shows.
const doubtEntries = 50

// statePage tells whether a view can be believed: who feeds it, and what of it is in doubt.
type statePage struct {
	pageFrame
	Hosts   []hostEntry
	NoHosts string // what it means that there is none, or no leader
	Doubts  []doubtList
}

// hostEntry is a session.
type hostEntry struct {
	Agent, Source, Role, State, Unsent string
	Coverage, How, Reason              string // how much is watched, by what, and why so
	Seen, SeenAt                       string
	Leader                             bool
	Troubles                           []string
}

// doubtList are the first entries of one kind of doubt.
type doubtList struct {
	Title, Meaning, Column, JSON string
	Entries                      []pageEntry
	More                         string
}

func (s *Pages) statePage(w http.ResponseWriter, r *http.Request, key access.Record) error {
	view := r.PathValue("view_id")
	if err := mayRead(key, view); err != nil {
		return err
	}
	v, err := s.engine.Newest(r.Context(), view)
	if err != nil {
		return err
	}
	now := s.engine.Now()
	page := statePage{pageFrame: frameOf(v, r, now, "/", "/sessions?")}
	page.Title, page.Footer.JSON = "State of "+view, "/api/v1/views/"+view+"/sessions"
	g, ctx := errgroup.WithContext(r.Context())
	g.Go(func() error {
		live, err := s.engine.Sessions(ctx, view)
		if err != nil {
			return err
		}
		page.Hosts, page.NoHosts = hostsOf(live, now)
		return nil
	})
	g.Go(func() (err error) {
		page.Doubts, err = doubtLists(ctx, v, now)
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	render(w, http.StatusOK, "state", page)
	return nil
}

// mayRead is an error 403 where a key is not for a view.
func mayRead(key access.Record, view string) error {
	if key.Views.Has(view) {
		return nil
	}
	return &httpapi.Error{Status: http.StatusForbidden, Detail: fmt.Sprintf("this API key is not for view %q", view),
		Hint: "ask the administrator of this Fustor for a key that is"}
}

// hostsOf are the sessions, the leader first, and what is to be said where none leads.
func hostsOf(live *engine.Sessions, now int64) (hosts []hostEntry, nobody string) {
	for i := range live.Active {
		hosts = append(hosts, hostOf(&live.Active[i], now))
	}
	slices.SortStableFunc(hosts, func(a, b hostEntry) int {
		switch {
		case a.Leader:
			return -1
		case b.Leader:
			return 1
		}
		return cmp.Or(strings.Compare(a.Agent, b.Agent), strings.Compare(a.Source, b.Source))
	})
	awake := slices.ContainsFunc(live.Active, func(s engine.Session) bool { return !s.Paused })
	switch {
	case len(live.Active) == 0:
		nobody = "No agent feeds this view: it shows what is known, and nothing new."
	case live.Leader == nil && !awake:
		nobody = "Nobody leads, as all are paused: nothing is scanned."
	case live.Leader == nil:
		nobody = "Nobody leads at the moment, so nothing is scanned; the next heartbeat of one that is not paused takes over."
	}
	return hosts, nobody
}

func hostOf(s *engine.Session, now int64) hostEntry {
	t := s.AgentStatus
	if t == nil {
		t = &pipeapi.AgentStatus{}
	}
	h := hostEntry{
		Agent: s.Agent, Role: s.Role, State: cmp.Or(t.State, "starting"), Coverage: cmp.Or(s.Coverage, "not told yet"), How: t.WatchMethod, Reason: t.WatchReason,
		Unsent: size(int64(t.BacklogBytes)), Source: s.Source, Seen: ago(now, int64(s.LastActivity)), SeenAt: exact(int64(s.LastActivity)),
		Leader: s.Role == "leader", Troubles: troublesOf(t),
	}
	if s.Paused {
		h.State = "paused"
	}
	return h
}

// troublesOf is what somebody should look after.
func troublesOf(t *pipeapi.AgentStatus) (out []string) {
	if t.RootLost != "" {
		out = append(out, "the tree is gone: "+t.RootLost)
	}
	if t.Hanging > 0 {
		out = append(out, fmt.Sprintf("the file server does not answer: %s, %s among them", plural(int64(t.Hanging), "path", "paths"), t.HangingPath))
	}
	if t.SpoolError != "" {
		out = append(out, "the spool takes nothing: "+t.SpoolError)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Tasks)) {
		out = append(out, "task "+name+" has failed: "+t.Tasks[name].Error)
	}
	for _, kind := range slices.Sorted(maps.Keys(t.ReadErrors)) {
		if of := t.ReadErrors[kind]; of.Count > 0 {
			out = append(out, fmt.Sprintf("%s could not be read (%s): %s", plural(int64(of.Count), "path", "paths"), kind, of.Example))
		}
	}
	return out
}

// doubtLists reads what is in doubt of the whole view.
func doubtLists(ctx context.Context, v *engine.Version, now int64) ([]doubtList, error) {
	root, err := v.Lookup(ctx, "/")
	if err != nil {
		return nil, err
	}
	of := func(d engine.Doubt, list doubtList, when func(*evidence.Row) int64) (doubtList, error) {
		n, _, err := v.Doubtful(ctx, root, d, nil, doubtEntries, func(r *evidence.Row) error {
			e := entryOf(v.Manifest.View, r, now)
			parent := strings.TrimSuffix(r.Parent, "/")
			e.Parent, e.ParentURL = parts(parent+"/"), browseURL(v.Manifest.View, parent)
			e.Modified, e.Exact = minute(when(r)), exact(when(r))
			e.Suspect, e.AgentMissing = false, false // the list says so
			if r.Removed {
				e.URL, e.Size = "", ""
			}
			list.Entries = append(list.Entries, e)
			return nil
		})
		list.Title = count(n) + " " + list.Title
		if rest := n - int64(len(list.Entries)); rest > 0 {
			list.More = "and " + count(rest) + " more"
		}
		return list, err
	}
	api := "/api/v1/views/" + v.Manifest.View
	suspect, err := of(engine.Suspects(now), doubtList{Title: "may still be written to", Column: "Modified (UTC)", JSON: api + "/suspect-list",
		Meaning: "They changed a moment ago, and nobody has seen them closed since."}, func(r *evidence.Row) int64 { return r.MtimeNs })
	if err != nil {
		return nil, err
	}
	found := func(r *evidence.Row) int64 { return r.ObservedAt }
	added, err := of(engine.BlindSpots(false), doubtList{Title: "found by looking", Column: "Found (UTC)", JSON: api + "/blind-spots",
		Meaning: "They are there or changed, but the kernel of no host with an agent reported it: somebody writes from a host without one, or while its agent was away."}, found)
	if err != nil {
		return nil, err
	}
	gone, err := of(engine.BlindSpots(true), doubtList{Title: "found gone", Column: "Found (UTC)", JSON: api + "/blind-spots",
		Meaning: "They were deleted or moved, and no kernel reported that."}, found)
	if err != nil {
		return nil, err
	}
	return []doubtList{suspect, added, gone}, nil
}
