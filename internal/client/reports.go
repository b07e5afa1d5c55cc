package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strconv"

	"github.com/fustor/fustor/internal/httpclient"
)

// Largest calls each for the largest files that a query wants, or the directories with the largest subtrees, the largest first. The
// query's types are not asked for.
func (c *Client) Largest(ctx context.Context, query Query, directories bool, limit int, each Each) error {
	q := query.values()
	q.Set("limit", strconv.Itoa(limit))
	q.Del("type")
	if directories {
		q.Set("type", "directory")
	}
	return c.stream(ctx, "/reports/largest", q, each)
}

// EmptyDirectories calls each for the directories that a query wants and that have no entry, in order.
func (c *Client) EmptyDirectories(ctx context.Context, query Query, each Each) error {
	return c.stream(ctx, "/reports/empty-directories", query.values(), each)
}

// Odd calls each for the entries that a query wants and whose times, sizes or names are odd, in order.
func (c *Client) Odd(ctx context.Context, query Query, each Each) error {
	return c.stream(ctx, "/reports/odd", query.values(), each)
}

// Totals are the sums of a report's entry. LatestMtimeNs is nil where there is no regular file.
type Totals struct {
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Others      int64 `json:"others"`
	Bytes       int64 `json:"bytes"`
	// As of a Subtree.
	Allocated       int64  `json:"allocated"`
	LinkedAllocated int64  `json:"linked_allocated"`
	Unmeasured      int64  `json:"unmeasured"`
	LatestMtimeNs   *int64 `json:"latest_mtime_ns"`
}

// Report is a report whose entries are no nodes, and of which versions it is. Raw has the entries as they came.
type Report[T any] struct {
	Version      uint64            `json:"version"`
	SinceVersion uint64            `json:"since_version"`
	Since        float64           `json:"since"` // Unix seconds
	Until        float64           `json:"until"`
	AsOf         float64           `json:"as_of"`
	More         int               `json:"more"` // entries beyond the limit
	Raw          []json.RawMessage `json:"entries"`
	Entries      []T               `json:"-"`
}

// Usage is what one owner, group or extension has; the other two are nil.
type Usage struct {
	UID       *uint32 `json:"uid"`
	GID       *uint32 `json:"gid"`
	Owner     string  `json:"owner"` // what the hosts call uid, or else the number; empty: the server does not know of names
	Group     string  `json:"group"` // the same of gid
	Extension *string `json:"extension"`
	Totals    Totals  `json:"totals"`
	// Across are the files by size or age, of a cross table: the buckets that have any.
	Across []Bucket `json:"across"`
}

// Usage sums up by owner, group or extension what a query wants, the most bytes first. across is empty, or of a cross table size,
// mtime or atime.
func (c *Client) Usage(ctx context.Context, query Query, by, across string) (*Report[Usage], error) {
	own := url.Values{"by": {by}, "limit": {"10000"}}
	if across != "" {
		own.Set("across", across)
	}
	return report[Usage](ctx, c, "usage", query, own)
}

// Bucket is the files of at least From and less than To: bytes, or seconds of age. nil is open.
type Bucket struct {
	From  *int64 `json:"from"`
	To    *int64 `json:"to"`
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes"`
}

// Histogram counts the files that a query wants by size, mtime or atime.
func (c *Client) Histogram(ctx context.Context, query Query, of string) (*Report[Bucket], error) {
	return report[Bucket](ctx, c, "histogram", query, url.Values{"of": {of}})
}

// Duplicate is files of one name and size; Paths are the first of them.
type Duplicate struct {
	Size   int64       `json:"size"` // bytes of each
	Count  int64       `json:"count"`
	Wasted int64       `json:"wasted"` // bytes of all but one
	Paths  []foundPath `json:"paths"`
}

// foundPath is a path's bytes; in a forest, with its member.
type foundPath string

// UnmarshalJSON reads {member, path, path_b64}.
func (p *foundPath) UnmarshalJSON(b []byte) error {
	var at struct {
		Member string `json:"member"`
		Path   string `json:"path"`
		B64    string `json:"path_b64"`
	}
	if err := json.Unmarshal(b, &at); err != nil {
		return err
	}
	exact, err := exactPath(at.Path, at.B64)
	*p = foundPath(Where(at.Member, exact))
	return err
}

