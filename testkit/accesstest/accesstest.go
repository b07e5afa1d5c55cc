// Package accesstest holds every call of an OpenAPI document to the rules of access: no or an unknown key is 401, a key of
// another role or for another view 403. Tests of ingest and query use it, so that no route can be added without.
package accesstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/store"
)

// Asked is the view that every call is about; Other is the one that the wrong keys are for.
// Member may be made a member of Asked: the keys for Asked are for it, too.
const (
	Asked  = "research"
	Other  = "other"
	Member = "research-1"
)

// Keys are a key for every role and set of views, by "role/view"; "*" stands for all views.
type Keys map[string]string

// NewKeys registers them in a store.
func NewKeys(t testing.TB, s store.Store) Keys {
	t.Helper()
	keys := Keys{}
	for _, role := range []access.Role{access.Ingest, access.Query, access.Admin} {
		for name, views := range map[string]access.Views{"*": access.AllViews, Asked: {Names: []string{Asked, Member}}, Other: {Names: []string{Other}}} {
			id := string(role) + "/" + name
			keys[id] = access.GenerateKey()
			if err := access.Register(t.Context(), s, keys[id], access.Record{Name: id, Roles: []access.Role{role}, Views: views}); err != nil {
				t.Fatal(err)
			}
		}
	}
	keys[user] = access.GenerateKey()
	if err := access.Register(t.Context(), s, keys[user], access.Record{Name: "user", Roles: []access.Role{access.Query}, Views: access.AllViews, As: "1001:100"}); err != nil {
		t.Fatal(err)
	}
	if err := access.Register(t.Context(), s, access.GenerateKey(), access.Record{Name: victim, Roles: []access.Role{access.Query}, Views: access.Views{Names: []string{Asked}}}); err != nil {
		t.Fatal(err)
	}
	return keys
}

// user is a key for what a user may see.
const user = "user"

// victim is the name of the key that calls ask to revoke.
const victim = "victim"

// listsOwn are the calls that answer any key of their role, and must show nothing of other views.
var listsOwn = map[string]bool{
	"GET /api/v1/admin/views": true, "GET /api/v1/admin/settings": true, "GET /api/v1/admin/cost": true, "GET /api/v1/admin/keys": true, "DELETE /api/v1/admin/keys/{key_id}": true,
	"GET /iceberg/v1/config": true, "GET /iceberg/v1/namespaces": true, "GET /iceberg/v1/namespaces/{namespace}": true, "GET /iceberg/v1/namespaces/{namespace}/tables": true,
	"GET /iceberg/v1/namespaces/{namespace}/views": true,
}

// role is the role that a call asks for; empty: any key will do, as it is about no view.
func role(method, path string) access.Role {
	path = nativePath(path)
	switch {
	case strings.HasPrefix(path, "/api/v1/admin/"), method == http.MethodDelete && strings.HasSuffix(path, "/reset"),
		method == http.MethodPost && strings.HasSuffix(path, "/commands"):
		return access.Admin
	case strings.HasPrefix(path, "/api/v1/pipe/"):
		return access.Ingest
	case strings.HasPrefix(path, "/api/v1/views/"), strings.HasPrefix(path, httpapi.IcebergPrefix+"/"):
		return access.Query
	}
	return ""
}

// readersToo is the call of the pipe side that any key may ask which view it is for.
const readersToo = "GET /api/v1/pipe/session"

var wildcard = regexp.MustCompile(`\{(\w+)\}`)

// Check sends every call of the document to h, with all kinds of wrong keys and with a right one. It returns how many
// calls it knows.
func Check(t *testing.T, document []byte, h http.Handler, keys Keys) (calls int) {
	t.Helper()
	var d struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	for path, methods := range d.Paths {
		for method := range methods {
			calls++
			c := call{t: t, handler: h, keys: keys, method: strings.ToUpper(method), path: path}
			c.check()
		}
	}
	return calls
}

// CheckRoutes is Check for calls that no document lists: those of Fustor V2's clients, under /v2.
func CheckRoutes(t *testing.T, routes []httpapi.Route, h http.Handler, keys Keys) (calls int) {
	t.Helper()
	for _, r := range routes {
		calls++
		call{t: t, handler: h, keys: keys, method: r.Method, path: r.Pattern}.check()
	}
	return calls
}

// nativePath is the path of the native call that asks for the same role.
func nativePath(path string) string {
	if below, ok := strings.CutPrefix(path, "/v2"); ok {
		return "/api/v1" + strings.TrimPrefix(below, "/api/v1")
	}
	return path
}

// greetings answer anybody, and say only that there is a server.
var greetings = map[string]bool{"/healthz": true, "/v2": true, "/v2/api/v1": true}

