package compactor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
)

// TestViewMetrics has versions and failures come and go.
func TestViewMetrics(t *testing.T) {
	now := time.Unix(1000, 0)
	v := newViewMetrics(func() time.Time { return now })
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(v)
	series := func() map[string]float64 {
		t.Helper()
		return gather(t, registry)
	}
	shows := func(what string, lines ...string) {
		t.Helper()
		found := series()
		for _, line := range lines {
			name, want, _ := strings.Cut(line, " = ")
			if got, ok := found[name]; !ok || fmt.Sprint(got) != want {
				t.Errorf("%s: %s is %v (shown: %v), want %s", what, name, got, ok, want)
			}
		}
	}
	lacks := func(what string, names ...string) {
		t.Helper()
		for name := range series() {
			if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(name, n+"{") }) {
				t.Errorf("%s: %s is shown", what, name)
			}
		}
	}

	v.folded("v", now, true, nil)
	if found := series(); len(found) != 0 {
		t.Errorf("a view without a version, of which nothing is wrong, shows %v", found)
	}
	v.folded("v", now, false, errors.New("the store is away"))
	now = now.Add(time.Minute)
	v.folded("v", now, false, errors.New("the store is away"))
	shows("two failures", `fustor_view_fold_failures_total{v} = 2`, `fustor_view_fold_failing_seconds{v} = 60`)
	if found := v.unready(); len(found) != 0 {
		t.Error("after a minute:", found)
	}

	m := &manifest.Manifest{View: "v", Version: 7, Nonce: "a", Reason: "fold", FoldedAt: 900e9, ObservedAt: 895e9,
		RefusedCount: 3, Full: &manifest.Full{Names: 9}, Suspects: []manifest.Suspect{{Until: 1061e9}, {Until: 1200e9}, {Until: 5}},
		Deltas: []layer.Info{{Rows: 10, Bytes: 100, IndexBytes: 5, Marks: &layer.Marks{AgentMissing: 3}}},
		Base:   []layer.Info{{Rows: 1000, Bytes: 1000, Marks: &layer.Marks{AgentMissing: 1}}}}
	m.Totals.Files, m.Totals.Bytes, m.Scan.ErrorCount, m.Scan.SnapshotDone = 42, 4096, 2, 1
	v.saw(m)
	v.folded("v", now, true, nil)
	shows("a version", `fustor_view_fold_failing_seconds{v} = 0`, `fustor_view_fold_failures_total{v} = 2`, `fustor_view_caught_up_timestamp_seconds{v} = 1060`,
		`fustor_view_entries{directory,v} = 0`, `fustor_view_entries{file,v} = 42`, `fustor_view_entries{other,v} = 0`,
		`fustor_view_suspect_files{v} = 2`, `fustor_view_blind_spot_rows{v} = 4`, `fustor_view_fold_lag_seconds{v} = 5`, `fustor_view_scan_errors{v} = 2`,
		`fustor_view_refused_segments{v} = 3`, `fustor_view_left_out_names{v} = 9`,
		`fustor_view_layer_bytes{v} = 1105`, `fustor_view_version{v} = 7`, `fustor_view_ready{v} = 1`, `fustor_view_version_timestamp_seconds{v} = 900`)
	now = now.Add(time.Minute)
	shows("later", `fustor_view_suspect_files{v} = 1`)

	merge := *m
	merge.Version, merge.Reason, merge.FoldedAt = 8, "merge", 990e9
	merge.Base = append(merge.Base, layer.Info{Rows: 1}) // of an earlier build, which counted no marks
	v.saw(&merge)
	v.folded("v", now, false, nil) // there was more than it took in
	shows("a merge has no lag", `fustor_view_fold_lag_seconds{v} = 5`, `fustor_view_version{v} = 8`, `fustor_view_caught_up_timestamp_seconds{v} = 1060`,
		`fustor_view_fold_success_timestamp_seconds{v} = 1120`)
	lacks("blind spots that nobody counted", "fustor_view_blind_spot_rows")
	v.lost("v")
	lacks("a view that is no more", "fustor_view_version", "fustor_view_entries")
}

// gather is every series of gauges and counters, by name and values of labels.
func gather(t *testing.T, registry prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			found[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return found
}

// TestFoldsTellTheMetrics: what folds do shows, and costs no request.
func TestFoldsTellTheMetrics(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	registry := prometheus.NewPedanticRegistry()
	if err := h.c.Register(registry); err != nil {
		t.Fatal(err)
	}
	if _, err := h.c.Fold(h.ctx, viewName); err != nil {
		t.Fatal(err)
	}
	before := h.c.counted.Counts()
	if _, err := registry.Gather(); err != nil {
		t.Fatal(err)
	}
	if after := h.c.counted.Counts(); after != before || before.Get == 0 {
		t.Errorf("a scrape asked the store: %+v, then %+v", before, after)
	}
	if err := h.c.Ready(); err != nil {
		t.Error(err)
	}
	h.c.figures.change(viewName, func(f *viewFigures) { f.failing = time.Now().Add(-failingLong - time.Second) })
	if err := h.c.Ready(); err == nil || !strings.Contains(err.Error(), viewName) {
		t.Error("folds fail for long, and the compactor is ready:", err)
	}
	if _, err := h.c.Fold(h.ctx, viewName); err != nil {
		t.Fatal(err)
	}
	if err := h.c.Ready(); err != nil {
		t.Error(err)
	}
}
