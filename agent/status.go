package agent

import (
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/agent/spool"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/pipeapi"
)

// Status is what an agent is doing.
type Status struct {
	Session string
	Leader  bool
	Term    uint64

	Scan string // the scan that runs: snapshot, audit, rescan, cover; empty: none
	// What the scan that runs, or ran last, has seen so far.
	Directories, Files, Others, Bytes, Errors uint64

	Watch watch.Status

	BacklogBytes    int // sealed and not yet durable
	BacklogSegments int
	Spool           spool.Status // the zero value: the agent has none
	SentSegments    uint64
	SentBytes       uint64
	SendFailures    uint64

	RootLost error // nil: it is there

	Paused *pipeapi.Pause // nil: it runs
	Rates  pipeapi.Rates
	// ReadErrors are by kind: permission, vanished, io, timeout (a file server that does not answer) and other.
	ReadErrors  map[string]pipeapi.ReadErrors
	LastScan    *pipeapi.LastScan // nil: none yet
	ScanTime    time.Duration     // of the scan that runs
	ClockOffset time.Duration     // the store's time minus the host's
	Skew        time.Duration     // the store's time minus the file server's
	Version     string
	Uptime      time.Duration
	Hanging     int    // calls into the tree that do not return
	HangingPath string // of the first of them

	State string // of the table in docs/agent.md
	// Tasks are those that have failed, by name: how often, and how last.
	Tasks map[string]pipeapi.TaskFailure
}

// Status is what the agent is doing now.
func (a *Agent) Status() Status {
	var s Status
	s.BacklogBytes, s.BacklogSegments = a.stream.Backlog()
	if s.Spool.Err = a.spoolErr; a.spool != nil {
		s.Spool = a.spool.Status()
	}
	if w := a.watcher.Load(); w != nil {
		s.Watch = w.Status()
	}
	a.addMeasures(&s)
	s.Hanging, s.HangingPath = a.calls.Status()
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Session, s.Leader, s.Term, s.Scan = a.stand.session, a.stand.leader, a.stand.term, a.scans.running
	c := a.counts
	s.Directories, s.Files, s.Others = c.Directories.Load(), c.Files.Load(), c.Others.Load()
	s.Bytes, s.Errors = c.Bytes.Load(), c.Errors.Load()
	s.SentSegments, s.SentBytes, s.SendFailures = a.sent.segments, a.sent.bytes, a.sent.failures
	s.RootLost, s.State, s.Paused = a.lost, string(a.state), a.pause
	if s.Scan != "" {
		s.ScanTime = time.Since(a.scans.began)
	}
	for name, f := range a.failures {
		if s.Tasks == nil {
			s.Tasks = map[string]pipeapi.TaskFailure{}
		}
		s.Tasks[name] = pipeapi.TaskFailure{Error: f.err, At: f.at, Restarts: f.restarts}
	}
	return s
}

// addMeasures fills in what the agent counts of its own work.
func (a *Agent) addMeasures(s *Status) {
	s.ClockOffset = time.Duration(a.clock.Time() - a.o.Tuning.Clocks.Now().Wall)
	s.Skew = time.Duration(a.stream.Skew())
	s.Version, s.Uptime = a.o.Version, time.Since(a.tally.began)
	s.Rates = a.tally.rates(a.sample())
	a.tally.mu.Lock()
	defer a.tally.mu.Unlock()
	s.ReadErrors, s.LastScan = maps.Clone(a.tally.errors), a.tally.last
}

// maxReport bounds a text in a report: ingest keeps 16 KiB of it all.
const maxReport = 300

// report is what a heartbeat says of the status.
func (s Status) report() *pipeapi.AgentStatus {
	r := &pipeapi.AgentStatus{
		State: s.State, Directories: s.Directories, Files: s.Files, Bytes: s.Bytes, Errors: s.Errors, LastScan: s.LastScan,
		Watches: s.Watch.Watches, Unwatched: s.Watch.Unwatched, Pending: s.Watch.Pending, Overflows: s.Watch.Overflows, Unreadable: s.Watch.Unreadable,
		BacklogBytes: s.BacklogBytes, BacklogSegments: s.BacklogSegments, SentSegments: s.SentSegments, SentBytes: s.SentBytes,
		SendFailures: s.SendFailures, Rates: s.Rates, Uptime: math.Round(s.Uptime.Seconds()), Version: s.Version,
		Clock:      pipeapi.Clock{Offset: round(s.ClockOffset.Seconds()), Skew: round(s.Skew.Seconds())},
		ReadErrors: s.ReadErrors, Paused: s.Paused, Hanging: s.Hanging,
	}
	if s.Scan != "" {
		r.Scan = &pipeapi.RunningScan{Scan: s.Scan, Seconds: math.Round(s.ScanTime.Seconds())}
	}
	if s.Watch.Coverage != "" { // otherwise the watch has failed and is about to begin anew
		r.Coverage, r.WatchMethod, r.WatchReason, r.WatchLimit = s.Watch.Coverage, s.Watch.Method, s.Watch.Reason, s.Watch.Limit
	}
	if s.Spool.Max > 0 {
		r.SpoolBytes, r.SpoolMaxBytes = &s.Spool.Bytes, s.Spool.Max
	}
	if s.Spool.Err != nil {
		r.SpoolError = shorten(s.Spool.Err.Error(), maxReport)
	}
	if len(s.Tasks) > 0 {
		r.Tasks = maps.Clone(s.Tasks)
		for name, f := range r.Tasks {
			f.Error = shorten(f.Error, maxReport)
			r.Tasks[name] = f
		}
	}
	if s.Hanging > 0 {
		r.HangingPath = plainText(s.HangingPath)
	}
	if s.RootLost != nil {
		r.RootLost = shorten(s.RootLost.Error(), maxReport)
	}
	return r
}

// progress calls Options.Progress until the answer is called, and a last time then.
func (a *Agent) progress() (stop func()) {
	if a.o.Progress == nil {
		return func() {}
	}
	stopCalls := a.every("progress", 250*time.Millisecond, func() { a.o.Progress(a.Status()) })
	return func() {
		stopCalls()
		a.o.Progress(a.Status())
	}
}

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
		gauge("backlog_segments", "Segments that are not durable yet.", func(s Status) float64 { return float64(s.BacklogSegments) }),
		counter("events_total", "Events of the kernel that were taken to be sent.", func(s Status) float64 { return float64(a.tally.events.Load()) }),
		counter("scanned_entries_total", "Entries that scans looked at.", func(Status) float64 { return float64(a.sample().entries) }),
		gauge("last_scan_timestamp_seconds", "When the last whole scan that was completed began; 0: none yet.", func(s Status) float64 {
			if s.LastScan == nil {
				return 0
			}
			return float64(s.LastScan.At.UnixNano()) / 1e9
		}),
		gauge("last_scan_seconds", "How long it took.", func(s Status) float64 {
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
	for kind, e := range r.a.Status().ReadErrors {
		out <- prometheus.MustNewConstMetric(r.desc(), prometheus.CounterValue, float64(e.Count), kind)
	}
}
