package evidence

import "github.com/fustor/fustor/internal/event"

// Outcome is what becomes of a path, beside its row.
type Outcome struct {
	Changed bool
	// Raised says that something at the path ended later than was known: everything below is to be held against it.
	Raised bool
	// Ends are the latest times at which something at the path, or above it, ended: what is known below has to be held
	// against them.
	Ends Ends
	// Before and After are the journal of listings of the path itself.
	Before, After []Listing
	// Outdated are the listings that the journal gave up for newer ones: Place.Outdated.
	Outdated []Listing
}

// Resolve changes row as claims demand; their order does not matter. known is whether there is a row: where there is
// none, row has its key alone, and becomes one if Changed. Subtree totals are not touched; the caller sums.
//
// inside says that there are claims about paths below it, too; only then, and for directories, the outcome tells more than
// whether the row changed.
func (r Rules) Resolve(row *Row, known bool, claims []Claim, inside bool, parent *ParentState) Outcome {
	if !inside {
		if changed, done := r.resolveSimply(row, known, claims, parent); done {
			return Outcome{Changed: changed}
		}
	}
	was := *row
	s := r.decode(row, known, parent)
	o := Outcome{Before: s.journal}
	s.recall(r, row.Name, parent.Before, false)
	s.recall(r, "", s.journal, true)
	before := s.allEnds()
	if len(claims) == 0 && !s.assumed && !s.endedBy(parent.Floor) && !parent.lostListing() {
		return Outcome{Ends: before.Max(parent.Floor), Before: s.journal, After: s.journal}
	}
	s.assumed = false
	for i := range claims {
		s.addClaim(r, &claims[i])
	}
	s.applyFloor(r, row, known, parent.Floor)
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

// resolveSimply decides what nearly all claims are: the first about a path, or one that is later than everything known.
// It comes to what Resolve does otherwise.
func (r Rules) resolveSimply(row *Row, known bool, claims []Claim, parent *ParentState) (changed, done bool) {
	if seenAgain(row, known, claims, parent) {
		return false, true
	}
	if !isSimple(row, known, claims, parent) {
		return false, false
	}
	c := &claims[0]
	switch c.Verb {
	case Exists:
		row.set(c)
		row.AgentMissing, row.SuspectUntil = false, 0
		if !c.Atomic && c.Entry.Type == event.File {
			row.SuspectUntil = c.At + r.Hot
		}
	case Gone:
		row.Removed, row.AgentMissing, row.SuspectUntil, row.Watermark = true, false, 0, c.At-c.Skew
		row.ObservedAt, row.Evidence, row.Agent, row.Source = c.At, c.Evidence, c.Agent, c.Source
	case Listed:
		if !journaled(parent.After, row.Name, c.At) {
			return false, false
		}
		if known {
			return false, false
		}
		row.set(c)
		row.AgentMissing = c.Evidence == event.Audit || c.Evidence == event.OnDemand
		row.SuspectUntil = r.suspectUntil(&c.Provenance, c.Entry)
	default:
		return false, false
	}
	return true, true
}

// isSimple reports whether a path's claims are one, about no directory, that is later than everything known.
func isSimple(row *Row, known bool, claims []Claim, parent *ParentState) bool {
	if len(claims) != 1 || row.History != "" || known && !parent.stands(row.ObservedAt) {
		return false
	}
	c := &claims[0]
	return parent.stands(c.At) && c.At > parent.lastListed() && (!known || c.At > row.ObservedAt && row.Type != event.Directory && row.EndedAt == 0) &&
		(c.Entry == nil || c.Entry.Type != event.Directory && (!known || c.Entry.Owned()))
}

// Replaces reports whether Resolve would put everything that a row shows anew. To tell, it needs the row's type, history, and
// when it was observed and ended; Resolve then needs no more of it either.
func (r Rules) Replaces(row *Row, claims []Claim, inside bool, parent *ParentState) bool {
	return !inside && isSimple(row, true, claims, parent) && claims[0].Verb == Exists
}

// set makes the row show what a claim saw.
func (row *Row) set(c *Claim) {
	e := c.Entry
	row.Type, row.Mode, row.UID, row.GID, row.AtimeDay = e.Type, e.Mode, e.UID, e.GID, e.AtimeDay
	row.Size, row.MtimeNs, row.Target = e.Size, e.MtimeNs, e.Target
	row.Removed, row.Watermark = false, 0
	row.ObservedAt, row.Evidence, row.Agent, row.Source = c.At, c.Evidence, c.Agent, c.Source
}

// addClaim joins a claim.
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

// applyFloor holds the evidence against the end of the directories above: what is older is over.
func (s *state) applyFloor(r Rules, row *Row, known bool, floor Ends) {
	if !s.endedBy(floor) {
		return
	}
	if s.report != nil && floor.endsReport(s.report.At) && !s.outlasts(r, floor) {
		s.report = nil // nor does it end anything below: the floor does
	}
	looks := s.observations[:0]
	for _, l := range s.observations {
		if floor.endsObservation(l.At, l.Since) && (l.Gone || l.At <= max(floor.Reported, floor.Observed)) {
			continue
		}
		looks = append(looks, l)
	}
	s.observations, s.base = looks, nothing
	was := event.Entry{}
	if known {
		was = row.entry()
	}
	if floor.Reported > 0 && s.report == nil {
		at := Provenance{At: floor.Reported, Evidence: event.Realtime}
		s.report = &fact{Provenance: at, Since: floor.Reported, Gone: true, Swept: true, floor: true}
	}
	if floor.Observed > 0 {
		at := Provenance{At: floor.Observed, Evidence: event.Audit}
		s.addObservation(fact{Provenance: at, Since: floor.Observed, Gone: true, Swept: true, Entry: was, floor: true})
	}
}

// outlasts reports whether what was told is to be remembered although it is over: a look that came after the one that found
// nothing above may yet show a state from before it.
func (s *state) outlasts(r Rules, floor Ends) bool {
	return s.report.At > floor.Reported && s.report.At >= floor.Observed-r.Staleness
}

// reported reports whether the kernel told of the path itself.
func (s *state) reported() bool { return s.report != nil && !s.report.floor }

// endedBy reports whether something is over with floor.
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

// removeFloor takes out again what cut put in, unless the path rests on it, or remembers what it was told before: then it is the
// path's own.
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

// show writes what the evidence comes to into the row.
func (s *state) show(row *Row, v *verdict) {
	if !v.known { // it was only ever assumed, or never there
		*row = Row{Parent: row.Parent, Name: row.Name, Removed: true}
		return
	}
	by := v.by
	if e := &v.content.Entry; e.Type != 0 {
		row.Type, row.Mode, row.UID, row.GID, row.AtimeDay = e.Type, e.Mode, e.UID, e.GID, e.AtimeDay
		row.Size, row.MtimeNs, row.Target = e.Size, e.MtimeNs, e.Target
	}
	row.ObservedAt, row.Evidence, row.Agent, row.Source = by.At, by.Evidence, by.Agent, by.Source
	row.Removed, row.AgentMissing = by.Gone, v.missing
	row.SuspectUntil, row.Watermark = by.SuspectUntil, 0
	row.EndedAt = s.ends.Reported
	if by.Gone {
		row.SuspectUntil, row.Watermark = 0, by.At-by.Skew
	}
	if by.Gone || row.Type != event.Directory {
		row.Sub = Totals{}
	}
}

func (row *Row) entry() event.Entry {
	return event.Entry{
		Type: row.Type, Mode: row.Mode, UID: row.UID, GID: row.GID, AtimeDay: row.AtimeDay, Size: row.Size,
		MtimeNs: row.MtimeNs, Target: row.Target,
	}
}

// shows reports whether a look that saw e shows nothing new.
func (row *Row) shows(e *event.Entry) bool {
	return row.Type == e.Type && row.Size == e.Size && row.MtimeNs == e.MtimeNs && row.Mode == e.Mode &&
		row.UID == e.UID && row.GID == e.GID && row.Target == e.Target
}

// Assume makes the row a directory that nobody has seen, because something in it was. What is known of the path itself is
// kept: it shows again once the directory is empty.
func (r Rules) Assume(row *Row, known bool, parent *ParentState) {
	s := state{}
	if known {
		s = r.decode(row, known, parent)
	}
	s.assumed = true
	*row = Row{Parent: row.Parent, Name: row.Name, Type: event.Directory, EndedAt: s.ends.Reported}
	s.encode(row, parent)
}
