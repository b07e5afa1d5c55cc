//go:build !reading

package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/httpclient"
)

// Listing is which entries of a directory are listed, and in which order.
type Listing struct {
	Sort    string // name, size, allocated, files or mtime; empty: name
	Reverse bool   // the other way round
	Pattern string // only names that match, as of a search; empty: all
}

// ListPage calls each for one page of the entries of the directory at path, at most limit of them, and returns the cursor of the next page;
// empty: there is none. All pages are of one version.
func (c *Client) ListPage(ctx context.Context, path string, l Listing, cursor string, limit int, each Each) (next string, err error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	setPath(q, path)
	if l.Sort != "" {
		q.Set("sort", l.Sort)
	}
	if l.Reverse {
		q.Set("reverse", "true")
	}
	if l.Pattern != "" {
		q.Set("pattern", l.Pattern)
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var of page
	if err := c.getJSON(ctx, "/list", q, &of); err != nil {
		return "", err
	}
	if of.Entries == nil {
		return "", httpclient.Lacking(c.server, "entries")
	}
	var d decoder
	var n Node
	for _, raw := range of.Entries {
		if err := d.node(raw, &n); err != nil {
			return "", fmt.Errorf("the answer to /list is not a valid answer of a fustor server: %w", err)
		}
		if err := each(&n); err != nil {
			return "", err
		}
	}
	return of.NextCursor, nil
}

// WebPage is the address of the server's page about a path; empty: the server is at a socket, where no browser finds it.
func (c *Client) WebPage(path string) string {
	if c.server.Host == socketHost {
		return ""
	}
	var b strings.Builder
	b.WriteString(c.server.String() + "/browse/" + url.PathEscape(c.view))
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name != "" {
			b.WriteString("/" + url.PathEscape(name))
		}
	}
	if c.asOf != "" {
		b.WriteString("?" + url.Values{"as_of": {c.asOf}}.Encode())
	}
	return b.String()
}

// View is the view that is asked.
func (c *Client) View() string { return c.view }
