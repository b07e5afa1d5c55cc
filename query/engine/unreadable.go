package engine

import (
	"slices"
	"sort"
	"strings"
)

// Unreadable is how many paths at or below one the last scans could not read: sums and lists of it are of what could be read. A version
// names at most manifest.MaxScanErrors of them.
func (v *Version) Unreadable(path string) (n int) {
	if len(v.Manifest.Scan.Errors) == 0 {
		return 0
	}
	v.sortUnreadable.Do(func() {
		for i := range v.Manifest.Scan.Errors {
			v.unreadable = append(v.unreadable, string(v.Manifest.Scan.Errors[i].Path))
		}
		slices.Sort(v.unreadable)
		v.unreadable = slices.Compact(v.unreadable)
	})
	if _, itself := slices.BinarySearch(v.unreadable, path); itself {
		n++
	}
	inside := strings.TrimSuffix(path, "/") + "/"
	for i := sort.SearchStrings(v.unreadable, inside); i < len(v.unreadable) && strings.HasPrefix(v.unreadable[i], inside); i++ {
		if v.unreadable[i] != path { // "/" is the root itself
			n++
		}
	}
	return n
}
