package v2api

import (
	"encoding/json"

	"github.com/fustor/fustor/internal/pipeapi"
)

// Create is the body that creates a session.
type Create struct {
	Task    string             `json:"task_id"`
	Source  string             `json:"source_type"`
	Info    pipeapi.ClientInfo `json:"client_info"`
	Timeout *float64           `json:"session_timeout_seconds,omitempty"`
}

// Created answers it.
type Created struct {
	Session  string  `json:"session_id"`
	Role     string  `json:"role"` // leader or follower
	Timeout  float64 `json:"session_timeout_seconds"`
	Audit    float64 `json:"audit_interval_sec"`
	Sentinel float64 `json:"sentinel_interval_sec"`
	Message  string  `json:"message"`
}

// Heartbeat is the body of a heartbeat.
type Heartbeat struct {
	CanRealtime *bool           `json:"can_realtime"`
	Status      json.RawMessage `json:"agent_status"` // AgentStatus reads it
}

// Beaten answers it.
type Beaten struct {
	Status   string    `json:"status"`
	Role     string    `json:"role"`
	Commands []Command `json:"commands"`
}

// Command is what an agent is to do. V2's agents report on a scan alone.
type Command struct {
	Type      string  `json:"type"` // scan, stop_pipe, reload_config
	Path      Text    `json:"path,omitempty"`
	Recursive *bool   `json:"recursive,omitempty"`
	Job       string  `json:"job_id,omitempty"`
	Pipe      string  `json:"pipe_id,omitempty"`
	Created   float64 `json:"created_at,omitempty"` // seconds since 1970
}

// Accepted answers a batch of events.
type Accepted struct {
	Status  string `json:"status"`
	Count   int    `json:"count"`
	Success *bool  `json:"success,omitempty"` // on the alias /pipe/{id}/events
	Phase   string `json:"phase,omitempty"`   // of a job that is complete
}

// Feedback is what a sentinel found.
type Feedback struct {
	Type    string  `json:"type"` // suspect_update
	Updates []Found `json:"updates"`
}

// Found is one path that a sentinel looked at.
type Found struct {
	Path   Text    `json:"path"`
	Mtime  Time    `json:"mtime"`
	Size   Integer `json:"size,omitzero"`
	Status string  `json:"status"` // exists or missing
}

// The statuses of Found; SDKs of old leave it out, and what they found says nothing.
const (
	Exists  = "exists"
	Missing = "missing"
)

// Check says what is wrong with it beside its path; at is its place.
func (u *Found) Check(at string) error {
	switch {
	case u.Status != "" && u.Status != Exists && u.Status != Missing:
		return &FieldError{at + ".status", "is neither exists nor missing"}
	case u.Status == Exists && !u.Mtime.Given:
		return &FieldError{at + ".mtime", "is missing"}
	case u.Size.Value < 0:
		return &FieldError{at + ".size", "is negative"}
	}
	return nil
}

// Row is what was found as a row, of one that exists.
func (u *Found) Row() Row { return Row{Path: u.Path, Size: u.Size, Modified: u.Mtime} }

// Tasks is what a sentinel is to look at; without a type there is nothing.
type Tasks struct {
	Type  string `json:"type,omitempty"` // suspect_check
	Paths []Text `json:"paths,omitempty"`
	View  string `json:"view_id,omitempty"`
}

// IsCreate reports whether a body that creates a session is V2's: it alone says what kind of source it has.
func IsCreate(body []byte) bool {
	var q struct {
		Source json.RawMessage `json:"source_type"`
	}
	return json.Unmarshal(body, &q) == nil && q.Source != nil
}
