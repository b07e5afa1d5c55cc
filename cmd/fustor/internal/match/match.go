// Package match is how the reading commands let users say which entries they want: sizes, times, globs and types as
// words on a command line, and the filter that they make together.
//
// It follows find(1) where find has an answer: globs match the base name, sizes and times compare the entry's own
// st_size and st_mtim whatever its type, and "newer" and "older" are strict.
package match

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/glob"
	"github.com/fustor/fustor/internal/values"
)

// Filter is what an entry must be. The zero Filter matches everything; every field that is set must hold.
type Filter struct {
	Names     []string // globs on the base name, of which one must match; SetNames sets them
	NotNames  []string // globs on the base name, of which none may match
	globs     []string // what Names stand for
	notGlobs  []string
	Regex     *values.Regex // on the whole path
	Types     string        // letters of f, d, l, o; empty: any
	MinSize   *Size         // size >= MinSize
	MaxSize   *Size         // size <= MaxSize
	NewerThan *Time         // mtime > NewerThan
	OlderThan *Time         // mtime < OlderThan
	Owner     string        // a name or a uid; empty: any
	Group     string
	Perm      *values.Perm
	Empty     bool // a file of size 0, or a directory with nothing in it
	// What the inode tells. Entries of which the view does not know it do not match.
	Links                      *Links
	Inode                      uint64 // of a file with several names; 0: any
	MinAllocated, MaxAllocated *Size
	ChangedAfter               *Time // ctime > ChangedAfter
	ChangedBefore              *Time // ctime < ChangedBefore
	BornAfter                  *Time // born in its second or later
	BornBefore                 *Time // born in a second before its
	// The day of the last access, which only the server knows: Match does not look at it.
	AccessedAfter, AccessedBefore *Time
}

// SetNames sets the globs of names, one of which an entry must match if there are any, and those that it must not match.
func (f *Filter) SetNames(names, not []string) error {
	f.Names, f.NotNames = names, not
	for _, part := range []struct {
		texts []string
		globs *[]string
	}{{names, &f.globs}, {not, &f.notGlobs}} {
		for _, text := range part.texts {
			globs, err := glob.Expand(text)
			if err != nil {
				return fmt.Errorf("%q is not a glob: %w", text, err)
			}
			*part.globs = append(*part.globs, globs...)
		}
	}
	return nil
}

// Served are the names in the form in which the server has them: without those that have a slash, as no name has one but the root's.
// nothing: no other entry than the root can match.
func (f *Filter) Served() (names, not []string, nothing bool) {
	slash := func(s string) bool { return strings.Contains(s, "/") }
	names, not = slices.DeleteFunc(slices.Clone(f.Names), slash), slices.DeleteFunc(slices.Clone(f.NotNames), slash)
	return names, not, len(f.Names) > 0 && len(names) == 0
}

// Everything reports whether the filter asks for nothing.
func (f *Filter) Everything() bool {
	return len(f.Names) == 0 && len(f.NotNames) == 0 && f.Regex == nil && f.Types == "" && f.onlyNames()
}

// onlyNames reports whether the filter looks at nothing but names and types.
func (f *Filter) onlyNames() bool {
	return f.MinSize == nil && f.MaxSize == nil && f.NewerThan == nil && f.OlderThan == nil && f.Owner == "" && f.Group == "" &&
		f.Perm == nil && !f.Empty && !f.ofInode() && !f.OfAccess()
}

// OfAccess reports whether the filter looks at the last access.
func (f *Filter) OfAccess() bool { return f.AccessedAfter != nil || f.AccessedBefore != nil }

// ofInode reports whether the filter looks at what the inode tells.
func (f *Filter) ofInode() bool {
	return f.Links != nil || f.Inode != 0 || f.MinAllocated != nil || f.MaxAllocated != nil || f.ChangedAfter != nil || f.ChangedBefore != nil ||
		f.BornAfter != nil || f.BornBefore != nil
}

// Match reports whether the entry is wanted, its last access apart.
func (f *Filter) Match(n *client.Node) bool {
	switch {
	case f.Types != "" && strings.IndexByte(f.Types, n.Letter()) < 0,
		f.MinSize != nil && n.Size < f.MinSize.Bytes,
		f.MaxSize != nil && n.Size > f.MaxSize.Bytes,
		f.NewerThan != nil && n.MtimeNs <= f.NewerThan.Ns,
		f.OlderThan != nil && n.MtimeNs >= f.OlderThan.Ns,
		f.Regex != nil && !f.Regex.Match(n.Path),
		!owned(f.Owner, n.Owner, n.UID),
		!owned(f.Group, n.Group, n.GID),
		f.Perm != nil && !f.Perm.Match(n.Mode),
		f.Empty && !empty(n),
		f.ofInode() && !f.matchInode(n):
		return false
	}
	name := Base(n.Path)
	if name == "/" { // find lets wildcards match this slash; the NUL is a character that nothing else matches
		name = "\x00"
	}
	matches := func(g string) bool { return glob.Match(g, name) || g == "/" && name == "\x00" }
	return (len(f.globs) == 0 || slices.ContainsFunc(f.globs, matches)) && !slices.ContainsFunc(f.notGlobs, matches)
}

func (f *Filter) matchInode(n *client.Node) bool {
	switch {
	case n.Links == 0,
		f.Links != nil && !f.Links.match(n.Links),
		f.Inode != 0 && n.Inode != strconv.FormatUint(f.Inode, 10),
		f.MinAllocated != nil && n.Allocated < f.MinAllocated.Bytes,
		f.MaxAllocated != nil && n.Allocated > f.MaxAllocated.Bytes,
		f.ChangedAfter != nil && n.CtimeNs <= f.ChangedAfter.Ns,
		f.ChangedBefore != nil && n.CtimeNs >= f.ChangedBefore.Ns,
		(f.BornAfter != nil || f.BornBefore != nil) && n.BirthNs == 0,
		f.BornAfter != nil && n.BirthNs/1e9 < f.BornAfter.second(), // births are whole seconds
		f.BornBefore != nil && n.BirthNs/1e9 >= f.BornBefore.second():
		return false
	}
	return true
}

// second is the second of a time.
func (t *Time) second() int64 { return time.Unix(0, t.Ns).Unix() }

// empty is find -empty: of a regular file or a directory.
func empty(n *client.Node) bool {
	if n.Subtree != nil {
		return n.Subtree.Files+n.Subtree.Directories+n.Subtree.Others == 1
	}
	return n.Letter() == 'f' && n.Size == 0
}

// Base is the last part of a path, and "/" for the root, as find -name has it.
func Base(path string) string {
	if path == "/" {
		return path
	}
	return path[strings.LastIndexByte(path, '/')+1:]
}

// owned reports whether an owner or a group is the wanted one.
func owned(wanted, name string, id uint32) bool {
	return wanted == "" || wanted == name || wanted == strconv.FormatUint(uint64(id), 10)
}
