package session

import (
	"context"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// Reign is a term as it was given.
type Reign struct {
	Term    uint64 `json:"term"`
	Session string `json:"session_id"`
	Since   int64  `json:"since_ns"` // the store's time
}

// keptReigns bounds those that a lease remembers.
const keptReigns = 32

// give is what the lease remembers once it gives a term.
func (v Lease) give(term uint64, session string, now int64) []Reign {
	old := v.Terms[max(0, len(v.Terms)-(keptReigns-1)):]
	return slices.Concat(old, []Reign{{term, session, now}})
}

// Terms are the terms of a view, as its lease tells them.
type Terms struct {
	Newest uint64 // 0: the view has no lease, or one that cannot be read, and nothing can be said of its terms
	last   []Reign
}

// ReadTerms reads a view's.
func ReadTerms(ctx context.Context, s store.Store, view string) (Terms, error) {
	lease, err := leaseOf(ctx, s, view)
	return Terms{lease.value.Term, lease.value.Terms}, err
}

// clocksApart is by how much two ingests may differ over the store's time.
const clocksApart = int64(time.Minute)

// MayHaveHad reports whether a session that began at a time may have had a term, which is none after Newest. Of terms from before those
// that the lease remembers, only that they ended before a session began can be said; leases of earlier builds remember none.
func (t Terms) MayHaveHad(session string, began int64, term uint64) bool {
	for _, r := range t.last {
		if r.Term == term {
			return r.Session == session
		}
	}
	return len(t.last) == 0 || 0 < term && term < t.last[0].Term && began < t.last[0].Since+clocksApart
}
