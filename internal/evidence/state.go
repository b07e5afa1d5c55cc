package evidence

import (
	"cmp"
	"slices"

	"github.com/fustor/fustor/internal/event"
)

// Memory is for how long evidence that comes late is still put into its place, as if it had come in time, ns. What a row
// remembers beside what it shows is given up once it is older.
const Memory int64 = 3600e9

// MaxLooks is how many looks at a path a row remembers, and how many of its listings a directory: those of the last Memory, but
// no more than the newest so many.
const MaxObservations = 8

// fact is one piece of evidence on a path: what the kernel told last, or what one look showed.
type fact struct {
	Provenance
	Since        int64 // as of when a look certainly holds
	Gone         bool
	Swept        bool // gone with a directory above it
	Entry        event.Entry
	SuspectUntil int64
	floor        bool // made from the end of a directory above
	implied      bool // the directory's listings tell of it
	unlisted     bool // made from columns alone: no journal has the listing that it is of
}

func (e *fact) directory() bool { return !e.Gone && e.Entry.Type == event.Directory }

// base is what was known before the elements that are left.
type base uint8

const (
	nothing base = iota
	unmarked
	marked // as a blind spot
)

// state is all the evidence on a path that may still matter: what it shows is a function of it, and of nothing else.
//
// It is a set: what was told last, the looks since in the order of their times, and the path's own listings. Taking in
// a claim is a join, so the order in which claims come does not matter.
type state struct {
	report          *fact
	observations    []fact
	base            base
	ends            Ends // beyond those that the elements imply
	journal         []Listing
	assumed         bool // shown as a directory because something is in it
	restsOnListings bool // settled: what it comes to rests on listings that only the directory's journal has
}

// addReport takes in what the kernel told. Of two, the later holds; the other only tells that something ended.
func (s *state) addReport(e fact) {
	if s.report != nil && !s.report.before(&e) {
		s.report.completeFrom(&e)
		s.supersede(&e)
		return
	}
	if s.report != nil {
		e.completeFrom(s.report)
		s.supersede(s.report)
	}
	s.report = &e
}

func (s *state) supersede(e *fact) {
	if !e.directory() && !e.floor {
		s.ends.Reported = max(s.ends.Reported, e.At)
	}
}

// before orders what two sessions told, at equal times by what they told.
func (e *fact) before(o *fact) bool { return e.compare(o) < 0 }

func (e *fact) compare(o *fact) int {
	x, y := &e.Entry, &o.Entry
	if e.Gone && o.Gone {
		x, y = &event.Entry{}, &event.Entry{} // what was there is not part of it
	}
	return cmp.Or(cmp.Compare(e.At, o.At), -compareBool(e.Gone, o.Gone), cmp.Compare(x.MtimeNs, y.MtimeNs),
		cmp.Compare(x.Size, y.Size), cmp.Compare(x.Type, y.Type), cmp.Compare(x.Mode, y.Mode), cmp.Compare(x.UID, y.UID),
		cmp.Compare(x.GID, y.GID), cmp.Compare(x.Target, y.Target), -cmp.Compare(e.SuspectUntil, o.SuspectUntil),
		cmp.Compare(e.Evidence, o.Evidence), cmp.Compare(e.Agent, o.Agent), cmp.Compare(e.Source, o.Source))
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

// addObservation takes in what a look showed.
func (s *state) addObservation(e fact) {
	i, found := slices.BinarySearchFunc(s.observations, &e, func(x fact, e *fact) int { return x.compare(e) })
	if !found {
		s.observations = slices.Insert(s.observations, i, e)
	}
}

// counts reports whether a look counts: it shows a state from after what was told.
func (s *state) counts(l *fact) bool { return s.report == nil || l.Since > s.report.At }

// contentBefore is what element i of the looks follows upon; nil is nothing.
func (s *state) contentBefore(i int) *fact {
	if i > 0 {
		return &s.observations[i-1]
	}
	return s.report
}

// recall puts the looks back that showed what was known: a listing leaves a trace at a path only where it differs, so
// each of the directory's own, and of the one it is in, is one that saw what the look before it saw.
func (s *state) recall(r Rules, name string, listings []Listing, own bool) {
	for i := range listings {
		l := &listings[i]
		if !own && !l.covers(name) || s.report != nil && l.At <= s.report.At {
			continue
		}
		at, _ := slices.BinarySearchFunc(s.observations, l.At, func(x fact, t int64) int { return cmp.Compare(x.At, t) })
		if at < len(s.observations) && s.observations[at].At == l.At {
			continue
		}
		e := fact{Provenance: l.Provenance, Gone: true, Since: l.since(l.MtimeNs)}
		before := s.contentBefore(at)
		if before == nil && s.base != nothing || own && (before == nil || !before.directory()) {
			continue
		}
		if before != nil && !before.Gone {
			e = r.observationOf(l.Provenance, &before.Entry)
		}
		s.observations = slices.Insert(s.observations, at, e)
	}
}

// observationOf is the element of a look that saw the entry.
func (r Rules) observationOf(by Provenance, entry *event.Entry) fact {
	e := fact{Provenance: by, Since: by.since(entry.MtimeNs), Entry: *entry}
	e.Entry.Name = ""
	e.SuspectUntil = r.suspectUntil(&by, entry)
	return e
}

// suspectUntil is when watermark - mtime reaches hot, in the store's time, for an entry that was looked at. An mtime in the
// future keeps no file suspect for longer than hot after the look.
func (r Rules) suspectUntil(by *Provenance, entry *event.Entry) int64 {
	until := min(entry.MtimeNs+by.Skew, by.At) + r.Hot
	if entry.Type != event.File || until <= by.At {
		return 0
	}
	return until
}

// reportOf is the element of what the kernel told.
func (r Rules) reportOf(c *Claim) fact {
	e := fact{Provenance: c.Provenance, Since: c.At, Gone: c.Verb == Gone}
	if c.Entry != nil {
		e.Entry = *c.Entry
		e.Entry.Name = ""
		if !c.Atomic && c.Entry.Type == event.File {
			e.SuspectUntil = c.At + r.Hot
		}
	}
	return e
}

// verdict is what the evidence comes to.
type verdict struct {
	known, missing bool
	stale          bool  // a look that does not count has to be remembered: a listing lacks nothing that it saw
	by             *fact // that it rests on
	content        *fact // what is, or was, there
}

func (v *verdict) present() bool { return v.known && !v.by.Gone }

// judge weighs the evidence: looks count in their order upon what was told last. A look at something that nobody told of
// is a blind spot, unless it is a snapshot's, and stays one until the kernel tells of the path.
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
			looked := l.Evidence == event.Audit || l.Evidence == event.OnDemand
			// A directory's own times and size follow from what is in it; only one that nobody reported is a blind spot.
			v.missing = !isNew && v.missing || looked && (isNew || l.Entry.Type != event.Directory)
			v.known, v.by, v.content = true, l, l
		}
	}
	return v.copied()
}

