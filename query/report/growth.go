package report

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// Growth is how a directory's subtree differs between two versions. A directory that is not in a version
// has no files, directories and bytes in it.
type Growth struct {
	Path     string
	From, To evidence.Totals
}

// Bytes, Files and Directories are how much more the later version has. Bytes are not exact if Saturated.
func (g Growth) Bytes() int64       { return g.To.Bytes - g.From.Bytes }
func (g Growth) Files() int64       { return g.To.Files - g.From.Files }
func (g Growth) Directories() int64 { return g.To.Directories - g.From.Directories }

// Saturated reports whether sums of a version may be larger than its totals say.
func (g Growth) Saturated() bool { return g.From.Saturated() || g.To.Saturated() }

// compare orders by how many bytes changed, up or down, then by how many files, then by path.
func (g Growth) compare(o Growth) int {
	return cmp.Or(cmp.Compare(magnitude(o.Bytes()), magnitude(g.Bytes())), cmp.Compare(magnitude(o.Files()), magnitude(g.Files())),
		strings.Compare(g.Path, o.Path))
}

func magnitude(n int64) int64 { return max(n, -n) }

// Side is one of two versions that are compared: the scope, whose filter has no part in this, and how much of it counts.
type Side struct {
	Scope
	Of    Admission // the root
	Admit Admit     // the directories below a root that is Within
}

// GrowthOf finds the directories below a root, down to depth levels, whose totals differ between two versions, those that changed by the
// most bytes first, at most n. It descends only into directories that differ: unchanged ones cost nothing. Where stored totals do not
// count, it first makes the sums of all such directories, at most MaxFiltered.
func GrowthOf(ctx context.Context, from, to Side, depth, n int) ([]Growth, error) {
	g := &comparison{ctx: ctx, views: [2]*layer.View{from.View, to.View}, top: topN[Growth]{limit: n, compare: Growth.compare}}
	for i, side := range [2]Side{from, to} {
		if side.Of == Within {
			var err error
			if g.sums[i], err = side.admittedSums(ctx, side.Admit); err != nil {
				return nil, err
			}
		}
	}
	if err := g.below(to.Root.ChildParent(), depth, [2]Admission{from.Of, to.Of}); err != nil {
		return nil, err
	}
	return g.top.sorted(), nil
}

var nothing = evidence.Totals{LatestMtimeNs: evidence.NoMtime}

type comparison struct {
	ctx   context.Context
	views [2]*layer.View
	sums  [2]admittedSums
	top   topN[Growth]
}

// below compares the directories in a directory. of says how much of what is in it counts in the two versions; Nothing where it is not.
func (g *comparison) below(parent string, depth int, of [2]Admission) error {
	if depth == 0 {
		return nil
	}
	var lists [2][]Growth // From has the totals
	for i, v := range g.views {
		if of[i] == Nothing {
			continue
		}
		var err error
		if lists[i], err = directoriesIn(g.ctx, v, parent); err != nil {
			return err
		}
	}
	for old, now := lists[0], lists[1]; len(old)+len(now) > 0; {
		d := Growth{From: nothing, To: nothing}
		var in [2]Admission
		order := orderOf(old, now)
		if order <= 0 {
			d.Path = old[0].Path
			d.From, in[0] = g.sums[0].of(d.Path, old[0].From)
			old = old[1:]
		}
		if order >= 0 {
			d.Path = now[0].Path
			d.To, in[1] = g.sums[1].of(d.Path, now[0].From)
			now = now[1:]
		}
		switch {
		case d.From != d.To:
			g.top.offer(d)
		case !d.Saturated(): // saturated totals may be equal although something below differs
			continue
		}
		if err := g.below(d.Path+"/", depth-1, in); err != nil {
			return err
		}
	}
	return nil
}

// orderOf compares the first paths of two lists; an empty list comes last.
func orderOf(a, b []Growth) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return strings.Compare(a[0].Path, b[0].Path)
}

// MaxFiltered bounds the directories that FilteredGrowth sums up.
const MaxFiltered = 1 << 20

