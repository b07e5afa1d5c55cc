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

// maxShut is how many unreadable paths are told apart.
const maxShut = 4096

// shut is the paths that could not be read for want of rights. What happens there meanwhile is not seen, whatever the kernel
// tells of it, so once the rights are back everything there must be scanned.
type shut map[string]shutState

type shutState struct {
	gen   uint64 // of the coverage that met it last
	whole bool   // there were too many: it stands for some that are below it
}

// Unreadable is told by scans of what they could not read.
func (w *Watcher) Unreadable(path string, err error) {
	if !errors.Is(err, fs.ErrPermission) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut[path] = shutState{gen: w.gen}
	if len(w.shut) <= maxShut {
		return
	}
	dirs := subtrees.Reduce(slices.Collect(maps.Keys(w.shut)), subtrees.Max)
	clear(w.shut)
	for _, d := range dirs {
		w.shut[d] = shutState{gen: w.gen, whole: true}
	}
}

// forgetShut drops what a complete coverage has not met as unreadable again. The lock is held.
func (w *Watcher) forgetShut(gen uint64) {
	maps.DeleteFunc(w.shut, func(_ string, s shutState) bool { return s.gen < gen })
}

// forgetShutBelow drops what is gone.
func (w *Watcher) forgetShutBelow(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.shut, func(p string, _ shutState) bool { return subtrees.Contains(path, p) })
}

// reopened has a directory whose rights may have changed scanned, if something there could not be read and now can.
func (w *Watcher) reopened(root tree.Root, look tree.Looker, dir string) {
	below := map[string]bool{} // whole
	w.mu.Lock()
	for p, s := range w.shut {
		if subtrees.Contains(dir, p) || s.whole && subtrees.Contains(p, dir) {
			below[p] = s.whole
		}
	}
	w.mu.Unlock()
	again := false
	look.Forget()
	for p, whole := range below {
		if !whole && !readable(root, look, p) {
			continue
		}
		again = true
		if !whole {
			w.mu.Lock()
			delete(w.shut, p)
			w.mu.Unlock()
		}
	}
	look.Forget()
	if again {
		w.cfg.Logger.Info("what could not be read may be read again, and is scanned", "directory", dir)
		w.cfg.Overflow([]string{dir})
	}
}

// readable reports whether rights keep nobody from a path any more.
func readable(root tree.Root, look tree.Looker, path string) bool {
	info, err := look.Lstat(path)
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
