package watch

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/values"
)

// limitState is what is known of directories that cannot be watched.
type limitState struct {
	denied   int // directories that got no watch, in the coverage that runs or ran last
	evicted  int // that lost theirs to others
	cause    error
	short    bool // for want of watches, which there may be more of later: that is the cause to name
	reported bool // in an event
	logged   bool
}

// errBudget: what is left of the system's watches is for other programs.
var errBudget = fmt.Errorf("%w: the system's limit is used up, apart from what other programs hold or may need", ErrLimit)

// unwatched is how many directories have no watch. The lock is held.
func (w *Watcher) unwatched() int {
	if w.limit.cause == nil {
		return 0
	}
	return max(0, w.model.directories-len(w.model.byWatch))
}

// BeginCoverage is called before a scan of the whole tree that covers every directory. EndCoverage with the answer
// tells how it ended: only after a complete one are directories that it did not meet forgotten.
func (w *Watcher) BeginCoverage() (generation uint64) {
	method, _ := w.notifier.Method()
	w.skew.Store(w.cfg.Skew())
	w.mu.Lock()
	w.generation++
	w.coverages++
	w.limit.denied, w.limit.evicted, w.limit.short = 0, 0, false
	if w.blind && method != None { // from here on every directory is met, the root first
		w.blind = false
		w.model.reset()
	}
	generation = w.generation
	w.mu.Unlock()
	w.updateQuota()
	w.mu.Lock()
	w.budget.covered = w.budget.max
	w.mu.Unlock()
	return generation
}

