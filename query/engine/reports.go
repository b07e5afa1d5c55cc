package engine

import (
	"context"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/query/report"
)

// Scope is the scope of a report: a directory of the version. Pass errors of its methods through ReadError.
func (v *Version) Scope(ctx context.Context, path string) (report.Scope, error) {
	root, err := v.Lookup(ctx, path)
	if err != nil {
		return report.Scope{}, err
	}
	if root.Type != event.Directory {
		return report.Scope{}, &NotDirectoryError{path}
	}
	return report.Scope{View: v.view, Root: root}, nil
}

// Largest emits the largest files, or directories, below a directory, the largest first.
func (v *Version) Largest(ctx context.Context, path string, of event.Type, limit int, out Emit) error {
	scope, err := v.Scope(ctx, path)
	if err != nil {
		return err
	}
	rows, err := scope.Largest(ctx, of, limit)
	for i := range rows {
		if err := out(&rows[i]); err != nil {
			return err
		}
	}
	return v.ReadError(err)
}

// EmptyDirectories emits the directories below a directory that have no entries, after a position, up to limit.
func (v *Version) EmptyDirectories(ctx context.Context, path string, after *Position, limit int, out Emit) (*Position, error) {
	scope, err := v.Scope(ctx, path)
	if err != nil {
		return nil, err
	}
	var from layer.Key
	if after != nil {
		from = after.next()
	}
	page := pageLimiter{limit: limit, emit: out}
	at, err := page.end(scope.EmptyDirectories(ctx, from, page.take))
	return at, v.ReadError(err)
}

// Growth lists the directories below a path, down to depth levels, that have grown or shrunk since an earlier version.
func (v *Version) Growth(ctx context.Context, old *Version, path string, depth, limit int) ([]report.Growth, error) {
	list, err := report.GrowthOf(ctx, old.view, v.view, path, depth, limit)
	return list, old.ReadError(err) // retention may have deleted its layers
}
