package engine

import (
	"context"
	"errors"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/permission"
)

// Access is how a user stands to a path, and by which entry of which directory.
type Access struct {
	Who        permission.Identity // nobody, if the view squashes root
	Squashed   bool
	TrustModes bool

	// Directories are the directories above the path, from the root on, and the path itself if it is one; as the version has them. Today
	// are the same in the newest version, if that is another one: its rights count as well.
	Directories, Today []DirectoryAccess

	Visible bool // who names the path sees it with its attributes
	Listed  bool // the entries of the path's directory are shown to who begins at the root
	// Contents: of a directory, its entries are listed to who begins there.
	Contents bool
	// DeniedAt is the outermost directory that may not be searched, if the path is not visible.
	DeniedAt string
}

// DirectoryAccess are the rights to one directory.
type DirectoryAccess struct {
	Path                string
	Mode, UID, GID      uint32
	Source              string
	permission.Decision // by what, too
}

// Access explains what the reader of the context may see of a path. Without a reader there is nothing to explain: nil. A path that is not
// there is a NoPathError. whole: who asks may see everything, so directories below one that denies are told, too. Otherwise they are not
// even looked up, so that what is hidden there and what does not exist have one answer.
func (v *Version) Access(ctx context.Context, path string, whole bool) (*Access, error) {
	j, err := v.judge(ctx)
	if err != nil || j == nil {
		return nil, err
	}
	a := &Access{Who: j.who, Squashed: j.squashed, TrustModes: j.rules.TrustModes, Visible: true, Listed: true}
	g, err := v.gate(ctx)
	if err != nil {
		return nil, err
	}
	parent := layer.KeyOf(path).Parent
	if a.Visible, err = g.knows(parent); err != nil {
		return nil, err
	}
	if parent != "" {
		let, err := g.entries("/", parent)
		if err != nil {
			return nil, err
		}
		a.Listed = let != nothing
	}
	var isDir bool
	if a.Directories, isDir, err = v.directoriesTo(ctx, j, path, whole, g); err != nil {
		return nil, err
	}
	if a.Visible && isDir {
		dir := strings.TrimSuffix(path, "/") + "/"
		let, err := g.entries(dir, dir)
		if err != nil {
			return nil, err
		}
		a.Contents = let != nothing
	}
	if g != nil && g.now != nil {
		if a.Today, _, err = g.now.v.directoriesTo(ctx, j, path, whole, g.now); errors.As(err, new(*NoPathError)) {
			err = nil // what is gone is as open as the directory above it
		}
	}
	if !a.Visible {
		a.DeniedAt = denies(a.Directories, path)
		if today := denies(a.Today, path); a.DeniedAt == "" || today != "" && len(today) < len(a.DeniedAt) {
			a.DeniedAt = today
		}
	}
	return a, err
}

// denies is the first directory above a path that may not be searched.
func denies(all []DirectoryAccess, path string) string {
	for _, d := range all {
		if d.Path != path && !d.Has(permission.Search) {
			return d.Path
		}
	}
	return ""
}

// directoriesTo are the rights to the directories above a path and to the path, if it is one, as far as the gate shows their attributes;
// whole: all of them. What is shown and not there is a NoPathError, with those above it.
func (v *Version) directoriesTo(ctx context.Context, j *judge, path string, whole bool, g *gate) (all []DirectoryAccess, isDir bool, err error) {
	for _, at := range lineage(path) {
		key := layer.KeyOf(at)
		if known, err := g.knows(key.Parent); err != nil || !known && !whole {
			return all, false, err
		}
		var row evidence.Row
		found, err := v.get(ctx, g, key, &row)
		costOf(ctx).rows.Add(1)
		switch {
		case err != nil:
			return nil, false, v.ReadError(err)
		case !found || row.Removed, at != path && row.Type != event.Directory:
			return all, false, &NoPathError{path}
		case row.Type != event.Directory:
			return all, false, nil
		}
		all = append(all, DirectoryAccess{Path: at, Mode: row.Mode, UID: row.UID, GID: row.GID, Source: row.Source, Decision: j.rules.Decide(j.who, directoryOf(&row))})
	}
	return all, true, nil
}

// lineage is the root, the paths on the way to a path, and the path.
func lineage(path string) []string {
	all := []string{"/"}
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			all = append(all, path[:i])
		}
	}
	if path != "/" {
		all = append(all, path)
	}
	return all
}
