// Package engine answers questions about one version of a view, from the view's head and layers alone: the rows of a path, a directory
// or a subtree, searches, doubtful entries, reports, and pages of all of these. It knows no HTTP and no HTML: it takes values, emits
// rows, and returns errors that callers can tell apart (errors.go).
//
// Invariants: an answer and all its pages are of exactly one version. Removed rows are not emitted, unless they are what is asked for.
// A long answer is bounded by a page, or it streams. A damaged object fails only the questions that need it, and the error names it.
// Callers: query serves it over HTTP, and query/page shows it to people.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/diskcache"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Options are what an Engine needs. Store and Now are required.
type Options struct {
	Store       store.Store
	Now         func() time.Time // this machine's time
	MemoryBytes int64            // a sixteenth of it is for heads, as much for their leaves, an eighth for reading ahead
	CacheBytes  int64            // bounds the cache of layers
	Disk        *diskcache.Cache // beneath it; nil: none
	HeadTTL     time.Duration    // how long a head is taken from memory before the store is asked again; negative: not at all
	Logger      *slog.Logger     // nil: none
}

// Engine answers questions about the views of one store. It is safe for concurrent use.
type Engine struct {
	store    store.Store // metered
	clock    *store.Clock
	heads    *heads
	versions *versions
	leaders  *leaders
	forests  *forests
	configs  *viewconfig.Loader
	moves    *otter.Cache[movesKey, *Moves]
	logger   *slog.Logger
}

// New returns an Engine. It reads nothing yet.
func New(o Options) *Engine {
	clock := store.NewClock(o.Now)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	st := metered{clock.Watch(o.Store)}
	configs, leaves := viewconfig.NewLoader(st, o.Now), newLeaves(st, o.MemoryBytes/16)
	e := &Engine{
		store: st, clock: clock,
		heads:    newHeads(st, o.HeadTTL, o.Now, o.MemoryBytes/16),
		versions: newVersions(st, leaves, configs, layer.NewCacheOn(o.Disk, o.CacheBytes), o.MemoryBytes/8, o.Logger),
		leaders:  &leaders{store: st, now: o.Now, known: map[string]cachedLeader{}},
		forests:  &forests{now: o.Now, known: map[string]cachedForest{}},
		configs:  configs,
		moves:    newMovesCache(),
		logger:   o.Logger,
	}
	e.versions.newest = func(ctx context.Context, view string) (*Version, error) {
		m, err := e.heads.current(ctx, view)
		if err != nil {
			return nil, err
		}
		return e.versions.of(m, false)
	}
	return e
}

// Store is the store. It charges each read to the Cost of the context.
func (e *Engine) Store() store.Store { return e.store }

// Now is the store's time, ns since 1970.
func (e *Engine) Now() int64 { return e.clock.Now() }

// Invalidate makes the next question about a view ask the store for its head.
func (e *Engine) Invalidate(view string) {
	e.forests.forget(view)
	e.heads.invalidate(view)
}

// Forget is Invalidate, and makes the next question about a view's settings ask the store, too.
func (e *Engine) Forget(view string) {
	e.configs.Forget(view)
	e.Invalidate(view)
}

// Head is the view's newest manifest, complete or not. ForestError if the view is a forest, which has none.
func (e *Engine) Head(ctx context.Context, view string) (*manifest.Manifest, error) {
	if f := e.forests.get(view); f != nil {
		return nil, f
	}
	m, err := e.heads.current(ctx, view)
	if errors.Is(err, manifest.ErrNoHead) {
		err = e.absent(ctx, view)
	}
	return m, err
}

