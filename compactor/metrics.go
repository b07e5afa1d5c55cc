package compactor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/internal/httpapi"
)

// metrics are what a compactor counts of its own work.
type metrics struct {
	segments, events, entries, damaged, cut, lost, removed prometheus.Counter
	mergedRows                                             prometheus.Counter
	failures                                               *prometheus.CounterVec
	duration                                               *prometheus.HistogramVec
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "fustor", Subsystem: "compactor", Name: name, Help: help})
	}
	m := &metrics{
		segments:   counter("segments_folded_total", "Segments folded."),
		events:     counter("events_folded_total", "Events folded."),
		entries:    counter("entries_folded_total", "Listed entries folded."),
		damaged:    counter("segments_damaged_total", "Segments that could not be read; each ended its session."),
		cut:        counter("segments_cut_total", "Segments of which new names were left out, as their view was full."),
		lost:       counter("commits_lost_total", "Versions that another compactor published first."),
		removed:    counter("objects_removed_total", "Objects that retention removed."),
		mergedRows: counter("delta_rows_merged_total", "Rows of deltas merged."),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "fustor", Subsystem: "compactor", Name: "failures_total", Help: "Jobs that failed and will be tried again."}, []string{"job"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "fustor", Subsystem: "compactor", Name: "job_seconds", Help: "How long jobs took that published a version.",
			Buckets: prometheus.ExponentialBuckets(0.005, 4, 9)}, []string{"job"}),
	}
	for _, job := range []string{"fold", "merge"} { // so that the first failure is a rise
		m.failures.WithLabelValues(job)
		m.duration.WithLabelValues(job)
	}
	return m
}

// Register makes the compactor's metrics known to r.
func (c *Compactor) Register(r prometheus.Registerer) error {
	m := c.metrics
	for _, x := range []prometheus.Collector{m.segments, m.events, m.entries, m.damaged, m.cut, m.lost, m.removed, m.mergedRows, m.failures, m.duration, c.figures} {
		if err := r.Register(x); err != nil {
			return err
		}
	}
	return httpapi.RegisterStoreCounts(r, "compact", c.counted)
}

func (m *metrics) folded(t *foldInput, d time.Duration) {
	m.segments.Add(float64(t.segments))
	m.events.Add(float64(t.batch.counted.Events))
	m.entries.Add(float64(t.batch.counted.Entries))
	m.duration.WithLabelValues("fold").Observe(d.Seconds())
}
