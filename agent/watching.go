package agent

import (
	"context"

	"github.com/fustor/fustor/agent/bus"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
)

// watching is the watch of the root, which other pipes of the process may share.
type watching struct {
	subscription *bus.Subscription
	situation    *situation
	rootLost     func(error)

	again bool // it has run before; run's own
}

// begin has events come.
func (w *watching) begin() (*watch.Watcher, error) { return w.subscription.Begin() }

// run takes events. After a failure it begins anew, and has everything scanned again: what happened between is not known.
func (w *watching) run(ctx context.Context) error {
	if w.again {
		w.situation.startAnew() // before the new watcher can say that it watches everything it knows
		watcher, err := w.begin()
		if err != nil {
			return err
		}
		if err := watcher.Lost(); err != nil {
			w.rootLost(err)
		}
		w.situation.decideAgain()
	}
	w.again = true
	return w.subscription.Run(ctx)
}

// current is the watcher; nil: there is none at present.
func (w *watching) current() *watch.Watcher { return w.subscription.Watcher() }

// openRoot opens the root that is watched. Close it.
func (w *watching) openRoot() (*watch.Watcher, tree.Root, error) { return w.subscription.OpenRoot() }