// ErrTooManyDirectories says that FilteredGrowth would have to hold more than MaxFiltered directories.
var ErrTooManyDirectories = errors.New("too many directories")

// FilteredGrowth is like GrowthOf for what the filter of two scopes wants. No directory has sums of that, so it reads all rows of both, and
// holds the sums of the directories down to depth levels.
func FilteredGrowth(ctx context.Context, from, to Scope, depth, n int) ([]Growth, error) {
	sums := map[string]*Growth{}
	for _, side := range []struct {
		scope Scope
		of    func(*Growth) *evidence.Totals
	}{
		{from, func(g *Growth) *evidence.Totals { return &g.From }},
		{to, func(g *Growth) *evidence.Totals { return &g.To }},
	} {
		err := side.scope.sumBelow(ctx, depth, func(path string, t evidence.Totals) error {
			g := sums[path]
			if g == nil {
				if len(sums) == MaxFiltered {
					return ErrTooManyDirectories
				}
				g = &Growth{Path: strings.Clone(path), From: nothing, To: nothing}
				sums[g.Path] = g
			}
			sum := side.of(g)
			*sum = sum.Plus(t)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	top := topN[Growth]{limit: n, compare: Growth.compare}
	for _, g := range sums {
		if g.From != g.To {
			top.offer(*g)
		}
	}
	return top.sorted(), nil
}

// sumBelow calls add with what the wanted rows add to the totals of each directory, down to depth levels below the root.
func (s Scope) sumBelow(ctx context.Context, depth int, add func(path string, t evidence.Totals) error) error {
	root := len(s.Root.ChildParent())
	p := pass{ctx: ctx, scope: s, columns: countedColumns}
	return p.each(func(s *span) error {
		for i := s.from; i < s.to; {
			parent, end, t := s.block.Parent(i), min(s.to, s.block.ParentEnd(i)), nothing
			level := strings.Count(parent[root:], "/") // of the parent; its entries are one below
			for ; i < end; i++ {
				if !s.present(i) {
					continue
				}
				own := nothing
				s.count(&own, i)
				t = t.Plus(own)
				if own.Directories == 1 && level < depth {
					if err := add(parent+s.block.Name(i), own); err != nil {
						return err
					}
				}
			}
			for at, left := root, depth; t != nothing && left > 0 && at < len(parent); left-- {
				at += strings.IndexByte(parent[at:], '/')
				if err := add(parent[:at], t); err != nil {
					return err
				}
				at++
			}
		}
		return nil
	})
}

// directoriesIn are the directories in a directory, with their totals in From.
func directoriesIn(ctx context.Context, v *layer.View, parent string) (out []Growth, err error) {
	sums := []layer.Column{layer.ColumnSubFiles, layer.ColumnSubDirectories, layer.ColumnSubOthers, layer.ColumnSubBytes, layer.ColumnSubLatestMtimeNs,
		layer.ColumnSubAllocated, layer.ColumnSubLinkedAllocated, layer.ColumnSubUnmeasured}
	c := v.Cursor(ctx).Until(layer.Key{Parent: parent + "\x00"}).ReadAhead(readAhead)
	s := &span{columns: make([]*layer.Numbers, len(sums))}
	for ok := c.Seek(layer.Key{Parent: parent}); ok; ok = c.NextSpan() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, from, to := c.Span()
		if err := s.open(b, sums, b.Group().Removed > 0); err != nil {
			return nil, err
		}
		for i := from; i < to; i++ {
			if s.is(i, event.Directory) {
				out = append(out, Growth{Path: parent + b.Name(i), From: evidence.Totals{
					Files: s.columns[0].At(i), Directories: s.columns[1].At(i), Others: s.columns[2].At(i),
					Bytes: s.columns[3].At(i), LatestMtimeNs: s.columns[4].At(i),
					Allocated: s.columns[5].At(i), LinkedAllocated: s.columns[6].At(i), Unmeasured: s.columns[7].At(i),
				}})
			}
		}
	}
	return out, c.Err()
}
