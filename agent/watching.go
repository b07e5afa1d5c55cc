package agent

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
)

// errNotWatched: the watch has failed and is about to begin anew.
var errNotWatched = errors.New("the tree is not watched at present")

// watching is the watch of the root: one watcher, and another one after it has failed.
type watching struct {
	config    watch.Config // of each watcher, but for Mount
	situation *situation
	rootLost  func(error)

	mount   string                        // where the root's file system is mounted, or was; run's own
	watcher atomic.Pointer[watch.Watcher] // nil: there is none at present
}

// begin makes a watcher.
func (w *watching) begin() error {
	config := w.config
	config.Mount = w.mount
	watcher, err := watch.New(config)
	if err == nil {
		w.watcher.Store(watcher)
		w.mount = watcher.Mount()
	}
	return err
}

// run watches. After a failure it begins anew, and has everything scanned again: what happened between is not known.
func (w *watching) run(ctx context.Context) error {
	watcher := w.watcher.Load()
	if watcher == nil {
		if err := w.begin(); err != nil {
			return err
		}
		watcher = w.watcher.Load()
		w.situation.uncover()
		if err := watcher.Lost(); err != nil {
			w.rootLost(err)
		}
		w.situation.lost(nil)
	}
	err := watcher.Run(ctx)
	if ctx.Err() == nil {
		w.watcher.CompareAndSwap(watcher, nil)
	}
	return err
}

// current is the watcher; nil: there is none at present.
func (w *watching) current() *watch.Watcher { return w.watcher.Load() }

// openRoot opens the root that is watched. Close it.
func (w *watching) openRoot() (*watch.Watcher, tree.Root, error) {
	watcher := w.watcher.Load()
	if watcher == nil {
		return nil, nil, errNotWatched
	}
	root, err := watcher.OpenRoot()
	if err != nil {
		return nil, nil, fmt.Errorf("open root: %w", err)
	}
	return watcher, root, nil
}
