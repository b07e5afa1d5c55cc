package evidence

import (
	"cmp"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/event"
)

// Memory is for how long evidence that comes late is still put into its place, as if it had come in time, ns. What a row
// remembers beside what it shows is given up once it is older.
const Memory int64 = 3600e9

// MaxObservations is how many observations a row remembers, and how many of its listings a directory: those of the last
// Memory, but no more than the newest so many.
const MaxObservations = 8

// fact is one piece of evidence on a path: the kernel's last report, or what one observation showed.
type fact struct {
	Provenance
	Since        int64 // the as-of time: Provenance.since for an observation, At for a report
	Gone         bool
	Swept        bool // gone with a directory above it
	Entry        event.Entry
	SuspectUntil int64
	lent         int64 // of an entry that was reported without an owner: from when the owner is that it shows (owner.go); 0 is its own
	floor        bool  // made from the end of a directory above
	implied      bool  // the directory's journal of listings implies it: recall would put it back
	unlisted     bool  // decoded from the columns alone: no journal has the listing that it comes from
}

func (e *fact) directory() bool { return !e.Gone && e.Entry.Type == event.Directory }

// base is what was known before the facts that are left. Forgotten facts leave no more than this.
type base uint8

const (
	nothing  base = iota
	unmarked      // an entry
	marked        // an entry that was a blind spot
)

// state is all evidence on a path that may still matter. What the row shows is a function of it, and of nothing else.
//
// It is a set: the kernel's last report, the observations since in the order of their times, and the path's own listings.
// Adding a claim only adds to the set, so the order in which claims come does not matter. Every step of Resolve keeps
// that law (TestLawOrderDoesNotMatter), the forgetting included: what is forgotten may not have mattered any more, or
// must be implied by what is left.
//
//	        report        observations
//	           │      │         │     │
//	base ──────┼──────┼─────────┼─────┼─────▶ time
//	before     At     earlier than the report's At: forgotten
//	                  as-of time (Since) after it: counts
type state struct {
	report          *fact
	observations    []fact
	base            base
	ends            Ends // beyond those that the facts imply
	journal         []Listing
	assumed         bool // shown as a directory, because something is in it
	restsOnListings bool // set by forget: the verdict rests on a listing that only the directory's journal has
}

// addReport adds a report. Of two reports the later counts; the other one only says that something ended.
func (s *state) addReport(e fact) {
	if s.report != nil && e.isAgain(s.report) {
		return
	}
	if s.report != nil && !s.report.before(&e) {
		s.report.lendBefore(&e)
		s.supersede(&e)
		return
	}
	if s.report != nil {
		e.lendBefore(s.report)
		s.supersede(s.report)
	}
	s.report = &e
}

// supersede keeps what a report that no longer counts says about the end of a directory at the path.
func (s *state) supersede(e *fact) {
	if !e.directory() && !e.floor {
		s.ends.Reported = max(s.ends.Reported, e.At)
	}
}

// before orders reports by time, and those of one time by what they report, so that two sessions' reports of one instant
// come to the same state in either order.
func (e *fact) before(o *fact) bool { return e.compare(o) < 0 }

func (e *fact) compare(o *fact) int {
	x, y := &e.Entry, &o.Entry
	if e.Gone && o.Gone {
		x, y = &event.Entry{}, &event.Entry{} // what was there before is not part of the report
	}
	return cmp.Or(cmp.Compare(e.At, o.At), -compareBool(e.Gone, o.Gone), cmp.Compare(x.MtimeNs, y.MtimeNs),
		cmp.Compare(x.Size, y.Size), cmp.Compare(x.Type, y.Type), cmp.Compare(x.Mode, y.Mode), cmp.Compare(x.UID, y.UID),
		cmp.Compare(x.GID, y.GID), cmp.Compare(x.Target, y.Target), compareInodes(&x.Inode, &y.Inode), cmp.Compare(x.AtimeDay, y.AtimeDay), -cmp.Compare(e.SuspectUntil, o.SuspectUntil),
		cmp.Compare(e.Evidence, o.Evidence), cmp.Compare(e.Agent, o.Agent), cmp.Compare(e.Source, o.Source))
}

