package compactor

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
)

// viewMetrics are what a compactor knows of each view from what it reads and publishes anyway: they cost no request. A view that has no
// version has none of them but those of its failures.
type viewMetrics struct {
	now func() time.Time // this machine's, as that of who scrapes

	mu    sync.Mutex
	views map[string]viewFigures
}

// viewFigures are those of one view.
type viewFigures struct {
	seen versionFigures // of the newest version

	succeeded time.Time // when a fold last ended without a failure, be there something to fold or not
	caughtUp  time.Time // when a fold last began that left nothing for the next one
	failing   time.Time // since when all folds have failed; zero: the last one did not
	failures  uint64
	failure   error // of the last fold
	refusals  int   // folds in a row that failed because something could not be written
	told      bool  // the view's readers were told that it fails
}

// versionFigures are those of one version.
type versionFigures struct {
	number     uint64 // 0: there is none
	nonce      string
	ready      bool
	entries    map[string]int64 // by type
	size       int64
	allocated  int64
	folded     int64 // ns
	observed   int64
	lag        int64 // of the last version that a fold made
	audited    int64
	scanErrors uint64
	suspects   []int64 // until when, ns
	blindSpots int64   // -1: not known
	sessions   int
	refused    uint64           // segments
	leftOut    uint64           // names that are missing, as the view is full
	layers     map[string]int64 // by kind
	layerRows  map[string]int64
	layerBytes int64
}

func newViewMetrics(now func() time.Time) *viewMetrics {
	return &viewMetrics{now: now, views: map[string]viewFigures{}}
}

// change changes the figures of a view.
func (v *viewMetrics) change(view string, f func(*viewFigures)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	figures := v.views[view]
	f(&figures)
	v.views[view] = figures
}

// saw notes the newest version of a view.
func (v *viewMetrics) saw(m *manifest.Manifest) {
	v.change(m.View, func(f *viewFigures) {
		if f.seen.number != m.Version || f.seen.nonce != m.Nonce {
			f.seen = figuresOf(m, f.seen)
		}
	})
}

// lost forgets the version of a view that has none any more.
func (v *viewMetrics) lost(view string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if f, ok := v.views[view]; ok {
		f.seen = versionFigures{}
		v.views[view] = f
	}
}

func figuresOf(m *manifest.Manifest, before versionFigures) versionFigures {
	t := &m.Totals
	f := versionFigures{
		number: m.Version, nonce: m.Nonce, ready: m.Ready(), size: t.Bytes, allocated: t.Allocated,
		entries: map[string]int64{"file": t.Files, "directory": t.Directories, "other": t.Others},
		folded:  m.FoldedAt, observed: m.ObservedAt, lag: before.lag, audited: m.Scan.AuditFinishedAt, scanErrors: m.Scan.ErrorCount,
		sessions: len(m.Sessions), layers: map[string]int64{}, layerRows: map[string]int64{},
	}
	if f.refused = m.RefusedCount; m.Full != nil {
		f.leftOut = m.Full.Names
	}
	if m.Reason == "fold" && m.ObservedAt > 0 {
		f.lag = max(0, m.FoldedAt-m.ObservedAt)
	}
	for _, s := range m.Suspects {
		f.suspects = append(f.suspects, s.Until)
	}
	for kind, layers := range map[string][]layer.Info{"base": m.Base, "delta": m.Deltas} {
		f.layers[kind], f.layerRows[kind] = int64(len(layers)), 0
		for _, l := range layers {
			f.layerRows[kind] += l.Rows
			f.layerBytes += l.Bytes + l.IndexBytes
			switch {
			case l.Marks == nil:
				f.blindSpots = -1
			case f.blindSpots >= 0:
				f.blindSpots += l.Marks.AgentMissing
			}
		}
	}
	return f
}

// folded notes how a fold of a view ended. all: it left nothing for the next one.
func (v *viewMetrics) folded(view string, began time.Time, all bool, err error) {
	v.change(view, func(f *viewFigures) {
		if err != nil {
			if f.failures++; f.failing.IsZero() {
				f.failing = began
			}
			if f.failure = err; refusedWrite(err) {
				f.refusals++
			} else {
				f.refusals = 0
			}
			return
		}
		f.succeeded, f.failing, f.failure, f.refusals, f.told = v.now(), time.Time{}, nil, 0, false
		if all {
			f.caughtUp = began
		}
	})
}

func viewDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("fustor_view_"+name, help, append([]string{"view"}, labels...), nil)
}

