package tree

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/fustor/fustor/internal/event"
)

// DefaultExcludes are the base names under which file servers show their snapshots: NetApp and GPFS, ZFS, Ceph, Isilon
// and snapper, Windows shares, VAST. Each of them would repeat the whole tree.
var DefaultExcludes = []string{".snapshot", ".snapshots", ".zfs", ".snap", ".ckpt", "~snapshot"}

// Excludes decide what does not belong to a view at all. An excluded directory takes its subtree along.
type Excludes struct {
	names map[string]bool
	globs []string // on the whole path, without the leading slash
}

// NewExcludes compiles patterns: a plain word excludes every entry of that name; a glob without a slash every entry
// whose name matches; one with a slash every entry whose path below the root matches (** crosses directories).
func NewExcludes(patterns []string) (*Excludes, error) {
	x := &Excludes{names: map[string]bool{}}
	for _, p := range patterns {
		trimmed := strings.Trim(p, "/")
		switch {
		case trimmed == "":
			return nil, fmt.Errorf("exclude pattern %q would exclude everything or nothing", p)
		case !doublestar.ValidatePattern(trimmed):
			return nil, fmt.Errorf("exclude pattern %q is not a glob", p)
		case !strings.ContainsAny(trimmed, `*?[]{}\`) && !strings.Contains(p, "/"):
			x.names[p] = true
		case !strings.Contains(p, "/"):
			x.globs = append(x.globs, "**/"+p)
		default:
			x.globs = append(x.globs, trimmed)
		}
	}
	return x, nil
}

// Match reports whether the entry name of directory dir is excluded by itself, whatever is said of dir.
func (x *Excludes) Match(dir, name string) bool {
	if x.names[name] {
		return true
	}
	if len(x.globs) == 0 {
		return false
	}
	path := event.Join(dir, name)[1:]
	for _, g := range x.globs {
		if ok, err := doublestar.Match(g, path); ok && err == nil {
			return true
		}
	}
	return false
}
