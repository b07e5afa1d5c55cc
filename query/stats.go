package query

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
)

// statsAnswer is the answer of /stats. Counts and sums are of the path and everything below it.
type statsAnswer struct {
	View        string `json:"view_id"`
	Path        string `json:"path"`
	PathB64     string `json:"path_b64,omitempty"`
	Items       int64  `json:"item_count"` // files, directories and others
	Files       int64  `json:"total_files"`
	Directories int64  `json:"total_directories"`
	Others      int64  `json:"total_others"`
	Bytes       int64  `json:"total_size"`
	Saturated   bool   `json:"saturated,omitempty"` // total_size may be larger than it says

	LatestMtime   *values.Seconds `json:"latest_mtime"`
	LatestMtimeNs *int64          `json:"latest_mtime_ns"`

	// LatencyMs is from the newest observation of the version to its publication; a merge, which observes nothing,
	// makes it an upper bound. StalenessSeconds is from that observation to now.
	LatencyMs        float64 `json:"latency_ms"`
	StalenessSeconds float64 `json:"staleness_seconds"`
	OldestItemPath   *string `json:"oldest_item_path"` // always null: finding it would read every row
	HasBlindSpot     bool    `json:"has_blind_spot"`
	Suspects         int64   `json:"suspect_file_count"`

	LogicalNow          values.Seconds  `json:"logical_now"` // the file server's time now
	LastAuditFinishedAt *values.Seconds `json:"last_audit_finished_at"`
	Audits              uint64          `json:"audit_cycle_count"`
	IsAuditing          bool            `json:"is_auditing"`
	ScanErrorCount      uint64          `json:"scan_error_count"`
	ScanErrors          []scanError     `json:"scan_errors"`
	// Unreadable is how many of the paths that could not be read are at or below the path: sums are of what could be read.
	Unreadable int `json:"unreadable,omitempty"`

	// Troubles are what is wrong with the view; absent: nothing is known to be.
	Troubles []engine.Trouble `json:"troubles,omitempty"`

	// HasLeader is whether an agent leads the view at the moment. Without one no audit runs, so missed changes are not found.
	HasLeader bool `json:"has_leader"`

	Version      uint64         `json:"version,omitempty"` // of no forest
	FoldedAt     values.Seconds `json:"folded_at"`
	FoldedAtNs   int64          `json:"folded_at_ns"`
	ObservedAt   values.Seconds `json:"observed_at"`
	ObservedAtNs int64          `json:"observed_at_ns"`

	// A forest's answer has the sums of its members, the times of the one that is furthest behind, and each member's own answer.
	Members  []memberStats `json:"members,omitempty"`
	Best     *bestMember   `json:"best,omitempty"` // with best=
	Complete *bool         `json:"complete,omitempty"`
}

// memberStats is the answer of one member of a forest; without Stats where it has none.
type memberStats struct {
	memberStatus
	Stats *statsAnswer `json:"stats,omitempty"`
}

// bestMember is the member that has the most of what was asked for.
type bestMember struct {
	Member string `json:"member"`
	By     string `json:"by"`    // file_count, total_size or latest_mtime
	Value  int64  `json:"value"` // files, bytes or ns
}

// scanError is a directory that a scan could not read. The view keeps what it had of it.
type scanError struct {
	Path       string         `json:"path"`
	PathB64    string         `json:"path_b64,omitempty"`
	Message    string         `json:"message"`
	ObservedAt values.Seconds `json:"observed_at"`
}

