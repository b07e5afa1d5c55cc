// Package agent feeds one view with what happens in one file tree: source (scan, watch) → events → segments → sender.
//
// An Agent keeps one session with ingest. Every session watches its tree and sends realtime events; the one that leads
// the view also scans: a snapshot when it becomes leader, audits from time to time. Invariants: a directory is watched
// before it is read; listings never go out under another term than they were looked at under; leader work stops at two
// thirds of the lease since the start of the last good renewal; memory is bounded, and what it cannot hold is scanned
// again; a root that vanished is reported, never taken for empty. cmd/ starts it; it never opens or writes a file of the
// tree.
package agent

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/agent/bus"
	"github.com/fustor/fustor/agent/owners"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/lease"
)

// Options are what an agent is made from. Root, View and IngestURL must be given.
type Options struct {
	Root    string // the directory
	View    string
	AgentID string // default: the host's name
	// TaskID is the pipe's name; the view has at most one live session of it. Default: one of this process alone, so
	// that a restart does not wait for the session of the process before it to time out.
	TaskID    string
	SourceURI string // default: fs://HOST/ROOT

	IngestURL  string       // of the ingest to register with
	IngestHTTP *http.Client // default: one with time-outs; send.Handler calls a handler in this process
	APIKey     string
	// Sender makes segments durable. Default: the uploads that ingest presigns, or ingest itself where its store cannot.
	Sender send.Sender
	// ThroughIngest sends to ingest itself in any case. Sender must be nil.
	ThroughIngest bool

	// Bus has the agent share its watch and its scans with the others of the process whose source is the same. Default: one of its
	// own.
	Bus *bus.Bus

	Excludes         []string // patterns, beside tree.DefaultExcludes
	NoDefaultExclude bool     // leave tree.DefaultExcludes out
	CrossFilesystems bool     // enter file systems that are mounted below Root
	NoAtimes         bool     // audits do not look for files that were read
	Watch            string   // how to watch: watch.Auto (the default), watch.None, or a method of the platform
	ScanWorkers      int      // at most; default 32
	// ScanRate bounds the entries that all scans together look at in a second; 0: no bound. IOIdle gives their threads the
	// lowest priorities for the disk and the processor; Linux only.
	ScanRate int
	IOIdle   bool

	// SessionTimeout is asked for; the view may insist on more. Default: the view's.
	SessionTimeout time.Duration
	// StateFile, unless empty, remembers the session, so that an agent that was killed closes it when it starts again
	// and need not wait for its lease to run out. Files beside it remember what was listed, which need not be again.
	StateFile string
	// Spool, unless empty, is a directory of this host, for this agent alone, in which events outlive outages and the
	// agent's death until they are sent. SpoolSize bounds it, in bytes; default spool.DefaultMax.
	Spool     string
	SpoolSize int64

	// Owners finds the names of owners and groups; owners.Host asks this host. nil: the view shows their numbers.
	Owners owners.Resolver

	// Version is the program's, for its heartbeats. Reload reads the config file again and says what that did; nil: there
	// is none.
	Version string
	Reload  func() (string, error)

	Logger   *slog.Logger          // nil: no log
	Registry prometheus.Registerer // for metrics; may be nil
	Progress func(Status)          // called about four times a second while a scan runs, and at its end; may be nil

	Tuning Tuning
}

// Tuning is for tests; zero values are what users get.
type Tuning struct {
	Window        time.Duration // of hints before a look
	SegmentAge    time.Duration
	AuditInterval time.Duration // instead of the view's
	SettleAfter   time.Duration // from a rescan after an overflow to the next; default 150 s
	RootEvery     time.Duration
	WatchEvery    time.Duration // between tries to watch where no method works, and looks for more watches where they are short; default 1 min
	MaxBacklog    int           // bytes
	MaxPending    int           // notices
	ScanBacklog   int           // bytes
	GracePeriod   time.Duration
	Racy          time.Duration // how old a directory's mtime must be when it is listed to prove something
	HangAfter     time.Duration // that a call into a file system counts as hanging; default a minute
	Backoff       time.Duration // of a task that keeps failing; default 15 s
	Clocks        lease.Clocks  // the host's; those that are nil are the real ones
	// System and Notifier stand in for the operating system's files and notices; nil: the real ones.
	System   tree.System
	Notifier func(root string) (watch.Notifier, error)
}

