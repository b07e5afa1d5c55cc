package watch

import (
	"time"

	"github.com/fustor/fustor/internal/event"
)

// handle takes one notice into the model and the hints. The lock is held.
func (w *Watcher) handle(n *Notice) {
	dir := w.model.byWatch[n.Watch]
	if dir == nil || w.lost != nil {
		return // of a directory that was moved away or deleted
	}
	path, attached := w.model.path(dir)
	switch {
	case n.Op&OpIgnored != 0:
		w.model.forgetWatch(dir)
		if attached {
			w.hints.paths[path] |= hintEnter // most likely it is gone; if not, it must be watched again
		}
	case n.Name == "":
		if n.Op&OpSelfGone != 0 && dir == w.model.root {
			w.doubt = true
		}
		if attached && n.Op&OpAttrib != 0 {
			w.hints.paths[path] |= hintRights
		}
	case attached && w.cfg.Excludes.Match(path, n.Name):
		if n.Op&(OpCreate|OpDelete|OpMovedFrom|OpMovedTo) != 0 {
			w.hints.look(path)
		}
	default:
		w.handleName(n, dir, path, attached)
	}
}

// handleName takes a notice of a name in a directory. While the directory is nowhere (it was moved away, and may turn
// up again), only the model follows.
func (w *Watcher) handleName(n *Notice, dir *node, path string, attached bool) {
	vanished := n.Op&(OpDelete|OpMovedFrom) != 0
	directory := n.Op&OpDirectory != 0
	if vanished {
		if known := dir.children[n.Name]; known != nil {
			directory = true
			w.model.orphan(known)
		} else if directory {
			w.model.moves++
		}
	}
	if !attached {
		return
	}
	child := event.Join(path, n.Name)
	switch {
	case vanished:
		w.hints.vanished(child, directory)
	case n.Op&(OpCreate|OpMovedTo) != 0:
		w.hints.appeared(child, n.Op&OpCreate != 0)
	case n.Op&OpModify != 0:
		w.hints.written(child, time.Now())
		return
	case n.Op&OpCloseWrite != 0:
		w.hints.closed(child)
		return
	case directory && n.Op&OpAttrib != 0:
		w.hints.paths[child] |= hintRights
		return
	default:
		w.hints.look(child)
		return
	}
	w.hints.look(path) // its mtime
}