var (
	viewEntries    = viewDesc("entries", "Entries of the newest version, by type: file, directory or other.", "type")
	viewSize       = viewDesc("size_bytes", "Sizes of the newest version's files.")
	viewAllocated  = viewDesc("allocated_bytes", "What the newest version's entries occupy on the file server; a file counts once for each of its names.")
	viewVersion    = viewDesc("version", "Number of the newest version.")
	viewReady      = viewDesc("ready", "1 if the first scan is complete, so that the view can be read.")
	viewFolded     = viewDesc("version_timestamp_seconds", "When the newest version was made.")
	viewObserved   = viewDesc("observed_timestamp_seconds", "The newest observation that the view has.")
	viewLag        = viewDesc("fold_lag_seconds", "From the newest observation of the last version that a fold made to that version.")
	viewAudited    = viewDesc("audit_timestamp_seconds", "When the last audit ended; 0: none has yet.")
	viewScanErrors = viewDesc("scan_errors", "Directories that the last scan could not read.")
	viewSuspects   = viewDesc("suspect_files", "Files that may still be written to; at most 200 are counted.")
	viewBlindSpots = viewDesc("blind_spot_rows", "Rows of the layers that no agent's kernel reported; rows that a newer one supersedes are counted until the next merge.")
	viewSessions   = viewDesc("sessions", "Sessions that feed the view or have fed it, until they are folded to their end and forgotten.")
	viewRefused    = viewDesc("refused_segments", "Segments since the view began that were not taken in, or not with all that is in them: damaged ones, and those with new names while the view was full.")
	viewLeftOut    = viewDesc("left_out_names", "New names that were left out since the last snapshot began, as the view has as many entries as it may; 0: it is not full.")
	viewLayers     = viewDesc("layers", "Layers of the newest version, by kind: base or delta.", "kind")
	viewLayerRows  = viewDesc("layer_rows", "Rows of the newest version's layers, removed and superseded ones included, by kind.", "kind")
	viewLayerBytes = viewDesc("layer_bytes", "Bytes of the newest version's layers in the store, indexes included.")
	viewSucceeded  = viewDesc("fold_success_timestamp_seconds", "When a fold last ended without a failure, be there something to fold or not.")
	viewCaughtUp   = viewDesc("caught_up_timestamp_seconds", "When a fold last began that left nothing for the next one.")
	viewFailing    = viewDesc("fold_failing_seconds", "For how long every fold has failed; 0: the last one did not.")
	viewFailures   = viewDesc("fold_failures_total", "Folds of the view that failed.")
	allViewMetrics = []*prometheus.Desc{viewEntries, viewSize, viewAllocated, viewVersion, viewReady, viewFolded, viewObserved, viewLag, viewAudited,
		viewScanErrors, viewSuspects, viewBlindSpots, viewSessions, viewRefused, viewLeftOut, viewLayers, viewLayerRows, viewLayerBytes, viewSucceeded, viewCaughtUp, viewFailing, viewFailures}
)

// Describe implements prometheus.Collector.
func (v *viewMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range allViewMetrics {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (v *viewMetrics) Collect(out chan<- prometheus.Metric) {
	v.mu.Lock()
	views := maps.Clone(v.views)
	v.mu.Unlock()
	now := v.now()
	for view, f := range views {
		gauge := func(d *prometheus.Desc, value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{view}, labels...)...)
		}
		if f.seen.number > 0 {
			f.seen.collect(now, gauge)
		}
		if f.seen.number > 0 || f.failures > 0 {
			f.collect(now, gauge)
			out <- prometheus.MustNewConstMetric(viewFailures, prometheus.CounterValue, float64(f.failures), view)
		}
	}
}

func (f *viewFigures) collect(now time.Time, gauge func(*prometheus.Desc, float64, ...string)) {
	for d, at := range map[*prometheus.Desc]time.Time{viewSucceeded: f.succeeded, viewCaughtUp: f.caughtUp} {
		if !at.IsZero() {
			gauge(d, unixSeconds(at.UnixNano()))
		}
	}
	failing := 0.0
	if !f.failing.IsZero() {
		failing = max(0, now.Sub(f.failing).Seconds())
	}
	gauge(viewFailing, failing)
}

func (f *versionFigures) collect(now time.Time, gauge func(*prometheus.Desc, float64, ...string)) {
	for kind, n := range f.entries {
		gauge(viewEntries, float64(n), kind)
	}
	for kind, n := range f.layers {
		gauge(viewLayers, float64(n), kind)
		gauge(viewLayerRows, float64(f.layerRows[kind]), kind)
	}
	ready, suspects := 0.0, 0
	if f.ready {
		ready = 1
	}
	for _, until := range f.suspects {
		if until > now.UnixNano() {
			suspects++
		}
	}
	gauge(viewReady, ready)
	gauge(viewSuspects, float64(suspects))
	gauge(viewSize, float64(f.size))
	gauge(viewAllocated, float64(f.allocated))
	gauge(viewVersion, float64(f.number))
	gauge(viewFolded, unixSeconds(f.folded))
	gauge(viewLag, unixSeconds(f.lag))
	gauge(viewAudited, unixSeconds(f.audited))
	gauge(viewScanErrors, float64(f.scanErrors))
	gauge(viewSessions, float64(f.sessions))
	gauge(viewRefused, float64(f.refused))
	gauge(viewLeftOut, float64(f.leftOut))
	gauge(viewLayerBytes, float64(f.layerBytes))
	if f.observed > 0 {
		gauge(viewObserved, unixSeconds(f.observed))
	}
	if f.blindSpots >= 0 {
		gauge(viewBlindSpots, float64(f.blindSpots))
	}
}

func unixSeconds(ns int64) float64 { return float64(ns) / 1e9 }
