package event

import (
	"iter"
)

// SplitListing yields a listing in pieces by name range, each of at most maxEntries entries (0: MaxListingEntries) and
// within MaxListingBytes, so that a Writer takes it. Together they say what the whole said. They share its ObservedAt,
// its own entry and its slice of entries. A listing that is small enough is yielded as it is.
func SplitListing(ev *Event, maxEntries int) iter.Seq[*Event] {
	if maxEntries <= 0 || maxEntries > MaxListingEntries {
		maxEntries = MaxListingEntries
	}
	return func(yield func(*Event) bool) {
		from, entries := ev.From, ev.Entries
		for {
			n := pieceLength(entries, maxEntries)
			if n == len(ev.Entries) {
				yield(ev)
				return
			}
			piece := *ev
			piece.Entries = entries[:n:n]
			piece.From = from
			entries = entries[n:]
			if len(entries) > 0 {
				piece.To = entries[0].Name
			}
			from = piece.To
			if !yield(&piece) || len(entries) == 0 {
				return
			}
		}
	}
}

// pieceLength is how many of the entries, at least one if there are any, go into one piece.
func pieceLength(entries []Entry, maxEntries int) int {
	const bounds = 3 * MaxText // the texts of a listing beside its entries'
	text := bounds
	for i := range entries[:min(len(entries), maxEntries)] {
		if text += len(entries[i].Name) + len(entries[i].Target); text > MaxListingBytes && i > 0 {
			return i
		}
	}
	return min(len(entries), maxEntries)
}
