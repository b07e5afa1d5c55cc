package query

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/problem"
)

// jobState is one on-demand scan, or one command to a session, as readers see it.
type jobState struct {
	ID        string `json:"job_id"`
	View      string `json:"view_id"`
	Command   string `json:"command"`                     // scan, pause, resume, stop, reload
	Target    string `json:"target_session_id,omitempty"` // that is meant, where it is not whoever leads
	By        string `json:"requested_by,omitempty"`
	Note      string `json:"note,omitempty"`
	Path      string `json:"path"`
	PathB64   string `json:"path_b64,omitempty"`
	Recursive bool   `json:"recursive"`
	// State is queued, running, folding (scanned, and not all of it in the view yet), done or failed.
	State       string          `json:"state"`
	Error       string          `json:"error,omitempty"`
	Files       uint64          `json:"files"`
	Directories uint64          `json:"directories"`
	Errors      uint64          `json:"errors"`
	Session     string          `json:"session_id,omitempty"` // that scans
	RequestedAt values.Seconds  `json:"requested_at"`
	StartedAt   *values.Seconds `json:"started_at"`
	FinishedAt  *values.Seconds `json:"finished_at"`
}

// stateOf is a job as version m knows it.
func stateOf(j *job.Job, m *manifest.Manifest) jobState {
	s := jobState{
		ID: j.ID, View: j.View, Recursive: j.Recursive, State: string(j.State), Error: j.Error, Files: j.Files,
		Directories: j.Directories, Errors: j.Errors, Session: j.Runner, RequestedAt: values.Seconds(j.RequestedAt),
		Command: cmp.Or(j.Kind, job.Scan), Target: j.Target, By: j.By, Note: j.Note,
	}
	s.Path, s.PathB64 = values.PathFields(string(j.Path))
	at := func(ns int64) *values.Seconds {
		if ns == 0 {
			return nil
		}
		t := values.Seconds(ns)
		return &t
	}
	s.StartedAt, s.FinishedAt = at(j.StartedAt), at(j.FinishedAt)
	if j.State == job.Done && s.Command == job.Scan && !jobFolded(j, m) {
		s.State = "folding"
	}
	return s
}

// jobFolded reports whether the results of a job that is done are in a version. A session that has left the manifest is
// folded to its end.
func jobFolded(j *job.Job, m *manifest.Manifest) bool {
	if j.LastSeq < 0 {
		return true
	}
	p, there := m.Sessions[j.Runner]
	return !there || p.Broken || p.Next > uint64(j.LastSeq)
}

type jobsAnswer struct {
	View  string     `json:"view_id"`
	Jobs  []jobState `json:"jobs"`
	Count int        `json:"count"`
}

// jobs answers the view's on-demand scans, the newest first.
func (s *Server) jobs(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	limit := int(q.Int("limit", 100, 1, 1000))
	if err := q.Err(); err != nil {
		return err
	}
	m, err := s.begun(r, view)
	if err != nil {
		return err
	}
	all, err := job.List(r.Context(), s.engine.Store(), view)
	if err != nil {
		return err
	}
	states := []jobState{}
	all = all[:min(limit, len(all))]
	if err := s.endLost(r.Context(), view, all); err != nil {
		return err
	}
	for _, j := range all {
		states = append(states, stateOf(j, m))
	}
	httpapi.WriteJSON(w, r, http.StatusOK, jobsAnswer{view, states, len(states)})
	return nil
}

// showJob answers one on-demand scan.
func (s *Server) showJob(w http.ResponseWriter, r *http.Request, view string) error {
	if err := httpapi.Query(r).Err(); err != nil {
		return err
	}
	m, err := s.begun(r, view)
	if err != nil {
		return err
	}
	j, err := job.Get(r.Context(), s.engine.Store(), view, r.PathValue("job_id"))
	if errors.Is(err, job.ErrNotFound) {
		return &httpapi.Error{Status: http.StatusNotFound, Detail: "there is no such job", Hint: "jobs are kept for a day after they end; /jobs lists them"}
	}
	if err != nil {
		return err
	}
	if err := s.endLost(r.Context(), view, []*job.Job{j}); err != nil {
		return err
	}
	httpapi.WriteJSON(w, r, http.StatusOK, stateOf(j, m))
	return nil
}

// endLost shows commands as failed whose session has ended: ingest notices that only once somebody's heartbeat has it look.
func (s *Server) endLost(ctx context.Context, view string, jobs []*job.Job) error {
	lost := func(j *job.Job) bool { return j.Target != "" && !j.State.Ended() }
	if !slices.ContainsFunc(jobs, lost) {
		return nil
	}
	live, err := s.engine.Sessions(ctx, view)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if lost(j) && !slices.ContainsFunc(live.Active, func(s engine.Session) bool { return s.ID == j.Target }) {
			j.State, j.Error = job.Failed, "the session ended before it carried out the command"
		}
	}
	return nil
}

// begun is the view's newest version, complete or not; an empty one where an agent has begun and nothing is folded yet.
func (s *Server) begun(r *http.Request, view string) (*manifest.Manifest, error) {
	m, err := s.engine.Head(r.Context(), view)
	var begun *engine.NotReadyError
	if errors.As(err, &begun) {
		return &manifest.Manifest{View: view}, nil
	}
	return m, err
}

// scan asks the view's leader to look at a path. A scan of the same path, or of one above it, that waits already does.
func (s *Server) scan(r *http.Request, view, path string, recursive bool) (*job.Job, error) {
	leader, err := s.engine.Leader(r.Context(), view)
	if err != nil {
		return nil, err
	}
	if leader == "" {
		return nil, &httpapi.Error{Status: http.StatusServiceUnavailable, RetryAfter: problem.RetryAfter, Passing: true,
			Detail: "no agent leads the view at the moment, so no scan can run", Hint: "start an agent, or leave out on_demand_scan; /sessions shows the agents of the view"}
	}
	waiting, err := job.List(r.Context(), s.engine.Store(), view)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(waiting, func(j *job.Job) bool {
		return j.State == job.Queued && j.Target == "" && (string(j.Path) == path && (j.Recursive || !recursive) || j.Recursive && contains(string(j.Path), path))
	}); i >= 0 {
		return waiting[i], nil
	}
	if open := countOpen(waiting); open >= maxOpenJobs {
		return nil, &httpapi.Error{Status: http.StatusTooManyRequests, RetryAfter: problem.RetryAfter,
			Detail: "too many scans of this view are waiting", Hint: "try again when some are done; /jobs lists them"}
	}
	j, err := job.Create(r.Context(), s.engine.Store(), view, leader, path, recursive, s.engine.Now(), rand.Reader)
	return j, err
}

// maxOpenJobs bounds the scans that wait for a view's leader.
const maxOpenJobs = 100

func countOpen(jobs []*job.Job) (n int) {
	for _, j := range jobs {
		if !j.State.Ended() {
			n++
		}
	}
	return n
}

func contains(dir, path string) bool {
	return dir == "/" || dir == path || strings.HasPrefix(path, dir+"/")
}
