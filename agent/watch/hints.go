package watch

import (
	"time"

	"github.com/fustor/fustor/internal/event"
)

// hint is what the notices of a path add up to before the look. It is a set of flags, and empty if a look is all that is needed.
//
// The last appearance or disappearance decides: appeared and vanished drop what was noted before, but for hintRemoved. That one
// must survive until the flush, because the view may have rows below a directory that was there, whatever is there now.
type hint uint16

const (
	// hintRemoved: a directory was here and went away, so everything that was below it is gone, even if there is
	// another one here now.
	hintRemoved hint = 1 << iota
	// hintEnter: something appeared; if it is a directory, it is to be covered and read.
	hintEnter
	// hintNew: a file was created here, so somebody has it open.
	hintNew
	// hintWriting: it was written to and not closed since.
	hintWriting
	// hintClosed: it was closed after writing.
	hintClosed
	// hintDoubt: another directory may be here than the model says.
	hintDoubt
	// hintRights: its rights may have changed, with its other attributes.
	hintRights
	// hintUnheard: the directory's watch is gone, as it is when its file system is unmounted. If there is a directory all the same,
	// what changed in it before it was watched again came with no notice.
	hintUnheard
	// hintMoved: it was moved here, and not closed since. Whoever wrote it may still have it open.
	hintMoved
)

// hints are the paths to be looked at.
type hints struct {
	paths map[string]hint
	// writes are the files that are written to without anything else happening to them, and when they were last:
	// they are looked at less often.
	writes map[string]time.Time
	marks  []located
}

// located is a mark of a directory.
type located struct {
	path string
	mark event.Mark
}

func (h *hints) reset() {
	h.paths, h.writes = map[string]hint{}, map[string]time.Time{}
}

// add asks for a look at path.
func (h *hints) add(path string) {
	h.paths[path] |= 0
}

// appeared: path was created, or moved here.
func (h *hints) appeared(path string, created bool) {
	delete(h.writes, path)
	was := h.paths[path] & hintRemoved
	if created {
		h.paths[path] = was | hintEnter | hintNew
	} else {
		h.paths[path] = was | hintEnter | hintClosed | hintMoved
	}
}

// vanished: path was deleted, or moved away.
func (h *hints) vanished(path string, directory bool) {
	delete(h.writes, path)
	h.paths[path] &= hintRemoved
	if directory {
		h.paths[path] |= hintRemoved
	}
}

// written: path was written to.
func (h *hints) written(path string, now time.Time) {
	if was, ok := h.paths[path]; ok {
		h.paths[path] = was&^hintClosed | hintWriting
		return
	}
	h.writes[path] = now
}

// closed: path was closed by someone who may have written to it.
func (h *hints) closed(path string) {
	delete(h.writes, path)
	h.paths[path] = h.paths[path]&^(hintWriting|hintMoved) | hintClosed
}

// overflowed notes that notices of what is below path were lost.
func (h *hints) overflowed(path string) {
	for _, m := range h.marks {
		if m.mark.Kind == event.Overflow && m.path == path {
			return
		}
	}
	h.mark(path, event.Mark{Kind: event.Overflow})
}

func (h *hints) mark(path string, m event.Mark) { h.marks = append(h.marks, located{path, m}) }

// quiet is how long a file must not be written to until it counts as closed, where closing is not told.
const quiet = 2 * time.Second

// releaseWrites asks for looks at the files that are being written to. Where closing is told they are still being
// written to then, otherwise once they are quiet they are not.
func (h *hints) releaseWrites(closes bool, now time.Time) {
	for path, at := range h.writes {
		switch {
		case closes:
			h.paths[path] |= hintWriting
			delete(h.writes, path)
		case now.Sub(at) >= quiet:
			h.paths[path] |= hintClosed
			delete(h.writes, path)
		default:
			h.paths[path] |= hintWriting
		}
	}
}
