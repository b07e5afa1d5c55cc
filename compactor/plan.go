package compactor

import (
	"context"
	"sort"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
)

const (
	// ripeShare: a base partition is rewritten once the deltas have one row for it to so many of its own.
	ripeShare = 8
	// tierShare: a delta joins the merge of the newer ones unless it has more than so many times their rows.
	tierShare = 2
	// deltaShare bounds the rows of all deltas: above one for so many of the base, the partitions that they change most are rewritten
	// before they are ripe. So a row that changes anywhere costs about as many rewritten ones, whatever the size of the view.
	deltaShare = 16
	// minDeltaPartitions and maxDeltaPartitions bound that bound, in partitions: a small view need not rewrite what it has at once, and a
	// version names every layer of its deltas in head, which each fold writes.
	minDeltaPartitions = 4
	maxDeltaPartitions = 32
	// stepPartitions bounds the delta rows that one step takes, in partitions.
	stepPartitions = 2
)

// plan is the next step of a merge: base partitions to rewrite, or deltas to make into one. The zero plan is none.
type plan struct {
	span   *span
	deltas []layer.Info
}

func (p *plan) none() bool { return p.span == nil && len(p.deltas) == 0 }

// span is a range of keys with the base partitions that lie in it, mostly one.
type span struct {
	from  layer.Key
	to    *layer.Key // nil is open
	first int        // index of the first partition
	parts []layer.Info
	rows  int64 // of the partitions
	fresh int64 // about how many rows the deltas have for it that the base has not
}

func (s *span) ripe() bool { return s.fresh > 0 && s.fresh*ripeShare >= s.rows }

// name is by which a claim tells what the plan is about: the first partition of a span, which is gone once the plan is done.
func (p *plan) name() string {
	switch {
	case p.span == nil:
		return claimOfDeltas
	case len(p.span.parts) == 0:
		return claimOfFirstBase
	}
	return p.span.parts[0].ID
}

// rows is about how many the plan reads.
func (p *plan) rows() (n int64) {
	if p.span != nil {
		return p.span.rows + p.span.fresh
	}
	for i := range p.deltas {
		n += p.deltas[i].Rows
	}
	return n
}

// plan decides by what a merge saves. A reader asks every delta that may have a key, so the number of deltas is bounded. A
// base partition is rewritten as a whole, so it waits until the deltas have enough rows for it (ripe).
//
//  1. With few deltas, and no merge under way, there is nothing to do.
//  2. With too many deltas, the newest few become one, as long as older ones are much larger.
//  3. If that would be all of them, ripe partitions are rewritten first; then the rest of the deltas becomes one.
//
// What others have claimed is left to them.
func (c *Compactor) plan(ctx context.Context, m *manifest.Manifest, claimed claimed) (plan, error) {
	tooMany := len(deltaRuns(m.Deltas)) > c.o.MaxDeltas
	if !tooMany && len(m.Merged) == 0 {
		return plan{}, nil
	}
	if tooMany && !claimed[claimOfDeltas] {
		if few := c.newestFew(m.Deltas); len(few) < len(m.Deltas) {
			return plan{deltas: few}, nil
		}
	}
	spans, err := c.spans(ctx, m)
	if err != nil {
		return plan{}, err
	}
	var all, fresh int64
	var densest *span
	for i := range spans {
		s := &spans[i]
		if claimed.has(s) {
			continue
		}
		if s.ripe() {
			return plan{span: c.widen(s, spans, claimed)}, nil
		}
		fresh += s.fresh
		if densest == nil || float64(s.fresh)/float64(s.rows+1) > float64(densest.fresh)/float64(densest.rows+1) {
			densest = s
		}
	}
	if fresh > c.maxFresh(spans) {
		return plan{span: c.widen(densest, spans, claimed)}, nil
	}
	if claimed[claimOfDeltas] || len(claimed) > 0 && !tooMany { // what is being merged into the base need not be written once more
		return plan{}, nil
	}
	for _, d := range m.Deltas {
		all += d.Rows
	}
	if tooMany || fresh <= all/2 { // the pass is through, and half of the deltas' rows are in the base
		return plan{deltas: m.Deltas}, nil
	}
	return plan{}, nil
}

// maxFresh is how many rows the deltas may have that the base has not, before partitions are rewritten that are not ripe.
func (c *Compactor) maxFresh(spans []span) int64 {
	base := int64(0)
	for i := range spans {
		base += spans[i].rows
	}
	return min(max(base/deltaShare, minDeltaPartitions*c.o.PartitionRows), maxDeltaPartitions*c.o.PartitionRows)
}

