package evidence

import "github.com/fustor/fustor/internal/event"

// Rules are the parameters of the rules for one fold: the view's settings, and its clock as it was before the fold.
// All are ns.
type Rules struct {
	Hot       int64 // how long an entry that may still be written to is suspect
	Staleness int64 // how long a client of the file server may show an old state (NFS attribute caching)
	Skew      int64 // Clock.Skew: the store's time minus the file server's
}

// Verb is what a claim says of a path.
type Verb uint8

// The verbs, each with the line of the rules that it falls under.
const (
	Exists   Verb = 1 + iota // realtime put
	Gone                     // realtime delete of the path or of a directory above it
	Listed                   // a listing has the entry
	Unlisted                 // a listing of the parent directory has no such entry
	Swept                    // a directory above it is gone, as a listing or another entry in its place shows
)

// Claim is what one event says of one path. An event makes claims about many paths: a listing one for every entry it
// has and one for every row it lacks, the delete of a directory one for every row below it.
type Claim struct {
	Verb       Verb
	Evidence   event.Evidence
	ObservedAt int64 // of the event
	Atomic     bool  // Exists: the file is not being written
	Doubtful   bool  // Unlisted: by a listing that is Doubtful
	Local      bool  // Listed, Unlisted: seen on a file system that never shows an old state
	Entry      *event.Entry
	// Agent and Source are the session's.
	Agent, Source string
}

// Apply changes row as one claim demands and reports whether it did. A path without a row is an empty row with known
// false: known is whether row says anything, as a present entry or as a tombstone. Subtree totals are not touched; the
// caller sums.
//
// Two claims of the same observation time are applied in the order given; callers order claims by ObservedAt.
func (r Rules) Apply(row *Row, known bool, c Claim) bool {
	switch c.Verb {
	case Exists:
		return r.exists(row, known, c)
	case Gone, Swept:
		return r.gone(row, known, c)
	case Listed:
		return r.listed(row, known, c)
	case Unlisted:
		return r.unlisted(row, known, c)
	}
	return false
}

// exists: the kernel reported the entry, whatever its mtime.
func (r Rules) exists(row *Row, known bool, c Claim) bool {
	if known && row.ObservedAt > c.ObservedAt {
		return false
	}
	row.set(c)
	row.AgentMissing = false
	row.SuspectUntil = 0
	if !c.Atomic && c.Entry.Type == event.File {
		row.SuspectUntil = c.ObservedAt + r.Hot
	}
	return true
}

// gone: the kernel reported the deletion, or the directory above has proved to be gone.
func (r Rules) gone(row *Row, known bool, c Claim) bool {
	if c.Verb == Swept && (!known || row.Removed) {
		return false
	}
	if known && row.ObservedAt > c.ObservedAt {
		ended := c.Verb == Gone && c.ObservedAt > row.EndedAt
		if ended {
			row.EndedAt = c.ObservedAt
		}
		return ended
	}
	r.bury(row, c)
	row.AgentMissing = c.Evidence != event.Realtime
	return true
}

// listed: a scan saw the entry.
func (r Rules) listed(row *Row, known bool, c Claim) bool {
	switch {
	case !known:
	case row.ObservedAt > c.ObservedAt:
		return false
	case row.Removed:
		if row.Evidence == event.Realtime && c.Entry.MtimeNs <= row.Watermark && r.mayLag(c, row.ObservedAt) {
			return false
		}
	case row.Evidence == event.Realtime && row.MtimeNs > c.Entry.MtimeNs && r.mayLag(c, row.ObservedAt):
		return false
	case row.same(c.Entry):
		return false
	}
	looked := c.Evidence == event.Audit || c.Evidence == event.OnDemand
	isNew := !known || row.Removed
	marked := !isNew && row.AgentMissing
	row.set(c)
	// A directory's own times and size follow from what is in it; only one that nobody reported is a blind spot.
	row.AgentMissing = marked || looked && (isNew || c.Entry.Type != event.Directory)
	row.SuspectUntil = r.suspectUntil(c)
	return true
}

