package compactor

import (
	"cmp"
	"slices"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
)

// suspects are the view's suspects after rows have changed: those known before that have not, and those among the rows.
// now is the view's own time; whose suspicion had ended by then is left out.
func suspects(known []manifest.Suspect, rows []evidence.Row, now int64) []manifest.Suspect {
	var list []manifest.Suspect
	changed := map[string]bool{}
	for i := range rows {
		r := &rows[i]
		if len(known) > 0 {
			changed[r.Path()] = true
		}
		if !r.Removed && r.SuspectUntil > now {
			list = append(list, manifest.Suspect{Path: []byte(r.Path()), Until: r.SuspectUntil})
		}
	}
	for _, s := range known {
		if s.Until > now && !changed[string(s.Path)] {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b manifest.Suspect) int {
		return cmp.Or(-cmp.Compare(a.Until, b.Until), slices.Compare(a.Path, b.Path))
	})
	return list[:min(len(list), manifest.MaxSuspects)]
}
