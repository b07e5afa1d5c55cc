package bus

import (
	"context"
	"errors"
	"time"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/hang"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
)

// gatherFor is how long the first scan waits for pipes that have just subscribed, so that all begin with it.
const gatherFor = time.Second

// sharedWalk is a scan of the whole tree.
type sharedWalk struct {
	walk    *scan.Walk
	watcher *watch.Watcher
	root    tree.Root
	ended   chan struct{} // closed
}

// Config is that of a scan of root which watches every directory. It is the only place that fills it.
func (s *Subscription) Config(watcher *watch.Watcher, root tree.Root) scan.Config {
	spec := &s.source.spec
	mounts, err := spec.Watch.System.Mounts(spec.Watch.Root)
	if err != nil {
		s.source.log.Warn("cannot tell what is mounted below the root", "error", err)
	}
	return scan.Config{
		Root: hang.Bare(root), Excludes: spec.Watch.Excludes, CrossFilesystems: spec.Watch.CrossFilesystems, Mounts: mounts, Workers: spec.Workers,
		Rate: s.source.rate, Idle: spec.Idle, Hangs: s.source.calls, Now: s.source.bus.ticks.Now, Cover: watcher.Cover,
	}
}

// Walk scans the whole tree for a receiver, until ctx ends. Pipes that want that at the same time share a scan; one that comes
// while a scan runs takes part from then on, and afterwards scans what it has missed. scan.ErrBehind: the others were quicker,
// and have gone on. alone has it scan by itself.
func (s *Subscription) Walk(ctx context.Context, to *scan.Receiver, alone bool) error {
	src := s.source
	if to.Emit == nil && s.isCovered() {
		return nil
	}
	w, part := s.join(ctx, to, alone, nil, nil)
	if part == nil {
		watcher, root, err := s.OpenRoot()
		if err != nil {
			return err
		}
		w, part = s.join(ctx, to, alone, watcher, root)
		if w.root != root {
			root.Close()
		}
	}
	err := part.Wait()
	if err != nil && w.walk.Receivers() == 0 {
		<-w.ended
	}
	if errors.Is(err, scan.ErrBehind) {
		s.mu.Lock()
		s.behind++
		s.mu.Unlock()
	}
	if err != nil || !part.Late() || part.Had("/") {
		return err
	}
	watcher, root, err := s.OpenRoot()
	if err != nil {
		return err
	}
	defer root.Close()
	if watcher != w.watcher {
		return ErrNotWatched // the one that has covered the rest is gone
	}
	cfg := s.Config(watcher, root)
	cfg.LeaveOut = part.Had
	src.log.Info("scanning what the scan of the other pipes had read before this pipe joined it")
	return scan.Run(ctx, cfg, to, "/")
}

// isCovered reports whether a scan that only watches directories would find all of them watched, and takes note that the
// subscription has asked for its first scan.
func (s *Subscription) isCovered() bool {
	s.source.mu.Lock()
	defer s.source.mu.Unlock()
	if s.source.covered != s.source.losses {
		return false
	}
	s.source.expectNoMore(s)
	return true
}

// join has a receiver take part in the scan that runs. If there is none that it can join, it begins one of root; without a root
// it returns nil.
func (s *Subscription) join(ctx context.Context, to *scan.Receiver, alone bool, watcher *watch.Watcher, root tree.Root) (*sharedWalk, *scan.Part) {
	src := s.source
	src.mu.Lock()
	defer src.mu.Unlock()
	if w := src.shared; w != nil && !alone && w.watcher == src.watcher {
		if part := w.walk.Join(ctx, to); part != nil {
			src.expectNoMore(s)
			return w, part
		}
	}
	if root == nil {
		return nil, nil
	}
	src.expectNoMore(s)
	cfg := s.Config(watcher, root)
	cfg.Joinable = src.subscriptions > 1 && !alone && src.shared == nil
	w := &sharedWalk{walk: scan.NewWalk(cfg, "/"), watcher: watcher, root: root, ended: make(chan struct{})}
	part := w.walk.Join(ctx, to)
	gather := src.noneExpected
	if cfg.Joinable {
		src.shared = w
	} else {
		gather = nil
	}
	go src.runWalk(w, gather)
	return w, part
}

// runWalk runs a scan, once those have joined it that are about to.
func (src *Source) runWalk(w *sharedWalk, gather <-chan struct{}) {
	defer close(w.ended)
	defer w.root.Close()
	if gather != nil {
		src.gather(gather)
	}
	src.mu.Lock()
	losses := src.losses
	src.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := guard.Do(func() error {
		generation := w.watcher.BeginCoverage()
		err := w.walk.Run(ctx)
		w.watcher.EndCoverage(generation, err == nil)
		return err
	})
	cancel()
	_ = w.walk.Run(ctx) // after a panic, so that those who wait hear of it
	src.mu.Lock()
	defer src.mu.Unlock()
	if src.shared == w {
		src.shared = nil
	}
	if err == nil && src.watcher == w.watcher {
		src.covered = losses
	}
}

// gather waits until all who have subscribed have asked for their first scan, for a while. Those that have not by then are not
// waited for again.
func (src *Source) gather(all <-chan struct{}) {
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	select {
	case <-all:
	case <-timer.C:
		src.mu.Lock()
		defer src.mu.Unlock()
		for s := range src.expected {
			src.expectNoMore(s)
		}
	}
}
