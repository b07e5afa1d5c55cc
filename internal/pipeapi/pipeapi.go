// Package pipeapi is the pipe protocol: what an agent and ingest say to each other over HTTP, as Go types. Each message is
// declared here and nowhere else, so that a field cannot have one name for who writes it and another for who reads it.
//
// ingest decodes requests strictly: a field that is not here is refused. Agents take answers with further fields, which a newer
// ingest may send. Times are ns of the store's clock where the name ends in _ns, durations are seconds. docs/api-ingest.md
// describes the calls.
package pipeapi

import (
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
)

// Timed is in every answer.
type Timed struct {
	// ServerTime is the store's time, ns since 1970; left out where the store does not tell it.
	ServerTime int64 `json:"server_time_ns,omitempty"`
}

// SecretHeader carries the secret that an agent chose for its sessions. The request that creates a session has it, and from then on each
// that is made in the session's name; a session without is bound to the API key that made it.
const SecretHeader = "Fustor-Session-Secret"

// Authorized answers GET /pipe/session/: the view that the key is for.
type Authorized struct {
	View   string `json:"view_id"`
	Status string `json:"status"` // authorized
	// CanFeed says whether the key may create sessions; a key that may only read gets an answer, too. Nil: the server does not say.
	CanFeed *bool `json:"can_feed,omitempty"`
	Timed
}

// Registration asks for a session: POST /pipe/session/.
type Registration struct {
	Task       string     `json:"task_id"` // a stable name of the pipe, such as AGENT:PIPE
	ClientInfo ClientInfo `json:"client_info,omitempty"`
	// Timeout is nil for the view's own; a shorter one than the view's is lengthened to it.
	Timeout *float64 `json:"session_timeout_seconds,omitempty"`
	Paused  bool     `json:"paused,omitempty"` // the session does not run for leader
}

// ClientInfo is what a pipe says of itself, an object of any members. Two of them are known.
type ClientInfo map[string]any

// The known members of ClientInfo, both text. The agent's id is the part of the task before its colon where it is left out.
const (
	InfoAgent  = "agent_id"
	InfoSource = "source_uri"
)

// Standing is the session's role and lease, in the answers to registrations and heartbeats.
type Standing struct {
	Role     string `json:"role"` // leader or follower
	IsLeader bool   `json:"is_leader"`
	Term     uint64 `json:"term"` // the view's newest; of the leader, its fencing token
	// LeaseTTL is how long a renewal holds, seconds. LeaseRenewed says that this answer is a renewal, so that two thirds of the TTL
	// from the start of the request are the leader's.
	LeaseTTL     float64 `json:"lease_ttl_s"`
	LeaseRenewed bool    `json:"lease_renewed"`
	Heartbeat    float64 `json:"heartbeat_interval_seconds"` // until the next is due, in this role
	// Epoch is the view's: what an agent remembers of its tree in another one is void. Empty: not known.
	Epoch string `json:"view_epoch"`
}

// Session answers a Registration.
type Session struct {
	ID   string `json:"session_id"`
	View string `json:"view_id"`
	Standing
	Timeout  float64 `json:"session_timeout_seconds"`
	Audit    float64 `json:"audit_interval_sec"`
	Sentinel float64 `json:"sentinel_interval_sec"`
	// Hot is how long a file counts as being written after a change; left out by ingests that do not say.
	Hot     float64 `json:"hot_sec,omitempty"`
	NextSeq uint64  `json:"next_seq"` // of the first segment
	// Skew is the store's time minus the file server's, ns, as the view knows it; left out by a view without a version.
	Skew *int64 `json:"skew_ns,omitempty"`
	// Broken are sessions that were not folded to their end: what an agent knows to have sent in them, the view may lack.
	Broken  []string `json:"broken_sessions"`
	Message string   `json:"message"`
	Timed
}

// Heartbeat proves that a session lives: POST /pipe/session/{id}/heartbeat.
type Heartbeat struct {
	CanRealtime *bool        `json:"can_realtime,omitempty"` // nil: as before
	AgentStatus *AgentStatus `json:"agent_status,omitempty"` // nil: as before
	Paused      bool         `json:"paused,omitempty"`       // the session does not run for leader, and gives up its lease
}

// Beat answers a Heartbeat.
type Beat struct {
	Status string `json:"status"` // ok
	Standing
	CanRealtime bool `json:"can_realtime"`
	// Audit, Sentinel and Hot are the view's settings at present. Nil: ingest does not say, and they are as before.
	Audit    *float64      `json:"audit_interval_sec,omitempty"`
	Sentinel *float64      `json:"sentinel_interval_sec,omitempty"`
	Hot      *float64      `json:"hot_sec,omitempty"`
	Message  string        `json:"message"`
	Commands []job.Command `json:"commands"`
	Timed
}