// CheckSecret sends every reading call about the view Asked with a key, and fails if an answer has a text: that of a member of a forest
// that the key is not for.
func CheckSecret(t *testing.T, document []byte, h http.Handler, key, secret string) {
	t.Helper()
	var d struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	n := 0
	for path, methods := range d.Paths {
		if methods["get"] == nil || !strings.HasPrefix(path, "/api/v1/views/") {
			continue
		}
		n++
		c := call{t: t, handler: h, method: http.MethodGet, path: path}
		for _, accept := range []string{"application/json", "application/x-ndjson"} {
			switch status, body := c.sendAs(key, accept); {
			case strings.Contains(body, secret):
				t.Errorf("GET %s shows what the key is not for: %s", path, body)
			case status != http.StatusOK && status != http.StatusNotFound && !(status == http.StatusConflict && ofOneView[path]): // there is no such job
				t.Errorf("GET %s with a key for one member: %d %s", path, status, body)
			}
		}
	}
	if n < 16 {
		t.Errorf("only %d reading calls are documented", n)
	}
}

// ofOneView are the calls that forests refuse.
var ofOneView = map[string]bool{"/api/v1/views/{view_id}/diff": true, "/api/v1/views/{view_id}/changes": true, "/api/v1/views/{view_id}/complete": true,
	"/api/v1/views/{view_id}/log": true, "/api/v1/views/{view_id}/access": true}

type call struct {
	t            *testing.T
	handler      http.Handler
	keys         Keys
	method, path string
}

func (c call) check() {
	if greetings[c.path] {
		c.want("without a key", "", http.StatusOK)
		return
	}
	c.want("without a key", "", http.StatusUnauthorized)
	c.want("with an unknown key", access.GenerateKey(), http.StatusUnauthorized)
	needed := role(c.method, c.path)
	if needed == "" {
		return
	}
	for _, other := range []access.Role{access.Ingest, access.Query, access.Admin} {
		if other == access.Query && c.method+" "+nativePath(c.path) == readersToo {
			c.want("with a key of the role query", c.keys[string(other)+"/*"], http.StatusOK)
			continue
		}
		if other != needed && other != access.Admin { // an admin may do everything
			c.want("with a key of the role "+string(other), c.keys[string(other)+"/*"], http.StatusForbidden)
		}
	}
	if needed != access.Query && c.method+" "+nativePath(c.path) != readersToo {
		c.want("with the key of a user", c.keys[user], http.StatusForbidden)
	}
	call := c.method + " " + c.path
	for _, with := range []access.Role{needed, access.Admin} {
		wrong := c.keys[string(with)+"/"+Other]
		if listsOwn[call] {
			if status, body := c.send(wrong); strings.Contains(body, `"`+Asked) || strings.Contains(body, `"`+victim+`"`) || status != http.StatusOK && status != http.StatusNotFound {
				c.t.Errorf("%s with a key for another view: %d %s", call, status, body)
			}
			continue
		}
		c.want("with a key for another view", wrong, http.StatusForbidden)
	}
	if status, body := c.send(c.keys[string(needed)+"/"+Asked]); status == http.StatusUnauthorized || status == http.StatusForbidden {
		c.t.Errorf("%s with the right key: %d %s", call, status, body)
	}
}

func (c call) want(what, key string, status int) {
	c.t.Helper()
	if got, body := c.send(key); got != status {
		c.t.Errorf("%s %s %s: %d, not %d: %s", c.method, c.path, what, got, status, body)
	}
}

// send sends the call, about the view Asked.
func (c call) send(key string) (int, string) { return c.sendAs(key, "") }

// calls are how many were made.
var calls atomic.Uint32

func (c call) sendAs(key, accept string) (int, string) {
	path := strings.Replace(c.path, "/v2/api/v1/pipe/pipes/{id}", "/v2/api/v1/pipe/pipes/"+Asked, 1) // a pipe of V2 is a view
	path = strings.Replace(path, "/v2/pipe/pipes/{id}", "/v2/pipe/pipes/"+Asked, 1)
	target := wildcard.ReplaceAllStringFunc(path, func(w string) string {
		switch strings.Trim(w, "{}") {
		case "view_id", "table", "view":
			return Asked
		case "namespace":
			return "fustor"
		case "key_id":
			return victim
		case "seq":
			return "0"
		}
		return "nothing"
	})
	if strings.HasPrefix(nativePath(c.path), "/api/v1/pipe/") {
		target += "?view=" + Asked
	}
	var body []byte
	switch c.method + " " + c.path {
	case "POST /api/v1/admin/views":
		body = []byte(`{"view_id":"` + Asked + `"}`)
	case "POST /api/v1/admin/keys":
		body = []byte(`{"name":"new","roles":["query"],"views":["` + Asked + `"]}`)
	}
	r := httptest.NewRequest(c.method, target, bytes.NewReader(body))
	// Each call comes from an address of its own, as there is a limit on the wrong keys of one.
	n := calls.Add(1)
	r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1234", n>>16&0xff, n>>8&0xff, n&0xff)
	if key != "" {
		r.Header.Set("X-API-Key", key)
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	if strings.HasSuffix(c.path, "/search") && accept != "" {
		r.URL.RawQuery = "pattern=*"
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}
