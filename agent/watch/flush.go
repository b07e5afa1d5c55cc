package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/subtrees"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

const (
	batch    = 4096 // events given to Emit at once
	maxTries = 5    // looks at a path that fail before it is reported and left to the audits
)

// flush looks at every path that has a hint, and emits what it finds. Paths are sorted, so a directory comes before what is
// below it: once a directory is found gone, its deletion covers the rest (belowGone).
func (w *Watcher) flush(ctx context.Context) error {
	root, err := w.OpenRoot()
	if err != nil {
		w.checkRoot()
		return nil
	}
	defer root.Close()
	begun := w.cfg.Now()
	paths, marks := w.takeHints()
	looker := root.Looker()
	defer looker.Close()
	w.gone, w.linked = map[string]bool{}, nil
	for _, m := range marks {
		w.out = append(w.out, event.Event{Kind: event.Marked, Evidence: event.Realtime, ObservedAt: w.cfg.Now(), Path: m.path, Mark: m.mark})
	}
	clear(w.inPlace)
	for _, p := range sortedPaths(paths) {
		if !w.isInPlace(looker, event.Parent(p)) {
			continue // the notice was of another path, which is not known; isInPlace has asked for a look at what was replaced
		}
		if err := w.observe(ctx, root, looker, p, paths[p]); err != nil {
			return err
		}
		if err := w.emit(ctx, batch); err != nil {
			return err
		}
	}
	w.scanUnheard()
	if err := w.observeLinked(ctx, root, paths); err != nil {
		return err
	}
	w.endFlush()
	if err := w.emit(ctx, 1); err != nil {
		return err
	}
	w.mu.Lock()
	w.stats.Told = begun
	w.mu.Unlock()
	return nil
}

// scanUnheard has the directories scanned that are there though their watch was gone. What the loop read in them is what is there,
// and says nothing of what is there no more: the names of a file system that was unmounted, or that were removed while it was
// mounted elsewhere.
func (w *Watcher) scanUnheard() {
	if len(w.unheard) == 0 {
		return
	}
	below := subtrees.Reduce(w.unheard, subtrees.Max)
	w.unheard = nil
	w.mu.Lock()
	for _, dir := range below {
		w.hints.overflowed(dir)
	}
	w.mu.Unlock()
	w.cfg.Logger.Info("directories have lost their watches, as when a file system is unmounted; they are scanned again",
		"directories", len(below), "first", fmt.Sprintf("%q", below[0]))
	if below[0] == "/" {
		below = nil
	}
	w.cfg.Overflow(below)
}

func (w *Watcher) takeHints() (map[string]hint, []located) {
	w.mu.Lock()
	defer w.mu.Unlock()
	paths, marks := w.hints.paths, w.hints.marks
	w.hints.paths, w.hints.marks = map[string]hint{}, nil
	return paths, marks
}

