package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/store"
)

// A leader whose heartbeats come while nothing else does would keep its view from being read for ever. So each renewal of the lease
// notes whether the leader gets anything done. A leader that owes something and has got nothing done for SilentAfter time-outs is
// silent, and hands over:
//
//	work … work · · · silent ──── yields ───────────── taken, term + 1
//	            3 TTL      a follower's   1 TTL: the old leader may
//	                       heartbeat      still believe that it leads
//
// A leader that owes nothing, as in a quiet view, is never silent. A silent leader keeps the lease while no follower can take it.

// SilentAfter is how many time-outs a leader may get nothing done in, though it owes something.
const SilentAfter = 3

// What a leader may owe.
const (
	OwesSegments  = "segments"   // segments wait to be sent
	OwesScan      = "scan"       // a scan runs
	OwesFirstScan = "first-scan" // the view cannot be read yet, and the session says of no scan that it is complete
)

// Work is what a leader has got done. It is kept in the lease, which the leader's heartbeats write anyway.
type Work struct {
	// Done is what the leader's heartbeats count of what it has sent and scanned. Any change is work.
	Done string `json:"done"`
	// Folded is how many segments of the session the view had when the store was asked last.
	Folded uint64 `json:"folded,omitempty"`
	// Since is when the leader last was seen to get something done, or to owe nothing: ns of the store's time.
	Since int64 `json:"since_ns"`
	// Owes is what a silent leader owes; empty: it is not silent.
	Owes string `json:"owes,omitempty"`
	// CaughtUp is what the leader's agent last said of that; nil: nothing yet. The record has the status of ten minutes ago.
	CaughtUp *pipeapi.CaughtUp `json:"caught_up,omitempty"`
}

// Silence is that a leader got nothing done for SilentAfter time-outs although it owed something.
type Silence struct {
	Since int64  `json:"since_ns"` // of the store's time
	Owes  string `json:"owes"`
	Term  uint64 `json:"term"`           // in which it led
	Sent  uint64 `json:"sent,omitempty"` // segments that it had sent; one more ends the Silence
}

// Reason is what is wrong, for people: the rest of a sentence that begins with the agent's name.
func (s Silence) Reason() string {
	switch s.Owes {
	case OwesSegments:
		return "sends none of the segments that wait"
	case OwesScan:
		return "makes no progress with its scan"
	}
	return "neither scans nor sends anything, and the view waits for its first scan"
}

// silence is nil unless the leader is silent.
func (v Lease) silence() *Silence {
	if v.Work == nil || v.Work.Owes == "" {
		return nil
	}
	return &Silence{Since: v.Work.Since, Owes: v.Work.Owes, Term: v.Term}
}

// work is what the lease will say of a leader's work, whose record has the status of its last heartbeat.
func (l *Ledger) work(ctx context.Context, r Record, v Lease) *Work {
	now := l.clock.Now()
	w := Work{Done: doneOf(r.AgentStatus), Since: now}
	if r.AgentStatus != nil {
		w.CaughtUp = r.AgentStatus.CaughtUp
	}
	if !w.CaughtUp.Known() && v.Work != nil {
		w.CaughtUp = v.Work.CaughtUp
	}
	owes := owedBy(r.AgentStatus)
	if v.Work == nil {
		return &w
	}
	w.Folded = v.Work.Folded
	if owes == "" || v.Work.Done != w.Done {
		return &w
	}
	w.Since = v.Work.Since
	if time.Duration(now-w.Since) < SilentAfter*r.Timeout() {
		return &w
	}
	if owes == OwesFirstScan && l.delivers(ctx, r, &w) {
		w.Since = now
		return &w
	}
	w.Owes = owes
	return &w
}

// doneOf stands for what a status counts of the agent's work.
func doneOf(s *pipeapi.AgentStatus) string {
	if s == nil {
		return ""
	}
	scans := int64(0)
	if s.LastScan != nil {
		scans = s.LastScan.At.UnixNano()
	}
	return fmt.Sprint(s.SentSegments, s.Looked, s.Directories, s.Files, s.Errors, scans)
}

