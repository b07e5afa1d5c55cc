package watch

import (
	"maps"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/event"
)

// MaxSubtrees is how many subtrees are told apart when notices are dropped.
const MaxSubtrees = 64

// Subtrees are at most limit directories that all the given ones are, or are below, as deep in the tree as that allows, in
// order and none below another.
func Subtrees(dirs []string, limit int) []string {
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
	// The shallower they are cut, the fewer there are: look for the deepest cut that leaves few enough.
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

// slashed is a directory's path with a slash at its end, which sorts it right before what is below it.
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

// ancestor is the directory of that depth that dir is in, or dir itself if it is no deeper.
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

// collapse drops all hints and returns the subtrees that they were in. The lock is held.
func (w *Watcher) collapse() []string {
	dirs := map[string]bool{}
	for p, h := range w.hints.paths {
		if h&(hintRemoved|hintEnter) == 0 && w.model.lookup(p) != nil {
			dirs[p] = true // a directory whose own entry has changed: its listing tells of that
			continue
		}
		dirs[parent(p)] = true
	}
	for p := range w.hints.writes {
		dirs[parent(p)] = true
	}
	w.hints.reset()
	return Subtrees(slices.Collect(maps.Keys(dirs)), MaxSubtrees)
}

func parent(path string) string {
	if path == "/" {
		return path
	}
	dir, _ := event.Split(path)
	return dir[:max(1, len(dir)-1)]
}
