package page

import (
	"cmp"
	"context"
	"errors"
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
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
)

// uncertainEntries is how many entries of each list the state page shows.
const uncertainEntries = 50

// statePage shows how far a view can be trusted: which agents feed it, and which entries are uncertain.
type statePage struct {
	pageFrame
	Agents    []agentEntry
	Refused   []refusedEntry
	NoLeader  string // what follows from having no agent, or no leader; empty: there is one
	Uncertain []uncertainList
}

// agentEntry is the session of an agent.
type agentEntry struct {
	Agent, Source, Role, State, Unsent string
	Coverage, Method, Reason           string // how much is watched, by which kernel interface, and why
	Seen, SeenAt                       string
	Scan                               string // how far the scan is that runs; empty: none
	Leader                             bool
	Problems                           []string
}

// refusedEntry is a segment that was refused, as a whole or in part.
type refusedEntry struct{ Agent, Segment, Reason, What, At, AtExact string }

func refusedEntries(all []engine.Refusal, now int64) (out []refusedEntry) {
	for _, r := range all {
		what := "refused, and its session ended"
		if r.Names > 0 {
			what = values.Plural(int64(r.Names), "new name", "new names") + " left out"
		}
		out = append(out, refusedEntry{r.Agent, r.Segment, r.Reason, what, ago(now, int64(r.At)), exact(int64(r.At))})
	}
	return out
}

// uncertainList is one kind of uncertain entries: how many there are, and the first of them.
type uncertainList struct {
	Title, Count, Meaning, Column, JSON string
	Entries                             []pageEntry
	More                                string
}

