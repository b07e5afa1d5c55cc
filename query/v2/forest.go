package v2

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/v2api"
	"github.com/fustor/fustor/internal/values"
)

// ErrForest is the error of opening a view that has members: V2 answers its tree and its stats, by member.
var ErrForest = errors.New("the view is a forest")

// Member is a member of a forest, and what it has at a path.
type Member struct {
	View    string
	Version Version
	Row     *evidence.Row
	Error   string // why there is no row; empty: there is
}

// memberTime is how long the tree of one member may take, from its first row to its last.
const memberTime = 2 * time.Minute

// best is the member that has the most, by a strategy; the first of several that have as much, and nil if none answers.
func best(members []Member, strategy string) (b *v2api.Best) {
	for _, m := range members {
		if m.Error != "" {
			continue
		}
		stats := statsOf(m)
		value := float64(*stats.Files)
		switch strategy {
		case "total_size":
			value = float64(*stats.Bytes)
		case "latest_mtime":
			value = float64(*stats.LatestMtime) / 1e9
		}
		if b == nil || value > b.Value {
			b = &v2api.Best{View: m.View, Reason: strategy, Value: value}
		}
	}
	return b
}

func statsOf(m Member) v2api.MemberStats {
	if m.Error != "" {
		return v2api.MemberStats{View: m.View, Status: "error", Error: m.Error}
	}
	sums := m.Row.Own()
	if m.Row.Type == event.Directory {
		sums = m.Row.Sub
	}
	files, latest := sums.Files+sums.Others, values.Seconds(0)
	if sums.LatestMtimeNs != evidence.NoMtime {
		latest = values.Seconds(sums.LatestMtimeNs)
	}
	return v2api.MemberStats{View: m.View, Status: "ok", Files: &files, Directories: &sums.Directories, Bytes: &sums.Bytes, LatestMtime: &latest}
}

// strategy reads the parameter best.
func (p *params) strategy() string {
	s, given := p.get("best")
	switch {
	case !given || s == "file_count" || s == "total_size" || s == "latest_mtime":
		return s
	}
	p.fail("enum", "Input should be 'file_count', 'total_size' or 'latest_mtime'", "best", s)
	return ""
}

func (a *API) forestStats(w http.ResponseWriter, r *http.Request, view string) error {
	q := paramsOf(r)
	clean, known := q.path()
	by, scan := q.strategy(), q.boolean("on_demand_scan", false)
	if q.err != nil {
		return q.err
	}
	if !known {
		return noPath(clean)
	}
	if by == "" {
		by = "file_count"
	}
	members, err := a.views.Forest(r.Context(), view, clean)
	if err != nil {
		return err
	}
	answer := v2api.ForestStats{Path: v2api.Text(clean), Members: []v2api.MemberStats{}, Best: best(members, by)}
	for _, m := range members {
		answer.Members = append(answer.Members, statsOf(m))
	}
	if scan {
		answer.Jobs = a.scanMembers(r.Context(), members, clean, true)
	}
	httpapi.WriteJSON(w, r, http.StatusOK, answer)
	return nil
}

// scanMembers asks each member for a scan, and returns the jobs by member. A member that nobody leads has none.
func (a *API) scanMembers(ctx context.Context, members []Member, path string, recursive bool) map[string]string {
	jobs := map[string]string{}
	for _, m := range members {
		if m.Version == nil {
			continue
		}
		if job, err := a.views.Scan(ctx, m.View, path, recursive); err == nil && job != "" {
			jobs[m.View] = job
		}
	}
	return jobs
}

// forestTree answers the trees of the members, one after the other; with best, that of one. A member that cannot answer has a status,
// and so has one whose tree is too large.
func (a *API) forestTree(w http.ResponseWriter, r *http.Request, view string, c treeCall, by string, scan bool) error {
	members, err := a.views.Forest(r.Context(), view, c.path)
	if err != nil {
		return err
	}
	out := &stream{w: w, buffer: []byte(`{"path":"`)}
	out.buffer = append(v2api.Text(c.path).Append(out.buffer), '"')
	if scan {
		out.buffer = appendJSON(append(out.buffer, `,"job_id":`...), a.scanMembers(r.Context(), members, c.path, c.depth != 0))
	}
	if by != "" {
		chosen := best(members, by)
		if chosen == nil {
			out.buffer = append(out.buffer, `,"members":{},"detail":"No valid members found for best view selection"}`...)
			return out.finish(nil)
		}
		out.buffer = appendJSON(append(out.buffer, `,"best_view_selected":`...), chosen)
		for _, m := range members {
			if m.View == chosen.View {
				members = []Member{m}
				break
			}
		}
	}
	out.buffer = append(out.buffer, `,"members":{`...)
	for i, m := range members {
		if i > 0 {
			out.buffer = append(out.buffer, ',')
		}
		out.buffer = append(appendJSON(out.buffer, m.View), ':')
		if err := a.memberTree(r.Context(), out, m, c); err != nil {
			return out.finish(err)
		}
	}
	out.buffer = append(out.buffer, `}}`...)
	return out.finish(nil)
}

func (a *API) memberTree(ctx context.Context, out *stream, m Member, c treeCall) error {
	ctx, cancel := context.WithTimeout(ctx, memberTime)
	defer cancel()
	if m.Error == "" {
		if err := a.checkSize(ctx, m.Version, m.View, m.Row, c.depth); err != nil {
			m.Error = httpapi.Explain(ctx, err).Detail
		}
	}
	if m.Error != "" {
		out.buffer = appendJSON(out.buffer, v2api.MemberFailed{Status: "error", Error: m.Error})
		return nil
	}
	out.buffer = append(out.buffer, `{"status":"ok","data":`...)
	if err := a.writeTree(ctx, out, m.Version, m.Row, c); err != nil {
		return err
	}
	out.buffer = append(out.buffer, '}')
	return nil
}
