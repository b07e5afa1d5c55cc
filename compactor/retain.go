package compactor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Tend is tend, for callers that have no worker on the view (Run). It removes objects at most four times per grace, and only when
// something may have become removable. What ctx cuts off is done the next time.
func (c *Compactor) Tend(ctx context.Context, view string) error {
	if err := errors.Join(c.tend(ctx, view), c.tendTable(ctx, view)); err != nil {
		return fmt.Errorf("tend view %s: %w", view, err)
	}
	return nil
}

// tend does what a view at rest needs: sessions that have ended and are folded to their end leave the roster, and objects
// that no version needs are removed.
func (c *Compactor) tend(ctx context.Context, view string) error {
	head, err := c.current(ctx, view)
	if err != nil || head.Version == 0 {
		return err
	}
	c.sawVersion(view, head.Version)
	if err := c.ledger.Forget(ctx, view, c.o.Grace, func(id string) bool { return c.foldedToEnd(ctx, view, id) }); err != nil {
		return err
	}
	config, err := c.configs.Load(ctx, view)
	if err != nil {
		return err
	}
	last, now := c.lastRetention(view), c.o.Now()
	at := time.Unix(0, c.clock.Now())
	// What a new version supersedes may go in two hours. Until then retention is of use only if it has left something lately.
	if soon := at.Add(2 * c.o.Grace); last.version != head.Version && last.version != 0 && last.policy == config.Keep() && (last.due.IsZero() || last.due.After(soon)) {
		last.version, last.due = head.Version, soon
		c.setRetention(view, last)
		return nil
	}
	due := last.version != head.Version || last.policy != config.Keep() || !last.due.IsZero() && !at.Before(last.due)
	if !due || now.Sub(last.at) <= c.o.Grace/4 {
		return nil
	}
	_, err = c.Retain(ctx, view)
	return err
}

// foldedToEnd reports whether all segments of a session that has ended are folded. When in doubt it says no.
func (c *Compactor) foldedToEnd(ctx context.Context, view, id string) bool {
	m, _, err := manifest.LoadRoot(ctx, c.o.Store, view)
	if err != nil {
		return false
	}
	p := m.Sessions[id]
	if p.Broken {
		return true
	}
	page, err := c.o.Store.List(ctx, layout.Segments(view, id), "", 1000)
	if err != nil || page.More {
		return false
	}
	for _, item := range page.Items {
		if _, _, seq, ok := layout.SplitSegment(item.Key); ok && seq >= p.Next {
			return false
		}
	}
	return true
}

// Retain removes what no kept version needs and is older than the grace by the store's clock: versions that the view's history
// does not keep and their layers, folded segments, and what lost races and killed processes left. It returns how many objects it
// removed.
//
// An object may be removed only if no reader and no writer can still come to need it. A reader needs a version that is kept. A
// writer refers to new objects only, and gives up after JobLimit, which is far shorter than the grace. All ages are by the store's
// clock. A compactor that is held up for hours in the middle removes nothing that others keep meanwhile: a version that may go never
// becomes one that is kept (internal/history).
func (c *Compactor) Retain(ctx context.Context, view string) (int, error) {
	removed, err := c.Retention(ctx, view, false)
	return len(removed), err
}

// Removal is an object that retention removed, or would have.
type Removal struct {
	Key   string
	Bytes int64
	Age   time.Duration // by the store's clock
	Why   string
}

// Retention is Retain and returns what it removed; with dry it removes nothing and returns what it would remove.
func (c *Compactor) Retention(ctx context.Context, view string, dry bool) ([]Removal, error) {
	r := &retention{c: c, ctx: ctx, view: view, dry: dry, last: c.lastRetention(view)}
	config, err := c.configs.Load(ctx, view)
	if err != nil {
		return nil, fmt.Errorf("retention of view %s: %w", view, err)
	}
	r.config, r.asked = config, config.Keep()
	if r.policy = r.asked; r.policy.Within != history.Unlimited {
		r.policy.Within = max(r.policy.Within, c.o.Grace)
	}
	for _, step := range []func() error{r.versions, r.layers, r.segments, r.staging, r.mergeClaims, r.tableObjects} {
		if err := step(); err != nil {
			return r.removed, fmt.Errorf("retention of view %s: %w", view, err)
		}
	}
	if !dry {
		r.done()
	}
	return r.removed, nil
}