// copied is a verdict that stays as it is when the evidence is forgotten.
func (v verdict) copied() verdict {
	if v.by != nil {
		by, content := *v.by, *v.content
		v.by, v.content = &by, &content
	}
	return v
}

// allEnds are the ends that the evidence speaks of.
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

// endOf is what a look says of the end of a directory at the path.
func endOf(l *fact) Ends {
	if l.directory() {
		return Ends{}
	}
	return Ends{Observed: l.Since}
}

// sameEntry reports whether two looks at an entry show the same. The access time does not count.
func sameEntry(a, b *event.Entry) bool {
	return a.Type == b.Type && a.Size == b.Size && a.MtimeNs == b.MtimeNs && a.Mode == b.Mode && a.UID == b.UID &&
		a.GID == b.GID && a.Target == b.Target
}

// forget forgets what no longer matters.
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

// forgetOld turns evidence from before Memory into the base of what came since: only as long as there is less to remember for
// it. A listing that saw a path as it was known must not make its row remember another look than before.
func (s *state) forgetOld(explicit int, name string, parent *ParentState) {
	old := s.observations[len(s.observations)-1].At - Memory
	for explicit > 1 && (s.observations[0].At < old || explicit > MaxObservations) {
		s.forgetFirst()
		explicit = s.markImplied(name, parent)
	}
	if explicit > 0 && s.report != nil && s.report.At < old && s.counts(&s.observations[0]) {
		s.supersede(s.report)
		told, next := state{report: s.report}, state{report: s.report, observations: s.observations[:1]}
		s.setBase(told.judge(), next.judge())
		s.report = nil
		s.markImplied(name, parent)
	}
}

// forgetFirst gives up the first look, and what was told before it.
func (s *state) forgetFirst() {
	if s.counts(&s.observations[0]) {
		first := state{report: s.report, observations: s.observations[:1], base: s.base, ends: s.ends}
		next := state{report: s.report, observations: s.observations[:min(2, len(s.observations))], base: s.base}
		s.ends = first.allEnds()
		s.setBase(first.judge(), next.judge())
		s.report = nil
	}
	s.observations = slices.Delete(s.observations, 0, 1)
}

// setBase makes a verdict the base of the look that came next: of that the base is to tell whether it is marked.
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

// markImplied marks the looks that the directory's listings tell of, as they saw what the look before saw: recall puts them back, or
// newer ones that tell as much. It returns how many are left.
func (s *state) markImplied(name string, parent *ParentState) (explicit int) {
	before := s.report
	s.restsOnListings = false
	for i := range s.observations {
		l := &s.observations[i]
		gone := before == nil || before.Gone
		unseen := before == nil && s.base != nothing // not known what it follows upon
		asBefore := l.Gone && gone && l.Entry.Type == 0 || !l.Gone && !gone && sameEntry(&before.Entry, &l.Entry)
		// Where the look counts and the one before does not, it says something new.
		news := before != nil && before != s.report && s.counts(l) && !s.counts(before)
		l.implied = !unseen && asBefore && (journaled(parent.After, name, l.At) || !news && s.outdated(i, name, parent))
		s.restsOnListings = s.restsOnListings || l.implied && news
		if !l.implied {
			before = l
			explicit++
		}
	}
	return explicit
}

// outdated reports whether the directory's journal gave up the listing that look i is of, and a newer one that it has proves as
// much.
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

// dropImplied forgets the looks that are marked so. It returns the ends that they speak of.
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

// dropEnds forgets ends that something later makes pointless: also a listing of the directory, which is recalled.
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

// addListing puts a listing of the path into its journal.
func (s *state) addListing(l Listing) {
	i, _ := slices.BinarySearchFunc(s.journal, &l, func(x Listing, l *Listing) int {
		return cmp.Or(cmp.Compare(x.At, l.At), cmp.Compare(x.From, l.From), cmp.Compare(x.To, l.To))
	})
	if i < len(s.journal) && s.journal[i] == l {
		return
	}
	s.journal = slices.Insert(slices.Clip(s.journal), i, l)
}

// trimJournal forgets listings from before the path ended, and those that newer ones include and that are too old to
// matter, or too many: these it returns.
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
		if old && slices.ContainsFunc(kept, func(k Listing) bool { return k.includes(l) }) {
			outdated = append(outdated, *l)
			continue
		}
		kept = append(kept, *l)
	}
	slices.Reverse(kept)
	s.journal = kept
	return outdated
}
