package tree

import (
	"context"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/event"
)

// Count reads the tree below dir as a scan without --cross-file-systems would, and counts what each pattern decides on. It
// stops when ctx ends; complete says that it has read everything that it may read.
func (x *Excludes) Count(ctx context.Context, dir string) (tally *Tally, complete bool, err error) {
	path, err := OS.Resolve(dir)
	if err != nil {
		return nil, false, err
	}
	root, err := OS.OpenRoot(path)
	if err != nil {
		return nil, false, err
	}
	defer root.Close()
	tally = x.Tally()
	var names Names
	for todo := []string{"/"}; len(todo) > 0; {
		if ctx.Err() != nil {
			return tally, false, nil
		}
		at := todo[len(todo)-1]
		todo = append(todo[:len(todo)-1], x.countIn(root, at, &names, tally)...)
	}
	return tally, true, nil
}

// countIn counts in one directory and returns its subdirectories. What cannot be read is passed over: scans report it.
func (x *Excludes) countIn(root Root, path string, names *Names, tally *Tally) (subdirectories []string) {
	d, err := root.OpenDir(path)
	if err != nil {
		return nil
	}
	defer d.Close()
	info, err := d.Info()
	if err != nil || info.ID.Dev != root.Info().ID.Dev {
		return nil
	}
	names.Reset()
	if err := d.Read(names); err != nil {
		return nil
	}
	tally.Add(x.LeaveOut(d, path, names, nil))
	for i := range names.Len() {
		if names.MayBeDirectory(i) { // what is none cannot be opened as one
			subdirectories = append(subdirectories, event.Join(path, strings.Clone(names.At(i))))
		}
	}
	slices.Reverse(subdirectories)
	return subdirectories
}
