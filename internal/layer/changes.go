package layer

import (
	"context"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/evidence"
)

// Changes goes through the keys whose rows may differ between two versions of a view, in key order. What both versions have in
// common is passed over unread: layers that stand in both, and row groups of the base that a merge copied as they were.
//
// It rests on this: the row of a key is that of the newest layer that has the key, and merges keep the order of layers. So if no layer
// or row group that only one version has contains a key, both versions have its row from the same place. All other keys are looked at
// in both versions. For example, a version and the one after its next fold differ by one delta. Its keys are the candidates, and of the
// rest only the row groups that have their earlier rows are read. After a merge, the rewritten row groups are read in both versions.
//
//	c, err := CompareViews(ctx, old, now, from, until)
//	for c.Next() {
//		before, after := c.Found()
//		…
//	}
//	if err := c.Err(); err != nil {
//		…
//	}
type Changes struct {
	sides   [2]changesSide // the earlier version, and the later one
	key     Key
	rows    int64
	skipped int64
	err     error
}

// changesSide is one of the two versions.
type changesSide struct {
	own   *Cursor // the keys that only this version's layers and row groups have
	more  bool    // own is at a key
	whole *Cursor // the version
	found bool    // whole is at the key, and its row is not removed
}

// sharedGroup identifies a row group by what is in it.
type sharedGroup struct {
	first, last Key
	rows        int
	bytes       int64
	hash        uint64
}

func identify(g *Group) sharedGroup { return sharedGroup{g.First, g.Last, g.Rows, g.Bytes, g.Hash} }

// CompareViews makes a pass over the keys from from up to until. It reads the indexes of the base partitions there that only one of
// the versions has. ahead is how many bytes of a layer are read with one request; 0: a row group at a time.
func CompareViews(ctx context.Context, old, now *View, from, until Key, ahead int64) (*Changes, error) {
	c := &Changes{}
	views := [2]*View{old, now}
	deltas := sharedDeltas(old, now)
	bases, stay := idsOf(old.base), idsOf(now.base)
	maps.DeleteFunc(bases, func(id string, _ bool) bool { return !stay[id] })
	var own [2]*View
	var groups [2]map[sharedGroup]bool
	for i, v := range views {
		own[i] = &View{base: without(v.base, bases, from, until), deltas: without(v.deltas, deltas, from, until)}
		var err error
		if groups[i], err = own[i].baseGroups(ctx); err != nil {
			return nil, err
		}
	}
	for i := range c.sides {
		other, side := groups[1-i], &c.sides[i]
		for g := range groups[i] {
			if other[g] && i == 0 {
				c.skipped++
			}
		}
		side.whole = views[i].Cursor(ctx).Until(until)
		side.own = own[i].Cursor(ctx).Until(until).ReadAhead(ahead).SkipBase(func(g *Group) bool { return other[identify(g)] })
		if side.more = side.own.Seek(from); side.own.Err() != nil {
			return nil, side.own.Err()
		}
	}
	return c, nil
}

// sharedDeltas are the ids of the deltas that both versions have, in the same order; none if their order differs.
func sharedDeltas(old, now *View) map[string]bool {
	a, b := idsOf(old.deltas), idsOf(now.deltas)
	inBoth := func(of *View, other map[string]bool) (ids []string) {
		for _, l := range of.deltas {
			if other[l.info.ID] {
				ids = append(ids, l.info.ID)
			}
		}
		return ids
	}
	was, is := inBoth(old, b), inBoth(now, a)
	if !slices.Equal(was, is) {
		return nil
	}
	shared := map[string]bool{}
	for _, id := range is {
		shared[id] = true
	}
	return shared
}

func idsOf(layers []*Layer) map[string]bool {
	ids := make(map[string]bool, len(layers))
	for _, l := range layers {
		ids[l.info.ID] = true
	}
	return ids
}

// without are the layers that are not shared and that may have keys from from up to until.
func without(layers []*Layer, shared map[string]bool, from, until Key) (out []*Layer) {
	for _, l := range layers {
		if !shared[l.info.ID] && l.info.Last.Compare(from) >= 0 && l.info.First.Compare(until) < 0 {
			out = append(out, l)
		}
	}
	return out
}

