package engine

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/values"
)

// Attributes are what a search wants of an entry beside its name. Bounds are inclusive. An entry of which the view does not know the
// inode matches none of the conditions on links, inodes, allocated bytes and ctimes, and one without a birth none on births.
type Attributes struct {
	types                      [event.Other + 1]bool
	typeBits                   uint8  // the same, as in layer.Group
	MinSize, MaxSize           int64  // bytes
	MinMtime, MaxMtime         int64  // ns
	owner, group               string // see OfOwners; empty: any
	MinLinks, MaxLinks         int64
	Inode                      uint64 // of a file with several names; 0: any
	MinAllocated, MaxAllocated int64  // bytes
	MinCtime, MaxCtime         int64  // ns
	MinBirth, MaxBirth         int64  // seconds
	MinAtimeDay, MaxAtimeDay   int64  // days since 1970
	Perm                       *values.Perm
	Empty                      bool // files of size 0, and directories with nothing in them

	uids, gids []uint32 // what owner and group are: numbers at once, names in a version (resolve)
}

const (
	AllTypes  = "f,d,l,o"
	everyType = 1<<event.File | 1<<event.Directory | 1<<event.Symlink | 1<<event.Other
)

func anyAttributes() Attributes {
	a := Attributes{MaxSize: math.MaxInt64, MinMtime: math.MinInt64, MaxMtime: math.MaxInt64, MaxLinks: math.MaxInt64,
		MaxAllocated: math.MaxInt64, MinCtime: math.MinInt64, MaxCtime: math.MaxInt64,
		MinBirth: math.MinInt64, MaxBirth: math.MaxInt64, MinAtimeDay: math.MinInt32, MaxAtimeDay: math.MaxInt32}
	a.OfTypes(AllTypes)
	return a
}

// OfTypes restricts the search to types: f, d, l, o, or file, directory, symlink, other, separated by commas. False if the list has
// another word.
func (a *Attributes) OfTypes(list string) bool {
	clear(a.types[:])
	a.typeBits = 0
	for word := range strings.SplitSeq(list, ",") {
		known := false
		for t := event.File; t <= event.Other; t++ {
			if word == t.Letter() || word == t.String() {
				a.types[t], known = true, true
				a.typeBits |= 1 << t
			}
		}
		if !known {
			return false
		}
	}
	return true
}

func (a *Attributes) bySize() bool      { return a.MinSize > 0 || a.MaxSize < math.MaxInt64 }
func (a *Attributes) byMtime() bool     { return a.MinMtime > math.MinInt64 || a.MaxMtime < math.MaxInt64 }
func (a *Attributes) byLinks() bool     { return a.MinLinks > 0 || a.MaxLinks < math.MaxInt64 }
func (a *Attributes) byAllocated() bool { return a.MinAllocated > 0 || a.MaxAllocated < math.MaxInt64 }
func (a *Attributes) byCtime() bool     { return a.MinCtime > math.MinInt64 || a.MaxCtime < math.MaxInt64 }
func (a *Attributes) byBirth() bool     { return a.MinBirth > math.MinInt64 || a.MaxBirth < math.MaxInt64 }
func (a *Attributes) byAtime() bool {
	return a.MinAtimeDay > math.MinInt32 || a.MaxAtimeDay < math.MaxInt32
}

// byInode reports whether entries must be measured.
func (a *Attributes) byInode() bool {
	return a.byLinks() || a.Inode != 0 || a.byAllocated() || a.byCtime() || a.byBirth()
}

// filtered reports whether the search looks at more than names.
func (a *Attributes) filtered() bool {
	return a.bySize() || a.byMtime() || a.owner != "" || a.group != "" || a.typeBits != everyType || a.byInode() || a.byAtime() || a.Perm != nil || a.Empty
}

// byMoreThanType reports whether the search looks at more than names and types, which is all that some directories show.
func (a *Attributes) byMoreThanType() bool {
	byType := *a
	byType.typeBits = everyType
	return byType.filtered()
}

