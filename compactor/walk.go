package compactor

import (
	"container/heap"
	"context"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// walk folds one batch upon a view: it goes through the directories that the batch speaks of, in key order, holds what
// is said of each name against the name's row, and keeps the rows that change. A directory's row comes before the rows
// in it, so what becomes of the directory is known when its entries are reached.
type walk struct {
	ctx    context.Context
	view   *layer.View
	rules  evidence.Rules
	batch  *batch
	claims []evidence.Claim // of the name at hand
	old    *layer.Cursor    // only ever moves forward
	probe  *layer.Cursor    // moves freely

	oldKey     layer.Key // where old stands
	oldStarted bool      // old was moved at all
	oldValid   bool      // old stands at a row

	pending   []string         // directories that the batch speaks of and that are still to be visited, in order
	below     regions          // others that are to be visited: what is in directories that ended
	dirs      map[string]*node // directories that were looked up and are not summed up yet, by the Parent of their entries
	upcoming  parents          // those of dirs that the walk has not come to
	enclosing []string         // those that its place is in, the outermost first

	dirVisit visit // the directory at hand

	out, outDirs rowBuffer // changed rows: those that neither are nor were directories, in key order, and the others
	lookahead    *lookahead
	suspects     *suspects
	totals       *evidence.Totals // of the whole view, once it is summed up; nil: nothing changed
	stale        uint64
}

// node is a directory, or what was one, in the part of the view that a batch touches.
type node struct {
	row, was evidence.Row
	known    bool
	// before is what the row added to its parent's totals before the batch; wasDir says that it was there as a directory.
	before evidence.Totals
	wasDir bool
	// direct sums up the changes of its entries.
	direct change
	// whole says that all entries were seen. latest is the newest mtime at or below those seen, nodes once they are
	// summed up; fell are those that have become older, where not all were seen.
	whole  bool
	latest int64
	fell   []string
	// place is what the directory's own evidence means for its entries. raised says that they are all to be held against
	// its floor.
	forEntries evidence.ParentState
	raised     bool
}

func (n *node) changed() bool { return n.row != n.was }

// change is a change of totals. The sums are signed; added and lost are the newest mtimes that came and that went.
type change struct {
	sums        evidence.Totals
	added, lost int64
}

func noChange() change { return change{added: evidence.NoMtime, lost: evidence.NoMtime} }

// add takes in that something counted as before now counts as after.
func (c *change) add(before, after evidence.Totals) {
	c.sums.Files += after.Files - before.Files
	c.sums.Directories += after.Directories - before.Directories
	c.sums.Others += after.Others - before.Others
	c.sums.Bytes += after.Bytes - before.Bytes
	if after.LatestMtimeNs != before.LatestMtimeNs {
		c.added = max(c.added, after.LatestMtimeNs)
		c.lost = max(c.lost, before.LatestMtimeNs)
	}
}

func newWalk(ctx context.Context, view *layer.View, rules evidence.Rules, b *batch) *walk {
	return &walk{ctx: ctx, view: view, rules: rules, batch: b, old: view.Cursor(ctx), probe: view.Cursor(ctx), dirs: map[string]*node{}}
}

// run visits every directory that the batch, or the end of a directory above, speaks of.
func (w *walk) run() error {
	w.pending = w.batch.parents()
	w.out.rows = make([]evidence.Row, 0, min(w.batch.rows, w.out.limit))
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
		w.lookahead.moveTo(parent)
		if err := w.moveTo(parent); err != nil {
			return err
		}
		if err := w.visitDirectory(parent); err != nil {
			return err
		}
	}
	return w.end()
}

// nextParent takes out the first directory that is still to be visited.
func (w *walk) nextParent() (string, error) {
	if len(w.below) > 0 && (len(w.pending) == 0 || w.below[0].next < w.pending[0]) {
		r := &w.below[0]
		parent := r.next
		if !w.advance(r, parent+"\x00") {
			heap.Pop(&w.below)
		} else {
			heap.Fix(&w.below, 0)
		}
		return parent, w.probe.Err()
	}
	next := w.pending[0]
	w.pending = w.pending[1:]
	return next, nil
}

func (w *walk) close() {
	w.lookahead.close()
	w.out.close()
	w.outDirs.close()
}

// visitDirectory goes through the names of one directory: all of its rows where a listing or a sweep speaks of every name, else
// only those that the batch names.
func (w *walk) visitDirectory(parent string) error {
	g := w.batch.groups[parent]
	if g == nil {
		g = &group{parent: parent}
	}
	v := &w.dirVisit
	*v = visit{walk: w, group: g, dir: w.dirs[parent]}
	v.open()
	for {
		name, ok := v.nextName()
		if err := w.old.Err(); err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := v.resolve(name); err != nil {
			return err
		}
	}
	return w.old.Err()
}

// visit is the walk's passage through one directory.
type visit struct {
	*walk
	group        *group
	dir          *node // the directory itself; nil above the root
	parent       *evidence.ParentState
	raised       bool
	listings     []*listing
	everyRow     bool // every row between lo and hi is visited
	from, to     string
	earliest     int64 // when the first of the listings was made
	claimsPassed int   // index of the first point not passed
	last         string
	started      bool
	current      resolution // of the name at hand
}