// owedBy is what an agent says that it has yet to do; empty: nothing. One that says nothing of its scans may owe the first.
func owedBy(s *pipeapi.AgentStatus) string {
	switch {
	case s == nil:
		return OwesFirstScan
	case s.BacklogSegments > 0:
		return OwesSegments
	case s.Scan != nil:
		return OwesScan
	case s.LastScan == nil:
		return OwesFirstScan
	}
	return ""
}

// delivers asks the store about a leader whose heartbeats tell of no work, as those of other agents than Fustor's may: it owes
// nothing if the view can be read, and it delivers if the view has more of its segments than before, or has yet to take some in.
// What cannot be read proves nothing against the leader.
func (l *Ledger) delivers(ctx context.Context, r Record, w *Work) bool {
	m, _, err := manifest.LoadRoot(ctx, l.store, r.View)
	if errors.Is(err, manifest.ErrNoHead) {
		m, err = &manifest.Manifest{}, nil
	}
	if err != nil || m.Ready() {
		return true
	}
	folded := m.Sessions[r.ID].Next
	if folded > w.Folded {
		w.Folded = folded
		return true
	}
	// Segments have no gaps: if any waits to be folded, this one does.
	_, err = l.store.GetRange(ctx, layout.Segment(r.View, r.ID, folded), 0, 1)
	return !errors.Is(err, store.ErrNotFound)
}

// canLead reports whether a follower looks as if it could do what a silent leader does not. Before is its status as it was last kept.
func canLead(r Record, before *pipeapi.AgentStatus) bool {
	s := r.AgentStatus
	switch {
	case r.Paused || r.Silence != nil:
		return false
	case s == nil:
		return true
	}
	sends := s.BacklogSegments == 0 || before != nil && s.SentSegments > before.SentSegments
	return sends && s.RootLost == "" && s.SpoolError == "" && s.Hanging == 0
}

// haveYielded has a silent leader yield its lease. It takes itself for the leader for as long as the lease would have held, so the
// lease is not free before; but it cannot renew it, and hears with its next heartbeat that it follows.
func (l *Ledger) haveYielded(ctx context.Context, view string, lease held[Lease]) error {
	next := lease.value
	next.Yields = true
	_, err := l.writeLease(ctx, view, next, lease.meta)
	return err
}

// freeFor reports whether a session may take a lease: it is free or has expired. A session that was silent, and one that could do no
// better than the silent leader of before, gives all others the time of one lease more, within which each of them has a heartbeat.
func freeFor(r Record, before *pipeapi.AgentStatus, h held[Lease]) bool {
	if r.Paused || liveLease(h) {
		return false
	}
	if r.Silence == nil && !(h.value.Yields && !canLead(r, before)) || !h.exists() {
		return true
	}
	age := Age(h.meta)
	if h.value.Session != "" { // it ran out; otherwise it was given up
		age -= seconds(h.value.TTLSeconds)
	}
	return !lease.Live(age, seconds(h.value.TTLSeconds))
}

// applyFollower is apply for a session that does not lead, and notes the Silence of one that has to yield its lease.
func (b Beat) applyFollower(r Record, h held[Lease]) (next Record, changed bool) {
	next, changed = b.apply(r)
	changed = changed || r.Rests && busy(r.AgentStatus, b.AgentStatus) // the record of one that does not rest is soon written anyway
	silence := h.value.silence()
	if !h.value.Yields || h.value.Session != r.ID || silence == nil {
		return next, changed
	}
	if next.Silence = r.Silence; r.Silence == nil || r.Silence.Term != silence.Term {
		if next.AgentStatus != nil {
			silence.Sent = next.AgentStatus.SentSegments
		}
		next.Silence, changed = silence, true
	}
	return next, changed
}
