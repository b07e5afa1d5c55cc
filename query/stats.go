package query

import (
	"context"
	"encoding/json"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
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

	// HasLeader is whether an agent leads the view at the moment. Without one no audit runs, so missed changes are not found.
	HasLeader bool `json:"has_leader"`

	Version      uint64         `json:"version"`
	FoldedAt     values.Seconds `json:"folded_at"`
	FoldedAtNs   int64          `json:"folded_at_ns"`
	ObservedAt   values.Seconds `json:"observed_at"`
	ObservedAtNs int64          `json:"observed_at_ns"`
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
	path := q.Path("/")
	if err := q.Err(); err != nil {
		return err
	}
	v, err := s.engine.Current(r.Context(), view)
	if err != nil {
		return err
	}
	if s.notModified(w, r, v.Manifest) {
		return nil
	}
	a, until, err := s.readStats(r.Context(), v, path)
	if err != nil {
		return err
	}
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	writeBody(w, v.Manifest, until, body)
	return nil
}

// readStats reads the answer of /stats, and until when it is right (ns; 0: as long as the version).
func (s *Server) readStats(ctx context.Context, v *engine.Version, path string) (a *statsAnswer, until int64, err error) {
	// These run in parallel, so that a cold answer takes three rounds of requests.
	now := s.engine.Now()
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
	a.HasBlindSpot, a.HasLeader = doubtful.BlindSpot, leader != ""
	a.Suspects, until = doubtful.Suspects(now)
	return a, until, nil
}

func statsOf(m *manifest.Manifest, row *evidence.Row, now int64) *statsAnswer {
	sums := row.Own()
	if row.Type == event.Directory {
		sums = row.Sub
	}
	a := &statsAnswer{
		View: m.View, Items: sums.Files + sums.Directories + sums.Others,
		Files: sums.Files, Directories: sums.Directories, Others: sums.Others, Bytes: sums.Bytes,
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
