// Package schedule decides which scan an agent runs next.
//
// A Schedule is a plain value: it has no clock, no lock and does no I/O. Package agent tells it what happened (a session began,
// notices were lost, a scan began or ended, all with the time) and asks Next which Task is due. Invariants: one task at a
// time; what is lost while a scan runs stays lost after it; what a failed scan was to repair is due again; only the leader
// takes snapshots and audits, and every new leadership begins with a snapshot.
// The table in schedule_test.go has one row for each rule.
package schedule

import (
	"slices"
	"time"

	"github.com/fustor/fustor/agent/subtrees"
	"github.com/fustor/fustor/internal/event"
)

// Kind is what a scan is for.
type Kind string

// The kinds, by their names in logs and in the agent's status.
const (
	// Snapshot lists the whole tree, as the first scan of a leadership.
	Snapshot Kind = "snapshot"
	// Rescan lists the whole tree because notices were lost somewhere in it.
	Rescan Kind = "rescan"
	// Cover opens and watches every directory, and lists none.
	Cover Kind = "cover"
	// Subtrees lists what is below some directories because notices were lost there.
	Subtrees Kind = "subtrees"
	// Audit lists the whole tree from time to time.
	Audit Kind = "audit"
	// CatchUp lists a share of the directories that a snapshot left out.
	CatchUp Kind = "catch-up"
)

// Shares is the number of shares that the directories are divided into, by the hash of their path. Each audit lists one
// share of the unchanged directories, and a catch-up lists one share after the other: a write in place on a host without an
// agent leaves no trace in the directory.
const Shares = 8

// subtreesRetry is how soon the schedule looks again whether there is room for a scan of subtrees.
const subtreesRetry = 200 * time.Millisecond

// Idle is how long to wait where nothing is due. Whatever makes a scan due wakes the caller.
const Idle = time.Hour

// Leadership names the session and the term that a scan belongs to. What was scanned under another one is not sent.
type Leadership struct {
	Session string
	Term    uint64
}

// Situation is what the decision depends on beside the schedule itself.
type Situation struct {
	Leadership
	Leads         bool
	AuditInterval time.Duration // the view's at present; 0: no audits
	Blocked       bool          // no session, the root is lost, or the agent is paused: no scan at all
	Room          bool          // the stream takes events; without room a scan of subtrees would only lose more
}

// Task is one scan.
type Task struct {
	Kind       Kind
	Leadership Leadership
	// Marked: the leader announces the scan's begin and end to the view, which then knows that it has seen the whole tree.
	Marked bool
	// Repairs: notices were lost before it, so it is repeated once after a while. The view trusts what the kernel said
	// before the loss more than a scan for as long as a file server's clients may show an old state.
	Repairs bool
	// Resumes: directories that an earlier process has listed, and that did not change since, are left out.
	Resumes bool
	// ChangedOnly: of the directories that did not change since this process listed them, only those of the share Share.
	ChangedOnly bool
	Share       uint64   // of an audit with ChangedOnly, or of a catch-up; below Shares
	Subtrees    []string // of Kind Subtrees: their top directories
}

// Lists reports whether the scan lists directories. Otherwise it only covers them with watches.
func (t Task) Lists() bool { return t.Kind != Cover }

// Whole reports whether the scan goes through the whole tree, from the root down.
func (t Task) Whole() bool { return t.Kind != Subtrees && t.Kind != CatchUp }

// Evidence is what the scan's listings are sent as.
func (t Task) Evidence() event.Evidence {
	switch t.Kind {
	case Cover:
		return 0
	case Snapshot:
		return event.Snapshot
	}
	return event.Audit
}

// Marks are the kinds of the marks around the scan; 0, 0 where it has none.
func (t Task) Marks() (begin, end event.MarkKind) {
	switch {
	case !t.Marked:
		return 0, 0
	case t.Kind == Snapshot:
		return event.SnapshotBegin, event.SnapshotEnd
	}
	return event.AuditBegin, event.AuditEnd
}

