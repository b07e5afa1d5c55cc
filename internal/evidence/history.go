package evidence

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/fustor/fustor/internal/event"
)

// A history is empty, or a version byte, a flags byte, and what the flags say is there. docs/design/evidence.md has the layout as an
// annotated struct and an example in hex.
//
// Builds before the version byte wrote the flags first. Their flags were never 0 and used the low six bits alone (0x01 to 0x3f), so
// the first byte distinguishes the two: from 0x40 on it is a version. Those builds, in turn, find no flag that they know in 0x40 and
// take such a history for an empty one, which loses late evidence and breaks nothing.
//
// A new version gets the next byte, and with it the layer's schema or the manifest a new number: older builds then refuse the view,
// rather than forget what its rows remember.
const (
	historyVersion       byte = 0x40
	historyVersionBirths byte = 0x41 // what facts tell of the inode ends with its birth and its ACL; of layers of schema 3 only
	lowestVersionByte    byte = 0x40
)

// What a history holds, by the bits of its flags. A row whose history is empty rests on one piece of evidence, all of which is in
// its columns.
const (
	historyListed      = 1 << iota // the journal is one listing, by the same agent and with the mtime that the row shows
	historyJournal                 // the journal in full
	historyFacts                   // all the evidence; the columns only show what it comes to
	historyObservedEnd             // Ends.Observed
	historyAssumed                 // the row is an assumed directory
	historyGone                    // a tombstone that stays as it is whatever later listings lack it: Row.StaysGone
	historyLent                    // which listings and facts have owners that were lent. Builds that do not know it take those for their own
	historyInodes                  // facts have what the inode tells. Builds without this flag cannot read the layers of those that write it
)

// encode writes into the row's history what its columns do not show.
func (s *state) encode(row *Row, parent *ParentState) {
	w := writer{row: row}
	var flags byte
	plain := s.inColumns(row, parent)
	listed := s.journalInColumns(row)
	set := func(bit byte, on bool) {
		if on {
			flags |= bit
		}
	}
	set(historyListed, listed)
	set(historyJournal, !listed && len(s.journal) > 0)
	set(historyFacts, !plain)
	set(historyInodes, !plain && s.tellsOfInodes())
	set(historyObservedEnd, s.ends.Observed != 0)
	set(historyAssumed, s.assumed)
	set(historyLent, s.lends())
	if flags == 0 {
		row.History = ""
		return
	}
	set(historyGone, s.staysGone(row))
	version := historyVersion
	if flags&historyInodes != 0 && s.tellsOfBirths() {
		version, w.births = historyVersionBirths, true
	}
	w.b = append(w.b, version, flags)
	if listed {
		w.int(s.journal[0].Lag)
		w.int(s.journal[0].Skew)
		w.int(s.journal[0].At - row.ObservedAt)
	}
	if flags&historyJournal != 0 {
		w.int(int64(len(s.journal)))
		for i := range s.journal {
			l := &s.journal[i]
			w.provenance(&l.Provenance)
			w.int(l.MtimeNs)
			w.text(l.From)
			w.text(l.To)
		}
	}
	if flags&historyFacts != 0 {
		w.inodes = flags&historyInodes != 0
		w.facts(s)
	}
	if flags&historyObservedEnd != 0 {
		w.int(s.ends.Observed)
	}
	if flags&historyLent != 0 {
		w.lent(s)
	}
	row.History = string(w.b)
}

// historyFlags are the flags of a history and what follows them, and whether its facts have births. A history of a version that this
// build does not know counts as none, as a damaged one does.
func historyFlags(history string) (flags byte, births bool, rest string) {
	if history == "" {
		return 0, false, ""
	}
	if history[0] < lowestVersionByte {
		return history[0], false, history[1:]
	}
	if history[0] > historyVersionBirths || len(history) < 2 {
		return 0, false, ""
	}
	return history[1], history[0] == historyVersionBirths, history[2:]
}

// tellsOfInodes reports whether some evidence tells of the entry's inode.
func (s *state) tellsOfInodes() bool {
	return s.someFact(func(e fact) bool { return e.Entry.Measured() })
}

