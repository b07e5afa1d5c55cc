package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/values"
)

// Whether what is below a path is complete. A version alone cannot say: it shows what was known when it was folded. So the question is up
// to which time the view is certain to have everything (KnownUntil), and whether nothing changed for the quiet time before that.
//
//	    last change        quiet_at          known until   now
//	────────┼──── quiet ──────┼──────────────────┼──────────┼──
//
// KnownUntil is the earliest of what it rests on. Every agent that watches must have sent everything that its kernel reported until then,
// and all of that must be folded. Where the tree is not in a file system of one such agent's own host, other hosts may change it without a
// report: then a scan must have begun since, too, by as much as a client of the file server may be behind.

// The reasons why something is not complete, or cannot be known to be.
const (
	ReasonAbsent     = "absent"        // the view has no such path
	ReasonWriting    = "writing"       // files may still be written to
	ReasonChanged    = "changed"       // something changed within the quiet time
	ReasonFewFiles   = "few-files"     // fewer than min_files
	ReasonFewBytes   = "few-bytes"     // less than min_bytes
	ReasonUnreadable = "unreadable"    // some of it cannot be read
	ReasonFull       = "full"          // names were left out, as the view has as many entries as it may
	ReasonNoLeader   = "no-leader"     // no agent leads the view
	ReasonAgent      = "agent"         // an agent that watches is not live, or paused, or has lost its tree
	ReasonBehind     = "behind"        // what an agent saw is not all in the view yet
	ReasonEarlier    = "earlier-build" // an agent's build does not say whether it has sent everything
	ReasonNotWatched = "not-watched"
)

// Reason is why something is not complete. Known is false if more time, or somebody's help, is needed to know.
type Reason struct {
	Code  string `json:"code"`
	Text  string `json:"text"`            // for people
	Agent string `json:"agent,omitempty"` // that it is about
}

// Watcher is an agent that feeds the view.
type Watcher struct {
	Agent      string `json:"agent"`
	Session    string `json:"session_id"`
	Source     string `json:"source_uri"`
	Role       string `json:"role"`
	Coverage   string `json:"coverage"` // realtime, realtime-hotset, audit-only; empty: it does not say
	Local      bool   `json:"local"`    // it reports everybody's changes
	KnownUntil int64  `json:"known_until_ns,omitempty"`
}

// Looked is the last scan that has looked at everything below a path.
type Looked struct {
	How     string `json:"how"` // audit, snapshot or on-demand
	BeganAt int64  `json:"began_at_ns"`
}

// Completeness is the answer.
type Completeness struct {
	Version    *Version
	Row        *evidence.Row // nil: there is no such path
	Complete   bool
	Reasons    []Reason
	KnownUntil int64 // ns; 0: not at all
	// Realtime: reports of the kernel suffice, without a scan.
	Realtime bool
	Watchers []Watcher
	Looked   *Looked // nil: no scan has, or none was needed and none is known
	// skips says why audits do not count, as they may leave out files of directories that did not change; empty: they look at every file.
	skips string

	// Changes are how many paths changed within the quiet time, as far as they were counted; LastChange is the time of the last, ns
	// (0: before what is known), and LastChanged its path.
	Changes     int64
	LastChange  int64
	LastChanged string

	Suspects     int64
	SuspectPaths []string // the first of them
	Unreadable   int
	BlindSpots   int64
	// NextAudit is when the next audit is due, ns; 0: none is, or it is not known.
	NextAudit int64
}

// Wanted is what is asked of something that is complete.
type Wanted struct {
	Path     string
	Quiet    time.Duration
	MinFiles int64
	MinBytes int64
}

// shownSuspects is how many suspects an answer names.
const shownSuspects = 10

// Complete says whether what is at and below a path is complete. A path that does not exist is not an error.
func (e *Engine) Complete(ctx context.Context, view string, w Wanted) (*Completeness, error) {
	if _, err := e.Head(ctx, view); err != nil { // a view that is not there, or a forest
		return nil, err
	}
	// What the agents say comes before the version that is to have it all.
	overview, err := session.List(ctx, e.store, view)
	if err != nil {
		return nil, err
	}
	v, err := e.Newest(ctx, view)
	if err != nil {
		return nil, err
	}
	config, err := e.configs.Load(ctx, view)
	if err != nil {
		return nil, err
	}
	c := &Completeness{Version: v}
	if c.Row, err = v.lookupOrNone(ctx, w.Path); err != nil {
		return nil, err
	}
	if c.Row != nil {
		if err := v.Sum(ctx, c.Row); err != nil {
			return nil, err
		}
	}
	if c.Unreadable, err = v.unreadableFor(ctx, w.Path); err != nil {
		return nil, err
	}
	c.judgeWatchers(&overview, v.Manifest)
	_, restricted := ReaderOf(ctx)
	if c.Looked, err = e.lookedAt(ctx, v.Manifest, w.Path, c); err != nil {
		return nil, err
	}
	if !c.Realtime {
		c.limitByScan(config.Staleness())
	}
	if config.AuditIntervalSeconds > 0 && v.Manifest.Scan.AuditFinishedAt+v.Manifest.Scan.SnapshotFinishedAt > 0 {
		last := max(v.Manifest.Scan.AuditStartedAt, v.Manifest.Scan.SnapshotStartedAt)
		c.NextAudit = last + int64(config.AuditIntervalSeconds*1e9)
	}
	if err := c.judgeContent(ctx, e, w); err != nil {
		return nil, err
	}
	c.Complete = len(c.Reasons) == 0
	if restricted {
		c.withoutAgents()
	}
	return c, nil
}

