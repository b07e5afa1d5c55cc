package engine

import (
	"context"
	"errors"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// A page ends after limit entries if there is one more. Where it ends is a Position. A cursor (pageToken) holds the position and the
// version, so that all pages of an answer are of one version.

// Position is where a page ended: the next page begins after it.
type Position struct {
	Key layer.Key
	// Extra is what the question needs beside the key: the size or mtime that a listing is sorted by, the time that the ages of a
	// search count from, the section of an answer with two.
	Extra int64
	// Including: the page begins at the key, not after it. A page over several views ends in one of them, and others may have an entry
	// of the same key.
	Including bool
}

// next is the first key that the next page may have.
func (p *Position) next() layer.Key {
	if p.Including {
		return p.Key
	}
	return keyAfter(p.Key)
}

// Emit takes one entry of an answer; it may keep nothing of the row.
type Emit func(r *evidence.Row) error

// Page is what a paged question asks for.
type Page struct {
	Limit int       // entries; 0: all
	After *Position // nil: from the beginning
	query uint64    // QueryHash of the question
	from  *Version  // of a diff: the earlier version
}

// errStop ends an iteration early.
var errStop = errors.New("enough")

// pageLimiter emits entries until the page is full, and notes where it ended.
type pageLimiter struct {
	limit int // 0: all
	emit  Emit
	taken int
	last  layer.Key
	more  bool
}

// take emits r, or returns errStop if the page is full.
func (l *pageLimiter) take(r *evidence.Row) error {
	if l.limit > 0 && l.taken == l.limit {
		l.more = true
		return errStop
	}
	l.taken++
	l.last.Parent, l.last.Name = r.Parent, r.Name
	return l.emit(r)
}

// end is where the page ended, given the error of the iteration; nil if no entries follow.
func (l *pageLimiter) end(err error) (*Position, error) {
	if err != nil && !errors.Is(err, errStop) {
		return nil, err
	}
	if !l.more {
		return nil, nil
	}
	return &Position{Key: l.last}, nil
}

// OpenPage opens the version of a page: that of the cursor, or without a cursor the one that is meant. parts are what two calls must have
// in common to be the same query, beside which version. ErrCursor if the cursor is none, ErrCursorQuery if it is of another query.
func (e *Engine) OpenPage(ctx context.Context, view string, w Which, cursor string, limit int, parts ...string) (*Version, Page, error) {
	p := Page{Limit: limit, query: w.QueryHash(ReaderParts(ctx, parts)...)}
	if cursor == "" {
		v, err := e.Open(ctx, view, w)
		return v, p, err
	}
	c, err := decodePageToken(cursor, p.query)
	if err != nil {
		return nil, p, err
	}
	p.After = &Position{Key: c.key(), Extra: c.Extra}
	v, err := e.Reopen(ctx, view, c.Version, c.Nonce)
	return v, p, err
}

// Next is the cursor of the next page; empty without a position.
func (p Page) Next(v *Version, at *Position) string {
	if at == nil {
		return ""
	}
	t := pageToken{Version: v.Manifest.Version, Nonce: v.Manifest.Nonce, Query: p.query, After: CursorAt(at.Key), Extra: at.Extra}
	if p.from != nil {
		t.From, t.FromNonce = p.from.Manifest.Version, p.from.Manifest.Nonce
	}
	return t.encode()
}
