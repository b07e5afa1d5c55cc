package manifest

import (
	"context"
	"errors"
	"fmt"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// ErrNoHead: the view has no version yet, or there is no such view.
var ErrNoHead = errors.New("the view has no version yet")

// Load reads a view's current version and the ETag by which it may be replaced.
func Load(ctx context.Context, st store.Store, view string) (*Manifest, string, error) {
	return (*Leaves)(nil).Load(ctx, st, view)
}

// Load is Load with the leaves that are remembered.
func (l *Leaves) Load(ctx context.Context, st store.Store, view string) (*Manifest, string, error) {
	return l.LoadIfChanged(ctx, st, view, "")
}

// LoadIfChanged is Load, or store.ErrNotModified when head still has this ETag.
func (l *Leaves) LoadIfChanged(ctx context.Context, st store.Store, view, etag string) (*Manifest, string, error) {
	for try := 0; ; try++ {
		m, now, err := LoadRootIfChanged(ctx, st, view, etag)
		if err != nil {
			return nil, "", err
		}
		err = l.fill(ctx, st, m)
		switch {
		case err == nil:
			return m, now, nil
		case !errors.Is(err, store.ErrNotFound):
			return nil, "", err
		case try > 0:
			return nil, "", fmt.Errorf("%s: %w: %v", layout.Head(view), ErrFormat, err)
		}
		etag = "" // retention removes a leaf only if head has been another for hours
	}
}

// LoadRoot is Load for callers who do not ask for base partitions: of a version with leaves it has none, and cannot be published.
func LoadRoot(ctx context.Context, st store.Store, view string) (*Manifest, string, error) {
	return LoadRootIfChanged(ctx, st, view, "")
}

// LoadRootIfChanged is LoadRoot, or store.ErrNotModified when head still has this ETag.
func LoadRootIfChanged(ctx context.Context, st store.Store, view, etag string) (*Manifest, string, error) {
	key := layout.Head(view)
	var o store.Object
	var err error
	if etag == "" {
		o, err = st.Get(ctx, key)
	} else {
		o, err = st.GetIfChanged(ctx, key, etag)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, "", ErrNoHead
	case err != nil:
		return nil, "", fmt.Errorf("read %s: %w", key, err)
	}
	m, err := decodeOf(view, key, o.Body)
	if err != nil {
		return nil, "", err
	}
	return m, o.ETag, nil
}

// LoadKey reads one version by the key of its manifest. store.ErrNotFound where retention has removed it.
func (l *Leaves) LoadKey(ctx context.Context, st store.Store, view, key string) (*Manifest, error) {
	for try := 0; ; try++ {
		m, err := LoadKeyRoot(ctx, st, view, key)
		if err != nil {
			return nil, err
		}
		err = l.fill(ctx, st, m)
		switch {
		case err == nil:
			return m, nil
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		case try > 0: // the manifest is still there, and goes before its leaves
			return nil, fmt.Errorf("%s: %w: %v", key, ErrFormat, err)
		}
	}
}

// LoadKeyRoot is LoadKey for callers who do not ask for base partitions, like LoadRoot.
func LoadKeyRoot(ctx context.Context, st store.Store, view, key string) (*Manifest, error) {
	o, err := st.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	m, err := decodeOf(view, key, o.Body)
	if err == nil && m.Key() != key {
		return nil, fmt.Errorf("%s: %w: it is version %d, %s", key, ErrFormat, m.Version, m.Key())
	}
	return m, err
}

func decodeOf(view, key string, body []byte) (*Manifest, error) {
	m, err := Decode(key, body)
	if err != nil {
		return nil, err
	}
	if m.View != view {
		return nil, fmt.Errorf("%s: %w: it is of view %q, not %q", key, ErrFormat, m.View, view)
	}
	return m, nil
}

// Key is the name under which this version is kept.
func (m *Manifest) Key() string { return layout.Manifest(m.View, m.Version, m.Nonce) }

// Commit publishes next as the view's new version. next was made from the version that Load answered with etag (empty
// with the first), has that version's number plus one, and a nonce of its own. Its layers must be written already.
//
// store.ErrLost means that another writer published first; nothing was harmed, and the caller starts again from the
// new head. The layers, the leaves and the manifest that were written in vain are left to retention.
func Commit(ctx context.Context, st store.Store, next *Manifest, etag string) (string, error) {
	return (*Leaves)(nil).Commit(ctx, st, next, etag)
}

// Commit is Commit with the limits of l, which remembers the version. Where next was copied from the version before, with its Leaves, those
// that did not change are not written again.
func (l *Leaves) Commit(ctx context.Context, st store.Store, next *Manifest, etag string) (string, error) {
	if next.unread {
		return "", fmt.Errorf("publish version %d of view %s: its base partitions were not read", next.Version, next.View)
	}
	if next.FirstReady == 0 && next.Ready() {
		next.FirstReady = next.Version
	}
	inline, size := l.limits()
	if err := next.putLeaves(ctx, st, next.layOut(inline, size)); err != nil {
		return "", err
	}
	body, err := next.Encode()
	if err != nil {
		return "", fmt.Errorf("encode version %d of view %s: %w", next.Version, next.View, err)
	}
	if _, err := st.Put(ctx, next.Key(), body); err != nil {
		return "", fmt.Errorf("write %s: %w", next.Key(), err)
	}
	meta, err := store.Swap(ctx, st, layout.Head(next.View), body, etag)
	if err != nil {
		return "", fmt.Errorf("publish version %d of view %s: %w", next.Version, next.View, err)
	}
	l.remember(next)
	return meta.ETag, nil
}
