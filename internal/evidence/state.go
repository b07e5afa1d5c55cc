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
const MaxLooks = 8

// element is one piece of evidence on a path: what the kernel told last, or what one look showed.
type element struct {
	Sight
	Since        int64 // as of when a look certainly holds
	Gone         bool
	Swept        bool // gone with a directory above it
	Entry        event.Entry
	SuspectUntil int64
	floor        bool // made from the end of a directory above
	implied      bool // the directory's listings tell of it
	unlisted     bool // made from columns alone: no journal has the listing that it is of
}

func (e *element) directory() bool { return !e.Gone && e.Entry.Type == event.Directory }

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
	told    *element
	looks   []element
	base    base
	ends    Ends // beyond those that the elements imply
	journal []Listing
	assumed bool // shown as a directory because something is in it
	leans   bool // settled: what it comes to rests on listings that only the directory's journal has
}

// tell takes in what the kernel told. Of two, the later holds; the other only tells that something ended.
func (s *state) tell(e element) {
	if s.told != nil && !s.told.before(&e) {
		s.supersede(&e)
		return
	}
	if s.told != nil {
		s.supersede(s.told)
	}
	s.told = &e
}

func (s *state) supersede(e *element) {
	if !e.directory() && !e.floor {
		s.ends.Told = max(s.ends.Told, e.At)
	}
}

// before orders what two sessions told, at equal times by what they told.
func (e *element) before(o *element) bool { return e.compare(o) < 0 }

