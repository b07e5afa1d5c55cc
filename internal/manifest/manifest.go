// Package manifest is a view's versions: what each is made of, and the one protocol that publishes a new one.
//
// A version is a manifest: its layers (those of a view with many in leaves, leaves.go), how far each session is folded, its clock and counts. It is written under a
// unique name, then as the body of head by one conditional write; whoever loses that starts again from the new head.
// History is the chain of parents from head; a manifest outside it is an orphan of a lost race. The compactor commits,
// the query handler and the admin read.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/values"
)

// Format is the newest version of the manifest's own format that this build writes, OldestFormat the oldest that it reads. Readers refuse a
// newer one. A version without leaves has format 1, which builds before there were any read, too.
const (
	Format       = 2
	OldestFormat = 1
)

// Manifest is one version of a view.
type Manifest struct {
	Format  int    `json:"format"`
	View    string `json:"view"`
	Version uint64 `json:"version"` // 1, 2, …; 0 is a view without any
	Nonce   string `json:"nonce"`   // as Nonce makes it; of earlier builds, randomness alone
	// FirstReady is the first complete version of this epoch; 0: there is none yet, or builds before published it. The view's
	// history policy counts from there.
	FirstReady uint64 `json:"first_ready,omitempty"`
	// Parent is the key of the manifest that this one was made from; empty for the first.
	Parent string `json:"parent,omitempty"`
	// Epoch is which of the view's lives this is; that of the roster, whose sessions alone are folded. A reset begins a new one.
	Epoch string `json:"epoch,omitempty"`
	// EpochNumber counts the view's epochs, as the roster does; 0: not known, as of earlier builds.
	EpochNumber uint64 `json:"epoch_number,omitempty"`
	// FoldedAt is the store's time when the version was made, ns; Reason says what made it: fold, merge, reset, settings, trouble, recovered.
	FoldedAt int64  `json:"folded_at_ns"`
	Reason   string `json:"reason"`

	// Base are the base partitions, in key order, disjoint. Deltas lie over them, the newest first; the newest wins.
	Base   []layer.Info `json:"base,omitempty"`
	Deltas []layer.Info `json:"deltas,omitempty"`
	// Leaves have the base partitions of a version with many (leaves.go). In the object, they are in the place of Base.
	Leaves []Leaf `json:"leaves,omitempty"`
	unread bool   // the leaves' partitions are not in Base yet
	// Merged are the ranges of keys, disjoint and in order, whose rows of deltas the base has already.
	Merged []Merged `json:"merged,omitempty"`

	// Sessions says per session how far it is folded. Sessions that ended and are folded to their end drop out.
	Sessions map[string]Progress `json:"sessions,omitempty"`

	// Term is the newest term seen in a segment; listings of an older one are fenced off.
	Term uint64 `json:"term"`
	// Clock puts the store's time into the file server's.
	Clock evidence.Clock `json:"clock"`
	// ObservedAt is the newest observation folded, ns: what the view is current as of.
	ObservedAt int64 `json:"observed_at_ns"`

	Totals  evidence.Totals `json:"totals"` // of the whole view
	Scan    Scan            `json:"scan"`
	Counted Counted         `json:"counted"`

	// Names is the id of the object with the names of owners and groups; empty: none are known.
	Names string `json:"names,omitempty"`

	// Live marks a view that was configured, when the version was made, to be read only while a session leads it.
	Live bool `json:"live,omitempty"`

	// Suspects are the files that may still be written to, the newest first, at most MaxSuspects of them: what a sentinel
	// looks at. Those whose time is over may still be among them.
	Suspects []Suspect `json:"suspects,omitempty"`

	// Refused are the segments that did not get into the view, or not with all that is in them, the newest last: those of a week, at most
	// MaxRefused. RefusedCount is how many there were since the view began.
	Refused      []Refusal `json:"refused,omitempty"`
	RefusedCount uint64    `json:"refused_count,omitempty"`
	// Full says which names are missing because the view has as many entries as it may; nil: none are.
	Full *Full `json:"full,omitempty"`
	// Trouble says why the view's folds failed when the version was made; nil: they did not.
	Trouble *Trouble `json:"trouble,omitempty"`
}

// MaxSuspects bounds Manifest.Suspects.
const MaxSuspects = 200

// Suspect is a file that may still be written to.
type Suspect struct {
	Path  []byte `json:"path"`     // base64 in JSON, as names are bytes
	Until int64  `json:"until_ns"` // the store's time
}

// Progress is how far one session is folded.
type Progress struct {
	Next   uint64 `json:"next_seq"`         // the first segment not yet folded whole
	Events uint64 `json:"events,omitempty"` // of segment Next are folded: the first ones
	Agent  string `json:"agent,omitempty"`
	// Broken: segment Next cannot be read. The session was ended for it, and nothing more of it counts.
	Broken bool `json:"broken,omitempty"`
}

