// Package client is the Go client of Fustor's reading HTTP API, by which the reading commands ask a query handler.
//
// Paths are bytes: any path that is not UTF-8 travels as path_b64, in both directions, and a Node has it as it is on
// disk. Long answers are streams: they call back per entry and hold one line in memory. An answer that stops before its
// end is an error, never a short answer. A Client is safe for concurrent use.
package client

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/unixsocket"
)

// Options are what a Client needs to know.
type Options struct {
	URL       string       // of the server: http://host:port, with or without a path below it, or unix:/path of a socket
	Key       string       // sent as X-API-Key; empty: none
	View      string       // the view that is asked
	Ingest    string       // optional; the ingest to give commands to, where it is not behind URL
	UserAgent string       // optional
	Explain   bool         // ask what each call costs, for Cost
	As        string       // the user as whom an administrator asks; empty: none
	AsOf      string       // which version is read, as docs/api.md has as_of; empty: the current one
	HTTP      *http.Client // optional; nil: one without a time limit, as streams may take long
}

// Client asks one view of one server.
type Client struct {
	server    *url.URL
	base      string
	pipe      string // the pipe side: of the ingest
	view      string
	key       string
	userAgent string
	http      *http.Client
	explain   bool
	as        string
	asOf      string
	costs     costs
	members   members // of a forest

	unreadable atomic.Int64
	answered   atomic.Pointer[Answered] // by which version the last call was
}

// New makes a Client. It sends nothing.
func New(o Options) (*Client, error) {
	socket, isSocket := unixsocket.PathOf(o.URL)
	if isSocket {
		if err := unixsocket.CheckPath(socket); err != nil {
			return nil, err
		}
		o.URL = socketURL
	}
	u, err := httpclient.ParseURL(o.URL)
	if err != nil {
		return nil, err
	}
	ingest, err := httpclient.ParseURL(cmp.Or(o.Ingest, o.URL))
	if err != nil {
		return nil, err
	}
	if err := httpclient.CheckKey(o.Key); err != nil {
		return nil, err
	}
	c := &Client{server: u, key: o.Key, userAgent: o.UserAgent, view: o.View, explain: o.Explain, as: o.As, asOf: o.AsOf}
	c.base, c.pipe = u.String()+"/api/v1/views/"+url.PathEscape(o.View), ingest.String()+"/api/v1/pipe"
	if o.HTTP == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		// On this machine compression costs more than it saves.
		transport.DisableCompression = loopback(u.Hostname()) || isSocket
		if isSocket {
			atSocket(transport, socket)
		}
		o.HTTP = &http.Client{Transport: transport}
	}
	c.http = httpclient.New(o.HTTP)
	return c, nil
}

// At is a Client of the same server and view whose calls read a version by its number.
func (c *Client) At(version uint64) *Client {
	return &Client{server: c.server, http: c.http, key: c.key, userAgent: c.userAgent, as: c.as, base: c.base, pipe: c.pipe, view: c.view,
		asOf: strconv.FormatUint(version, 10)}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// setPath puts a path into the query as the API wants it.
func setPath(q url.Values, path string) {
	if utf8.ValidString(path) {
		q.Set("path", path)
		return
	}
	q.Set("path_b64", base64.RawURLEncoding.EncodeToString([]byte(path)))
}

// ask sends a call; the caller closes the answer's body.
func (c *Client) ask(ctx context.Context, call string, q url.Values, accept string) (*http.Response, error) {
	if c.explain {
		q.Set("explain", "true")
	}
	if c.asOf != "" && readsVersion(call) {
		q.Set("as_of", c.asOf)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+call+"?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	kinds := []string{"application/json"}
	if accept != "application/json" {
		kinds = streamTypes
	}
	resp, err := c.send(ctx, req, kinds...)
	if err != nil {
		return nil, err
	}
	if n, err := strconv.ParseInt(resp.Header.Get("Fustor-Unreadable"), 10, 64); err == nil {
		c.unreadable.Store(n)
	}
	if a, ok := answeredBy(resp.Header); ok {
		c.answered.Store(&a)
	}
	if cost, ok := costOfHeader(resp.Header); ok && c.explain && accept == "application/json" {
		c.costs.add(cost)
	}
	return resp, nil
}

// readsVersion reports whether a call is answered from one version of the view, and may ask for an earlier one.
func readsVersion(call string) bool {
	switch call {
	case "/tree", "/list", "/metadata", "/search", "/suspect-list", "/blind-spots":
		return true
	}
	return strings.HasPrefix(call, "/reports/")
}

// Unreadable is how many paths at or below the path of the last call the last scans could not read, 0 if all calls were about paths
// without any. What the answers list and sum up is what could be read.
func (c *Client) Unreadable() int64 { return c.unreadable.Load() }

// send sends a request with the key; the answer is of one of the media types. The caller closes its body.
func (c *Client) send(ctx context.Context, req *http.Request, kinds ...string) (*http.Response, error) {
	if c.key != "" {
		req.Header.Set("X-API-Key", c.key)
	}
	if c.as != "" {
		req.Header.Set("Fustor-As", c.as)
	}
	if c.userAgent != "" {
		req.Header.Set("User-Agent", c.userAgent)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(ctx, req.URL, err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted {
		defer resp.Body.Close()
		return nil, problem(resp)
	}
	if err := httpclient.CheckType(resp, kinds...); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// getJSON reads a whole answer of at most maxAnswer bytes into v. The answer must be an object with the fields.
func (c *Client) getJSON(ctx context.Context, call string, q url.Values, v any, fields ...string) error {
	_, err := c.getPage(ctx, call, q, v, fields...)
	return err
}

// decodeJSON reads a whole answer, which must be an object with the fields, into v.
func decodeJSON(call string, resp *http.Response, v any, fields ...string) error {
	raw, err := readAnswer(call, resp.Body)
	if err != nil {
		return err
	}
	if err := unmarshal(call, raw, v); err != nil {
		return err
	}
	if missing := httpclient.Missing(raw, fields...); missing != "" {
		return httpclient.Lacking(resp.Request.URL, missing)
	}
	return nil
}

func readAnswer(call string, body io.ReadCloser) ([]byte, error) {
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s: %w", call, err)
	}
	if len(raw) > maxAnswer {
		return nil, fmt.Errorf("the answer to %s is larger than %d bytes", call, maxAnswer)
	}
	return raw, nil
}

func unmarshal(call string, raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("the answer to %s is not a valid answer of a fustor server: %w", call, err)
	}
	return nil
}

// maxAnswer bounds an answer that is held in memory; pages are far below it.
const maxAnswer = 256 << 20

// getPage is getJSON with the answer's header. 202 is an answer, too. Pages are long: without fields, the caller checks what it got.
func (c *Client) getPage(ctx context.Context, call string, q url.Values, v any, fields ...string) (http.Header, error) {
	resp, err := c.ask(ctx, call, q, "application/json")
	if err != nil {
		return nil, err
	}
	raw, err := readAnswer(call, resp.Body)
	if err != nil {
		return nil, err
	}
	c.members.noteBody(resp.Header, raw)
	if err := unmarshal(call, raw, v); err != nil {
		return nil, err
	}
	if len(fields) == 0 {
		return resp.Header, nil
	}
	if missing := httpclient.Missing(raw, fields...); missing != "" {
		return nil, httpclient.Lacking(resp.Request.URL, missing)
	}
	return resp.Header, nil
}
