package client

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/fustor/fustor/internal/pipeapi"
)

// Session is one that feeds the view.
type Session struct {
	Raw          json.RawMessage `json:"-"`
	Member       string          `json:"member"` // of a forest: the view that it feeds
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
	a, err := c.Feeding(ctx)
	return a.Sessions, err
}

// Mount is a path where hosts mount the view's root, by the view's settings.
type Mount struct {
	Member string `json:"member"` // of a forest: the view whose root it is
	Path   string `json:"path"`
}

// Refusal is a segment that was refused, as a whole or in part.
type Refusal struct {
	Member  string  `json:"member"`
	Segment string  `json:"segment"`
	Agent   string  `json:"agent_id"`
	Reason  string  `json:"reason"`
	Names   uint64  `json:"names_left_out"`
	At      float64 `json:"refused_at"` // Unix seconds
}

// Feeding is who feeds the view, the oldest first, whose sources are mounts; the other mounts; and what was refused, the newest first.
// Earlier servers send sessions alone.
type Feeding struct {
	Sessions []Session `json:"active_sessions"`
	Mounts   []Mount   `json:"mounts"`
	Refused  []Refusal `json:"refused"`
}

// Feeding is who feeds the view, and what was refused.
func (c *Client) Feeding(ctx context.Context) (a Feeding, err error) {
	err = c.getJSON(ctx, "/sessions", url.Values{}, &a, "active_sessions")
	return a, err
}
