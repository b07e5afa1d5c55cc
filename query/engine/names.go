package engine

import (
	"context"
	"errors"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// ownerNames is a cache of the names of owners. They are an object of a version, so an answer with names is of exactly one version, too.
type ownerNames struct {
	store   store.Store
	known   *otter.Cache[string, *manifest.Names] // by key
	flights singleflight.Group
}

const (
	// maxNamesBytes bounds the cache, about.
	maxNamesBytes = 64 << 20
	bytesPerName  = 150
)

func newOwnerNames(st store.Store) *ownerNames {
	return &ownerNames{store: st, known: otter.Must(&otter.Options[string, *manifest.Names]{
		MaximumWeight: maxNamesBytes, Weigher: func(_ string, n *manifest.Names) uint32 { return uint32(1024 + bytesPerName*n.Len()) },
	})}
}

// Names are what the hosts of the view's agents call owners and groups. If they cannot be read for good, they are none, as rows are worth
// more than names.
func (v *Version) Names(ctx context.Context) (*manifest.Names, error) {
	m := v.Manifest
	if m.Names == "" {
		return nil, nil
	}
	if n := v.named.Load(); n != nil {
		return *n, nil
	}
	key := layout.Names(m.View, m.Names)
	n, ok := v.names.known.GetIfPresent(key)
	if !ok {
		flight := v.names.flights.DoChan(key, func() (any, error) {
			// The request serves all calls that wait for it, so it does not end with the call that began it.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), headTimeout)
			defer cancel()
			return manifest.ReadNames(ctx, v.names.store, m.View, m.Names)
		})
		select {
		case r := <-flight:
			switch {
			case errors.Is(r.Err, manifest.ErrFormat) || errors.Is(r.Err, store.ErrNotFound):
				if v.log != nil {
					v.log.Error("the names of owners cannot be read; their numbers are shown", "error", r.Err)
				}
			case r.Err != nil:
				return nil, r.Err
			default:
				n = r.Val.(*manifest.Names)
				v.names.known.Set(key, n)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	v.named.Store(&n)
	return n, nil
}

// namesAhead begins to read the names, which most answers need once they have their first row.
func (v *Version) namesAhead(ctx context.Context) {
	if v.Manifest.Names != "" && v.named.Load() == nil {
		go func() { _, _ = v.Names(ctx) }() // who needs them asks again, and gets the error
	}
}