// withoutAgents takes out what names agents, their hosts and what they say: it may be about what is hidden.
func (c *Completeness) withoutAgents() {
	c.Watchers = nil
	for i := range c.Reasons {
		r := &c.Reasons[i]
		r.Agent = ""
		switch r.Code {
		case ReasonAgent:
			r.Text = "an agent of the view does not watch as it should"
		case ReasonBehind:
			r.Text = "not all that the agents saw is in the view yet"
		case ReasonNotWatched:
			r.Text = "not all changes are reported, and no scan has looked at it since it changed last"
		}
	}
	c.Reasons = slices.CompactFunc(c.Reasons, func(a, b Reason) bool { return a == b })
}

func (c *Completeness) because(code, agent, format string, args ...any) {
	c.Reasons = append(c.Reasons, Reason{Code: code, Agent: agent, Text: fmt.Sprintf(format, args...)})
}

// judgeWatchers takes in who feeds the view, and until when what they saw is in it.
func (c *Completeness) judgeWatchers(o *session.Overview, m *manifest.Manifest) {
	if o.Leader == "" {
		c.because(ReasonNoLeader, "", "no agent leads the view: nobody looks for changes that are not reported")
	}
	known, watching, local := int64(0), 0, false
	for i := range o.Sessions {
		s := &o.Sessions[i]
		r := &s.Record
		progress := m.Sessions[r.ID]
		switch {
		case r.Ended && o.Epoch == r.Epoch && !progress.Broken:
			continue // it watches no more; what it sent is folded before it leaves the roster
		case !s.Lives:
			c.because(ReasonAgent, r.Agent, "agent %s has not been heard of since %s", r.Agent, clockOf(s.LastActivity))
			continue
		}
		w := Watcher{Agent: r.Agent, Session: r.ID, Source: r.Source, Role: "follower"}
		if s.Leads {
			w.Role = "leader"
		}
		status := r.AgentStatus
		if status != nil {
			w.Coverage, w.Local = status.Coverage, status.Local
		}
		switch {
		case status == nil && !s.Leads:
		case status == nil || status.Atimes == "":
			c.skips = fmt.Sprintf("agent %s does not say, or has not said yet, whether its audits look at every file", r.Agent)
		case !auditsCompare[status.Atimes]:
			c.skips = fmt.Sprintf("audits of agent %s leave out files in directories whose own time did not change", r.Agent)
		}
		switch {
		case r.Paused:
			c.because(ReasonAgent, r.Agent, "agent %s is paused", r.Agent)
		case status != nil && status.RootLost != "":
			c.because(ReasonAgent, r.Agent, "agent %s has lost its tree: %s", r.Agent, status.RootLost)
		case status != nil && status.Hanging > 0:
			c.because(ReasonAgent, r.Agent, "agent %s waits for a file system that does not answer, at %s", r.Agent, status.HangingPath)
		case s.CaughtUp == nil && status != nil && status.CaughtUp == nil && status.Omitted == "":
			if w.Coverage != "audit-only" {
				c.because(ReasonEarlier, r.Agent, "agent %s is of an earlier build (%s), which does not say whether it has sent everything: upgrade it", r.Agent, cmp.Or(status.Version, "unknown"))
			}
		case s.CaughtUp == nil:
			if status != nil {
				c.because(ReasonBehind, r.Agent, "agent %s has yet to send some of what it saw, or has just begun", r.Agent)
			}
		case progress.Next < s.CaughtUp.NextSeq:
			c.because(ReasonBehind, r.Agent, "of agent %s, %s not folded yet", r.Agent, values.Plural(s.CaughtUp.NextSeq-progress.Next, "segment is", "segments are"))
		default:
			w.KnownUntil = s.CaughtUp.At
			if known == 0 || w.KnownUntil < known {
				known = w.KnownUntil
			}
			if w.Coverage == "realtime" {
				watching++
				local = local || w.Local
			}
		}
		c.Watchers = append(c.Watchers, w)
	}
	c.Realtime = watching > 0 && local
	c.KnownUntil = known
}