func (v *visit) open() {
	v.parent = &evidence.ParentState{}
	if v.dir != nil {
		v.parent, v.raised = &v.dir.forEntries, v.dir.raised
	}
	v.listings = v.group.listings
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

// nextName is the next name to resolve: the smallest that a point, a listing or a row has.
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
	for _, l := range v.listings {
		if l.next < len(l.entries) {
			take(l.entries[l.next].Name)
		}
	}
	if v.everyRow && (!ok || name > v.from) {
		if n, found := v.nextRow(); found && (!ok || n < name) {
			return n, true
		}
	}
	return name, ok
}

// nextRow is the name of the next row of this directory that a listing or a sweep speaks of.
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

// seekTo moves old forward to the first row at or after key, which is not before any key that was reached before. Where it is
// near, it may be the next row. Where it is not, that row's block would be read for nothing.
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

// resolve decides what becomes of one name, and passes it.
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
	v.countStale(r)
	r.Outcome = v.rules.Resolve(&r.row, known, v.claims, r.inside, v.parent)
	r.known = known || r.Changed
	return v.record(r)
}

// staysGone reports whether listings lack a name that was gone before, and nothing else is said of it: in a directory where files
// come and go that is most of its rows.
func (v *visit) staysGone(r *resolution, name string) bool {
	if len(v.listings) == 0 || v.raised || v.claimsPassed < len(v.group.claims) && v.group.claims[v.claimsPassed].name == name {
		return false
	}
	for _, l := range v.listings {
		if l.next < len(l.entries) && l.entries[l.next].Name == name {
			return false
		}
	}
	return v.old.Brief(&r.row) == nil && r.row.StaysGone(v.earliest, v.parent)
}

// load sets the row at hand: to as much of it as is needed where it is put anew, which spares decoding the rest.
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

// gather collects what is said of name, and passes the name. It reports whether something is said of what is in it.
func (v *visit) gather(name string, known bool) (touched bool) {
	v.claims = v.claims[:0]
	spoken := false
	for ; v.claimsPassed < len(v.group.claims) && v.group.claims[v.claimsPassed].name == name; v.claimsPassed++ {
		p := &v.group.claims[v.claimsPassed]
		if p.verb == 0 {
			touched = true
			continue
		}
		spoken = true
		v.claims = append(v.claims, p.claim())
	}
	for _, l := range v.listings {
		spoken = spoken || l.next < len(l.entries) && l.entries[l.next].Name == name
	}
	for _, l := range v.listings {
		switch {
		case l.next < len(l.entries) && l.entries[l.next].Name == name:
			v.claims = append(v.claims, evidence.Claim{Provenance: l.Provenance, Verb: evidence.Listed, Entry: &l.entries[l.next]})
			l.next++
		case l.covers(name) && (known || spoken || touched):
			v.claims = append(v.claims, evidence.Claim{Provenance: l.Provenance, Verb: evidence.Unlisted, DirMtimeNs: l.MtimeNs})
		}
	}
	return touched
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
	inside          bool // something is said of what is in it
}

func present(row *evidence.Row, known bool) bool { return known && !row.Removed }

func isDir(row *evidence.Row, known bool) bool {
	return present(row, known) && row.Type == event.Directory
}

// record puts the result where it belongs, and adds up what it changes in the directory.
func (v *visit) record(r *resolution) error {
	wasDir := isDir(&r.was, r.wasKnown)
	if !r.inside && !((r.Changed || r.Raised || v.raised) && (wasDir || isDir(&r.row, r.known))) {
		return v.recordEntry(r)
	}
	dir := r.row.ChildParent()
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
	n.raised = (v.raised || r.Raised) && wasDir
	v.dirs[dir] = n
	heap.Push(&v.upcoming, dir)
	if n.raised && !v.raised { // else the directory is in a region already
		return v.visitAllBelow(dir)
	}
	return nil
}

// visitAllBelow makes the walk visit every directory that has rows under prefix: whatever has a row is in a directory
// that has one.
func (w *walk) visitAllBelow(prefix string) error {
	r := region{prefix: prefix}
	if w.advance(&r, prefix) {
		heap.Push(&w.below, r)
	}
	return w.probe.Err()
}

// region is what is to be visited below a directory that ended.
type region struct{ prefix, next string }

// advance sets the region's next directory to the first at or after from, and reports whether there is one.
func (w *walk) advance(r *region, from string) bool {
	if !w.probe.Seek(layer.Key{Parent: from}) {
		return false
	}
	r.next = w.probe.Key().Parent
	return strings.HasPrefix(r.next, r.prefix)
}

// recordEntry is settle for a row that stays out of the directories.
func (v *visit) recordEntry(r *resolution) error {
	before, after := evidence.Totals{LatestMtimeNs: evidence.NoMtime}, evidence.Totals{LatestMtimeNs: evidence.NoMtime}
	dir := isDir(&r.row, r.known)
	switch {
	case dir:
		after = r.row.Sub // unchanged, or it would be a node
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
	}
	if !r.Changed {
		return nil
	}
	v.suspects.add(&r.row)
	return v.out.add(&r.row)
}

// parents is a heap of directories.
type parents []string

func (p parents) Len() int           { return len(p) }
func (p parents) Less(i, j int) bool { return p[i] < p[j] }
func (p parents) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *parents) Push(x any)        { *p = append(*p, x.(string)) }
func (p *parents) Pop() any {
	old := *p
	x := old[len(old)-1]
	*p = old[:len(old)-1]
	return x
}

// regions is a heap by the directory that comes next.
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
