//go:build !reading

package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
)

// Access is what a user may see of a path, and by which entry of which directory.
type Access struct {
	Raw json.RawMessage `json:"-"`

	Path        string            `json:"path"`
	User        string            `json:"user"`
	UID         uint32            `json:"uid"`
	Groups      []uint32          `json:"groups"`
	Squashed    bool              `json:"root_squash"` // the user is root, and is judged as nobody
	Visible     bool              `json:"visible"`     // who names the path sees its attributes
	Listed      bool              `json:"listed"`      // find from the root shows what is in its directory
	Contents    bool              `json:"contents"`    // it is a directory whose entries are listed
	DeniedAt    string            `json:"denied_at"`   // the directory that hides it
	Directories []DirectoryAccess `json:"directories"`
	Today       []DirectoryAccess `json:"directories_today"` // of an earlier version
}

// DirectoryAccess are a user's rights to a directory.
type DirectoryAccess struct {
	Path   string `json:"path"`
	Mode   uint32 `json:"mode"`
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	Owner  string `json:"owner"`
	Group  string `json:"group"`
	Read   bool   `json:"read"`
	Search bool   `json:"search"`
	By     string `json:"by"` // the entry that decides
}

// Access explains what the user who asks, or as whom an administrator asks, may see of a path.
func (c *Client) Access(ctx context.Context, path string) (*Access, error) {
	q := url.Values{}
	setPath(q, path)
	var raw json.RawMessage
	if err := c.getJSON(ctx, "/access", q, &raw, "visible", "directories"); err != nil {
		return nil, err
	}
	a := Access{Raw: raw}
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, fmt.Errorf("the answer to /access is not a valid answer of a fustor server: %w", err)
	}
	return &a, nil
}
