package check

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

// Action is one step of a repair.
type Action struct {
	View string `json:"view_id,omitempty"`
	What string `json:"what"`
	Loss string `json:"loss,omitempty"` // what is gone for good by it; empty: nothing

	do func(context.Context) error
}

// Do takes the step. It may be repeated.
func (a Action) Do(ctx context.Context) error {
	if err := a.do(ctx); err != nil {
		return fmt.Errorf("%s: %w", a.What, err)
	}
	return nil
}

// Plan checks, and returns what would mend what was found, in order. Nothing is done before Do.
func Plan(ctx context.Context, o Options) (Report, []Action, error) {
	report, views, err := run(ctx, o)
	if err != nil {
		return report, nil, err
	}
	var all []Action
	for _, v := range views {
		if len(all) == 0 {
			all = append(all, v.checker.repairs...)
		}
		actions, err := v.plan()
		if err != nil {
			return report, nil, fmt.Errorf("plan the repair of view %s: %w", v.name, err)
		}
		for _, a := range actions {
			a.View = v.name
			all = append(all, a)
		}
	}
	return report, all, nil
}

// plan is the repair of a view: a head first, as the roster must be of its epoch, then what depends on it.
func (v *view) plan() (actions []Action, err error) {
	clock := store.NewClock(time.Now)
	ledger, err := session.NewLedger(clock.Watch(v.st), clock, rand.Reader)
	if err != nil {
		return nil, err
	}
	current := v.head
	if v.headBad != "" {
		current = v.whole()
		if current == nil {
			actions = append(actions, Action{What: "begin view " + v.name + " anew, empty", Loss: "everything that the view has: no version is whole. Its agents scan again",
				do: func(ctx context.Context) error { return v.beginAnew(ctx, ledger) }})
			return append(append(actions, v.mends...), v.forgetHead()...), nil
		}
		next, loss := v.successor(current)
		actions = append(actions, Action{What: fmt.Sprintf("publish version %d with what version %d had, of %s, and have the agents of view %s scan again", next.Version, current.Version,
			time.Unix(0, current.FoldedAt).UTC().Format(time.RFC3339), v.name), Loss: loss, do: func(ctx context.Context) error { return v.publish(ctx, next) }})
		current = next
	}
	if v.headBad != "" {
		actions = append(actions, v.forgetHead()...)
	}
	if v.namesBad && v.headBad == "" {
		next, _ := v.successor(v.head)
		next.Names = ""
		actions = append(actions, Action{What: "publish a version of view " + v.name + " without names of owners", Loss: "the names of owners, until the agents tell them again",
			do: func(ctx context.Context) error { return v.publish(ctx, next) }})
	}
	actions = append(actions, v.mends...)
	if v.rosterBad {
		if of := cmp.Or(current, v.newest()); of != nil {
			actions = append(actions, Action{What: "make " + layout.Roster(v.name) + " anew of the session records", do: func(ctx context.Context) error {
				return ledger.MendRoster(ctx, v.name, of.Epoch, of.EpochNumber)
			}})
		} else {
			actions = append(actions, Action{What: "begin view " + v.name + " anew, empty", Loss: "what its sessions have sent; its agents scan again",
				do: func(ctx context.Context) error { return v.beginAnew(ctx, ledger) }})
		}
	}
	for _, id := range sorted(v.records) {
		entry := v.roster.Sessions[id]
		actions = append(actions, Action{What: "end session " + id + " of agent " + entry.Agent, do: func(ctx context.Context) error { return ledger.MendRecord(ctx, v.name, id, entry) }})
	}
	for _, id := range sorted(v.stuck) {
		actions = append(actions, Action{What: "end session " + id, Loss: fmt.Sprintf("what it has sent from segment %d on, until its agent has scanned again", v.stuck[id]), do: func(ctx context.Context) error {
			if err := v.giveUp(ctx, id); err != nil {
				return err
			}
			return ledger.End(ctx, v.name, id, session.ByAdmin)
		}})
	}
	if v.headBad != "" {
		actions = append(actions, Action{What: "end the sessions of view " + v.name + ", so that the next leader scans", do: func(ctx context.Context) error { return v.endAll(ctx, ledger) }})
	}
	return actions, nil
}

// forgetHead takes a version that was current and is damaged out of the history.
func (v *view) forgetHead() []Action {
	if v.head == nil || v.layersFine() {
		return nil
	}
	key := v.head.Key()
	return []Action{{What: "remove " + key, Loss: "one version of the history", do: func(ctx context.Context) error { return v.st.Delete(ctx, key) }}}
}

