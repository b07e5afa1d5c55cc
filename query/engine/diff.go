package engine

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// A diff is what differs at and below a path between two versions of a view: paths that were added, removed or changed, in key order.
// It is about files, not about evidence: when, by whom and how an entry was observed does not count, nor does the day of its last
// access, nor do the sums of a directory, which differ wherever something below it does.
//
// For a reader who may not see everything it is what differs between what that reader sees in both versions. So where a directory's rights
// changed, what is below it may be added or removed for the reader although nothing else happened to it (opened). evidence.FieldsOf says
// what differs.

// EmitChange takes one path of a diff; it may keep nothing of the rows.
type EmitChange func(c *evidence.Change) error

// Diff is a question about two versions of a view.
type Diff struct {
	From, To *Version
	// wanted are the search as each of the versions has it; nil: no row of that version can be wanted.
	wanted [2]*Search
	// whole has the rows read with all columns, also those that never differ in a diff, such as when an entry was observed.
	whole bool
}

// NewDiff is the diff of what a search wants, before or after. NoOwnerError if neither version knows the search's owner or group.
func NewDiff(ctx context.Context, from, to *Version, wanted *Search) (*Diff, error) {
	d := &Diff{From: from, To: to}
	var unknown *NoOwnerError
	var failed error
	for i, v := range [2]*Version{from, to} {
		var err error
		if d.wanted[i], err = v.resolve(ctx, wanted); errors.As(err, &unknown) {
			failed = err
		} else if err != nil {
			return nil, err
		}
	}
	if d.wanted[0] == nil && d.wanted[1] == nil {
		return nil, failed
	}
	return d, nil
}

// search is what is wanted, for what both versions have in common.
func (d *Diff) search() *Search {
	if d.wanted[1] != nil {
		return d.wanted[1]
	}
	return d.wanted[0]
}

// readError maps an error of reading either version.
func (d *Diff) readError(err error) error { return d.To.ReadError(d.From.ReadError(err)) }

// Page emits the diff after a position, up to limit paths; 0: all. NoPathError if neither version has the path of the search.
func (d *Diff) Page(ctx context.Context, after *Position, limit int, out EmitChange) (*Position, error) {
	page := changePage{limit: limit, emit: out}
	err := d.each(ctx, after, limit, page.take)
	if err != nil && !errors.Is(err, errStop) {
		return nil, err
	}
	return page.next(), nil
}

// each emits the diff after a position. It reads ahead if about limit paths are wanted (0: all) and that is many.
func (d *Diff) each(ctx context.Context, after *Position, limit int, out EmitChange) error {
	path := d.search().Path
	own := layer.KeyOf(path)
	var gates [2]*gate
	var root evidence.Change
	for i, v := range [2]*Version{d.From, d.To} {
		var err error
		if gates[i], err = v.gate(ctx); err != nil {
			return err
		}
		r, err := v.lookup(ctx, gates[i], path)
		var absent *NoPathError
		switch {
		case errors.As(err, &absent):
		case err != nil:
			return err
		case i == 0:
			root.Before = r
		default:
			root.After = r
		}
	}
	if root.Before == nil && root.After == nil {
		return &NoPathError{path}
	}
	inside := isDirectory(root.Before) || isDirectory(root.After)
	if after == nil || after.next().Compare(own) <= 0 {
		if err := d.emit(gates, [2]verdict{everything, everything}, &root, out); err != nil {
			return err
		}
		after = nil
	}
	if !inside {
		return nil
	}
	parent := strings.TrimSuffix(path, "/") + "/"
	from := layer.Key{Parent: parent}
	if after != nil {
		if next := after.next(); next.Compare(from) > 0 {
			from = next
		}
	}
	if gates[0] == nil && gates[1] == nil {
		return d.compared(ctx, gates, parent, from, subtreeEnd(parent), limit, out)
	}
	opened, err := d.opened(ctx, gates, parent)
	if err != nil {
		return err
	}
	for _, o := range opened {
		if o.until.Compare(from) <= 0 {
			continue
		}
		if from.Compare(o.from) < 0 {
			if err := d.compared(ctx, gates, parent, from, o.from, limit, out); err != nil {
				return err
			}
			from = o.from
		}
		if err := d.walked(ctx, gates, parent, from, o.until, limit, out); err != nil {
			return err
		}
		from = o.until
	}
	if end := subtreeEnd(parent); from.Compare(end) < 0 {
		return d.compared(ctx, gates, parent, from, end, limit, out)
	}
	return nil
}

// lookupOrNone is Lookup; nil if the version has no such path.
func (v *Version) lookupOrNone(ctx context.Context, path string) (*evidence.Row, error) {
	r, err := v.Lookup(ctx, path)
	var absent *NoPathError
	if errors.As(err, &absent) {
		return nil, nil
	}
	return r, err
}

func isDirectory(r *evidence.Row) bool { return r != nil && r.Type == event.Directory }

