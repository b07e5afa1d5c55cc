package compactor

import (
	"cmp"
	"maps"
	"slices"
	"sort"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
)

// origin is the segment that an event is in, and its session.
type origin struct {
	session, agent, source string
	seq                    uint64
	term                   uint64
	leaseUntil             int64 // 0: the segment does not say
	lag, skew              int64 // evidence.Provenance, of an observation
}

func (s *origin) provenance(at int64, by event.Evidence) evidence.Provenance {
	p := evidence.Provenance{At: at, Evidence: by, Skew: s.skew, Agent: s.agent, Source: s.source}
	if by != event.Realtime {
		p.Lag = s.lag
	}
	return p
}

// listing is what one event says about a directory, or a range of its names.
type listing struct {
	evidence.Listing
	by      *origin
	entries []event.Entry
}

func (l *listing) covers(name string) bool { return name >= l.From && (l.To == "" || name < l.To) }

// namedClaim is what one event says about one name: an evidence.Claim in a third of its space. Without a verb it claims
// nothing, and only makes the walk look the row up (batch.group).
type namedClaim struct {
	name     string
	at       int64
	entry    *event.Entry
	by       *origin
	about    *listing // the listing of the name as a directory that this claim comes from; mostly nil
	verb     evidence.Verb
	evidence event.Evidence
	atomic   bool
}

func (p *namedClaim) claim() evidence.Claim {
	c := evidence.Claim{Provenance: p.by.provenance(p.at, p.evidence), Verb: p.verb, Atomic: p.atomic, Entry: p.entry}
	if p.about != nil {
		c.Listing = &p.about.Listing
	}
	return c
}

// group is all that a batch claims about the entries of one directory.
type group struct {
	parent   string // as in rows: with a final slash
	claims   []namedClaim
	listings []*listing
}

// batch is the events of some segments, grouped by the directories that they are about.
//
// Example: "put /a/f" is a claim about f in the group of "/a/"; "listing of /a: f, g" is a claim about a in the group of
// "/", and a listing in the group of "/a/"; each new group adds look-ups: of a in "/", and of the root's row in "".
type batch struct {
	groups   map[string]*group
	samples  []evidence.Sample
	marks    []reportedMark
	defaults observationDefaults
	entries  []event.Entry // the chunk that the next claim's entry goes into
	size     int           // claims so far, groups and long texts counted as some more: the measure of the batch's memory
	rows     int           // names that something is claimed about, at most

	term       uint64 // the newest of the segments and of the view before
	observedAt int64
	counted    manifest.Counted // of this batch alone
}

// reportedMark is a mark, who made it, and when.
type reportedMark struct {
	by         *origin
	path       string
	observedAt int64
	mark       event.Mark
}

// observationDefaults are what the batch assumes about observations whose segments do not say: the view's settings, and its
// clock before the batch.
type observationDefaults struct{ staleness, skew int64 }

const (
	// claimsPerGroup is as how many claims a group counts, by its memory.
	claimsPerGroup = 4
	// textPerClaim is how many bytes of text count as a claim more.
	textPerClaim = 256
)

// newBatch starts a batch for a view that knows of this term.
func newBatch(term uint64, r observationDefaults) *batch {
	return &batch{defaults: r, groups: map[string]*group{}, term: term}
}

// group is that of a parent. A new one makes the walk look up the row of its directory, and of all above.
func (b *batch) group(parent string) *group {
	g := b.groups[parent]
	if g == nil {
		g = &group{parent: parent}
		b.groups[parent] = g
		b.size += claimsPerGroup + len(parent)/textPerClaim
		if parent != "" {
			up, name := event.Split(parent[:len(parent)-1])
			above := b.group(up)
			above.claims = append(above.claims, namedClaim{name: name})
		}
	}
	return g
}

// copyEntry copies an entry to memory of the batch, many to an allocation.
func (b *batch) copyEntry(e *event.Entry) *event.Entry {
	const chunk = 256
	if len(b.entries) == cap(b.entries) {
		b.entries = make([]event.Entry, 0, chunk)
	}
	b.entries = append(b.entries, *e)
	return &b.entries[len(b.entries)-1]
}

