package compactor

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// sum makes the subtree totals of every directory that the walk met exact, and gives directories that must be there,
// as something in them is, a row. Directories are taken from the leaves up.
func (w *walk) sum() error {
	keys := make([]string, 0, len(w.dirs))
	for k := range w.dirs {
		keys = append(keys, k)
	}
	sort.Sort(sort.Reverse(sort.StringSlice(keys)))
	for _, k := range keys {
		n := w.dirs[k]
		if n.holdsSomething() && !isDir(&n.row, n.known) {
			w.rules.Assume(&n.row, n.known, w.placeOf(n))
			n.known = true
		}
		after, err := w.after(n, k)
		if err != nil {
			return err
		}
		if isDir(&n.row, n.known) {
			n.row.Sub = after
		}
		if up := w.dirs[n.row.Parent]; up != nil && n.row.Parent != "" {
			up.direct.turn(n.before, after)
			up.latest = max(up.latest, after.LatestMtimeNs)
		}
	}
	return nil
}

// placeOf is the directory that the node is in, as it is after the batch.
func (w *walk) placeOf(n *node) *evidence.Place {
	if up := w.dirs[n.row.Parent]; up != nil && n.row.Parent != "" {
		return &evidence.Place{Before: up.place.After, After: up.place.After}
	}
	return &evidence.Place{}
}

// holdsSomething reports whether, after the batch, there is something in it.
func (n *node) holdsSomething() bool {
	d := n.direct.sums
	if n.wasDir {
		d = d.Plus(n.before)
		d.Directories--
	}
	return d.Files > 0 || d.Directories > 0 || d.Others > 0
}

// after is what the node adds to its parent's totals after the batch.
func (w *walk) after(n *node, prefix string) (evidence.Totals, error) {
	none := evidence.Totals{LatestMtimeNs: evidence.NoMtime}
	if !present(&n.row, n.known) {
		return none, nil
	}
	t := n.row.Own()
	if n.row.Type != event.Directory {
		return t, nil
	}
	was := int64(evidence.NoMtime)
	if n.wasDir {
		t, was = n.before, n.before.LatestMtimeNs
	}
	t.Files += n.direct.sums.Files
	t.Directories += n.direct.sums.Directories
	t.Others += n.direct.sums.Others
	t.Bytes += n.direct.sums.Bytes
	switch {
	case n.direct.added >= was:
		t.LatestMtimeNs = n.direct.added
	case n.direct.lost < was:
		t.LatestMtimeNs = was
	case n.whole:
		t.LatestMtimeNs = n.latest
	default:
		latest, err := w.latestIn(prefix)
		if err != nil {
			return none, err
		}
		t.LatestMtimeNs = max(latest, n.latest)
	}
	return t, nil
}

// latestIn is the newest mtime at or below the entries of a directory, those apart that are nodes: the newest file of
// the directory went away, and only a look at all others tells what is the newest now.
func (w *walk) latestIn(parent string) (int64, error) {
	latest := int64(evidence.NoMtime)
	i := sort.Search(len(w.out), func(i int) bool { return w.out[i].Parent >= parent })
	j := i
	for ; j < len(w.out) && w.out[j].Parent == parent; j++ {
		if !w.out[j].Removed {
			latest = max(latest, w.out[j].Own().LatestMtimeNs)
		}
	}
	changed := w.out[i:j]
	var row evidence.Row
	for ok := w.probe.Seek(layer.Key{Parent: parent}); ok && w.probe.Key().Parent == parent; ok = w.probe.Next() {
		name := w.probe.Key().Name
		for len(changed) > 0 && changed[0].Name < name {
			changed = changed[1:]
		}
		if len(changed) > 0 && changed[0].Name == name || w.dirs[parent+name+"/"] != nil {
			continue
		}
		if err := w.probe.Row(&row); err != nil {
			return latest, err
		}
		if isDir(&row, true) {
			latest = max(latest, row.Sub.LatestMtimeNs)
		} else {
			latest = max(latest, row.Own().LatestMtimeNs)
		}
	}
	return latest, w.probe.Err()
}

// changes calls yield with every row that the batch changed, in key order.
func (w *walk) changes(yield func(*evidence.Row) error) error {
	var dirs []*evidence.Row
	for _, n := range w.dirs {
		if n.changed() {
			dirs = append(dirs, &n.row)
		}
	}
	slices.SortFunc(dirs, compareRows)
	for i, j := 0, 0; i < len(w.out) || j < len(dirs); {
		var next *evidence.Row
		if j == len(dirs) || i < len(w.out) && compareRows(&w.out[i], dirs[j]) < 0 {
			next = &w.out[i]
			i++
		} else {
			next = dirs[j]
			j++
		}
		if err := yield(next); err != nil {
			return err
		}
	}
	return nil
}

func compareRows(a, b *evidence.Row) int {
	return cmp.Or(strings.Compare(a.Parent, b.Parent), strings.Compare(a.Name, b.Name))
}
