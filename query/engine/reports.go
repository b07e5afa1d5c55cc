package engine

import (
	"context"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/query/report"
)

// Scope is what a report on a directory of the version is about. Errors of the scope's methods are to go through Failed.
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

// Failed is what a report's error means for the version that it read.
func (v *Version) Failed(err error) error { return v.fail(err) }

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
	return v.fail(err)
}

// EmptyDirectories emits the directories below a directory that have no entry, after a position, up to limit.
func (v *Version) EmptyDirectories(ctx context.Context, path string, after *Position, limit int, out Emit) (*Position, error) {
	scope, err := v.Scope(ctx, path)
	if err != nil {
		return nil, err
	}
	var from layer.Key
	if after != nil {
		from = keyAfter(after.Key)
	}
	page := limited{limit: limit, emit: out}
	at, err := page.end(scope.EmptyDirectories(ctx, from, page.take))
	return at, v.fail(err)
}

// Growth is which directories below a path have grown, or shrunk, since an earlier version, depth levels of them.
func (v *Version) Growth(ctx context.Context, old *Version, path string, depth, limit int) ([]report.Growth, error) {
	list, err := report.GrowthOf(ctx, old.view, v.view, path, depth, limit)
	return list, old.fail(err) // its layers may be gone meanwhile
}