// add adds one event. The event itself may be used again; what it refers to is kept.
func (b *batch) add(ev *event.Event, by *origin) {
	b.counted.Events++
	b.observedAt = max(b.observedAt, ev.ObservedAt)
	switch ev.Kind {
	case event.Put:
		entry := b.copyEntry(&ev.Entry)
		verb := evidence.Listed
		if ev.Evidence == event.Realtime {
			verb = evidence.Exists
			if entry.Type == event.File {
				b.samples = append(b.samples, evidence.Sample{ObservedAt: ev.ObservedAt, MtimeNs: entry.MtimeNs})
			}
		}
		b.addClaim(ev.Path, namedClaim{at: ev.ObservedAt, by: by, evidence: ev.Evidence, verb: verb, atomic: ev.Atomic, entry: entry})
	case event.Delete:
		b.addClaim(ev.Path, namedClaim{at: ev.ObservedAt, by: by, evidence: event.Realtime, verb: evidence.Gone})
	case event.Listing:
		b.list(ev, by)
	case event.Marked:
		b.marks = append(b.marks, reportedMark{by, ev.Path, ev.ObservedAt, ev.Mark})
	}
}

func (b *batch) addClaim(path string, p namedClaim) {
	parent, name := event.Split(path)
	g := b.group(parent)
	p.name = name
	g.claims = append(g.claims, p)
	b.size += 1 + len(path)/textPerClaim
	b.rows++
}

func (b *batch) list(ev *event.Event, by *origin) {
	if ev.Evidence != event.OnDemand && by.leaseUntil != 0 && ev.ObservedAt > by.leaseUntil {
		b.counted.Fenced++ // its session led no longer
		return
	}
	self := b.copyEntry(&ev.Entry)
	l := &listing{by: by, entries: ev.Entries}
	l.Listing = evidence.Listing{Provenance: by.provenance(ev.ObservedAt, ev.Evidence), MtimeNs: self.MtimeNs, From: ev.From, To: ev.To, Ownerless: !self.Owned()}
	b.counted.Entries += uint64(len(l.entries))
	b.size += len(l.entries) + textOf(l.entries)/textPerClaim
	b.rows += len(l.entries)
	b.addClaim(ev.Path, namedClaim{at: ev.ObservedAt, by: by, evidence: ev.Evidence, verb: evidence.Listed, entry: self, about: l})
	g := b.group(childParent(ev.Path))
	g.listings = append(g.listings, l)
}

// textOf is how many bytes the entries' names and targets have.
func textOf(entries []event.Entry) (text int) {
	for i := range entries {
		text += len(entries[i].Name) + len(entries[i].Target)
	}
	return text
}

// childParent is the Parent of the rows of a directory's entries.
func childParent(dir string) string {
	if dir == "/" {
		return dir
	}
	return dir + "/"
}

// finish brings the batch into the form that the walk needs: fenced listings are out, and claims are in the order of names
// and times.
func (b *batch) finish() {
	b.fence()
	for _, g := range b.groups {
		slices.SortStableFunc(g.claims, func(x, y namedClaim) int {
			return cmp.Or(cmp.Compare(x.name, y.name), cmp.Compare(x.at, y.at))
		})
	}
	sort.SliceStable(b.samples, func(i, j int) bool { return b.samples[i].ObservedAt < b.samples[j].ObservedAt })
	slices.SortStableFunc(b.marks, func(x, y reportedMark) int { return cmp.Compare(x.observedAt, y.observedAt) })
}

// fence drops the listings of leaders whose term is over, and their claims about the directories themselves, where the
// segments do not say until when the session led (those of earlier builds).
func (b *batch) fence() {
	old := func(l *listing) bool {
		return l != nil && l.by.leaseUntil == 0 && l.Evidence != event.OnDemand && l.by.term < b.term
	}
	for _, g := range b.groups {
		before := len(g.listings)
		g.listings = slices.DeleteFunc(g.listings, old)
		b.counted.Fenced += uint64(before - len(g.listings))
		g.claims = slices.DeleteFunc(g.claims, func(p namedClaim) bool { return old(p.about) })
	}
}

// inOrder are the groups in the order of the walk.
func (b *batch) inOrder() []*group {
	return slices.SortedFunc(maps.Values(b.groups), func(x, y *group) int { return cmp.Compare(x.parent, y.parent) })
}