func (s *Pages) statePage(w http.ResponseWriter, r *http.Request, _ access.Record) error {
	view := r.PathValue("view_id")
	if err := access.CheckView(r.Context(), view); err != nil {
		return err
	}
	if isUser(r.Context()) {
		return &httpapi.Error{Status: http.StatusForbidden, Detail: "This page is for those who may see everything.", Hint: "It names agents and paths whatever file permissions say."}
	}
	v, err := s.engine.Newest(r.Context(), view)
	var of *engine.ForestError
	if errors.As(err, &of) { // its page shows how its members fare
		http.Redirect(w, r, pathURL(view, "/"), http.StatusSeeOther)
		return nil
	}
	if err != nil {
		return err
	}
	now := s.engine.Now()
	page := statePage{pageFrame: s.frameOf(v, link{view: view}, r, now, "/", "/sessions?")}
	page.Title, page.Footer.JSON = "State of "+view, "/api/v1/views/"+view+"/sessions"
	g, ctx := errgroup.WithContext(r.Context())
	g.Go(func() error {
		live, err := s.engine.Sessions(ctx, view)
		if err != nil {
			return err
		}
		page.Agents, page.NoLeader = agentsOf(live, now)
		page.Refused = refusedEntries(live.Refused, now)
		return nil
	})
	g.Go(func() (err error) {
		page.Uncertain, err = uncertainLists(ctx, v, now)
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	render(w, http.StatusOK, "state", page)
	return nil
}

// agentsOf lists the sessions, the leader first, and says what follows if none leads.
func agentsOf(live *engine.Sessions, now int64) (agents []agentEntry, noLeader string) {
	for i := range live.Active {
		agents = append(agents, agentOf(&live.Active[i], now))
	}
	slices.SortStableFunc(agents, func(a, b agentEntry) int {
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
		noLeader = "No agent is connected to this view. It shows the last known state; new changes do not arrive."
	case live.Leader == nil && !awake:
		noLeader = "No agent leads this view, because all agents are paused. Nothing is scanned until one resumes."
	case live.Leader == nil:
		noLeader = "No agent leads this view at the moment, so nothing is scanned. An agent that is not paused takes over with its next heartbeat."
	}
	return agents, noLeader
}

// stateWords are the states of an agent that do not say by their names what it is doing.
var stateWords = map[string]string{
	"initializing": "connecting", "running": "watching", "snapshot": "first scan", "message": "watching", "draining": "stopping",
}

func agentOf(s *engine.Session, now int64) agentEntry {
	t := s.AgentStatus
	if t == nil {
		t = &pipeapi.AgentStatus{}
	}
	a := agentEntry{
		Agent: s.Agent, Role: s.Role, State: cmp.Or(stateWords[t.State], t.State, "starting"), Coverage: cmp.Or(s.Coverage, "not reported yet"), Method: t.WatchMethod, Reason: t.WatchReason,
		Unsent: size(int64(t.BacklogBytes)), Source: s.Source, Seen: ago(now, int64(s.LastActivity)), SeenAt: exact(int64(s.LastActivity)),
		Leader: s.Role == "leader", Problems: problemsOf(t),
	}
	if scan := t.Progress(); scan != nil {
		a.Scan = scan.String()
	}
	if s.Silence != nil {
		a.Problems = slices.Insert(a.Problems, 0, silenceOf(s, now))
	}
	if s.Paused {
		a.State = "paused"
	}
	return a
}

// silenceOf says that a session gets nothing done, or lost the lease for that.
func silenceOf(s *engine.Session, now int64) string {
	since := ago(now, int64(s.Silence.Since))
	if s.Role == "leader" {
		return fmt.Sprintf("it leads, and last got something done %s: %s", since, s.Silence.Reason)
	}
	return fmt.Sprintf("it lost the lease, as it last got something done %s: %s", since, s.Silence.Reason)
}

// problemsOf are the problems of an agent that need an administrator.
func problemsOf(t *pipeapi.AgentStatus) (out []string) {
	if t.RootLost != "" {
		out = append(out, "The root directory is not available: "+t.RootLost)
	}
	if t.Hanging > 0 {
		out = append(out, fmt.Sprintf("The file server does not respond for %s, for example %s", values.Plural(t.Hanging, "path", "paths"), t.HangingPath))
	}
	if t.SpoolError != "" {
		out = append(out, "Cannot write to the spool: "+t.SpoolError)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Tasks)) {
		out = append(out, "Task "+name+" failed: "+t.Tasks[name].Error)
	}
	for _, kind := range slices.Sorted(maps.Keys(t.ReadErrors)) {
		if of := t.ReadErrors[kind]; of.Count > 0 {
			out = append(out, fmt.Sprintf("Cannot read %s (%s), for example %s", values.Plural(of.Count, "path", "paths"), kind, of.Example))
		}
	}
	return out
}

// uncertainLists reads the uncertain entries of the whole view.
func uncertainLists(ctx context.Context, v *engine.Version, now int64) ([]uncertainList, error) {
	root, err := v.Lookup(ctx, "/")
	if err != nil {
		return nil, err
	}
	of := func(d engine.DoubtKind, list uncertainList, when func(*evidence.Row) int64) (uncertainList, error) {
		names, err := v.Names(ctx)
		if err != nil {
			return list, err
		}
		n, _, err := v.Doubtful(ctx, root, d, nil, uncertainEntries, func(r *evidence.Row) error {
			e := entryOf(link{view: v.Manifest.View}, names, r, now)
			parent := strings.TrimSuffix(r.Parent, "/")
			e.Parent, e.ParentURL = parts(parent+"/"), pathURL(v.Manifest.View, parent)
			e.Modified, e.Exact = minute(when(r)), exact(when(r))
			e.Suspect, e.AgentMissing = false, false // the list says so
			if r.Removed {
				e.URL, e.Size = "", ""
			}
			list.Entries = append(list.Entries, e)
			return nil
		})
		list.Count = count(n)
		if rest := n - int64(len(list.Entries)); rest > 0 {
			list.More = count(rest) + " more"
		}
		return list, err
	}
	api := "/api/v1/views/" + v.Manifest.View
	suspect, err := of(engine.Suspects(now), uncertainList{Title: "Files that may still be written to", Column: "Modified (UTC)", JSON: api + "/suspect-list",
		Meaning: "Files that changed recently and that no agent has seen closed since. Wait before you copy them."}, func(r *evidence.Row) int64 { return r.MtimeNs })
	if err != nil {
		return nil, err
	}
	found := func(r *evidence.Row) int64 { return r.ObservedAt }
	added, err := of(engine.BlindSpots(false), uncertainList{Title: "Changes that no agent reported", Column: "Found (UTC)", JSON: api + "/blind-spots",
		Meaning: "A scan found these entries new or changed, but no agent reported the change when it happened. Either a host without an agent wrote them, or its agent was not running."}, found)
	if err != nil {
		return nil, err
	}
	gone, err := of(engine.BlindSpots(true), uncertainList{Title: "Deletions that no agent reported", Column: "Found (UTC)", JSON: api + "/blind-spots",
		Meaning: "A scan found that these entries no longer exist, but no agent reported that they were deleted or moved."}, found)
	if err != nil {
		return nil, err
	}
	return []uncertainList{suspect, added, gone}, nil
}
