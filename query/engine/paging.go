package engine

import (
	"context"
	"errors"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// A page ends after limit entries if there is one more. Where it ends is a position, which goes into a cursor together with the
// version, so that all pages are of one version.

// Position is the last entry of a page: where the next one goes on.
type Position struct {
	Key  layer.Key
	Rank int64 // its value in an order other than the key's
}

// Emit takes one entry of an answer; it may keep nothing of the row.
type Emit func(r *evidence.Row) error

// Page is what a paged question asks for.
type Page struct {
	Limit int       // entries; 0: all
	After *Position // nil: from the beginning
	query uint64    // hashQuery of the question
}

// errStop ends a walk early.
var errStop = errors.New("enough")

// limited passes entries on until the page is full, and then knows where.
type limited struct {
	limit int // 0: all
	emit  Emit
	n     int
	last  layer.Key
	more  bool
}

// take passes r on, or ends the walk with errStop as there is more than the page takes.
func (l *limited) take(r *evidence.Row) error {
	if l.limit > 0 && l.n == l.limit {
		l.more = true
		return errStop
	}
	l.n++
	l.last.Parent, l.last.Name = r.Parent, r.Name
	return l.emit(r)
}

// end is where the page ended, given how the walk did; nil if there is no more.
func (l *limited) end(err error) (*Position, error) {
	if err != nil && !errors.Is(err, errStop) {
		return nil, err
	}
	if !l.more {
		return nil, nil
	}
	return &Position{Key: l.last}, nil
}

// OpenPage finds the version that a page is of: the cursor's, or the current one where there is no cursor. What makes two questions
// the same is given in parts. ErrCursor and ErrCursorQuery where the cursor is of no use.
func (e *Engine) OpenPage(ctx context.Context, view, cursor string, limit int, parts ...string) (*Version, Page, error) {
	p := Page{Limit: limit, query: hashQuery(parts...)}
	if cursor == "" {
		v, err := e.Current(ctx, view)
		return v, p, err
	}
	c, err := decodeCursor(cursor, p.query)
	if err != nil {
		return nil, p, err
	}
	p.After = &Position{Key: c.key(), Rank: c.Rank}
	v, err := e.pinned(ctx, view, c.Version, c.Nonce)
	return v, p, err
}

// Next is the cursor of the page after this one; empty without a position.
func (p Page) Next(v *Version, at *Position) string {
	if at == nil {
		return ""
	}
	return cursor{Version: v.Manifest.Version, Nonce: v.Manifest.Nonce, Query: p.query, After: cursorAt(at.Key), Rank: at.Rank}.encode()
}
