// Package send carries segments to where they are kept, and speaks the pipe side of the HTTP API for the agent.
//
// A Sender returns nil only once the segment is durable; sending one again is harmless. Store writes to an object store
// the agent has credentials for, Ingest uploads through ingest, or to what ingest presigns. Client is the other calls:
// sessions and heartbeats. Nothing here retries, and of earlier requests only Ingest knows something: its grants, and
// whether presigned uploads work. Package agent decides all else.
package send

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/trace"
)

// What the agent decides on.
var (
	// ErrSessionGone: the session has ended (419), or was never known.
	ErrSessionGone = errors.New("the session is gone")
	// ErrTaken: the task has a live session, or the view takes one session only and has it (409).
	ErrTaken = errors.New("it conflicts with another session")
	// ErrRefused: the key, or the view, is wrong (401, 403). It needs a person.
	ErrRefused = errors.New("ingest refuses this key or view")
	// ErrUnacceptable: the server does not accept what was sent, and will not until it or the configuration is changed.
	ErrUnacceptable = errors.New("the server does not accept it")
)

// Client calls the pipe side of an ingest.
type Client struct {
	base *url.URL
	key  string
	view string
	http *http.Client
	mark Clock

	// Secret goes with every request, so that the sessions that it makes are this client's alone. Set it before the first.
	Secret string
}

// Clock takes in the server's time of every answer.
type Clock interface {
	Reading() int64
	Measure(sent, server int64)
}

// NewClient makes a client of the ingest at base, such as "http://127.0.0.1:8080", for one view. A nil client is
// http.DefaultClient; Handler makes one that calls a handler in this process. The clock may be nil.
func NewClient(base, key, view string, client *http.Client, clock Clock) (*Client, error) {
	u, err := httpclient.ParseURL(base)
	if err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	if err := httpclient.CheckKey(key); err != nil {
		return nil, err
	}
	return &Client{base: u, key: key, view: view, http: httpclient.New(client), mark: clock}, nil
}

// KeyView is the view that the key is for; empty where it is for several.
func (c *Client) KeyView(ctx context.Context) (string, error) {
	var answer pipeapi.Authorized
	err := c.call(ctx, http.MethodGet, "/api/v1/pipe/session/", nil, &answer, "status")
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusBadRequest {
		return "", nil // it wants a view named
	}
	if err != nil {
		return "", fmt.Errorf("ask which view the key is for: %w", err)
	}
	if answer.CanFeed != nil && !*answer.CanFeed {
		return "", &StatusError{Status: http.StatusForbidden, Detail: `the API key does not allow an agent to feed the view (use a key with the role "ingest")`}
	}
	return answer.View, nil
}

// CreateSession registers the agent with the view.
func (c *Client) CreateSession(ctx context.Context, r pipeapi.Registration) (pipeapi.Session, error) {
	var s pipeapi.Session
	err := c.call(ctx, http.MethodPost, "/api/v1/pipe/session/", r, &s, "session_id")
	if err != nil {
		return pipeapi.Session{}, fmt.Errorf("create session: %w", err)
	}
	return s, nil
}

// Heartbeat proves that the session lives, and renews its lease if it leads.
func (c *Client) Heartbeat(ctx context.Context, session string, h pipeapi.Heartbeat) (pipeapi.Beat, error) {
	var b pipeapi.Beat
	if err := c.call(ctx, http.MethodPost, "/api/v1/pipe/session/"+url.PathEscape(session)+"/heartbeat", h, &b, "role"); err != nil {
		return pipeapi.Beat{}, fmt.Errorf("heartbeat: %w", err)
	}
	return b, nil
}

// Commands waits for commands, up to a time; none is no error.
func (c *Client) Commands(ctx context.Context, session string, wait time.Duration) ([]job.Command, error) {
	var answer pipeapi.Commands
	query := url.Values{"wait": {strconv.Itoa(int(wait / time.Second))}}
	if err := c.ask(ctx, http.MethodGet, "/api/v1/pipe/session/"+url.PathEscape(session)+"/commands", query, nil, &answer, "commands"); err != nil {
		return nil, fmt.Errorf("wait for commands: %w", err)
	}
	return answer.Commands, nil
}

// ReportJob says how far a job is.
func (c *Client) ReportJob(ctx context.Context, session, id string, r job.Report) error {
	err := c.call(ctx, http.MethodPost, "/api/v1/pipe/session/"+url.PathEscape(session)+"/jobs/"+url.PathEscape(id), r, nil, "status")
	if err != nil {
		return fmt.Errorf("report on job %s: %w", id, err)
	}
	return nil
}