// limitByScan takes in that other hosts may have changed what is below the path since the last scan of it.
func (c *Completeness) limitByScan(staleness time.Duration) {
	if c.Looked == nil {
		c.KnownUntil = 0
		return
	}
	until := c.Looked.BeganAt - int64(staleness)
	if c.KnownUntil == 0 || until < c.KnownUntil {
		c.KnownUntil = until
	}
}

// auditsCompare are the words of an agent's status (docs/agent.md, "Audits compare what did not change") by which its audits look at every
// file. By the others, and those of earlier builds, an audit leaves out the files of most directories whose own time did not change: a
// write in place on another host leaves no trace there.
var auditsCompare = map[string]bool{"relatime": true, "strictatime": true, "server": true}

// lookedAtAll is the last scan of the whole tree that has looked at every file; nil: none is known. A snapshot leaves out directories that
// an earlier process has listed, so only the first one of a view certainly looks at everything.
func lookedAtAll(m *manifest.Manifest, auditsSkip bool) (last *Looked) {
	s := &m.Scan
	if s.SnapshotTerm == 1 && s.SnapshotStartedAt > 0 && s.SnapshotFinishedAt >= s.SnapshotStartedAt {
		last = &Looked{"snapshot", s.SnapshotStartedAt}
	}
	if !auditsSkip && s.AuditFinishedAt >= s.AuditStartedAt && s.AuditStartedAt > 0 && (last == nil || s.AuditStartedAt > last.BeganAt) {
		last = &Looked{"audit", s.AuditStartedAt}
	}
	return last
}

// lookedAt is the last scan that has looked at every file at and below a path, and whose results are in a version; nil: none is known. Jobs
// are asked only if realtime reports do not suffice.
func (e *Engine) lookedAt(ctx context.Context, m *manifest.Manifest, path string, c *Completeness) (last *Looked, err error) {
	last = lookedAtAll(m, c.skips != "")
	_, restricted := ReaderOf(ctx)
	if c.Realtime || restricted && c.Row == nil { // who does not see the path sees no scans of it; who does sees all directories above it
		return last, nil
	}
	jobs, err := job.List(ctx, e.store, m.View)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		covers := j.Recursive && (string(j.Path) == path || strings.HasPrefix(path, strings.TrimSuffix(string(j.Path), "/")+"/"))
		if (j.Kind != "" && j.Kind != job.Scan) || j.State != job.Done || !covers || j.Errors > 0 {
			continue
		}
		if progress, feeds := m.Sessions[j.Runner]; j.LastSeq < 0 || feeds && progress.Next > uint64(j.LastSeq) {
			if j.StartedAt > 0 && (last == nil || j.StartedAt > last.BeganAt) {
				last = &Looked{"on-demand", j.StartedAt}
			}
		}
	}
	return last, nil
}

// judgeContent takes in what is below the path, and how it changed.
func (c *Completeness) judgeContent(ctx context.Context, e *Engine, w Wanted) error {
	if c.Row == nil {
		c.because(ReasonAbsent, "", "the view has no such path yet")
	}
	if c.Unreadable > 0 {
		c.because(ReasonUnreadable, "", "%s at or below it cannot be read by the agents", values.Plural(c.Unreadable, "path", "paths"))
	}
	if c.Version.Manifest.Full != nil {
		c.because(ReasonFull, "", "new names were left out of the view, as it has as many entries as it may")
	}
	if c.Row != nil {
		sums := c.Row.Own()
		if c.Row.Type == event.Directory {
			sums = c.Row.Sub
		}
		if sums.Files < w.MinFiles {
			c.because(ReasonFewFiles, "", "%s, of at least %d", values.Plural(sums.Files, "file is there", "files are there"), w.MinFiles)
		}
		if sums.Bytes < w.MinBytes {
			c.because(ReasonFewBytes, "", "%s, of at least %d", values.Plural(sums.Bytes, "byte is there", "bytes are there"), w.MinBytes)
		}
		// As of when the view is certain to have everything: a look that lets a suspicion go on may be on its way. What is open then is
		// suspect then, as the looks at it come before half of its suspicion is over.
		at := e.Now()
		if c.KnownUntil > 0 {
			at = min(at, c.KnownUntil)
		}
		var err error
		c.Suspects, _, err = c.Version.Doubtful(ctx, c.Row, Suspects(at), nil, shownSuspects, func(r *evidence.Row) error {
			c.SuspectPaths = append(c.SuspectPaths, r.Path())
			return nil
		})
		if err != nil {
			return err
		}
		if c.Row.Type == event.File && c.Row.SuspectUntil > at && c.Suspects == 0 {
			c.Suspects, c.SuspectPaths = 1, []string{c.Row.Path()}
		}
		if c.BlindSpots, err = c.Version.CountDoubtful(ctx, c.Row, BlindSpots(false)); err != nil {
			return err
		}
	}
	if c.Suspects > 0 {
		c.because(ReasonWriting, "", "%s may still be written to", values.Plural(c.Suspects, "file", "files"))
	}
	return c.judgeQuiet(ctx, e, w)
}