// mayLag reports whether what a look saw may be from before something that was known at the time since.
func (r Rules) mayLag(c Claim, since int64) bool {
	return !c.Local && c.ObservedAt-since <= r.Staleness
}

// suspectUntil is when watermark - mtime reaches hot, as the store's time, for an entry seen by looking. An mtime in the
// future keeps no file suspect for longer than hot after the look.
func (r Rules) suspectUntil(c Claim) int64 {
	if c.Entry.Type != event.File {
		return 0
	}
	until := min(c.Entry.MtimeNs+r.Skew, c.ObservedAt) + r.Hot
	if until <= c.ObservedAt {
		return 0
	}
	return until
}

// unlisted: a scan of the directory did not see the entry.
func (r Rules) unlisted(row *Row, known bool, c Claim) bool {
	if !known || row.Removed || row.ObservedAt >= c.ObservedAt {
		return false
	}
	if c.Doubtful && row.Evidence == event.Realtime && r.mayLag(c, row.ObservedAt) {
		return false
	}
	r.bury(row, c)
	row.AgentMissing = true
	return true
}

// Trust is how far a listing may be believed.
type Trust uint8

// Fresh listings count as they are. Of a Doubtful one the view knows a later state of the directory, seen after the
// scan: it may be older only because it looked earlier, but it may have been old when it looked, too. A Stale one was old
// when it looked: a client's cache showed a state before one that the view knew already.
const (
	Fresh Trust = iota
	Doubtful
	Stale
)

// Trust is how far a listing of the directory dir may be believed whose claim about the directory itself is c.
//
// A known mtime that no look has confirmed for longer than any cache may lag does not count: directory mtimes do move
// backwards (rsync -a, cp -a, tar set them last), and a missed event must not make a directory stale for ever.
func (r Rules) Trust(dir *Row, known bool, c Claim) Trust {
	switch {
	case !known || dir.Removed || dir.Type != event.Directory || dir.MtimeNs <= c.Entry.MtimeNs:
		return Fresh
	case dir.ObservedAt > c.ObservedAt:
		return Doubtful
	case r.mayLag(c, dir.ObservedAt):
		return Stale
	}
	return Fresh
}

// set makes row the entry that the claim has.
func (row *Row) set(c Claim) {
	e := c.Entry
	if row.Type == event.Directory && e.Type != event.Directory {
		row.EndedAt = max(row.EndedAt, c.ObservedAt)
	}
	row.Type, row.Mode, row.UID, row.GID, row.AtimeDay = e.Type, e.Mode, e.UID, e.GID, e.AtimeDay
	row.Size, row.MtimeNs, row.Target = e.Size, e.MtimeNs, e.Target
	row.Removed, row.Watermark = false, 0
	if row.Type != event.Directory {
		row.Sub = Totals{}
	}
	row.ObservedAt, row.Evidence, row.Agent, row.Source = c.ObservedAt, c.Evidence, c.Agent, c.Source
}

// bury makes row a tombstone. What the entry was stays readable, for those who look for what is gone.
func (r Rules) bury(row *Row, c Claim) {
	row.Removed, row.SuspectUntil, row.Sub = true, 0, Totals{}
	row.Watermark = c.ObservedAt - r.Skew
	row.EndedAt = max(row.EndedAt, c.ObservedAt)
	row.ObservedAt, row.Evidence, row.Agent, row.Source = c.ObservedAt, c.Evidence, c.Agent, c.Source
}

// same reports whether a look at the entry shows nothing new. The access time does not count.
func (row *Row) same(e *event.Entry) bool {
	return row.Type == e.Type && row.Size == e.Size && row.MtimeNs == e.MtimeNs && row.Mode == e.Mode &&
		row.UID == e.UID && row.GID == e.GID && row.Target == e.Target
}
