package query

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
	"github.com/fustor/fustor/query/problem"
)

// jobAnswer is one on-demand scan, or one command to a session, as /jobs answers it.
type jobAnswer struct {
	ID        string `json:"job_id"`
	View      string `json:"view_id"`
	Command   string `json:"command"`                     // scan, pause, resume, stop, reload
	Target    string `json:"target_session_id,omitempty"` // the session that a command is for; empty: the leader's
	By        string `json:"requested_by,omitempty"`
	Note      string `json:"note,omitempty"`
	Path      string `json:"path"`
	PathB64   string `json:"path_b64,omitempty"`
	Recursive bool   `json:"recursive"`
	// State is queued, running, folding (the scan is complete, but not all of its results are in the view yet), done or failed.
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

// jobAnswerOf is a job as of version m.
func jobAnswerOf(j *job.Job, m *manifest.Manifest) jobAnswer {
	s := jobAnswer{
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

// jobFolded reports whether a version has all results of a job that is done. A session that is no longer in the manifest is folded to
// its end.
func jobFolded(j *job.Job, m *manifest.Manifest) bool {
	if j.LastSeq < 0 {
		return true
	}
	p, there := m.Sessions[j.Runner]
	return !there || p.Broken || p.Next > uint64(j.LastSeq)
}

type jobsAnswer struct {
	View  string      `json:"view_id"`
	Jobs  []jobAnswer `json:"jobs"` // each has its view
	Count int         `json:"count"`
	forestAnswer
}

// jobs answers the on-demand scans and commands of a view, the newest first.
func (s *Server) jobs(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	limit := int(q.Int("limit", 100, 1, 1000))
	if err := q.Err(); err != nil {
		return err
	}
	states, err := s.jobsOf(r.Context(), view, limit)
	var of *engine.ForestError
	if errors.As(err, &of) {
		return s.jobsOfForest(w, r, of, limit)
	}
	if err != nil {
		return err
	}
	httpapi.WriteJSON(w, r, http.StatusOK, jobsAnswer{View: view, Jobs: states, Count: len(states)})
	return nil
}

func (s *Server) jobsOf(ctx context.Context, view string, limit int) ([]jobAnswer, error) {
	m, err := s.headOrEmpty(ctx, view)
	if err != nil {
		return nil, err
	}
	all, err := job.List(ctx, s.engine.Store(), view)
	if err != nil {
		return nil, err
	}
	states := []jobAnswer{}
	all = slices.DeleteFunc(all, func(j *job.Job) bool { return !maySeeJob(ctx, j) })
	all = all[:min(limit, len(all))]
	if err := s.failLostCommands(ctx, view, all); err != nil {
		return nil, err
	}
	for _, j := range all {
		states = append(states, jobAnswerFor(ctx, j, m))
	}
	return states, nil
}

// jobsOfForest answers the jobs of all members, the newest first.
func (s *Server) jobsOfForest(w http.ResponseWriter, r *http.Request, of *engine.ForestError, limit int) error {
	fo, err := s.forests.Members(r.Context(), of, s.mayRead(r.Context()))
	if err != nil {
		return err
	}
	lists, err := forest.Ask(r.Context(), fo, forest.Deadline, func(ctx context.Context, m *forest.Member) ([]jobAnswer, error) {
		return s.jobsOf(ctx, m.View, limit)
	})
	if err != nil {
		return err
	}
	jobs := append([]jobAnswer{}, slices.Concat(lists...)...)
	slices.SortStableFunc(jobs, func(a, b jobAnswer) int { return cmp.Compare(b.RequestedAt, a.RequestedAt) })
	jobs = jobs[:min(limit, len(jobs))]
	setMembers(w.Header(), fo)
	httpapi.WriteJSON(w, r, http.StatusOK, jobsAnswer{of.View, jobs, len(jobs), (&subject{view: of.View, forest: fo}).forestAnswer(r.Context())})
	return nil
}

// showJob answers one of them.
func (s *Server) showJob(w http.ResponseWriter, r *http.Request, view string) error {
	if err := httpapi.Query(r).Err(); err != nil {
		return err
	}
	_, answer, err := s.readJob(r.Context(), view, r.PathValue("job_id"))
	var of *engine.ForestError
	if errors.As(err, &of) {
		answer, err = s.jobInForest(w, r, of)
	}
	if err != nil {
		return err
	}
	httpapi.WriteJSON(w, r, http.StatusOK, answer)
	return nil
}

// errNoJob: the view has no such job.
var errNoJob = &httpapi.Error{Status: http.StatusNotFound, Detail: "there is no such job", Hint: "jobs are kept for a day after they end; /jobs lists them"}

// jobInForest looks for a job in all members.
func (s *Server) jobInForest(w http.ResponseWriter, r *http.Request, of *engine.ForestError) (found jobAnswer, err error) {
	fo, err := s.forests.Members(r.Context(), of, s.mayRead(r.Context()))
	if err != nil {
		return found, err
	}
	answers, err := forest.Ask(r.Context(), fo, forest.Deadline, func(ctx context.Context, m *forest.Member) (jobAnswer, error) {
		_, a, err := s.readJob(ctx, m.View, r.PathValue("job_id"))
		if errors.Is(err, errNoJob) {
			err = nil
		}
		return a, err
	})
	if err != nil {
		return found, err
	}
	setMembers(w.Header(), fo)
	for _, a := range answers {
		if a.ID != "" {
			return a, nil
		}
	}
	return found, errNoJob
}

// readJob reads a job, and what /jobs says of it.
func (s *Server) readJob(ctx context.Context, view, id string) (j *job.Job, a jobAnswer, err error) {
	m, err := s.headOrEmpty(ctx, view)
	if err != nil {
		return nil, a, err
	}
	j, err = job.Get(ctx, s.engine.Store(), view, id)
	if errors.Is(err, job.ErrNotFound) || err == nil && !maySeeJob(ctx, j) {
		return nil, a, errNoJob
	}
	if err == nil {
		err = s.failLostCommands(ctx, view, []*job.Job{j})
	}
	if err != nil {
		return nil, a, err
	}
	return j, jobAnswerFor(ctx, j, m), nil
}

// failLostCommands shows commands whose session has ended as failed. Ingest records that only at the next heartbeat of any session.
func (s *Server) failLostCommands(ctx context.Context, view string, jobs []*job.Job) error {
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

// headOrEmpty is the newest manifest of a view, complete or not; an empty one if agents have started and nothing is folded yet.
func (s *Server) headOrEmpty(ctx context.Context, view string) (*manifest.Manifest, error) {
	m, err := s.engine.Head(ctx, view)
	var begun *engine.NotReadyError
	if errors.As(err, &begun) {
		return &manifest.Manifest{View: view}, nil
	}
	return m, err
}

// errNoScan answers a scan of a view without a leader.
var errNoScan = &httpapi.Error{Status: http.StatusServiceUnavailable, RetryAfter: problem.RetryAfter, Passing: true,
	Detail: "no agent leads the view at the moment, so no scan can run", Hint: "start an agent, or leave out on_demand_scan; /sessions shows the agents of the view"}

// maySeeJob: a user sees the scans that this user asked for, and no other jobs.
func maySeeJob(ctx context.Context, j *job.Job) bool {
	who, restricted := engine.ReaderOf(ctx)
	return !restricted || isScanOf(j, who.UID)
}

func isScanOf(j *job.Job, uid uint32) bool { return j.UID != nil && *j.UID == uid && j.Target == "" }

// jobAnswerFor is jobAnswerOf for who asks: what a scan found, and where it failed, may be hidden from its user.
func jobAnswerFor(ctx context.Context, j *job.Job, m *manifest.Manifest) jobAnswer {
	a := jobAnswerOf(j, m)
	if _, restricted := engine.ReaderOf(ctx); restricted {
		a.Files, a.Directories, a.Errors, a.Session, a.Note = 0, 0, 0, "", ""
		if a.Error != "" {
			a.Error = "the scan failed; an administrator sees why"
		}
	}
	return a
}

// mayScan is an error unless a user may ask for one more scan. waiting are the jobs of the view.
func (s *Server) mayScan(ctx context.Context, view string, waiting []*job.Job) error {
	who, restricted := engine.ReaderOf(ctx)
	if !restricted {
		return nil
	}
	config, err := s.engine.Settings(ctx, view)
	if err != nil {
		return err
	}
	if config.UserScans == 0 {
		return &httpapi.Error{Status: http.StatusForbidden, Detail: "users may not request scans of this view", Hint: "leave out on_demand_scan; the next audit finds what the agents missed"}
	}
	const window = time.Hour
	now := s.engine.Now()
	var asked []int64 // the newest first
	for _, j := range waiting {
		if isScanOf(j, who.UID) && j.RequestedAt > now-int64(window) {
			asked = append(asked, j.RequestedAt)
		}
	}
	if len(asked) >= config.UserScans {
		until := time.Duration(asked[config.UserScans-1] + int64(window) - now).Round(time.Second)
		return &httpapi.Error{Status: http.StatusTooManyRequests, RetryAfter: max(until, time.Second),
			Detail: fmt.Sprintf("you have requested %d scans of this view within an hour, and more are not allowed", len(asked)), Hint: "try again later; one scan of a directory covers everything below it"}
	}
	return nil
}

// requestScan asks the leader of a view to scan a path. If a scan that covers the path is queued already, it returns that one; to a user
// only one of the same user. Whether that user sees the path, the caller asks (engine.Version.MayScan).
func (s *Server) requestScan(ctx context.Context, view, path string, recursive bool) (*job.Job, error) {
	leader, err := s.engine.LeaderNow(ctx, view)
	if err != nil {
		return nil, err
	}
	if leader == "" {
		return nil, errNoScan
	}
	waiting, err := job.List(ctx, s.engine.Store(), view)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(waiting, func(j *job.Job) bool {
		return j.State == job.Queued && j.Target == "" && maySeeJob(ctx, j) && (string(j.Path) == path && (j.Recursive || !recursive) || j.Recursive && isWithin(string(j.Path), path))
	}); i >= 0 {
		return waiting[i], nil
	}
	if err := s.mayScan(ctx, view, waiting); err != nil {
		return nil, err
	}
	if open := countUnfinished(waiting); open >= maxUnfinishedJobs {
		return nil, &httpapi.Error{Status: http.StatusTooManyRequests, RetryAfter: problem.RetryAfter,
			Detail: "too many scans of this view are waiting", Hint: "try again when some are done; /jobs lists them"}
	}
	wanted := job.Job{View: view, Session: leader, Path: []byte(path), Recursive: recursive}
	if reader, restricted := access.ReaderFrom(ctx); restricted {
		wanted.UID, wanted.By = &reader.UID, reader.Name
	}
	return job.Ask(ctx, s.engine.Store(), wanted, s.engine.Now(), rand.Reader)
}

// maxUnfinishedJobs bounds the scans and commands of a view that have not ended.
const maxUnfinishedJobs = 100

func countUnfinished(jobs []*job.Job) (n int) {
	for _, j := range jobs {
		if !j.State.Ended() {
			n++
		}
	}
	return n
}

// isWithin reports whether a path is dir, or below it.
func isWithin(dir, path string) bool {
	return dir == "/" || dir == path || strings.HasPrefix(path, dir+"/")
}
