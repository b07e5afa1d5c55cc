package watch

import (
	"time"

	"github.com/fustor/fustor/internal/event"
)

// applyNotice takes one notice into the model and the hints, and asks the file system nothing. The lock is held.
//
// A notice is of a watch, hence of a directory; its path is that of the directory in the model at this moment. A notice whose
// watch nobody has any more is dropped: the directory was deleted, or has left the tree.
func (w *Watcher) applyNotice(n *Notice) {
	dir := w.model.byWatch[n.Watch]
	if n.Op&OpIgnored != 0 {
		w.model.noteGone(n.Watch)
	}
	if dir == nil {
		if dir = w.budget.leaving[n.Watch]; n.Op&OpIgnored != 0 {
			delete(w.budget.leaving, n.Watch) // as it was given up
			return
		}
	}
	if dir == nil || w.lost != nil {
		return // of a directory that was moved away or deleted
	}
	dir.active = max(dir.active, w.budget.now)
	path, attached := w.model.path(dir)
	switch {
	case n.Op&OpIgnored != 0:
		w.model.forgetWatch(dir)
		if attached {
			w.hints.paths[path] |= hintEnter | hintUnheard // most likely it is gone; if not, it must be watched again
		}
	case n.Name == "":
		if n.Op&OpSelfGone != 0 && dir == w.model.root {
			w.rootDoubt = true
		}
		if attached && n.Op&OpSelfGone != 0 && dir.parent != nil && dir.parent.watch == NoWatch {
			w.hints.paths[path] |= hintDoubt // the directory above, which is not watched, could not tell
		}
		if attached && n.Op&OpAttrib != 0 {
			w.hints.paths[path] |= hintRights
		}
		if attached && n.Op&OpModify != 0 {
			w.hints.add(path) // its mtime alone was set
		}
	case attached && w.cfg.Excludes.Match(path, n.Name, n.Op&OpDirectory != 0):
		if n.Op&(OpCreate|OpDelete|OpMovedFrom|OpMovedTo) != 0 {
			w.hints.add(path)
		}
	default:
		w.applyNameNotice(n, dir, path, attached)
	}
}

// applyNameNotice takes a notice of a name in a directory. While the directory is an orphan (it was moved away, and may turn up
// again), it has no path, and only the model changes.
//
// The kernel merges notices of one name, so one notice may say several things whose order is not known. This order is right
// whatever it was: vanished, then appeared, then written, then closed. Everything below is emitted as deleted, and the look
// finds what is there. If a program still has the file open, its next write or close comes with a notice of its own.
//
// Example: CREATE|DELETE of x may be "made and deleted" or "deleted and made again". In both cases the look decides whether a
// put or a deletion of x goes out.
func (w *Watcher) applyNameNotice(n *Notice, dir *node, path string, attached bool) {
	vanished, appeared := n.Op&(OpDelete|OpMovedFrom) != 0, n.Op&(OpCreate|OpMovedTo) != 0
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
	if vanished {
		w.hints.vanished(child, directory)
	}
	if appeared {
		w.hints.appeared(child, n.Op&OpMovedTo == 0)
	}
	switch {
	case n.Op&OpModify == 0:
	case n.Op&OpDirectory != 0:
		w.hints.add(child) // its mtime alone was set; nobody will close it
	default:
		w.hints.written(child, time.Now())
	}
	if n.Op&OpCloseWrite != 0 {
		w.hints.closed(child)
	}
	switch {
	case n.Op&OpAttrib == 0:
	case directory:
		w.hints.paths[child] |= hintRights
	default:
		w.hints.add(child)
	}
	if vanished || appeared {
		w.hints.add(path) // its mtime
	}
}