type retention struct {
	c       *Compactor
	ctx     context.Context
	view    string
	config  viewconfig.Config
	asked   history.Policy // by the settings
	policy  history.Policy // asked, with the grace
	last    retentionDone
	now     time.Time // by the store's clock, from before anything was read: ages are as of then, however long this takes
	head    version
	kept    []history.Kept // in order; it may end before the versions of Policy.Within do
	dry     bool
	removed []Removal
	due     time.Time // of what was too young this time
}

// retentionDone is what is known of a view since retention last ran for it in this process.
type retentionDone struct {
	version uint64
	policy  history.Policy
	at      time.Time // this machine's time
	due     time.Time // when there is more to remove without a new version, by the store's clock; zero: never
	kept    []history.Kept
	swept   time.Time // layers written before are needed by kept, or by head
}

func (c *Compactor) lastRetention(view string) retentionDone {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.retained[view]
}

func (c *Compactor) setRetention(view string, d retentionDone) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retained[view] = d
}

func (r *retention) done() {
	d := retentionDone{version: r.head.Version, policy: r.asked, at: r.c.o.Now(), kept: r.kept}
	if !r.due.IsZero() {
		d.due = r.due.Add(r.c.o.Grace) // versions, segments and layers of one change are due at different times: one run for all
	}
	if r.policy.Within != history.Unlimited {
		d.swept = r.now.Add(-r.spare() - r.c.writing())
	}
	r.c.setRetention(r.view, d)
}

// later notes when there will be more to remove.
func (r *retention) later(at time.Time) {
	if r.due.IsZero() || at.Before(r.due) {
		r.due = at
	}
}

// writing is the longest that a layer may be older than the first version that has it.
func (c *Compactor) writing() time.Duration { return max(c.o.Grace, c.o.JobLimit) }

// spare is how old a layer is at least before it is asked whether anybody needs it.
func (r *retention) spare() time.Duration { return r.policy.Within + r.c.o.Grace }

// versions removes the versions that the history does not keep. It lists before it reads head, so that head is at least as new as
// everything listed. Manifests go before their layers: so a version that is listed is whole, whatever becomes of this process.
func (r *retention) versions() error {
	list, now, err := manifest.List(r.ctx, r.c.o.Store, r.view, 0, 0, func(list []manifest.Published, now time.Time) bool {
		return r.policy.Within == history.Unlimited || len(list) > 0 && now.Sub(list[len(list)-1].At) <= r.policy.Within
	})
	if err != nil {
		return err
	}
	r.now = now
	if r.head, err = r.c.current(r.ctx, r.view); err != nil {
		return err
	}
	if r.head.Version > 0 { // else what is newer would count as what lost a race
		if err := r.head.Proved(r.ctx, r.c.o.Store); err != nil {
			return err
		}
	} else if len(list) > 0 {
		return manifest.WentBack("there is no %s, but there is %s", layout.Head(r.view), list[len(list)-1].Key)
	}
	pins, _, err := history.ReadPins(r.ctx, r.c.o.Store, r.view)
	if err != nil {
		return err
	}
	chain, strays, err := manifest.Chain(r.ctx, r.c.o.Store, r.head.Manifest, list)
	if err != nil {
		return err
	}
	for _, p := range strays { // before the versions by which they are known
		age := now.Sub(p.Written)
		if p.Version > r.head.Version && age <= r.c.o.Grace { // it may become head yet
			r.later(p.Written.Add(r.c.o.Grace))
		} else if err := r.remove(Removal{p.Key, p.Bytes, age, "version that lost a race"}); err != nil {
			return err
		}
	}
	var gone []history.Kept
	r.kept, gone = r.policy.Split(chain, r.head.Manifest, pins, now)
	if err := r.table(); err != nil {
		return err
	}
	for _, p := range gone {
		if err := r.remove(Removal{p.Key, p.Bytes, now.Sub(p.At), "version that the history does not keep"}); err != nil {
			return err
		}
	}
	for _, k := range r.kept {
		if k.Until.Before(history.Forever) {
			r.later(k.Until)
		}
	}
	if n := len(chain); n > 0 && chain[n-1].Version < r.head.Version && r.policy.Within != history.Unlimited {
		r.later(chain[n-1].At.Add(r.policy.Within)) // the others are not listed
	}
	return nil
}