// Schedule is what was scanned, and what has to be. The zero value is that of a new process: nothing is covered.
type Schedule struct {
	settleAfter time.Duration // from a scan that repairs to its repetition

	covered bool       // every directory is watched, as far as the system allows
	missed  bool       // Uncover was called since the task that runs has begun
	whole   bool       // a snapshot of this process is complete
	taken   Leadership // of the last complete snapshot
	audited Leadership // the leadership in which everything was listed at least once
	audits  uint64     // complete ones

	lost       bool      // notices were lost somewhere: everything is to be scanned again
	settleAt   time.Time // when everything is scanned once more; zero: no need
	auditsFrom time.Time // what the audit interval counts from: the last scan of the whole tree, or the first session; zero: neither
	dirty      []string  // subtrees with lost notices
	settling   []string  // subtrees to be scanned once more at settlingAt
	settlingAt time.Time // zero: nothing is settling

	catchUp   catchUp
	began     time.Time // the task that runs, or ran last
	repairing bool      // the task that runs is to repair losses
}

// catchUp is what is left to do of the directories that a snapshot has left out. It takes a share at a time, when nothing
// else is due, and at most half of the time.
type catchUp struct {
	leadership Leadership
	share      uint64 // the next one
	left       int    // shares; 0: there is no catch-up
	at         time.Time
}

// New makes the schedule of a process that has scanned nothing. A scan that repairs is repeated after settleAfter.
func New(settleAfter time.Duration) Schedule { return Schedule{settleAfter: settleAfter} }

// SessionBegan takes in a new session. lost: listings that the session before it had not sent were dropped.
func (s *Schedule) SessionBegan(now time.Time, lost bool) {
	if s.auditsFrom.IsZero() {
		s.auditsFrom = now
	}
	s.lost = s.lost || lost && s.covered // without cover everything is scanned anyway
}

// Uncover has every directory met again, by a task that begins from now on: some may be watched now that could not be.
func (s *Schedule) Uncover() { s.covered, s.missed = false, true }

// Lost has everything scanned again: notices or listings were lost.
func (s *Schedule) Lost() { s.lost = true }

// LostBelow has everything below these directories scanned again.
func (s *Schedule) LostBelow(dirs []string) { s.dirty = merge(s.dirty, dirs) }

// Resumed takes in the end of a pause. Where no watch was yet, nobody knows what has happened meanwhile.
func (s *Schedule) Resumed() { s.lost = s.lost || !s.covered }

// LeftOut takes in that the snapshot that runs leaves directories out. A catch-up lists them afterwards, and begins with the
// share firstShare, so that agents that restart often do not always begin with the same one.
func (s *Schedule) LeftOut(of Leadership, firstShare uint64) {
	s.catchUp = catchUp{leadership: of, share: firstShare % Shares, left: Shares}
}

// Next returns the scan that is due: the first of the cases below that applies. Where none does, ok is false and wait says
// when to ask again, unless something happens before.
func (s *Schedule) Next(now time.Time, in Situation) (task Task, wait time.Duration, ok bool) {
	if in.Blocked {
		return Task{}, Idle, false
	}
	damaged := s.lost || len(s.dirty) > 0
	leads := in.Leads
	task.Leadership = in.Leadership
	switch {
	case leads && s.taken != in.Leadership:
		task.Kind, task.Marked, task.Repairs, task.Resumes = Snapshot, true, damaged, !s.whole && !damaged
	case s.lost || due(s.settleAt, now):
		task.Kind, task.Marked, task.Repairs = Rescan, leads, damaged
	case !s.covered:
		task.Kind = Cover
	case len(s.dirty) > 0 && in.Room:
		task.Kind, task.Repairs, task.Subtrees = Subtrees, true, s.dirty
	case due(s.settlingAt, now):
		task.Kind, task.Subtrees = Subtrees, s.settling
	case leads && in.AuditInterval > 0 && !now.Before(s.auditsFrom.Add(in.AuditInterval)):
		catchingUp := s.catchUp.of(in.Leadership)
		task.Kind, task.Marked, task.ChangedOnly, task.Share = Audit, true, s.audited == in.Leadership || catchingUp, s.audits%Shares
	case leads && s.catchUp.of(in.Leadership) && !now.Before(s.catchUp.at):
		task.Kind, task.Share = CatchUp, s.catchUp.share
	default:
		return Task{}, s.wait(now, in), false
	}
	return task, 0, true
}

