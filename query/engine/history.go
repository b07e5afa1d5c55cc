package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// KeptVersion is a version that is kept: why, and what it has.
type KeptVersion struct {
	history.Kept
	Manifest *manifest.Manifest
}

// History are the kept versions of a view up to now, the newest first, at most limit: those below before (0: all), and of these, if
// lasting, only those that are kept for more than being recent. It lists as much as it needs, and reads the manifest of each that it
// answers. One that retention removes meanwhile is left out.
func (e *Engine) History(ctx context.Context, now *Version, before uint64, lasting bool, limit int) ([]KeptVersion, error) {
	head := now.Manifest
	last := head.Version
	if before > 0 {
		last = min(last, before-1)
	}
	kept, err := e.keptUpTo(ctx, head, last, lasting, limit)
	if err != nil {
		return nil, err
	}
	out := make([]KeptVersion, len(kept))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, k := range kept {
		g.Go(func() (err error) {
			out[len(kept)-1-i].Kept = k
			m := head
			if k.Version != head.Version {
				m, err = manifest.LoadKeyRoot(gctx, e.store, head.View, k.Key)
			}
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			out[len(kept)-1-i].Manifest = m
			return err
		})
	}
	err = g.Wait()
	return slices.DeleteFunc(out, func(v KeptVersion) bool { return v.Manifest == nil }), err
}

// keptUpTo are the newest limit kept versions up to a number, in order. Their numbers have gaps, so it lists more and more of them until
// it has enough.
func (e *Engine) keptUpTo(ctx context.Context, head *manifest.Manifest, last uint64, lasting bool, limit int) ([]history.Kept, error) {
	config, err := e.configs.Load(ctx, head.View)
	if err != nil {
		return nil, err
	}
	pins, _, err := history.ReadPins(ctx, e.store, head.View)
	if err != nil && !errors.Is(err, store.ErrDenied) { // a role that was made for an earlier version may not
		return nil, err
	}
	for span := uint64(limit); ; span *= 8 {
		first := uint64(1)
		if last > span {
			first = last - span + 1
		}
		// The one after the last says until when that was current.
		list, now, err := manifest.List(ctx, e.store, head.View, first, 0, func(list []manifest.Published, _ time.Time) bool {
			return len(list) > 0 && list[len(list)-1].Version > last+1
		})
		if err != nil {
			return nil, err
		}
		chain, _, err := manifest.Chain(ctx, e.store, head, list)
		if err != nil {
			return nil, err
		}
		kept := config.Keep().Least().All(chain, head, pins, now)
		kept = slices.DeleteFunc(kept, func(k history.Kept) bool { return k.Version > last || lasting && !k.Lasting() })
		if len(kept) >= limit || first == 1 {
			return kept[max(0, len(kept)-limit):], nil
		}
	}
}
