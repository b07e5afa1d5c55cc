//go:build !reading

package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Admin asks an ingest, or a `fustor up`, for what an administrator does. Its key needs the role admin.
type Admin struct {
	base, key, userAgent string
	http                 *http.Client
}

// NewAdmin makes an Admin; Options.View does not matter. It sends nothing.
func NewAdmin(o Options) (*Admin, error) {
	c, err := New(o)
	if err != nil {
		return nil, err
	}
	return &Admin{base: strings.TrimSuffix(c.pipe, "/api/v1/pipe") + admin.Prefix, key: o.Key, userAgent: o.UserAgent, http: c.http}, nil
}

// call sends body, if there is one, and decodes the answer, which must be an object with the fields, into out, unless that is nil.
func (a *Admin) call(ctx context.Context, method, path string, body []byte, out any, fields ...string) error {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.key != "" {
		req.Header.Set("X-API-Key", a.key)
	}
	if a.userAgent != "" {
		req.Header.Set("User-Agent", a.userAgent)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return unreachable(ctx, req.URL, err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return problem(resp)
	}
	if out == nil && resp.StatusCode == http.StatusNoContent {
		return resp.Body.Close()
	}
	var kinds []string
	if out != nil {
		kinds = []string{"application/json"}
	}
	if err := httpclient.CheckType(resp, kinds...); err != nil {
		resp.Body.Close()
		return err
	}
	return decodeJSON(path, resp, out, fields...)
}

func ofView(view, rest string) string { return "/views/" + url.PathEscape(view) + rest }

// Views are those that the key is for.
func (a *Admin) Views(ctx context.Context) ([]admin.View, error) {
	var answer admin.ViewList
	err := a.call(ctx, http.MethodGet, "/views", nil, &answer, "views")
	return answer.Views, err
}

// View is one of them.
func (a *Admin) View(ctx context.Context, view string) (v admin.View, err error) {
	return v, a.call(ctx, http.MethodGet, ofView(view, ""), nil, &v, "view_id")
}

// CreateView gives a new view its settings: fields is a JSON object with those that differ from the defaults.
func (a *Admin) CreateView(ctx context.Context, view string, fields []byte) (c viewconfig.Config, err error) {
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(fields, &all); err != nil {
		return c, err
	}
	all["view_id"] = json.RawMessage(strconv.Quote(view))
	body, err := json.Marshal(all)
	if err != nil {
		return c, err
	}
	return c, a.call(ctx, http.MethodPost, "/views", body, &c, "view_id")
}

// ConfigureView changes the fields that are given.
func (a *Admin) ConfigureView(ctx context.Context, view string, fields []byte) (c viewconfig.Config, err error) {
	return c, a.call(ctx, http.MethodPatch, ofView(view, ""), fields, &c, "view_id")
}

// DeleteView removes a view, and returns how many objects that removed.
func (a *Admin) DeleteView(ctx context.Context, view string) (int, error) {
	var answer admin.RemovedView
	err := a.call(ctx, http.MethodDelete, ofView(view, ""), nil, &answer, "objects")
	return answer.Objects, err
}

// Reset starts a view over.
func (a *Admin) Reset(ctx context.Context, view string) (string, error) {
	var answer admin.RestartedView
	err := a.call(ctx, http.MethodPost, ofView(view, "/reset"), nil, &answer, "epoch")
	return answer.Epoch, err
}

// Sessions are a view's.
func (a *Admin) Sessions(ctx context.Context, view string) ([]admin.Session, error) {
	var answer admin.SessionList
	err := a.call(ctx, http.MethodGet, ofView(view, "/sessions"), nil, &answer, "sessions")
	return answer.Sessions, err
}

// EndSession ends one of them.
func (a *Admin) EndSession(ctx context.Context, view, id string) error {
	return a.call(ctx, http.MethodDelete, ofView(view, "/sessions/"+url.PathEscape(id)), nil, nil)
}

// History is a view's newest versions.
func (a *Admin) History(ctx context.Context, view string, limit int) (*admin.History, error) {
	var h admin.History
	return &h, a.call(ctx, http.MethodGet, ofView(view, fmt.Sprintf("/versions?limit=%d", limit)), nil, &h, "view_id")
}

// Pin keeps a version by name: that with a number, or of a time (ns), or the newest where both are 0.
func (a *Admin) Pin(ctx context.Context, view, name string, number uint64, at int64) (p admin.Pinned, err error) {
	q := url.Values{}
	if number > 0 {
		q.Set("version", strconv.FormatUint(number, 10))
	}
	if at != 0 {
		q.Set("as_of", "@"+values.Seconds(at).String())
	}
	return p, a.call(ctx, http.MethodPut, ofView(view, "/pins/"+url.PathEscape(name)+"?"+q.Encode()), nil, &p, "version")
}

// Unpin takes a pin away.
func (a *Admin) Unpin(ctx context.Context, view, name string) error {
	return a.call(ctx, http.MethodDelete, ofView(view, "/pins/"+url.PathEscape(name)), nil, nil)
}

// Retain removes what no version needs; with dry it only reports what it would remove.
func (a *Admin) Retain(ctx context.Context, view string, dry bool) ([]admin.Removal, error) {
	var answer admin.RemovalList
	err := a.call(ctx, http.MethodPost, ofView(view, fmt.Sprintf("/retention?dry_run=%t", dry)), nil, &answer, "removed")
	return answer.Removed, err
}

// Keys are those for the views that the key is for.
func (a *Admin) Keys(ctx context.Context) ([]admin.Key, error) {
	var answer admin.KeyList
	err := a.call(ctx, http.MethodGet, "/keys", nil, &answer, "keys")
	return answer.Keys, err
}

// CreateKey makes one.
func (a *Admin) CreateKey(ctx context.Context, n admin.NewKey) (k admin.MadeKey, err error) {
	body, err := json.Marshal(n)
	if err != nil {
		return k, err
	}
	return k, a.call(ctx, http.MethodPost, "/keys", body, &k, "id", "api_key")
}

// RevokeKey takes one away, by its id or name.
func (a *Admin) RevokeKey(ctx context.Context, word string) (k admin.Key, err error) {
	return k, a.call(ctx, http.MethodDelete, "/keys/"+url.PathEscape(word), nil, &k, "id")
}