// excludes reports whether no row of a row group can be a hit, by what its index says of attributes.
func (a *Attributes) excludes(g *layer.Group) bool {
	return g.Removed == g.Rows || g.MaxSize < a.MinSize || g.MinSize > a.MaxSize ||
		g.MaxMtimeSec < a.MinMtime/1e9-1 || g.MinMtimeSec > a.MaxMtime/1e9+1 ||
		g.Types&a.typeBits == 0 || a.owner != "" && !owned(g, a.uids)
}

// owned reports whether a row group may have rows of one of the owners.
func owned(g *layer.Group, uids []uint32) bool {
	return slices.ContainsFunc(uids, func(uid uint32) bool { return g.Owners&layer.OwnerBit(uid) != 0 })
}

// first and last bound a list of ids in order.
func first(ids []uint32) int64 {
	if len(ids) == 0 {
		return 1
	}
	return int64(ids[0])
}

func last(ids []uint32) int64 {
	if len(ids) == 0 {
		return 0
	}
	return int64(ids[len(ids)-1])
}

// match reports whether a row has the attributes.
func (a *Attributes) match(r *evidence.Row) bool {
	return a.types[r.Type] && within(r.Size, a.MinSize, a.MaxSize) && within(r.MtimeNs, a.MinMtime, a.MaxMtime) &&
		(a.owner == "" || slices.Contains(a.uids, r.UID)) && (a.group == "" || slices.Contains(a.gids, r.GID)) &&
		within(int64(r.AtimeDay), a.MinAtimeDay, a.MaxAtimeDay) && (!a.byInode() || r.Measured() && a.matchInode(&r.Inode)) &&
		(a.Perm == nil || a.Perm.Match(r.Mode)) && (!a.Empty || empty(r.Type, r.Size, r.Sub.Files+r.Sub.Directories+r.Sub.Others))
}

func (a *Attributes) matchInode(n *event.Inode) bool {
	return within(int64(n.Links), a.MinLinks, a.MaxLinks) && (a.Inode == 0 || a.Inode == n.ID) &&
		within(n.Allocated, a.MinAllocated, a.MaxAllocated) && within(n.CtimeNs, a.MinCtime, a.MaxCtime) &&
		(!a.byBirth() || n.BirthS != 0 && within(n.BirthS, a.MinBirth, a.MaxBirth))
}

func within(v, low, high int64) bool { return v >= low && v <= high }

// empty reports whether an entry is empty as find -empty has it. below is how many entries a directory's subtree has, itself included.
func empty(t event.Type, size, below int64) bool {
	return t == event.File && size == 0 || t == event.Directory && below == 1
}

// filterAttributes keeps those rows of a block whose attributes match. It goes column by column and begins with those that usually
// rule out most. A column is decoded only if rows are left and the bounds of the row group do not decide already.
func (a *Attributes) filterAttributes(rows []uint32, b *layer.Block) (_ []uint32, err error) {
	g := b.Group()
	for _, f := range [...]struct {
		column    layer.Column
		low, high int64
		needed    bool
	}{
		{layer.ColumnSize, a.MinSize, a.MaxSize, a.bySize()},
		{layer.ColumnMtimeNs, a.MinMtime, a.MaxMtime, a.byMtime()},
		{layer.ColumnUID, first(a.uids), last(a.uids), a.owner != ""},
		{layer.ColumnGID, first(a.gids), last(a.gids), a.group != ""},
		{layer.ColumnAtimeDay, a.MinAtimeDay, a.MaxAtimeDay, a.byAtime()},
		{layer.ColumnLinks, max(a.MinLinks, 1), a.MaxLinks, a.byInode()},
		{layer.ColumnInode, int64(a.Inode), int64(a.Inode), a.Inode != 0},
		{layer.ColumnRemoved, 0, 0, g.Removed > 0},
	} {
		if f.needed && len(rows) > 0 {
			if rows, err = b.Within(rows[:0], rows, f.column, f.low, f.high); err != nil {
				return nil, err
			}
		}
	}
	if len(rows) > 0 && g.Types&^a.typeBits != 0 {
		if rows, err = b.Among(rows[:0], rows, layer.ColumnType, uint64(a.typeBits)); err != nil {
			return nil, err
		}
	}
	return a.filterByFormula(rows, b)
}

