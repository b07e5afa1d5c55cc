package evidence

import (
	"slices"

	"github.com/fustor/fustor/internal/event"
)

// Rules are the parameters of the rules: the view's settings, and its clock as it was before the fold. All are ns.
type Rules struct {
	Hot       int64 // how long an entry that may still be written to is suspect
	Staleness int64 // how long a client of the file server may show an old state (NFS attribute caching)
	Skew      int64 // Clock.Skew: the store's time minus the file server's, for sessions that do not say
}

// Provenance is who saw something, when, and how well.
type Provenance struct {
	At       int64 // ns, the store's time
	Evidence event.Evidence
	// Lag is by how much what a look shows may be older than At, ns: 0 on a local file system.
	Lag int64
	// Skew is the store's time minus the file server's, ns.
	Skew          int64
	Agent, Source string
}

// since is as of when a look certainly holds that shows something changed last at mtime: a client of a file server may
// show an old state, but none from before that change, and none older than its lag.
func (s *Provenance) since(mtime int64) int64 {
	if s.Lag == 0 {
		return s.At
	}
	return max(min(mtime+s.Skew, s.At), s.At-s.Lag)
}

// Verb is what a claim says of a path.
type Verb uint8

// The verbs, each with the line of the rules that it falls under.
const (
	Exists   Verb = 1 + iota // realtime put
	Gone                     // realtime delete of the path
	Listed                   // a look saw the entry
	Unlisted                 // a listing of the parent directory has no such entry
)

// Claim is what one event says of one path. A listing makes one for every entry it has and one for every row it lacks.
type Claim struct {
	Provenance
	Verb   Verb
	Atomic bool         // Exists: the file is not being written
	Entry  *event.Entry // Exists, Listed
	// DirMtimeNs, of Unlisted, is the listed directory's own mtime.
	DirMtimeNs int64
	// Listing, of Listed, is set where the look is the path's own listing: it goes into the directory's journal.
	Listing *Listing
}

// Listing is a look at the names of a directory, or at a range of them: From <= name < To, an empty bound is open.
type Listing struct {
	Provenance
	MtimeNs  int64 // the directory's, when it was listed
	From, To string
}

func (l *Listing) covers(name string) bool { return name >= l.From && (l.To == "" || name < l.To) }

// includes reports whether l speaks of every name that o speaks of.
func (l *Listing) includes(o *Listing) bool {
	return l.From <= o.From && (l.To == "" || o.To != "" && o.To <= l.To)
}

// Ends are the latest times at which something at a path was known to end: what was seen below it before is void, though
// a directory may be there again.
type Ends struct {
	Reported int64 // the kernel told of a deletion, or of something that is no directory
	Observed int64 // a look found nothing, or no directory: as of when that certainly held
}

// Max joins the ends of a path and those of the directories above it.
func (e Ends) Max(o Ends) Ends {
	return Ends{max(e.Reported, o.Reported), max(e.Observed, o.Observed)}
}

// endsObservation reports whether what a look saw is over.
func (e Ends) endsObservation(at, since int64) bool { return since <= e.Reported || at < e.Observed }

// endsReport reports whether what the kernel told is over.
func (e Ends) endsReport(at int64) bool { return at < max(e.Reported, e.Observed) }

// ParentState is the directory that a path is in.
type ParentState struct {
	// Before are its listings as they were before the batch at hand, the oldest first; After those with the batch's.
	Before, After []Listing
	// Outdated are those that its journal gave up with the batch although they stand: newer ones tell of the same names.
	Outdated []Listing
	// Floor is when it, or a directory above it, ended last.
	Floor Ends
}

// stands reports whether what was observed at a time certainly is not over with the floor. A directory that was made since its own
// was listed first has one: a look that found nothing.
func (p *ParentState) stands(at int64) bool { return p.Floor.Reported == 0 && at >= p.Floor.Observed }

// lastListed is when the directory was last listed before the batch.
func (p *ParentState) lastListed() int64 {
	if len(p.Before) == 0 {
		return noTime
	}
	return p.Before[len(p.Before)-1].At
}

// lostListing reports whether the directory's journal lost a listing with the batch that no newer one stands for: rows that rest on
// it, or that it saw as they were known, have to remember it themselves.
func (p *ParentState) lostListing() bool {
	return slices.ContainsFunc(p.Before, func(l Listing) bool {
		return !slices.Contains(p.After, l) && !slices.Contains(p.Outdated, l)
	})
}

const noTime = -1 << 63
