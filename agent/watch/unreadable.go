package watch

import (
	"errors"
	"io/fs"
	"maps"
	"slices"

	"github.com/fustor/fustor/agent/subtrees"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// maxUnreadable is how many unreadable paths are told apart.
const maxUnreadable = 4096

// unreadablePaths is the paths that could not be read for want of rights. What happens there meanwhile is not seen, whatever the kernel
// tells of it, so once the rights are back everything there must be scanned.
type unreadablePaths map[string]unreadablePath

type unreadablePath struct {
	generation uint64 // of the coverage that met it last
	whole      bool   // there were too many: it stands for some that are below it
}

// NoteUnreadable is told by scans of what they could not read.
func (w *Watcher) NoteUnreadable(path string, err error) {
	if !errors.Is(err, fs.ErrPermission) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unreadable[path] = unreadablePath{generation: w.generation}
	if len(w.unreadable) <= maxUnreadable {
		return
	}
	dirs := subtrees.Reduce(slices.Collect(maps.Keys(w.unreadable)), subtrees.Max)
	clear(w.unreadable)
	for _, d := range dirs {
		w.unreadable[d] = unreadablePath{generation: w.generation, whole: true}
	}
}

// forgetUnreadable drops what a complete coverage has not met as unreadable again. The lock is held.
func (w *Watcher) forgetUnreadable(generation uint64) {
	maps.DeleteFunc(w.unreadable, func(_ string, s unreadablePath) bool { return s.generation < generation })
}

// forgetUnreadableBelow drops what is gone.
func (w *Watcher) forgetUnreadableBelow(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.unreadable, func(p string, _ unreadablePath) bool { return subtrees.Contains(path, p) })
}

// rescanReadable has a directory whose rights may have changed scanned, if something there could not be read and now can.
func (w *Watcher) rescanReadable(root tree.Root, looker tree.Looker, dir string) {
	below := map[string]bool{} // whole
	w.mu.Lock()
	for p, s := range w.unreadable {
		if subtrees.Contains(dir, p) || s.whole && subtrees.Contains(p, dir) {
			below[p] = s.whole
		}
	}
	w.mu.Unlock()
	again := false
	looker.Forget()
	for p, whole := range below {
		if !whole && !readable(root, looker, p) {
			continue
		}
		again = true
		if !whole {
			w.mu.Lock()
			delete(w.unreadable, p)
			w.mu.Unlock()
		}
	}
	looker.Forget()
	if again {
		w.cfg.Logger.Info("a path that could not be read is readable again and is scanned", "directory", dir)
		w.cfg.Overflow([]string{dir})
	}
}

// readable reports whether rights keep nobody from a path any more.
func readable(root tree.Root, looker tree.Looker, path string) bool {
	info, err := looker.Lstat(path)
	if err != nil || info.Entry.Type != event.Directory {
		return !errors.Is(err, fs.ErrPermission)
	}
	d, err := root.OpenDir(path)
	if err != nil {
		return !errors.Is(err, fs.ErrPermission)
	}
	d.Close()
	return true
}
