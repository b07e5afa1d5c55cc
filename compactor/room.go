package compactor

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/viewconfig"
)

// A view has as many entries as its settings allow (viewconfig.Config.MaxEntries). A fold that would make more takes in new names, in the
// order of the walk, until the view is full, and leaves out the others: the view is as if nobody had spoken of them yet. All that is said
// of names that it has counts as ever, so deletes make room. What was left out is in the manifest, by segment: so it is decided once, by
// whoever publishes the fold.
//
// Once there is room again, the session of the leader is ended: the next one lists everything (fillAgain).
//
// Tombstones are bounded, too, or deletes of names that nobody knows would fill a view: where there are very many, a name that the view
// does not know at all gets no row of either kind.

const (
	// tombstonesPerEntry and moreTombstones bound a view's tombstones: that many for each entry that it may have, and some more.
	tombstonesPerEntry = 4
	moreTombstones     = 1 << 20
)

// room is how much a fold may add to a view.
type room struct {
	limit   int64 // entries that the view may have
	entries int64 // that may be added
	stones  int64 // tombstones that may be added
	left    map[*origin]uint64
}

// roomIn is the room in a view; limit 0: there is no limit.
func roomIn(m *manifest.Manifest, limit int64) *room {
	if limit == 0 {
		return noLimit()
	}
	stones := int64(math.MaxInt64)
	if limit < math.MaxInt64/(2*tombstonesPerEntry) {
		stones = tombstonesPerEntry*limit + moreTombstones - m.Tombstones()
	}
	return &room{limit: limit, entries: limit - m.Entries(), stones: stones}
}

func noLimit() *room { return &room{entries: math.MaxInt64, stones: math.MaxInt64} }

// admits reports whether there is room for what a name became, and takes it.
func (v *visit) admits(r *resolution) bool {
	room := v.room
	if room.limit == 0 {
		return true
	}
	if !r.wasKnown {
		if room.stones <= 0 {
			return false
		}
		if r.row.Removed {
			room.stones--
		}
	}
	if r.row.Removed || present(&r.was, r.wasKnown) {
		return true
	}
	// The directories above that are not there will be assumed.
	needs, top := int64(1), v.dir
	for ; top != nil && !top.held && !isDir(&top.row, top.known); top = v.above(top) {
		needs++
	}
	if needs > room.entries {
		return false
	}
	room.entries -= needs
	for n := v.dir; n != top; n = v.above(n) {
		n.held = true
	}
	return true
}

// above is the directory that a node is in; nil for the root.
func (w *walk) above(n *node) *node { return w.dirs[n.row.Parent] }

// leaveOut has a name stay as it was, and notes whose segments spoke of it.
func (v *visit) leaveOut(r *resolution, key layer.Key) {
	r.Changed = false
	if r.row = r.was; !r.wasKnown {
		r.row = evidence.Row{Parent: key.Parent, Name: key.Name}
	}
	if v.room.left == nil {
		v.room.left = map[*origin]uint64{}
	}
	noted := map[*origin]bool{}
	for i := v.claimsPassed - 1; i >= 0 && v.group.claims[i].name == key.Name; i-- {
		if p := &v.group.claims[i]; p.verb != 0 {
			noted[p.by] = true
		}
	}
	for i, l := range v.listings {
		if n := v.passed[i]; n > 0 && l.entries[n-1].Name == key.Name {
			noted[l.by] = true
		}
	}
	for by := range noted {
		v.room.left[by]++
	}
}

// refusals are the segments of which names were left out, in order.
func (r *room) refusals() []manifest.Refusal {
	var all []manifest.Refusal
	for by, names := range r.left {
		all = append(all, manifest.Refusal{Session: by.session, Seq: by.seq, Agent: by.agent, Names: names,
			Reason: fmt.Sprintf("new names were left out, as the view has %d entries, as many as it may (--max-entries)", r.limit)})
	}
	slices.SortFunc(all, func(a, b manifest.Refusal) int {
		return cmp.Or(cmp.Compare(a.Session, b.Session), cmp.Compare(a.Seq, b.Seq))
	})
	return all
}

// recordIn adds to the manifest what was left out.
func (r *room) recordIn(m *manifest.Manifest) {
	names := uint64(0)
	for _, one := range r.refusals() {
		m.Refuse(one)
		names += one.Names
	}
	if names > 0 {
		m.LeaveOut(names, r.limit)
	}
}

// reportRefused logs and counts what a published fold has refused. A view that is full says so once; its segments are in the manifest.
func (c *Compactor) reportRefused(before *manifest.Manifest, in *foldInput, r *room) {
	for _, one := range in.refused {
		c.o.Logger.Error("a segment is damaged; its session is ended, and its agent will scan again", "view", before.View, "session", one.Session,
			"seq", one.Seq, "agent", one.Agent, "error", one.Reason)
		c.metrics.damaged.Inc()
	}
	left := r.refusals()
	if len(left) == 0 {
		return
	}
	c.metrics.cut.Add(float64(len(left)))
	if before.Full == nil {
		c.o.Logger.Error("the view is full: it takes in no new names; delete files, or raise --max-entries of the view", "view", before.View, "limit", r.limit,
			"session", left[0].Session, "seq", left[0].Seq, "agent", left[0].Agent, "names", left[0].Names)
	}
}

// fillAgain ends the sessions of a view that was full and has room again: their agents begin new ones, and whichever leads lists
// everything. It is done once: then the manifest says so.
func (c *Compactor) fillAgain(ctx context.Context, head version, config viewconfig.Config) error {
	full := head.Full
	if full == nil || full.Rescan {
		return nil
	}
	limit := config.MaxEntries
	if limit != 0 && limit <= full.Limit && head.Entries() > limit/4*3 {
		return nil
	}
	leading, err := session.Leader(ctx, c.o.Store, head.View)
	if err != nil {
		return err
	}
	if leading.Session != "" {
		if err := c.ledger.End(ctx, head.View, leading.Session, "room again"); err != nil {
			return err
		}
	}
	c.o.Logger.Info("the view was full and has room again; it is scanned anew", "view", head.View, "session", leading.Session)
	_, err = c.publish(ctx, head, "settings", func(m *manifest.Manifest) error {
		if m.Full == nil || m.Full.Rescan {
			return errOvertaken
		}
		again := *m.Full
		again.Rescan = true
		m.Full = &again
		return nil
	})
	return err
}