// wait is the time until something may be due.
func (s *Schedule) wait(now time.Time, in Situation) time.Duration {
	wait := Idle
	until := func(at time.Time) { wait = min(wait, at.Sub(now)) }
	for _, at := range []time.Time{s.settleAt, s.settlingAt} {
		if !at.IsZero() {
			until(at)
		}
	}
	if in.Leads && in.AuditInterval > 0 {
		until(s.auditsFrom.Add(in.AuditInterval))
	}
	if in.Leads && s.catchUp.of(in.Leadership) {
		until(s.catchUp.at)
	}
	if len(s.dirty) > 0 { // there was no room
		wait = min(wait, subtreesRetry)
	}
	return wait
}

// Begin takes in that a task from Next has begun. The losses that it repairs are forgotten now and not at its end, because
// what is lost while it runs is to be scanned again.
func (s *Schedule) Begin(now time.Time, t Task) {
	s.began, s.missed, s.repairing = now, false, t.Repairs
	if !t.Repairs {
		return
	}
	s.dirty = nil
	if t.Whole() {
		s.lost = false
	}
}

// End takes in that the task that began last has ended, completely or not.
func (s *Schedule) End(now time.Time, t Task, complete bool) {
	s.repairing = false
	switch t.Kind {
	case Subtrees:
		s.endSubtrees(now, t, complete)
	case CatchUp:
		s.endShare(now, t, complete)
	default:
		s.endWhole(now, t, complete)
	}
}

func (s *Schedule) endSubtrees(now time.Time, t Task, complete bool) {
	switch {
	case !t.Repairs && complete:
		s.settling, s.settlingAt = nil, time.Time{}
	case !t.Repairs: // it stays due
	case !complete:
		s.dirty = merge(s.dirty, t.Subtrees)
	default:
		s.settling = merge(s.settling, t.Subtrees)
		s.settlingAt = now.Add(s.settleAfter)
	}
}

// endShare has the next share wait for as long as this one took.
func (s *Schedule) endShare(now time.Time, t Task, complete bool) {
	c := &s.catchUp
	if !complete || !c.of(t.Leadership) || c.share != t.Share {
		return
	}
	c.share, c.left, c.at = (c.share+1)%Shares, c.left-1, now.Add(now.Sub(s.began))
	if c.left == 0 {
		s.audited = t.Leadership // every directory was listed in this leadership
	}
}

func (s *Schedule) endWhole(now time.Time, t Task, complete bool) {
	if !complete {
		s.lost = s.lost || t.Repairs
		return
	}
	s.covered = !s.missed
	s.settle(now, t)
	if t.Kind == Snapshot {
		s.taken, s.whole = t.Leadership, true
		if !t.Resumes {
			s.catchUp = catchUp{}
		}
	} else if t.Marked {
		s.audited = t.Leadership
		s.audits++
	}
	s.auditsFrom = now
}

// settle takes in a complete scan of the whole tree. One that repairs is repeated later, and with it all that was to be
// repeated before. Another one is a repetition itself if it listed everything and did not begin too early.
func (s *Schedule) settle(now time.Time, t Task) {
	listedAll := t.Lists() && !t.ChangedOnly && !t.Resumes
	if t.Repairs || listedAll && due(s.settlingAt, s.began) {
		s.settling, s.settlingAt = nil, time.Time{}
	}
	switch {
	case t.Repairs:
		s.settleAt = now.Add(s.settleAfter)
	case listedAll && due(s.settleAt, s.began):
		s.settleAt = time.Time{}
	}
}

// CatchingUp reports whether directories are still to be listed that a snapshot has left out.
func (s *Schedule) CatchingUp() bool { return s.catchUp.left > 0 }

// Gap says which changes the view may lack though every directory is watched: those that came with no notice, or whose notice was
// lost, and that no complete scan has seen since. Empty: none. The repetition of a scan after a while is none either.
func (s *Schedule) Gap(of Leadership, leads bool) string {
	switch {
	case leads && s.taken != of:
		return "the first scan is not complete"
	case s.lost || s.repairing || len(s.dirty) > 0:
		return "changes may have been missed, and what they may be in is scanned again"
	case !s.covered:
		return "not every directory is watched yet"
	case s.catchUp.of(of):
		return "files that were written in place while the agent did not run are still looked for"
	}
	return ""
}

// of reports whether there is a catch-up of this leadership.
func (c *catchUp) of(l Leadership) bool { return c.left > 0 && c.leadership == l }

// due reports whether a time that may be unset has come.
func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// merge adds directories to some subtrees.
func merge(to, dirs []string) []string {
	return subtrees.Reduce(slices.Concat(to, dirs), subtrees.Max)
}
