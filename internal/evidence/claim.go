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

// Provenance says who reported or observed something, when, and how old a state it may show.
type Provenance struct {
	At       int64 // ns, the store's time
	Evidence event.Evidence
	// Lag is by how much the state that an observation shows may be older than At, ns: 0 on a local file system, and for reports.
	Lag int64
	// Skew is the store's time minus the file server's, ns.
	Skew          int64
	Agent, Source string
}

// since is the as-of time of an observation whose last visible change was at mtime: from then on the observed state
// certainly was the tree's. A client of a file server may show an old state, but none from before a change that it
// shows, and none older than its lag.
//
// Example, with lag 120 and skew 0: a file with mtime 50, observed at 230, holds as of max(50, 230-120) = 110.
func (s *Provenance) since(mtime int64) int64 {
	return max(min(mtime+s.Skew, s.At), s.At-s.Lag)
}

// Verb is what a claim says about a path.
type Verb uint8

// The verbs, each with the event that makes it.
const (
	Exists   Verb = 1 + iota // realtime put
	Gone                     // realtime delete of the path
	Listed                   // an observation shows the entry
	Unlisted                 // a listing of the parent directory has no such entry
)

// Claim is what one event says about one path. A listing makes one claim for each of its entries, and one for each row
// of its directory that it lacks.
type Claim struct {
	Provenance
	Verb   Verb
	Atomic bool         // Exists: the file is not being written
	Entry  *event.Entry // Exists, Listed
	// DirMtimeNs, of Unlisted, is the listed directory's own mtime.
	DirMtimeNs int64
	// Listing, of Listed, is set where the path is the listed directory itself: the listing goes into its journal.
	Listing *Listing
}

// Listing is an observation of the names of a directory, or of a range of them: From <= name < To, an empty bound is open.
type Listing struct {
	Provenance
	MtimeNs  int64 // the directory's, when it was listed
	From, To string
	// Ownerless: its agent does not report owners, so its entries show those that were known.
	Ownerless bool
}

func (l *Listing) covers(name string) bool { return name >= l.From && (l.To == "" || name < l.To) }

// includes reports whether l covers every name that o covers.
func (l *Listing) includes(o *Listing) bool {
	return l.From <= o.From && (l.To == "" || o.To != "" && o.To <= l.To)
}

// proves reports whether l, which was made after o, shows of whatever state is as of no earlier time than o does (Provenance.since). A client of a
// file server may show an older state than one on the server itself has shown before.
func (l *Listing) proves(o *Listing) bool {
	return l.At-l.Lag >= o.At || l.Lag <= o.Lag && l.Skew >= o.Skew
}

// Ends are the latest times at which something at a path ended. What was reported or observed below the path before that
// is void, even if a directory of the same name is there again.
type Ends struct {
	Reported int64 // the kernel reported a deletion, or something that is no directory
	Observed int64 // an observation found nothing, or no directory: its as-of time
}

// Max joins the ends of a path and those of the directories above it.
func (e Ends) Max(o Ends) Ends {
	return Ends{max(e.Reported, o.Reported), max(e.Observed, o.Observed)}
}

// endsObservation reports whether an observation, made at a time and holding as of since, is void.
func (e Ends) endsObservation(at, since int64) bool { return since <= e.Reported || at < e.Observed }

// endsReport reports whether a report is void.
func (e Ends) endsReport(at int64) bool { return at < max(e.Reported, e.Observed) }

// ParentState is what Resolve needs to know about the directory that a path is in. The journal of a directory stands for
// observations of its entries that the entries' rows do not remember (see recall), so a row can only be understood
// together with the journal as it was when the row was written: Before.
type ParentState struct {
	// Before are its listings as of before this batch, the oldest first. After includes those of the batch.
	Before, After []Listing
	// Outdated are valid listings that the journal dropped with this batch, as newer ones include all of their names.
	Outdated []Listing
	// Floor is when the directory, or one above it, last ended.
	Floor Ends
}

// stands reports whether an observation made at a time is certainly not void because of the floor. The floor is often set
// by an absence only: a directory that was made after its parent was first listed has one.
func (p *ParentState) stands(at int64) bool { return p.Floor.Reported == 0 && at >= p.Floor.Observed }

// lastListed is when the directory was last listed before this batch.
func (p *ParentState) lastListed() int64 {
	if len(p.Before) == 0 {
		return noTime
	}
	return p.Before[len(p.Before)-1].At
}

// lostListing reports whether the directory's journal lost a listing with this batch that no newer one stands for. The
// rows that rest on that listing, or that it implied, then have to remember it themselves.
func (p *ParentState) lostListing() bool {
	return slices.ContainsFunc(p.Before, func(l Listing) bool {
		return !slices.Contains(p.After, l) && !slices.Contains(p.Outdated, l)
	})
}

const noTime = -1 << 63
