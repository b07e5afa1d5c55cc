package query

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/v2api"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
	"github.com/fustor/fustor/query/v2"
)

// v2Views are the views as the calls of Fustor V2's clients see them.
type v2Views struct{ *Server }

// Current implements v2.Views.
func (s v2Views) Current(ctx context.Context, view string) (v2.Version, error) {
	v, err := s.engine.Current(ctx, view)
	var of *engine.ForestError
	if errors.As(err, &of) {
		err = fmt.Errorf("%w: %w", v2.ErrForest, err)
	}
	if err != nil {
		return nil, err
	}
	return v2Version{s.Server, v}, nil
}

// Forest implements v2.Views. It is an error only if the caller may read none of the members.
func (s v2Views) Forest(ctx context.Context, view, path string) ([]v2.Member, error) {
	_, err := s.engine.Head(ctx, view)
	var of *engine.ForestError
	if !errors.As(err, &of) {
		return nil, err
	}
	fo, err := s.forests.Open(ctx, of, engine.Which{}, s.mayRead(ctx))
	if fo == nil || ctx.Err() != nil {
		return nil, err
	}
	rows, err := forest.Ask(ctx, fo, forest.Deadline, func(ctx context.Context, m *forest.Member) (*evidence.Row, error) {
		return m.Version.LookupAhead(ctx, path, nil, true)
	})
	if ctx.Err() != nil || len(fo.Members) > 0 && !slices.ContainsFunc(fo.Members, func(m *forest.Member) bool { return m.Status != forest.Forbidden }) {
		return nil, err
	}
	members := []v2.Member{}
	for i, m := range fo.Members {
		one := v2.Member{View: m.View}
		if m.Version != nil {
			one.Version = v2Version{s.Server, m.Version}
		}
		if m.Status == forest.OK {
			one.Row = rows[i]
		} else {
			one.Error = statusOf(ctx, m).Error
		}
		members = append(members, one)
	}
	return members, nil
}

// Scan implements v2.Views.
func (s v2Views) Scan(ctx context.Context, view, path string, recursive bool) (string, error) {
	j, err := s.requestScan(ctx, view, path, recursive)
	switch {
	case errors.Is(err, errNoScan):
		return "", nil
	case err != nil:
		return "", err
	}
	return j.ID, nil
}

// Sessions implements v2.Views.
func (s v2Views) Sessions(ctx context.Context, view string) (a v2api.Sessions, err error) {
	live, err := s.readSessions(ctx, view)
	if err != nil {
		return a, err
	}
	a = v2api.Sessions{View: view, Active: []v2api.Session{}, Count: live.Count}
	for _, by := range live.Active {
		a.Active = append(a.Active, v2api.Session{ID: by.ID, Task: by.Task, Agent: by.Agent, ClientIP: by.ClientIP, Source: by.Source,
			LastActivity: by.LastActivity, CreatedAt: by.CreatedAt, Timeout: by.TimeoutSeconds, Role: by.Role, CanSnapshot: by.CanSnapshot,
			CanAudit: by.CanAudit, CanRealtime: by.CanRealtime, CanSend: by.CanSend})
	}
	return a, nil
}

// Jobs implements v2.Views.
func (s v2Views) Jobs(ctx context.Context, view string) ([]v2api.Job, error) {
	m, err := s.headOrEmpty(ctx, view)
	if err != nil {
		return nil, err
	}
	all, err := job.List(ctx, s.engine.Store(), view)
	if err != nil {
		return nil, err
	}
	scans := []v2api.Job{}
	for _, j := range all {
		if a := jobAnswerOf(j, m); a.Command == job.Scan {
			scans = append(scans, v2Job(j, a))
		}
	}
	return scans, nil
}

// Job implements v2.Views.
func (s v2Views) Job(ctx context.Context, view, id string) (v2api.Job, error) {
	j, a, err := s.readJob(ctx, view, id)
	if err != nil {
		return v2api.Job{}, err
	}
	return v2Job(j, a), nil
}

// v2Job is a job as V2 has it. It is complete when the view shows its results.
func v2Job(j *job.Job, a jobAnswer) v2api.Job {
	v := v2api.Job{ID: a.ID, View: a.View, Path: v2api.Text(j.Path), Status: v2api.JobRunning, Progress: v2api.Progress{Total: 1}, CreatedAt: a.RequestedAt}
	switch a.State {
	case string(job.Done):
		v.Status, v.Progress, v.CompletedAt = v2api.JobCompleted, v2api.Progress{Completed: 1, Total: 1, Percentage: 100}, a.FinishedAt
	case string(job.Failed):
		v.Status, v.CompletedAt = v2api.JobFailed, a.FinishedAt
	}
	return v
}

// v2Version is one version of a view as those calls see it.
type v2Version struct {
	server  *Server
	version *engine.Version
}

// Now implements v2.Version.
func (v v2Version) Now() int64 { return v.server.engine.Now() }

// Lookup implements v2.Version.
func (v v2Version) Lookup(ctx context.Context, path string) (*evidence.Row, bool, error) {
	row, err := v.version.LookupAhead(ctx, path, nil, true)
	var unknown *engine.NoPathError
	if errors.As(err, &unknown) {
		return nil, false, nil
	}
	return row, err == nil, err
}

// Below implements v2.Version.
func (v v2Version) Below(ctx context.Context, dir *evidence.Row, depth, limit int, use func(*evidence.Row) error) error {
	_, err := v.version.Below(ctx, dir, depth, nil, limit, use)
	return err
}

// Search implements v2.Version.
func (v v2Version) Search(ctx context.Context, pattern string, use func(*evidence.Row) error) error {
	wanted, err := engine.NewPathSearch(pattern)
	if err != nil {
		return err
	}
	wanted.OfTypes("f,l,o")
	_, err = v.version.Search(ctx, wanted, nil, 0, use)
	return err
}

// Suspects implements v2.Version.
func (v v2Version) Suspects(ctx context.Context, use func(*evidence.Row) error) error {
	return v.doubtful(ctx, engine.Suspects(v.Now()), use)
}

// BlindSpots implements v2.Version.
func (v v2Version) BlindSpots(ctx context.Context, deletions bool, use func(*evidence.Row) error) error {
	return v.doubtful(ctx, engine.BlindSpots(deletions), use)
}

func (v v2Version) doubtful(ctx context.Context, kind engine.DoubtKind, use func(*evidence.Row) error) error {
	root, err := v.version.Lookup(ctx, "/")
	if err != nil {
		return err
	}
	_, _, err = v.version.Doubtful(ctx, root, kind, nil, 0, use)
	return err
}

// Stats implements v2.Version.
func (v v2Version) Stats(ctx context.Context) (a v2api.Stats, err error) {
	n, _, err := v.server.readStats(ctx, v.version, "/", v.Now())
	if err != nil {
		return a, err
	}
	return v2api.Stats{Items: n.Items, Files: n.Files + n.Others, Directories: n.Directories, LatencyMs: n.LatencyMs, Staleness: n.StalenessSeconds,
		OldestItem: n.OldestItemPath, HasBlindSpot: n.HasBlindSpot, Suspects: n.Suspects, LogicalNow: n.LogicalNow, LastAuditAt: n.LastAuditFinishedAt,
		Audits: n.Audits, IsAuditing: n.IsAuditing}, nil
}
