package evidence

import "github.com/fustor/fustor/internal/event"

// An audit lists every directory, and nearly all that its listings say is known. Finding that out must cost little and must change
// no row. The two functions here decide the common cases from a few columns; Resolve would come to the same.

// seenAgain reports whether nothing is claimed about a path but that later listings of its directory show it as it is
// known. The directory's journal then implies these observations, and the row stays as it is.
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

// StaysGone reports whether Resolve would leave a tombstone as it is, where the only claims about its path are that
// listings lack it, none of which was made before at. It needs only those columns of the row that Replaces needs.
func (row *Row) StaysGone(at int64, parent *ParentState) bool {
	if !row.Removed || at <= parent.lastListed() || at <= row.ObservedAt || !parent.stands(row.ObservedAt) {
		return false
	}
	flags, _, _ := historyFlags(row.History)
	return row.History == "" || flags&historyGone != 0
}