// EndCoverage ends what BeginCoverage has begun. If several coverages overlap, only the last one that began forgets
// anything, and ends a gap: a directory that it met may have been missed by an earlier one.
//
// If directories were not watched before and all are now, everything is scanned once more: a change of the time before came with
// no notice, and the scan that covered a directory may have listed nothing.
func (w *Watcher) EndCoverage(generation uint64, complete bool) {
	w.mu.Lock()
	w.coverages--
	complete = complete && generation == w.generation
	if complete {
		w.model.prune(generation, w.notifier)
		w.forgetUnreadable(generation)
	}
	ends, gap := complete && w.watchesAll(), w.gap
	w.mu.Unlock()
	if !ends {
		return
	}
	if gap {
		w.cfg.Logger.Info("all directories are watched; the whole tree is scanned for what changed before")
		w.cfg.Overflow(nil)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watchesAll() { // otherwise one has lost its watch meanwhile
		w.limit, w.gap = limitState{}, false
	}
}

// watchesAll reports whether the last coverage, if it is complete, has met no directory without a watch. The lock is held.
func (w *Watcher) watchesAll() bool {
	return !w.blind && w.limit.denied == 0 && w.limit.evicted == 0 && w.unwatched() == 0
}

// Cover watches a directory that a scan has opened and is going to read; info is what it has seen of it since. It answers
// scan.ErrMoved if path leads elsewhere by now: the watcher knows, or will hear, of the directory's new place and reads it there.
func (w *Watcher) Cover(root tree.Root, d tree.Dir, path string, info tree.Info) (scan.Reading, error) {
	w.mu.Lock()
	blind := w.blind
	w.mu.Unlock()
	if blind {
		return unwatchedReading{}, nil
	}
	for {
		got, err := w.watch(d, path, info)
		if err != nil {
			return nil, err
		}
		p, err := w.coverWatched(root, got, path, info)
		if !errors.Is(err, errGivenUp) {
			return p, err
		}
	}
}

// coverWatched enters a directory that has its watch now into the model, if path still leads to it.
//
// The path is verified after the watch was added: had it been verified before, the directory could have moved in between, and no
// notice would tell. The look may take long, so it is made without the lock; model.moves says whether a directory moved
// meanwhile, perhaps this one, and then it is made again. Where directories move all the time, the last try holds the lock.
func (w *Watcher) coverWatched(root tree.Root, got watchGrant, path string, info tree.Info) (scan.Reading, error) {
	const optimistic = 4 // tries without the lock; the next one holds it, so that it must end
	for try := 0; ; try++ {
		w.mu.Lock()
		moves := w.model.moves
		if try < optimistic {
			w.mu.Unlock() // the look may take long
		}
		same, err := verify(root, info.ID, path)
		if try < optimistic {
			w.mu.Lock()
		}
		if err == nil && same && moves != w.model.moves {
			w.mu.Unlock()
			continue
		}
		p, err := w.enterCovered(root, same, err, got, path, info)
		w.mu.Unlock()
		return p, err
	}
}

// enterCovered enters a directory of a scan into the model, or drops the watch of one that is not where the scan found it. same
// and err are what verifying its path has said. The lock is held.
func (w *Watcher) enterCovered(root tree.Root, same bool, err error, got watchGrant, path string, info tree.Info) (scan.Reading, error) {
	if err == nil && same {
		var n *node
		if n, err = w.enterModel(path, got, info); err == nil {
			n.reading++
			return &reading{w: w, root: root, node: n, since: w.model.moves}, nil
		}
		if errors.Is(err, errGivenUp) {
			return nil, err
		}
	}
	if got.id != NoWatch && w.model.byWatch[got.id] == nil {
		w.model.giveUp(got.id, w.notifier)
	}
	if err == nil || errors.Is(err, scan.ErrMoved) || tree.Gone(err) {
		return nil, scan.ErrMoved
	}
	return nil, err
}

// watchGrant is a watch, and what model.givenUp was before it was asked for.
//
// Add answers the same id for a directory that has a watch already. Example: a scan adds a watch for /a and gets number 7, which
// /a has; before the scan enters it into the model, the loop evicts number 7. The scan now holds a number without a watch.
// enterModel finds that out (model.mayBeLost), answers errGivenUp, and the scan asks again.
type watchGrant struct {
	id     WatchID
	since  uint64
	active int64 // how active the directory was then
}

// errGivenUp: the watch may be one that was given up meanwhile; ask for it again.
var errGivenUp = errors.New("the watch was given up")

// enterModel enters a directory into the model, or answers errGivenUp. The lock is held.
func (w *Watcher) enterModel(path string, got watchGrant, info tree.Info) (*node, error) {
	id := got.id
	if w.budget.leaving[id] != nil {
		id = NoWatch // it was given up meanwhile, for one that needs it more
	}
	fresh := id != NoWatch && w.model.byWatch[id] == nil
	if fresh && w.model.mayBeLost(id, got.since) {
		return nil, errGivenUp
	}
	n, err := w.model.attach(path, id, info.ID, w.generation)
	if err == nil {
		w.noteActivity(n, got.active, fresh)
		if fresh {
			w.trim() // several that are covered at the same time may have been promised the last one
		}
	}
	return n, err
}

// unwatchedReading is a directory that a scan is reading while nothing is watched.
type unwatchedReading struct{}

// Still implements scan.Reading.
func (unwatchedReading) Still() error { return nil }

// Check implements scan.Reading.
func (unwatchedReading) Check(*event.Event) (*event.Event, error) { return nil, nil }

// Done implements scan.Reading.
func (unwatchedReading) Done() {}

// reading is a directory that a scan is reading.
type reading struct {
	w     *Watcher
	root  tree.Root
	node  *node
	since uint64 // model.moves when it was covered
}

// Still implements scan.Reading. It looks whether the directory is where the scan found it if no notice would tell of a move,
// because a directory above is not watched.
func (r *reading) Still() error {
	r.w.mu.Lock()
	path, attached := r.w.model.path(r.node)
	sure, id := r.w.ancestorsWatched(r.node), r.node.id
	r.w.mu.Unlock()
	if !attached || sure {
		return nil // Check knows
	}
	switch same, err := verify(r.root, id, path); {
	case err != nil && !tree.Gone(err):
		return err
	case !same:
		return scan.ErrMoved
	}
	return nil
}

// Check implements scan.Reading. It is called for each stream that the listing goes to, with the stream's lock held, and must not
// wait for anything but the Watcher's lock.
func (r *reading) Check(listing *event.Event) (*event.Event, error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if !r.w.model.stays(r.node, r.since) {
		return nil, scan.ErrMoved
	}
	if !r.node.put || r.node.putMtime <= listing.Entry.MtimeNs {
		return nil, nil
	}
	// The directory's mtime was set back since the last put. Say so first, or the listing counts as stale. The next put takes this
	// back; until then, every stream and every scan needs it.
	return &event.Event{
		Kind: event.Put, Evidence: event.Realtime, ObservedAt: listing.ObservedAt, Path: listing.Path, Entry: listing.Entry, Atomic: true,
	}, nil
}

// Done implements scan.Reading.
func (r *reading) Done() {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.node.reading--
}

// watch watches an open directory. Where that cannot be, or others need the watches more, it answers NoWatch and no error:
// the directory is known, and audited. It may take long where a file server does, so the lock must not be held.
func (w *Watcher) watch(d tree.Dir, path string, info tree.Info) (watchGrant, error) {
	none, active, room := w.roomFor(path, info)
	if !room {
		return none, nil
	}
	id, err := w.add(d, path)
	if errors.Is(err, ErrLimit) && w.roomInLess(active) {
		id, err = w.add(d, path)
	}
	if errors.Is(err, ErrLimit) || errors.Is(err, ErrRefused) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.deny(err)
		return none, nil
	}
	return watchGrant{id, none.since, none.active}, err
}

