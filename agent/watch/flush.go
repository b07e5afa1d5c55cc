package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

const (
	batch    = 4096 // events given to Emit at once
	maxTries = 5    // looks at a path that fail before it is reported and left to the audits
)

// flush looks at every path that there is a hint for, and emits what it sees. The ancestors come first.
func (w *Watcher) flush(ctx context.Context) error {
	root, err := w.OpenRoot()
	if err != nil {
		w.checkRoot()
		return nil
	}
	defer root.Close()
	paths, marks := w.takeHints()
	look := root.Looker()
	defer look.Close()
	w.gone = map[string]bool{}
	for _, m := range marks {
		w.out = append(w.out, event.Event{Kind: event.Marked, Evidence: event.Realtime, ObservedAt: w.cfg.Now(), Path: m.path, Mark: m.mark})
	}
	clear(w.leads)
	for _, p := range sortedPaths(paths) {
		if !w.leadsTo(look, parent(p)) {
			continue // what the kernel told was of another place, which nobody knows; the doubt about this one is noted
		}
		if err := w.settle(ctx, root, look, p, paths[p]); err != nil {
			return err
		}
		if err := w.emit(ctx, batch); err != nil {
			return err
		}
	}
	return w.emit(ctx, 1)
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

// settle looks at one path and emits what is there.
func (w *Watcher) settle(ctx context.Context, root tree.Root, look tree.Looker, path string, h hint) error {
	if w.belowGone(path) {
		return nil // its deletion took this path along
	}
	if h&hintRemoved != 0 {
		w.delete(path, w.cfg.Now())
	}
	at := w.cfg.Now()
	info, err := look.Lstat(path)
	switch {
	case err != nil && tree.Gone(err):
		w.settleGone(path, h, at)
		return nil
	case err != nil:
		w.settleFailed(path, h, err)
		return nil
	}
	delete(w.retries, path)
	if h&hintDoubt != 0 && w.another(path, info) {
		// Nobody told of its end: all that was below is gone.
		w.forgetDirectory(path)
		w.delete(path, w.cfg.Now())
		look.Forget()
		return w.settle(ctx, root, look, path, h&^hintDoubt|hintEnter)
	}
	if info.Entry.Type != event.Directory {
		w.forgetDirectory(path)
		w.put(path, at, info.Entry, finished(info, h, w.notifier.Closes()))
		return nil
	}
	known := w.putDirectory(path, at, info)
	if h&hintRights != 0 {
		w.reopened(root, look, path)
	}
	if h&(hintEnter|hintRemoved) != 0 || !known {
		// The deletion took along what a scan or the walk of its parent directory had already told of this one.
		look.Forget()
		return w.walk(ctx, root, path, info)
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

func (w *Watcher) settleGone(path string, h hint, at int64) {
	if path == "/" {
		w.doubt = true
		return
	}
	w.gone[path] = true
	w.forgetShutBelow(path)
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

// settleFailed tries again at the next flush, a few times.
func (w *Watcher) settleFailed(path string, h hint, err error) {
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
	w.unreadable(path, err)
}

// unreadable reports a path that cannot be looked at; what is known of it stands.
func (w *Watcher) unreadable(path string, err error) {
	w.Unreadable(path, err)
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

// putDirectory emits a directory's own entry and reports whether the model knows it. While a scan reads the directory
// it waits: a listing that came after a put with a later mtime would count as stale.
func (w *Watcher) putDirectory(path string, at int64, info tree.Info) (known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.model.lookup(path)
	if n != nil && n.reading > 0 {
		w.hints.look(path)
		return true
	}
	if n != nil {
		n.put, n.putMtime = true, info.Entry.MtimeNs
	}
	w.put(path, at, info.Entry, true)
	// While directories are being covered, one that is not yet known will be.
	return n != nil || w.cover > 0 || w.foreign(info)
}

// foreign reports whether a directory is on a file system that is not to be entered.
func (w *Watcher) foreign(info tree.Info) bool {
	return info.ID.Dev != w.identity.id.Dev && !w.cfg.CrossFilesystems
}

// found is a directory that a walk has still to read.
type found struct {
	path string
	at   int64
	info tree.Info
}

// walk covers and reads a directory that appeared, and everything below it, and emits all it finds.
func (w *Watcher) walk(ctx context.Context, root tree.Root, path string, info tree.Info) error {
	var names tree.Names
	todo := []found{{path: path, info: info}}
	for len(todo) > 0 {
		f := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if w.foreign(f.info) {
			w.putFound(f)
			continue
		}
		more, err := w.enter(root, f, &names)
		if err != nil && !tree.Gone(err) && !errors.Is(err, scan.ErrMoved) {
			w.putFound(f)
			w.unreadable(f.path, err)
		}
		todo = append(todo, more...)
		if err := w.emit(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// putFound emits a directory as its parent directory showed it; the one a walk began with was emitted before.
func (w *Watcher) putFound(f found) {
	if f.at != 0 {
		w.putDirectory(f.path, f.at, f.info)
	}
}

// enter covers one directory, emits what is in it, and returns the directories among that.
func (w *Watcher) enter(root tree.Root, f found, names *tree.Names) ([]found, error) {
	d, err := root.OpenDir(f.path)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if err := w.attach(d, f.path); err != nil {
		return nil, err
	}
	// Looked at once it is watched: from now on, a change of its mtime comes with a notice.
	at := w.cfg.Now()
	info, err := d.Info()
	if err != nil {
		return nil, err
	}
	w.putDirectory(f.path, at, info)
	names.Reset()
	if err := d.Read(names); err != nil {
		return nil, err
	}
	var more []found
	for i := range names.Len() {
		if w.cfg.Excludes.Match(f.path, names.At(i)) {
			continue
		}
		path := event.Join(f.path, names.At(i))
		at := w.cfg.Now()
		info, err := d.Lstat(names, i)
		switch {
		case err != nil && tree.Gone(err):
		case err != nil:
			w.unreadable(path, err)
		case info.Entry.Type == event.Directory:
			more = append(more, found{path, at, info})
		default:
			w.put(path, at, info.Entry, true)
		}
	}
	slices.Reverse(more) // a stack: the first name is read first
	return more, nil
}

// attach watches a directory that the loop reads and enters it into the model.
func (w *Watcher) attach(d tree.Dir, path string) error {
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

// another reports whether another directory is at path than the model says.
func (w *Watcher) another(path string, info tree.Info) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.model.lookup(path)
	return n != nil && n.id != info.ID
}

// leadsTo reports whether the path of a directory still leads to the one that the model says. Where a directory above is
// not watched, it may have been moved without a notice: then notices of what is below carry paths that are wrong, and the
// uppermost directory that is not what it was is looked at.
func (w *Watcher) leadsTo(look tree.Looker, dir string) bool {
	if leads, ok := w.leads[dir]; ok {
		return leads
	}
	w.mu.Lock()
	n := w.model.lookup(dir)
	sure := n == nil || w.sure(n)
	w.mu.Unlock()
	if sure || w.is(look, dir) {
		w.leads[dir] = true
		return true
	}
	wrong := dir
	for at := parent(dir); at != "/"; at = parent(at) {
		if !w.is(look, at) {
			wrong = at
		}
	}
	w.mu.Lock()
	w.hints.paths[wrong] |= hintDoubt
	w.mu.Unlock()
	w.leads[dir] = false
	return false
}

// is reports whether the directory at path is the one that the model says. What cannot be looked at is given the benefit of
// the doubt: nothing can be emitted of it.
func (w *Watcher) is(look tree.Looker, path string) bool {
	look.Forget()
	info, err := look.Lstat(path)
	if err != nil {
		return !tree.Gone(err)
	}
	return !w.another(path, info)
}
