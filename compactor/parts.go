package compactor

import (
	"context"
	"math"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
)

// A batch of many names is resolved by several walks at once. Each has a part of the view: the directories from one of the batch up to
// another.
//
//	parts      [          "/b/c/"                           "/b/k/")
//	visited    …          "/b/c/"  "/b/d/"  "/b/d/e/"       "/b/k/"  …
//	around     of the second part: "", "/" and "/b/"; of the third: the same
//
// What becomes of an entry depends on the directory that it is in, and on nothing else of the batch. So all that a part has to know of
// those before is what becomes of the directories that it begins in (around): they are the directories in the path of its first one, as
// there is no other directory before the first one that has any of the part's in it. It resolves them again: of their entries those that
// are directories of its own, or around it (visit.around). Every entry is recorded by one part:
//
//   - a directory with something in it that a walk visits, by the part that it is in, as its totals follow from what is in it;
//   - anything else, by the part that visits the directory which it is in.
//
// A directory that other parts have something of (shares) is summed up when all of them are done: each has a node of it, with the changes
// that it has found, and these add up (join).

// part is a range of directories: from is "" or one of the batch, until is "" or where the next part begins.
type part struct {
	from, until string
	groups      []*group // of the batch, in order
	names       int      // that are claimed or listed in them, about
}

// has reports whether the entries of a directory are visited in this part.
func (p *part) has(dir string) bool { return dir >= p.from && (p.until == "" || dir < p.until) }

// shares reports whether a directory that the part has a node of has entries, or directories in it, that other parts visit.
func (p *part) shares(dir string) bool {
	return dir < p.from || strings.HasPrefix(p.until, dir)
}

// around are the directories that the part's first one is in, the outermost first.
func (p *part) around() (dirs []string) {
	if p.from == "" {
		return nil
	}
	dirs = append(dirs, "")
	for i := range len(p.from) - 1 {
		if p.from[i] == '/' {
			dirs = append(dirs, p.from[:i+1])
		}
	}
	return dirs
}

// namesIn is a range of names that has all those which, in a directory around the part, are directories around it or in it. to "" is open.
func (p *part) namesIn(around string) (from, to string) {
	first := component(p.from[len(around):])
	from = first
	for i := 1; i < len(first); i++ {
		if first[i] < '/' { // as in "a/", which comes after "a-b/"
			from = first[:i]
			break
		}
	}
	if strings.HasPrefix(p.until, around) {
		to = component(p.until[len(around):]) + "/" // so that names with less than a slash after it are in
	}
	return from, to
}

func component(path string) string {
	name, _, _ := strings.Cut(path, "/")
	return name
}

// toRead are the groups whose claims a walk of the part resolves, in order, those around with no others.
func (p *part) toRead(b *batch) []*group {
	var all []*group
	for _, dir := range p.around() {
		g := *b.groups[dir]
		from, to := p.namesIn(dir)
		g.claims = g.claims[g.search(from):]
		if to != "" {
			g.claims = g.claims[:g.search(to)]
		}
		all = append(all, &g)
	}
	return append(all, p.groups...)
}

// search is the number of claims before a name.
func (g *group) search(name string) int {
	return sort.Search(len(g.claims), func(i int) bool { return g.claims[i].name >= name })
}

// names is about how many names the group has something about.
func (g *group) names() int {
	n := claimsPerGroup + len(g.claims)
	for _, l := range g.listings {
		n += len(l.entries)
	}
	return n
}

// divide makes at most most parts of a batch, each of about as many names.
func (b *batch) divide(most int) []*part {
	groups, all := b.inOrder(), 0
	for _, g := range groups {
		all += g.names()
	}
	parts := []*part{{groups: groups}}
	passed := 0
	for i, g := range groups {
		last := parts[len(parts)-1]
		if passed*most >= len(parts)*all {
			at := i - (len(groups) - len(last.groups))
			next := &part{from: g.parent, groups: last.groups[at:]}
			last.until, last.groups = next.from, last.groups[:at]
			parts, last = append(parts, next), next
		}
		last.names += g.names()
		passed += g.names()
	}
	return parts
}

// workers is how many parts a batch is to be divided into. A small fold has one, as several take more of the processors together. So has
// one of names that there may not be room for: they are let in in the order of the walk.
func (c *Compactor) workers(b *batch, turn *turn, room *room) int {
	if !turn.large || !room.ample(b) {
		return 1
	}
	return max(1, min(c.o.Workers, b.size/c.o.WorkerClaims))
}

