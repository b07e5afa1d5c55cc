package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/semaphore"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// version is one version of a view, open for reading. It never changes.
type version struct {
	m      *manifest.Manifest
	view   *layer.View
	pinned bool  // it is a cursor's, not the current one
	bytes  int64 // of its layers
	cache  *layer.Cache
	ahead  *semaphore.Weighted
	log    *slog.Logger
	// damaged are the layers whose search index was found damaged.
	damaged sync.Map

	mu    sync.Mutex
	found *marks // of the whole view, once they were asked for
}

// versions keeps the versions that are being read open.
type versions struct {
	store store.Store
	cache *layer.Cache
	ahead *semaphore.Weighted // bytes of memory for reading ahead
	log   *slog.Logger
	open  *otter.Cache[string, *version] // by the manifest's key
}

// maxOpen bounds the versions that are kept open, by the number of their layers; what they are made of is in the
// layers' cache.
const maxOpen = 4096

func newVersions(st store.Store, cache *layer.Cache, ahead int64, log *slog.Logger) *versions {
	return &versions{st, cache, semaphore.NewWeighted(ahead), log, otter.Must(&otter.Options[string, *version]{
		MaximumWeight: maxOpen, Weigher: func(_ string, v *version) uint32 { return uint32(16 + len(v.m.Base) + len(v.m.Deltas)) },
	})}
}

// of opens a manifest's version.
func (s *versions) of(m *manifest.Manifest, pinned bool) (*version, error) {
	key := m.Key()
	if v, ok := s.open.GetIfPresent(key); ok && v.pinned == pinned {
		return v, nil
	}
	view, err := layer.OpenView(s.store, m.View, m.Base, m.Deltas, s.cache)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %v", key, manifest.ErrFormat, err)
	}
	v := &version{m: m, view: view, pinned: pinned, cache: s.cache, ahead: s.ahead, log: s.log}
	for _, l := range slices.Concat(view.Base(), view.Deltas()) {
		v.bytes += l.Info().Bytes
	}
	s.open.Set(key, v)
	return v, nil
}

// current is the view's newest version, ready to be read.
func (s *Server) current(ctx context.Context, view string) (*version, error) {
	v, err := s.newest(ctx, view)
	if err == nil {
		err = explain(view, s.checkLive(ctx, v.m))
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// newest is current also where a view that is to be live is not led.
func (s *Server) newest(ctx context.Context, view string) (*version, error) {
	m, err := s.heads.current(ctx, view)
	if errors.Is(err, manifest.ErrNoHead) {
		err = s.absent(ctx, view)
	}
	if err != nil {
		return nil, explain(view, err)
	}
	if !m.Ready() {
		return nil, errNotReady(view, m)
	}
	v, err := s.versions.of(m, false)
	return v, explain(view, err)
}

// pinned is the version that a cursor continues on.
func (s *Server) pinned(ctx context.Context, view string, number uint64, nonce string) (*version, error) {
	m, err := s.heads.current(ctx, view)
	if errors.Is(err, manifest.ErrNoHead) {
		err = s.absent(ctx, view)
	}
	if err != nil {
		return nil, explain(view, err)
	}
	if err := s.checkLive(ctx, m); err != nil {
		return nil, explain(view, err)
	}
	if m.Version == number && m.Nonce == nonce {
		v, err := s.versions.of(m, false)
		return v, explain(view, err)
	}
	key := layout.Manifest(view, number, nonce)
	if v, ok := s.versions.open.GetIfPresent(key); ok {
		return v, nil
	}
	m, err = manifest.LoadKey(ctx, s.store, view, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errGone(number)
	}
	if err != nil {
		return nil, explain(view, err)
	}
	v, err := s.versions.of(m, true)
	return v, explain(view, err)
}

// fail explains what reading the version failed with. Objects of an old version may be gone by retention.
func (v *version) fail(err error) error {
	if v.pinned && errors.Is(err, store.ErrNotFound) {
		return errGone(v.m.Version)
	}
	return explain(v.m.View, err)
}

// lookup is the row of a path; an error 404 where there is none.
func (v *version) lookup(ctx context.Context, path string) (*evidence.Row, error) {
	r := &evidence.Row{}
	found, err := v.view.Get(ctx, layer.KeyOf(path), r)
	if err != nil {
		return nil, v.fail(err)
	}
	costOf(ctx).rows.Add(1)
	if !found || r.Removed {
		return nil, errNoPath(path)
	}
	return r, nil
}
