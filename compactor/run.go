package compactor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/sleep"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

const (
	failMax     = 30 * time.Second // the longest pause after failures
	hearViews   = 3 * time.Second  // how often the bell is asked whether there are new views: one GET
	listViews   = time.Minute      // how often views are listed that did not ring, as earlier versions make them
	resubscribe = 10 * time.Second // how long after a lost subscription the next is tried
	tendEvery   = time.Minute      // how often ended sessions are looked for in a view
)

// viewWorker keeps one view folded.
type viewWorker struct {
	c      *Compactor
	view   string
	wake   chan struct{}
	ctx    context.Context // of Run
	merges chan struct{}   // holds a token for each merge that is under way
	tables chan struct{}   // holds a token while the view's table is published

	version uint64 // that changed knows of
}

// Run keeps views folded until ctx ends: those named, or all that the store has where none is. It wakes on Wake and on the
// store's notifications, and polls besides. A view that fails is tried again; the others are not affected.
func (c *Compactor) Run(ctx context.Context, views ...string) error {
	notified := make(chan string, 256)
	go c.listen(ctx, notified)
	find := viewFinder{c: c, bell: viewconfig.NewBell(c.o.Store)}
	all, timer := len(views) == 0, time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case key := <-notified:
			if key == layout.ViewsBell {
				timer.Reset(0)
			} else if view, _, _, ok := layout.SplitSegment(key); ok {
				if all {
					c.worker(ctx, view)
				}
				c.Wake(view)
			}
		case <-timer.C:
			again := hearViews
			if all {
				views = find.views(ctx)
			} else {
				again = viewconfig.KnownFor // a forest has no worker, and may be deleted and become another view
			}
			for _, v := range views {
				c.worker(ctx, v)
			}
			timer.Reset(again)
		}
	}
}

// viewFinder finds views that are new to a compactor which follows all of them.
type viewFinder struct {
	c      *Compactor
	bell   *viewconfig.Bell
	listed time.Time // when views were last listed without a failure; zero: they are to be listed
}

// views are all views there are if some may be new, and none otherwise. The bell is asked before views are listed, so that a
// view made meanwhile is found at the next call.
func (f *viewFinder) views(ctx context.Context) []string {
	if rang, err := f.bell.Rang(ctx); rang && err == nil { // without it they are listed in time
		f.listed = time.Time{}
	}
	if time.Since(f.listed) < listViews {
		return nil
	}
	found, err := f.c.Views(ctx)
	if f.listed.IsZero() { // those that have settings and no session yet ring, or were there before
		configured, listErr := f.c.configured(ctx)
		found, err = append(found, configured...), errors.Join(err, listErr)
	}
	if err != nil {
		if ctx.Err() == nil {
			f.c.o.Logger.Error("cannot list the views", "error", err)
		}
		return found
	}
	f.listed = time.Now()
	return found
}

// configured are the views that have settings.
func (c *Compactor) configured(ctx context.Context) (views []string, err error) {
	err = store.Each(ctx, c.o.Store, layout.ViewConfigs, func(item store.Item, _ time.Duration) error {
		if view, ok := strings.CutSuffix(strings.TrimPrefix(item.Key, layout.ViewConfigs), ".json"); ok && layout.ValidView(view) {
			views = append(views, view)
		}
		return nil
	})
	return views, err
}

// Views finds the views that the store has objects of, by one request for each page of a thousand objects that a view ends
// in: at most one a view, and one for many small ones.
func (c *Compactor) Views(ctx context.Context) ([]string, error) {
	const prefix = "views/"
	var views []string
	for after := ""; ; {
		page, err := c.o.Store.List(ctx, prefix, after, 0)
		if err != nil {
			return views, fmt.Errorf("list views: %w", err)
		}
		last := ""
		for _, item := range page.Items {
			view, _, _ := strings.Cut(strings.TrimPrefix(item.Key, prefix), "/")
			if view != last && layout.ValidView(view) {
				views = append(views, view)
			}
			last = view
		}
		if !page.More || last == "" {
			return views, nil
		}
		after = prefix + last + "0" // the first key after all of "last/"
	}
}

