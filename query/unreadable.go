package query

import "github.com/fustor/fustor/query/engine"

// versions are what a subject is of, by the member of a forest ("" for a view). They say what the last scans could not read.
type versions map[string]*engine.Version

func (a *subject) versions() versions {
	all := versions{}
	if a.reader != "" { // what the agents could not read may be hidden
		return all
	}
	if a.version != nil {
		all[""] = a.version
	}
	if a.forest != nil {
		for _, m := range a.forest.Members {
			if m.Version != nil {
				all[m.View] = m.Version
			}
		}
	}
	return all
}

// unreadable is how many paths at or below a path of a member could not be read.
func (v versions) unreadable(member, path string) int {
	if of := v[member]; of != nil {
		return of.Unreadable(path)
	}
	return 0
}

// about says which path the answer is about, of all members: its headers, and the bodies of lists and reports, say how many paths at or
// below it could not be read.
func (a *subject) about(path string) {
	a.unreadable = 0
	for _, v := range a.versions() {
		a.unreadable += v.Unreadable(path)
	}
}
