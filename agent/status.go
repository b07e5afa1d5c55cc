package agent

import (
	"maps"
	"math"
	"time"

	"github.com/fustor/fustor/agent/bus"
	"github.com/fustor/fustor/agent/send"
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
	Directories, Files, Others, Bytes, Errors, Looked uint64

	// Watch is what the watcher does. Its Coverage is no better than the view: while changes may be missing that came with no
	// notice, it is not watch.Realtime, and Reason says why.
	Watch       watch.Status
	CanRealtime bool       // changes are reported as they happen, from some directories at least
	Source      bus.Status // how the agent keeps up with its source

	BacklogBytes    int // sealed and not yet durable
	BacklogSegments int
	Spool           spool.Status // the zero value: the agent has none
	SentSegments    uint64
	SentBytes       uint64
	SendFailures    uint64
	SendError       error // why the last try to send failed; nil: it did not
	UploadsRefused  error // why this session's segments go through ingest though it signs uploads; nil: they do not

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

	Local    bool              // the tree is in a file system of this host
	CaughtUp *pipeapi.CaughtUp // its At is 0: it cannot be said at present

	Atimes string // what becomes of the times of the last access: a tree.Atimes, or off; empty: not known yet

	State string // of the table in docs/agent.md
	// Tasks are those that have failed, by name: how often, and how last.
	Tasks map[string]pipeapi.TaskFailure
}

// Status is what the agent is doing now.
func (a *Agent) Status() Status {
	var s Status
	a.situation.addTo(&s)
	s.BacklogBytes, s.BacklogSegments = a.stream.Backlog()
	s.Spool = a.spooling.status()
	if w := a.watching.current(); w != nil {
		s.Watch = w.Status()
	}
	s.CanRealtime = s.Watch.Coverage != watch.AuditOnly
	// The gap is asked for after the coverage: whoever raises the coverage has opened the gap before.
	if why := a.situation.gap(); why != "" && s.Watch.Coverage == watch.Realtime {
		s.Watch.Coverage, s.Watch.Reason = watch.HotSet, why
	}
	s.ClockOffset = time.Duration(a.clock.Time() - a.o.Tuning.Clocks.Now().Wall)
	s.Skew = time.Duration(a.stream.Skew())
	s.Hanging, s.HangingPath = a.watching.subscription.Hanging()
	s.Atimes = a.directories.atimesWord()
	s.Source = a.watching.subscription.Status()
	if through, ok := a.sender.(*send.Ingest); ok {
		s.UploadsRefused = through.Refused()
	}
	s.Tasks = a.supervisor.report()
	s.Version = a.o.Version
	s.Local = !a.directories.remote
	s.CaughtUp = &pipeapi.CaughtUp{} // not known at present; builds that never know send none
	if next, since, ok := a.stream.Durable(); ok && s.Watch.Told != 0 && s.Source.Queued == 0 && s.RootLost == nil {
		durable := a.clock.Now() - int64(time.Since(since))
		s.CaughtUp = &pipeapi.CaughtUp{At: min(durable, a.clock.At(s.Watch.Told)) - int64(noticesWithin), NextSeq: next}
	}
	a.counters.addTo(&s)
	return s
}

// noticesWithin is how long a notice of the kernel takes at most to be pending, and a look at what it is about to be in a segment.
const noticesWithin = 2 * time.Second

// addTo fills in the role, the state and the scan that runs.
func (s *situation) addTo(to *Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to.Session, to.Leader, to.Term = s.role.Session, s.role.Leads, s.role.Term
	to.RootLost, to.State, to.Paused = s.rootLost, string(s.lifecycle.state), s.pause
	if to.Scan = string(s.scan); s.scan != "" {
		to.ScanTime = time.Since(s.scanBegan)
	}
}

// addTo fills in what was counted.
func (c *counters) addTo(to *Status) {
	n := c.running()
	to.Directories, to.Files, to.Others = n.Directories.Load(), n.Files.Load(), n.Others.Load()
	to.Bytes, to.Errors, to.Looked = n.Bytes.Load(), n.Errors.Load(), n.Looked.Load()
	to.SentSegments, to.SentBytes, to.SendFailures = c.segments.Load(), c.bytes.Load(), c.failures.Load()
	to.Uptime, to.Rates = time.Since(c.began), c.rates()
	to.ReadErrors, to.LastScan = c.report()
	c.mu.Lock()
	to.SendError = c.sendError
	c.mu.Unlock()
}

// maxReport bounds a text in a report: ingest keeps 16 KiB of it all.
const maxReport = 300

// report is what a heartbeat says of the status.
func (s Status) report() *pipeapi.AgentStatus {
	r := &pipeapi.AgentStatus{
		State: s.State, Directories: s.Directories, Files: s.Files, Bytes: s.Bytes, Errors: s.Errors, Looked: s.Looked, LastScan: s.LastScan,
		Watches: s.Watch.Watches, Unwatched: s.Watch.Unwatched, Pending: s.Watch.Pending, Overflows: s.Watch.Overflows, Unreadable: s.Watch.Unreadable,
		BacklogBytes: s.BacklogBytes, BacklogSegments: s.BacklogSegments, SentSegments: s.SentSegments, SentBytes: s.SentBytes,
		SendFailures: s.SendFailures, Rates: s.Rates, Uptime: math.Round(s.Uptime.Seconds()), Version: s.Version,
		Clock:      pipeapi.Clock{Offset: round(s.ClockOffset.Seconds()), Skew: round(s.Skew.Seconds())},
		ReadErrors: s.ReadErrors, Paused: s.Paused, Hanging: s.Hanging, Atimes: s.Atimes, Local: s.Local, CaughtUp: s.CaughtUp,
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
	if s.SendError != nil {
		r.SendError = shorten(s.SendError.Error(), maxReport)
	}
	if s.UploadsRefused != nil {
		r.UploadsRefused = shorten(s.UploadsRefused.Error(), maxReport)
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

// progress calls Options.Progress regularly until stop is called, and a last time then.
func (a *Agent) progress() (stop func()) {
	if a.o.Progress == nil {
		return func() {}
	}
	stopCalls := a.supervisor.every("progress", 250*time.Millisecond, func() { a.o.Progress(a.Status()) })
	return func() {
		stopCalls()
		a.o.Progress(a.Status())
	}
}