// segments removes folded segments, and those of sessions that have ended.
func (r *retention) segments() error {
	roster, err := r.c.roster(r.ctx, r.view)
	if err != nil {
		return err
	}
	if roster == nil {
		roster = &session.Roster{}
	}
	return store.Each(r.ctx, r.c.o.Store, layout.AllSegments(r.view), func(i store.Item, _ time.Duration) error {
		age := r.now.Sub(i.LastModified)
		_, id, seq, ok := layout.SplitSegment(i.Key)
		if !ok {
			return nil
		}
		entry, listed := roster.Sessions[id]
		listed = listed && entry.Epoch == roster.Epoch
		progress, known := r.head.Sessions[id]
		if known && seq >= progress.Next && !progress.Broken || !known && listed {
			return nil
		}
		if age <= r.c.o.Grace {
			r.later(i.LastModified.Add(r.c.o.Grace))
			return nil
		}
		return r.remove(Removal{i.Key, i.Size, age, "segment that is folded, or of a session that is over"})
	})
}

// staging removes what sessions that have ended left of unfinished audits.
func (r *retention) staging() error {
	var roster *session.Roster
	return store.Each(r.ctx, r.c.o.Store, layout.AllStaging(r.view), func(i store.Item, _ time.Duration) error {
		age := r.now.Sub(i.LastModified)
		id, ok := layout.SplitStaging(i.Key)
		if !ok {
			return nil
		}
		if age <= r.c.o.Grace {
			r.later(i.LastModified.Add(r.c.o.Grace))
			return nil
		}
		if roster == nil {
			var err error
			if roster, err = r.c.roster(r.ctx, r.view); err != nil {
				return err
			}
			if roster == nil {
				roster = &session.Roster{}
			}
		}
		if entry, listed := roster.Sessions[id]; listed && !entry.Ended && entry.Epoch == roster.Epoch {
			return nil
		}
		return r.remove(Removal{i.Key, i.Size, age, "rows of an audit whose session is over"})
	})
}

// mergeClaims removes what compactors that died have left.
func (r *retention) mergeClaims() error {
	return store.Each(r.ctx, r.c.o.Store, layout.MergeClaims(r.view), func(i store.Item, _ time.Duration) error {
		if age := r.now.Sub(i.LastModified); age > r.c.o.Grace {
			why := "claim on a merge that was not ended"
			if i.Key == layout.MoreMerges(r.view) {
				why = "call for others to merge"
			}
			return r.remove(Removal{i.Key, i.Size, age, why})
		}
		r.later(i.LastModified.Add(r.c.o.Grace))
		return nil
	})
}

func (r *retention) remove(o Removal) error {
	if r.dry {
		r.removed = append(r.removed, o)
		return nil
	}
	if err := r.c.o.Store.Delete(r.ctx, o.Key); err != nil {
		return fmt.Errorf("remove %s: %w", o.Key, err)
	}
	r.removed = append(r.removed, o)
	r.c.metrics.removed.Inc()
	return nil
}
