package engine

import (
	"context"
	"slices"
	"sort"
	"strings"

	"github.com/fustor/fustor/internal/layer"
)

// Unreadable is how many paths at or below one the last scans could not read: sums and lists of it are of what could be read. A version
// names at most manifest.MaxScanErrors of them.
func (v *Version) Unreadable(path string) (n int) {
	from, to, itself := v.unreadableIn(path)
	if itself {
		n++
	}
	for _, p := range v.unreadable[from:to] {
		if p != path { // "/" is the root itself
			n++
		}
	}
	return n
}

// unreadableFor is Unreadable for the context's reader, who knows of nothing that is hidden.
func (v *Version) unreadableFor(ctx context.Context, path string) (n int, err error) {
	g, err := v.gate(ctx)
	if err != nil || g == nil {
		return v.Unreadable(path), err
	}
	from, to, itself := v.unreadableIn(path)
	if _, err := v.lookup(ctx, g, path); err == nil && itself {
		n++
	}
	inside := strings.TrimSuffix(path, "/") + "/"
	for _, p := range v.unreadable[from:to] {
		if p == path {
			continue
		}
		let, err := g.entries(inside, layer.KeyOf(p).Parent)
		if err != nil {
			return 0, err
		}
		if let == nothing {
			continue
		}
		r, err := v.lookupOrNone(ctx, p)
		if err != nil {
			return 0, err
		}
		if r != nil {
			n++
		}
	}
	return n, nil
}

// unreadableIn is whether the last scans could not read a path, and which of v.unreadable are below it.
func (v *Version) unreadableIn(path string) (from, to int, itself bool) {
	if len(v.Manifest.Scan.Errors) == 0 {
		return 0, 0, false
	}
	v.sortUnreadable.Do(func() {
		for i := range v.Manifest.Scan.Errors {
			v.unreadable = append(v.unreadable, string(v.Manifest.Scan.Errors[i].Path))
		}
		slices.Sort(v.unreadable)
		v.unreadable = slices.Compact(v.unreadable)
	})
	_, itself = slices.BinarySearch(v.unreadable, path)
	inside := strings.TrimSuffix(path, "/") + "/"
	from = sort.SearchStrings(v.unreadable, inside)
	for to = from; to < len(v.unreadable) && strings.HasPrefix(v.unreadable[to], inside); to++ {
	}
	return from, to, itself
}
