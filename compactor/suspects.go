package compactor

import (
	"cmp"
	"slices"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
)

// suspects are the view's suspects after rows have changed: the known ones whose rows have not, and those among the rows.
type suspects struct {
	now     int64 // the view's own time: those whose suspicion ended before it are left out
	known   []manifest.Suspect
	changed map[string]bool // the known ones' paths, true once their row has changed
	found   []manifest.Suspect
}

func newSuspects(known []manifest.Suspect, now int64) *suspects {
	s := &suspects{now: now, known: known, changed: map[string]bool{}}
	for _, k := range known {
		s.changed[string(k.Path)] = false
	}
	return s
}

// add adds a row that has changed.
func (s *suspects) add(r *evidence.Row) {
	suspect := !r.Removed && r.SuspectUntil > s.now
	if len(s.known) == 0 && !suspect {
		return
	}
	path := r.Path()
	if _, known := s.changed[path]; known {
		s.changed[path] = true
	}
	if !suspect {
		return
	}
	s.found = append(s.found, manifest.Suspect{Path: []byte(path), Until: r.SuspectUntil})
	if len(s.found) >= 10*manifest.MaxSuspects {
		s.found = latestSuspects(s.found)
	}
}

// take adds what rows another part has changed.
func (s *suspects) take(o *suspects) {
	for path, changed := range o.changed {
		s.changed[path] = s.changed[path] || changed
	}
	s.found = append(s.found, o.found...)
}

// list are the suspects now.
func (s *suspects) list() []manifest.Suspect {
	list := s.found
	for _, k := range s.known {
		if k.Until > s.now && !s.changed[string(k.Path)] {
			list = append(list, k)
		}
	}
	return latestSuspects(list)
}

func latestSuspects(list []manifest.Suspect) []manifest.Suspect {
	slices.SortFunc(list, func(a, b manifest.Suspect) int {
		return cmp.Or(-cmp.Compare(a.Until, b.Until), slices.Compare(a.Path, b.Path))
	})
	return list[:min(len(list), manifest.MaxSuspects)]
}
