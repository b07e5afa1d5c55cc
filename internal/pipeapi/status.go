package pipeapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/values"
)

// AgentStatus is what an agent says of itself with each heartbeat. /sessions, the state page and `fustor sessions` show it.
//
// Agents of other versions may leave any of it out, send more, or send a field as another type. So a status that was decoded has
// the fields that are what they should be, the others are zero; and it is encoded again exactly as it came. Build one only to send
// it, and do not change one that was decoded.
type AgentStatus struct {
	State string `json:"state"` // of the table in docs/agent.md

	// Of the scan that runs, or ran last.
	Directories uint64 `json:"directories"`
	Files       uint64 `json:"files"`
	Bytes       uint64 `json:"bytes"`
	Errors      uint64 `json:"errors"`
	// Looked is how many names it has looked at: within a directory of millions nothing else grows.
	Looked uint64 `json:"looked,omitempty"`

	Scan     *RunningScan `json:"scan,omitempty"`      // nil: none runs
	LastScan *LastScan    `json:"last_scan,omitempty"` // nil: none was completed yet

	Coverage    string `json:"coverage,omitempty"` // realtime, realtime-hotset or audit-only; empty: the watch begins anew
	WatchMethod string `json:"watch_method,omitempty"`
	WatchReason string `json:"watch_reason,omitempty"` // why method or coverage is no better
	WatchLimit  int    `json:"watch_limit,omitempty"`  // watches that may be held; 0: any number
	Watches     int    `json:"watches"`                // directories that are watched
	Unwatched   int    `json:"unwatched"`              // directories that are known and not watched
	Unreadable  int    `json:"unreadable"`             // paths that cannot be read for want of rights
	Pending     int    `json:"pending"`                // paths to be looked at
	Overflows   uint64 `json:"overflows"`              // times that notices of the kernel were lost

	// Atimes is what becomes of the times of the last access: strictatime, relatime, noatime, server or none; off: they are not followed.
	Atimes string `json:"atimes,omitempty"`

	BacklogBytes    int    `json:"backlog_bytes"` // sealed and not yet durable
	BacklogSegments int    `json:"backlog_segments"`
	SentBytes       uint64 `json:"sent_bytes"` // durable since the start
	SentSegments    uint64 `json:"sent_segments"`
	SendFailures    uint64 `json:"send_failures"`
	SendError       string `json:"send_error,omitempty"`      // why the last try to send failed
	UploadsRefused  string `json:"uploads_refused,omitempty"` // why segments go through ingest though it signs uploads
	SpoolBytes      *int64 `json:"spool_bytes,omitempty"`     // nil: the agent has no spool
	SpoolMaxBytes   int64  `json:"spool_max_bytes,omitempty"` // likewise 0
	SpoolError      string `json:"spool_error,omitempty"`     // why it takes nothing

	Rates  Rates   `json:"rates"`
	Clock  Clock   `json:"clock"`
	Uptime float64 `json:"uptime_s"`
	// ReadErrors are the paths that could not be read, by kind: permission, vanished, io, timeout and other.
	ReadErrors map[string]ReadErrors `json:"read_errors,omitempty"`
	// Tasks are the agent's tasks that have failed, by name.
	Tasks       map[string]TaskFailure `json:"tasks,omitempty"`
	Hanging     int                    `json:"hanging,omitempty"` // calls into the tree that do not return
	HangingPath string                 `json:"hanging_path,omitempty"`
	RootLost    string                 `json:"root_lost,omitempty"` // why the tree is away
	Paused      *Pause                 `json:"paused,omitempty"`
	Version     string                 `json:"version"`

	// Local: the tree is in a file system of the agent's host, so the kernel reports the changes of everybody.
	Local bool `json:"local_file_system,omitempty"`
	// CaughtUp says until when everything is sent; nil: an agent of an earlier build, which never says.
	CaughtUp *CaughtUp `json:"caught_up,omitempty"`

	// Omitted says why ingest kept nothing but the state.
	Omitted string `json:"omitted,omitempty"`

	came json.RawMessage // as it was decoded; nil: it was built here
}

// CaughtUp says that everything that the kernel told the agent until a time is durable, in the segments of its session before NextSeq.
type CaughtUp struct {
	At      int64  `json:"at_ns"` // the store's time
	NextSeq uint64 `json:"next_seq"`
}

// Known reports whether it says anything: an agent that cannot at present sends the zero value.
func (c *CaughtUp) Known() bool { return c != nil && c.At != 0 }

// OrNil is c, or nil if it says nothing.
func (c *CaughtUp) OrNil() *CaughtUp {
	if c.Known() {
		return c
	}
	return nil
}

// RunningScan is the scan that runs.
type RunningScan struct {
	Scan    string  `json:"scan"` // snapshot, audit, rescan or cover
	Seconds float64 `json:"seconds"`
}

// Progress is how far the scan is that runs.
type Progress struct {
	RunningScan
	Directories, Files uint64  // so far
	PerSecond          float64 // entries, over the last minute or since it began
	// Of is how many directories the last scan of everything had; 0: none was completed yet, this one has passed it, or it does not compare.
	Of   uint64
	Left float64 // seconds to the end, if this one has as many directories as the last; 0: unknown
}