// Suspects are the files that ingest wants looked at, as paths.
func (c *Client) Suspects(ctx context.Context) ([]string, error) {
	var answer pipeapi.SentinelTasks
	if err := c.call(ctx, http.MethodGet, "/api/v1/pipe/consistency/sentinel/tasks", nil, &answer); err != nil {
		return nil, fmt.Errorf("ask for suspects: %w", err)
	}
	for i, p := range answer.PathsBytes {
		if i < len(answer.Paths) {
			answer.Paths[i] = string(p)
		}
	}
	return answer.Paths, nil
}

// CloseSession ends the session and releases its lease. It is idempotent.
func (c *Client) CloseSession(ctx context.Context, session string) error {
	err := c.call(ctx, http.MethodDelete, "/api/v1/pipe/session/"+url.PathEscape(session), nil, nil, "status")
	if err != nil && !errors.Is(err, ErrSessionGone) {
		return fmt.Errorf("close session: %w", err)
	}
	return nil
}

// call sends one JSON request and decodes its answer, an object that must have the fields, into out, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any, fields ...string) error {
	return c.ask(ctx, method, path, nil, in, out, fields...)
}

func (c *Client) ask(ctx context.Context, method, path string, query url.Values, in, out any, fields ...string) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	answer, err := c.do(ctx, method, path, query, "application/json", body, fields...)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// do sends one request and returns the body of a 2xx answer, a JSON object that has the fields.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, contentType string, body io.Reader, fields ...string) ([]byte, error) {
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	if query == nil {
		query = url.Values{}
	}
	if c.view != "" {
		query.Set("view", c.view)
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if c.key != "" {
		req.Header.Set("X-API-Key", c.key)
	}
	if c.Secret != "" {
		req.Header.Set(pipeapi.SecretHeader, c.Secret)
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	ctx, span := trace.Within(ctx, trace.Client, method, trace.Text("http.request.method", method), trace.Text("server.address", u.Host))
	defer span.End()
	trace.Inject(ctx, req.Header)
	var sent int64
	if c.mark != nil {
		sent = c.mark.Reading()
	}
	resp, err := c.http.Do(req)
	if err != nil {
		span.Failed("no answer")
		return nil, err
	}
	span.Is(trace.Number("http.response.status_code", int64(resp.StatusCode)))
	defer resp.Body.Close()
	const limit = 4 << 20
	answer, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	c.measure(sent, answer)
	if resp.StatusCode/100 != 2 {
		return nil, problemOf(resp, answer)
	}
	if err := httpclient.CheckType(resp, "application/json"); err != nil {
		return nil, err
	}
	if missing := httpclient.Missing(answer, fields...); missing != "" {
		return nil, httpclient.Lacking(resp.Request.URL, missing)
	}
	return answer, nil
}

func (c *Client) measure(sent int64, answer []byte) {
	var stamp pipeapi.Timed
	if c.mark != nil && json.Unmarshal(answer, &stamp) == nil && stamp.ServerTime > 0 {
		c.mark.Measure(sent, stamp.ServerTime)
	}
}

// StatusError is an answer outside 2xx.
type StatusError struct {
	Status     int
	Server     string        // who answered; empty: ingest
	Detail     string        // the server's words
	RetryAfter time.Duration // as the server asks; 0 if it does not
}

func (e *StatusError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("%s answers %d %s", cmp.Or(e.Server, "ingest"), e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("%s answers %d: %s", cmp.Or(e.Server, "ingest"), e.Status, e.Detail)
}

// Is makes errors.Is know the answers that the agent decides on.
func (e *StatusError) Is(target error) bool {
	switch target {
	case ErrSessionGone:
		return e.Status == 419
	case ErrTaken:
		return e.Status == http.StatusConflict
	case ErrRefused:
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
	}
	return false
}

func problemOf(resp *http.Response, answer []byte) error {
	var p struct {
		Detail string `json:"detail"`
		Hint   string `json:"hint"`
	}
	_ = json.Unmarshal(answer, &p) // a proxy's page is no JSON; the status says enough
	e := &StatusError{Status: resp.StatusCode, Detail: p.Detail, RetryAfter: RetryAfter(resp.Header)}
	if p.Hint != "" {
		e.Detail += " (" + p.Hint + ")"
	}
	return e
}

// RetryAfter is how long an answer asks to wait, in seconds or until a date; 0 if it does not.
func RetryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if s, err := strconv.Atoi(text); err == nil {
		return max(0, time.Duration(min(s, 86400))*time.Second)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