// roomFor reports whether a directory may have a watch, and how active it was last, as far as is known. none is what it gets where
// it may not.
func (w *Watcher) roomFor(path string, info tree.Info) (none watchGrant, active int64, room bool) {
	own := w.activity(info)
	w.mu.Lock()
	defer w.mu.Unlock()
	active, none = own, watchGrant{id: NoWatch, since: w.model.givenUp, active: own}
	if w.shownAgain(path) {
		w.deny(errAgain)
		return none, active, false
	}
	held := path == "/"
	if n := w.model.lookup(path); n != nil && n.id == info.ID {
		active = max(active, n.active)
		held = held || n.watch != NoWatch
	}
	if held || w.makeRoom(active) {
		none.since = w.model.givenUp
		return none, active, true
	}
	w.deny(errBudget)
	return none, active, false
}

// roomInLess takes note that there are fewer watches than was thought, as others have taken them, and makes room in what there is.
func (w *Watcher) roomInLess(active int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget.max = max(1, len(w.model.byWatch))
	return w.makeRoom(active)
}

// deny takes note of a directory that gets no watch.
func (w *Watcher) deny(err error) {
	w.limit.denied++
	w.reportShortage(err)
}

// reportShortage says once that not every directory is watched, and why.
func (w *Watcher) reportShortage(err error) {
	w.gap = true
	w.limit.short = w.limit.short || errors.Is(err, ErrLimit)
	if !w.limit.short || errors.Is(err, ErrLimit) {
		w.limit.cause = err
	}
	if w.limit.logged {
		return
	}
	w.limit.logged = true
	if errors.Is(err, errAgain) {
		w.cfg.Logger.Info("directories that a mount shows at a second path are watched at the first one; audits find changes at the second",
			"mounts", strings.Join(w.again, ", "))
		return
	}
	if errors.Is(err, ErrRefused) {
		attributes := []any{"reason", reasonOf(err)}
		if method, _ := w.notifier.Method(); method == "fanotify" {
			attributes = append(attributes, "hint", "--watch inotify takes more file systems, and a watch a directory")
		}
		w.cfg.Logger.Warn("a file system cannot be watched; only audits find changes there", attributes...)
		return
	}
	w.cfg.Logger.Warn("there are more directories than watches; the most recently active ones are watched, the others are only audited",
		"watches", len(w.model.byWatch), "hint", LimitHint)
}

// add asks for a watch, for as long as the directory may be asked for anything.
func (w *Watcher) add(d tree.Dir, path string) (id WatchID, err error) {
	if w.cfg.addError != nil {
		if err := w.cfg.addError(path); err != nil {
			return NoWatch, err
		}
	}
	bounded, ok := d.(tree.Bounded)
	if !ok {
		return w.notifier.Add(w.cfg.Root, d, path)
	}
	var got struct {
		id  WatchID
		err error
	}
	answer := &got
	if err := bounded.Within(func() { answer.id, answer.err = w.notifier.Add(w.cfg.Root, bounded.Bare(), path) }); err != nil {
		return NoWatch, err
	}
	return got.id, got.err
}

// LimitHint is what to do about the limit on watches.
const LimitHint = "raise it: sysctl fs.inotify.max_user_watches=8388608 (about 1 KiB of kernel memory each; keep it in /etc/sysctl.d)"

// reportLimit emits that coverage is limited, once until a coverage finds that it is not. The lock is held.
func (w *Watcher) reportLimit() {
	if w.limit.cause == nil || w.limit.reported || w.coverages > 0 {
		return
	}
	w.limit.reported = true
	hint := ""
	if errors.Is(w.limit.cause, ErrLimit) {
		hint = "; " + LimitHint
	}
	w.hints.mark("/", event.Mark{
		Kind: event.CoverageLimited, Directories: uint64(w.unwatched()),
		Message: fmt.Sprintf("%s: %s not watched%s", reasonOf(w.limit.cause), values.Plural(w.unwatched(), "directory is", "directories are"), hint),
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

// Root is which directory the root is.
func (w *Watcher) Root() tree.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.identity.id
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

// checkRoot finds out whether the root is still the directory that it was, and whether one that was lost is back. A root that is
// back may be another directory on the same mount point, or a file system that was mounted anew; in each case the model starts
// from nothing, because no notice of the time between has come.
func (w *Watcher) checkRoot() {
	now, err := identify(w.cfg.System, w.cfg.Root)
	w.rootDoubt = false
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
	if c, ok := w.notifier.(*chooser); ok {
		c.again()
		w.queue.take() // what the one before has told
	}
	w.mu.Lock()
	w.model.drop(w.model.root, w.notifier)
	for n := range w.model.orphans {
		w.model.drop(n, w.notifier)
	}
	w.model.reset()
	w.hints.reset()
	w.open.reset()
	w.budget.byActivity, w.budget.leaving = nil, nil
	clear(w.unreadable)
	w.identity, w.lost = now, nil
	w.limit, w.gap = limitState{}, w.blind // RootBack has everything covered and scanned
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
	w.open.reset()
	w.mu.Unlock()
	if !again {
		w.cfg.RootLost(err)
	}
}
