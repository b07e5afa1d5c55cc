package v2api

import "github.com/fustor/fustor/internal/values"

// The bodies of V2's reading calls. Nodes are written by query/v2 as they are read; Node says what they have.
type (
	// Node is one file or directory. With only_path it has nothing beside Name, Path, ContentType and Children.
	Node struct {
		Name             Text            `json:"name"`
		Path             Text            `json:"path"`
		ContentType      string          `json:"content_type"` // file or directory
		Size             *int64          `json:"size,omitempty"`
		Modified         *values.Seconds `json:"modified_time,omitempty"`
		Created          *values.Seconds `json:"created_time,omitempty"` // the ctime
		IntegritySuspect *bool           `json:"integrity_suspect,omitempty"`
		AgentMissing     *bool           `json:"agent_missing,omitempty"`
		AuditSkipped     *bool           `json:"audit_skipped,omitempty"`
		LastAgent        *Text           `json:"last_agent_id,omitempty"`
		Source           *Text           `json:"source_uri,omitempty"`
		// Children, of a directory, is empty if it is not recursive; nil of a file, and where max_depth ends.
		Children []Node `json:"children,omitzero"`
		// Job and JobPending are on the root of the answer, if a scan was asked for.
		Job        *string `json:"job_id,omitempty"`
		JobPending *bool   `json:"job_pending,omitempty"`
	}

	// DryRun answers a tree that is to read nothing.
	DryRun struct {
		Message string `json:"message"` // dry-run
		View    string `json:"view_id"`
	}

	// ScanPending answers a tree whose path the view does not know yet.
	ScanPending struct {
		Job     string `json:"job_id"`
		Pending bool   `json:"job_pending"`
		Message string `json:"message"`
	}

	// TooManyItems is the detail of a 400: the answer would have more nodes than one answer may.
	TooManyItems struct {
		Error      string `json:"error"`
		View       string `json:"view"`
		Count      int64  `json:"current_count"`
		Limit      int64  `json:"limit"`
		Suggestion string `json:"suggestion"`
	}

	// Invalid is one element of the detail of a 422: what is wrong with a parameter or a field.
	Invalid struct {
		Type     string   `json:"type"`
		Location []string `json:"loc"` // query or body, and the name
		Message  string   `json:"msg"`
		Input    any      `json:"input"`
	}

	// Stats answers /stats: of the whole view. V2's files are all that is not a directory.
	Stats struct {
		Items        int64           `json:"item_count"`
		Files        int64           `json:"total_files"`
		Directories  int64           `json:"total_directories"`
		LatencyMs    float64         `json:"latency_ms"`
		Staleness    float64         `json:"staleness_seconds"`
		OldestItem   *string         `json:"oldest_item_path"` // always null
		HasBlindSpot bool            `json:"has_blind_spot"`
		Suspects     int64           `json:"suspect_file_count"`
		LogicalNow   values.Seconds  `json:"logical_now"`
		LastAuditAt  *values.Seconds `json:"last_audit_finished_at"`
		Audits       uint64          `json:"audit_cycle_count"`
		IsAuditing   bool            `json:"is_auditing"`
	}

	// BlindSpots answers /blind-spots.
	BlindSpots struct {
		AdditionsCount int    `json:"additions_count"`
		Additions      []Node `json:"additions"`
		DeletionCount  int    `json:"deletion_count"`
		Deletions      []Text `json:"deletions"`
	}

	// Suspect is an element of the answer of /suspect-list.
	Suspect struct {
		Path  Text           `json:"path"`
		Until values.Seconds `json:"suspect_until"`
	}

	// SuspectUpdate is the body of a PUT to /suspect-list. An update counts if it has a path and a time.
	SuspectUpdate struct {
		Updates []struct {
			Path    Text `json:"path"`
			Mtime   Time `json:"mtime"`
			Current Time `json:"current_mtime"`
		} `json:"updates"`
	}

	// SuspectsUpdated answers it.
	SuspectsUpdated struct {
		View    string `json:"view_id"`
		Updated int    `json:"updated_count"`
		Status  string `json:"status"` // ok
	}

	// Sessions answers /sessions.
	Sessions struct {
		View   string    `json:"view_id"`
		Active []Session `json:"active_sessions"`
		Count  int       `json:"count"`
	}

	// Session is one live session.
	Session struct {
		ID           string         `json:"session_id"`
		Task         string         `json:"task_id"`
		Agent        string         `json:"agent_id"`
		ClientIP     string         `json:"client_ip"`
		Source       string         `json:"source_uri"`
		LastActivity values.Seconds `json:"last_activity"`
		CreatedAt    values.Seconds `json:"created_at"`
		Timeout      float64        `json:"session_timeout_seconds"`
		Role         string         `json:"role"` // leader or follower
		CanSnapshot  bool           `json:"can_snapshot"`
		CanAudit     bool           `json:"can_audit"`
		CanRealtime  bool           `json:"can_realtime"`
		CanSend      bool           `json:"can_send"`
	}

	// Jobs answers /jobs.
	Jobs struct {
		Jobs []Job `json:"jobs"`
	}

	// Job is one on-demand scan.
	Job struct {
		ID          string          `json:"job_id"`
		View        string          `json:"view_id"`
		Path        Text            `json:"path"`
		Status      string          `json:"status"` // RUNNING, COMPLETED or FAILED
		Progress    Progress        `json:"progress"`
		CreatedAt   values.Seconds  `json:"created_at"`
		CompletedAt *values.Seconds `json:"completed_at"`
	}

	// ForestStats answers /stats of a forest: what each member has at and below a path.
	ForestStats struct {
		Path    Text              `json:"path"`
		Members []MemberStats     `json:"members"`
		Best    *Best             `json:"best"`             // null: no member answers
		Jobs    map[string]string `json:"job_id,omitempty"` // of the scans that were asked for, by member
	}

	// MemberStats is one of them; an error has nothing beside View, Status and Error.
	MemberStats struct {
		View        string          `json:"view_id"`
		Status      string          `json:"status"` // ok or error
		Files       *int64          `json:"file_count,omitempty"`
		Directories *int64          `json:"dir_count,omitempty"`
		Bytes       *int64          `json:"total_size,omitempty"`
		LatestMtime *values.Seconds `json:"latest_mtime,omitempty"` // 0: there is no file
		Error       string          `json:"error,omitempty"`
	}

	// Best is the member that has the most, and of what: file_count, total_size or latest_mtime.
	Best struct {
		View   string  `json:"view_id"`
		Reason string  `json:"reason"`
		Value  float64 `json:"value"`
	}

	// MemberFailed is a member in the tree of a forest that has no data.
	MemberFailed struct {
		Status string `json:"status"` // error
		Error  string `json:"error"`
	}

	// Pipe is what feeds a view: an element of /pipe/pipes, and the answer of /pipe/pipes/{id}.
	Pipe struct {
		ID         string         `json:"id"`
		View       string         `json:"view_id"`
		State      string         `json:"state"` // RUNNING
		Info       string         `json:"info"`
		Active     int            `json:"active_sessions"`
		Leader     *string        `json:"leader_session"`
		Statistics PipeStatistics `json:"statistics"`
		Queue      int            `json:"queue_size"` // always 0: what is received is in the store
	}

	// PipeStatistics answers /pipe/stats.
	PipeStatistics struct {
		Received  uint64 `json:"events_received"`
		Processed uint64 `json:"events_processed"`
		Errors    uint64 `json:"errors"` // sessions with a segment that cannot be read
	}

	// Progress is how many of the pipes that are to scan have scanned. Here the leader alone does.
	Progress struct {
		Completed  int     `json:"completed_pipes"`
		Total      int     `json:"total_pipes"`
		Percentage float64 `json:"percentage"`
	}
)

// The statuses of a Job.
const (
	JobRunning   = "RUNNING"
	JobCompleted = "COMPLETED"
	JobFailed    = "FAILED"
)