// Ended answers DELETE /pipe/session/{id}.
type Ended struct {
	Status  string `json:"status"` // terminated
	Session string `json:"session_id"`
	Timed
}

// UploadsRequest asks for presigned uploads: POST /pipe/session/{id}/uploads.
type UploadsRequest struct {
	FromSeq *uint64 `json:"from_seq"`
	Count   *int    `json:"count"`
}

// Uploads answers an UploadsRequest.
type Uploads struct {
	Session string  `json:"session_id"`
	Uploads []Grant `json:"uploads"`
	// Through is up to how many bytes segments should go through the server, which then tells at once that they are there; 0: none.
	Through int64 `json:"through_bytes,omitempty"`
	Timed
}

// Grant is one presigned upload, of the segment Seq and nothing else.
type Grant struct {
	Seq uint64 `json:"seq"`
	store.Upload
}

// SegmentStored answers PUT /pipe/session/{id}/segments/{seq}.
type SegmentStored struct {
	Status  string `json:"status"` // stored
	Session string `json:"session_id"`
	Seq     uint64 `json:"seq"`
	Timed
}

// Commands answers GET /pipe/session/{id}/commands.
type Commands struct {
	Commands []job.Command `json:"commands"`
	Timed
}

// JobReported answers POST /pipe/session/{id}/jobs/{job}, which takes a job.Report.
type JobReported struct {
	Status string    `json:"status"` // ok
	State  job.State `json:"state"`
	Timed
}

// SentinelTasks answers GET /pipe/consistency/sentinel/tasks: the files that may still be written to. All but the time is left out
// where there are none.
type SentinelTasks struct {
	Type  string   `json:"type,omitempty"` // suspect_check
	Paths []string `json:"paths,omitempty"`
	// PathsBytes is there where a path is not UTF-8: the exact bytes of all of them.
	PathsBytes [][]byte `json:"paths_bytes,omitempty"`
	View       string   `json:"view_id,omitempty"`
	Timed
}

// FeedbackTaken answers what a sentinel of Fustor V2 saw of the files that SentinelTasks named (v2api.Feedback).
type FeedbackTaken struct {
	Status   string `json:"status"` // processed
	Drivers  int    `json:"drivers_updated"`
	Received int    `json:"received"`
	Timed
}

// AuditMarked answers POST /pipe/consistency/audit/start and …/end.
type AuditMarked struct {
	Status  string `json:"status"` // audit_started or audit_ended
	Drivers int    `json:"drivers_handled"`
	View    string `json:"view_id"`
	Timed
}

// CommandRequest asks the agent of a session to do something: POST /pipe/session/{id}/commands.
type CommandRequest struct {
	Command string `json:"command"` // one of job.Kinds
	// Path, PathB64 and Recursive are for a scan alone. Nil: the whole tree, and what is below.
	Path      *string `json:"path,omitempty"`
	PathB64   *string `json:"path_b64,omitempty"`
	Recursive *bool   `json:"recursive,omitempty"`
}

// CommandAsked answers a CommandRequest: a command that waits for its session. The view's /jobs say what becomes of it.
type CommandAsked struct {
	Job       string    `json:"job_id"`
	View      string    `json:"view_id"`
	Session   string    `json:"session_id"`
	Command   string    `json:"command"`
	Path      string    `json:"path,omitempty"`
	Recursive bool      `json:"recursive"`
	State     job.State `json:"state"`
	Timed
}

// Pipe is a live session as people see it; its id is the task's.
type Pipe struct {
	ID           string         `json:"id"`
	View         string         `json:"view_id"`
	Session      string         `json:"session_id"`
	Agent        string         `json:"agent_id"`
	Source       string         `json:"source_uri"`
	ClientIP     string         `json:"client_ip"`
	Role         string         `json:"role"` // leader or follower
	CanRealtime  bool           `json:"can_realtime"`
	Paused       bool           `json:"paused"` // the session does not run for leader
	Timeout      float64        `json:"session_timeout_seconds"`
	CreatedAt    values.Seconds `json:"created_at"`
	LastActivity values.Seconds `json:"last_activity"`
	AgentStatus  *AgentStatus   `json:"agent_status,omitempty"`
}

// Pipes answers GET /pipe/pipes.
type Pipes struct {
	View  string `json:"view_id"`
	Pipes []Pipe `json:"pipes"`
	Count int    `json:"count"`
	Timed
}

// OnePipe answers GET /pipe/pipes/{id}.
type OnePipe struct {
	Pipe
	Timed
}

// Stats answers GET /pipe/stats.
type Stats struct {
	View   string       `json:"view_id"`
	Live   int          `json:"live_sessions"`
	Ended  int          `json:"ended_sessions"` // that are not folded to their end
	Leader string       `json:"leader_session_id"`
	Term   uint64       `json:"term"`
	Store  store.Counts `json:"store_requests"` // of this process, for all views
	Timed
}
