package evidence

import "github.com/fustor/fustor/internal/event"

// Outcome is what Resolve found out about a path, beside its row.
type Outcome struct {
	Changed bool
	// Raised says that something at the path ended later than was known. Everything below has to be resolved again.
	Raised bool
	// Ends are the latest times at which something at the path, or above it, ended: the Floor of the ParentState of
	// its entries.
	Ends Ends
	// Before and After are the path's own journal of listings, before and after the claims.
	Before, After []Listing
	// Outdated are the listings that the journal dropped for newer ones: ParentState.Outdated of the entries.
	Outdated []Listing
}

// Resolve changes row as claims demand; their order does not matter. known is whether there is a row: without one, row has
// its key alone, and becomes a row if Outcome.Changed. Subtree totals are not touched; the caller sums them.
//
// inside says that there are claims about paths below it, too. Only then, and for directories, the outcome has more than
// Changed.
//
// The steps: decode what the row remembers; put back what the directory's journal implies (recall); add the claims; void what ended
// with a directory above (applyFloor); judge; forget; write the row and its history.
func (r Rules) Resolve(row *Row, known bool, claims []Claim, inside bool, parent *ParentState) Outcome {
	if !inside {
		if changed, done := r.resolveSimply(row, known, claims, parent); done {
			return Outcome{Changed: changed}
		}
	}
	was := *row
	s := r.decode(row, known, parent)
	o := Outcome{Before: s.journal}
	s.recall(r, row.Name, parent.Before)
	before := s.allEnds()
	if len(claims) == 0 && !s.assumed && !s.endedBy(parent.Floor) && !parent.lostListing() {
		return Outcome{Ends: before.Max(parent.Floor), Before: s.journal, After: s.journal}
	}
	s.assumed = false
	for i := range claims {
		s.addClaim(r, &claims[i])
	}
	s.applyFloor(r, row, parent.Floor)
	s.complete()
	v := s.judge()
	own := s.allEnds()
	o.Ends, o.Raised = own.Max(parent.Floor), before.Max(own) != before
	o.Outdated = s.trimJournal(own)
	s.forget(row.Name, parent)
	v.stale = len(s.observations) > 0 && !s.observations[len(s.observations)-1].Gone
	s.removeFloor(&v)
	if known || v.known && (!v.by.floor || v.stale) || s.reported() {
		s.show(row, &v)
		s.encode(row, parent)
	}
	o.After = s.journal
	o.Changed = *row != was
	return o
}

// resolveSimply decides nearly all paths without decoding a history: the first claim about a path, or one that is later
// than everything known. It comes to what Resolve comes to otherwise, which TestLawOrderDoesNotMatter and
// TestListingsThatSayTheSameChangeNoRow hold.
func (r Rules) resolveSimply(row *Row, known bool, claims []Claim, parent *ParentState) (changed, done bool) {
	if seenAgain(row, known, claims, parent) {
		return false, true
	}
	if !isSimple(row, known, claims, parent) {
		return
	}
	c := &claims[0]
	switch c.Verb {
	case Exists:
		row.set(c)
		row.AgentMissing, row.SuspectUntil = false, 0
		if !c.Atomic && c.Entry.Type == event.File {
			row.SuspectUntil = r.openUntil(&c.Provenance, c.Entry)
		}
	case Gone:
		row.Removed, row.AgentMissing, row.SuspectUntil, row.Watermark = true, false, 0, c.At-c.Skew
		row.ObservedAt, row.Evidence, row.Agent, row.Source = c.At, c.Evidence, c.Agent, c.Source
	case Listed:
		if known || !journaled(parent.After, row.Name, c.At) {
			return
		}
		row.set(c)
		row.AgentMissing = c.Evidence == event.Audit || c.Evidence == event.OnDemand
		row.SuspectUntil = r.suspectUntil(&c.Provenance, c.Entry)
	default:
		return
	}
	return true, true
}

// isSimple reports whether there is one claim about a path, it is about no directory, and it is later than everything known.
func isSimple(row *Row, known bool, claims []Claim, parent *ParentState) bool {
	if len(claims) != 1 || row.History != "" || known && !parent.stands(row.ObservedAt) {
		return false
	}
	c := &claims[0]
	return parent.stands(c.At) && c.At > parent.lastListed() && (!known || c.At > row.ObservedAt && row.Type != event.Directory && row.EndedAt == 0) &&
		(c.Entry == nil || c.Entry.Type != event.Directory && (!known || c.Entry.Owned()))
}

// Replaces reports whether Resolve would write everything anew that a row shows. To decide, it needs the row's type and
// history, and when it was observed and ended; Resolve then needs no more of it either.
func (r Rules) Replaces(row *Row, claims []Claim, inside bool, parent *ParentState) bool {
	return !inside && isSimple(row, true, claims, parent) && claims[0].Verb == Exists
}

// set makes the row show the entry of a claim.
func (row *Row) set(c *Claim) {
	e := c.Entry
	row.Type, row.Mode, row.UID, row.GID, row.AtimeDay = e.Type, e.Mode, e.UID, e.GID, e.AtimeDay
	row.Size, row.MtimeNs, row.Target, row.Inode = e.Size, e.MtimeNs, e.Target, e.Inode
	row.Removed, row.Watermark = false, 0
	row.ObservedAt, row.Evidence, row.Agent, row.Source = c.At, c.Evidence, c.Agent, c.Source
}

