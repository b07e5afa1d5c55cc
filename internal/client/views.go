package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// View is a view that the key may read, and how it is. Times are Unix seconds; 0: there is no version yet.
type View struct {
	Name     string   `json:"view_id"`
	State    string   `json:"state"` // ready, scanning, forest or damaged
	Members  []string `json:"members"`
	Error    string   `json:"error"`
	Troubles []struct {
		Text string `json:"text"`
	} `json:"troubles"`
	Leader     *bool   `json:"has_leader"` // nil: the caller is a user, who is not told, nor what the view has
	Version    uint64  `json:"version"`
	FoldedAt   float64 `json:"folded_at"`
	ObservedAt float64 `json:"observed_at"`
	Files      int64   `json:"total_files"`
	Dirs       int64   `json:"total_directories"`
	Bytes      int64   `json:"total_size"`
	Allocated  int64   `json:"total_allocated"`

	Raw json.RawMessage `json:"-"` // as the server sent it
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *View) UnmarshalJSON(b []byte) error {
	type plain View
	v.Raw = append(v.Raw[:0], b...)
	return json.Unmarshal(b, (*plain)(v))
}

// Views are those that the key may read, by name, whatever view the Client asks. more: the server has more than it lists.
func (c *Client) Views(ctx context.Context) (views []View, more bool, err error) {
	q := url.Values{}
	if c.explain {
		q.Set("explain", "true")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server.String()+"/api/v1/views?"+q.Encode(), nil)
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.send(ctx, req, "application/json")
	if err != nil {
		return nil, false, err
	}
	if cost, ok := costOfHeader(resp.Header); ok && c.explain {
		c.costs.add(cost)
	}
	var a struct {
		Views []View `json:"views"`
		More  bool   `json:"more"`
	}
	err = decodeJSON("/views", resp, &a, "views")
	return a.Views, a.More, err
}