// Duplicates finds the files that a query wants and that have name and size in common. Without a MinSize the server has its own.
func (c *Client) Duplicates(ctx context.Context, query Query, limit int) (*Report[Duplicate], error) {
	return report[Duplicate](ctx, c, "duplicates", query, url.Values{"limit": {strconv.Itoa(limit)}})
}

// Growth is how much more a directory has than in an earlier version.
type Growth struct {
	Member      string `json:"member"` // of a forest
	Path        string `json:"path"`
	PathB64     string `json:"path_b64"`
	Bytes       int64  `json:"bytes"`
	Files       int64  `json:"files"`
	Directories int64  `json:"directories"`
	From        Totals `json:"from"`
	To          Totals `json:"to"`
}

// Growth compares what a query wants in the directories below its path, depth levels of them, with an earlier version: a number, 0 for
// the oldest that is kept, or a time as the API reads it.
func (c *Client) Growth(ctx context.Context, query Query, since string, depth, limit int) (*Report[Growth], error) {
	r, err := report[Growth](ctx, c, "growth", query, url.Values{"since": {since}, "depth": {strconv.Itoa(depth)}, "limit": {strconv.Itoa(limit)}})
	if err != nil {
		return nil, err
	}
	for i := range r.Entries {
		if r.Entries[i].Path, err = exactPath(r.Entries[i].Path, r.Entries[i].PathB64); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// report asks for a report by a query and parameters of its own.
func report[T any](ctx context.Context, c *Client, name string, query Query, own url.Values) (*Report[T], error) {
	q := query.values()
	maps.Copy(q, own)
	r := &Report[T]{}
	if err := c.getJSON(ctx, "/reports/"+name, q, r); err != nil {
		return nil, err
	}
	if r.Raw == nil {
		return nil, httpclient.Lacking(c.server, "entries")
	}
	r.Entries = make([]T, len(r.Raw))
	for i, raw := range r.Raw {
		if err := json.Unmarshal(raw, &r.Entries[i]); err != nil {
			return nil, fmt.Errorf("the answer to /reports/%s is not a valid answer of a fustor server: %w", name, err)
		}
	}
	return r, nil
}

// Version is one that is kept.
type Version struct {
	Raw         json.RawMessage `json:"-"`
	Member      string          `json:"member"` // of a forest: the view that it is a version of
	Number      uint64          `json:"version"`
	PublishedAt float64         `json:"published_at"` // Unix seconds
	Current     bool            `json:"current"`
	Kept        []string        `json:"kept"` // why
	Pins        []string        `json:"pins"`
	Until       float64         `json:"kept_until"` // Unix seconds; 0: as long as it is current, pinned, or the settings say so
	Rows        int64           `json:"rows"`
	Files       int64           `json:"files"`
	Dirs        int64           `json:"directories"`
	Bytes       int64           `json:"bytes"`
}

// UnmarshalJSON keeps the version as it came.
func (v *Version) UnmarshalJSON(b []byte) error {
	type plain Version
	v.Raw = append(json.RawMessage(nil), b...)
	return json.Unmarshal(b, (*plain)(v))
}

// Versions calls each for the versions that are kept, the newest first, at most limit. If lasting, these are only those that are kept for
// more than being recent.
func (c *Client) Versions(ctx context.Context, limit int, lasting bool, each func(*Version) error) error {
	q := url.Values{}
	if lasting {
		q.Set("kept", "true")
	}
	for left := limit; left > 0; {
		var a struct {
			Versions []Version `json:"versions"`
		}
		asked := min(left, 1000)
		q.Set("limit", strconv.Itoa(asked))
		if err := c.getJSON(ctx, "/versions", q, &a, "versions"); err != nil {
			return err
		}
		for i := range a.Versions {
			if err := each(&a.Versions[i]); err != nil {
				return err
			}
		}
		left -= len(a.Versions)
		if len(a.Versions) < asked || a.Versions[0].Member != "" { // of a forest, one answer has up to limit of each member
			return nil
		}
		q.Set("before", strconv.FormatUint(a.Versions[len(a.Versions)-1].Number, 10))
	}
	return nil
}
