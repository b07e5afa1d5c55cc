package compactor

import (
	"container/heap"
	"context"
	"sort"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// walk folds one batch into a view: it visits the directories that the batch is about in key order, resolves the claims
// about each name against the name's row, and collects the rows that change.
//
// It visits in the order of the view's keys, (Parent, Name) as plain bytes. A subtree is one range of keys, and the
// directory's own row comes before it. So what becomes of a directory is known before its entries are visited, and the
// old rows are read by one cursor that only moves forward:
//
//	keys       Parent ""     "/"                  "/a/"                "/a/b/"     "/c/"
//	           ────┬─────────┬────────────────────┬────────────────────┬───────────┬──────────▶
//	rows           "/"       /a  /c  /x           /a/b  /a/f           /a/b/g      /c/h
//	batch                                         put /a/f                         listing of /c
//	visited    1 look up "/" 2 look up /a and /c  3 resolve /a/f       (skipped)   4 all rows of /c
//
// Visits 1 and 2 look up the directories above those that the batch is about (batch.group): their totals change, and
// their ends (evidence.Ends) count for what is below.
//
// A directory that ended makes everything below it void, whatever the batch says about it. Its subtree becomes a region:
// the walk then visits every directory that has rows there, too, beside those of the batch.
//
// Directories change last: their totals are known only once all of their entries are (see sumOutside).
//
// Large batches are divided among several walks (part).
type walk struct {
	part
	ctx    context.Context
	view   *layer.View
	rules  evidence.Rules
	batch  *batch
	claims []evidence.Claim // of the current name
	old    *layer.Cursor    // the rows before the batch. It only moves forward: its blocks are read ahead in that order, once
	probe  *layer.Cursor    // finds the directories of regions; moves freely

	oldKey     layer.Key // the key of old's row
	oldStarted bool      // old has been moved
	oldValid   bool      // old is at a row, not at the end

	pending   []*group         // of directories of the batch that are still to be visited, in order
	below     regions          // subtrees of directories that ended; what has rows there is visited as well
	dirs      map[string]*node // directories that were resolved and are not summed up yet, by the Parent of their entries
	upcoming  layer.Parents    // those of dirs that the walk has not reached yet
	enclosing []string         // those that the current directory is in or is, the outermost first: a stack

	dirVisit visit // the current directory

	out, outDirs rowBuffer // changed rows: out has those that need no node, in key order; outDirs has directories, innermost first
	lookahead    *lookahead
	suspects     *suspects
	room         *room
	totals       *evidence.Totals // of the whole view, once it is summed up; nil: nothing is claimed
	stale        uint64           // listings that showed an older state of their directory than the view knew
}

// node is a directory, or what was one, in the part of the view that a batch changes.
type node struct {
	row, was evidence.Row
	known    bool
	// before is what the row contributed to its parent's totals before the batch. wasDir: it was there, as a directory.
	before evidence.Totals
	wasDir bool
	// direct is the sum of the changes of its entries.
	direct change
	// whole: all entries were visited. latest is the newest mtime at or below those that were, nodes included once they are
	// summed up. fell are those whose newest mtime became older, where not all were visited.
	whole  bool
	latest int64
	fell   []string
	// closes: an entry keeps the directory from being open. reopens: one did and no longer does. opened are the directories in it that
	// changed and leave it open: what the view has of them counts no more.
	closes, reopens bool
	opened          []string
	// held: it is not there, but will be assumed, and has its room.
	held bool
	// forEntries is what the directory's own evidence means for its entries. raised: it ended, so that all of them are to be
	// resolved again with its floor.
	forEntries evidence.ParentState
	raised     bool
}

func (n *node) changed() bool { return n.row != n.was }

func newWalk(ctx context.Context, view *layer.View, rules evidence.Rules, b *batch, p part) *walk {
	return &walk{part: p, ctx: ctx, view: view, rules: rules, batch: b, pending: p.groups, old: view.Cursor(ctx), probe: view.Cursor(ctx), dirs: map[string]*node{}}
}

// run visits every directory of the part that is of the batch, or of a region.
func (w *walk) run() error {
	for _, dir := range w.around() {
		if err := w.visitDirectory(dir, true); err != nil {
			return err
		}
	}
	last := ""
	for first := true; len(w.pending)+len(w.below) > 0; first = false {
		parent, err := w.nextParent()
		if err != nil {
			return err
		}
		if parent == last && !first {
			continue
		}
		last = parent
		if err := w.visitDirectory(parent, false); err != nil {
			return err
		}
	}
	return w.end()
}

// nextParent takes the first directory that is still to be visited, of the batch or of a region.
func (w *walk) nextParent() (string, error) {
	if len(w.below) > 0 && (len(w.pending) == 0 || w.below[0].next < w.pending[0].parent) {
		r := &w.below[0]
		parent := r.next
		if !w.advance(r, parent+"\x00") {
			heap.Pop(&w.below)
		} else {
			heap.Fix(&w.below, 0)
		}
		return parent, w.probe.Err()
	}
	next := w.pending[0].parent
	w.pending = w.pending[1:]
	return next, nil
}

func (w *walk) close() {
	w.lookahead.close()
	w.out.close()
	w.outDirs.close()
}

// visitDirectory resolves the names of one directory: all of its rows where a listing covers them or the directory ended,
// else only the names of the batch. Of one around the part it resolves the directories of the part, and those around it.
func (w *walk) visitDirectory(parent string, around bool) error {
	w.lookahead.moveTo(parent)
	if err := w.moveTo(parent); err != nil {
		return err
	}
	g := w.batch.groups[parent]
	if g == nil {
		g = &group{parent: parent}
	}
	v := &w.dirVisit
	*v = visit{walk: w, group: g, dir: w.dirs[parent], passed: v.passed, around: around}
	v.open()
	end := ""
	if around {
		end = v.narrow()
	}
	for {
		name, ok := v.nextName()
		if err := w.old.Err(); err != nil {
			return err
		}
		if !ok || end != "" && name >= end {
			break
		}
		if around && !w.concerns(parent+name+"/") {
			v.pass(name)
			continue
		}
		if err := v.resolve(name); err != nil {
			return err
		}
	}
	return w.old.Err()
}

// visit is the walk's pass through one directory.
type visit struct {
	*walk
	group        *group
	dir          *node // the directory itself; nil above the root
	parent       *evidence.ParentState
	raised       bool
	listings     []*listing
	passed       []int // how many entries of each listing are done
	everyRow     bool  // every row with from <= name < to is visited
	from, to     string
	earliest     int64 // when the first of the listings was made
	claimsPassed int   // how many of the group's claims are done
	around       bool  // the directory is one around the part: only directories that concern the part are resolved, and nothing else is recorded
	last         string
	started      bool
	current      resolution // of the current name
}

func (v *visit) open() {
	v.parent = &evidence.ParentState{}
	if v.dir != nil {
		v.parent, v.raised = &v.dir.forEntries, v.dir.raised
	}
	v.listings = v.group.listings
	v.passed = append(v.passed[:0], make([]int, len(v.listings))...)
	for i, l := range v.listings {
		if i == 0 {
			v.from, v.to, v.earliest = l.From, l.To, l.At
		}
		v.earliest = min(v.earliest, l.At)
		v.from = min(v.from, l.From)
		if l.To == "" || v.to != "" && l.To > v.to {
			v.to = l.To
		}
	}
	if v.raised {
		v.from, v.to = "", ""
	}
	v.everyRow = len(v.listings) > 0 || v.raised
	if v.dir != nil {
		v.dir.whole = v.everyRow && v.from == "" && v.to == ""
	}
}

// nextName is the next name to resolve: the smallest that a claim, a listing or a row has.
func (v *visit) nextName() (string, bool) {
	name, ok := "", false
	take := func(n string) {
		if !ok || n < name {
			name, ok = n, true
		}
	}
	if v.claimsPassed < len(v.group.claims) {
		take(v.group.claims[v.claimsPassed].name)
	}
	for i := range v.listings {
		if e := v.entry(i); e != nil {
			take(e.Name)
		}
	}
	if v.everyRow && (!ok || name > v.from) {
		if n, found := v.nextRow(); found && (!ok || n < name) {
			return n, true
		}
	}
	return name, ok
}

// narrow begins at the first name that may concern the part, and returns the first after them; "" if there is none.
func (v *visit) narrow() (end string) {
	from, to := v.namesIn(v.group.parent)
	v.claimsPassed = v.group.search(from)
	for i, l := range v.listings {
		v.passed[i] = sort.Search(len(l.entries), func(n int) bool { return l.entries[n].Name >= from })
	}
	v.from = max(v.from, from)
	if to != "" && (v.to == "" || to < v.to) {
		v.to = to
	}
	return to
}

// concerns reports whether a directory is one of the part, or around it.
func (p *part) concerns(dir string) bool { return p.has(dir) || strings.HasPrefix(p.from, dir) }

// pass goes on behind a name without resolving it.
func (v *visit) pass(name string) {
	v.last, v.started = name, true
	for v.claimsPassed < len(v.group.claims) && v.group.claims[v.claimsPassed].name == name {
		v.claimsPassed++
	}
	for i := range v.listings {
		if e := v.entry(i); e != nil && e.Name == name {
			v.passed[i]++
		}
	}
}

// entry is the next entry of a listing; nil at its end.
func (v *visit) entry(i int) *event.Entry {
	if l := v.listings[i]; v.passed[i] < len(l.entries) {
		return &l.entries[v.passed[i]]
	}
	return nil
}

// isListed reports whether a listing has this name, which is the next of all.
func (v *visit) isListed(name string) bool {
	for i := range v.listings {
		if e := v.entry(i); e != nil && e.Name == name {
			return true
		}
	}
	return false
}

// nextRow is the name of the next row of this directory, where every row is visited.
func (v *visit) nextRow() (string, bool) {
	from := layer.Key{Parent: v.group.parent, Name: v.from}
	if v.started && v.last >= v.from {
		from.Name = v.last + "\x00"
	}
	if !v.seekTo(from, true) {
		return "", false
	}
	k := v.walk.oldKey
	if k.Parent != v.group.parent || v.to != "" && k.Name >= v.to {
		return "", false
	}
	return k.Name, true
}

// seekTo moves old forward to the first row at or after key; keys never decrease from call to call. With near it tries the
// next row first, as in a directory that is listed. Without, that would read a block for nothing.
func (w *walk) seekTo(key layer.Key, near bool) bool {
	switch {
	case !w.oldStarted:
		w.oldStarted, w.oldValid = true, w.old.Seek(key)
	case !w.oldValid || w.oldKey.Compare(key) >= 0:
		return w.oldValid
	case !near:
		w.oldValid = w.old.Seek(key)
	default:
		if w.oldValid = w.old.Next(); w.oldValid && w.old.Key().Compare(key) < 0 {
			w.oldValid = w.old.Seek(key)
		}
	}
	if w.oldValid {
		w.oldKey = w.old.Key()
	}
	return w.oldValid
}

// resolve decides what becomes of one name, and goes on behind it.
func (v *visit) resolve(name string) error {
	v.last, v.started = name, true
	key := layer.Key{Parent: v.group.parent, Name: name}
	known := v.seekTo(key, v.everyRow) && v.walk.oldKey == key
	if err := v.old.Err(); err != nil {
		return err
	}
	r := &v.current
	*r = resolution{known: known, wasKnown: known}
	if known && v.staysGone(r, name) {
		return v.old.Err()
	}
	r.inside = v.gather(name, known)
	if err := v.load(r, key); err != nil {
		return err
	}
	if !v.around {
		v.countStale(r)
	}
	r.Outcome = v.rules.Resolve(&r.row, known, v.claims, r.inside, v.parent)
	if r.Changed && !v.admits(r) {
		v.leaveOut(r, key)
	}
	r.known = known || r.Changed
	return v.record(r)
}

// staysGone reports whether the row is a tombstone that the listings lack again, and nothing else is claimed about its name.
// In a directory where files come and go these are most of the rows.
func (v *visit) staysGone(r *resolution, name string) bool {
	if len(v.listings) == 0 || v.raised || v.claimsPassed < len(v.group.claims) && v.group.claims[v.claimsPassed].name == name {
		return false
	}
	if v.isListed(name) {
		return false
	}
	return v.old.Brief(&r.row) == nil && r.row.StaysGone(v.earliest, v.parent)
}

// load sets the current row: only the part of it that is needed where the row is written anew, which spares decoding the rest.
func (v *visit) load(r *resolution, key layer.Key) error {
	if !r.known {
		r.row.Parent, r.row.Name = key.Parent, key.Name
		return nil
	}
	if err := v.old.Brief(&r.row); err != nil {
		return err
	}
	if !v.rules.Replaces(&r.row, v.claims, r.inside, v.parent) {
		if err := v.old.Row(&r.row); err != nil {
			return err
		}
	}
	r.was = r.row
	return nil
}

// gather collects the claims about name, and goes on behind it. inside reports whether something is claimed about what is
// below it. A listing that covers the name and lacks it makes a claim only where there is something to deny.
func (v *visit) gather(name string, known bool) (inside bool) {
	v.claims = v.claims[:0]
	claimed := false
	for ; v.claimsPassed < len(v.group.claims) && v.group.claims[v.claimsPassed].name == name; v.claimsPassed++ {
		p := &v.group.claims[v.claimsPassed]
		if p.verb == 0 {
			inside = true
			continue
		}
		claimed = true
		v.claims = append(v.claims, p.claim())
	}
	claimed = claimed || v.isListed(name)
	for i, l := range v.listings {
		switch e := v.entry(i); {
		case e != nil && e.Name == name:
			v.claims = append(v.claims, evidence.Claim{Provenance: l.Provenance, Verb: evidence.Listed, Entry: e})
			v.passed[i]++
		case l.covers(name) && (known || claimed || inside):
			v.claims = append(v.claims, evidence.Claim{Provenance: l.Provenance, Verb: evidence.Unlisted, DirMtimeNs: l.MtimeNs})
		}
	}
	return inside
}

// countStale counts listings that showed an older state of their directory than the view knew when they were made.
func (v *visit) countStale(r *resolution) {
	for i := range v.claims {
		c := &v.claims[i]
		if c.Listing != nil && isDir(&r.was, r.wasKnown) && r.was.MtimeNs > c.Listing.MtimeNs && c.At > r.was.ObservedAt &&
			c.At-r.was.ObservedAt <= c.Lag {
			v.stale++
		}
	}
}

// resolution is what becomes of one name.
type resolution struct {
	evidence.Outcome
	row, was        evidence.Row
	known, wasKnown bool
	inside          bool // something is claimed about what is below it
}

func present(row *evidence.Row, known bool) bool { return known && !row.Removed }

func isDir(row *evidence.Row, known bool) bool {
	return present(row, known) && row.Type == event.Directory
}

// record keeps the result. Directories that change become nodes and are summed up later; other rows are written now.
func (v *visit) record(r *resolution) error {
	wasDir := isDir(&r.was, r.wasKnown)
	// A late end can void what made a tombstone of a directory. What is in it is a tombstone, too, and has to be resolved again.
	raised := (v.raised || r.Raised) && (wasDir || isDir(&r.row, r.known))
	visited := r.inside || raised // there is something in it that is visited
	if !visited && !(r.Changed && (wasDir || isDir(&r.row, r.known))) {
		if v.around {
			return nil
		}
		return v.recordEntry(r)
	}
	dir := r.row.ChildParent()
	if visited && !v.concerns(dir) || !visited && v.around {
		return nil // it is another part's
	}
	n := &node{row: r.row, was: r.was, known: r.known, wasDir: wasDir, direct: noChange()}
	if !r.wasKnown {
		n.was.Parent, n.was.Name = r.row.Parent, r.row.Name
	}
	n.before.LatestMtimeNs, n.latest = evidence.NoMtime, evidence.NoMtime
	if n.wasDir {
		n.before = r.was.Sub
	} else if present(&r.was, r.wasKnown) {
		n.before = r.was.Own()
	}
	n.forEntries = evidence.ParentState{Before: r.Before, After: r.After, Outdated: r.Outdated, Floor: r.Ends}
	n.raised = raised
	v.dirs[dir] = n
	heap.Push(&v.upcoming, dir)
	if n.raised && !v.raised { // below a raised directory there is a region already
		return v.visitAllBelow(dir)
	}
	return nil
}

// visitAllBelow makes the walk visit every directory that has rows with this prefix. Nothing below is missed: whatever has
// a row is in a directory that has one.
func (w *walk) visitAllBelow(prefix string) error {
	r := region{prefix: prefix}
	if w.advance(&r, prefix) {
		heap.Push(&w.below, r)
	}
	return w.probe.Err()
}

// region is a subtree of a directory that ended, and the next of its directories to visit. The directories are found as
// the walk goes (advance), not listed beforehand: there may be millions.
//
//	region.prefix "/d/"      next: "/d/" → "/d/a/" → "/d/a/x/" → "/d/b/" → none, "/e/" has another prefix
type region struct{ prefix, next string }

// advance sets the region's next directory to the first at or after from, and reports whether there is one.
func (w *walk) advance(r *region, from string) bool {
	if !w.probe.Seek(layer.Key{Parent: max(from, w.from)}) {
		return false
	}
	r.next = w.probe.Key().Parent
	return strings.HasPrefix(r.next, r.prefix) && w.has(r.next)
}

// recordEntry is record for a row that needs no node: a file, or a directory that does not change.
func (v *visit) recordEntry(r *resolution) error {
	before, after := evidence.Totals{LatestMtimeNs: evidence.NoMtime}, evidence.Totals{LatestMtimeNs: evidence.NoMtime}
	dir := isDir(&r.row, r.known)
	switch {
	case dir:
		after = r.row.Sub // it did not change, or it would be a node
		before = after
	default:
		if present(&r.was, r.wasKnown) {
			before = r.was.Own()
		}
		if present(&r.row, r.known) {
			after = r.row.Own()
		}
	}
	if v.dir != nil {
		v.dir.addChange(r.row.Name, before, after)
		if dir {
			v.dir.keepsClosed(&r.row)
		}
	} else { // the root
		all := after
		v.totals = &all
	}
	if !r.Changed {
		return nil
	}
	v.suspects.add(&r.row)
	return v.out.add(&r.row)
}

// regions is a heap of regions by their next directory.
type regions []region

func (r regions) Len() int           { return len(r) }
func (r regions) Less(i, j int) bool { return r[i].next < r[j].next }
func (r regions) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *regions) Push(x any)        { *r = append(*r, x.(region)) }
func (r *regions) Pop() any {
	old := *r
	x := old[len(old)-1]
	*r = old[:len(old)-1]
	return x
}