func (s *Server) stats(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path, best := q.Path("/"), q.Enum("best", "", "file_count", "total_size", "latest_mtime")
	of, err := s.open(r, q, view)
	if err != nil {
		return err
	}
	if of.forest == nil && best != "" {
		return httpapi.BadRequest(`parameter "best" is for forests`, fmt.Sprintf("leave it out: view %q has no members", view))
	}
	of.varies = true // who leads, and how long ago the newest observation was
	var a *statsAnswer
	valid := validity{now: of.moment}
	if of.forest == nil {
		var until int64
		if a, until, err = s.readStats(r.Context(), of.version, path, of.moment); err != nil {
			return err
		}
		valid.addEnd(until)
	} else {
		list, err := forest.Ask(r.Context(), of.forest, forest.Deadline, func(ctx context.Context, m *forest.Member) (datedStats, error) {
			answer, until, err := s.readStats(ctx, m.Version, path, of.moment)
			return datedStats{answer, until}, err
		})
		if err != nil {
			return err
		}
		a = sumStats(r.Context(), of, path, list)
		for _, one := range list {
			valid.addEnd(one.until)
		}
		if best != "" {
			a.Best = bestOf(a.Members, best)
		}
	}
	of.about(path)
	a.Unreadable = of.unreadable
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	writeBody(w, of, valid.until, body)
	return nil
}

// datedStats is an answer, and until when it is right (ns; 0: as long as the version).
type datedStats struct {
	answer *statsAnswer
	until  int64
}

// readStats reads the answer of /stats for one version as of a time, and until when it is right (ns; 0: as long as the version).
func (s *Server) readStats(ctx context.Context, v *engine.Version, path string, now int64) (a *statsAnswer, until int64, err error) {
	// These run in parallel, so that a cold answer takes three rounds of requests.
	if _, restricted := engine.ReaderOf(ctx); restricted {
		return s.readReaderStats(ctx, v, path, now)
	}
	var row *evidence.Row
	var below *engine.DoubtSummary
	var leader string
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		row, err = v.Lookup(ctx, path)
		return err
	})
	g.Go(func() (err error) {
		below, err = v.Doubts(ctx, path, now)
		return err
	})
	g.Go(func() (err error) {
		leader, err = s.engine.Leader(ctx, v.Manifest.View)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, 0, err
	}
	doubtful := below.Of(row, now)
	a = statsOf(v.Manifest, row, now)
	a.Troubles = engine.TroublesOf(ctx, v.Manifest)
	a.HasBlindSpot, a.HasLeader = doubtful.BlindSpot, leader != ""
	a.Suspects, until = doubtful.Suspects(now)
	return a, until, nil
}

// readReaderStats is readStats for a user: the sums of what that user may see, and of the view only which version it is. What scans could
// not read may be hidden.
func (s *Server) readReaderStats(ctx context.Context, v *engine.Version, path string, now int64) (a *statsAnswer, until int64, err error) {
	row, err := v.Lookup(ctx, path)
	if err == nil {
		err = v.Sum(ctx, row)
	}
	if err != nil {
		return nil, 0, err
	}
	below, err := v.Doubts(ctx, path, now)
	if err != nil {
		return nil, 0, err
	}
	leader, err := s.engine.Leader(ctx, v.Manifest.View)
	if err != nil {
		return nil, 0, err
	}
	of := *v.Manifest
	of.Scan = manifest.Scan{}
	a = statsOf(&of, row, now)
	a.Troubles = engine.TroublesOf(ctx, v.Manifest)
	doubtful := below.Of(row, now)
	a.HasBlindSpot, a.HasLeader = doubtful.BlindSpot, leader != ""
	a.Suspects, until = doubtful.Suspects(now)
	return a, until, nil
}

// sumStats makes one answer of those of a forest's members: sums, and of times and states the one that is furthest behind.
func sumStats(ctx context.Context, of *subject, path string, list []datedStats) *statsAnswer {
	sum := &statsAnswer{View: of.view, HasLeader: true, ScanErrors: []scanError{}}
	sum.Path, sum.PathB64 = values.PathFields(path)
	complete := of.forest.Complete()
	sum.Complete = &complete
	first := true
	for i, m := range of.forest.Members {
		sum.Members = append(sum.Members, memberStats{statusOf(ctx, m), list[i].answer})
		if a := list[i].answer; a != nil {
			sum.add(a, first)
			first = false
		}
	}
	return sum
}