func sortedPaths(m map[string]hint) []string {
	paths := make([]string, 0, len(m))
	for p := range m {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

// emit gives out to the stream once it has at least so many events; it waits for room.
func (w *Watcher) emit(ctx context.Context, atLeast int) error {
	if len(w.out) < atLeast {
		return nil
	}
	for !w.cfg.Emit(w.out) {
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
	clear(w.out)
	w.out = w.out[:0]
	return nil
}

func (w *Watcher) delete(path string, at int64) {
	w.out = append(w.out, event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: at, Path: path})
}

func (w *Watcher) put(path string, at int64, e event.Entry, atomic bool) {
	_, e.Name = event.Split(path)
	w.out = append(w.out, event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: at, Path: path, Entry: e, Atomic: atomic})
}

// observe looks at one path and emits what is there.
//
// The hints decide what else is emitted. Example: /a/d was moved away and another directory was moved to /a/d since the last
// flush (hintRemoved, hintEnter). First the deletion of /a/d goes out, which takes along everything that the view has below it;
// then the put of the directory that is there now; then readSubtree emits everything below that.
func (w *Watcher) observe(ctx context.Context, root tree.Root, looker tree.Looker, path string, h hint) error {
	if w.belowGone(path) {
		return nil // its deletion took this path along
	}
	if h&hintRemoved != 0 {
		w.delete(path, w.cfg.Now())
	}
	at := w.cfg.Now()
	info, err := looker.Lstat(path)
	switch {
	case err != nil && tree.Gone(err):
		w.observeGone(path, h, at)
		return nil
	case err != nil:
		w.observeFailed(path, h, err)
		return nil
	}
	delete(w.retries, path)
	if w.cfg.Excludes.MatchPath(path, info.Entry.Type == event.Directory) {
		w.observeGone(path, h, at) // it has become a directory, and the pattern is for directories
		return nil
	}
	if h&hintDoubt != 0 && w.isReplaced(path, info) {
		// No notice said that the old directory went away: delete all that was below it.
		w.forgetDirectory(path)
		w.delete(path, w.cfg.Now())
		looker.Forget()
		return w.observe(ctx, root, looker, path, h&^hintDoubt|hintEnter)
	}
	if info.Entry.Type != event.Directory {
		w.forgetDirectory(path)
		atomic := finished(info, h, w.notifier.Closes())
		atomic = !w.isOpen(looker, path, info, h, atomic, time.Now()) && atomic
		w.put(path, at, info.Entry, atomic)
		w.noteLinked(path, info, atomic)
		return nil
	}
	if h&hintUnheard != 0 {
		w.unheard = append(w.unheard, path)
	}
	known := w.putDirectory(path, at, info)
	if h&hintRights != 0 {
		w.rescanReadable(root, looker, path)
	}
	if h&(hintEnter|hintRemoved) != 0 || !known {
		// The deletion took along what a scan, or the reading of its parent directory, had already emitted of this one.
		looker.Forget()
		return w.readSubtree(ctx, root, path, info)
	}
	return nil
}

// finished reports whether nobody is writing to a file, as far as the hints tell.
func finished(info tree.Info, h hint, closes bool) bool {
	switch {
	case info.Entry.Type != event.File:
		return true
	case h&hintWriting != 0:
		return false
	case h&hintNew != 0 && h&hintClosed == 0 && closes && info.Links == 1:
		return false // whoever created it has not closed it; a second link would be no new file
	}
	return true
}

func (w *Watcher) belowGone(path string) bool {
	if len(w.gone) == 0 {
		return false
	}
	for {
		cut := strings.LastIndexByte(path, '/')
		if cut <= 0 {
			return false
		}
		if path = path[:cut]; w.gone[path] {
			return true
		}
	}
}

func (w *Watcher) observeGone(path string, h hint, at int64) {
	if path == "/" {
		w.rootDoubt = true
		return
	}
	w.gone[path] = true
	w.leavesOpen(path)
	w.forgetUnreadableBelow(path)
	delete(w.retries, path)
	w.forgetDirectory(path)
	if h&hintRemoved == 0 {
		w.delete(path, at)
	}
}

func (w *Watcher) forgetDirectory(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.model.lookup(path); n != nil {
		w.model.orphan(n)
	}
}

// observeFailed tries again at the next flush, a few times.
func (w *Watcher) observeFailed(path string, h hint, err error) {
	w.retries[path]++
	w.mu.Lock()
	w.stats.Errors++
	if w.retries[path] < maxTries {
		w.hints.paths[path] |= h &^ hintRemoved
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	delete(w.retries, path)
	w.reportUnreadable(path, err)
}

// reportUnreadable reports a path that cannot be looked at; what is known of it stands.
func (w *Watcher) reportUnreadable(path string, err error) {
	w.NoteUnreadable(path, err)
	w.cfg.Logger.Warn("cannot read", "path", fmt.Sprintf("%q", path), "error", err)
	if w.cfg.OnError != nil {
		w.cfg.OnError(path, err)
	}
	text := err.Error()
	w.out = append(w.out, event.Event{
		Kind: event.Marked, Evidence: event.Realtime, ObservedAt: w.cfg.Now(), Path: path,
		Mark: event.Mark{Kind: event.SubtreeError, Errors: 1, Message: strings.ToValidUTF8(text[:min(len(text), 1000)], "?")},
	})
}

// putDirectory emits a directory's own entry and reports whether the model knows the directory.
//
// While a scan reads the directory, the put is put off to the next flush. Otherwise it could carry a later mtime than the
// listing that the scan is about to send, and that listing would count as stale. (node.put and node.putMtime are for the other
// order, see reading.Check.)
func (w *Watcher) putDirectory(path string, at int64, info tree.Info) (known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.model.lookup(path)
	if n != nil && n.reading > 0 {
		w.hints.add(path)
		return true
	}
	if n != nil {
		n.put, n.putMtime = true, info.Entry.MtimeNs
	}
	w.put(path, at, info.Entry, true)
	// While directories are being covered, one that is not yet known will be.
	return n != nil || w.coverages > 0 || w.foreign(path, info)
}

// foundDirectory is one that readSubtree has still to read.
type foundDirectory struct {
	path string
	at   int64
	info tree.Info
}

// readSubtree covers and reads a directory that appeared, and everything below it, and emits all that it finds. What happened
// in it before it was watched came with no notice.
//
// It needs no repetition if names appear while it reads: each directory is watched before it is read, so they come as notices.
func (w *Watcher) readSubtree(ctx context.Context, root tree.Root, path string, info tree.Info) error {
	var names tree.Names
	todo := []foundDirectory{{path: path, info: info}}
	for len(todo) > 0 {
		f := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if w.foreign(f.path, f.info) {
			w.putFound(f)
			continue
		}
		more, err := w.readDirectory(root, f, &names)
		if err != nil && !tree.Gone(err) && !errors.Is(err, scan.ErrMoved) {
			w.putFound(f)
			w.reportUnreadable(f.path, err)
		}
		todo = append(todo, more...)
		if err := w.emit(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// putFound emits a directory as its parent directory showed it; the one that readSubtree began with was emitted before.
func (w *Watcher) putFound(f foundDirectory) {
	if f.at != 0 {
		w.putDirectory(f.path, f.at, f.info)
	}
}

// readDirectory covers one directory, emits what is in it, and returns the directories among that.
func (w *Watcher) readDirectory(root tree.Root, f foundDirectory, names *tree.Names) ([]foundDirectory, error) {
	d, err := root.OpenDir(f.path)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if err := w.coverOpen(d, f.path); err != nil {
		return nil, err
	}
	// Look only now that it is watched: from here on, a change of its mtime comes with a notice.
	at := w.cfg.Now()
	info, err := d.Info()
	if err != nil {
		return nil, err
	}
	if info.Entry.ACL, err = d.ACL(); err != nil {
		return nil, err
	}
	w.putDirectory(f.path, at, info)
	names.Reset()
	if err := d.Read(names); err != nil {
		return nil, err
	}
	_ = w.cfg.Excludes.LeaveOut(d, f.path, names, nil)
	var more []foundDirectory
	for i := range names.Len() {
		path := event.Join(f.path, names.At(i))
		at := w.cfg.Now()
		info, err := d.Lstat(names, i)
		switch {
		case err != nil && tree.Gone(err):
		case err != nil:
			w.reportUnreadable(path, err)
		case info.Entry.Type == event.Directory:
			more = append(more, foundDirectory{path, at, info})
		default:
			w.put(path, at, info.Entry, true)
		}
	}
	slices.Reverse(more) // a stack: the first name is read first
	return more, nil
}

// coverOpen watches a directory that the loop reads and enters it into the model.
func (w *Watcher) coverOpen(d tree.Dir, path string) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	for {
		got, err := w.watch(d, path, info)
		if err != nil {
			return err
		}
		w.mu.Lock()
		_, err = w.enterModel(path, got, info)
		w.mu.Unlock()
		if !errors.Is(err, errGivenUp) {
			return err
		}
	}
}

// isReplaced reports whether another directory is at path than the model says.
func (w *Watcher) isReplaced(path string, info tree.Info) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.model.lookup(path)
	return n != nil && n.id != info.ID
}

// isInPlace reports whether the path of a directory still leads to the directory that the model has there. If every directory
// above is watched, it does: a move would have come with a notice. If one is not, it may have been moved without a notice, and
// the paths of notices from below it are wrong. Then the uppermost directory that was replaced gets hintDoubt.
//
// Example: /a is not watched, /a/b/c is. After mv /a/b /elsewhere, a notice from c is taken for /a/b/c/f. Nothing is emitted of
// it; /a/b gets hintDoubt, and the look at it finds it gone.
func (w *Watcher) isInPlace(looker tree.Looker, dir string) bool {
	if known, ok := w.inPlace[dir]; ok {
		return known
	}
	w.mu.Lock()
	n := w.model.lookup(dir)
	sure := n == nil || w.ancestorsWatched(n)
	w.mu.Unlock()
	if sure || w.isSame(looker, dir) {
		w.inPlace[dir] = true
		return true
	}
	wrong := dir
	for at := event.Parent(dir); at != "/"; at = event.Parent(at) {
		if !w.isSame(looker, at) {
			wrong = at
		}
	}
	w.mu.Lock()
	w.hints.paths[wrong] |= hintDoubt
	w.mu.Unlock()
	w.inPlace[dir] = false
	return false
}

// isSame reports whether the directory at path is the one that the model says. What cannot be looked at is given the benefit of
// the doubt: nothing can be emitted of it.
func (w *Watcher) isSame(looker tree.Looker, path string) bool {
	looker.Forget()
	info, err := looker.Lstat(path)
	if err != nil {
		return !tree.Gone(err)
	}
	return !w.isReplaced(path, info)
}