// ample reports whether there is room for all that a batch could add.
func (r *room) ample(b *batch) bool {
	most := int64(b.rows + len(b.groups))
	return r.limit == 0 || r.entries >= most && r.stones >= most
}

// resolved is what becomes of a batch.
type resolved struct {
	parts    []*walk
	shared   *walk // of the directories that several parts have something of
	suspects *suspects
	room     *room
	totals   *evidence.Totals // of the whole view; nil: nothing is claimed
	stale    uint64           // listings that showed an older state of their directory than the view knew
}

// resolve walks the view with a batch.
func (c *Compactor) resolve(ctx context.Context, m *manifest.Manifest, rules evidence.Rules, b *batch, turn *turn, room *room) (*resolved, error) {
	b.finish()
	view, err := layer.OpenView(c.o.Store, m.View, m.Base, m.Deltas, c.cache)
	if err != nil {
		return nil, err
	}
	parts := b.divide(c.workers(b, turn, room))
	suspects := func() *suspects { return newSuspects(m.Suspects, max(m.ObservedAt, b.observedAt)) }
	r := &resolved{room: room, suspects: suspects()}
	all := 0
	for _, p := range parts {
		all += p.names
	}
	rows, window := max(2, turn.claims, c.o.BatchClaims/4), c.lookaheadBytes(b, turn)/int64(len(parts))
	walking, inParts := errgroup.WithContext(ctx)
	for _, p := range parts {
		w := newWalk(inParts, view, rules, b, *p)
		w.suspects = suspects()
		if w.room = room; len(parts) > 1 {
			w.room = noLimit()
		}
		limit := max(2, int(int64(rows)*int64(p.names)/int64(max(1, all))))
		w.out = rowBuffer{dir: c.o.TempDir, limit: limit, rows: make([]evidence.Row, 0, min(p.names, limit, b.rows))}
		w.outDirs = rowBuffer{dir: c.o.TempDir, limit: max(2, limit/4)} // one row in twenty is a directory's
		w.lookahead = lookAhead(inParts, view, w.toRead(b), window)
		w.old.BlocksFrom(w.lookahead.block)
		r.parts = append(r.parts, w)
	}
	for _, w := range r.parts {
		walking.Go(w.run)
	}
	err = walking.Wait()
	if err == nil {
		r.shared = newWalk(ctx, view, rules, b, part{})
		r.shared.suspects, r.shared.outDirs = suspects(), rowBuffer{dir: c.o.TempDir, limit: math.MaxInt}
		err = r.join()
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// join sums up the directories that several parts have something of, and adds up what the parts have found.
func (r *resolved) join() error {
	w := r.shared
	var dirs []string
	for _, p := range r.parts {
		for dir, n := range p.dirs {
			if first := w.dirs[dir]; first != nil {
				first.take(n)
			} else {
				w.dirs[dir] = n
				dirs = append(dirs, dir)
			}
		}
	}
	slices.Sort(dirs)
	for _, dir := range slices.Backward(dirs) { // what is in a directory comes after it
		if err := w.sum(dir); err != nil {
			return err
		}
	}
	for _, p := range append(r.parts, w) {
		r.stale += p.stale
		r.suspects.take(p.suspects)
		if p.totals != nil {
			r.totals = p.totals
		}
	}
	return nil
}

// take adds the changes of another part's node of the directory.
func (n *node) take(other *node) {
	n.direct.take(&other.direct)
	n.latest = max(n.latest, other.latest)
	n.fell = append(n.fell, other.fell...)
	n.closes, n.reopens = n.closes || other.closes, n.reopens || other.reopens
	n.opened = append(n.opened, other.opened...)
}

// buffers have the rows that the batch changed.
func (r *resolved) buffers() (all []*rowBuffer) {
	for _, w := range append(r.parts, r.shared) {
		all = append(all, &w.out, &w.outDirs)
	}
	return all
}

// changes calls yield with every row that the batch changed, in key order.
func (r *resolved) changes(yield func(*evidence.Row) error) error {
	return eachRow(yield, r.buffers()...)
}

func (r *resolved) close() {
	for _, w := range r.parts {
		w.close()
	}
}
