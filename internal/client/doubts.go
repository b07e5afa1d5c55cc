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

// Found is an entry of the doubtful ones, as the server sends it, and what the command line shows of it.
type Found struct {
	Raw          json.RawMessage `json:"-"`
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

// Session is one that feeds the view.
type Session struct {
	Raw          json.RawMessage `json:"-"`
	ID           string          `json:"session_id"`
	Task         string          `json:"task_id"`
	Agent        string          `json:"agent_id"`
	Source       string          `json:"source_uri"`
	Role         string          `json:"role"`
	Paused       bool            `json:"paused"`
	Coverage     string          `json:"coverage"`      // realtime, realtime-hotset, audit-only; empty: not told yet
	LastActivity float64         `json:"last_activity"` // Unix seconds
	CreatedAt    float64         `json:"created_at"`
	// Status is nil before the first heartbeat.
	Status *pipeapi.AgentStatus `json:"agent_status"`
	// Silence is nil unless the session leads and gets nothing done, or lost the lease for that.
	Silence *Silence `json:"silence"`
}

// Silence is how a session got nothing done while it led.
type Silence struct {
	Since  float64 `json:"since"` // Unix seconds
	Reason string  `json:"reason"`
}

// UnmarshalJSON keeps the session as it came.
func (s *Session) UnmarshalJSON(b []byte) error {
	type plain Session
	s.Raw = append(json.RawMessage(nil), b...)
	return json.Unmarshal(b, (*plain)(s))
}

// Sessions are those that feed the view, the oldest first.
func (c *Client) Sessions(ctx context.Context) ([]Session, error) {
	var a struct {
		Active []Session `json:"active_sessions"`
	}
	err := c.getJSON(ctx, "/sessions", url.Values{}, &a)
	return a.Active, err
}

// Job is a scan that a reader asked for, or a command to one session.
type Job struct {
	Raw         json.RawMessage `json:"-"`
	ID          string          `json:"job_id"`
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
	resp, err := c.send(ctx, req)
	if err != nil {
		return nil, err
	}
	var raw json.RawMessage
	var asked pipeapi.CommandAsked
	if err := decodeJSON("/commands", resp.Body, &raw); err != nil {
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
	err := c.getJSON(ctx, "/jobs", url.Values{"limit": {strconv.Itoa(limit)}}, &a)
	return a.Jobs, err
}

// Job reads one scan.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	j := &Job{}
	return j, c.getJSON(ctx, "/jobs/"+url.PathEscape(id), url.Values{}, j)
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

// getPage is getJSON with the answer's header. 202 is an answer, too.
func (c *Client) getPage(ctx context.Context, call string, q url.Values, v any) (http.Header, error) {
	resp, err := c.ask(ctx, call, q, "application/json")
	if err != nil {
		return nil, err
	}
	return resp.Header, decodeJSON(call, resp.Body, v)
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
