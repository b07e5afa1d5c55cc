package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/fustor/fustor/internal/httpclient"
)

// Change is a path of a diff.
type Change struct {
	Raw       json.RawMessage `json:"-"`
	Change    string          `json:"change"` // added, removed, changed
	Path      string          `json:"path"`
	Type      string          `json:"type"`       // f, d, l, o
	Fields    []string        `json:"fields"`     // of changed: what differs
	MovedFrom string          `json:"moved_from"` // of added: the removed path that it was at; empty: not known
	MovedTo   string          `json:"moved_to"`   // of removed: the added path that it is at
	Before    *State          `json:"before"`     // nil of added
	After     *State          `json:"after"`      // nil of removed
}

// State is what a version knows of a path.
type State struct {
	Size    int64  `json:"size"`
	MtimeNs int64  `json:"mtime_ns"`
	Mode    uint32 `json:"mode"`
	UID     uint32 `json:"uid"`
	GID     uint32 `json:"gid"`
	Owner   string `json:"owner"`
	Group   string `json:"group"`
}

// decode reads a line of a diff.
func (d *Change) decode(line []byte) error {
	type plain Change
	var read struct {
		plain
		PathB64 string `json:"path_b64"`
		FromB64 string `json:"moved_from_b64"`
		ToB64   string `json:"moved_to_b64"`
		Error
	}
	if err := json.Unmarshal(line, &read); err != nil {
		return err
	}
	if read.Path == "" && read.Detail != "" { // a stream's last line, where the server failed in the middle of it
		return &Error{Status: read.Status, Detail: oneLine(read.Detail), Hint: oneLine(read.Hint)}
	}
	*d = Change(read.plain)
	d.Raw = append(json.RawMessage(nil), line...)
	var errs [3]error
	d.Path, errs[0] = exactPath(d.Path, read.PathB64)
	d.MovedFrom, errs[1] = exactPath(d.MovedFrom, read.FromB64)
	d.MovedTo, errs[2] = exactPath(d.MovedTo, read.ToB64)
	if d.Path == "" || d.Before == nil && d.After == nil {
		return errors.New("an entry without path, or without before and after")
	}
	return errors.Join(errs[:]...)
}

// DiffOf is which versions a diff compares.
type DiffOf struct {
	From, To uint64
	// ManyMoves: the diff is too large for moves to be recognised.
	ManyMoves bool
}

// manyMoves is what a server says where it recognises no moves.
const manyMoves = "too-many"

// Diff calls each for the paths below a query's path that differ between two versions, in key order, as far as the query wants them. from
// and to name versions as Growth has them; to may be empty, for the current one.
func (c *Client) Diff(ctx context.Context, query Query, from, to string, each func(*Change) error) (of DiffOf, err error) {
	var d Change
	header, err := c.lines(ctx, "/diff", diffValues(query, from, to), d.decode, func() error { return each(&d) })
	if err != nil {
		return of, err
	}
	of.ManyMoves = header.Get("Fustor-Moves") == manyMoves
	if of.From, err = strconv.ParseUint(header.Get("Fustor-From-Version"), 10, 64); err == nil {
		of.To, err = strconv.ParseUint(header.Get("Fustor-Version"), 10, 64)
	}
	if err != nil {
		return of, fmt.Errorf("the answer to /diff does not say of which versions it is: %w", err)
	}
	return of, nil
}

func diffValues(query Query, from, to string) url.Values {
	q := query.values()
	q.Set("from", from)
	if to != "" {
		q.Set("to", to)
	}
	return q
}

// PathSums are sums over paths of a diff; Moved of them were moved within its path.
type PathSums struct {
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Others      int64 `json:"others"`
	Bytes       int64 `json:"bytes"`
	Moved       int64 `json:"moved"`
}

// DirectorySums are the sums of a diff at and below a directory. The bytes of Changed are how many more its files have.
type DirectorySums struct {
	Path    string   `json:"path"`
	PathB64 string   `json:"path_b64"`
	Added   PathSums `json:"added"`
	Removed PathSums `json:"removed"`
	Changed PathSums `json:"changed"`
}

// DiffReport are the sums of a diff by directory, and of which versions it is. Raw has them as they came.
type DiffReport struct {
	Version      uint64            `json:"version"`
	FoldedAt     float64           `json:"folded_at"` // Unix seconds
	From         uint64            `json:"from_version"`
	FromFoldedAt float64           `json:"from_folded_at"`
	Moves        string            `json:"moves"`
	Raw          []json.RawMessage `json:"entries"`
	Entries      []DirectorySums   `json:"-"`
}

// ManyMoves: the diff is too large for moves to be recognised.
func (r *DiffReport) ManyMoves() bool { return r.Moves == manyMoves }

// DiffSums sums a diff up by directory, depth levels below the query's path.
func (c *Client) DiffSums(ctx context.Context, query Query, from, to string, depth int) (*DiffReport, error) {
	q := diffValues(query, from, to)
	q.Set("summary", "true")
	q.Set("depth", strconv.Itoa(depth))
	r := &DiffReport{}
	if err := c.getJSON(ctx, "/diff", q, r); err != nil {
		return nil, err
	}
	if r.Raw == nil {
		return nil, httpclient.Lacking(c.server, "entries")
	}
	r.Entries = make([]DirectorySums, len(r.Raw))
	for i, raw := range r.Raw {
		err := json.Unmarshal(raw, &r.Entries[i])
		if err == nil {
			r.Entries[i].Path, err = exactPath(r.Entries[i].Path, r.Entries[i].PathB64)
		}
		if err != nil {
			return nil, fmt.Errorf("the answer to /diff is not a valid answer of a fustor server: %w", err)
		}
	}
	return r, nil
}
