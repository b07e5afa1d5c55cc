package engine

import (
	"context"
	"errors"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// A diff is what differs at and below a path between two versions of a view: paths that were added, removed or changed, in key order.
// It is about files, not about evidence: when, by whom and how an entry was observed does not count, nor does the day of its last
// access, nor do the sums of a directory, which differ wherever something below it does.

// Fields are what differs between two rows of a path.
type Fields uint16

// The fields, in the order of Words. What one version does not know of an inode does not differ.
const (
	FieldType Fields = 1 << iota
	FieldSize
	FieldMtime
	FieldMode
	FieldUID
	FieldGID
	FieldTarget // of a symlink
	FieldAllocated
	FieldLinks
	FieldCtime
	FieldInode
	FieldBirth
	FieldACL
)

var fieldWords = [...]string{"type", "size", "mtime", "mode", "uid", "gid", "target", "allocated", "links", "ctime", "inode", "birth", "acl"}

// Words are the fields as answers have them.
func (f Fields) Words() (words []string) {
	for i, word := range fieldWords {
		if f>>i&1 == 1 {
			words = append(words, word)
		}
	}
	return words
}

// FieldsOf are the fields in which two rows of a path differ.
func FieldsOf(before, after *evidence.Row) (f Fields) {
	note := func(differs bool, field Fields) {
		if differs {
			f |= field
		}
	}
	note(before.Type != after.Type, FieldType)
	note(before.Size != after.Size, FieldSize)
	note(before.MtimeNs != after.MtimeNs, FieldMtime)
	note(before.Mode != after.Mode, FieldMode)
	note(before.UID != after.UID, FieldUID)
	note(before.GID != after.GID, FieldGID)
	note(before.Target != after.Target, FieldTarget)
	if before.Measured() && after.Measured() {
		note(before.Allocated != after.Allocated, FieldAllocated)
		note(before.Links != after.Links, FieldLinks)
		note(before.CtimeNs != after.CtimeNs, FieldCtime)
		note(before.ID != after.ID && before.ID != 0 && after.ID != 0, FieldInode)
		note(before.BirthS != after.BirthS && before.BirthS != 0 && after.BirthS != 0, FieldBirth)
		note(before.ACL != after.ACL && before.ACL != "" && after.ACL != "", FieldACL)
	}
	return f
}

// Change is one path of a diff. Before is nil if it was added, After if it was removed.
type Change struct {
	Before, After *evidence.Row
	Fields        Fields // of a path in both versions
}

// Row is the path's newest row.
func (c *Change) Row() *evidence.Row {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// EmitChange takes one path of a diff; it may keep nothing of the rows.
type EmitChange func(c *Change) error

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
	before, err := d.From.lookupOrNone(ctx, path)
	if err != nil {
		return err
	}
	now, err := d.To.lookupOrNone(ctx, path)
	if err != nil {
		return err
	}
	root := Change{Before: before, After: now}
	if root.Before == nil && root.After == nil {
		return &NoPathError{path}
	}
	if after == nil || after.next().Compare(own) <= 0 {
		if err := d.emit(&root, out); err != nil {
			return err
		}
		after = nil
	}
	if !isDirectory(root.Before) && !isDirectory(root.After) {
		return nil
	}
	parent := strings.TrimSuffix(path, "/") + "/"
	from := layer.Key{Parent: parent}
	if after != nil {
		if next := after.next(); next.Compare(from) > 0 {
			from = next
		}
	}
	return d.below(ctx, from, subtreeEnd(parent), limit, out)
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

// below emits the diff in a range of keys.
func (d *Diff) below(ctx context.Context, from, until layer.Key, limit int, out EmitChange) error {
	ahead := int64(0)
	if limit == 0 || limit > longIteration {
		ahead = streamAhead
	}
	before, err := d.From.all(ctx)
	if err != nil {
		return err
	}
	after, err := d.To.all(ctx)
	if err != nil {
		return err
	}
	c, err := layer.CompareViews(ctx, before, after, from, until, ahead)
	if err != nil {
		return d.readError(err)
	}
	defer func() {
		costOf(ctx).rows.Add(c.Rows())
		costOf(ctx).skipped.Add(c.Skipped())
	}()
	var was, is evidence.Row
	complete := d.whole || d.search().byAtime()
	for c.Next() {
		if err := c.Read(&was, &is, complete); err != nil {
			return d.readError(err)
		}
		var found Change
		inFrom, inTo := c.Found()
		if inFrom {
			found.Before = &was
		}
		if inTo {
			found.After = &is
		}
		if err := d.emit(&found, out); err != nil {
			return err
		}
	}
	return d.readError(c.Err())
}

// emit emits a change, unless its rows do not differ or neither of them is wanted.
func (d *Diff) emit(c *Change, out EmitChange) error {
	if c.Before != nil && c.After != nil {
		if c.Fields = FieldsOf(c.Before, c.After); c.Fields == 0 {
			return nil
		}
	}
	if !d.wants(0, c.Before) && !d.wants(1, c.After) {
		return nil
	}
	return out(c)
}

func (d *Diff) wants(version int, r *evidence.Row) bool {
	return r != nil && d.wanted[version] != nil && (d.wanted[version].Everything() || d.wanted[version].Matches(r))
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

func (l *changePage) take(c *Change) error {
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
	p = Page{Limit: limit, query: QueryHash(parts...)}
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
