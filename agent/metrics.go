package agent

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/agent/watch"
)

// register exports the agent's metrics.
func (a *Agent) register(to prometheus.Registerer) error {
	if to == nil {
		return nil
	}
	labels := prometheus.Labels{"view": a.o.View, "agent": a.o.AgentID}
	gauge := func(name, help string, value func(Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "fustor", Subsystem: "agent", Name: name, Help: help, ConstLabels: labels},
			func() float64 { return value(a.Status()) })
	}
	counter := func(name, help string, value func(Status) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "fustor", Subsystem: "agent", Name: name, Help: help, ConstLabels: labels},
			func() float64 { return value(a.Status()) })
	}
	coverage := func(word string) prometheus.Collector {
		of := prometheus.Labels{"view": a.o.View, "agent": a.o.AgentID, "coverage": word}
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "fustor", Subsystem: "agent", Name: "coverage",
			Help: "1 for the word that says how much of the tree is watched.", ConstLabels: of}, func() float64 {
			if a.Status().Watch.Coverage == word {
				return 1
			}
			return 0
		})
	}
	for _, c := range []prometheus.Collector{
		gauge("leader", "1 if the session leads its view.", func(s Status) float64 {
			if s.Leader {
				return 1
			}
			return 0
		}),
		gauge("watches", "Directories that are watched.", func(s Status) float64 { return float64(s.Watch.Watches) }),
		gauge("unwatched_directories", "Directories that are not watched and left to audits.", func(s Status) float64 { return float64(s.Watch.Unwatched) }),
		gauge("watch_limit", "Watches that may be held; 0: any number.", func(s Status) float64 { return float64(s.Watch.Limit) }),
		coverage(watch.Realtime), coverage(watch.HotSet), coverage(watch.AuditOnly),
		gauge("pending_paths", "Paths that are to be looked at.", func(s Status) float64 { return float64(s.Watch.Pending) }),
		gauge("paused", "1 if the pipe is paused.", func(s Status) float64 {
			if s.Paused != nil {
				return 1
			}
			return 0
		}),
		gauge("source_pipes", "Pipes that share the source, this one among them.", func(s Status) float64 { return float64(s.Source.Pipes) }),
		gauge("queued_events", "Events of the source that wait for the pipe.", func(s Status) float64 { return float64(s.Source.Queued) }),
		counter("dropped_events_total", "Events that the pipe was too slow for; what they were about is scanned again.", func(s Status) float64 { return float64(s.Source.Dropped) }),
		counter("scans_left_total", "Shared scans that the pipe was too slow for, and makes again by itself.", func(s Status) float64 { return float64(s.Source.ScansLeft) }),
		gauge("backlog_segments", "Segments that are not durable yet.", func(s Status) float64 { return float64(s.BacklogSegments) }),
		counter("events_total", "Events of the kernel that were taken to be sent.", func(s Status) float64 { return float64(a.counters.events.Load()) }),
		counter("scanned_entries_total", "Entries that scans looked at.", func(Status) float64 { return float64(a.counters.sample().entries) }),
		gauge("last_scan_timestamp_seconds", "When the last whole scan that was completed began; 0: none yet.", func(s Status) float64 {
			if s.LastScan == nil {
				return 0
			}
			return float64(s.LastScan.At.UnixNano()) / 1e9
		}),
		gauge("last_scan_seconds", "How long the last whole scan took.", func(s Status) float64 {
			if s.LastScan == nil {
				return 0
			}
			return s.LastScan.Seconds
		}),
		gauge("clock_offset_seconds", "The store's time minus the host's.", func(s Status) float64 { return s.ClockOffset.Seconds() }),
		gauge("clock_skew_seconds", "The store's time minus the file server's.", func(s Status) float64 { return s.Skew.Seconds() }),
		readErrors{a, labels},
		gauge("backlog_bytes", "Bytes of segments that are not durable yet.", func(s Status) float64 { return float64(s.BacklogBytes) }),
		gauge("spool_bytes", "Bytes of segments in the spool.", func(s Status) float64 { return float64(s.Spool.Bytes) }),
		gauge("spool_failing", "1 if the spool does not take segments.", func(s Status) float64 {
			if s.Spool.Err != nil {
				return 1
			}
			return 0
		}),
		gauge("hanging_calls", "Calls into the tree that do not return.", func(s Status) float64 { return float64(s.Hanging) }),
		counter("segments_sent_total", "Segments made durable.", func(s Status) float64 { return float64(s.SentSegments) }),
		counter("sent_bytes_total", "Bytes of segments made durable.", func(s Status) float64 { return float64(s.SentBytes) }),
		counter("send_failures_total", "Tries to send a segment that failed.", func(s Status) float64 { return float64(s.SendFailures) }),
		counter("overflows_total", "Times that notices of the kernel were lost.", func(s Status) float64 { return float64(s.Watch.Overflows) }),
	} {
		if err := to.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// readErrors collects the errors by kind.
type readErrors struct {
	a      *Agent
	labels prometheus.Labels
}

func (r readErrors) desc() *prometheus.Desc {
	return prometheus.NewDesc("fustor_agent_read_errors_total", "Paths that could not be read, by kind.", []string{"kind"}, r.labels)
}

// Describe implements prometheus.Collector.
func (r readErrors) Describe(out chan<- *prometheus.Desc) { out <- r.desc() }

// Collect implements prometheus.Collector.
func (r readErrors) Collect(out chan<- prometheus.Metric) {
	found := r.a.Status().ReadErrors
	for _, kind := range errorKinds { // also those that there are none of, so that the first one is a rise
		out <- prometheus.MustNewConstMetric(r.desc(), prometheus.CounterValue, float64(found[kind].Count), kind)
	}
}