// compared emits the diff in a range of keys below a directory, of rows that differ: for what a reader sees in both versions or in none.
func (d *Diff) compared(ctx context.Context, gates [2]*gate, start string, from, until layer.Key, limit int, out EmitChange) error {
	var let [2]verdict
	var of string // the Parent that let is of
	known := false
	return d.eachCompared(ctx, gates, from, until, limit, func(was, is *evidence.Row) error {
		c := evidence.Change{Before: was, After: is}
		if parent := c.Row().Parent; !known || parent != of {
			of, known = strings.Clone(parent), true
			for i, g := range gates {
				var err error
				if let[i], err = g.entries(start, of); err != nil {
					return err
				}
			}
		}
		if let[0] == nothing {
			c.Before = nil
		}
		if let[1] == nothing {
			c.After = nil
		}
		if c.Before == nil && c.After == nil {
			return nil
		}
		return d.emit(gates, let, &c, out)
	})
}

// eachCompared calls f with the rows of the keys of a range whose rows may differ, hidden ones too; nil: a version has no such row.
func (d *Diff) eachCompared(ctx context.Context, gates [2]*gate, from, until layer.Key, limit int, f func(was, is *evidence.Row) error) error {
	var views [2]*layer.View
	for i, v := range [2]*Version{d.From, d.To} {
		var err error
		if views[i], err = v.rows.through(ctx, gates[i], keyRange{from, until}); err != nil {
			return d.readError(err)
		}
	}
	c, err := layer.CompareViews(ctx, views[0], views[1], from, until, aheadFor(limit))
	if err != nil {
		return d.readError(err)
	}
	defer func() {
		costOf(ctx).rows.Add(c.Rows())
		costOf(ctx).skipped.Add(c.Skipped())
	}()
	var was, is evidence.Row
	for c.Next() {
		if err := c.Read(&was, &is, d.complete()); err != nil {
			return d.readError(err)
		}
		var before, after *evidence.Row
		inFrom, inTo := c.Found()
		if inFrom {
			before = &was
		}
		if inTo {
			after = &is
		}
		if err := f(before, after); err != nil {
			return err
		}
	}
	return d.readError(c.Err())
}

// complete reports whether rows are read with all columns.
func (d *Diff) complete() bool { return d.whole || d.search().byAtime() }

// aheadFor is how many bytes of a layer to read with one request for a limit of rows; 0: all.
func aheadFor(limit int) int64 {
	if limit == 0 || limit > longIteration {
		return streamAhead
	}
	return 0
}

