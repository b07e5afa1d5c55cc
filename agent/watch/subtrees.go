package watch

import (
	"maps"
	"slices"

	"github.com/fustor/fustor/agent/subtrees"
	"github.com/fustor/fustor/internal/event"
)

// collapse drops all hints and returns the subtrees that they were in. The lock is held.
func (w *Watcher) collapse() []string {
	dirs := map[string]bool{}
	for p, h := range w.hints.paths {
		if h&(hintRemoved|hintEnter) == 0 && w.model.lookup(p) != nil {
			dirs[p] = true // a directory whose own entry has changed: its listing tells of that
			continue
		}
		dirs[event.Parent(p)] = true
	}
	for p := range w.hints.writes {
		dirs[event.Parent(p)] = true
	}
	w.hints.reset()
	w.open.reset() // closings may be among the hints
	return subtrees.Reduce(slices.Collect(maps.Keys(dirs)), subtrees.Max)
}
