// Package mounts translates the paths of a host, such as /srv/lab/x, to the paths of a view, such as /x.
//
// It owns the rules of docs/cli.md, "Paths": what a PATH argument means, given where the view's roots are mounted. It does no I/O. All
// results depend on the arguments alone, so the same words in the same directory always mean the same path.
package mounts

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/layout"
)

// Mount is a place where the root of a view is mounted.
type Mount struct {
	View string
	Path string // absolute and clean
	Host string // of the agent that reads it; empty: any host
}

// OfSource is the mount that a source URI names, such as fs://nfs07/mnt/data; false if it names none. The agent writes bytes that are no
// plain text as %XX.
func OfSource(view, uri string) (Mount, bool) {
	rest, isURI := strings.CutPrefix(uri, "fs://")
	host, dir := "", rest
	if i := strings.IndexByte(rest, '/'); isURI && i > 0 {
		host, dir = rest[:i], rest[i:]
	}
	plain, err := url.PathUnescape(dir)
	if err != nil {
		plain = dir
	}
	if !strings.HasPrefix(plain, "/") {
		return Mount{}, false
	}
	return Mount{View: view, Path: path.Clean(plain), Host: host}, true
}

// Place is a path of a view.
type Place struct{ View, Path string }

// Explicit reads VIEW:/path. A path of the view that has this form is written ./VIEW:/path or /VIEW:/path.
func Explicit(arg string) (Place, bool) {
	view, rest, found := strings.Cut(arg, ":")
	if !found || !strings.HasPrefix(rest, "/") || !layout.ValidView(view) {
		return Place{}, false
	}
	return Place{view, path.Clean(rest)}, true
}

// Own is a PATH argument as a path of the view: from its root, cleaned, byte for byte.
func Own(arg string) string { return path.Clean("/" + arg) }

// Table is the known mounts, as seen from one host.
type Table struct {
	Mounts []Mount
	Host   string // where the command runs
}

// Translate is what an absolute path of the host is in the views that are mounted above it: one place for each view, none if it is below
// no mount. The mounts of this very host count before all others, and of those the longest.
func (t Table) Translate(dir string) []Place {
	dir = path.Clean(dir)
	var here, best []Mount
	for _, m := range t.Mounts {
		if t.above(m, dir) {
			if t.isHere(m) {
				here = append(here, m)
			}
			best = append(best, m)
		}
	}
	if here != nil {
		best = here
	}
	longest := 0
	for _, m := range best {
		longest = max(longest, len(m.Path))
	}
	var places []Place
	for _, m := range best {
		p := Place{m.View, path.Clean("/" + strings.TrimPrefix(dir, m.Path))}
		if len(m.Path) == longest && !slices.Contains(places, p) {
			places = append(places, p)
		}
	}
	return places
}

// above reports whether a path is the mount or below it. Each path is below /, so a root that is mounted there counts on its own host only.
func (t Table) above(m Mount, dir string) bool {
	if m.Path == "/" {
		return t.isHere(m)
	}
	return dir == m.Path || strings.HasPrefix(dir, m.Path+"/")
}

func (t Table) isHere(m Mount) bool { return m.Host != "" && strings.EqualFold(m.Host, t.Host) }

// Relative is what a relative path means in a working directory, of which dirs are the names: first the real one, then that of the
// shell, which may have symlinks. inside is false if the directory is below no mount. Where it is, places are those of abs, the path as
// the host has it: none if the path leads out of the mount.
func (t Table) Relative(dirs []string, arg string) (abs string, places []Place, inside bool) {
	for _, dir := range dirs {
		if len(t.Translate(dir)) > 0 {
			abs = path.Join(dir, arg)
			return abs, t.Translate(abs), true
		}
	}
	return "", nil, false
}

// Where says where the roots are mounted: "/srv/lab (nfs07) and /mnt/lab"; empty if nothing is known.
func (t Table) Where() string {
	hosts := map[string][]string{}
	var paths []string
	for _, m := range t.Mounts {
		if _, known := hosts[m.Path]; !known {
			hosts[m.Path], paths = nil, append(paths, m.Path)
		}
		if m.Host != "" && !slices.Contains(hosts[m.Path], m.Host) {
			hosts[m.Path] = append(hosts[m.Path], m.Host)
		}
	}
	slices.Sort(paths)
	var words []string
	for i, p := range paths {
		if i == maxNamed && len(paths) > maxNamed+1 {
			words = append(words, "other paths")
			break
		}
		names := hosts[p]
		if len(names) > maxNamed {
			names = append(slices.Clone(names[:maxNamed]), "…")
		}
		if names != nil {
			p += " (" + strings.Join(names, ", ") + ")"
		}
		words = append(words, p)
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

// maxNamed bounds the paths that Where names, and the hosts of each.
const maxNamed = 4
