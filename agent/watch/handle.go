package watch

import (
	"time"

	"github.com/fustor/fustor/internal/event"
)

// handle takes one notice into the model and the hints. The lock is held.
func (w *Watcher) handle(n *notice) {
	dir := w.model.byWatch[n.watch]
	if dir == nil || w.lost != nil {
		return // of a directory that was moved away or deleted
	}
	path, attached := w.model.path(dir)
	switch {
	case n.op&opIgnored != 0:
		w.model.forgetWatch(dir)
		if attached {
			w.hints.paths[path] |= hintEnter // most likely it is gone; if not, it must be watched again
		}
	case n.name == "":
		if n.op&opSelfGone != 0 && dir == w.model.root {
			w.doubt = true
		}
		if attached && n.op&opAttrib != 0 {
			w.hints.look(path)
		}
	case attached && w.cfg.Excludes.Match(path, n.name):
		if n.op&(opCreate|opDelete|opMovedFrom|opMovedTo) != 0 {
			w.hints.look(path)
		}
	default:
		w.handleName(n, dir, path, attached)
	}
}

// handleName takes a notice of a name in a directory. While the directory is nowhere (it was moved away, and may turn
// up again), only the model follows.
func (w *Watcher) handleName(n *notice, dir *node, path string, attached bool) {
	vanished := n.op&(opDelete|opMovedFrom) != 0
	directory := n.op&opDirectory != 0
	if vanished {
		if known := dir.children[n.name]; known != nil {
			directory = true
			w.model.orphan(known)
		} else if directory {
			w.model.moves++
		}
	}
	if !attached {
		return
	}
	child := event.Join(path, n.name)
	switch {
	case vanished:
		w.hints.vanished(child, directory)
	case n.op&(opCreate|opMovedTo) != 0:
		w.hints.appeared(child, n.op&opCreate != 0)
	case n.op&opModify != 0:
		w.hints.written(child, time.Now())
		return
	case n.op&opCloseWrite != 0:
		w.hints.closed(child)
		return
	default:
		w.hints.look(child)
		return
	}
	w.hints.look(path) // its mtime
}
