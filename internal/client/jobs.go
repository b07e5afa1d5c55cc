package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/pipeapi"
)

// Job is a scan that a reader asked for, or a command to one session.
type Job struct {
	Raw         json.RawMessage `json:"-"`
	ID          string          `json:"job_id"`
	View        string          `json:"view_id"`
	Command     string          `json:"command"`
	Target      string          `json:"target_session_id"`
	Note        string          `json:"note"`
	Path        string          `json:"path"`
	PathB64     string          `json:"path_b64"`
	State       string          `json:"state"` // queued, running, folding, done, failed
	Error       string          `json:"error"`
	Files       int64           `json:"files"`
	Directories int64           `json:"directories"`
	Errors      int64           `json:"errors"`
	RequestedAt float64         `json:"requested_at"` // Unix seconds
	FinishedAt  *float64        `json:"finished_at"`
}

// UnmarshalJSON keeps the job as it came.
func (j *Job) UnmarshalJSON(b []byte) error {
	type plain Job
	if err := json.Unmarshal(b, (*plain)(j)); err != nil {
		return err
	}
	j.Raw = append(json.RawMessage(nil), b...)
	exact, err := exactPath(j.Path, j.PathB64)
	j.Path = exact
	return err
}

// Ended reports whether nothing more will come of the job.
func (j *Job) Ended() bool { return j.State == "done" || j.State == "failed" }

// MarshalJSON gives the job as it came.
func (j *Job) MarshalJSON() ([]byte, error) { return j.Raw, nil }

// Order is what the agent of one session is to do.
type Order struct {
	Command   string // pause, resume, stop, reload, scan
	Path      string // of a scan
	Recursive bool
}

// Command has the agent of a session do something. It returns at once; Job says what becomes of it.
func (c *Client) Command(ctx context.Context, session string, o Order) (*Job, error) {
	body := pipeapi.CommandRequest{Command: o.Command}
	if o.Command == job.Scan {
		path := base64.RawURLEncoding.EncodeToString([]byte(o.Path))
		body.PathB64, body.Recursive = &path, &o.Recursive
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	to := c.pipe + "/session/" + url.PathEscape(session) + "/commands?" + url.Values{"view": {c.view}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.send(ctx, req, "application/json")
	if err != nil {
		return nil, err
	}
	var raw json.RawMessage
	var asked pipeapi.CommandAsked
	if err := decodeJSON("/commands", resp, &raw, "job_id"); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &asked); err != nil {
		return nil, fmt.Errorf("read the answer of /commands: %w", err)
	}
	return &Job{Raw: raw, ID: asked.Job, Command: asked.Command, Path: asked.Path, State: string(asked.State)}, nil
}

// Jobs are the scans that readers asked for, the newest first.
func (c *Client) Jobs(ctx context.Context, limit int) ([]Job, error) {
	var a struct {
		Jobs []Job `json:"jobs"`
	}
	err := c.getJSON(ctx, "/jobs", url.Values{"limit": {strconv.Itoa(limit)}}, &a, "jobs")
	return a.Jobs, err
}

// Job reads one scan.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	j := &Job{}
	return j, c.getJSON(ctx, "/jobs/"+url.PathEscape(id), url.Values{}, j, "job_id")
}

// Scan has the view's leader look at path, and at everything below it if recursive.
func (c *Client) Scan(ctx context.Context, path string, recursive bool) (*Job, error) {
	q := url.Values{"on_demand_scan": {"true"}, "only_path": {"true"}, "limit": {"1"}, "recursive": {strconv.FormatBool(recursive)}}
	setPath(q, path)
	var a struct {
		Job *Job `json:"job"`
	}
	if _, err := c.getPage(ctx, "/tree", q, &a); err != nil {
		return nil, err
	}
	if a.Job == nil {
		return nil, fmt.Errorf("the server did not start the scan: it is older than this fustor")
	}
	return a.Job, nil
}