// whole is the newest version that is whole, of the epoch that is current; nil: there is none.
func (v *view) whole() *manifest.Manifest {
	epoch := ""
	switch {
	case v.head != nil:
		epoch = v.head.Epoch
	case v.newest() != nil:
		epoch = v.newest().Epoch
	}
	for _, m := range slices.Backward(v.versions) {
		if m.Epoch == epoch && v.lacks(m) == "" && (v.head == nil || m.Key() != v.head.Key() || v.layersFine()) {
			return m
		}
	}
	return nil
}

// layersFine reports whether head itself is whole, and is bad only for being older than others.
func (v *view) layersFine() bool { return v.last() > v.head.Version+1 }

// successor is a version with what m had, after all that there ever were. Versions never go back, so neither does a repair.
func (v *view) successor(m *manifest.Manifest) (next *manifest.Manifest, loss string) {
	copied := *m
	next = &copied
	if v.layers[next.Names] != "" {
		next.Names = ""
	}
	next.Version, next.Parent, next.Reason = v.last()+1, m.Key(), "repair"
	next.FoldedAt = max(v.now.UnixNano(), m.FoldedAt)
	next.Nonce = manifest.Nonce(next.FoldedAt, rand.Text())
	next.Sessions = maps.Clone(m.Sessions)
	newest := v.newest()
	if newest.Key() != m.Key() || v.headBad != "" && v.head != nil {
		for id, p := range next.Sessions {
			if known := newest.Sessions[id]; !p.Broken && known.Next > p.Next && !v.has(id, p.Next, known.Next) {
				p.Broken = true // what it sent between is removed already
				next.Sessions[id] = p
				loss = fmt.Sprintf("what was seen since %s, until the agents have scanned again, and the history from then on", time.Unix(0, m.FoldedAt).UTC().Format(time.RFC3339))
			}
		}
	}
	return next, loss
}

// has reports whether a session's segments from one number up to another are all there.
func (v *view) has(id string, from, to uint64) bool {
	for seq := from; seq < to; seq++ {
		if _, there := v.objects[layout.Segment(v.name, id, seq)]; !there {
			return false
		}
	}
	return true
}

// publish makes next the current version, in the place of what is there.
func (v *view) publish(ctx context.Context, next *manifest.Manifest) error {
	etag, err := v.headETag()
	if err == nil {
		_, err = manifest.Commit(ctx, v.st, next, etag)
	}
	return err
}

// beginAnew gives the view an empty version in a new epoch.
func (v *view) beginAnew(ctx context.Context, ledger *session.Ledger) error {
	number := uint64(1)
	for _, m := range v.versions {
		number = max(number, m.EpochNumber+1)
	}
	if v.roster != nil {
		number = max(number, v.roster.EpochNumber+1)
	}
	epoch := rand.Text()
	if err := ledger.MendRoster(ctx, v.name, epoch, number); err != nil {
		return err
	}
	before := &manifest.Manifest{View: v.name}
	if m := v.newest(); m != nil {
		before = &manifest.Manifest{View: v.name, Version: m.Version, Nonce: m.Nonce, Clock: m.Clock, Live: m.Live}
		if m.Term < 1<<62 {
			before.Term = m.Term
		}
	}
	now := v.now.UnixNano()
	next := before.Empty(epoch, manifest.Nonce(now, rand.Text()), now)
	next.Version, next.EpochNumber = v.last()+1, number
	if err := v.publish(ctx, next); err != nil {
		return err
	}
	return v.endAll(ctx, ledger)
}

// giveUp publishes a version that folds no more of a session.
func (v *view) giveUp(ctx context.Context, id string) error {
	for {
		m, etag, err := manifest.Load(ctx, v.st, v.name)
		if err != nil {
			return err
		}
		next := *m
		next.Version, next.Parent, next.Reason, next.FoldedAt = m.Version+1, m.Key(), "repair", max(v.now.UnixNano(), m.FoldedAt)
		next.Nonce = manifest.Nonce(next.FoldedAt, rand.Text())
		next.Sessions = maps.Clone(m.Sessions)
		if next.Sessions == nil {
			next.Sessions = map[string]manifest.Progress{}
		}
		p := next.Sessions[id]
		p.Broken = true
		next.Sessions[id] = p
		if _, err = manifest.Commit(ctx, v.st, &next, etag); !errors.Is(err, store.ErrLost) {
			return err
		}
	}
}

// endAll ends every session that has a record.
func (v *view) endAll(ctx context.Context, ledger *session.Ledger) error {
	var failed error
	for _, key := range v.under(layout.View(v.name) + "sessions/") {
		id := key[len(layout.View(v.name)+"sessions/") : len(key)-len(".json")]
		if err := ledger.End(ctx, v.name, id, session.ByAdmin); err != nil && !errors.Is(err, session.ErrDamaged) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