func (e *element) compare(o *element) int {
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

// look takes in what a look showed.
func (s *state) look(e element) {
	i, found := slices.BinarySearchFunc(s.looks, &e, func(x element, e *element) int { return x.compare(e) })
	if !found {
		s.looks = slices.Insert(s.looks, i, e)
	}
}

// holds reports whether a look counts: it shows a state from after what was told.
func (s *state) holds(l *element) bool { return s.told == nil || l.Since > s.told.At }

// content is what element i of the looks follows upon; nil is nothing.
func (s *state) contentBefore(i int) *element {
	if i > 0 {
		return &s.looks[i-1]
	}
	return s.told
}

// recall puts the looks back that showed what was known: a listing leaves a trace at a path only where it differs, so
// each of the directory's own, and of the one it is in, is one that saw what the look before it saw.
func (s *state) recall(r Rules, name string, listings []Listing, own bool) {
	for i := range listings {
		l := &listings[i]
		if !own && !l.covers(name) || s.told != nil && l.At <= s.told.At {
			continue
		}
		at, _ := slices.BinarySearchFunc(s.looks, l.At, func(x element, t int64) int { return cmp.Compare(x.At, t) })
		if at < len(s.looks) && s.looks[at].At == l.At {
			continue
		}
		e := element{Sight: l.Sight, Gone: true, Since: l.since(l.MtimeNs)}
		before := s.contentBefore(at)
		if before == nil && s.base != nothing || own && (before == nil || !before.directory()) {
			continue
		}
		if before != nil && !before.Gone {
			e = r.seen(l.Sight, &before.Entry)
		}
		s.looks = slices.Insert(s.looks, at, e)
	}
}

// seen is the element of a look that saw the entry.
func (r Rules) seen(by Sight, entry *event.Entry) element {
	e := element{Sight: by, Since: by.since(entry.MtimeNs), Entry: *entry}
	e.Entry.Name = ""
	e.SuspectUntil = r.suspectUntil(&by, entry)
	return e
}

// suspectUntil is when watermark - mtime reaches hot, in the store's time, for an entry that was looked at. An mtime in the
// future keeps no file suspect for longer than hot after the look.
func (r Rules) suspectUntil(by *Sight, entry *event.Entry) int64 {
	until := min(entry.MtimeNs+by.Skew, by.At) + r.Hot
	if entry.Type != event.File || until <= by.At {
		return 0
	}
	return until
}

// told is the element of what the kernel told.
func (r Rules) told(c *Claim) element {
	e := element{Sight: c.Sight, Since: c.At, Gone: c.Verb == Gone}
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
	stale          bool     // a look that does not count has to be remembered: a listing lacks nothing that it saw
	by             *element // that it rests on
	content        *element // what is, or was, there
}

func (v *verdict) present() bool { return v.known && !v.by.Gone }

// judge weighs the evidence: looks count in their order upon what was told last. A look at something that nobody told of
// is a blind spot, unless it is a snapshot's, and stays one until the kernel tells of the path.
func (s *state) judge() verdict {
	v := verdict{}
	if s.told != nil {
		v = verdict{known: true, by: s.told, content: s.told}
	}
	for i := range s.looks {
		l := &s.looks[i]
		if !s.holds(l) {
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
		case v.present() && same(&v.content.Entry, &l.Entry):
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

// implied are the ends that the evidence speaks of.
func (s *state) implied() Ends {
	e := s.ends
	if s.told != nil && !s.told.directory() {
		e.Told = max(e.Told, s.told.At)
	}
	for i := range s.looks {
		e = e.Max(endOf(&s.looks[i]))
	}
	return e
}

// endOf is what a look says of the end of a directory at the path.
func endOf(l *element) Ends {
	if l.directory() {
		return Ends{}
	}
	return Ends{Looked: l.Since}
}

// same reports whether two looks at an entry show the same. The access time does not count.
func same(a, b *event.Entry) bool {
	return a.Type == b.Type && a.Size == b.Size && a.MtimeNs == b.MtimeNs && a.Mode == b.Mode && a.UID == b.UID &&
		a.GID == b.GID && a.Target == b.Target
}

// settle forgets what no longer matters.
func (s *state) settle(name string, place *Place) {
	if s.told != nil {
		s.looks = slices.DeleteFunc(s.looks, func(l element) bool {
			if l.At <= s.told.At {
				s.ends = s.ends.Max(endOf(&l))
				return true
			}
			return false
		})
	}
	if explicit := s.imply(name, place); explicit > 0 {
		s.forgetOld(explicit, name, place)
	}
	s.dropEnds(s.dropImplied())
}

// forgetOld turns evidence from before Memory into the base of what came since: only as long as there is less to remember for
// it. A listing that saw a path as it was known must not make its row remember another look than before.
func (s *state) forgetOld(explicit int, name string, place *Place) {
	old := s.looks[len(s.looks)-1].At - Memory
	for explicit > 1 && (s.looks[0].At < old || explicit > MaxLooks) {
		s.forgetFirst()
		explicit = s.imply(name, place)
	}
	if explicit > 0 && s.told != nil && s.told.At < old && s.holds(&s.looks[0]) {
		s.supersede(s.told)
		told, next := state{told: s.told}, state{told: s.told, looks: s.looks[:1]}
		s.rebase(told.judge(), next.judge())
		s.told = nil
		s.imply(name, place)
	}
}

// forgetFirst gives up the first look, and what was told before it.
func (s *state) forgetFirst() {
	if s.holds(&s.looks[0]) {
		first := state{told: s.told, looks: s.looks[:1], base: s.base, ends: s.ends}
		next := state{told: s.told, looks: s.looks[:min(2, len(s.looks))], base: s.base}
		s.ends = first.implied()
		s.rebase(first.judge(), next.judge())
		s.told = nil
	}
	s.looks = slices.Delete(s.looks, 0, 1)
}

// rebase makes a verdict the base of the look that came next: of that the base is to tell whether it is marked.
func (s *state) rebase(v, next verdict) {
	switch {
	case !v.present():
		s.base = nothing
	case next.present() && next.missing || !next.present() && v.missing:
		s.base = marked
	default:
		s.base = unmarked
	}
}

// imply marks the looks that the directory's listings tell of, as they saw what the look before saw: recall puts them back, or
// newer ones that tell as much. It returns how many are left.
func (s *state) imply(name string, place *Place) (explicit int) {
	before := s.told
	s.leans = false
	for i := range s.looks {
		l := &s.looks[i]
		gone := before == nil || before.Gone
		unseen := before == nil && s.base != nothing // not known what it follows upon
		asBefore := l.Gone && gone && l.Entry.Type == 0 || !l.Gone && !gone && same(&before.Entry, &l.Entry)
		// Where the look counts and the one before does not, it says something new.
		news := before != nil && before != s.told && s.holds(l) && !s.holds(before)
		l.implied = !unseen && asBefore && (journaled(place.After, name, l.At) || !news && s.outdated(i, name, place))
		s.leans = s.leans || l.implied && news
		if !l.implied {
			before = l
			explicit++
		}
	}
	return explicit
}

// outdated reports whether the directory's journal gave up the listing that look i is of, and a newer one that it has proves as
// much.
func (s *state) outdated(i int, name string, place *Place) bool {
	if !journaled(place.Outdated, name, s.looks[i].At) {
		return false
	}
	for j := len(s.looks) - 1; j > i; j-- {
		if s.looks[j].Since >= s.looks[i].Since && journaled(place.After, name, s.looks[j].At) {
			return true
		}
	}
	return false
}

// dropImplied forgets the looks that are marked so. It returns the ends that they speak of.
func (s *state) dropImplied() (ends Ends) {
	kept := s.looks[:0]
	for i := range s.looks {
		if l := &s.looks[i]; l.implied {
			ends = ends.Max(endOf(l))
		} else {
			kept = append(kept, *l)
		}
	}
	s.looks = kept
	return ends
}

// dropEnds forgets ends that something later makes pointless: also a listing of the directory, which is recalled.
func (s *state) dropEnds(recalled Ends) {
	stored := s.ends
	s.ends = Ends{}
	implied := s.implied().Max(recalled)
	if stored.Told > implied.Told {
		s.ends.Told = stored.Told
	}
	if stored.Looked > max(implied.Looked, implied.Told) {
		s.ends.Looked = stored.Looked
	}
}

// enter puts a listing of the path into its journal.
func (s *state) enter(l Listing) {
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
		if ends.endsLook(l.At, l.since(l.MtimeNs)) {
			continue
		}
		old := l.At < newest-Memory || len(kept) >= MaxLooks
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
