package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// FeedLine is a line of a feed: a change, the end of a version, or a sign of life.
type FeedLine struct {
	Raw     json.RawMessage // as it came
	Change  *Change         // nil: another line
	Version uint64
	// FoldedAt is when the version was made, in Unix seconds; of a sign of life it is 0.
	FoldedAt float64
	// Complete: all changes up to Version were told. Changes is how many of it there were in this answer.
	Complete bool
	Changes  int64
	Moves    string
	// Cursor is the position after the line; empty: that of the line before.
	Cursor string
}

// ManyMoves: the version has too many changes for moves to be recognised.
func (l *FeedLine) ManyMoves() bool { return l.Moves == manyMoves }

// decode reads a line of a feed.
func (l *FeedLine) decode(line []byte) error {
	var read struct {
		Change    string  `json:"change"`
		Version   uint64  `json:"version"`
		FoldedAt  float64 `json:"folded_at"`
		Complete  bool    `json:"complete"`
		Changes   int64   `json:"changes"`
		Moves     string  `json:"moves"`
		Heartbeat bool    `json:"heartbeat"`
		Cursor    string  `json:"cursor"`
	}
	if err := json.Unmarshal(line, &read); err != nil {
		return err
	}
	*l = FeedLine{Raw: append(json.RawMessage(nil), line...), Version: read.Version, FoldedAt: read.FoldedAt, Complete: read.Complete,
		Changes: read.Changes, Moves: read.Moves, Cursor: read.Cursor}
	switch {
	case read.Heartbeat && read.Version > 0:
		return nil
	case read.Complete && read.Version > 0 && read.Cursor != "":
		return nil
	}
	l.Change = &Change{}
	if err := l.Change.decode(line); err != nil {
		return err
	}
	if read.Change == "" || read.Version == 0 || read.Cursor == "" {
		return errors.New("a change without kind, version or cursor")
	}
	return nil
}

// silence is how long a feed may be silent: a server sends a line every 30 seconds at least.
const silence = 90 * time.Second

// errSilent: the connection is dead, although nobody said so.
var errSilent = fmt.Errorf("nothing came for %v", silence)

// Changes calls each for the lines of a feed after a version or a cursor, as docs/api.md has after; empty: after the current version. It
// returns at the current version; if there are no changes yet, it waits up to wait for some. A server that is silent for 90 seconds is an
// error.
func (c *Client) Changes(ctx context.Context, query Query, after string, wait time.Duration, each func(*FeedLine) error) error {
	q := query.values()
	if after != "" {
		q.Set("after", after)
	}
	if s := int64(wait / time.Second); s > 0 {
		q.Set("wait", strconv.FormatInt(s, 10))
	}
	return c.changes(ctx, q, each)
}

func (c *Client) changes(outer context.Context, q url.Values, each func(*FeedLine) error) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	alarm := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer alarm.Stop()
	var l FeedLine
	_, err := c.lines(ctx, "/changes", q, l.decode, func() error {
		alarm.Stop()
		defer alarm.Reset(silence)
		return each(&l)
	})
	if outer.Err() == nil && errors.Is(context.Cause(ctx), errSilent) {
		return unreachable(outer, c.server, errSilent)
	}
	return err
}