// absent says why a view has no head: the view does not exist, it is a forest, or its agents have just started.
func (e *Engine) absent(ctx context.Context, view string) error {
	for _, key := range []string{layout.Roster(view), layout.ViewConfig(view)} {
		object, err := e.store.Get(ctx, key)
		if err == nil && key == layout.ViewConfig(view) {
			var config viewconfig.Config
			if config, err = viewconfig.Decode(key, view, object.Body); err == nil && config.IsForest() {
				return e.forests.add(&ForestError{view, config.Members})
			}
		}
		if err == nil && key == layout.Roster(view) {
			err = e.begins(ctx, view)
		}
		if err == nil {
			if _, err := e.configs.Load(ctx, view); errors.Is(err, viewconfig.ErrInvalid) {
				return err // so there will be no first version
			}
			return e.notReady(ctx, view, &manifest.Manifest{})
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return &NoViewError{view}
}

// begins reports an error where a view that has no head had one: its first version is not still to come.
func (e *Engine) begins(ctx context.Context, view string) error {
	roster, _, err := session.ReadRoster(ctx, e.store, view)
	if err == nil {
		_, err = manifest.Begin(ctx, e.store, view, roster.Epoch)
	}
	return err
}

// Current is the view's newest version, ready to be read.
func (e *Engine) Current(ctx context.Context, view string) (*Version, error) {
	v, err := e.Newest(ctx, view)
	if err == nil {
		err = e.checkLive(ctx, v.Manifest)
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Newest is Current, but it also opens a live view that has no leader.
func (e *Engine) Newest(ctx context.Context, view string) (*Version, error) {
	m, err := e.Head(ctx, view)
	if err != nil {
		return nil, err
	}
	if !m.Ready() {
		return nil, e.notReady(ctx, view, m)
	}
	return e.versions.of(m, false)
}

// Reopen opens the version that a cursor continues on. GoneError if it is no longer kept.
func (e *Engine) Reopen(ctx context.Context, view string, number uint64, nonce string) (*Version, error) {
	m, err := e.Head(ctx, view)
	if err != nil {
		return nil, err
	}
	if err := e.checkLive(ctx, m); err != nil {
		return nil, err
	}
	if m.Version == number && m.Nonce == nonce {
		return e.versions.of(m, false)
	}
	key := layout.Manifest(view, number, nonce)
	if v, ok := e.versions.open.GetIfPresent(key); ok {
		return e.versions.of(v.Manifest, true) // it was the current one when it was opened, perhaps
	}
	m, err = manifest.LoadKeyRoot(ctx, e.store, view, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &GoneError{number}
	}
	if err != nil {
		return nil, err
	}
	return e.versions.of(m, true)
}

// MaxViews bounds how many views Views finds of each kind.
const MaxViews = 200

// Views finds the views that have objects, with one LIST for each, and those that have settings alone, with one for all. forests are the
// members of those that are forests.
func (e *Engine) Views(ctx context.Context) (names []string, forests map[string][]string, err error) {
	const all = "views/"
	for after := ""; len(names) < MaxViews; {
		page, err := e.store.List(ctx, all, after, 1)
		if err != nil {
			return nil, nil, fmt.Errorf("list views: %w", err)
		}
		if len(page.Items) == 0 {
			break
		}
		name, _, ok := strings.Cut(strings.TrimPrefix(page.Items[0].Key, all), "/")
		if ok && layout.ValidView(name) {
			names = append(names, name)
		}
		after = all + name + "0" // past all keys of the view: '0' is the byte after '/'
	}
	page, err := e.store.List(ctx, layout.ViewConfigs, "", 0)
	if err != nil && !errors.Is(err, store.ErrDenied) { // a role that was made for an earlier version may not; then forests are not listed
		return nil, nil, fmt.Errorf("list the settings of views: %w", err)
	}
	var configured []string
	for _, item := range page.Items {
		name, ok := strings.CutSuffix(strings.TrimPrefix(item.Key, layout.ViewConfigs), ".json")
		if ok && layout.ValidView(name) && !slices.Contains(names, name) {
			configured = append(configured, name)
		}
	}
	configured = configured[:min(len(configured), MaxViews)]
	names = append(names, configured...)
	slices.Sort(names)
	forests, err = e.ForestsAmong(ctx, configured)
	return names, forests, err
}

// ForestsAmong are the members of those views that are forests. It reads the head of each view.
func (e *Engine) ForestsAmong(ctx context.Context, views []string) (map[string][]string, error) {
	found := make([]*ForestError, len(views))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, view := range views {
		g.Go(func() error {
			_, err := e.Head(ctx, view)
			_ = errors.As(err, &found[i]) // what is wrong with others, their own pages say
			return ctx.Err()
		})
	}
	err := g.Wait()
	forests := map[string][]string{}
	for _, f := range found {
		if f != nil {
			forests[f.View] = f.Members
		}
	}
	return forests, err
}

// Settings are the settings of a view. A change shows within a minute.
func (e *Engine) Settings(ctx context.Context, view string) (viewconfig.Config, error) {
	return e.configs.Load(ctx, view)
}

// Ready checks that the store answers. The object it asks for need not exist.
func (e *Engine) Ready(ctx context.Context) error {
	_, err := e.store.Get(ctx, layout.ViewConfig("ready"))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