// Wake says that a view may have new segments.
func (c *Compactor) Wake(view string) {
	c.mu.Lock()
	w := c.views[view]
	c.mu.Unlock()
	if w == nil {
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// worker starts the view's worker if it does not run yet.
func (c *Compactor) worker(ctx context.Context, view string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.views[view] != nil {
		return
	}
	w := &viewWorker{c: c, view: view, wake: make(chan struct{}, 1), ctx: ctx, merges: make(chan struct{}, c.turns.mergesAtOnce), tables: make(chan struct{}, 1)}
	c.views[view] = w
	go func() {
		w.run(ctx)
		c.mu.Lock()
		delete(c.views, view)
		c.mu.Unlock()
	}()
}

// listen passes on the store's notifications, where it has any.
func (c *Compactor) listen(ctx context.Context, out chan<- string) {
	n, ok := store.AsNotifier(c.o.Store)
	if !ok {
		return
	}
	for ctx.Err() == nil {
		keys, err := n.Notify(ctx, "views/")
		if err == nil {
			for key := range keys {
				select {
				case out <- key:
				case <-ctx.Done():
				}
			}
		} else if !errors.Is(err, store.ErrUnsupported) {
			c.o.Logger.Warn("the store sends no notifications; new segments are found by polling", "error", err)
		}
		_ = sleep.For(ctx, resubscribe)
	}
}

// run folds whenever there is something, and merges beside.
func (w *viewWorker) run(ctx context.Context) {
	// A forest never has anything to fold, and stays a forest until it is deleted; Run looks again. What is wrong with settings, a fold reports.
	if config, err := w.c.configs.Load(ctx, w.view); err == nil && config.IsForest() {
		return
	}
	pace, failed, tended := pace{max: w.c.o.PollMax}, time.Duration(0), time.Time{}
	for ctx.Err() == nil {
		began := time.Now()
		n, err := w.c.Fold(ctx, w.view)
		switch {
		case err != nil && ctx.Err() == nil:
			failed = min(max(2*failed, pollMin), failMax)
			w.c.o.Logger.Error("fold failed; it will be tried again", "view", w.view, "error", err, "after", failed)
			_ = sleep.For(ctx, failed)
			continue
		case n > 0:
			failed = 0
			pace.work(began)
			w.mergeBeside()
			w.publishBeside(ctx)
			continue
		}
		if now := w.c.o.Now(); now.Sub(tended) > tendEvery {
			tended = now
			if err := w.c.tend(ctx, w.view); err != nil && ctx.Err() == nil {
				w.c.o.Logger.Warn("cannot tend the view's ended sessions", "view", w.view, "error", err)
			}
		}
		failed = 0
		if changed, left := w.changed(), w.c.leftOver(w.view); changed || left { // by another compactor, or it is gone: its merges are ours, too
			w.mergeBeside()
		}
		w.publishBeside(ctx)
		w.wait(ctx, pace.rest(time.Now()))
	}
	for range cap(w.merges) { // merges that are under way end with ctx
		w.merges <- struct{}{}
	}
	w.tables <- struct{}{}
}

// changed reports whether the view has another version than when it was asked last, by the head that the last fold read.
func (w *viewWorker) changed() bool {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	before := w.version
	if seen := w.c.seen[w.view]; seen != nil {
		w.version = seen.Version
	}
	return w.version != before
}

// wait ends early when there is news.
func (w *viewWorker) wait(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.wake:
	case <-ctx.Done():
	}
}

// mergeBeside merges while folds go on. It begins with one merge; where that leaves something, it has mergeMore.
func (w *viewWorker) mergeBeside() {
	if len(w.merges) == 0 {
		w.mergeMore()
	}
}

// mergeMore merges beside what is under way, as far as there are turns.
func (w *viewWorker) mergeMore() {
	select {
	case w.merges <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-w.merges }()
		for w.ctx.Err() == nil {
			merged, err := w.c.Merge(w.ctx, w.view)
			if err != nil && w.ctx.Err() == nil {
				w.c.o.Logger.Error("merge failed; it will be tried again", "view", w.view, "error", err)
			}
			if err != nil || !merged {
				return
			}
		}
	}()
}

// publishBeside publishes the view's table, where that is due, while folds go on.
func (w *viewWorker) publishBeside(ctx context.Context) {
	if !w.c.tableDue(w.view, tendEvery) {
		return
	}
	select {
	case w.tables <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-w.tables }()
		if err := w.c.tendTable(ctx, w.view); err != nil && ctx.Err() == nil {
			w.c.o.Logger.Error("cannot publish the view's table; it will be tried again", "view", w.view, "error", err)
		}
	}()
}
