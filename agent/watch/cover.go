package watch

import (
	"errors"
	"fmt"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// limitState is what is known of the system's limit on watches.
type limitState struct {
	unwatched uint64 // directories met without a watch, in the coverage that runs or ran last
	cause     error
	reported  bool
}

// BeginCoverage is called before a scan of the whole tree that covers every directory. EndCoverage with the answer
// tells how it ended: only after a complete one are directories that it did not meet forgotten.
func (w *Watcher) BeginCoverage() (gen uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gen++
	w.cover++
	w.limit.unwatched = 0
	return w.gen
}

// EndCoverage is the other half of BeginCoverage.
func (w *Watcher) EndCoverage(gen uint64, complete bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cover--
	if complete && gen == w.gen {
		w.model.prune(gen, w.notifier)
		w.forgetShut(gen)
	}
	if w.limit.unwatched == 0 {
		w.limit.reported = false
	}
}

// Cover watches a directory that a scan has opened and is going to read. It answers scan.ErrMoved if path leads
// elsewhere by now: the watcher knows, or will hear, of the directory's new place and reads it there.
func (w *Watcher) Cover(root tree.Root, d tree.Dir, path string) (scan.Place, error) {
	w.mu.Lock()
	id, err := w.watchLocked(d, path)
	w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	const optimistic = 4
	for try := 0; ; try++ {
		w.mu.Lock()
		moves := w.model.moves
		if try < optimistic {
			w.mu.Unlock() // the look may take long
		}
		same, err := verify(root, d, path)
		if try < optimistic {
			w.mu.Lock()
		}
		if err == nil && same && moves != w.model.moves {
			w.mu.Unlock()
			continue // a directory moved meanwhile, perhaps this one
		}
		p, err := w.covered(same, err, id, path)
		w.mu.Unlock()
		return p, err
	}
}

// covered enters a directory of a scan into the model, or drops the watch of one that is not where the scan found it.
func (w *Watcher) covered(same bool, err error, id WatchID, path string) (scan.Place, error) {
	var n *node
	if err == nil && same {
		if n, err = w.model.attach(path, id, w.gen); err == nil {
			n.reading++
			return &place{w: w, node: n, since: w.model.moves}, nil
		}
	}
	if id != NoWatch && w.model.byWatch[id] == nil {
		w.notifier.Remove(id)
	}
	if err == nil || errors.Is(err, scan.ErrMoved) || tree.Gone(err) {
		return nil, scan.ErrMoved
	}
	return nil, err
}

// place is a directory that a scan is reading.
type place struct {
	w     *Watcher
	node  *node
	since uint64 // model.moves when it was covered
}

// Check implements scan.Place.
func (p *place) Check(listing *event.Event) (*event.Event, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if !p.w.model.stays(p.node, p.since) {
		return nil, scan.ErrMoved
	}
	if !p.node.put || p.node.putMtime <= listing.Entry.MtimeNs {
		return nil, nil
	}
	// The directory's mtime was set back since the last put. Say so first, or the listing counts as stale.
	p.node.putMtime = listing.Entry.MtimeNs
	return &event.Event{
		Kind: event.Put, Evidence: event.Realtime, ObservedAt: listing.ObservedAt, Path: listing.Path, Entry: listing.Entry, Atomic: true,
	}, nil
}

// Done implements scan.Place.
func (p *place) Done() {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.node.reading--
}

// watchLocked watches an open directory. Where the limit is reached it answers NoWatch and no error.
func (w *Watcher) watchLocked(d tree.Dir, path string) (id WatchID, err error) {
	if w.cfg.addError != nil {
		err = w.cfg.addError(path)
	}
	if err == nil {
		id, err = w.notifier.Add(w.cfg.Root, d, path)
	}
	if !errors.Is(err, ErrLimit) {
		return id, err
	}
	w.limit.unwatched++
	if w.limit.cause == nil || w.limit.unwatched == 1 && !w.limit.reported {
		w.cfg.Logger.Warn("the system's limit on watches is reached; the directories beyond it are covered by audits only",
			"watches", len(w.model.byWatch), "hint", LimitHint)
	}
	w.limit.cause = err
	return NoWatch, nil
}

// LimitHint is what to do about the limit on watches.
const LimitHint = "raise it: sysctl fs.inotify.max_user_watches=8388608 (about 1 KiB of kernel memory each; keep it in /etc/sysctl.d)"

// reportLimit emits that coverage is limited, once until a coverage finds that it is not. The lock is held.
func (w *Watcher) reportLimit() {
	if w.limit.unwatched == 0 || w.limit.reported || w.cover > 0 {
		return
	}
	w.limit.reported = true
	w.hints.mark("/", event.Mark{
		Kind: event.CoverageLimited, Directories: w.limit.unwatched,
		Message: fmt.Sprintf("%v: %d directories are not watched; %s", w.limit.cause, w.limit.unwatched, LimitHint),
	})
}

// rootIdentity is which directory the root was when the watcher began, or when the root last came back. Only the loop
// changes it, with the lock held.
type rootIdentity struct {
	id tree.ID
	// mount is where its file system is mounted: the root itself, or a directory above. Another file system there is the same
	// one mounted anew, whose device may have another number; the same device with another mount is what lies beneath.
	mount string
}

func identify(sys tree.System, path string) (rootIdentity, error) {
	root, err := sys.OpenRoot(path)
	if err != nil {
		return rootIdentity{}, fmt.Errorf("open root: %w", err)
	}
	defer root.Close()
	mount, err := sys.MountPoint(path)
	if err != nil {
		return rootIdentity{}, fmt.Errorf("find the root's file system: %w", err)
	}
	return rootIdentity{id: root.Info().ID, mount: mount}, nil
}

// OpenRoot opens the root, if it is the directory that it was.
func (w *Watcher) OpenRoot() (tree.Root, error) {
	w.mu.Lock()
	id := w.identity.id
	w.mu.Unlock()
	root, err := w.cfg.System.OpenRoot(w.cfg.Root)
	if err != nil {
		return nil, err
	}
	if root.Info().ID != id {
		root.Close()
		return nil, fmt.Errorf("%s is another directory than it was", w.cfg.Root)
	}
	return root, nil
}

// checkRoot finds out whether the root is still there, and whether one that was lost is back.
func (w *Watcher) checkRoot() {
	now, err := identify(w.cfg.System, w.cfg.Root)
	w.doubt = false
	if err == nil && !w.isLost() && now == w.identity {
		return
	}
	if err == nil && now.mount != w.identity.mount {
		err = otherMount(w.cfg.Root, w.identity.mount, now.mount)
	}
	if err != nil {
		w.loseRoot(err)
		return
	}
	// It is there: the same one again, one in its place on the same file system, or a file system mounted anew.
	if !w.isLost() {
		w.loseRoot(fmt.Errorf("%s was replaced by another directory", w.cfg.Root))
	}
	w.mu.Lock()
	w.model.drop(w.model.root, w.notifier)
	for n := range w.model.orphans {
		w.model.drop(n, w.notifier)
	}
	w.model.reset()
	w.hints.reset()
	clear(w.shut)
	w.identity, w.lost = now, nil
	w.mu.Unlock()
	w.cfg.RootBack()
}

// otherMount says that the root is on another file system than its own.
func otherMount(root, was, is string) error {
	return fmt.Errorf("%s is not on the file system that it was on: that was mounted at %s, and this one is at %s", root, was, is)
}

// loseRoot stops all emission until the root is back. Nothing is reported as deleted.
func (w *Watcher) loseRoot(err error) {
	w.mu.Lock()
	again := w.lost != nil
	w.lost = err
	w.hints.reset()
	w.mu.Unlock()
	if !again {
		w.cfg.RootLost(err)
	}
}
