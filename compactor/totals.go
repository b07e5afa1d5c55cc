package compactor

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// moveTo moves the walk to a directory, and sums up those whose subtrees it has left, the innermost first.
//
// Because of the key order this needs no more than a stack (enclosing): the walk has left a directory's subtree as soon as
// it comes to a directory that does not have its prefix. So only the directories around the current one, and those that
// are still ahead (upcoming), are in memory.
//
//	visited    "/a/"   "/a/b/"   "/a/b/c/"   "/a/d/"                     "/e/"
//	enclosing  /a      /a /a/b   /a /a/b     /a /a/d                     /e             ("/" always)
//	                             /a/b/c
//	summed up                                /a/b/c, /a/b (into /a)      /a/d, /a (into "/")
func (w *walk) moveTo(parent string) error {
	for len(w.upcoming) > 0 && w.upcoming[0] <= parent {
		p := heap.Pop(&w.upcoming).(string)
		if err := w.sumOutside(p); err != nil {
			return err
		}
		w.enclosing = append(w.enclosing, p)
	}
	return w.sumOutside(parent)
}

// end sums up all directories that are left.
func (w *walk) end() error {
	if err := w.moveTo("\xff"); err != nil { // paths begin with a slash
		return err
	}
	return w.sumOutside("")
}

// sumOutside sums up the enclosing directories that do not have this one in them, but for those that other parts share: they stay in dirs.
func (w *walk) sumOutside(parent string) error {
	for n := len(w.enclosing); n > 0 && !strings.HasPrefix(parent, w.enclosing[n-1]); n-- {
		if dir := w.enclosing[n-1]; !w.shares(dir) {
			if err := w.sum(dir); err != nil {
				return err
			}
		}
		w.enclosing = w.enclosing[:n-1]
	}
	return nil
}

// sum makes the subtree totals of a directory exact. All directories in it are summed up before. A directory without a row
// that must be there, as something in it is, gets one (Assume).
func (w *walk) sum(prefix string) error {
	n := w.dirs[prefix]
	delete(w.dirs, prefix)
	if n.holdsSomething() && !isDir(&n.row, n.known) {
		w.rules.Assume(&n.row, n.known, w.parentStateOf(n))
		n.known = true
	}
	after, err := w.after(n, prefix)
	if err != nil {
		return err
	}
	if isDir(&n.row, n.known) {
		n.row.Sub = after
		if n.row.Open, err = w.open(n, prefix); err != nil {
			return err
		}
	}
	if up := w.above(n); up != nil {
		up.addChange(n.row.Name, n.before, after)
		up.noteOpen(n)
	} else {
		w.totals = &after
	}
	if !n.changed() {
		return nil
	}
	w.suspects.add(&n.row)
	return w.outDirs.add(&n.row)
}

// addChange adds that an entry which contributed before now contributes after.
func (n *node) addChange(name string, before, after evidence.Totals) {
	n.direct.add(before, after)
	n.latest = max(n.latest, after.LatestMtimeNs)
	if after.LatestMtimeNs < before.LatestMtimeNs && !n.whole {
		n.fell = append(n.fell, name)
	}
}

// parentStateOf is the state of the directory that the node is in, as it is after the batch.
func (w *walk) parentStateOf(n *node) *evidence.ParentState {
	if up := w.above(n); up != nil {
		return &evidence.ParentState{Before: up.forEntries.After, After: up.forEntries.After}
	}
	return &evidence.ParentState{}
}

// holdsSomething reports whether there is something in the directory after the batch.
func (n *node) holdsSomething() bool {
	d := n.direct
	if n.wasDir {
		d.files, d.directories, d.others = d.files+n.before.Files, d.directories+n.before.Directories-1, d.others+n.before.Others
	}
	return d.files > 0 || d.directories > 0 || d.others > 0
}

