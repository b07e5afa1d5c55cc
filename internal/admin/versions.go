package admin

import (
	"context"
	"errors"
	"path"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
)

// History is what a view's versions are made of, and what it takes in the store.
type History struct {
	View     string    `json:"view_id"`
	Versions []Version `json:"versions"` // from the current one backwards
	More     bool      `json:"more"`     // there are older ones
	// Orphans are manifests beside the chain, from lost races; retention removes them.
	Orphans  []string `json:"orphans"`
	Objects  Storage  `json:"objects"`
	Unfolded Usage    `json:"unfolded_segments"` // of the current epoch's sessions
}

// Version is one manifest.
type Version struct {
	Version  uint64                       `json:"version"`
	Key      string                       `json:"key"`
	Epoch    string                       `json:"epoch"`
	Reason   string                       `json:"reason"`
	FoldedAt values.Seconds               `json:"folded_at"`
	Ready    bool                         `json:"ready"`
	Base     Usage                        `json:"base"`
	Deltas   Usage                        `json:"deltas"`
	Rows     int64                        `json:"rows"`
	Files    int64                        `json:"files"`
	Dirs     int64                        `json:"directories"`
	Term     uint64                       `json:"term"`
	Sessions map[string]manifest.Progress `json:"sessions"` // how far each is folded
	Counted  manifest.Counted             `json:"counted"`
}

// Usage is a number of objects and their bytes.
type Usage struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

func (u *Usage) add(bytes int64) { u.Objects++; u.Bytes += bytes }

// Storage is what a view has in the store, by kind.
type Storage struct {
	Manifests Usage `json:"manifests"`
	Layers    Usage `json:"layers"`
	// Superseded are the layers that the current version does not have: those of older versions, and what was written in vain.
	Superseded Usage `json:"superseded_layers"`
	Segments   Usage `json:"segments"`
}

// History reads up to limit versions, and lists the view's objects.
func (a *Admin) History(ctx context.Context, view string, limit int) (*History, error) {
	m, _, err := manifest.Load(ctx, a.store, view)
	if errors.Is(err, manifest.ErrNoHead) {
		if err := a.exists(ctx, view); err != nil {
			return nil, err
		}
		return nil, refuse(NotFound, "a view gets its first version when the compactor folds its first segments", "view %q has no version yet", view)
	}
	if err != nil {
		return nil, err
	}
	list, _, err := manifest.List(ctx, a.store, view, 0, 0, nil)
	if err != nil {
		return nil, err
	}
	chain, strays, err := manifest.Chain(ctx, a.store, m, list)
	if err != nil {
		return nil, err
	}
	h := &History{View: view, Versions: []Version{versionOf(m)}, Orphans: []string{}}
	for _, p := range list {
		h.Objects.Manifests.add(p.Bytes)
	}
	for _, p := range strays {
		if p.Version <= m.Version {
			h.Orphans = append(h.Orphans, p.Key)
		}
	}
	for i := len(chain) - 1; i >= 0; i-- {
		if chain[i].Version == m.Version {
			continue
		}
		if h.More = len(h.Versions) == limit; h.More {
			break
		}
		at, err := manifest.LoadKeyRoot(ctx, a.store, view, chain[i].Key)
		if errors.Is(err, store.ErrNotFound) { // retention has removed it meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		h.Versions = append(h.Versions, versionOf(at))
	}
	return h, a.storage(ctx, h, m)
}

func versionOf(m *manifest.Manifest) Version {
	v := Version{Version: m.Version, Key: m.Key(), Epoch: m.Epoch, Reason: m.Reason, FoldedAt: values.Seconds(m.FoldedAt), Ready: m.Ready(),
		Rows: m.Rows(), Files: m.Totals.Files, Dirs: m.Totals.Directories, Term: m.Term, Sessions: m.Sessions, Counted: m.Counted}
	base := m.BaseSums()
	v.Base = Usage{base.Partitions, base.Bytes}
	for _, l := range m.Deltas {
		v.Deltas.add(l.Bytes)
	}
	if v.Sessions == nil {
		v.Sessions = map[string]manifest.Progress{}
	}
	return v
}

// storage lists the layers and the segments that the view has in the store.
func (a *Admin) storage(ctx context.Context, h *History, head *manifest.Manifest) error {
	current := map[string]bool{head.Names: true}
	for i := range head.Leaves {
		current[head.Leaves[i].ID] = true
	}
	for _, layers := range [][]layer.Info{head.Base, head.Deltas} {
		for i := range layers {
			current[layers[i].ID] = true
		}
	}
	err := store.Each(ctx, a.store, layout.Layers(h.View), func(i store.Item, _ time.Duration) error {
		h.Objects.Layers.add(i.Size)
		name := path.Base(i.Key)
		id, _, _ := strings.Cut(name, ".")
		if !current[id] {
			h.Objects.Superseded.add(i.Size)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return store.Each(ctx, a.store, layout.AllSegments(h.View), func(i store.Item, _ time.Duration) error {
		h.Objects.Segments.add(i.Size)
		_, id, seq, ok := layout.SplitSegment(i.Key)
		if progress, known := head.Sessions[id]; ok && known && seq >= progress.Next && !progress.Broken {
			h.Unfolded.add(i.Size)
		}
		return nil
	})
}
