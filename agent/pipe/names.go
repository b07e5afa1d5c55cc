package pipe

import (
	"cmp"
	"maps"
	"slices"

	"github.com/fustor/fustor/internal/event"
)

// owner is a user or a group.
type owner struct {
	group bool
	id    uint32
}

// Names takes names of owners that were just resolved; their ResolvedAt is set here. They go out with the next segment, or in one of
// their own, and again in the first one of each later session: what an earlier session did not send is lost.
func (s *Stream) Names(names []event.OwnerName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	for _, n := range names {
		n.ResolvedAt = now
		s.names[owner{n.Group, n.ID}] = n
		s.untold = append(s.untold, n)
	}
	s.wake()
}

// tellAllNames has the next segment tell all names. The lock is held.
func (s *Stream) tellAllNames() {
	s.untold = slices.SortedFunc(maps.Values(s.names), func(a, b event.OwnerName) int {
		return cmp.Or(cmp.Compare(a.ResolvedAt, b.ResolvedAt), cmp.Compare(a.ID, b.ID))
	})
}