func compareInodes(a, b *event.Inode) int {
	return cmp.Or(cmp.Compare(a.CtimeNs, b.CtimeNs), cmp.Compare(a.Allocated, b.Allocated), cmp.Compare(a.Links, b.Links), cmp.Compare(a.ID, b.ID),
		cmp.Compare(a.BirthS, b.BirthS), cmp.Compare(a.ACL, b.ACL))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// addObservation adds an observation at its place in time. One that is there already is not added twice.
func (s *state) addObservation(e fact) {
	i, found := slices.BinarySearchFunc(s.observations, &e, func(x fact, e *fact) int { return x.compare(e) })
	if !found && !slices.ContainsFunc(s.observations, func(x fact) bool { return e.isAgain(&x) }) {
		s.observations = slices.Insert(s.observations, i, e)
	}
}

// counts reports whether an observation counts: its state is from after the kernel's last report.
func (s *state) counts(l *fact) bool { return s.report == nil || l.Since > s.report.At }

// contentBefore is what observation i follows upon: the observation before it, or the report; nil if there is neither.
func (s *state) contentBefore(i int) *fact {
	if i > 0 {
		return &s.observations[i-1]
	}
	return s.report
}

// recall puts the observations back that the row does not store, because the journal of listings implies them: a listing
// changes a row only where it differs from what was known. So each listing in the journal that left nothing in the row
// saw what the observation before it saw.
//
// Example: a row rests on a snapshot at 100, and the journal of its directory has listings at 100, 500 and 900. Then the
// audits at 500 and 900 saw the same entry, and recall adds these two observations.
func (s *state) recall(r Rules, name string, listings []Listing) {
	for i := range listings {
		l := &listings[i]
		if !l.covers(name) || s.report != nil && l.At <= s.report.At {
			continue
		}
		at, _ := slices.BinarySearchFunc(s.observations, l.At, func(x fact, t int64) int { return cmp.Compare(x.At, t) })
		if at < len(s.observations) && s.observations[at].At == l.At {
			continue
		}
		e := fact{Provenance: l.Provenance, Gone: true, Since: l.since(l.MtimeNs)}
		before := s.contentBefore(at)
		if before == nil && s.base != nothing {
			continue
		}
		if before != nil && !before.Gone {
			e = r.observationOf(l.Provenance, &before.Entry)
			if l.Ownerless && before.Entry.Owned() {
				e.lent = before.lender()
			}
		}
		s.observations = slices.Insert(s.observations, at, e)
	}
}

// observationOf is the fact that an observation shows the entry.
func (r Rules) observationOf(by Provenance, entry *event.Entry) fact {
	e := fact{Provenance: by, Since: by.since(entry.MtimeNs), Entry: *entry}
	e.SuspectUntil = r.suspectUntil(&by, entry)
	return e
}

// suspectUntil is until when an observed file is suspect of being written to, in the store's time: its mtime, put into the
// store's time, plus Hot. An mtime in the future keeps no file suspect for longer than Hot after the observation. 0 is not suspect.
func (r Rules) suspectUntil(by *Provenance, entry *event.Entry) int64 {
	until := min(entry.MtimeNs+by.Skew, by.At) + r.Hot
	if entry.Type != event.File || until <= by.At {
		return 0
	}
	return until
}

// LongestOpen bounds for how long, ns, a report that a file is open makes it suspect.
const LongestOpen = 30 * time.Minute

// openUntil is until when a file is suspect that the kernel reported as being written: for Hot, or for as long again as it had not
// changed when it was reported. Within half of that time its agent looks again (agent/watch), so a file that is held open stays suspect
// until its closing is reported, and one that rests costs few looks.
//
// Example, with hot 60: a file that is open and was last changed 10 minutes before the report is suspect for 10 minutes after it.
func (r Rules) openUntil(by *Provenance, entry *event.Entry) int64 {
	unchanged := int64(LongestOpen)
	if changed := entry.MtimeNs + by.Skew; changed > by.At-unchanged {
		unchanged = by.At - changed
	}
	return by.At + max(r.Hot, unchanged)
}

// reportOf is the fact that the kernel reported.
func (r Rules) reportOf(c *Claim) fact {
	e := fact{Provenance: c.Provenance, Since: c.At, Gone: c.Verb == Gone}
	if c.Entry != nil {
		e.Entry = *c.Entry
		if !c.Atomic && c.Entry.Type == event.File {
			e.SuspectUntil = r.openUntil(&c.Provenance, c.Entry)
		}
	}
	return e
}

// verdict is what the evidence comes to.
type verdict struct {
	known, missing bool
	// stale: the last observation that is kept shows an entry. It has to be remembered even where it does not count, as a
	// path without a row would look like one that every listing lacked.
	stale   bool
	by      *fact // the report or observation that it rests on
	content *fact // what is, or was, there
}

func (v *verdict) present() bool { return v.known && !v.by.Gone }

// judge weighs the evidence: first the report, then each observation that counts, in the order of their times.
//
// What an observation shows and nobody reported is a blind spot, unless a snapshot observed it, and stays one until the
// kernel reports the path. Examples (report, then observations → verdict):
//
//	put@100                           → there, by the report
//	put@100   audit@300 same          → there, still by the report: nothing is new
//	put@100   audit@300 as of 210 new → there, by the audit, a blind spot: nobody reported the change
//	delete@200, audit@230 as of 110   → gone: the audit showed an older state
//	(none)    snapshot@100            → there, by the snapshot, no blind spot
//	(none)    audit@100               → there, by the audit, a blind spot
func (s *state) judge() verdict {
	v := verdict{}
	if s.report != nil {
		v = verdict{known: true, by: s.report, content: s.report}
	}
	for i := range s.observations {
		l := &s.observations[i]
		if !s.counts(l) {
			continue
		}
		first := v.by == nil && s.base != nothing
		switch {
		case l.Gone && (v.by == nil && l.Entry.Type == 0 && !first || v.by != nil && v.by.Gone):
		case l.Gone:
			v.known, v.missing, v.by = true, !l.Swept, l
			if v.content == nil {
				v.content = l
			}
		case first:
			v = verdict{known: true, missing: s.base == marked, by: l, content: l}
		case v.present() && sameEntry(&v.content.Entry, &l.Entry):
		default:
			isNew := !v.present() || v.content.directory() != l.directory()
			laterScan := l.Evidence == event.Audit || l.Evidence == event.OnDemand
			// A directory's own times and size follow from what is in it; only one that nobody reported is a blind spot. Neither
			// does the kernel report a read, nor to the other names of a file that it got another name.
			v.missing = !isNew && v.missing || laterScan && (isNew || l.Entry.Type != event.Directory && !sameContent(&v.content.Entry, &l.Entry))
			v.known, v.by, v.content = true, l, l
		}
	}
	return v.copied()
}

// copied is the verdict with facts of its own, so that it stays as it is when the state forgets.
func (v verdict) copied() verdict {
	if v.by != nil {
		by, content := *v.by, *v.content
		v.by, v.content = &by, &content
	}
	return v
}

// allEnds are the ends that the evidence implies, and those that are remembered beside it.
func (s *state) allEnds() Ends {
	e := s.ends
	if s.report != nil && !s.report.directory() {
		e.Reported = max(e.Reported, s.report.At)
	}
	for i := range s.observations {
		e = e.Max(endOf(&s.observations[i]))
	}
	return e
}

// endOf is what an observation says about the end of a directory at the path.
func endOf(l *fact) Ends {
	if l.directory() {
		return Ends{}
	}
	return Ends{Observed: l.Since}
}

// sameEntry reports whether two observations of an entry show the same.
func sameEntry(a, b *event.Entry) bool {
	return sameContent(a, b) && a.Inode == b.Inode && (a.AtimeDay == b.AtimeDay || !followsAtime(a))
}

// followsAtime reports whether the day of the last access counts: that of files. Directories and links are read by every scan.
func followsAtime(e *event.Entry) bool { return e.Type == event.File && e.Measured() }

// sameContent reports whether two observations show the same but for what the inode tells, and the day of the last access.
func sameContent(a, b *event.Entry) bool {
	return a.Type == b.Type && a.Size == b.Size && a.MtimeNs == b.MtimeNs && a.Mode == b.Mode && a.UID == b.UID &&
		a.GID == b.GID && a.Target == b.Target
}

// forget drops what no longer matters: observations from before the report, observations that the directory's journal
// implies, evidence older than Memory, and ends that something later makes pointless. It never changes the verdict.
func (s *state) forget(name string, parent *ParentState) {
	if s.report != nil {
		s.observations = slices.DeleteFunc(s.observations, func(l fact) bool {
			if l.At <= s.report.At {
				s.ends = s.ends.Max(endOf(&l))
				return true
			}
			return false
		})
	}
	if explicit := s.markImplied(name, parent); explicit > 0 {
		s.forgetOld(explicit, name, parent)
	}
	s.dropEnds(s.dropImplied())
}

// forgetOld folds evidence from before Memory into the base of what came since, but only while the row has an observation
// to remember anyway. Otherwise a listing that saw nothing new could change what a row stores, and every audit would
// write every row.
func (s *state) forgetOld(explicit int, name string, parent *ParentState) {
	old := s.observations[len(s.observations)-1].At - Memory
	for explicit > 1 && (s.observations[0].At < old || explicit > MaxObservations) {
		s.forgetFirst()
		explicit = s.markImplied(name, parent)
	}
	if explicit > 0 && s.report != nil && s.report.At < old && s.counts(&s.observations[0]) {
		s.supersede(s.report)
		reported, next := state{report: s.report}, state{report: s.report, observations: s.observations[:1]}
		s.setBase(reported.judge(), next.judge())
		s.observations = slices.DeleteFunc(s.observations, func(l fact) bool { return !s.counts(&l) })
		s.report = nil
		s.markImplied(name, parent)
	}
}

// forgetFirst drops the first observation, and, if that observation counts, the report before it: both become the base. One that does not count
// because of the report is dropped before the report is: it would count without it.
func (s *state) forgetFirst() {
	i := max(0, slices.IndexFunc(s.observations, func(l fact) bool { return !s.counts(&l) }))
	if s.counts(&s.observations[i]) {
		first := state{report: s.report, observations: s.observations[:1], base: s.base, ends: s.ends}
		next := state{report: s.report, observations: s.observations[:min(2, len(s.observations))], base: s.base}
		s.ends = first.allEnds()
		s.setBase(first.judge(), next.judge())
		s.report = nil
	} else {
		s.ends = s.ends.Max(endOf(&s.observations[i]))
	}
	s.observations = slices.Delete(s.observations, i, i+1)
}

// setBase makes a verdict the base of the observation that came next. The base only has to say whether there was an entry,
// and whether the next observation is to show it as a blind spot.
func (s *state) setBase(v, next verdict) {
	switch {
	case !v.present():
		s.base = nothing
	case next.present() && next.missing || !next.present() && v.missing:
		s.base = marked
	default:
		s.base = unmarked
	}
}

// markImplied marks the observations that need not be stored, as the directory's journal implies them: they saw what the
// observation before them saw, and recall puts them, or newer ones that prove as much, back. It returns how many are left.
func (s *state) markImplied(name string, parent *ParentState) (explicit int) {
	before := s.report
	s.restsOnListings = false
	for i := range s.observations {
		l := &s.observations[i]
		gone := before == nil || before.Gone
		unknown := before == nil && s.base != nothing // what it follows upon is forgotten
		asBefore := l.Gone && gone && l.Entry.Type == 0 || !l.Gone && !gone && sameEntry(&before.Entry, &l.Entry)
		// Where the observation counts and the one before does not, it says something new.
		news := before != s.report && s.counts(l) && !s.counts(before)
		l.implied = !unknown && asBefore && (journaled(parent.After, name, l.At) || !news && s.outdated(i, name, parent))
		s.restsOnListings = s.restsOnListings || l.implied && news
		if !l.implied {
			before = l
			explicit++
		}
	}
	return explicit
}

// outdated reports whether the directory's journal dropped the listing that observation i comes from, and has a newer one
// that proves as much.
func (s *state) outdated(i int, name string, parent *ParentState) bool {
	if !journaled(parent.Outdated, name, s.observations[i].At) {
		return false
	}
	for j := len(s.observations) - 1; j > i; j-- {
		if s.observations[j].Since >= s.observations[i].Since && journaled(parent.After, name, s.observations[j].At) {
			return true
		}
	}
	return false
}

// dropImplied removes the observations that are marked as implied, and returns the ends that these imply.
func (s *state) dropImplied() (ends Ends) {
	kept := s.observations[:0]
	for i := range s.observations {
		if l := &s.observations[i]; l.implied {
			ends = ends.Max(endOf(l))
		} else {
			kept = append(kept, *l)
		}
	}
	s.observations = kept
	return ends
}

// dropEnds drops remembered ends that later evidence implies. recalled are the ends that observations imply which recall
// will put back.
func (s *state) dropEnds(recalled Ends) {
	stored := s.ends
	s.ends = Ends{}
	implied := s.allEnds().Max(recalled)
	if stored.Reported > implied.Reported {
		s.ends.Reported = stored.Reported
	}
	if stored.Observed > max(implied.Observed, implied.Reported) {
		s.ends.Observed = stored.Observed
	}
}

// addListing adds a listing of the path to its journal, which is in the order of times.
func (s *state) addListing(l Listing) {
	i, _ := slices.BinarySearchFunc(s.journal, &l, func(x Listing, l *Listing) int {
		return cmp.Or(cmp.Compare(x.At, l.At), cmp.Compare(x.From, l.From), cmp.Compare(x.To, l.To))
	})
	if i < len(s.journal) && s.journal[i] == l {
		return
	}
	s.journal = slices.Insert(slices.Clip(s.journal), i, l)
}

// trimJournal drops listings from before the path ended, and those that are old, or too many, and that newer ones include and prove as much:
// the latter it returns. A listing of a range of names stays until newer ones include the whole range: of the pages of a
// large directory, for example, no page makes another one outdated.
func (s *state) trimJournal(ends Ends) (outdated []Listing) {
	var kept []Listing
	newest := int64(noTime)
	for i := len(s.journal) - 1; i >= 0; i-- {
		l := &s.journal[i]
		newest = max(newest, l.At)
		if ends.endsObservation(l.At, l.since(l.MtimeNs)) {
			continue
		}
		old := l.At < newest-Memory || len(kept) >= MaxObservations
		if old && slices.ContainsFunc(kept, func(k Listing) bool { return k.includes(l) && k.proves(l) }) {
			outdated = append(outdated, *l)
			continue
		}
		kept = append(kept, *l)
	}
	slices.Reverse(kept)
	s.journal = kept
	return outdated
}
