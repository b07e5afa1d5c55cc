package manifest

import "github.com/fustor/fustor/internal/layer"

// Merged says of a range of keys which deltas' rows the base has already: those of the delta of that name and of all
// older ones. A merge goes through the base a few partitions at a time, and the deltas stay until it is through.
//
// Readers need not know it: a delta's row that the base has too is the same row. It is for merges, which go on from
// there and leave out of a merge of all deltas what the base has.
type Merged struct {
	From  layer.Key  `json:"from"`
	To    *layer.Key `json:"to,omitempty"` // not included; absent: to the end
	Delta string     `json:"delta"`
}

// CompareEnds orders the ends of two ranges of keys; nil is open, after every key.
func CompareEnds(a, b *layer.Key) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return a.Compare(*b)
}

// AddMerged puts a range into a list of disjoint ranges in key order; of what they have in common it is the one that
// counts, as it speaks of newer deltas. The list itself is left as it is.
func AddMerged(list []Merged, add Merged) []Merged {
	var out []Merged
	put := func(m Merged) {
		if m.To != nil && m.From.Compare(*m.To) >= 0 {
			return
		}
		if n := len(out); n > 0 && out[n-1].Delta == m.Delta && out[n-1].To != nil && *out[n-1].To == m.From {
			out[n-1].To = m.To
			return
		}
		out = append(out, m)
	}
	placed := false
	place := func() {
		if !placed {
			put(add)
			placed = true
		}
	}
	for _, m := range list {
		left, right := m, m
		if CompareEnds(&add.From, left.To) < 0 {
			left.To = &add.From
		}
		if m.From.Compare(add.From) < 0 {
			put(left)
		}
		if add.To == nil || CompareEnds(m.To, add.To) <= 0 {
			continue
		}
		place()
		if right.From.Compare(*add.To) < 0 {
			right.From = *add.To
		}
		put(right)
	}
	place()
	return out
}

// ReplaceDeltas puts layers in the place of the n deltas from the i-th on. What was known of the rows of those that go
// now holds of the older ones alone.
func (m *Manifest) ReplaceDeltas(i, n int, layers []layer.Info) {
	gone, older := map[string]bool{}, ""
	for _, d := range m.Deltas[i : i+n] {
		gone[d.ID] = true
	}
	if i+n < len(m.Deltas) {
		older = m.Deltas[i+n].ID
	}
	var merged []Merged
	for _, r := range m.Merged {
		if gone[r.Delta] {
			r.Delta = older
		}
		if r.Delta != "" {
			merged = AddMerged(merged, r)
		}
	}
	m.Merged = merged
	deltas := append([]layer.Info(nil), m.Deltas[:i]...)
	deltas = append(deltas, layers...)
	m.Deltas = append(deltas, m.Deltas[i+n:]...)
}
