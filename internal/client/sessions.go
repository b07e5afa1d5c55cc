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
	sessions, _, err := c.SessionsAndMounts(ctx)
	return sessions, err
}

// Mount is a path where hosts mount the view's root, by the view's settings.
type Mount struct {
	Member string `json:"member"` // of a forest: the view whose root it is
	Path   string `json:"path"`
}

// SessionsAndMounts are the sessions, whose sources are mounts, and the other mounts. Earlier servers send none.
func (c *Client) SessionsAndMounts(ctx context.Context) ([]Session, []Mount, error) {
	var a struct {
		Active []Session `json:"active_sessions"`
		Mounts []Mount   `json:"mounts"`
	}
	err := c.getJSON(ctx, "/sessions", url.Values{}, &a, "active_sessions")
	return a.Active, a.Mounts, err
}
