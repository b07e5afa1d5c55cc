package watch

import (
	"context"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// linkedFiles are files with several names, and whether nobody was writing to them.
type linkedFiles map[tree.ID]bool

// noteLinked takes in that a file with several names was emitted. The kernel reports a change by the name that was used, and not by
// the others.
func (w *Watcher) noteLinked(path string, info tree.Info, atomic bool) {
	if info.Links < 2 {
		return
	}
	dir := event.Parent(path)
	if w.linked == nil {
		w.linked = map[string]linkedFiles{}
	}
	if w.linked[dir] == nil {
		w.linked[dir] = linkedFiles{}
	}
	w.linked[dir][info.ID] = atomic
}

// observeLinked emits the other names that the files of noteLinked have in their directories, but for those that this flush has
// looked at. Each directory is read once, and only names with the numbers of these files are looked at: those that the directory
// does not tell the numbers of, and names in other directories, are left to the audits.
func (w *Watcher) observeLinked(ctx context.Context, root tree.Root, observed map[string]hint) error {
	var names tree.Names
	for dir, files := range w.linked {
		if err := w.observeLinkedIn(root, dir, files, observed, &names); err != nil && !tree.Gone(err) {
			w.cfg.Logger.Debug("cannot look for other names of files", "directory", dir, "error", err)
		}
		if err := w.emit(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func (w *Watcher) observeLinkedIn(root tree.Root, dir string, files linkedFiles, observed map[string]hint, names *tree.Names) error {
	d, err := root.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	own, err := d.Info()
	if err != nil {
		return err
	}
	names.Reset()
	if err := d.Read(names); err != nil {
		return err
	}
	for i := range names.Len() {
		path := event.Join(dir, names.At(i))
		_, done := observed[path]
		if _, linked := files[tree.ID{Dev: own.ID.Dev, Ino: names.Ino(i)}]; !linked || done || w.cfg.Excludes.Match(dir, names.At(i), false) {
			continue
		}
		at := w.cfg.Now()
		info, err := d.Lstat(names, i)
		if err != nil {
			continue // it has gone, of which a notice tells, or the audits look again
		}
		if atomic, linked := files[info.ID]; linked {
			w.put(path, at, info.Entry, atomic)
		}
	}
	return nil
}
