package evidence

import "github.com/fustor/fustor/internal/event"

// What listings say of a directory's entries is nearly all known. It must cost little to find that out, and change no row.

// seenAgain reports whether all that is said of a path is that listings of its directory see it as it is known, later than
// everything known: their traces are in the directory's journal.
func seenAgain(row *Row, known bool, claims []Claim, parent *ParentState) bool {
	if !known || row.Removed || row.Type == event.Directory || row.History != "" || row.EndedAt != 0 || !parent.stands(row.ObservedAt) || len(claims) == 0 {
		return false
	}
	newest := max(parent.lastListed(), row.ObservedAt)
	for i := range claims {
		c := &claims[i]
		if c.Verb != Listed || c.At <= newest || !row.shows(c.Entry) ||
			!journaled(parent.After, row.Name, c.At) && !journaled(parent.Outdated, row.Name, c.At) {
			return false
		}
	}
	return true
}

// StaysGone reports whether Resolve would leave a tombstone as it is, where all that is said of its path is that listings lack it,
// none of which was made before at. Of the row it needs what Replaces needs.
func (row *Row) StaysGone(at int64, parent *ParentState) bool {
	if !row.Removed || at <= parent.lastListed() || at <= row.ObservedAt || !parent.stands(row.ObservedAt) {
		return false
	}
	flags, _ := historyFlags(row.History)
	return row.History == "" || flags&historyGone != 0
}
