package compactor

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

// Tend is tend, for callers that have no worker on the view (Run). It removes objects at most four times per grace, and once
// per version. What ctx cuts off is done the next time.
func (c *Compactor) Tend(ctx context.Context, view string) error {
	if err := c.tend(ctx, view); err != nil {
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
	if err := c.ledger.Forget(ctx, view, c.o.Grace, func(id string) bool { return c.foldedToEnd(ctx, view, id) }); err != nil {
		return err
	}
	c.mu.Lock()
	last, now := c.retained[view], c.o.Now()
	c.mu.Unlock()
	if last.version == head.Version || now.Sub(last.at) <= c.o.Grace/4 {
		return nil
	}
	if _, err = c.Retain(ctx, view); err != nil {
		return err
	}
	c.mu.Lock()
	c.retained[view] = retentionDone{head.Version, now}
	c.mu.Unlock()
	return nil
}

// retentionDone says which version retention last ran for, and when.
type retentionDone struct {
	version uint64
	at      time.Time
}

// foldedToEnd reports whether all segments of a session that has ended are folded. When in doubt it says no.
func (c *Compactor) foldedToEnd(ctx context.Context, view, id string) bool {
	m, _, err := manifest.Load(ctx, c.o.Store, view)
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

// Retain removes what no version of the history needs and is older than the grace by the store's clock: superseded versions
// and their layers, folded segments, and what lost races and killed processes left. It returns how many objects it removed.
//
// An object may be removed only if no reader and no writer can still come to need it. A reader needs a version of the
// history. A writer refers to new objects only, and gives up after jobLimit, which is far shorter than the grace. All ages
// are by the store's clock.
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
	r := &retention{c: c, ctx: ctx, view: view, dry: dry}
	for _, step := range []func() error{r.versions, r.layers, r.segments, r.staging} {
		if err := step(); err != nil {
			return r.removed, fmt.Errorf("retention of view %s: %w", view, err)
		}
	}
	return r.removed, nil
}

type retention struct {
	c       *Compactor
	ctx     context.Context
	view    string
	head    version
	oldest  *manifest.Manifest // the version that history begins with
	dry     bool
	removed []Removal
}

// versions finds the newest version that is older than the history, and removes all before it. It lists before it reads head,
// so that head is at least as new as everything listed.
func (r *retention) versions() error {
	var old []Removal
	err := store.Each(r.ctx, r.c.o.Store, layout.Manifests(r.view), func(i store.Item, age time.Duration) error {
		if age > r.c.o.History {
			old = append(old, Removal{i.Key, i.Size, age, "version older than the history"}) // in the order of versions
		}
		return nil
	})
	if err != nil {
		return err
	}
	if r.head, err = r.c.current(r.ctx, r.view); err != nil {
		return err
	}
	r.oldest = r.head.Manifest
	if len(old) == 0 {
		return nil
	}
	if r.oldest, err = manifest.LoadKey(r.ctx, r.c.o.Store, r.view, old[len(old)-1].Key); err != nil {
		return err
	}
	for _, o := range old[:len(old)-1] {
		if o.Key == r.head.Key() {
			continue
		}
		if err := r.remove(o); err != nil {
			return err
		}
	}
	return nil
}

// layers removes the layers, and names of owners, that neither the first nor the last version of the history has. A layer that only a version
// between them has is younger than the history, so its age spares it.
func (r *retention) layers() error {
	keep := map[string]bool{}
	for _, m := range []*manifest.Manifest{r.head.Manifest, r.oldest} {
		for _, infos := range [][]layer.Info{m.Base, m.Deltas} {
			for _, i := range infos {
				keep[i.ID] = true
			}
		}
		keep[m.Names] = true
	}
	spare := r.c.o.History + r.c.o.Grace
	return store.Each(r.ctx, r.c.o.Store, layout.Layers(r.view), func(i store.Item, age time.Duration) error {
		name := path.Base(i.Key)
		if age <= spare || keep[strings.TrimSuffix(name, path.Ext(name))] {
			return nil
		}
		return r.remove(Removal{i.Key, i.Size, age, "layer of no version in the history"})
	})
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
	return store.Each(r.ctx, r.c.o.Store, layout.AllSegments(r.view), func(i store.Item, age time.Duration) error {
		_, id, seq, ok := layout.SplitSegment(i.Key)
		if !ok || age <= r.c.o.Grace {
			return nil
		}
		entry, listed := roster.Sessions[id]
		listed = listed && entry.Epoch == roster.Epoch
		progress, known := r.head.Sessions[id]
		if known && seq >= progress.Next && !progress.Broken || !known && listed {
			return nil
		}
		return r.remove(Removal{i.Key, i.Size, age, "segment that is folded, or of a session that is over"})
	})
}

// staging removes what sessions that have ended left of unfinished audits.
func (r *retention) staging() error {
	var roster *session.Roster
	return store.Each(r.ctx, r.c.o.Store, layout.AllStaging(r.view), func(i store.Item, age time.Duration) error {
		id, ok := layout.SplitStaging(i.Key)
		if !ok || age <= r.c.o.Grace {
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
