package manifest

import "slices"

// MaxRefused bounds Manifest.Refused, and refusedFor how long a refusal stays in it, ns; maxReason bounds Refusal.Reason, bytes.
const (
	MaxRefused = 20
	refusedFor = 7 * 24 * 3600e9
	maxReason  = 500
)

// Refusal is a segment that did not get into the view, or not with all that is in it.
type Refusal struct {
	Session string `json:"session_id"`
	Seq     uint64 `json:"seq"`
	Agent   string `json:"agent_id,omitempty"`
	Reason  string `json:"reason"` // for people
	// Names is how many new names of it were left out, as the view is full. 0: it was refused as a whole, and its session ended.
	Names uint64 `json:"names,omitempty"`
	At    int64  `json:"at_ns"` // when the version was made
}

// Refuse records a refusal. A segment that is folded in parts has one.
func (m *Manifest) Refuse(r Refusal) {
	r.At, r.Reason = m.FoldedAt, r.Reason[:min(len(r.Reason), maxReason)]
	kept := make([]Refusal, 0, MaxRefused)
	for _, old := range m.Refused {
		switch {
		case old.Session == r.Session && old.Seq == r.Seq:
			r.Names += old.Names
			m.RefusedCount--
		case m.FoldedAt-old.At < refusedFor:
			kept = append(kept, old)
		}
	}
	kept = append(kept, r)
	m.Refused = slices.Clone(kept[max(0, len(kept)-MaxRefused):])
	m.RefusedCount++
}

// Full says that names are missing from a view, as it had as many entries as its settings allow.
type Full struct {
	// Limit is how many it may have, as of the last fold that left names out.
	Limit int64 `json:"limit"`
	// Names is how many were left out since the last snapshot began; one that was left out twice counts twice.
	Names uint64 `json:"names"`
	Since int64  `json:"since_ns"` // when the first of them was
	// Rescan: there is room again, and the leader's session was ended for it, so that the next one lists everything.
	Rescan bool `json:"rescan,omitempty"`
}

// LeaveOut records that a fold left out names for this limit.
func (m *Manifest) LeaveOut(names uint64, limit int64) {
	full := Full{Since: m.FoldedAt}
	if m.Full != nil {
		full = *m.Full
	}
	full.Limit, full.Names, full.Rescan = limit, full.Names+names, false
	m.Full = &full
}

// What is wrong with a view's folds.
const (
	FoldsFail   = "folds-fail"
	BadSettings = "settings"
)

// Trouble says that a compactor cannot fold the view.
type Trouble struct {
	Kind   string `json:"kind"`
	Reason string `json:"reason"` // for people who may see everything
	Since  int64  `json:"since_ns"`
}

// SetTrouble records that a compactor cannot fold the view.
func (m *Manifest) SetTrouble(kind, reason string, since int64) {
	m.Trouble = &Trouble{kind, reason[:min(len(reason), maxReason)], since}
}

// Entries is how many there are in the view.
func (m *Manifest) Entries() int64 { return m.Totals.Files + m.Totals.Directories + m.Totals.Others }

// Tombstones is how many the layers have, superseded ones included.
func (m *Manifest) Tombstones() int64 {
	n := m.BaseSums().Removed
	for i := range m.Deltas {
		n += m.Deltas[i].Removed
	}
	return n
}
