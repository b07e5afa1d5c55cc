package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/semaphore"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Version is one version of a view, open for reading. It never changes.
type Version struct {
	Manifest *manifest.Manifest
	rows     *guarded
	pinned   bool  // not the current version: retention may delete its objects
	bytes    int64 // of its layers
	cache    *layer.Cache
	ahead    *semaphore.Weighted
	log      *slog.Logger
	names    *ownerNames
	configs  *viewconfig.Loader
	// standings are those of the readers of all versions, by version and reader.
	standings *otter.Cache[string, *standings]
	// newest opens the newest version of a view, whose rights hold for readers of earlier ones, too.
	newest func(ctx context.Context, view string) (*Version, error)
	named  atomic.Pointer[*manifest.Names] // once they were read
	// damaged are the layers whose search index was found damaged.
	damaged sync.Map

	sortUnreadable sync.Once
	unreadable     []string // paths, in order

	mu     sync.Mutex
	doubts *DoubtSummary // of the whole view, once they were asked for
	// doubtsFrom is the earliest time (ns) that doubts are right for.
	doubtsFrom int64
}

// versions is a cache of open versions.
type versions struct {
	store     store.Store
	leaves    *leaves
	cache     *layer.Cache
	ahead     *semaphore.Weighted // bytes of memory for reading ahead
	log       *slog.Logger
	names     *ownerNames
	configs   *viewconfig.Loader
	standings *otter.Cache[string, *standings]
	open      *otter.Cache[string, *Version] // by the manifest's key
	newest    func(ctx context.Context, view string) (*Version, error)
}

// maxOpen bounds the open versions by the number of their layers, about; four of the largest views are open at least. The data of layers is
// in the layer cache.
const maxOpen = 4096

func newVersions(st store.Store, leaves *leaves, configs *viewconfig.Loader, cache *layer.Cache, ahead int64, log *slog.Logger) *versions {
	return &versions{store: st, leaves: leaves, cache: cache, ahead: semaphore.NewWeighted(ahead), log: log, names: newOwnerNames(st), configs: configs,
		standings: newStandings(), open: otter.Must(&otter.Options[string, *Version]{
			MaximumWeight: maxOpen, Weigher: func(_ string, v *Version) uint32 {
				return uint32(min(16+v.Manifest.BaseSums().Partitions+len(v.Manifest.Deltas), maxOpen/4))
			},
		})}
}

// of opens a manifest's version.
func (s *versions) of(m *manifest.Manifest, pinned bool) (*Version, error) {
	key := m.Key()
	if v, ok := s.open.GetIfPresent(key); ok && v.pinned == pinned {
		return v, nil
	}
	rows, err := s.guard(m)
	if err != nil {
		return nil, err
	}
	v := &Version{Manifest: m, rows: rows, bytes: m.BaseSums().Bytes, pinned: pinned, cache: s.cache, ahead: s.ahead, log: s.log, names: s.names,
		configs: s.configs, standings: s.standings, newest: s.newest}
	for i := range m.Deltas {
		v.bytes += m.Deltas[i].Bytes
	}
	s.open.Set(key, v)
	return v, nil
}

// ReadError maps an error of reading the version: GoneError if retention has deleted an object of an old version.
func (v *Version) ReadError(err error) error {
	if v.pinned && errors.Is(err, store.ErrNotFound) {
		return &GoneError{v.Manifest.Version}
	}
	return err
}

// Lookup is the row of a path. NoPathError if the version has no such path, or the reader may not know of it.
func (v *Version) Lookup(ctx context.Context, path string) (*evidence.Row, error) {
	g, err := v.gate(ctx)
	if err != nil {
		return nil, err
	}
	r, err := v.lookup(ctx, g, path)
	if err == nil {
		g.conceal(r, everything)
	}
	return r, err
}

// get is the row of a key, as layer.View.Get has it.
func (v *Version) get(ctx context.Context, g *gate, k layer.Key, r *evidence.Row) (found bool, err error) {
	view, err := v.rows.through(ctx, g, one(k))
	if err != nil {
		return false, err
	}
	return view.Get(ctx, k, r)
}

// lookup is Lookup with the totals of a directory as they are stored, which count what is hidden, too.
func (v *Version) lookup(ctx context.Context, g *gate, path string) (*evidence.Row, error) {
	v.namesAhead(ctx)
	if known, err := g.knows(layer.KeyOf(path).Parent); err != nil {
		return nil, err
	} else if !known {
		return nil, &NoPathError{path}
	}
	r := &evidence.Row{}
	found, err := v.get(ctx, g, layer.KeyOf(path), r)
	if err != nil {
		return nil, v.ReadError(err)
	}
	costOf(ctx).rows.Add(1)
	if !found || r.Removed {
		return nil, &NoPathError{path}
	}
	return r, nil
}