// CanIdle reports whether Options.IOIdle is possible on this system.
const CanIdle = scan.CanIdle

func (o Options) withDefaults() (Options, error) {
	switch {
	case !layout.ValidView(o.View):
		return o, fmt.Errorf("view %q: 1 to 63 of a-z 0-9 - _, with a letter or digit first", o.View)
	case o.IngestURL == "":
		return o, errors.New("the agent needs the URL of an ingest")
	case o.ScanRate < 0:
		return o, fmt.Errorf("scan rate %d: give entries per second, or 0 for no limit", o.ScanRate)
	case o.IOIdle && !scan.CanIdle:
		return o, errors.New("only Linux can scan with idle priorities (--io-idle, io_idle): leave it out, and bound the scan by a rate")
	}
	o.Tuning.Clocks = o.Tuning.Clocks.Or(lease.Host())
	if o.Tuning.System == nil {
		o.Tuning.System = tree.OS
	}
	if err := tree.CheckOn(o.Tuning.System, o.Root); err != nil {
		return o, err
	}
	if !watch.KnownMethod(o.Watch) {
		return o, fmt.Errorf("unknown watch method %q: use auto or none, or on Linux fanotify or inotify", o.Watch)
	}
	root, err := o.Tuning.System.Resolve(o.Root)
	if err != nil {
		return o, err
	}
	o.Root = root
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	if o.AgentID == "" {
		o.AgentID = validID(host)
	}
	if !layout.ValidID(o.AgentID) {
		return o, fmt.Errorf("agent id %q: 1 to 128 of A-Z a-z 0-9 - _ . : @, with a letter or digit first", o.AgentID)
	}
	if o.TaskID == "" {
		o.TaskID = o.AgentID + ":" + o.View + ":" + rand.Text()[:8]
	}
	if o.SourceURI == "" {
		o.SourceURI = "fs://" + host + plainText(o.Root)
	}
	if o.IngestHTTP == nil {
		o.IngestHTTP = httpclient.New(&http.Client{Timeout: time.Minute})
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Bus == nil {
		o.Bus = bus.New(o.Tuning.Clocks, o.Logger)
	}
	return o, o.Tuning.check()
}

func (t *Tuning) check() error {
	for _, d := range []struct {
		at    *time.Duration
		value time.Duration
	}{{&t.SettleAfter, 150 * time.Second}, {&t.GracePeriod, 10 * time.Second}} {
		if *d.at < 0 {
			return fmt.Errorf("a negative duration: %v", *d.at)
		}
		if *d.at == 0 {
			*d.at = d.value
		}
	}
	return nil
}

// sender is what makes segments durable.
func (o Options) sender(client *send.Client) send.Sender {
	switch {
	case o.ThroughIngest:
		return send.NewThrough(client)
	case o.Sender == nil:
		s := send.NewIngest(client, nil)
		s.OnRefused = func(why error) {
			o.Logger.Warn("uploads that ingest signs fail, so this session's segments go through ingest", "error", why)
		}
		return s
	}
	return o.Sender
}

// validID makes a host's name fit for an id.
func validID(host string) string {
	b := []byte(host)
	for i, c := range b {
		if !layout.ValidID("a" + string(c)) {
			b[i] = '-'
		}
	}
	if id := string(b); layout.ValidID(id) {
		return id
	}
	return "agent-" + string(b[:min(len(b), 100)])
}

// plainText makes a path fit for a JSON string without control characters; %-escapes mark what it was not.
func plainText(path string) string {
	var b []byte
	for i, r := range path {
		if r < ' ' || r == 0x7f || r == '%' || r == 0xFFFD || r >= 0x80 && r < 0xa0 {
			for _, c := range []byte(path[i : i+runeBytes(path[i:])]) {
				b = fmt.Appendf(b, "%%%02X", c)
			}
			continue
		}
		b = append(b, string(r)...)
	}
	return string(b)
}

// runeBytes is how many bytes the first character of s takes; one where it is not UTF-8.
func runeBytes(s string) int {
	for i := range s {
		if i > 0 {
			return i
		}
	}
	return len(s)
}
