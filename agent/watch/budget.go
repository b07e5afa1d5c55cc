package watch

import (
	"container/heap"
	"errors"
	"time"

	"github.com/fustor/fustor/agent/tree"
)

// budget gives out the watches if there are fewer than directories: to the directories that were active last. A directory's
// activity is its mtime, in the store's time, or the last notice of it, whichever is later.
//
// Invariants: no more than max watches are held, but for a moment by parts that add some at the same time (trim). The root keeps
// its watch. byActivity, if it is there, has an entry for each watched directory but the root; entries may be too cold, or of
// a watch that was given up, never too hot. So an entry at the top that is up to date is the coldest.
type budget struct {
	max        int          // watches to hold; 0: any number
	byActivity activityHeap // the watched directories, the coldest first; nil until they are needed
	now        int64        // when the notices that are being handled were taken
	checked    time.Time
	covered    int // max, when the last coverage began
	// leaving are the watches that were given up and of which notices may still be on their way: until the kernel says
	// that there are no more.
	leaving map[WatchID]*node
}

// quotaEvery is how often the limit, and what others need of it, is looked at where it matters.
const quotaEvery = time.Minute

// activityEntry is a watched directory as the heap knows it; the directory may have become more active since, or lost that watch.
type activityEntry struct {
	node   *node
	watch  WatchID
	active int64
}

type activityHeap []activityEntry

func (s activityHeap) Len() int           { return len(s) }
func (s activityHeap) Less(i, j int) bool { return s[i].active < s[j].active }
func (s activityHeap) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *activityHeap) Push(x any)        { *s = append(*s, x.(activityEntry)) }
func (s *activityHeap) Pop() any {
	last := len(*s) - 1
	x := (*s)[last]
	(*s)[last] = activityEntry{}
	*s = (*s)[:last]
	return x
}

// activity is when a directory last changed. An mtime in the future says nothing.
func (w *Watcher) activity(info tree.Info) int64 {
	const tolerance = int64(time.Hour)
	at := info.Entry.MtimeNs + w.skew.Load()
	if at <= w.passed.Load() { // as of most directories, so that they need no clock
		return at
	}
	now := w.cfg.Now()
	w.passed.Store(now)
	if at > now+tolerance {
		return 0
	}
	return min(at, now)
}

// full reports whether no more watches are to be taken. The lock is held, here and below.
func (w *Watcher) full() bool { return w.budget.max > 0 && len(w.model.byWatch) >= w.budget.max }

// makeRoom gives up watches of directories that were active before active until there is one to give, and reports whether there
// is. A directory that is as cold as the coldest gets none: the two would take the watch from each other in turns.
func (w *Watcher) makeRoom(active int64) bool {
	for w.full() {
		coldest := w.coldest()
		if coldest == nil || coldest.active >= active {
			return false
		}
		w.evict(coldest)
	}
	return true
}

// coldest is the watched directory that was active the longest ago; nil if there is none to be had.
func (w *Watcher) coldest() *node {
	w.buildActivityHeap()
	s := &w.budget.byActivity
	for s.Len() > 0 {
		top := &(*s)[0]
		switch {
		case top.node.watch != top.watch || top.node == w.model.root:
			heap.Pop(s)
		case top.active < top.node.active:
			top.active = top.node.active
			heap.Fix(s, 0)
		default:
			return top.node
		}
	}
	return nil
}

// buildActivityHeap makes the heap, where there is none yet or most of it is of directories that are gone.
func (w *Watcher) buildActivityHeap() {
	if s := w.budget.byActivity; s != nil && len(s) <= 2*len(w.model.byWatch)+64 {
		return
	}
	s := make(activityHeap, 0, len(w.model.byWatch)+64)
	for id, n := range w.model.byWatch {
		if n != w.model.root {
			s = append(s, activityEntry{n, id, n.active})
		}
	}
	heap.Init(&s)
	w.budget.byActivity = s
}

// noteActivity takes note of a directory that was covered.
func (w *Watcher) noteActivity(n *node, active int64, fresh bool) {
	n.active = max(n.active, active)
	if fresh && w.budget.byActivity != nil && n.watch != NoWatch {
		heap.Push(&w.budget.byActivity, activityEntry{n, n.watch, n.active})
	}
}

// evict gives up a directory's watch. The directory stays known. Notices that the kernel made before still count: they find it
// in leaving, until OpIgnored says that no more will come.
func (w *Watcher) evict(n *node) {
	id := n.watch
	w.model.giveUp(id, w.notifier)
	delete(w.model.byWatch, id)
	n.watch = NoWatch
	if w.budget.leaving == nil {
		w.budget.leaving = map[WatchID]*node{}
	}
	w.budget.leaving[id] = n
	w.limit.evicted++
	w.reportShortage(errBudget)
}

// updateQuota asks how many watches may be held, and gives up those beyond. It reads /proc, so the lock is not held.
func (w *Watcher) updateQuota() {
	r, ok := w.notifier.(quotaNotifier)
	if !ok {
		return
	}
	w.mu.Lock()
	wanted := w.model.directories
	if w.generation == 0 || w.coverages > 0 && w.generation == 1 {
		wanted = -1
	}
	w.mu.Unlock()
	granted := r.Quota(wanted)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget.checked = time.Now()
	w.budget.max = granted
	w.trim()
}

// trim gives up the watches of the coldest directories beyond what may be held.
func (w *Watcher) trim() {
	for w.budget.max > 0 && len(w.model.byWatch) > w.budget.max {
		coldest := w.coldest()
		if coldest == nil {
			return
		}
		w.evict(coldest)
	}
}

// refreshQuota does so now and then, where watches are short, and reports whether so many more may be held that the tree should
// be covered again.
func (w *Watcher) refreshQuota(now time.Time) bool {
	w.mu.Lock()
	due := w.gap && !w.blind && w.coverages == 0 && now.Sub(w.budget.checked) >= w.cfg.QuotaEvery
	w.mu.Unlock()
	if !due {
		return false
	}
	w.updateQuota()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget.checked = now
	if w.coverages > 0 {
		return false
	}
	if w.unwatched() == 0 { // those without a watch are gone, or the coverage that was to end the gap has failed
		return true
	}
	if !errors.Is(w.limit.cause, ErrLimit) || w.budget.max > 0 && w.budget.max <= w.budget.covered {
		return false
	}
	free := w.budget.max - len(w.model.byWatch)
	enough := w.budget.max == 0 || free >= min(w.unwatched(), len(w.model.byWatch)/4+1)
	if enough {
		w.budget.covered = w.budget.max
		return true
	}
	return false
}

// ancestorsWatched reports whether every directory above n is watched: then n cannot be moved without a notice.
func (w *Watcher) ancestorsWatched(n *node) bool {
	if w.limit.cause == nil {
		return true
	}
	for at := n.parent; at != nil; at = at.parent {
		if at.watch == NoWatch {
			return false
		}
	}
	return true
}
