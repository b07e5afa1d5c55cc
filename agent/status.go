package agent

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/agent/spool"
	"github.com/fustor/fustor/agent/watch"
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

	State string // of the table in docs/agent.md
	// Tasks are those that have failed, by name: how often, and how last.
	Tasks map[string]TaskFailure
}

// TaskFailure is what became of a task that is supervised.
type TaskFailure struct {
	Error    string    `json:"error"`
	At       time.Time `json:"at"` // by the host's clock
	Restarts int       `json:"restarts"`
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
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Session, s.Leader, s.Term, s.Scan = a.stand.session, a.stand.leader, a.stand.term, a.scans.running
	c := a.counts
	s.Directories, s.Files, s.Others = c.Directories.Load(), c.Files.Load(), c.Others.Load()
	s.Bytes, s.Errors = c.Bytes.Load(), c.Errors.Load()
	s.SentSegments, s.SentBytes, s.SendFailures = a.sent.segments, a.sent.bytes, a.sent.failures
	s.RootLost, s.State = a.lost, string(a.state)
	for name, f := range a.failures {
		if s.Tasks == nil {
			s.Tasks = map[string]TaskFailure{}
		}
		s.Tasks[name] = TaskFailure{f.err, f.at, f.restarts}
	}
	return s
}

// report is what heartbeats tell of it.
func (s Status) report() map[string]any {
	report := map[string]any{
		"state": s.State, "directories": s.Directories, "files": s.Files, "bytes": s.Bytes, "errors": s.Errors,
		"watches": s.Watch.Watches, "unwatched": s.Watch.Unwatched, "pending": s.Watch.Pending, "overflows": s.Watch.Overflows,
		"unreadable":    s.Watch.Unreadable,
		"backlog_bytes": s.BacklogBytes, "sent_segments": s.SentSegments, "sent_bytes": s.SentBytes,
	}
	if s.Spool.Max > 0 {
		report["spool_bytes"], report["spool_max_bytes"] = s.Spool.Bytes, s.Spool.Max
	}
	if s.Spool.Err != nil {
		report["spool_error"] = s.Spool.Err.Error()
	}
	if len(s.Tasks) > 0 {
		report["tasks"] = s.Tasks
	}
	if s.RootLost != nil {
		report["root_lost"] = s.RootLost.Error()
	}
	return report
}

// progress calls Options.Progress until the answer is called, and a last time then.
func (a *Agent) progress() (stop func()) {
	if a.o.Progress == nil {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				a.o.Progress(a.Status())
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
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
	for _, c := range []prometheus.Collector{
		gauge("leader", "1 if the session leads its view.", func(s Status) float64 {
			if s.Leader {
				return 1
			}
			return 0
		}),
		gauge("watches", "Directories that are watched.", func(s Status) float64 { return float64(s.Watch.Watches) }),
		gauge("unwatched_directories", "Directories beyond the system's limit on watches.", func(s Status) float64 { return float64(s.Watch.Unwatched) }),
		gauge("pending_paths", "Paths that are to be looked at.", func(s Status) float64 { return float64(s.Watch.Pending) }),
		gauge("backlog_bytes", "Bytes of segments that are not durable yet.", func(s Status) float64 { return float64(s.BacklogBytes) }),
		gauge("spool_bytes", "Bytes of segments in the spool.", func(s Status) float64 { return float64(s.Spool.Bytes) }),
		gauge("spool_failing", "1 if the spool does not take segments.", func(s Status) float64 {
			if s.Spool.Err != nil {
				return 1
			}
			return 0
		}),
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
