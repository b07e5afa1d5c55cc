package watch

import (
	"fmt"
	"strings"

	"github.com/fustor/fustor/agent/subtrees"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// errAgain: the directory is shown at two paths below the root. The kernel has one watch for both, and its notices are taken for those
// of one path.
var errAgain = fmt.Errorf("%w: a mount shows directories of the tree at a second path, and notices come for the first one alone", ErrRefused)

// ShownAgain reports whether path is on a mount, or below one, that shows directories of the tree which another path has too.
func (w *Watcher) ShownAgain(path string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shownAgain(path)
}

// shownAgain is ShownAgain. The lock is held.
func (w *Watcher) shownAgain(path string) bool {
	for _, at := range w.again {
		if path == at || strings.HasPrefix(path, at) && path[len(at)] == '/' {
			return true
		}
	}
	return false
}

// foreign reports whether a directory is on a file system that is not to be entered.
func (w *Watcher) foreign(path string, info tree.Info) bool {
	return info.ID.Dev != w.identity.id.Dev && (!w.cfg.CrossFilesystems || w.isPseudo(path, info.ID.Dev))
}

func (w *Watcher) isPseudo(path string, dev uint64) bool {
	_, pseudo := w.mounts.Pseudo(path, dev)
	return pseudo
}

// readMounts reads what is mounted below the root, and returns the paths where that has changed so that it matters: what is excluded,
// or mounted somewhere on a file system that is not entered, does not.
func (w *Watcher) readMounts() (changed []string) {
	changes := w.cfg.System.MountChanges() // before the table, so that none is missed
	if changes == w.mountChanges {
		return nil
	}
	now, err := w.cfg.System.Mounts(w.cfg.Root)
	if err != nil {
		w.cfg.Logger.Warn("cannot tell what is mounted below the root", "error", err)
	}
	for _, path := range w.mounts.Changed(now) {
		if !w.isExcluded(path) && !(w.isOutside(w.mounts, path) && w.isOutside(now, path)) {
			changed = append(changed, path)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mountChanges, w.mounts, w.again = changes, now, now.Again()
	return changed
}

// isExcluded reports whether path, or a directory above it, is excluded.
func (w *Watcher) isExcluded(path string) bool {
	for ; path != "/"; path = event.Parent(path) {
		if w.cfg.Excludes.MatchPath(path, true) {
			return true
		}
	}
	return false
}

// isOutside reports whether path is below a mount that is not entered.
func (w *Watcher) isOutside(mounts tree.Mounts, path string) bool {
	for path = event.Parent(path); path != "/"; path = event.Parent(path) {
		m, ok := mounts[path]
		if !ok || m.Dev == w.identity.id.Dev {
			continue
		}
		if _, pseudo := mounts.Pseudo(path, m.Dev); pseudo || !w.cfg.CrossFilesystems {
			return true
		}
	}
	return false
}

// checkMounts has those directories scanned on which something was mounted, or from which it was unmounted. Nothing has changed in
// them, so there is no notice: what was seen at their paths is hidden, or shows again. The watches below go, because what happens in
// a directory that is hidden has no path.
//
// It is a scan and no report: other hosts may see the same files without that mount, and the leader's mounts count alone.
func (w *Watcher) checkMounts() {
	below := w.readMounts()
	if len(below) == 0 || w.isLost() {
		return
	}
	for _, path := range below {
		w.forgetDirectory(path)
	}
	below = subtrees.Reduce(below, subtrees.Max)
	w.cfg.Logger.Info("something was mounted or unmounted below the root; what is there is scanned",
		"directories", len(below), "first", fmt.Sprintf("%q", below[0]))
	if below[0] == "/" {
		below = nil
	}
	w.cfg.Overflow(below)
}
