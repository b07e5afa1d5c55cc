package engine

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
)

// Which says which version of a view is meant. The zero Which is the current one.
type Which struct {
	of     string // what it was given as, for errors: "since"
	text   string // as it was given; empty: the current version
	kind   whichKind
	number uint64 // of a version; 0: the oldest that is kept and complete
	at     int64  // ns
}

type whichKind uint8

const (
	byNumber whichKind = iota
	byTime             // the version that was current then
	byPin              // text is the name
)

// WhichOf reads which version a text means: its number, 0 for the oldest that is kept and complete; a time in any form of values.ParseTime
// but whole Unix seconds, for the version of that time; otherwise the name of a pin. now (ns) is what "7d" counts from. No pin has a name
// that is a number or a time. of is what the text was given as.
func WhichOf(of, text string, now int64) Which {
	if number, err := strconv.ParseUint(text, 10, 64); err == nil {
		return Which{of: of, text: text, number: number}
	}
	if at, err := values.ParseTime(text, time.Unix(0, now).UTC()); err == nil {
		return Which{of: of, text: text, kind: byTime, at: min(at, now)}
	}
	return Which{of: of, text: text, kind: byPin}
}

// IsCurrent reports whether the current version is meant.
func (w Which) IsCurrent() bool { return w.text == "" }

// IsTime reports whether the version of a time is meant, which views that have nothing in common have, too.
func (w Which) IsTime() bool { return w.text != "" && w.kind == byTime }

// String is the text that was given; empty: the current version.
func (w Which) String() string { return w.text }

// Moment is the time (ns) that an answer about that version is as of: now, the time that was asked for, or when the version was published.
// An entry is suspect, and an age is, as they were at that moment. v may be nil unless a number or a name was given.
func (e *Engine) Moment(w Which, v *Version) int64 {
	switch {
	case w.IsCurrent():
		return e.Now()
	case w.kind == byTime:
		return w.at
	}
	return v.Manifest.FoldedAt
}

// Open opens the version of a view that is meant, ready to be read: NotKeptError or NoVersionError if there is none.
func (e *Engine) Open(ctx context.Context, view string, w Which) (*Version, error) {
	if w.IsCurrent() {
		return e.Current(ctx, view)
	}
	head, err := e.Head(ctx, view)
	if err != nil {
		return nil, err
	}
	if err := e.checkLive(ctx, head); err != nil {
		return nil, err
	}
	return e.find(ctx, head, w)
}

// Earlier opens a version by what WhichOf reads. NotKeptError or NoVersionError if there is none.
func (e *Engine) Earlier(ctx context.Context, view, of, text string) (*Version, error) {
	head, err := e.Head(ctx, view)
	if err != nil {
		return nil, err
	}
	return e.find(ctx, head, WhichOf(of, text, e.Now()))
}

// find finds a version of the history that ends with head.
func (e *Engine) find(ctx context.Context, head *manifest.Manifest, w Which) (*Version, error) {
	var found manifest.Published
	var err error
	number := w.number
	if w.kind == byPin {
		if number, err = e.pinned(ctx, head.View, w); err != nil {
			return nil, err
		}
	}
	switch {
	case w.kind == byTime:
		found, err = manifest.Before(ctx, e.store, head, time.Unix(0, w.at))
	case number == 0:
		var first *manifest.Manifest
		if first, err = manifest.First(ctx, e.store, head, 0, (*manifest.Manifest).Ready); err == nil {
			found = first.Published()
		}
	default:
		found, err = manifest.At(ctx, e.store, head, number)
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, e.notKept(ctx, head, w, number)
	}
	if err != nil {
		return nil, err
	}
	v, err := e.openPublished(ctx, head, found)
	if err == nil && !v.Manifest.Ready() {
		return nil, e.incomplete(ctx, head, v.Manifest.Version)
	}
	return v, err
}

// pinned is the number of the version that a name pins. NoVersionError if there is no such pin.
func (e *Engine) pinned(ctx context.Context, view string, w Which) (uint64, error) {
	if !layout.ValidID(w.text) {
		return 0, &NoVersionError{w.of, w.text}
	}
	pins, _, err := history.ReadPins(ctx, e.store, view)
	if err != nil {
		return 0, err
	}
	pin, there := pins[w.text]
	if !there {
		return 0, &NoVersionError{w.of, w.text}
	}
	return pin.Version, nil
}

// openPublished opens a version of the history that ends with head.
func (e *Engine) openPublished(ctx context.Context, head *manifest.Manifest, p manifest.Published) (*Version, error) {
	if p.Version == head.Version {
		return e.versions.of(head, false)
	}
	if v, ok := e.versions.open.GetIfPresent(p.Key); ok {
		return e.versions.of(v.Manifest, true)
	}
	m, err := manifest.LoadKeyRoot(ctx, e.store, head.View, p.Key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &GoneError{p.Version}
	}
	if err != nil {
		return nil, err
	}
	return e.versions.of(m, true)
}

// notKept says that a version is not kept, and which are the nearest that are.
func (e *Engine) notKept(ctx context.Context, head *manifest.Manifest, w Which, number uint64) error {
	if w.kind == byTime {
		missing := &NotKeptError{Asked: w.text, Time: true}
		return e.afterwards(ctx, head, 0, missing, &missing.After)
	}
	missing := &NotKeptError{Asked: strconv.FormatUint(number, 10)}
	before, after, err := manifest.Around(ctx, e.store, head, number)
	if err != nil {
		return err
	}
	missing.Before, missing.After = before, after
	return missing
}

// incomplete says that the first scan was not complete in a version, and which is the first one after it in which it was.
func (e *Engine) incomplete(ctx context.Context, head *manifest.Manifest, version uint64) error {
	missing := &IncompleteError{Version: version}
	return e.afterwards(ctx, head, version+1, missing, &missing.After)
}

// afterwards notes the first complete version from a number on in an error, if there is one.
func (e *Engine) afterwards(ctx context.Context, head *manifest.Manifest, from uint64, missing error, after **manifest.Published) error {
	if !head.Ready() {
		return missing
	}
	first, err := manifest.First(ctx, e.store, head, from, (*manifest.Manifest).Ready)
	if err != nil {
		return err
	}
	p := first.Published()
	*after = &p
	return missing
}