// add adds the answer of a member to that of a forest.
func (a *statsAnswer) add(b *statsAnswer, first bool) {
	a.Items, a.Files, a.Directories, a.Others, a.Bytes = a.Items+b.Items, a.Files+b.Files, a.Directories+b.Directories, a.Others+b.Others, values.Sum(a.Bytes, b.Bytes)
	a.Saturated = a.Bytes == values.MaxSum
	a.Suspects, a.Audits, a.ScanErrorCount = a.Suspects+b.Suspects, a.Audits+b.Audits, a.ScanErrorCount+b.ScanErrorCount
	a.HasBlindSpot, a.HasLeader, a.IsAuditing = a.HasBlindSpot || b.HasBlindSpot, a.HasLeader && b.HasLeader, a.IsAuditing || b.IsAuditing
	a.LatencyMs, a.StalenessSeconds = max(a.LatencyMs, b.LatencyMs), max(a.StalenessSeconds, b.StalenessSeconds)
	if b.LatestMtimeNs != nil && (a.LatestMtimeNs == nil || *b.LatestMtimeNs > *a.LatestMtimeNs) {
		a.LatestMtime, a.LatestMtimeNs = b.LatestMtime, b.LatestMtimeNs
	}
	if first || b.LogicalNow < a.LogicalNow {
		a.LogicalNow = b.LogicalNow
	}
	if first || b.FoldedAtNs < a.FoldedAtNs {
		a.FoldedAt, a.FoldedAtNs = b.FoldedAt, b.FoldedAtNs
	}
	if first || b.ObservedAtNs < a.ObservedAtNs {
		a.ObservedAt, a.ObservedAtNs = b.ObservedAt, b.ObservedAtNs
	}
	if first || b.LastAuditFinishedAt == nil || a.LastAuditFinishedAt != nil && *b.LastAuditFinishedAt < *a.LastAuditFinishedAt {
		a.LastAuditFinishedAt = b.LastAuditFinishedAt
	}
}

// bestOf is the member that has the most; the first by name of several that have as much, and nil where none has a file.
func bestOf(members []memberStats, by string) (best *bestMember) {
	for _, m := range members {
		if m.Stats == nil || m.Stats.Files == 0 {
			continue
		}
		value := m.Stats.Files
		switch by {
		case "total_size":
			value = m.Stats.Bytes
		case "latest_mtime":
			value = *m.Stats.LatestMtimeNs
		}
		if best == nil || value > best.Value {
			best = &bestMember{m.View, by, value}
		}
	}
	return best
}

func statsOf(m *manifest.Manifest, row *evidence.Row, now int64) *statsAnswer {
	sums := row.Own()
	if row.Type == event.Directory {
		sums = row.Sub
	}
	a := &statsAnswer{
		View: m.View, Items: sums.Files + sums.Directories + sums.Others,
		Files: sums.Files, Directories: sums.Directories, Others: sums.Others, Bytes: sums.Bytes, Saturated: sums.Bytes == values.MaxSum,
		LatencyMs: float64(max(0, m.FoldedAt-m.ObservedAt)/1e3) / 1e3, StalenessSeconds: float64(max(0, now-m.ObservedAt)/1e6) / 1e3,
		LogicalNow: values.Seconds(now - m.Clock.Skew()), Audits: m.Scan.Audits,
		IsAuditing: m.Scan.AuditStartedAt > m.Scan.AuditFinishedAt, ScanErrorCount: m.Scan.ErrorCount, ScanErrors: []scanError{},
		Version: m.Version, FoldedAt: values.Seconds(m.FoldedAt), FoldedAtNs: m.FoldedAt,
		ObservedAt: values.Seconds(m.ObservedAt), ObservedAtNs: m.ObservedAt,
	}
	a.Path, a.PathB64 = values.PathFields(row.Path())
	if ns := sums.LatestMtimeNs; ns != evidence.NoMtime {
		latest := values.Seconds(ns)
		a.LatestMtime, a.LatestMtimeNs = &latest, &ns
	}
	if m.Scan.AuditFinishedAt != 0 {
		at := values.Seconds(m.Scan.AuditFinishedAt)
		a.LastAuditFinishedAt = &at
	}
	for _, e := range m.Scan.Errors {
		shown := scanError{Message: e.Message, ObservedAt: values.Seconds(e.ObservedAt)}
		shown.Path, shown.PathB64 = values.PathFields(string(e.Path))
		a.ScanErrors = append(a.ScanErrors, shown)
	}
	return a
}
