package query

import (
	"slices"
	"sort"
	"strings"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/query/engine"
)

// unreadable are the paths that the last scans of a view could not read, in order, by the member of a forest ("" for a view). The
// sums of a directory that has one of them in it are of what could be read. A version names at most manifest.MaxScanErrors of them.
type unreadable map[string][]string

func unreadableIn(of *subject) unreadable {
	all := unreadable{}
	add := func(member string, v *engine.Version) {
		if v == nil {
			return
		}
		var paths []string
		for i := range v.Manifest.Scan.Errors {
			paths = append(paths, string(v.Manifest.Scan.Errors[i].Path))
		}
		if len(paths) > 0 {
			slices.Sort(paths)
			all[member] = slices.Compact(paths)
		}
	}
	add("", of.version)
	if of.forest != nil {
		for _, m := range of.forest.Members {
			add(m.View, m.Version)
		}
	}
	return all
}

// below is how many of the paths are at or below a directory.
func (u unreadable) below(member string, r *evidence.Row) (n int) {
	paths := u[member]
	if len(paths) == 0 {
		return 0
	}
	if _, itself := slices.BinarySearch(paths, r.Path()); itself {
		n++
	}
	inside := r.ChildParent()
	for i := sort.SearchStrings(paths, inside); i < len(paths) && strings.HasPrefix(paths[i], inside); i++ {
		if paths[i] != inside { // "/" is the root itself
			n++
		}
	}
	return n
}