// Scan is what the view knows of its leaders' scans.
type Scan struct {
	// SnapshotTerm is the term of the snapshot under way or done; SnapshotDone the term of the last complete one.
	SnapshotTerm       uint64 `json:"snapshot_term,omitempty"`
	SnapshotDone       uint64 `json:"snapshot_done_term,omitempty"`
	SnapshotStartedAt  int64  `json:"snapshot_started_at_ns,omitempty"`
	SnapshotFinishedAt int64  `json:"snapshot_finished_at_ns,omitempty"`
	AuditStartedAt     int64  `json:"audit_started_at_ns,omitempty"`
	AuditFinishedAt    int64  `json:"audit_finished_at_ns,omitempty"`
	Audits             uint64 `json:"audits,omitempty"`
	// Errors are directories that the last scans could not read, at most MaxScanErrors of them, and how many in all.
	Errors     []ScanError `json:"errors,omitempty"`
	ErrorCount uint64      `json:"error_count,omitempty"`
}

// MaxScanErrors bounds Scan.Errors.
const MaxScanErrors = 100

// ScanError is a directory that could not be read; what the view knew of it stands.
type ScanError struct {
	Path       []byte `json:"path"` // base64 in JSON, as names are bytes
	Message    string `json:"message"`
	ObservedAt int64  `json:"observed_at_ns"`
}

// Counted are sums since the view began, for its owners to read.
type Counted struct {
	Segments  uint64 `json:"segments"`
	Events    uint64 `json:"events"`
	Entries   uint64 `json:"entries"`          // listed
	Fenced    uint64 `json:"fenced,omitempty"` // listings of an older term
	Stale     uint64 `json:"stale,omitempty"`  // listings older than what the view knew
	Overflows uint64 `json:"overflows,omitempty"`
}

// Ready reports whether a first snapshot is folded, so that the view can be read.
func (m *Manifest) Ready() bool { return m.Scan.SnapshotDone > 0 }

// Rows is how many rows the layers hold, superseded and removed ones included.
func (m *Manifest) Rows() int64 {
	n := m.BaseSums().Rows
	for _, l := range m.Deltas {
		n += l.Rows
	}
	return n
}

// BaseSums are the sums of the base partitions, also of a version that was read without them.
func (m *Manifest) BaseSums() (all Leaf) {
	if !m.unread {
		return sumsOf(m.Base)
	}
	for i := range m.Leaves {
		f := &m.Leaves[i]
		all.Partitions += f.Partitions
		all.Rows += f.Rows
		all.Removed += f.Removed
		all.Bytes += f.Bytes
	}
	return all
}

// Memory is about how many bytes the manifest takes in memory.
func (m *Manifest) Memory() int64 {
	return int64(4096+256*len(m.Sessions)) + MemoryOf(m.Base) + MemoryOf(m.Deltas) + 256*int64(len(m.Leaves))
}

// ErrFormat: the object is no manifest, or one of a newer Fustor.
var ErrFormat = errors.New("not a manifest this version of fustor can read")

// Decode reads a manifest, without what is in its leaves; object is the name that errors give.
func Decode(object string, body []byte) (*Manifest, error) {
	m := &Manifest{}
	body, err := unpack(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %v", object, ErrFormat, err)
	}
	body, of, err := seal.Look(body)
	if err == nil {
		err = json.Unmarshal(body, m)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %v", object, ErrFormat, err)
	}
	if m.Format < OldestFormat || m.Format > Format {
		return nil, fmt.Errorf("%s: %w: its format is %d, this build reads up to %d", object, ErrFormat, m.Format, Format)
	}
	if err := m.checkLeaves(); err != nil {
		return nil, fmt.Errorf("%s: %w: %v", object, ErrFormat, err)
	}
	m.unread = len(m.Leaves) > 0
	if m.View == "" || m.Version == 0 || m.Nonce == "" {
		return nil, fmt.Errorf("%s: %w: view, version or nonce is missing", object, ErrFormat)
	}
	if of != "" && of != m.Key() {
		return nil, fmt.Errorf("%s: %w: it is the object %s", object, ErrFormat, of)
	}
	for _, sum := range [...]*int64{&m.Totals.Bytes, &m.Totals.Allocated, &m.Totals.LinkedAllocated} {
		*sum = values.Unwrapped(*sum)
	}
	return m, nil
}

// Encode writes a manifest as Decode reads it, with the leaves that it was read with or published with. It is sealed as the object Key, as head too, which has the same bytes.
func (m *Manifest) Encode() ([]byte, error) {
	object := *m
	if len(m.Leaves) > 0 {
		object.Base = nil
	}
	switch {
	case m.Format > Format: // one that is not this build's to change
	case len(m.Leaves) > 0:
		object.Format = leavesFormat
	default:
		object.Format = OldestFormat
	}
	body, err := seal.JSON(m.Key(), &object)
	if err != nil {
		return nil, err
	}
	return pack(body)
}
