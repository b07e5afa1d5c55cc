package query

import (
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/problem"
)

// The shapes of what is written without encoding/json, for its speed: nodeWriter, body, blindSpotPage, cost and lines write them.
// The document has its schemas from here, and the tests hold every answer against those.
type (
	// node is one entry. With only_path it has nothing beside name, path and content_type.
	node struct {
		Member      string         `json:"member,omitempty"` // of a forest
		Name        string         `json:"name"`
		Path        string         `json:"path"`
		PathB64     string         `json:"path_b64,omitempty"`
		ContentType string         `json:"content_type"`
		Type        string         `json:"type,omitempty"`
		Size        int64          `json:"size,omitempty"`
		Modified    values.Seconds `json:"modified_time,omitempty"`
		MtimeNs     int64          `json:"mtime_ns,omitempty"`
		AtimeDay    string         `json:"atime_day,omitempty"` // if it was asked for
		Created     any            `json:"created_time,omitempty"`
		Suspect     bool           `json:"integrity_suspect,omitempty"`
		BlindSpot   bool           `json:"agent_missing,omitempty"`
		Skipped     bool           `json:"audit_skipped,omitempty"`
		Agent       string         `json:"last_agent_id,omitempty"`
		Source      string         `json:"source_uri,omitempty"`
		Mode        uint32         `json:"mode,omitempty"`
		UID         uint32         `json:"uid,omitempty"`
		GID         uint32         `json:"gid,omitempty"`
		Owner       string         `json:"owner,omitempty"`
		Group       string         `json:"group,omitempty"`
		Allocated   int64          `json:"allocated,omitempty"`
		Links       uint32         `json:"links,omitempty"`
		CtimeNs     int64          `json:"ctime_ns,omitempty"`
		BirthNs     int64          `json:"birth_ns,omitempty"`
		ACL         string         `json:"acl,omitempty"`
		Inode       string         `json:"inode,omitempty"`
		Target      string         `json:"target,omitempty"`
		TargetB64   string         `json:"target_b64,omitempty"`
		Subtree     *totals        `json:"subtree,omitempty"`
		Unreadable  int64          `json:"unreadable,omitempty"`
		Oddities    []string       `json:"oddities,omitempty"`          // of reports/odd
		Hidden      bool           `json:"attributes_hidden,omitempty"` // the reader may list the directory, and not search it
	}
	// totals are evidence.Totals.
	totals struct {
		Files         int64           `json:"files"`
		Directories   int64           `json:"directories"`
		Others        int64           `json:"others"`
		Bytes         int64           `json:"bytes"`
		Allocated     int64           `json:"allocated"`
		Linked        int64           `json:"linked_allocated"`
		Unmeasured    int64           `json:"unmeasured"`
		Saturated     bool            `json:"saturated,omitempty"` // a sum of bytes may be larger than it says
		LatestMtime   *values.Seconds `json:"latest_mtime"`
		LatestMtimeNs *int64          `json:"latest_mtime_ns"`
	}
	// tree is a node with what is below it.
	tree struct {
		node
		Children  []tree     `json:"children,omitempty"`
		Continued bool       `json:"continued,omitempty"`
		Next      string     `json:"next_cursor,omitempty"`
		Version   uint64     `json:"version,omitempty"`
		Job       *jobAnswer `json:"job,omitempty"`
	}
	// trees are those of a forest's members.
	trees struct {
		Path  string `json:"path"`
		Trees []tree `json:"trees"`
		Next  string `json:"next_cursor,omitempty"`
		forestAnswer
	}
	// entries are a page of nodes.
	entries struct {
		Entries []node `json:"entries"`
		Count   int    `json:"count"`
		Version uint64 `json:"version,omitempty"` // of no forest
		Path    string `json:"path"`
		PathB64 string `json:"path_b64,omitempty"`
		// Unreadable is how many paths at or below the path could not be read.
		Unreadable int    `json:"unreadable,omitempty"`
		Next       string `json:"next_cursor,omitempty"`
		forestAnswer
	}
	// changeEntry is a path of a diff.
	changeEntry struct {
		Change       string       `json:"change"`
		Path         string       `json:"path"`
		PathB64      string       `json:"path_b64,omitempty"`
		Type         string       `json:"type"`
		Fields       []string     `json:"fields,omitempty"`
		MovedFrom    string       `json:"moved_from,omitempty"`
		MovedFromB64 string       `json:"moved_from_b64,omitempty"`
		MovedTo      string       `json:"moved_to,omitempty"`
		MovedToB64   string       `json:"moved_to_b64,omitempty"`
		Before       *changeState `json:"before,omitempty"`
		After        *changeState `json:"after,omitempty"`
	}
	// changeState is what a version knows of a path of a diff.
	changeState struct {
		Type      string `json:"type"`
		Size      int64  `json:"size,omitempty"`
		MtimeNs   int64  `json:"mtime_ns,omitempty"`
		Mode      uint32 `json:"mode,omitempty"`
		UID       uint32 `json:"uid,omitempty"`
		GID       uint32 `json:"gid,omitempty"`
		Owner     string `json:"owner,omitempty"`
		Group     string `json:"group,omitempty"`
		Allocated int64  `json:"allocated,omitempty"`
		Links     uint32 `json:"links,omitempty"`
		CtimeNs   int64  `json:"ctime_ns,omitempty"`
		BirthNs   int64  `json:"birth_ns,omitempty"`
		ACL       string `json:"acl,omitempty"`
		Inode     string `json:"inode,omitempty"`
		Hidden    bool   `json:"attributes_hidden,omitempty"` // the reader may list the directory, and not search it: the type alone is shown
		Target    string `json:"target,omitempty"`
		TargetB64 string `json:"target_b64,omitempty"`
	}
	// logged is what a log's path is in a version in which it is not what it was before.
	logged struct {
		Change      string         `json:"change"`
		Version     uint64         `json:"version"`
		PublishedAt values.Seconds `json:"published_at"`
		// Previous is the kept version before; absent: there is none.
		Previous            uint64         `json:"previous_version,omitempty"`
		PreviousPublishedAt values.Seconds `json:"previous_published_at,omitempty"`
		Type                string         `json:"type"`
		Fields              []string       `json:"fields,omitempty"`
		Before              *loggedState   `json:"before,omitempty"`
		After               *loggedState   `json:"after,omitempty"`
	}
	// loggedState is a changeState; of a directory, with what was below it.
	loggedState struct {
		changeState
		Subtree *totals `json:"subtree,omitempty"`
	}
	// changes are a page of a diff.
	changes struct {
		Entries      []changeEntry  `json:"entries"`
		Count        int            `json:"count"`
		Version      uint64         `json:"version"`
		From         uint64         `json:"from_version"`
		Path         string         `json:"path"`
		PathB64      string         `json:"path_b64,omitempty"`
		Next         string         `json:"next_cursor,omitempty"`
		FoldedAt     values.Seconds `json:"folded_at"`
		FromFoldedAt values.Seconds `json:"from_folded_at"`
		Moves        string         `json:"moves"`
	}
	// feedChange is a change in a feed.
	feedChange struct {
		changeEntry
		Version  uint64         `json:"version"`
		FoldedAt values.Seconds `json:"folded_at"`
		Cursor   string         `json:"cursor"`
	}
	// feedVersion says that all changes of a version were told.
	feedVersion struct {
		Version    uint64         `json:"version"`
		Complete   bool           `json:"complete"`
		FoldedAt   values.Seconds `json:"folded_at"`
		ObservedAt values.Seconds `json:"observed_at"`
		Changes    int64          `json:"changes"`
		Moves      string         `json:"moves,omitempty"`
		Cursor     string         `json:"cursor"`
	}
	// feedBeat says that a feed is alive.
	feedBeat struct {
		Heartbeat bool   `json:"heartbeat"`
		Version   uint64 `json:"version"`
	}
	// feedProblem ends a feed that cannot go on.
	feedProblem struct {
		brokenOff
		Nearest *problem.Nearest `json:"nearest,omitempty"`
	}
	// suspect is a file that may still be written to.
	suspect struct {
		node
		Until values.Seconds `json:"suspect_until"`
	}
	// blindSpot is what was found by looking.
	blindSpot struct {
		node
		FoundAt values.Seconds `json:"found_at"`
	}
	blindSpotsAnswer struct {
		AdditionsCount  int64       `json:"additions_count"`
		Additions       []blindSpot `json:"additions"`
		DeletionCount   int64       `json:"deletion_count"`
		Deletions       []string    `json:"deletions"`
		DeletionDetails []blindSpot `json:"deletion_details"`
		Version         uint64      `json:"version,omitempty"` // of no forest
		Path            string      `json:"path"`
		Next            string      `json:"next_cursor,omitempty"`
		forestAnswer
	}
	// explain is what an answer cost.
	explain struct {
		Gets          int64   `json:"gets"`
		Bytes         int64   `json:"bytes"`
		Rows          int64   `json:"rows"`
		GroupsRead    int64   `json:"groups_read"`
		GroupsSkipped int64   `json:"groups_skipped"`
		CacheHits     int64   `json:"cache_hits"`
		Milliseconds  float64 `json:"milliseconds"`
		Version       uint64  `json:"version,omitempty"`
	}
	// problemBody is any error.
	problemBody struct {
		httpapi.ProblemBody
		Progress *problem.Progress `json:"progress,omitempty"`
		PathB64  string            `json:"path_b64,omitempty"`
		Nearest  *problem.Nearest  `json:"nearest,omitempty"`
	}
)

// The answers that are of another shape where a forest is asked.
type (
	metadataAnswer struct{}
	treeAnswer     struct{}
	sessionsAnswer struct{}
)

// diffAnswer is a page of a diff, or its sums.
type diffAnswer struct{}

// The lines of application/x-ndjson: an entry each, and at the end what cannot be in a header.
type (
	line          struct{}
	usageLine     struct{}
	bucketLine    struct{}
	duplicateLine struct{}
	growthLine    struct{}
	trendLine     struct{}
	diffLine      struct{}
	feedLine      struct{}

	// nextPage ends a page that is not the last.
	nextPage struct {
		Next string `json:"next_cursor"`
	}
	// membersLine ends an answer about a forest.
	membersLine struct {
		Members  []memberStatus `json:"members"`
		Complete bool           `json:"complete"`
	}
	// explained ends an answer that was asked to explain.
	explained struct {
		Explain explain `json:"explain"`
	}
	// endOfStream is the last line of an answer that is whole, for those who ask for it and over HTTP/1.0.
	endOfStream struct {
		End   bool  `json:"end"`
		Count int64 `json:"count"`
	}
	// brokenOff ends an answer that cannot be completed.
	brokenOff struct {
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Hint   string `json:"hint"`
	}
)
