package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/fustor/fustor/internal/httpclient"
)

// Found is an entry of the doubtful ones, as the server sends it, and what the command line shows of it.
type Found struct {
	Raw          json.RawMessage `json:"-"`
	Member       string          `json:"member"` // of a forest
	Path         string          `json:"path"`
	PathB64      string          `json:"path_b64"`
	Type         string          `json:"content_type"`
	Size         int64           `json:"size"`
	Modified     float64         `json:"modified_time"` // Unix seconds
	Agent        string          `json:"last_agent_id"`
	SuspectUntil float64         `json:"suspect_until"`
	FoundAt      float64         `json:"found_at"`
	Deleted      bool            `json:"-"`
}

// Where is the entry's path; in a forest, with its member.
func (f *Found) Where() string { return Where(f.Member, f.Path) }

// UnmarshalJSON keeps the entry as it came.
func (f *Found) UnmarshalJSON(b []byte) error {
	type plain Found
	if err := json.Unmarshal(b, (*plain)(f)); err != nil {
		return err
	}
	f.Raw = append(json.RawMessage(nil), b...)
	exact, err := exactPath(f.Path, f.PathB64)
	f.Path = exact
	return err
}

// Suspects calls each for the files below path that may still be written to, in order of path.
func (c *Client) Suspects(ctx context.Context, path string, each func(*Found) error) error {
	q := url.Values{}
	setPath(q, path)
	for {
		var page []Found
		header, err := c.getPage(ctx, "/suspect-list", q, &page)
		if err != nil {
			return err
		}
		if page == nil {
			return httpclient.Lacking(c.server, "[]")
		}
		for i := range page {
			if err := each(&page[i]); err != nil {
				return err
			}
		}
		next := header.Get("Fustor-Next-Cursor")
		if next == "" {
			return nil
		}
		q.Set("cursor", next)
	}
}

// BlindSpots calls each for what was found below path by looking only: additions and changes, then deletions.
func (c *Client) BlindSpots(ctx context.Context, path string, each func(*Found) error) error {
	q := url.Values{}
	setPath(q, path)
	for {
		var page struct {
			Additions []Found `json:"additions"`
			Deletions []Found `json:"deletion_details"`
			Next      string  `json:"next_cursor"`
		}
		if _, err := c.getPage(ctx, "/blind-spots", q, &page); err != nil {
			return err
		}
		if page.Additions == nil || page.Deletions == nil {
			return httpclient.Lacking(c.server, "additions")
		}
		for i := range page.Additions {
			if err := each(&page.Additions[i]); err != nil {
				return err
			}
		}
		for i := range page.Deletions {
			page.Deletions[i].Deleted = true
			if err := each(&page.Deletions[i]); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		q.Set("cursor", page.Next)
	}
}

// exactPath is a path's bytes: those of its base64 form, where it has one.
func exactPath(path, b64 string) (string, error) {
	if b64 == "" {
		return path, nil
	}
	exact, err := base64.RawURLEncoding.DecodeString(b64)
	if err != nil {
		return path, fmt.Errorf("path_b64: %w", err)
	}
	return string(exact), nil
}
