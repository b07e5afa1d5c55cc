package engine

import (
	"context"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/query/report"
)

// Scope is the scope of a report: what a search wants below a directory of the version, its Path. Pass errors of its methods through
// ReadError.
func (v *Version) Scope(ctx context.Context, of *Search) (report.Scope, error) {
	path := of.Path
	of, err := v.resolve(ctx, of)
	if err != nil {
		return report.Scope{}, err
	}
	if of == nil {
		return v.emptyScope(ctx, path)
	}
	root, err := v.lookup(ctx, of.gate, of.Path)
	if err != nil {
		return report.Scope{}, err
	}
	if root.Type != event.Directory {
		return report.Scope{}, &NotDirectoryError{of.Path}
	}
	if of.gate != nil {
		if err := v.mayList(ctx, root.ChildParent()); err != nil {
			return report.Scope{}, err
		}
	}
	view, err := v.rows.through(ctx, of.gate, below(root.ChildParent()))
	return report.Scope{View: view, Root: root, Filter: of.filter()}, v.ReadError(err)
}

// emptyScope is the scope of a report in which nothing is wanted.
func (v *Version) emptyScope(ctx context.Context, path string) (report.Scope, error) {
	return v.Scope(ctx, unmet(path))
}

// unmet is a search below a path for what nothing is.
func unmet(path string) *Search {
	s := everythingBelow(path)
	s.MinSize, s.MaxSize = 1, 0
	return s
}

// everythingBelow is the search below a path for everything.
func everythingBelow(path string) *Search {
	s, err := NewSearch("*", path)
	if err != nil {
		panic(err) // the pattern is one
	}
	return s
}

// filter is the search as the filter of a report; nil: it wants everything. A report reads all rows of its scope, so it uses no search
// index.
func (s *Search) filter() *report.Filter {
	if s.gate != nil {
		return &report.Filter{Excludes: s.excludes, Rows: func(rows []uint32, b *layer.Block, from, to int) ([]uint32, error) {
			if err := s.gate.noteAll(s.start(), b, from, to); err != nil {
				return nil, err
			}
			rows, err := s.matching(rows, b, from, to)
			if err != nil {
				return nil, err
			}
			return s.gate.keep(s.start(), true, s.Empty, b, rows) // reports are about attributes
		}}
	}
	if s.Everything() {
		return nil
	}
	return &report.Filter{Excludes: s.excludes, Rows: s.wanted}
}

// LinksOnce takes the further names of files out of what a directory's row says is allocated: a file with several names below it counts
// once, as du has it.
func (v *Version) LinksOnce(ctx context.Context, dir *evidence.Row) error {
	if dir.Sub.LinkedAllocated == 0 {
		return nil
	}
	g, err := v.gate(ctx)
	if err != nil {
		return err
	}
	of, err := v.side(ctx, g, dir)
	if err != nil {
		return err
	}
	if g != nil {
		all := everythingBelow(dir.Path())
		all.gate = g
		of.Filter = all.filter()
	}
	dir.Sub.Allocated, dir.Sub.LinkedAllocated, err = of.LinksOnce(ctx, of.Of, of.Admit)
	return v.ReadError(err)
}

// Largest emits the largest files, or directories, that a search wants, the largest first.
func (v *Version) Largest(ctx context.Context, where *Search, of event.Type, limit int, out Emit) error {
	scope, err := v.Scope(ctx, where)
	if err != nil {
		return err
	}
	g, err := v.gate(ctx)
	if err != nil {
		return err
	}
	var rows []evidence.Row
	side, err := v.side(ctx, g, scope.Root)
	if err != nil {
		return err
	}
	if of == event.Directory && side.Of == report.Within { // the totals as stored count what is hidden, too
		rows, err = scope.LargestSums(ctx, side, limit)
	} else {
		rows, err = scope.Largest(ctx, of, limit)
	}
	for i := range rows {
		if of != event.Directory {
			g.conceal(&rows[i], everything)
		}
		if err := out(&rows[i]); err != nil {
			return err
		}
	}
	return v.ReadError(err)
}

// EmptyDirectories emits the directories that a search wants and that have no entries, after a position, up to limit.
func (v *Version) EmptyDirectories(ctx context.Context, where *Search, after *Position, limit int, out Emit) (*Position, error) {
	empty := *where
	empty.Empty = true // who may not list a directory does not know that it is empty
	return v.reportPage(ctx, &empty, after, limit, out, report.Scope.EmptyDirectories)
}

// Odd emits the entries that a search wants and that have oddities, after a position, up to limit. Its rows have all columns.
func (v *Version) Odd(ctx context.Context, where *Search, after *Position, limit int, out Emit) (*Position, error) {
	return v.reportPage(ctx, where, after, limit, out, report.Scope.Odd)
}

// reportPage emits a page of a report whose entries are rows in key order.
func (v *Version) reportPage(ctx context.Context, where *Search, after *Position, limit int, out Emit,
	rows func(s report.Scope, ctx context.Context, from layer.Key, f func(*evidence.Row) error) error) (*Position, error) {
	scope, err := v.Scope(ctx, where)
	if err != nil {
		return nil, err
	}
	var from layer.Key
	if after != nil {
		from = after.next()
	}
	g, err := v.gate(ctx)
	if err != nil {
		return nil, err
	}
	page := pageLimiter{limit: limit, emit: func(r *evidence.Row) error {
		g.conceal(r, everything)
		return out(r)
	}}
	at, err := page.end(rows(scope, ctx, from, page.take))
	return at, v.ReadError(err)
}

// Growth lists the directories below a search's path, down to depth levels, that have grown or shrunk since an earlier version in what
// the search wants.
func (v *Version) Growth(ctx context.Context, old *Version, where *Search, depth, limit int) ([]report.Growth, error) {
	to, err := v.Scope(ctx, where)
	if err != nil {
		return nil, err
	}
	// Where the path was not there, nothing is below it; where a reader might not list it, nothing that the reader sees is.
	if where.Everything() {
		var sides [2]report.Side
		for i, version := range [2]*Version{old, v} {
			g, err := version.gate(ctx)
			if err == nil {
				sides[i], err = version.side(ctx, g, to.Root)
			}
			if err != nil {
				return nil, err
			}
		}
		list, err := report.GrowthOf(ctx, sides[0], sides[1], depth, limit)
		return list, old.ReadError(err) // retention may have deleted its layers
	}
	before, err := old.resolve(ctx, where)
	if err == nil && before == nil {
		before, err = old.resolve(ctx, unmet(where.Path))
	}
	if err != nil {
		return nil, err
	}
	view, err := old.rows.through(ctx, before.gate, below(to.Root.ChildParent()))
	if err != nil {
		return nil, old.ReadError(err)
	}
	from := report.Scope{View: view, Root: to.Root, Filter: before.filter()}
	list, err := report.FilteredGrowth(ctx, from, to, depth, limit)
	return list, old.ReadError(err)
}