// tellsOfBirths reports whether some evidence tells of the inode's birth or ACL.
func (s *state) tellsOfBirths() bool {
	return s.someFact(func(e fact) bool { return e.Entry.BirthS != 0 || e.Entry.ACL != "" })
}

func (s *state) someFact(is func(fact) bool) bool {
	return s.report != nil && is(*s.report) || slices.ContainsFunc(s.observations, is)
}

// staysGone reports whether the row is a tombstone and its latest evidence is an absence that counts. Another listing that
// lacks the path then says nothing new.
func (s *state) staysGone(row *Row) bool {
	if !row.Removed || s.restsOnListings {
		return false
	}
	if n := len(s.observations); n > 0 {
		return s.observations[n-1].Gone && s.counts(&s.observations[n-1])
	}
	return s.report == nil || s.report.Gone
}

// journalInColumns reports whether the journal is one listing that the columns show but for its time.
func (s *state) journalInColumns(row *Row) bool {
	if len(s.journal) != 1 || s.assumed {
		return false
	}
	l := &s.journal[0]
	return l.From == "" && l.To == "" && l.Evidence == row.Evidence && l.Agent == row.Agent &&
		l.Source == row.Source && l.MtimeNs == row.MtimeNs
}

// inColumns reports whether decode finds all the evidence in the row's columns.
func (s *state) inColumns(row *Row, parent *ParentState) bool {
	switch {
	case s.assumed:
		return false
	case len(s.observations) == 0: // what was known before a report is of no interest
		return true
	case s.report != nil || len(s.observations) > 1:
		return false
	}
	l := &s.observations[0]
	if l.Gone && l.Entry.Type == 0 {
		return false
	}
	if !l.unlisted && !journaled(parent.After, row.Name, l.At) && !journaled(parent.Outdated, row.Name, l.At) && !journaledOwn(s.journal, l.At) {
		return false // decode would not know how old a state the observation may show, and no newer listing proves as much
	}
	return l.Gone && s.base == nothing || !l.Gone && s.base == baseOf(row)
}

func journaled(listings []Listing, name string, at int64) bool {
	return listingAt(listings, name, at) != nil
}

// listingAt is the listing made at a time that covers the name; nil if there is none. The time identifies a listing: the
// times of one session's events never repeat.
func listingAt(listings []Listing, name string, at int64) *Listing {
	for i := range listings {
		if l := &listings[i]; l.At == at && l.covers(name) {
			return l
		}
	}
	return nil
}

func journaledOwn(listings []Listing, at int64) bool { return ownListingAt(listings, at) != nil }

func ownListingAt(listings []Listing, at int64) *Listing {
	for i := range listings {
		if listings[i].At == at {
			return &listings[i]
		}
	}
	return nil
}

// baseOf is what must have been known before the one observation that a row rests on, for the row to be, or not to be, a
// blind spot.
func baseOf(row *Row) base {
	laterScan := row.Evidence == event.Audit || row.Evidence == event.OnDemand
	switch {
	case row.AgentMissing == laterScan:
		return nothing
	case row.AgentMissing:
		return marked
	}
	return unmarked
}

// decode is the evidence that a row rests on. A damaged history counts as none: layers have checksums.
func (r Rules) decode(row *Row, known bool, parent *ParentState) state {
	s := state{}
	if !known {
		return s
	}
	s.ends.Reported = row.EndedAt
	flags, births, rest := historyFlags(row.History)
	in := reader{b: rest, row: row, inodes: flags&historyInodes != 0, births: births}
	if flags&historyListed != 0 {
		by := Provenance{Evidence: row.Evidence, Lag: in.int(), Skew: in.int(), Agent: row.Agent, Source: row.Source}
		by.At = row.ObservedAt + in.int()
		s.journal = []Listing{{Provenance: by, MtimeNs: row.MtimeNs}}
	}
	if flags&historyJournal != 0 {
		for n := in.int(); n > 0 && in.err == nil; n-- {
			s.journal = append(s.journal, Listing{Provenance: in.provenance(), MtimeNs: in.int(), From: in.text(), To: in.text()})
		}
	}
	if flags&historyFacts != 0 {
		in.facts(&s)
	} else {
		s.fromColumns(r, row, parent)
	}
	if flags&historyObservedEnd != 0 {
		s.ends.Observed = in.int()
	}
	if flags&historyLent != 0 {
		in.lent(&s)
	}
	if in.err != nil { // a damaged one counts as none
		none := state{ends: Ends{Reported: row.EndedAt}}
		none.fromColumns(r, row, parent)
		return none
	}
	s.assumed = flags&historyAssumed != 0
	return s
}