// after is what the node contributes to its parent's totals after the batch. Counts and bytes follow from the changes. The
// newest mtime does not where the newest file is gone: then the other entries have to be read (newestEntry).
func (w *walk) after(n *node, prefix string) (evidence.Totals, error) {
	none := evidence.Totals{LatestMtimeNs: evidence.NoMtime}
	if !present(&n.row, n.known) {
		return none, nil
	}
	t := n.row.Own()
	if n.row.Type != event.Directory {
		return t, nil
	}
	was, own, by := int64(evidence.NoMtime), t, n.direct
	if n.wasDir {
		was = n.before.LatestMtimeNs
		// What the directory occupies itself may have changed; all else that it contributes to its own sums is one directory.
		own = n.was.Own()
		by.add(own, t)
		t = n.before
	}
	t, exact := by.changed(t)
	if !exact {
		if err := w.entrySums(own, prefix, &by, &t); err != nil {
			return none, err
		}
	}
	switch {
	case n.direct.added >= was:
		t.LatestMtimeNs = n.direct.added
	case n.direct.lost < was:
		t.LatestMtimeNs = was
	case n.whole:
		t.LatestMtimeNs = n.latest
	default:
		s := newestEntry{walk: w, parent: prefix, fell: n.fell, latest: n.latest}
		if err := s.run(); err != nil {
			return none, err
		}
		t.LatestMtimeNs = s.latest
	}
	return t, nil
}

// newestEntry finds the newest mtime at or below the entries of a directory whose newest file went away. It reads no
// directories, whose rows have the newest mtime of all below them, and no row groups that by the index have nothing newer
// than what it found.
type newestEntry struct {
	*walk
	parent string
	fell   []string // entries that became older: what the view has for them counts no more
	latest int64    // at first, that of the entries that changed
}

func (s *newestEntry) run() error {
	slices.Sort(s.fell)
	from, to := layer.Key{Parent: s.parent}, layer.Key{Parent: s.parent + "\x00"}
	newest, err := s.newestGroup(from, to)
	if err != nil {
		return err
	}
	if newest != nil { // with the newest mtime first, most other row groups can be skipped
		first, end := newest.First, newest.Last
		if first.Compare(from) < 0 {
			first = from
		}
		end.Name += "\x00"
		if to.Compare(end) < 0 {
			end = to
		}
		if err := s.search(first, end); err != nil {
			return err
		}
	}
	return s.search(from, to)
}

// newestGroup is the row group of the base, in a range of keys, that may have the newest mtime; nil where there are few.
func (s *newestEntry) newestGroup(from, to layer.Key) (best *layer.Group, err error) {
	n := 0
	for _, l := range s.view.Base() {
		if info := l.Info(); info.Last.Compare(from) < 0 || info.First.Compare(to) >= 0 {
			continue
		}
		groups, err := l.Groups(s.ctx)
		if err != nil {
			return nil, err
		}
		for i := range groups {
			g := &groups[i]
			if g.Last.Compare(from) < 0 || g.First.Compare(to) >= 0 {
				continue
			}
			n++
			if g.Flat() && (best == nil || g.MaxMtimeSec > best.MaxMtimeSec) {
				best = g
			}
		}
	}
	if n <= 2 {
		return nil, nil
	}
	return best, nil
}

// search reads a range of keys.
func (s *newestEntry) search(from, to layer.Key) error {
	cursor := s.view.Cursor(s.ctx).Until(to).SkipBase(func(g *layer.Group) bool {
		return g.First.Compare(to) < 0 && g.Flat() && g.MaxMtimeSec < 1<<33 && g.MaxMtimeSec*1e9 <= s.latest
	})
	var row evidence.Row
	for ok := cursor.Seek(from); ok; ok = cursor.Next() {
		if _, over := slices.BinarySearch(s.fell, cursor.Key().Name); over {
			continue
		}
		if err := cursor.Row(&row); err != nil {
			return err
		}
		if isDir(&row, true) {
			s.latest = max(s.latest, row.Sub.LatestMtimeNs)
		} else {
			s.latest = max(s.latest, row.Own().LatestMtimeNs)
		}
	}
	return cursor.Err()
}

func compareRows(a, b *evidence.Row) int {
	return cmp.Or(strings.Compare(a.Parent, b.Parent), strings.Compare(a.Name, b.Name))
}
