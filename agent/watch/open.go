package watch

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// A program may hold a file open and change it without a notice: by a mapping of it into memory, or after a long pause. So a file that
// was written to, and not closed since, is looked at again and again, and emitted as unfinished: a view counts it as suspect until the
// kernel reports that it was closed. The longer a file has not changed, the rarer are the looks; evidence.Rules.openUntil has the same rule.

const (
	// defaultHot is how long a view counts a file as being written where nobody says otherwise.
	defaultHot = time.Minute
	// openForgotten is after how long without a change an open file is left to the audits: its closing may have been missed.
	openForgotten = 24 * time.Hour
	// maxOpenFiles bounds the files that are looked at again.
	maxOpenFiles = 64 << 10
)

// openFiles are the files that are held open for writing. Only the loop uses them.
type openFiles struct {
	byID   map[tree.ID]*openFile
	byPath map[string]tree.ID
	next   time.Time // when the first look is due; zero: there is none
}

type openFile struct {
	path      string
	size      int64
	mtimeNs   int64
	changed   time.Time // when it was first seen as it is
	due       time.Time
	interval  time.Duration // until due
	movedAway bool          // this flush found its path gone
	closed    bool          // one of those who had it open has closed it: the kernel is asked whether others have not
}

func (o *openFiles) reset() {
	*o = openFiles{byID: map[tree.ID]*openFile{}, byPath: map[string]tree.ID{}}
}

func (o *openFiles) forget(id tree.ID) {
	if f := o.byID[id]; f != nil {
		delete(o.byID, id)
		if o.byPath[f.path] == id {
			delete(o.byPath, f.path)
		}
	}
}

// isOpen takes in a look at a file with what the hints tell: finished says whether anybody is writing to it as far as they do. It
// reports whether the file is still open. A notice of a closing is of one writer, and there may be more.
func (w *Watcher) isOpen(looker tree.Looker, path string, info tree.Info, h hint, finished bool, now time.Time) bool {
	if id, ok := w.open.byPath[path]; ok && id != info.ID {
		w.open.forget(id)
	}
	f := w.open.byID[info.ID]
	closed, others := h&hintClosed != 0 && h&hintMoved == 0, false
	switch {
	case info.Entry.Type != event.File || !w.notifier.Closes():
		return false
	case closed && finished:
		if others, _ = looker.Written(path, info.ID); !others {
			w.open.forget(info.ID)
			return false
		}
	}
	switch {
	case f == nil && h&hintWriting == 0 && !others: // a file that was made by a link, or by a file server's client, is never closed
		return false
	case f == nil && len(w.open.byID) >= maxOpenFiles:
		return true
	case f == nil:
		f = &openFile{size: -1}
		w.open.byID[info.ID] = f
	}
	if f.path != path {
		if w.open.byPath[f.path] == info.ID {
			delete(w.open.byPath, f.path)
		}
		f.path = path
		w.open.byPath[path] = info.ID
	}
	f.movedAway, f.closed = false, f.closed || others
	if f.size != info.Entry.Size || f.mtimeNs != info.Entry.MtimeNs {
		f.size, f.mtimeNs, f.changed = info.Entry.Size, info.Entry.MtimeNs, now
	}
	w.lookAgain(f, now)
	return true
}

// lookAgain sets when an open file is looked at next: before half of the time has passed for which the view counts it as suspect.
func (w *Watcher) lookAgain(f *openFile, now time.Time) {
	hot := w.cfg.Hot()
	if hot <= 0 {
		hot = defaultHot
	}
	unchanged := evidence.LongestOpen
	if changed, at := f.mtimeNs+w.skew.Load(), w.cfg.Now(); changed > at-int64(unchanged) {
		unchanged = time.Duration(at - changed)
	}
	f.interval = max(hot, unchanged) / 2
	if f.closed { // the last closing may have been noticed before it was done
		f.interval = min(f.interval, max(time.Second, now.Sub(f.changed)/2))
	}
	f.due = now.Add(f.interval)
	if w.open.next.IsZero() || f.due.Before(w.open.next) {
		w.open.next = f.due
	}
}

// lookAtOpen emits the open files whose next look is due, with those that are due soon, so that they share a segment.
func (w *Watcher) lookAtOpen(ctx context.Context, now time.Time) error {
	if w.open.next.IsZero() || now.Before(w.open.next) || !w.cfg.HasRoom() {
		return nil
	}
	var due []*openFile
	for id, f := range w.open.byID {
		switch {
		case now.Sub(f.changed) >= openForgotten:
			w.open.forget(id)
		case !now.Before(f.due.Add(-f.interval / 4)):
			due = append(due, f)
		}
	}
	w.open.next = time.Time{}
	if len(due) > 0 {
		if err := w.emitOpen(ctx, due, now); err != nil {
			return err
		}
	}
	for _, f := range w.open.byID {
		if w.open.next.IsZero() || f.due.Before(w.open.next) {
			w.open.next = f.due
		}
	}
	return nil
}

func (w *Watcher) emitOpen(ctx context.Context, due []*openFile, now time.Time) error {
	root, err := w.OpenRoot()
	if err != nil {
		w.checkRoot()
		return nil
	}
	defer root.Close()
	looker := root.Looker()
	defer looker.Close()
	slices.SortFunc(due, func(a, b *openFile) int { return strings.Compare(a.path, b.path) })
	for _, f := range due {
		id := w.open.byPath[f.path]
		w.mu.Lock()
		dir := w.model.lookup(event.Parent(f.path))
		told := dir != nil && dir.watch != NoWatch
		w.mu.Unlock()
		at := w.cfg.Now()
		info, err := looker.Lstat(f.path)
		if !told || err != nil || info.ID != id || info.Entry.Type != event.File {
			w.open.forget(id) // nobody tells of its closing, or a notice tells what became of it
			continue
		}
		finished := false
		if f.closed {
			written, known := looker.Written(f.path, id)
			finished = known && !written
		}
		if finished {
			w.open.forget(id)
		} else {
			w.isOpen(looker, f.path, info, 0, true, now)
		}
		w.put(f.path, at, info.Entry, finished)
		if err := w.emit(ctx, batch); err != nil {
			return err
		}
	}
	return w.emit(ctx, 1)
}

// leavesOpen notes that the path of an open file is gone. If the file turns up elsewhere in the same flush, it was moved.
func (w *Watcher) leavesOpen(path string) {
	if id, ok := w.open.byPath[path]; ok {
		w.open.byID[id].movedAway = true
	}
}

// endFlush forgets the open files that have left the tree, or were deleted.
func (w *Watcher) endFlush() {
	for _, id := range w.open.byPath {
		if f := w.open.byID[id]; f != nil && f.movedAway {
			w.open.forget(id)
		}
	}
}