// addClaim adds a claim to the evidence.
func (s *state) addClaim(r Rules, c *Claim) {
	switch c.Verb {
	case Exists, Gone:
		s.addReport(r.reportOf(c))
	case Listed:
		s.addObservation(r.observationOf(c.Provenance, c.Entry))
		if c.Listing != nil {
			s.addListing(*c.Listing)
		}
	case Unlisted:
		s.addObservation(fact{Provenance: c.Provenance, Since: c.since(c.DirMtimeNs), Gone: true})
	}
}

// applyFloor voids the evidence from before the end of the directories above, and adds that end as evidence that the path is
// gone. Both facts are marked as floor; removeFloor takes them out again where the path does not rest on them.
//
// Example: /d was deleted at 300. A put of /d/x from 290 is void, and /d/x is gone as of 300. A put of /d/y from 310 stays.
func (s *state) applyFloor(r Rules, row *Row, floor Ends) {
	if !s.endedBy(floor) {
		return
	}
	if s.report != nil && floor.endsReport(s.report.At) && !s.outlasts(r, floor) {
		s.report = nil // it ends nothing below the path either: the floor does
	}
	kept := s.observations[:0]
	for _, l := range s.observations {
		if floor.endsObservation(l.At, l.Since) && (l.Gone || l.At <= max(floor.Reported, floor.Observed)) {
			continue
		}
		kept = append(kept, l)
	}
	s.observations, s.base = kept, nothing
	if floor.Reported > 0 && s.report == nil {
		at := Provenance{At: floor.Reported, Evidence: event.Realtime}
		s.report = &fact{Provenance: at, Since: floor.Reported, Gone: true, Swept: true, floor: true}
	}
	if floor.Observed > 0 {
		at := Provenance{At: floor.Observed, Evidence: event.Audit}
		s.addObservation(fact{Provenance: at, Since: floor.Observed, Gone: true, Swept: true, Entry: row.entry(), floor: true})
	}
}

// outlasts reports whether a void report is to be remembered all the same: an observation made after the one that found
// nothing above may still show a state from before it, and must be compared with the report.
func (s *state) outlasts(r Rules, floor Ends) bool {
	return s.report.At > floor.Reported && s.report.At >= floor.Observed-r.Staleness
}

// reported reports whether the kernel reported the path itself.
func (s *state) reported() bool { return s.report != nil && !s.report.floor }

// endedBy reports whether the floor makes any of the evidence void.
func (s *state) endedBy(floor Ends) bool {
	if floor == (Ends{}) {
		return false
	}
	if s.report != nil && floor.endsReport(s.report.At) {
		return true
	}
	for i := range s.observations {
		if l := &s.observations[i]; floor.endsObservation(l.At, l.Since) {
			return true
		}
	}
	return false
}

// removeFloor takes out what applyFloor added, unless the path rests on it, or there is a report of the path that has to be
// remembered with it: then it is the path's own evidence.
func (s *state) removeFloor(v *verdict) {
	if s.report != nil && s.report.floor && !(v.by != nil && v.by.floor && v.by.Evidence == event.Realtime) {
		s.report = nil
	}
	kept := s.observations[:0]
	for i := range s.observations {
		if s.observations[i].floor && !s.reported() && !(v.by != nil && v.by.floor && v.by.At == s.observations[i].At) {
			continue
		}
		kept = append(kept, s.observations[i])
	}
	s.observations = kept
}

// show writes the verdict into the row.
func (s *state) show(row *Row, v *verdict) {
	if !v.known { // it was assumed and no more, or never there
		*row = Row{Parent: row.Parent, Name: row.Name, Removed: true}
		return
	}
	by := v.by
	if e := &v.content.Entry; e.Type != 0 {
		row.Type, row.Mode, row.UID, row.GID, row.AtimeDay = e.Type, e.Mode, e.UID, e.GID, e.AtimeDay
		row.Size, row.MtimeNs, row.Target, row.Inode = e.Size, e.MtimeNs, e.Target, e.Inode
	}
	row.ObservedAt, row.Evidence, row.Agent, row.Source = by.At, by.Evidence, by.Agent, by.Source
	row.Removed, row.AgentMissing = by.Gone, v.missing
	row.SuspectUntil, row.Watermark = by.SuspectUntil, 0
	row.EndedAt = s.ends.Reported
	if by.Gone {
		row.SuspectUntil, row.Watermark = 0, by.At-by.Skew
	}
	if by.Gone || row.Type != event.Directory {
		row.Sub, row.Open = Totals{}, false
	}
}

func (row *Row) entry() event.Entry {
	return event.Entry{
		Type: row.Type, Mode: row.Mode, UID: row.UID, GID: row.GID, AtimeDay: row.AtimeDay, Size: row.Size,
		MtimeNs: row.MtimeNs, Target: row.Target, Inode: row.Inode,
	}
}

// shows reports whether an observation of e shows nothing new.
func (row *Row) shows(e *event.Entry) bool {
	return row.Type == e.Type && row.Size == e.Size && row.MtimeNs == e.MtimeNs && row.Mode == e.Mode &&
		row.UID == e.UID && row.GID == e.GID && row.Target == e.Target && row.Inode == e.Inode &&
		(row.AtimeDay == e.AtimeDay || !followsAtime(e))
}

// Assume makes the row a directory that nothing was claimed about, because something in it was reported or observed. What
// is known about the path itself stays in the history: it shows again once the directory is empty.
func (r Rules) Assume(row *Row, known bool, parent *ParentState) {
	s := r.decode(row, known, parent)
	s.assumed = true
	*row = Row{Parent: row.Parent, Name: row.Name, Type: event.Directory, EndedAt: s.ends.Reported}
	s.encode(row, parent)
}
