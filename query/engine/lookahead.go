package engine

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// firstGroups is how many row groups of a base partition are fetched before it is known that they are needed. A directory with no
// more entries than a row group has rows lies in two row groups at most.
const firstGroups = 2

// LookupAhead is Lookup of a directory whose entries are read next, from the beginning or after a position. It fetches the first row
// groups of the entries into the cache at the same time, so that a cold read waits for one round of requests instead of two.
func (v *Version) LookupAhead(ctx context.Context, path string, after *Position, deep bool) (*evidence.Row, error) {
	parent := strings.TrimSuffix(path, "/") + "/"
	entries := keyRange{layer.Key{Parent: parent}, childrenEnd(parent)}
	if deep {
		entries.until = subtreeEnd(parent)
	}
	if after != nil {
		if next := after.next(); next.Compare(entries.from) > 0 {
			entries.from = next
		}
	}
	view, err := v.all(ctx, entries, one(layer.KeyOf(path)))
	if err != nil && !errors.Is(err, ErrRestricted) {
		return nil, err
	}
	var first func() ([]layer.GroupRef, error)
	if view != nil { // of a restricted reader it is not known yet whether the entries are shown at all
		first = uncachedFirst(ctx, view, entries, deep)
	}
	if first == nil {
		return v.Lookup(ctx, path)
	}
	var r *evidence.Row
	var g errgroup.Group
	g.Go(func() (err error) {
		r, err = v.Lookup(ctx, path)
		return err
	})
	g.Go(func() error {
		if groups, err := first(); err == nil {
			_, _ = layer.Fetch(ctx, groups) // reading the entries reports an error, if it needs them
		}
		return nil
	})
	return r, g.Wait()
}

// uncachedFirst returns a function that finds the row groups that the entries begin in; nil if all of them are in the cache.
func uncachedFirst(ctx context.Context, view *layer.View, of keyRange, deep bool) func() ([]layer.GroupRef, error) {
	var layers []*layer.Layer
	cold := false
	consider := func(l *layer.Layer) bool {
		info := l.Info()
		if info.Last.Compare(of.from) < 0 || info.First.Compare(of.until) >= 0 {
			return false
		}
		layers = append(layers, l)
		cold = cold || !l.Cached(of.from, of.until, firstGroups)
		return true
	}
	for _, l := range view.Deltas() {
		consider(l)
	}
	for _, l := range view.Base() {
		if consider(l) && deep {
			break // one partition is enough to begin with
		}
	}
	if !cold {
		return nil
	}
	return func() ([]layer.GroupRef, error) {
		var g errgroup.Group
		found := make([][]layer.GroupRef, len(layers))
		for i, l := range layers {
			g.Go(func() (err error) {
				found[i], err = l.First(ctx, of.from, of.until, firstGroups)
				return err
			})
		}
		err := g.Wait()
		var all []layer.GroupRef
		for _, f := range found {
			all = append(all, f...)
		}
		return all, err
	}
}