// baseGroups are the row groups of the base.
func (v *View) baseGroups(ctx context.Context) (map[sharedGroup]bool, error) {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReads)
	for _, l := range v.base {
		g.Go(func() error {
			_, err := l.index(gctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	found := map[sharedGroup]bool{}
	for _, l := range v.base {
		groups, err := l.Groups(ctx)
		if err != nil {
			return nil, err
		}
		for i := range groups {
			found[identify(&groups[i])] = true
		}
	}
	return found, nil
}

// Rows is how many keys were looked at.
func (c *Changes) Rows() int64 { return c.rows }

// Skipped is how many row groups of base partitions that only one version has are the same in the other, and are not read.
func (c *Changes) Skipped() int64 { return c.skipped }

// Next goes to the next key that one of the versions has, and whose rows may differ in what Shown has; false at the end.
func (c *Changes) Next() bool {
	for c.advance() {
		if c.sides[0].found || c.sides[1].found {
			same, err := c.same()
			if err != nil {
				c.err = err
				return false
			}
			if !same {
				return true
			}
		}
	}
	return false
}

// advance goes to the next key that only one version's layers have, and finds its rows.
func (c *Changes) advance() bool {
	old, now := &c.sides[0], &c.sides[1]
	if c.err != nil || !old.more && !now.more {
		return false
	}
	if !now.more || old.more && old.own.Key().Compare(now.own.Key()) <= 0 {
		c.key = old.own.Key()
	} else {
		c.key = now.own.Key()
	}
	c.rows++
	for i := range c.sides {
		if c.err = c.sides[i].find(c.key); c.err != nil {
			return false
		}
	}
	return true
}

// find finds the row of a key, and goes on to the side's next key of its own if it stands at this one.
func (s *changesSide) find(k Key) error {
	s.found = false
	if s.whole.Seek(k) && s.whole.Key() == k {
		removed, err := s.whole.block.Numbers(ColumnRemoved)
		if err != nil {
			return err
		}
		s.found = removed.At(s.whole.row) == 0
	}
	if err := s.whole.Err(); err != nil {
		return err
	}
	if s.more && s.own.Key() == k {
		s.more = s.own.Next()
	}
	return s.own.Err()
}

// comparedColumns are the columns of numbers in which the rows of a path that is in both versions may differ.
var comparedColumns = [...]Column{ColumnMtimeNs, ColumnSize, ColumnCtimeNs, ColumnMode, ColumnUID, ColumnGID, ColumnType, ColumnLinks,
	ColumnAllocatedExcess, ColumnInode, ColumnBirth}

// same reports whether the rows at the key are equal in the columns that are compared.
func (c *Changes) same() (bool, error) {
	old, now := &c.sides[0], &c.sides[1]
	if old.found != now.found {
		return false, nil
	}
	a, b := old.whole.block, now.whole.block
	if a == b && old.whole.row == now.whole.row {
		return true, nil
	}
	for _, column := range comparedColumns {
		x, err := a.Numbers(column)
		if err != nil {
			return false, err
		}
		y, err := b.Numbers(column)
		if err != nil {
			return false, err
		}
		if x.At(old.whole.row) != y.At(now.whole.row) {
			return false, nil
		}
	}
	for _, column := range [...]Column{ColumnTarget, ColumnACL} {
		x, err := a.Text(column)
		if err != nil {
			return false, err
		}
		y, err := b.Text(column)
		if err != nil {
			return false, err
		}
		if x.At(old.whole.row) != y.At(now.whole.row) {
			return false, nil
		}
	}
	return true, nil
}

// Found reports which of the two versions have the key.
func (c *Changes) Found() (before, after bool) { return c.sides[0].found, c.sides[1].found }

// Read sets the rows of the versions that have the key, and leaves the other as it is. complete: with all columns, otherwise with what
// Block.Shown has.
func (c *Changes) Read(before, after *evidence.Row, complete bool) error {
	for i, r := range [2]*evidence.Row{before, after} {
		s := &c.sides[i]
		if !s.found {
			continue
		}
		read := s.whole.Shown
		if complete {
			read = s.whole.Row
		}
		if err := read(r); err != nil {
			return err
		}
	}
	return nil
}

// Err is what ended the pass early, if anything did.
func (c *Changes) Err() error { return c.err }
