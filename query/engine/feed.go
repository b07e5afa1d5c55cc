package engine

import (
	"context"
	"errors"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// Feed goes from a version of a view to the next one that is kept, and on, for as long as there are new ones. Its changes are those of the
// diffs between each version and the next: every change once, in the order of versions, and in key order within one. Of versions that
// were thinned, it has the net changes between those that are left.
//
//	for {
//		if more, err := f.Step(ctx); !more { … f.Wait(ctx) … }
//		d, err := f.Diff(ctx, wanted)
//		f.Changes(ctx, d, limit, func(c *evidence.Change) error { … f.CursorAt(c.Row()) … })
//	}
//
// A feed is for one goroutine. Its position outlives it: a feed that is opened at a Cursor goes on there.
type Feed struct {
	engine *Engine
	view   string
	query  uint64

	at      *Version   // all changes up to it were told
	next    *Version   // whose changes are told now; nil: none
	after   *layer.Key // the last change of next that was told; nil: none
	resumed bool       // at a cursor
	prefix  []byte     // of the cursors within next

	seen   uint64               // the last version that was looked at: those that cannot be read yet have no changes
	listed []manifest.Published // versions after seen, in order
	moved  time.Time            // when the last new version came; zero: none did
}

// FeedGoneError: a feed cannot go on, as a version that it needs is no longer kept, or the view's history is another one. It is a
// NotKeptError with the versions that are kept next to it.
type FeedGoneError struct{ *NotKeptError }

// OpenFeed opens a feed of a view: after the version that a text means as Earlier has it, or at a position that Cursor made; empty: after
// the current version. parts are what two calls must have in common for a cursor of one to serve the other.
func (e *Engine) OpenFeed(ctx context.Context, view, after string, parts ...string) (*Feed, error) {
	f := &Feed{engine: e, view: view, query: QueryHash(append([]string{"feed"}, ReaderParts(ctx, parts)...)...)}
	if IsFeedCursor(after) {
		return f, f.resume(ctx, after)
	}
	which := Which{}
	if after != "" {
		which = WhichOf("after", after, e.Now())
	}
	var err error
	if f.at, err = e.Open(ctx, view, which); err != nil {
		return nil, err
	}
	f.seen = f.at.Manifest.Version
	return f, nil
}

// resume opens the versions of a cursor.
func (f *Feed) resume(ctx context.Context, cursor string) error {
	head, err := f.engine.Head(ctx, f.view) // first, to know a forest or a view that is not there
	if err != nil {
		return err
	}
	t, err := decodeFeedToken(cursor, f.query)
	if err != nil {
		return err
	}
	f.resumed, f.seen = true, t.From
	if f.at, err = f.reopen(ctx, head, t.From, t.FromNonce); err != nil || t.Version == 0 {
		return err
	}
	f.seen, f.after = t.Version, &t.After
	next, err := f.reopen(ctx, head, t.Version, t.Nonce)
	f.begin(next)
	return err
}

// reopen opens a version of a cursor. FeedGoneError if it is no longer kept.
func (f *Feed) reopen(ctx context.Context, head *manifest.Manifest, number uint64, nonce string) (*Version, error) {
	v, err := f.engine.Reopen(ctx, f.view, number, nonce)
	var gone *GoneError
	if errors.As(err, &gone) {
		return nil, f.gone(ctx, head, number)
	}
	return v, err
}

// gone says that a version is not kept, and which are the nearest that are.
func (f *Feed) gone(ctx context.Context, head *manifest.Manifest, number uint64) error {
	err := f.engine.notKept(ctx, head, Which{}, number)
	var missing *NotKeptError
	if errors.As(err, &missing) {
		return &FeedGoneError{missing}
	}
	return err
}

// View is the view.
func (f *Feed) View() string { return f.view }

// At is the version whose changes, and those of all before it, were told.
func (f *Feed) At() *Version { return f.at }

// Next is the version whose changes are told now; nil between two versions.
func (f *Feed) Next() *Version { return f.next }

// Within reports whether some changes of Next were told.
func (f *Feed) Within() bool { return f.after != nil }

// Resumed reports whether the feed was opened at a cursor.
func (f *Feed) Resumed() bool { return f.resumed }

// begin begins with the changes of a version, after f.after if that is set.
func (f *Feed) begin(next *Version) {
	f.next = next
	if next == nil {
		f.prefix = nil
		return
	}
	f.prefix = appendFeedToken(nil, feedToken{From: f.at.Manifest.Version, FromNonce: f.at.Manifest.Nonce,
		Version: next.Manifest.Version, Nonce: next.Manifest.Nonce, Query: f.query})
}

// Cursor is the position: before the next change.
func (f *Feed) Cursor() string {
	if f.next != nil && f.after != nil {
		return f.cursorAt(*f.after)
	}
	return encodeFeedToken(appendFeedToken(nil, feedToken{From: f.at.Manifest.Version, FromNonce: f.at.Manifest.Nonce, Query: f.query}))
}

func (f *Feed) cursorAt(k layer.Key) string {
	return encodeFeedToken(append(f.prefix[:len(f.prefix):len(f.prefix)], CursorAt(k)...))
}

// Step goes to the next version, which Next is then; false if there is none yet. FeedGoneError if the history is not the one that the feed
// is of: its store was set back to an earlier state.
func (f *Feed) Step(ctx context.Context) (bool, error) {
	for f.next == nil {
		head, err := f.engine.Head(ctx, f.view)
		if err != nil {
			return false, err
		}
		at := f.at.Manifest
		if head.Version < at.Version || head.Version == at.Version && head.Nonce != at.Nonce ||
			head.Version == at.Version+1 && head.Parent != "" && head.Parent != at.Key() {
			return false, f.gone(ctx, head, at.Version)
		}
		if head.Version <= f.seen {
			return false, nil
		}
		p, err := f.following(ctx, head)
		if err != nil {
			return false, err
		}
		v, err := f.engine.openPublished(ctx, head, p)
		var gone *GoneError
		if errors.As(err, &gone) { // it was thinned since it was listed
			f.listed, f.seen = nil, p.Version
			continue
		}
		if err != nil {
			return false, err
		}
		if f.seen = p.Version; v.Manifest.Ready() {
			f.moved = time.Now()
			f.after = nil
			f.begin(v)
		}
	}
	return true, nil
}

// following is the kept version after those that were seen, of the history that ends with head. It is read from a list only if there are
// several.
func (f *Feed) following(ctx context.Context, head *manifest.Manifest) (manifest.Published, error) {
	if head.Version == f.seen+1 {
		f.listed = nil
		return head.Published(), nil
	}
	for len(f.listed) > 0 && f.listed[0].Version <= f.seen {
		f.listed = f.listed[1:]
	}
	if len(f.listed) == 0 {
		var err error
		if f.listed, _, err = manifest.History(ctx, f.engine.store, head, f.seen+1, feedListed); err != nil {
			return manifest.Published{}, err
		}
	}
	if len(f.listed) == 0 || f.listed[0].Version > head.Version {
		return head.Published(), nil
	}
	return f.listed[0], nil
}

// feedListed is how many versions a feed that is behind lists at once.
const feedListed = 1000

// Diff is the diff between At and Next, of what a search wants; nil if it cannot have any change: a merge made Next, which lays the rows of
// At in other layers, or no host has the owner that is wanted.
func (f *Feed) Diff(ctx context.Context, wanted *Search) (*Diff, error) {
	next, at := f.next.Manifest, f.at.Manifest
	if next.Reason == "merge" && next.Parent == at.Key() {
		return nil, nil
	}
	d, err := NewDiff(ctx, f.at, f.next, wanted)
	var unknown *NoOwnerError
	if errors.As(err, &unknown) {
		return nil, nil
	}
	return d, f.ReadError(ctx, err)
}

// Changes emits the changes of Next that are not told yet, up to limit (0: all). Each is told once emit returns, and CursorAt is its
// position. If all are told, the feed stands at Next. d is what Diff made, or nil.
func (f *Feed) Changes(ctx context.Context, d *Diff, limit int, emit EmitChange) error {
	var after *Position
	if f.after != nil {
		after = &Position{Key: *f.after}
	}
	more := false
	if d != nil {
		at, err := d.Page(ctx, after, limit, func(c *evidence.Change) error {
			if err := emit(c); err != nil {
				return err
			}
			r := c.Row()
			f.after = &layer.Key{Parent: r.Parent, Name: r.Name}
			return nil
		})
		var absent *NoPathError
		if err != nil && !errors.As(err, &absent) { // in neither version: nothing changed there
			return f.ReadError(ctx, err)
		}
		more = at != nil
	}
	if !more {
		f.at, f.after = f.next, nil
		f.begin(nil)
	}
	return nil
}

// CursorAt is the position after a change of Next.
func (f *Feed) CursorAt(c *evidence.Change) string {
	r := c.Row()
	return f.cursorAt(layer.Key{Parent: r.Parent, Name: r.Name})
}

// ReadError maps an error of reading At or Next: FeedGoneError if one of them is no longer kept. Next was the current version when it was
// opened, perhaps, and is an old one now.
func (f *Feed) ReadError(ctx context.Context, err error) error {
	var gone *GoneError
	if !errors.As(err, &gone) && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	head, headErr := f.engine.Head(ctx, f.view)
	if headErr != nil {
		return headErr
	}
	switch {
	case gone != nil:
		return f.gone(ctx, head, gone.Version)
	case head.Version > f.next.Manifest.Version:
		return f.gone(ctx, head, f.at.Manifest.Version)
	}
	return err
}

// A view whose versions come often is asked for its head more often than one at rest.
const (
	feedBusy     = 10 * time.Second
	feedPoll     = 250 * time.Millisecond
	feedPollIdle = time.Second
)

// Wait waits until there may be a new version, or until the context ends, whose error it returns then. A version that a compactor in the same
// process publishes is noticed at once. All feeds of a view share the requests by which others are noticed: one a second, or four if the
// last version is not ten seconds old.
func (f *Feed) Wait(ctx context.Context) error {
	h := f.engine.heads
	for {
		news := h.news(f.view)
		poll := feedPollIdle
		if time.Since(f.moved) < feedBusy {
			poll = feedPoll
		}
		head, err := h.within(ctx, f.view, poll)
		if err != nil {
			return err
		}
		if head.Version > f.seen || head.Version < f.at.Manifest.Version {
			return nil
		}
		timer := time.NewTimer(poll)
		select {
		case <-news:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
