package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// Stage is a kept version in which a path is not what it was in the kept one before. Times are Unix seconds.
type Stage struct {
	Raw                 json.RawMessage `json:"-"`
	Change              string          `json:"change"` // added, removed, changed; existing: in the oldest kept version already
	Version             uint64          `json:"version"`
	PublishedAt         float64         `json:"published_at"`
	Previous            uint64          `json:"previous_version"` // 0: there is none
	PreviousPublishedAt float64         `json:"previous_published_at"`
	Type                string          `json:"type"`   // f, d, l, o
	Fields              []string        `json:"fields"` // of changed: what differs
	Before              *Then           `json:"before"`
	After               *Then           `json:"after"`
}

// Then is what a version knew of a path.
type Then struct {
	State
	Allocated int64  `json:"allocated"`
	Links     uint32 `json:"links"` // 0: not measured
	Subtree   *struct {
		Files       int64 `json:"files"`
		Directories int64 `json:"directories"`
		Bytes       int64 `json:"bytes"`
		Allocated   int64 `json:"allocated"`
		Unmeasured  int64 `json:"unmeasured"`
	} `json:"subtree"` // of a directory
}

// Log calls each for the kept versions in which a path is not what it was in the one before, the newest first; if lasting, it compares only
// those that are kept for more than being recent. A 404 says that no kept version has the path.
func (c *Client) Log(ctx context.Context, path string, lasting bool, each func(*Stage) error) error {
	q := url.Values{"limit": {"1000"}}
	setPath(q, path)
	if lasting {
		q.Set("kept", "true")
	}
	for found := false; ; {
		var a struct {
			Found   bool              `json:"found"`
			Entries []json.RawMessage `json:"entries"`
			Next    uint64            `json:"next_before"`
		}
		if err := c.getJSON(ctx, "/log", q, &a, "entries", "found"); err != nil {
			return err
		}
		found = found || a.Found
		for _, raw := range a.Entries {
			s := Stage{Raw: raw}
			err := json.Unmarshal(raw, &s)
			if err == nil && (s.Type == "" || s.Before == nil && s.After == nil) {
				err = errors.New("an entry without type, or without before and after")
			}
			if err != nil {
				return fmt.Errorf("the answer to /log is not a valid answer of a fustor server: %w", err)
			}
			if err := each(&s); err != nil {
				return err
			}
		}
		if a.Next == 0 {
			if !found {
				return &Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("no version that is kept has %q", path), Hint: "fustor versions lists what is kept"}
			}
			return nil
		}
		q.Set("before", strconv.FormatUint(a.Next, 10))
	}
}

// TrendPoint is a path in a kept version. Of a directory it has the sums of what is below it.
type TrendPoint struct {
	Version     uint64  `json:"version"`
	PublishedAt float64 `json:"published_at"` // Unix seconds
	Exists      bool    `json:"exists"`
	TrendSums
	Shares []TrendShare `json:"shares"` // if they were asked for, the most bytes first
	Member string       `json:"member"` // of a forest
}

// TrendSums are the sums of a point of a trend, or of what one owner or group has of it.
type TrendSums struct {
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Bytes       int64 `json:"bytes"`
	Allocated   int64 `json:"allocated"`
	Unmeasured  int64 `json:"unmeasured"`
}

// TrendShare is what an owner, or a group, has; the other one is nil.
type TrendShare struct {
	UID   *uint32 `json:"uid"`
	GID   *uint32 `json:"gid"`
	Owner string  `json:"owner"` // what the hosts call uid, or else the number
	Group string  `json:"group"` // the same of gid
	TrendSums
}

// Trend is a path in the last kept version of each interval of time, of the newest limit intervals that have one, the oldest first. every is
// as the API reads it. by is owner or group for their shares, too, or empty.
func (c *Client) Trend(ctx context.Context, path, every, by string, limit int) (*Report[TrendPoint], error) {
	q := url.Values{"every": {every}, "limit": {strconv.Itoa(limit)}}
	if by != "" {
		q.Set("by", by)
	}
	return report[TrendPoint](ctx, c, "trend", Query{Path: path}, q)
}