// fromColumns decodes the evidence of a row that rests on one piece of it. Lag and skew of an observation are those of its
// listing in a journal; where no journal has it, the view's.
func (s *state) fromColumns(r Rules, row *Row, parent *ParentState) {
	if row.Evidence == 0 {
		return // nothing was ever claimed about it
	}
	e := fact{
		Provenance: Provenance{At: row.ObservedAt, Evidence: row.Evidence, Lag: r.Staleness, Skew: r.Skew, Agent: row.Agent, Source: row.Source},
		Gone:       row.Removed, Entry: row.entry(), SuspectUntil: row.SuspectUntil,
	}
	if row.Removed {
		e.Skew = row.ObservedAt - row.Watermark
	}
	if row.Evidence == event.Realtime {
		e.Lag, e.Since = 0, e.At
		s.report = &e
		return
	}
	mtime := row.MtimeNs
	if l := listingAt(parent.Before, row.Name, e.At); l != nil {
		e.Lag, e.Skew = l.Lag, l.Skew
		if e.Gone {
			mtime = l.MtimeNs
		}
	} else if l := ownListingAt(s.journal, e.At); l != nil {
		e.Lag, e.Skew = l.Lag, l.Skew
	} else {
		e.unlisted = true
		if e.Gone {
			mtime = noTime / 2
		}
	}
	e.Since = e.since(mtime)
	e.Swept = e.Gone && !row.AgentMissing
	s.observations = append(s.observations, e)
	if !e.Gone {
		s.base = baseOf(row)
	}
}

// writer and reader are the coding of a history: numbers as varints, text with its length before it. Agent and source are
// mostly those of the row.
type writer struct {
	b      []byte
	row    *Row
	inodes bool // facts have what the inode tells
	births bool // its birth and ACL, too
}

func (w *writer) int(v int64) { w.b = binary.AppendVarint(w.b, v) }

func (w *writer) text(s string) {
	w.b = append(binary.AppendUvarint(w.b, uint64(len(s))), s...)
}

func (w *writer) provenance(s *Provenance) {
	same := s.Agent == w.row.Agent && s.Source == w.row.Source
	kind := byte(s.Evidence)
	if same {
		kind |= 1 << 7
	}
	w.b = append(w.b, kind)
	w.int(s.At - w.row.ObservedAt)
	w.int(s.Lag)
	w.int(s.Skew)
	if !same {
		w.text(s.Agent)
		w.text(s.Source)
	}
}

const (
	factGone = 1 << iota
	factSwept
)

func (w *writer) facts(s *state) {
	reported := byte(0)
	if s.report != nil {
		reported = 1
	}
	w.b = append(w.b, byte(s.base), reported)
	w.int(int64(len(s.observations)))
	if s.report != nil {
		w.fact(s.report)
	}
	for i := range s.observations {
		w.fact(&s.observations[i])
	}
}

func (w *writer) fact(e *fact) {
	w.provenance(&e.Provenance)
	var flags byte
	if e.Gone {
		flags |= factGone
	}
	if e.Swept {
		flags |= factSwept
	}
	w.b = append(w.b, flags, byte(e.Entry.Type))
	w.int(e.At - e.Since)
	w.int(e.SuspectUntil)
	for _, v := range [...]int64{
		int64(e.Entry.Mode), int64(e.Entry.UID), int64(e.Entry.GID), int64(e.Entry.AtimeDay), e.Entry.Size, e.Entry.MtimeNs,
	} {
		w.int(v)
	}
	w.text(e.Entry.Target)
	if w.inodes {
		w.inode(&e.Entry)
	}
}

