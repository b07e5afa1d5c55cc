// Package subtrees reduces many directories to a few that contain them all.
//
// An overflow may lose notices of a million directories. Scanning the whole tree for it is expensive, and a list of a million
// is too long to keep. A subtree is named by its top directory and stands for everything below it. Package watch reports lost notices as
// subtrees, and package schedule keeps the list of those that have to be scanned.
package subtrees

import (
	"slices"
	"strings"
)

// Max is how many subtrees are kept apart.
const Max = 64

// Reduce returns at most limit directories such that each of dirs is one of them or is below one. They are as deep in the
// tree as the limit allows, sorted, and none is below another.
//
// With a limit of 2, /a/x, /a/y and /b/z become /a and /b.
func Reduce(dirs []string, limit int) []string {
	deepest := 0
	for _, d := range dirs {
		deepest = max(deepest, depth(d))
	}
	cut := func(to int) map[string]bool {
		set := map[string]bool{}
		for _, d := range dirs {
			set[ancestor(d, to)] = true
		}
		return set
	}
	// Cutting all paths at a smaller depth leaves fewer directories. Search for the greatest depth that leaves few enough.
	low, high := 0, deepest
	for low < high {
		if mid := (low + high + 1) / 2; len(cut(mid)) <= limit {
			low = mid
		} else {
			high = mid - 1
		}
	}
	var out []string
	for d := range cut(low) {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(slashed(a), slashed(b)) })
	kept := out[:0]
	for _, d := range out {
		if len(kept) == 0 || !strings.HasPrefix(d, slashed(kept[len(kept)-1])) {
			kept = append(kept, d)
		}
	}
	return kept
}

// Contains reports whether path is dir or is below it.
func Contains(dir, path string) bool { return path == dir || strings.HasPrefix(path, slashed(dir)) }

// slashed is a directory's path with a slash at its end. Sorted by it, everything below a directory comes right after it:
// /a.b/, /a/, /a/b/. Without the slash it would be /a, /a.b, /a/b.
func slashed(dir string) string {
	if dir == "/" {
		return dir
	}
	return dir + "/"
}

func depth(dir string) int {
	if dir == "/" {
		return 0
	}
	return strings.Count(dir, "/")
}

// ancestor is the directory at that depth on the way to dir, or dir itself if it is no deeper.
func ancestor(dir string, depth int) string {
	if depth == 0 {
		return "/"
	}
	for i := 1; i < len(dir); i++ {
		if dir[i] != '/' {
			continue
		}
		if depth--; depth == 0 {
			return dir[:i]
		}
	}
	return dir
}
