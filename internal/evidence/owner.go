package evidence

import (
	"slices"

	"github.com/fustor/fustor/internal/event"
)

// Agents of Fustor V2 report neither owner nor mode, no types but two, and times to a microsecond at best. What they report is
// compared with what others report by what both do, and completed by it. Otherwise each kind of agent would take the other's entries
// for changed ones, and a view that both feed would lose what ours know.
//
// Example: a native agent lists /a with mode 0644. A V2 agent reports that /a has grown: the row has the new size, and still mode
// 0644. The other way round, the native listing gives the row its mode, and does not count as a change that nobody reported.
//
// What is lent from before is a guess: fact.lent says from when it is, so that whatever comes late takes its place. So it does not
// matter in which order evidence comes (TestLawOwnersInAnyOrder):
//   - owner and mode are those of the nearest evidence before it that has them, unless that is of another type, or the kernel reported
//     in between that the path was gone (what listings lack is not always remembered, so it never counts);
//   - what the inode tells, and the day of the last access, is that of the same evidence, if that has the same size and time;
//   - type, target and the exact time are those of any evidence of the same size and time;
//   - evidence from after it of the same size and time settles all of it.

// isOpen reports whether the fact's own evidence has no owner, and nothing has settled it yet.
func (e *fact) isOpen() bool { return !e.Gone && (e.lent != 0 || !e.Entry.Owned()) }

// complete gives the facts that lack an owner what the others have.
func (s *state) complete() {
	order := s.inTime()
	if !slices.ContainsFunc(order, (*fact).isOpen) {
		return
	}
	var by *fact
	for _, e := range order {
		if by != nil {
			e.lendBefore(by)
		}
		if !e.Gone && (e.Entry.Owned() || e.lent != 0) || e == s.report {
			by = e
		}
	}
	by = nil
	for _, e := range slices.Backward(order) {
		if by != nil {
			e.lendAfter(by)
		}
		if !e.Gone && !e.isOpen() {
			by = e
		}
	}
}

// inTime is all evidence in the order of its times.
func (s *state) inTime() []*fact {
	order := make([]*fact, 0, len(s.observations)+1)
	report := s.report
	for i := range s.observations {
		if report != nil && s.observations[i].At > report.At {
			order, report = append(order, report), nil
		}
		order = append(order, &s.observations[i])
	}
	if report != nil {
		order = append(order, report)
	}
	return order
}

// lendBefore completes a fact by one from before it.
func (e *fact) lendBefore(by *fact) {
	if !e.isOpen() {
		return
	}
	e.detail(by)
	from := by.lender()
	switch {
	case from <= e.lent:
	case !by.Gone && by.Entry.Owned() && e.Entry.Type == by.Entry.Type:
		e.Entry.Mode, e.Entry.UID, e.Entry.GID, e.lent = by.Entry.Mode, by.Entry.UID, by.Entry.GID, from
		e.lendInode(by)
	case from > e.At-Memory: // there is none, whatever comes later from before that
		e.Entry.Mode, e.Entry.UID, e.Entry.GID, e.lent = 0, event.NoOwner, event.NoOwner, from
		e.lendInode(&fact{Gone: true})
	}
}

// lendInode takes over what the inode of another fact tells, if that shows the same state of the path; otherwise nothing is known.
func (e *fact) lendInode(by *fact) {
	const day = 24 * 3600e9
	e.Entry.Inode, e.Entry.AtimeDay = event.Inode{}, int32(floorDiv(e.Entry.MtimeNs, day))
	if !by.Gone && alike(&e.Entry, &by.Entry) {
		e.Entry.Inode, e.Entry.AtimeDay = by.Entry.Inode, by.Entry.AtimeDay
	}
}

// lender is from when the owner is that the fact shows, or, where it shows none, from when it is known that no earlier one counts.
func (e *fact) lender() int64 {
	switch {
	case e.lent != 0:
		return e.lent
	case e.Gone:
		return e.Since
	case !e.Entry.Owned():
		return noTime
	}
	return e.At
}

// lendAfter completes a fact by one from after it that has an owner of its own.
func (e *fact) lendAfter(by *fact) {
	if e.isOpen() && alike(&e.Entry, &by.Entry) {
		e.Entry, e.lent = by.Entry, 0
	}
}

// detail takes over what V2 does not report, but for owner and mode, of the same state of the path.
func (e *fact) detail(by *fact) {
	if by.Gone || !by.Entry.Owned() || !alike(&e.Entry, &by.Entry) {
		return
	}
	e.Entry.Type, e.Entry.MtimeNs, e.Entry.Target = by.Entry.Type, by.Entry.MtimeNs, by.Entry.Target
}

// alike reports whether two entries are the same for V2.
func alike(a, b *event.Entry) bool {
	return (a.Type == event.Directory) == (b.Type == event.Directory) && a.Size == b.Size &&
		uint64(max(a.MtimeNs, b.MtimeNs))-uint64(min(a.MtimeNs, b.MtimeNs)) < 1000
}

// isAgain reports whether e is o as it was reported, and o may have been completed since. One session's times never repeat.
func (e *fact) isAgain(o *fact) bool {
	return e.At == o.At && !e.Gone && !o.Gone && !e.Entry.Owned() && e.Evidence == o.Evidence && e.Agent == o.Agent && e.Source == o.Source
}
