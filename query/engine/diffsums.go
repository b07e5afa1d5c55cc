package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// PathSums are sums over paths that were added, or removed. Bytes are those of regular files. Moved is how many of the paths came from,
// or went to, another place below the diff's path.
type PathSums struct {
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Others      int64 `json:"others"`
	Bytes       int64 `json:"bytes"`
	Moved       int64 `json:"moved"`
}

func (s *PathSums) add(r *evidence.Row, moved bool) {
	switch r.Type {
	case event.File:
		s.Files++
		s.Bytes += r.Size
	case event.Directory:
		s.Directories++
	default:
		s.Others++
	}
	if moved {
		s.Moved++
	}
}

// ChangedSums are sums over paths that changed. Bytes is how much more their regular files have.
type ChangedSums struct {
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Others      int64 `json:"others"`
	Bytes       int64 `json:"bytes"`
}

// DirectorySums are the sums of a diff at and below a directory. A path that is of another type than before counts as removed and as
// added. So files, directories, others and bytes have grown by those added, less those removed, and the bytes of those changed.
type DirectorySums struct {
	Path           string
	Added, Removed PathSums
	Changed        ChangedSums
}

func (s *DirectorySums) add(c *evidence.Change, moved bool) {
	before, after := c.Before, c.After
	if before == nil || after == nil || before.Type != after.Type {
		if before != nil {
			s.Removed.add(before, moved)
		}
		if after != nil {
			s.Added.add(after, moved)
		}
		return
	}
	switch after.Type {
	case event.File:
		s.Changed.Files++
		s.Changed.Bytes += after.Size - before.Size
	case event.Directory:
		s.Changed.Directories++
	default:
		s.Changed.Others++
	}
}

// MaxDirectorySums bounds the directories that Sums sums up.
const MaxDirectorySums = 100_000

// ErrManyDirectories says that more than MaxDirectorySums directories have a part in a diff, down to the depth that was asked for.
var ErrManyDirectories = errors.New("too many directories differ")

// Sums sums the diff up by directory, down to depth levels below its path, by path. The first is the diff's path itself. Directories in
// which nothing differs are left out.
func (d *Diff) Sums(ctx context.Context, depth int, moves *Moves) ([]DirectorySums, error) {
	root := d.search().Path
	inside := strings.TrimSuffix(root, "/") + "/"
	sums := map[string]*DirectorySums{root: {Path: root}}
	err := d.each(ctx, nil, 0, func(c *evidence.Change) error {
		path := c.Row().Path()
		moved := moves.To(path) != "" || moves.From(path) != ""
		sums[root].add(c, moved)
		isDir := isDirectory(c.Before) || isDirectory(c.After)
		for end, level := len(inside), 0; end < len(path) && level < depth; level++ {
			if i := strings.IndexByte(path[end:], '/'); i >= 0 {
				end += i
			} else if end = len(path); !isDir {
				break
			}
			s := sums[path[:end]]
			if s == nil {
				if len(sums) == MaxDirectorySums {
					return ErrManyDirectories
				}
				s = &DirectorySums{Path: strings.Clone(path[:end])}
				sums[s.Path] = s
			}
			s.add(c, moved)
			end++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]DirectorySums, 0, len(sums))
	for _, path := range slices.Sorted(maps.Keys(sums)) {
		out = append(out, *sums[path])
	}
	return out, nil
}
