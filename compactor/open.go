package compactor

import (
	"slices"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/permission"
)

// A directory is open (evidence.Row.Open) if each directory in it covers it (permission.Covers) and is open itself. That follows from the
// directory's row and those of its entries, so a fold keeps it as it keeps totals, from the innermost directory outwards:
//
//	/home 0755 root          not open: /home/alice keeps others out
//	/home/alice 0700 alice   open, whatever alice has in it
//	/home/alice/x 0755 alice open
//
// As a rule, the entries that the batch is about decide: one that is closed closes its directory, and none leaves it as it was. Only where
// the directory's own rights changed, and where an entry was closed and is no longer, the other entries have to be read (reopens),
// unless a listing has visited all of them.

// rightsOf are those of the directory that the row is. What is none, and has something in it, will be assumed, without any rights.
func rightsOf(row *evidence.Row, known bool) permission.Directory {
	if !isDir(row, known) {
		return permission.Directory{}
	}
	return permission.Directory{UID: row.UID, GID: row.GID, Mode: row.Mode & 0o777, ACL: row.ACL}
}

// leavesOpen reports whether a row, as an entry of a directory with these rights, leaves that directory open.
func leavesOpen(row *evidence.Row, known bool, above permission.Directory) bool {
	return !isDir(row, known) || row.Open && permission.Covers(rightsOf(row, known), above)
}

// keepsClosed takes in a directory in this one that does not change.
func (n *node) keepsClosed(entry *evidence.Row) {
	n.closes = n.closes || !leavesOpen(entry, true, rightsOf(&n.row, n.known))
}

// noteOpen takes in what became of an entry that has a node, once it is summed up.
func (n *node) noteOpen(entry *node) {
	if !entry.wasDir && !isDir(&entry.row, entry.known) {
		return
	}
	if !leavesOpen(&entry.row, entry.known, rightsOf(&n.row, n.known)) {
		n.closes = true
		return
	}
	was := rightsOf(&entry.was, entry.wasDir)
	if entry.wasDir && (!isDir(&entry.row, entry.known) || was != rightsOf(&entry.row, entry.known) || entry.was.Open != entry.row.Open) {
		n.opened = append(n.opened, entry.row.Name)
		n.reopens = n.reopens || !leavesOpen(&entry.was, true, rightsOf(&n.was, n.wasDir))
	}
}

// open reports whether the directory of a node is open, after its totals and what is in it.
func (w *walk) open(n *node, prefix string) (bool, error) {
	rights := rightsOf(&n.row, n.known)
	switch {
	case n.row.Sub.Directories == 1: // there is no directory in it
		return true, nil
	case n.closes:
		return false, nil
	case !n.wasDir: // all that is in it came with the batch
		return true, nil
	case n.whole: // all that is in it was visited
		return true, nil
	case rights == rightsOf(&n.was, true) && !n.reopens:
		return n.was.Open, nil
	}
	slices.Sort(n.opened)
	cursor := w.view.Cursor(w.ctx).Until(layer.Key{Parent: prefix + "\x00"})
	var row evidence.Row
	for ok := cursor.Seek(layer.Key{Parent: prefix}); ok; ok = cursor.Next() {
		if _, changed := slices.BinarySearch(n.opened, cursor.Key().Name); changed {
			continue
		}
		if err := cursor.Row(&row); err != nil {
			return false, err
		}
		if !leavesOpen(&row, true, rights) {
			return false, nil
		}
	}
	return true, cursor.Err()
}
