package v2api

import (
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/fustor/fustor/internal/event"
)

// The source types of a batch: what its rows are, or what it says of the agent's work.
const (
	Message      = "message" // realtime; older SDKs: realtime
	Realtime     = "realtime"
	Snapshot     = "snapshot"
	Audit        = "audit"
	OnDemandJob  = "on_demand_job"
	JobComplete  = "job_complete"
	ScanComplete = "scan_complete"
	ConfigReport = "config_report"
)

// Batch is the body of the events call.
type Batch struct {
	Session     string   `json:"session_id"`
	Events      []Event  `json:"events"`
	Source      string   `json:"source_type"`
	End         Bool     `json:"is_end"`
	SnapshotEnd Bool     `json:"is_snapshot_end,omitzero"` // of SDKs of early 2026
	Metadata    Metadata `json:"metadata,omitzero"`
}

// Ends reports whether the batch is the last of its round.
func (b *Batch) Ends() bool { return b.End.Value || b.SnapshotEnd.Value }

// Metadata is what a batch says beside its events. A config_report has the agent's configuration there, keys and all:
// there is no field for it, so that nothing can keep it.
type Metadata struct {
	ScanPath Text   `json:"scan_path,omitempty"`
	Job      string `json:"job_id,omitempty"`
}

// Event is some rows with which the same has happened. Of the fields that nothing follows from only the types are looked at.
type Event struct {
	ID        isScalar  `json:"event_id"`
	Timestamp isScalar  `json:"timestamp"`
	Type      string    `json:"event_type"`
	Fields    []isText  `json:"fields"`
	Rows      []Row     `json:"rows"`
	Index     Integer   `json:"index"` // ms, by the agent's clock or the file server's
	Schema    isText    `json:"event_schema"`
	Table     isText    `json:"table"`
	From      isText    `json:"message_source"`
	Metadata  *isObject `json:"metadata"`
}

// The event types.
const (
	Insert = "insert"
	Update = "update"
	Delete = "delete"
)

// Row is one file or directory.
type Row struct {
	Path        Text    `json:"path"`
	FilePath    Text    `json:"file_path,omitempty"` // an old name of path
	Name        Text    `json:"file_name"`
	Size        Integer `json:"size,omitzero"`
	Modified    Time    `json:"modified_time,omitzero"`
	Created     Time    `json:"created_time,omitzero"` // the ctime
	IsDirectory Bool    `json:"is_directory,omitzero"`
	// IsAtomicWrite, of realtime rows, is false while the file is being written.
	IsAtomicWrite Bool `json:"is_atomic_write,omitzero"`
	// ParentPath, ParentMtime and AuditSkipped are on rows of an audit.
	ParentPath   Text `json:"parent_path,omitempty"`
	ParentMtime  Time `json:"parent_mtime,omitzero"`
	AuditSkipped Bool `json:"audit_skipped,omitzero"`
	// ObservedAt, of realtime rows, is the store's time, ns, at which the agent saw this: it counts in place of the request's, which
	// may come long after it. V2's agents do not send it.
	ObservedAt Integer `json:"observed_at_ns,omitzero"`
}

// Where is the row's path as ours are, or a *FieldError; at says where the row stands in its body.
func (r *Row) Where(at func() string) (string, error) {
	path := string(r.Path)
	if path == "" {
		path = string(r.FilePath)
	}
	if path == "" {
		return "", &FieldError{at() + ".path", "is missing"}
	}
	for len(path) > 1 && strings.HasSuffix(path, "/") {
		path = path[:len(path)-1]
	}
	if !event.ValidPath(path) || len(path) >= event.MaxText {
		return "", &FieldError{at() + ".path", fmt.Sprintf("is no path from the view's root: %q", excerpt(path))}
	}
	return path, nil
}

// Entry is the row as an entry, of a path that Where has found.
func (r *Row) Entry(at func() string, path string) (event.Entry, error) {
	_, name := event.Split(path)
	e := NewEntry(name, r.IsDirectory.Value || path == "/", r.Size.Value, r.Modified.Ns)
	switch {
	case !r.Modified.Given:
		return e, &FieldError{at() + ".modified_time", "is missing"}
	case !r.Size.Given && e.Type == event.File:
		return e, &FieldError{at() + ".size", "is missing"}
	case e.Size < 0:
		return e, &FieldError{at() + ".size", "is negative"}
	}
	return e, nil
}

// NewEntry is what V2 tells of a file or directory. The day of its mtime stands for that of its last access, which V2 does not
// tell: it was not read before it was written.
func NewEntry(name string, directory bool, size, mtimeNs int64) event.Entry {
	const day = 86400e9
	e := event.Entry{Name: name, Type: event.File, UID: event.NoOwner, GID: event.NoOwner, Size: size, MtimeNs: mtimeNs,
		AtimeDay: int32(math.Floor(float64(mtimeNs) / day))}
	if directory {
		e.Type = event.Directory
	}
	return e
}

// isText takes any string and keeps nothing of it; isScalar any string or number, isObject any object.
type (
	isText   struct{}
	isScalar struct{}
	isObject struct{}
)

// UnmarshalJSON implements json.Unmarshaler.
func (*isText) UnmarshalJSON(b []byte) error { return only(b, `"n`, reflect.TypeFor[string]()) }

// UnmarshalJSON implements json.Unmarshaler.
func (*isScalar) UnmarshalJSON(b []byte) error {
	return only(b, `"n-0123456789`, reflect.TypeFor[string]())
}

// UnmarshalJSON implements json.Unmarshaler.
func (*isObject) UnmarshalJSON(b []byte) error {
	return only(b, `{n`, reflect.TypeFor[map[string]any]())
}

// only takes values that begin with one of these bytes, n being null.
func only(b []byte, first string, want reflect.Type) error {
	if strings.IndexByte(first, b[0]) < 0 {
		return wrongType(b, want)
	}
	return nil
}