// filterByFormula keeps the rows that match what is not a range of one column.
func (a *Attributes) filterByFormula(rows []uint32, b *layer.Block) (_ []uint32, err error) {
	if a.byAllocated() {
		if rows, err = b.WithinAllocated(rows[:0], rows, a.MinAllocated, a.MaxAllocated); err != nil {
			return nil, err
		}
	}
	if a.byCtime() {
		if rows, err = b.WithinCtimes(rows[:0], rows, a.MinCtime, a.MaxCtime); err != nil {
			return nil, err
		}
	}
	if a.byBirth() {
		if rows, err = b.WithinBirths(rows[:0], rows, a.MinBirth, a.MaxBirth); err != nil {
			return nil, err
		}
	}
	if len(a.uids) > 1 { // otherwise the column's range has said it
		if rows, err = b.Where(rows[:0], rows, func(v []int64) bool { return slices.Contains(a.uids, uint32(v[0])) }, layer.ColumnUID); err != nil {
			return nil, err
		}
	}
	if len(a.gids) > 1 {
		if rows, err = b.Where(rows[:0], rows, func(v []int64) bool { return slices.Contains(a.gids, uint32(v[0])) }, layer.ColumnGID); err != nil {
			return nil, err
		}
	}
	if a.Perm != nil {
		mode := func(v []int64) bool { return a.Perm.Match(uint32(v[0])) }
		if rows, err = b.Where(rows[:0], rows, mode, layer.ColumnMode); err != nil {
			return nil, err
		}
	}
	if a.Empty {
		return b.Where(rows[:0], rows, func(v []int64) bool { return empty(event.Type(v[0]), v[1], v[2]+v[3]+v[4]) },
			layer.ColumnType, layer.ColumnSize, layer.ColumnSubFiles, layer.ColumnSubDirectories, layer.ColumnSubOthers)
	}
	return rows, nil
}

// OfOwners restricts the search to an owner and a group: each a number, or a name that the hosts of the view know; empty: any.
func (a *Attributes) OfOwners(owner, group string) {
	a.owner, a.group, a.uids, a.gids = owner, group, idOf(owner), idOf(group)
}

// idOf is a number as a list of ids; nil for a name.
func idOf(text string) []uint32 {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil
	}
	return []uint32{uint32(id)}
}

// resolve is a search as the reader of a context may search this version, with ids for the names of an owner and a group. NoOwnerError if no
// host of the view knows one. To a restricted reader such a name is one whose files are not shown: nil, nothing can match.
func (v *Version) resolve(ctx context.Context, s *Search) (*Search, error) {
	g, err := v.gate(ctx)
	if err != nil {
		return nil, err
	}
	if atime := asksAtime(ctx); g != nil || atime {
		bound := *s
		bound.gate, bound.atime = g, atime
		s = &bound
	}
	s, err = v.withOwners(ctx, s)
	var unknown *NoOwnerError
	if g != nil && errors.As(err, &unknown) {
		return nil, nil
	}
	return s, err
}

// withOwners is a search with ids for the names of an owner and a group.
func (v *Version) withOwners(ctx context.Context, s *Search) (*Search, error) {
	byOwner, byGroup := s.owner != "" && s.uids == nil, s.group != "" && s.gids == nil
	if !byOwner && !byGroup {
		return s, nil
	}
	names, err := v.Names(ctx)
	if err != nil {
		return nil, v.ReadError(err)
	}
	known := *s
	if byOwner {
		if known.uids = names.IDs(false, s.owner); known.uids == nil {
			return nil, &NoOwnerError{false, s.owner}
		}
	}
	if byGroup {
		if known.gids = names.IDs(true, s.group); known.gids == nil {
			return nil, &NoOwnerError{true, s.group}
		}
	}
	return &known, nil
}