func (w *writer) inode(e *event.Entry) {
	w.int(int64(e.Links))
	if e.Measured() {
		w.int(e.Allocated - event.Rounded(e.Size))
		w.int(e.CtimeNs - e.MtimeNs)
		w.int(int64(e.ID))
		if w.births {
			w.int(e.BirthS)
			w.text(string(e.ACL))
		}
	}
}

// lends reports whether there is anything for lent to write.
func (s *state) lends() bool {
	return slices.ContainsFunc(s.journal, func(l Listing) bool { return l.Ownerless }) ||
		slices.ContainsFunc(s.observations, func(e fact) bool { return e.lent != 0 }) || s.report != nil && s.report.lent != 0
}

// lent writes, for each listing, whether it is ownerless; and for the report, if there is one, and each observation, from when its
// owner was lent: 0 if it is its own, or how long before and one more.
func (w *writer) lent(s *state) {
	for i := range s.journal {
		ownerless := byte(0)
		if s.journal[i].Ownerless {
			ownerless = 1
		}
		w.b = append(w.b, ownerless)
	}
	fact := func(e *fact) {
		before := int64(0)
		if e.lent != 0 {
			before = e.At - e.lent + 1
		}
		w.int(before)
	}
	if s.report != nil {
		fact(s.report)
	}
	for i := range s.observations {
		fact(&s.observations[i])
	}
}

func (r *reader) lent(s *state) {
	journal := slices.Clone(s.journal)
	for i := range journal {
		journal[i].Ownerless = r.byte() != 0
	}
	s.journal = journal
	fact := func(e *fact) {
		if before := r.int(); before != 0 && r.err == nil {
			e.lent = e.At - before + 1
		}
	}
	if s.report != nil {
		fact(s.report)
	}
	for i := range s.observations {
		fact(&s.observations[i])
	}
}

type reader struct {
	b      string
	row    *Row
	inodes bool // facts have what the inode tells
	births bool // its birth and ACL, too
	err    error
}

var errHistory = errors.New("damaged history")

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.err = errHistory
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) int() int64 {
	v := r.uint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) uint() (v uint64) {
	for shift := 0; shift < 64; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			break
		}
	}
	return v
}

func (r *reader) text() string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.b, r.err = "", errHistory
		return ""
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *reader) provenance() Provenance {
	kind := r.byte()
	s := Provenance{Evidence: event.Evidence(kind & 0x7f), At: r.row.ObservedAt + r.int(), Lag: r.int(), Skew: r.int()}
	s.Agent, s.Source = r.row.Agent, r.row.Source
	if kind&(1<<7) == 0 {
		s.Agent, s.Source = r.text(), r.text()
	}
	return s
}

func (r *reader) facts(s *state) {
	s.base = base(r.byte())
	reported := r.byte() != 0
	n := r.int()
	if reported {
		e := r.fact()
		s.report = &e
	}
	for ; n > 0 && r.err == nil; n-- {
		s.observations = append(s.observations, r.fact())
	}
}

func (r *reader) fact() fact {
	e := fact{Provenance: r.provenance()}
	flags := r.byte()
	e.Gone, e.Swept = flags&factGone != 0, flags&factSwept != 0
	e.Entry.Type = event.Type(r.byte())
	e.Since, e.SuspectUntil = e.At-r.int(), r.int()
	e.Entry.Mode, e.Entry.UID, e.Entry.GID = uint32(r.int()), uint32(r.int()), uint32(r.int())
	e.Entry.AtimeDay, e.Entry.Size, e.Entry.MtimeNs = int32(r.int()), r.int(), r.int()
	e.Entry.Target = r.text()
	if r.inodes {
		r.inode(&e.Entry)
	}
	return e
}

func (r *reader) inode(e *event.Entry) {
	if e.Links = uint32(r.int()); e.Measured() {
		e.Allocated = event.Rounded(e.Size) + r.int()
		e.CtimeNs = e.MtimeNs + r.int()
		e.ID = uint64(r.int())
		if r.births {
			e.BirthS, e.ACL = r.int(), event.ACL(r.text())
		}
	}
}