// Progress is nil if no scan runs.
func (s *AgentStatus) Progress() *Progress {
	if s == nil || s.Scan == nil {
		return nil
	}
	p := &Progress{RunningScan: *s.Scan, Directories: s.Directories, Files: s.Files, PerSecond: s.Rates.Entries}
	const cover = "cover" // reads what is not watched yet
	if s.LastScan == nil || s.LastScan.Directories <= s.Directories || p.Scan == cover {
		return p
	}
	p.Of = s.LastScan.Directories
	if share := float64(p.Directories) / float64(p.Of); share >= 0.01 && p.Seconds >= 5 { // what is said before that jumps about
		p.Left = p.Seconds * (1 - share) / share
	}
	return p
}

// String is the progress in words: "audit: 1,234 of about 5,000 directories, 98,765 files, 4,321 entries/s, for 2m5s, about 6m left".
func (p *Progress) String() string {
	of := ""
	if p.Of > 0 {
		of = " of about " + values.Count(int64(p.Of))
	}
	text := fmt.Sprintf("%s: %s%s directories, %s, %s/s, for %s", p.Scan, values.Count(int64(p.Directories)), of, values.Plural(p.Files, "file", "files"),
		values.Plural(uint64(p.PerSecond+0.5), "entry", "entries"), seconds(p.Seconds))
	if p.Left > 0 {
		text += ", about " + seconds(p.Left) + " left"
	}
	return text
}

// seconds is a duration as people say it: seconds of the first minutes, then minutes.
func seconds(s float64) string {
	d := time.Duration(min(s, 1e9) * float64(time.Second))
	if d >= 10*time.Minute {
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return d.Round(time.Second).String()
}

// LastScan is the last whole scan that was completed.
type LastScan struct {
	Scan        string    `json:"scan"`     // snapshot, audit or rescan
	At          time.Time `json:"began_at"` // by the host's clock
	Seconds     float64   `json:"seconds"`
	Directories uint64    `json:"directories"`
	Files       uint64    `json:"files"`
	Errors      uint64    `json:"errors"`
	// Changed is how many directories were new, or had another mtime than when they were listed last; of audits alone.
	Changed uint64 `json:"changed_directories"`
	// Excluded is what the exclude patterns left out, at most 20; nil: the scan did not read every directory.
	Excluded []Excluded `json:"excluded,omitempty"`
	// Pseudo are the file systems that were left out because they hold no stored files, such as "/proc (proc)"; at most 20.
	Pseudo []string `json:"pseudo_file_systems,omitempty"`
}

// Excluded is an exclude pattern, and how many entries it left out, those below an excluded directory not counted. For a pattern
// with !, it is how many it took back in.
type Excluded struct {
	Pattern string `json:"pattern"`
	Entries uint64 `json:"entries"`
}

// Rates are over the last minute, or since the start where that is less.
type Rates struct {
	Events  float64 `json:"events_per_s"`     // of the kernel, that were taken to be sent
	Entries float64 `json:"entries_per_s"`    // that scans looked at
	Bytes   float64 `json:"sent_bytes_per_s"` // of segments made durable
}

// Clock is what the agent knows of clocks, seconds.
type Clock struct {
	Offset float64 `json:"offset_s"` // the store's time minus the host's
	Skew   float64 `json:"skew_s"`   // the store's time minus the file server's
}

// ReadErrors are the paths of one kind that could not be read, since the start; a path counts each time.
type ReadErrors struct {
	Count   uint64 `json:"count"`
	Example string `json:"example"` // the last of them
}

// TaskFailure is how a task of the agent failed last.
type TaskFailure struct {
	Error    string    `json:"error"`
	At       time.Time `json:"at"` // by the host's clock
	Restarts int       `json:"restarts"`
}

// Pause is who paused a pipe, and when.
type Pause struct {
	By    string    `json:"by"`
	Since time.Time `json:"since"` // by the host's clock
}

// MarshalJSON implements json.Marshaler.
func (s *AgentStatus) MarshalJSON() ([]byte, error) {
	if s.came != nil {
		return s.came, nil
	}
	type plain AgentStatus
	return json.Marshal((*plain)(s))
}

// Omit stands for a status that cannot be kept: it has the state and why the rest is not there, and no other field.
func Omit(state, why string) *AgentStatus {
	s := &AgentStatus{State: state, Omitted: why}
	s.came, _ = json.Marshal(map[string]string{"state": state, "omitted": why}) // two texts can always be encoded
	return s
}

// UnmarshalJSON takes any JSON object.
func (s *AgentStatus) UnmarshalJSON(body []byte) error {
	if trimmed := bytes.TrimSpace(body); len(trimmed) == 0 || trimmed[0] != '{' {
		return errors.New("agent_status is not an object")
	}
	*s = AgentStatus{}
	came := bytes.ToValidUTF8(body, []byte("\ufffd")) // those who read it from us need not be as lenient, and read what we do
	s.decode(came)
	s.came = came
	return nil
}

// decode takes each field that is what it should be.
func (s *AgentStatus) decode(body []byte) {
	type plain AgentStatus
	if json.Unmarshal(body, (*plain)(s)) == nil {
		return
	}
	// One field is of another type: decode each by itself, so that it costs none of the others.
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return
	}
	*s = AgentStatus{}
	for name, value := range fields {
		one, err := json.Marshal(map[string]json.RawMessage{name: value})
		if err != nil {
			continue
		}
		if whole := *s; json.Unmarshal(one, (*plain)(&whole)) == nil {
			*s = whole
		}
	}
}