// deltaRuns groups deltas that follow each other in key order, as the layers of one large fold do: a reader asks one of them.
func deltaRuns(deltas []layer.Info) (groups [][]layer.Info) {
	for i := range deltas {
		if i == 0 || deltas[i-1].Last.Compare(deltas[i].First) >= 0 {
			groups = append(groups, nil)
		}
		n := len(groups) - 1
		groups[n] = append(groups[n], deltas[i])
	}
	return groups
}

// newestFew are the newest deltas that are worth making into one.
func (c *Compactor) newestFew(deltas []layer.Info) []layer.Info {
	groups := deltaRuns(deltas)
	taken, rows := 0, int64(0)
	for i, run := range groups {
		of := int64(0)
		for _, d := range run {
			of += d.Rows
		}
		if i >= 2 && of > tierShare*rows && len(groups)-i < c.o.MaxDeltas {
			break
		}
		rows += of
		taken += len(run)
	}
	return deltas[:taken]
}

// spans are the view's base partitions, each with what the deltas have for it; one of all keys where there is no base.
func (c *Compactor) spans(ctx context.Context, m *manifest.Manifest) ([]span, error) {
	spans := make([]span, max(1, len(m.Base)))
	for i := range m.Base {
		s := &spans[i]
		s.first, s.parts, s.rows = i, m.Base[i:i+1], m.Base[i].Rows
		if i > 0 {
			s.from = m.Base[i].First
			spans[i-1].to = &s.from
		}
	}
	return spans, c.countFresh(ctx, m, spans)
}

// countFresh estimates the rows that the deltas have for each span, by row groups: each counts for the span that it begins in.
func (c *Compactor) countFresh(ctx context.Context, m *manifest.Manifest, spans []span) error {
	for i := range m.Deltas {
		l := layer.New(c.o.Store, m.View, m.Deltas[i], c.cache)
		groups, err := l.Groups(ctx)
		if err != nil {
			return err
		}
		for _, g := range groups {
			if inBase(m, i, g.First) {
				continue
			}
			at := sort.Search(len(spans), func(j int) bool { return spans[j].to == nil || g.First.Compare(*spans[j].to) < 0 })
			spans[at].fresh += int64(g.Rows)
		}
	}
	return nil
}

// inBase reports whether the base has what delta i has for the key.
func inBase(m *manifest.Manifest, i int, k layer.Key) bool {
	for _, r := range m.Merged {
		if r.From.Compare(k) <= 0 && manifest.CompareEnds(&k, r.To) < 0 {
			return i >= indexOfID(m.Deltas, r.Delta)
		}
	}
	return false
}

// indexOfID is where a delta stands, len(deltas) if it does not.
func indexOfID(deltas []layer.Info, id string) int {
	for i := range deltas {
		if deltas[i].ID == id {
			return i
		}
	}
	return len(deltas)
}

// widen adds small neighbouring partitions to the span, so that they do not stay small.
func (c *Compactor) widen(s *span, spans []span, claimed claimed) *span {
	w := *s
	for _, next := range spans {
		if claimed.has(&next) || next.first != w.first+len(w.parts) || len(next.parts) == 0 || w.rows+w.fresh+next.rows+next.fresh > c.o.PartitionRows/2 {
			continue
		}
		w.parts = append(w.parts[:len(w.parts):len(w.parts)], next.parts...)
		w.rows, w.fresh, w.to = w.rows+next.rows, w.fresh+next.fresh, next.to
	}
	return &w
}

// stretch is a range of keys, and the deltas that have rows there which the base has not.
type stretch struct {
	from   layer.Key
	to     *layer.Key
	deltas []layer.Info
}

// stretches divides a range of keys by what is merged into the base there.
func stretches(m *manifest.Manifest, from layer.Key, to *layer.Key) (out []stretch) {
	put := func(to *layer.Key, deltas []layer.Info) {
		if manifest.CompareEnds(&from, to) >= 0 {
			return
		}
		if len(deltas) > 0 {
			out = append(out, stretch{from, to, deltas})
		}
		if to != nil {
			from = *to
		}
	}
	for _, r := range m.Merged {
		if manifest.CompareEnds(to, &r.From) <= 0 {
			break
		}
		put(&r.From, m.Deltas)
		end := r.To
		if manifest.CompareEnds(to, end) < 0 {
			end = to
		}
		put(end, m.Deltas[:indexOfID(m.Deltas, r.Delta)])
		if end == nil {
			return out
		}
	}
	put(to, m.Deltas)
	return out
}