// walked emits the diff in a range of keys below a directory, of all rows that a reader sees in one of the versions.
func (d *Diff) walked(ctx context.Context, gates [2]*gate, start string, from, until layer.Key, limit int, out EmitChange) error {
	var its [2]*rowIterator
	var more [2]bool
	for i, v := range [2]*Version{d.From, d.To} {
		it, err := v.through(ctx, gates[i], start, until, limit)
		if err != nil {
			return err
		}
		defer it.charge()
		if more[i], err = it.shown(it.seek(from, nil), d.complete()); err != nil {
			return err
		}
		its[i] = it
	}
	for more[0] || more[1] {
		order := 0
		switch {
		case !more[0]:
			order = 1
		case !more[1]:
			order = -1
		default:
			order = its[0].rows.Key().Compare(its[1].rows.Key())
		}
		var c evidence.Change
		if order <= 0 {
			c.Before = &its[0].row
		}
		if order >= 0 {
			c.After = &its[1].row
		}
		if err := d.emit(gates, [2]verdict{its[0].let, its[1].let}, &c, out); err != nil {
			return err
		}
		for i, there := range [2]bool{order <= 0, order >= 0} {
			if !there {
				continue
			}
			var err error
			if more[i], err = its[i].shown(its[i].rows.Next(), d.complete()); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxOpened bounds the ranges of Diff.opened.
const maxOpened = 10_000

// opened are the ranges of keys below a directory that a reader sees in one of the versions alone, or otherwise than in the other: below
// directories whose rights changed. In order; if there are too many, all is one. It passes over what differs once; the pages of a diff
// share the result.
func (d *Diff) opened(ctx context.Context, gates [2]*gate, start string) ([]keyRange, error) {
	all := []keyRange{{layer.Key{Parent: start}, subtreeEnd(start)}}
	if gates[0] == nil || gates[1] == nil {
		return all, nil
	}
	key := [3]string{d.From.Manifest.Key(), start, gates[0].by() + "\x00" + gates[1].by()}
	known := gates[1].known
	known.mu.Lock()
	found, ok := known.opened[key]
	known.mu.Unlock()
	if ok {
		return found, nil
	}
	differs := func(dir string) (bool, error) {
		before, err := gates[0].entries(start, dir)
		if err != nil {
			return false, err
		}
		after, err := gates[1].entries(start, dir)
		return before != after, err
	}
	var ranges []keyRange
	within := map[string]bool{} // the directories of ranges, by the Parent of their entries
	open, err := differs(start)
	if open {
		ranges = all
	} else if err == nil {
		err = d.eachCompared(ctx, gates, all[0].from, all[0].until, 0, func(was, is *evidence.Row) error {
			if !isDirectory(was) || !isDirectory(is) || was.UID == is.UID && was.GID == is.GID && was.Mode == is.Mode && was.ACL == is.ACL {
				return nil // below what was added or removed, all rows differ
			}
			dir := is.ChildParent()
			for i, c := range dir[:len(dir)-1] { // an outer directory comes before those in it
				if c == '/' && within[dir[:i+1]] {
					return nil
				}
			}
			if open, err := differs(dir); err != nil || !open {
				return err
			}
			if len(ranges) == maxOpened {
				return errManyCandidates
			}
			dir = strings.Clone(dir)
			within[dir] = true
			ranges = append(ranges, keyRange{layer.Key{Parent: dir}, subtreeEnd(dir)})
			return nil
		})
	}
	if errors.Is(err, errManyCandidates) {
		ranges, err = all, nil
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(ranges, func(a, b keyRange) int { return a.from.Compare(b.from) })
	known.mu.Lock()
	defer known.mu.Unlock()
	if known.opened == nil || len(known.opened) >= maxSums {
		known.opened = map[[3]string][]keyRange{}
	}
	known.opened[key] = ranges
	return ranges, nil
}

// emit emits a change of rows that the gates let through, unless the rows do not differ or neither of them is wanted.
func (d *Diff) emit(gates [2]*gate, let [2]verdict, c *evidence.Change, out EmitChange) error {
	wanted := false
	for i, r := range [2]*evidence.Row{c.Before, c.After} {
		if r == nil {
			continue
		}
		if !wanted {
			var err error
			if wanted, err = d.wants(i, gates[i], let[i], r); err != nil {
				return err
			}
		}
		gates[i].conceal(r, let[i])
	}
	if !wanted {
		return nil
	}
	if c.Before != nil && c.After != nil {
		if c.Fields = evidence.FieldsOf(c.Before, c.After); c.Fields == 0 {
			return nil
		}
	}
	return out(c)
}

// wants reports whether a row of a version is wanted, as far as the reader sees it.
func (d *Diff) wants(version int, g *gate, let verdict, r *evidence.Row) (bool, error) {
	s := d.wanted[version]
	switch {
	case s == nil:
		return false, nil
	case s.Everything():
		return true, nil
	case let == names && s.byMoreThanType() || !s.Matches(r):
		return false, nil
	}
	return g.mayBeEmpty(&s.Attributes, r)
}

// Everything reports whether every entry at and below the path is a hit.
func (s *Search) Everything() bool { return s.anyName && !s.filtered() }

// changePage is pageLimiter for changes.
type changePage struct {
	limit int // 0: all
	emit  EmitChange
	taken int
	last  layer.Key
	more  bool
}

func (l *changePage) take(c *evidence.Change) error {
	if l.limit > 0 && l.taken == l.limit {
		l.more = true
		return errStop
	}
	l.taken++
	r := c.Row()
	l.last.Parent, l.last.Name = r.Parent, r.Name
	return l.emit(c)
}

// next is where the page ended; nil if nothing follows.
func (l *changePage) next() *Position {
	if !l.more {
		return nil
	}
	return &Position{Key: l.last}
}

// OpenDiff opens the two versions of a page of a diff: those of the cursor, or those that from and to name as Earlier has them; to may
// be empty, for the current one. A version that is not kept, or not any more, is a NotKeptError or a GoneError.
func (e *Engine) OpenDiff(ctx context.Context, view, cursor string, limit int, from, to string, parts ...string) (earlier, later *Version, p Page, err error) {
	p = Page{Limit: limit, query: QueryHash(ReaderParts(ctx, parts)...)}
	if cursor == "" {
		if later, err = e.Current(ctx, view); err != nil {
			return nil, nil, p, err
		}
		if to != "" {
			if later, err = e.Earlier(ctx, view, "to", to); err != nil {
				return nil, nil, p, err
			}
		}
		earlier, err = e.Earlier(ctx, view, "from", from)
		p.from = earlier
		return earlier, later, p, err
	}
	c, err := decodePageToken(cursor, p.query)
	if err != nil {
		return nil, nil, p, err
	}
	if c.From == 0 {
		return nil, nil, p, ErrCursor
	}
	p.After = &Position{Key: c.key(), Extra: c.Extra}
	if later, err = e.Reopen(ctx, view, c.Version, c.Nonce); err != nil {
		return nil, nil, p, err
	}
	earlier, err = e.Reopen(ctx, view, c.From, c.FromNonce)
	p.from = earlier
	return earlier, later, p, err
}
