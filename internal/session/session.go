// Package session is the records by which a view's sessions and its leader are known: the session records, the roster
// that names them, and the lease. Ingest writes them, the query handler and the compactor read them.
//
// All three are small objects that are replaced by compare-and-swap and carry a nonce. Ages are the store's Date minus
// the object's Last-Modified, so no machine's clock is trusted. The leader proves that it lives by renewing the lease,
// any other session by renewing its record, or by a heartbeat that the leader's next renewal tells of (Lease.Followers). Package lease
// has the rule.
package session

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/store"
)

// Record is one session: views/<view>/sessions/<session>.json.
type Record struct {
	ID             string               `json:"session_id"`
	View           string               `json:"view_id"`
	Task           string               `json:"task_id"`
	Agent          string               `json:"agent_id"`
	Source         string               `json:"source_uri"`
	ClientIP       string               `json:"client_ip"`
	TimeoutSeconds float64              `json:"session_timeout_seconds"`
	CanRealtime    bool                 `json:"can_realtime"`
	ClientInfo     pipeapi.ClientInfo   `json:"client_info,omitempty"`
	AgentStatus    *pipeapi.AgentStatus `json:"agent_status,omitempty"`
	CreatedAt      int64                `json:"created_at_ns"`   // the store's time
	Epoch          string               `json:"epoch,omitempty"` // of the view, in which the session began
	// Dialect is what its agent speaks: empty is ours, V2 that of Fustor V2.
	Dialect string `json:"dialect,omitempty"`
	// Paused: it does not run for leader, as its last heartbeat said.
	Paused bool `json:"paused,omitempty"`
	// Rests: it does not lead, and proves its life by Lease.Followers where that tells of it. Each of its proofs holds for lease.Carried.
	Rests bool `json:"rests,omitempty"`
	// Ended is set once the session was closed or its end was noticed; the record stays until its segments are folded.
	Ended       bool   `json:"ended,omitempty"`
	EndedReason string `json:"ended_reason,omitempty"` // closed, timeout, reset
	// Silence is why the session lost the lease while it lived, until it sends again; nil: it did not.
	Silence *Silence `json:"silence,omitempty"`
	// Secret is the SHA-256 of the secret of whoever made the session, in hex, and Key which API key it was; see HeldBy.
	Secret string `json:"secret_sha256,omitempty"`
	Key    string `json:"key_id,omitempty"`
	Nonce  string `json:"nonce"`
}

// V2 is the Dialect of Fustor V2's agents.
const V2 = "v2"

// Lease is who leads: views/<view>/lease.json. Session is empty after a release.
type Lease struct {
	Term       uint64  `json:"term"`
	Session    string  `json:"session_id"`
	Nonce      string  `json:"nonce"`
	TTLSeconds float64 `json:"ttl_s"`
	// Ended says that the session is over, though it may still take itself for the leader: nobody leads until the lease
	// has run out.
	Ended bool `json:"ended,omitempty"`
	// Work is what the leader has got done, as of its last renewal; nil: not known.
	Work *Work `json:"work,omitempty"`
	// Yields says that a silent leader lives but may not renew the lease: a follower takes it once it has run out, and until
	// then nobody leads.
	Yields bool `json:"yields,omitempty"`
	// Terms are the last terms that were given, and to whom, the oldest first. Leases of earlier builds have none.
	Terms []Reign `json:"terms,omitempty"`
	// Followers are sessions whose heartbeats came through the process that wrote the lease, and what it knows of others.
	Followers map[string]Following `json:"followers,omitempty"`
}

// Roster names a view's sessions: views/<view>/roster.json. A session is in it before its agent hears of it, and stays
// until it has ended and the compactor has folded it to its end.
type Roster struct {
	// Epoch is which of the view's lives this is; a reset gives it a new one. Sessions of other epochs are over, and their
	// segments are not folded.
	Epoch string `json:"epoch,omitempty"`
	// EpochNumber is which one that is: 1, 2, …; 0: not known, as of earlier builds. It tells a reset from an older roster.
	EpochNumber uint64                 `json:"epoch_number,omitempty"`
	Sessions    map[string]RosterEntry `json:"sessions"`
	Nonce       string                 `json:"nonce"`
}

// RosterEntry is the part of a session that never changes, but for its end.
type RosterEntry struct {
	Task           string  `json:"task_id"`
	Agent          string  `json:"agent_id"`
	TimeoutSeconds float64 `json:"session_timeout_seconds"`
	CreatedAt      int64   `json:"created_at_ns"`
	Epoch          string  `json:"epoch,omitempty"`
	// Ended is set, at the latest, by the next session that is created after this one ended. It saves a look at the
	// record: an entry without it may have ended all the same.
	Ended bool `json:"ended,omitempty"`
	// Source stands for Record.Source, as a hash: sources may be long, and every part reads the roster. Entries of earlier builds have none.
	Source string `json:"source_sum,omitempty"`
	// Key is Record.Key.
	Key string `json:"key_id,omitempty"`
}

// entry is what a roster says of a session.
func (r Record) entry() RosterEntry {
	return RosterEntry{Task: r.Task, Agent: r.Agent, TimeoutSeconds: r.TimeoutSeconds, CreatedAt: r.CreatedAt, Epoch: r.Epoch, Ended: r.Ended,
		Source: sourceSum(r.Source), Key: r.Key}
}

// MayBeOf reports whether a session may have said that its source is this one, as it did when it began.
func (e RosterEntry) MayBeOf(source string) bool {
	return e.Source == "" || e.Source == sourceSum(source)
}

// sourceSum is empty for a session that named no source, which may say of each segment what it likes.
func sourceSum(source string) string {
	if source == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(source))
	return hex.EncodeToString(sum[:8])
}

// Timeout is for how long one proof of life holds, of the session itself, unless it rests, and, while it leads, of its lease.
func (r Record) Timeout() time.Duration { return seconds(r.TimeoutSeconds) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Age is how long ago an object was written, by the store's clock.
func Age(m store.Meta) time.Duration { return m.Date.Sub(m.LastModified) }
