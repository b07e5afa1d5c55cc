package compactor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// version is a manifest and the ETag by which its head may be replaced; of a view without any, an empty one.
type version struct {
	*manifest.Manifest
	etag string
}

// current reads the view's version. A head that is as it was when this process read or published it last is neither sent nor decoded again.
func (c *Compactor) current(ctx context.Context, view string) (version, error) {
	c.mu.Lock()
	known := c.known[view]
	c.mu.Unlock()
	m, etag, err := c.leaves.LoadIfChanged(ctx, c.o.Store, view, known.etag)
	if errors.Is(err, store.ErrNotModified) {
		m, etag, err = known.Manifest, known.etag, nil
	}
	if errors.Is(err, manifest.ErrNoHead) {
		c.figures.lost(view)
		return version{Manifest: &manifest.Manifest{Format: manifest.Format, View: view}}, nil
	}
	if err != nil {
		return version{}, err
	}
	if err := c.notBack(m); err != nil {
		return version{}, err
	}
	c.figures.saw(m)
	v := version{m, etag}
	c.remember(v)
	return v, nil
}

// remember keeps head for the next time. Where heads take more than their share of the memory, those of other views go, in no order.
func (c *Compactor) remember(v version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	drop := func(view string) {
		if old, ok := c.known[view]; ok {
			c.knownFor -= old.Memory()
			delete(c.known, view)
		}
	}
	drop(v.View)
	for view := range c.known {
		if c.knownFor+v.Memory() <= c.o.Memory/headsShare {
			break
		}
		drop(view)
	}
	if c.knownFor+v.Memory() <= c.o.Memory/headsShare {
		c.known[v.View] = v
		c.knownFor += v.Memory()
	}
}

// notBack refuses a head that is older than one that this process has seen.
func (c *Compactor) notBack(m *manifest.Manifest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := m.Follows(c.seen[m.View]); err != nil {
		return err
	}
	c.seen[m.View] = &manifest.Manifest{View: m.View, Epoch: m.Epoch, Version: m.Version}
	return nil
}

// prove holds head against the manifests beside it, before this process builds upon it for the first time. From then on it would know
// an older one.
func (c *Compactor) prove(ctx context.Context, from version, epoch string) error {
	c.mu.Lock()
	proved := c.proved[from.View] && from.Version > 0
	c.mu.Unlock()
	if proved {
		return nil
	}
	if from.Version > 0 {
		if err := from.Proved(ctx, c.o.Store); err != nil {
			return err
		}
	} else if begin, err := manifest.Begin(ctx, c.o.Store, from.View, epoch); err != nil {
		return err
	} else if begin.Version > 0 { // it is being deleted, or was reset, while it has no head
		return errReset
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proved[from.View] = true
	return nil
}

// next is the draft of the version after v, for now with all that v has.
func (c *Compactor) next(v version, reason string) (*manifest.Manifest, error) {
	nonce, err := c.newNonce()
	if err != nil {
		return nil, err
	}
	m := *v.Manifest
	m.Parent = ""
	if v.Version > 0 {
		m.Parent = v.Key()
	}
	m.Version, m.Reason, m.FoldedAt = v.Version+1, reason, c.clock.Now()
	m.Nonce = manifest.Nonce(m.FoldedAt, nonce)
	m.Sessions = maps.Clone(v.Sessions)
	m.Base, m.Deltas, m.Merged = slices.Clone(v.Base), slices.Clone(v.Deltas), slices.Clone(v.Merged)
	m.Scan.Errors = slices.Clone(v.Scan.Errors)
	return &m, nil
}

// errOvertaken: another writer changed what a job had built upon.
var errOvertaken = fmt.Errorf("another compactor published first: %w", store.ErrLost)

// publish commits what change makes of the current version. It begins with from; where another writer publishes first,
// change is asked again about that version, and answers errOvertaken if its work does not fit there. No work fits into
// another epoch.
func (c *Compactor) publish(ctx context.Context, from version, reason string, change func(*manifest.Manifest) error) (*manifest.Manifest, error) {
	epoch := from.Epoch
	if err := c.prove(ctx, from, epoch); err != nil {
		return nil, err
	}
	for {
		m, err := c.next(from, reason)
		if err != nil {
			return nil, err
		}
		if err := change(m); err != nil {
			return nil, err
		}
		if err := inTime(ctx); err != nil {
			return nil, err
		}
		etag, err := c.leaves.Commit(ctx, c.o.Store, m, from.etag)
		if err == nil {
			c.remember(version{m, etag})
			c.sawVersion(m.View, m.Version)
			c.figures.saw(m)
			c.o.OnCommit(m)
			return m, nil
		}
		if !errors.Is(err, store.ErrLost) {
			return nil, written(err)
		}
		c.metrics.lost.Inc()
		if from, err = c.current(ctx, m.View); err != nil {
			return nil, err
		}
		if from.Epoch != epoch {
			return nil, errOvertaken
		}
	}
}

// inTime is an error once the context's deadline has passed, by the clock on the wall, too: a machine that was suspended has slept through
// it without a timer that noticed, and meanwhile another one's retention may have removed what the job has written.
func inTime(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if end, bounded := ctx.Deadline(); bounded && time.Now().Round(0).After(end.Round(0)) {
		return context.DeadlineExceeded
	}
	return nil
}

// sameFold reports whether two versions are of the same events, however their layers are laid.
func sameFold(a, b *manifest.Manifest) bool {
	return maps.Equal(a.Sessions, b.Sessions) && a.Term == b.Term && a.Counted == b.Counted
}

// indexOf finds the run of layers in all, by id; -1 if they do not stand there, together and in this order.
func indexOf(all, run []layer.Info) int {
	for i := 0; i+len(run) <= len(all); i++ {
		if slices.EqualFunc(all[i:i+len(run)], run, func(x, y layer.Info) bool { return x.ID == y.ID }) {
			return i
		}
	}
	return -1
}
