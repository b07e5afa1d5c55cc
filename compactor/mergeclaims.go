package compactor

import (
	"context"
	"errors"
	"path"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// Several compactors merge disjoint ranges of one view at the same time. So that they do not do the same work, each says by an object
// what it is about to merge. Such a claim is a hint, no more: it holds for claimTTL by the store's clock and is not renewed, so that whoever
// dies or stalls delays nobody for longer, and what a merge publishes fits the current version or is refused, with or without a claim.
// Only what takes longer than some requests is claimed (Options.ClaimRows): a small view's merges cost no more for it.

const (
	// claimTTL is for how long a claim holds: several times as long as a partition takes.
	claimTTL = 2 * time.Minute
	// claimEnd is how long its end may take, once the merge is over.
	claimEnd = 10 * time.Second

	claimOfDeltas    = "deltas" // deltas are made into one
	claimOfFirstBase = "base"   // a view that has none gets it
)

// claimed are the names of plans that others are at.
type claimed map[string]bool

func (c claimed) has(s *span) bool { return c[(&plan{span: s}).name()] }

// claimMerge is what this compactor is to merge, of which version, and what ends its claim.
func (c *Compactor) claimMerge(ctx context.Context, view string) (version, plan, func(), error) {
	head, p, err := c.toMerge(ctx, view, nil)
	if err != nil || p.none() || p.rows() < c.o.ClaimRows {
		return head, p, func() {}, err
	}
	live, over, err := c.mergeClaims(ctx, view)
	if err != nil {
		c.noClaims(view, err)
		return head, p, func() {}, ctx.Err()
	}
	for {
		if len(live) > 0 {
			head, p, err = c.toMerge(ctx, view, live)
			if err == nil && p.none() {
				c.leave(view)
			}
			if err != nil || p.none() || p.rows() < c.o.ClaimRows {
				return head, p, func() {}, err
			}
		}
		name := p.name()
		key := layout.MergeClaim(view, name)
		switch err := c.claim(ctx, key, over[name]); {
		case err == nil:
			live[name] = true
			c.callNext(ctx, view, live)
			return head, p, func() { c.unclaim(ctx, key) }, nil
		case !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrChanged):
			c.noClaims(view, err)
			return head, p, func() {}, ctx.Err()
		}
		live[name] = true // another one was first
	}
}

// callNext begins another merge, or has another compactor come, where there is something to merge beside what is claimed. It calls one; that
// one calls the next. A call that is lost costs time: the schedule finds the rest.
func (c *Compactor) callNext(ctx context.Context, view string, live claimed) {
	c.mu.Lock()
	w := c.views[view]
	c.mu.Unlock()
	here := w != nil && len(w.merges) < cap(w.merges)
	if !here && !c.o.CallOthers {
		return
	}
	_, p, err := c.toMerge(ctx, view, live)
	if err != nil || p.none() || p.rows() < c.o.ClaimRows {
		return
	}
	if here {
		w.mergeMore()
		return
	}
	nonce, err := c.newNonce()
	if err == nil {
		_, err = c.o.Store.Put(ctx, layout.MoreMerges(view), []byte(`{"format":1,"nonce":"`+nonce+`"}`))
	}
	if err != nil && ctx.Err() == nil {
		c.o.Logger.Warn("cannot call another compactor for the view's merges; this one does them one after the other", "view", view, "error", err)
	}
}

// leave leaves a view's merges to those who have claimed them.
func (c *Compactor) leave(view string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left[view] = c.o.Now().Add(claimTTL)
}

// leftOver reports, once, that what was left to others must be done by now, or be anybody's: one that died publishes no version that
// would have others look.
func (c *Compactor) leftOver(view string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.left[view]
	if !ok || c.o.Now().Before(at) {
		return false
	}
	delete(c.left, view)
	return true
}

// mergeClaims are those of others that hold, and those that are over.
func (c *Compactor) mergeClaims(ctx context.Context, view string) (live, over claimed, err error) {
	live, over = claimed{}, claimed{}
	err = store.Each(ctx, c.o.Store, layout.MergeClaims(view), func(i store.Item, age time.Duration) error {
		name, is := strings.CutSuffix(path.Base(i.Key), ".json")
		if !is { // a call
			return nil
		}
		if age <= claimTTL {
			live[name] = true
		} else {
			over[name] = true
		}
		return nil
	})
	return live, over, err
}

// claim makes a claim, or takes one that is over. store.ErrExists, store.ErrChanged: another one has it.
func (c *Compactor) claim(ctx context.Context, key string, over bool) error {
	nonce, err := c.newNonce()
	if err != nil {
		return err
	}
	body := []byte(`{"format":1,"nonce":"` + nonce + `"}`)
	if over {
		old, err := c.o.Store.Get(ctx, key)
		if err == nil {
			_, err = c.o.Store.Replace(ctx, key, body, old.ETag)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	_, err = c.o.Store.Create(ctx, key, body)
	return err
}

// unclaim ends a claim, also where the merge was cut off. Where that fails it ends by itself.
func (c *Compactor) unclaim(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimEnd)
	defer cancel()
	if err := c.o.Store.Delete(ctx, key); err != nil {
		c.o.Logger.Debug("a claim on a merge stays until it expires", "key", key, "error", err)
	}
}

func (c *Compactor) noClaims(view string, err error) {
	c.o.Logger.Warn("cannot claim a merge; other compactors may do the same work", "view", view, "error", err)
}
