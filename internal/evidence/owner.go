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

// complete gives the facts that lack an owner what the others have: one that shows the same, before or after, all that it has; one
// before that shows another state of the same file or directory, owner and mode. A fact that the path is gone ends both.
func (s *state) complete() {
	order := s.inTime()
	lack := func(e *fact) bool { return !e.Gone && !e.Entry.Owned() }
	if !slices.ContainsFunc(order, lack) {
		return
	}
	var by *fact
	pass := func(e *fact, before bool) {
		switch {
		case e.Gone:
			by = nil
			return
		case lack(e) && by != nil:
			completeEntry(&e.Entry, &by.Entry, before)
		}
		if e.Entry.Owned() {
			by = e
		}
	}
	for _, e := range order {
		pass(e, true)
	}
	by = nil
	for _, e := range slices.Backward(order) {
		pass(e, false)
	}
	// What was completed before and is reported once more is there twice.
	s.observations = slices.CompactFunc(s.observations, func(a, b fact) bool { return a.compare(&b) == 0 })
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

// completeFrom completes what the kernel reported by what it had reported before.
func (e *fact) completeFrom(by *fact) {
	switch {
	case e.Gone || by.Gone || !by.Entry.Owned():
	case !e.Entry.Owned():
		completeEntry(&e.Entry, &by.Entry, true)
	case isCut(&e.Entry, &by.Entry):
		e.Entry.MtimeNs = by.Entry.MtimeNs
	}
}

// isCut reports whether e is what by is, but for an mtime that a float of seconds has cut: of a time in this century it leaves
// seven decimals. So an entry that got its owner from another state of the file still gets the exact time of its own.
func isCut(e, by *event.Entry) bool {
	const century, unit = 1e18, 100
	if e.MtimeNs < century || e.MtimeNs%unit != 0 || by.MtimeNs%unit == 0 || !nearly(e.MtimeNs, by.MtimeNs) {
		return false
	}
	exact := *e
	exact.MtimeNs = by.MtimeNs
	return sameEntry(&exact, by)
}

// nearly reports whether two times are the same for V2.
func nearly(a, b int64) bool { return uint64(max(a, b))-uint64(min(a, b)) < 1000 }

// completeEntry completes an entry without an owner by one that has one; before says that the other was there before it.
func completeEntry(e, by *event.Entry, before bool) {
	switch {
	case (e.Type == event.Directory) == (by.Type == event.Directory) && e.Size == by.Size && nearly(e.MtimeNs, by.MtimeNs):
		*e = *by
	case before && e.Type == by.Type:
		e.Mode, e.UID, e.GID = by.Mode, by.UID, by.GID
	}
}