// judgeQuiet takes in whether nothing changed for the quiet time before KnownUntil.
func (c *Completeness) judgeQuiet(ctx context.Context, e *Engine, w Wanted) error {
	quietSince := e.Now() - int64(w.Quiet)
	if c.KnownUntil > 0 {
		quietSince = c.KnownUntil - int64(w.Quiet)
	}
	from, err := e.find(ctx, c.Version.Manifest, Which{of: "quiet", text: "quiet", kind: byTime, at: quietSince})
	var young *NotKeptError
	var begun *IncompleteError
	if errors.As(err, &young) || errors.As(err, &begun) {
		if from, err = e.find(ctx, c.Version.Manifest, Which{of: "quiet", text: "0"}); err == nil {
			c.LastChange = from.Manifest.Scan.SnapshotFinishedAt // what came before it is not known
		}
	}
	if err != nil {
		return err
	}
	if err := c.findLastChange(ctx, from, w.Path, quietSince); err != nil {
		return err
	}
	switch {
	case !c.Realtime && (c.KnownUntil == 0 || c.LastChange > 0 && c.KnownUntil < c.LastChange+int64(w.Quiet)):
		c.because(ReasonNotWatched, "", "%s", c.notWatched())
	case c.KnownUntil-c.LastChange < int64(w.Quiet):
		c.because(ReasonChanged, "", "something changed at %s, and the view has everything until %s: not quiet for %s yet",
			clockOf(c.LastChange), clockOf(c.KnownUntil), w.Quiet)
	}
	return nil
}

// notWatched says what is needed where reports of the kernel do not suffice.
func (c *Completeness) notWatched() string {
	why := "other hosts may change it without a report"
	if i := slices.IndexFunc(c.Watchers, func(w Watcher) bool { return w.Coverage == "" }); i >= 0 {
		why = fmt.Sprintf("agent %s does not say, or has not said yet, how much of it it watches", c.Watchers[i].Agent)
	} else if len(c.Watchers) == 0 || !slices.ContainsFunc(c.Watchers, func(w Watcher) bool { return w.Coverage == "realtime" }) {
		why = "no agent watches all of it"
	}
	next := "request a scan of the path to know sooner"
	if c.skips != "" {
		next = c.skips + ", so only a scan of the path can tell: request one"
	} else if c.NextAudit > 0 {
		next = fmt.Sprintf("it cannot be known before the next audit, due at %s; %s", clockOf(c.NextAudit), next)
	}
	return why + ", and no scan has looked at every file of it since it changed last: " + next
}

// findLastChange finds the last change below the path between a version and this one.
func (c *Completeness) findLastChange(ctx context.Context, from *Version, path string, quietSince int64) error {
	wanted, err := NewSearch("*", path)
	if err != nil {
		return err
	}
	d, err := NewDiff(ctx, from, c.Version, wanted)
	if err != nil {
		return err
	}
	d.whole = true
	const enough = 1000 // of the changes that decide
	_, err = d.Page(ctx, nil, 0, func(change *evidence.Change) error {
		at := changedAt(change)
		if at == 0 {
			return nil
		}
		if at > c.LastChange {
			c.LastChange, c.LastChanged = at, change.Row().Path()
		}
		if at > quietSince {
			c.Changes++
		}
		if c.Changes >= enough {
			return errStop
		}
		return nil
	})
	if none := new(NoPathError); errors.As(err, &none) {
		return nil
	}
	return err
}

// changedAt is when a change was reported or found, ns in the store's time; 0: what differs is no change of the content.
func changedAt(c *evidence.Change) int64 {
	const incidental = evidence.FieldAllocated | evidence.FieldCtime | evidence.FieldBirth | evidence.FieldInode | evidence.FieldLinks | evidence.FieldACL
	if c.Before != nil && c.After != nil && c.Fields&^incidental == 0 {
		return 0
	}
	if c.After == nil {
		return 0 // the directory above it has changed as well
	}
	return c.After.ObservedAt
}

// clockOf is a time as the texts have it.
func clockOf(ns int64) string { return time.Unix(0, ns).UTC().Format("15:04:05 UTC") }
