// Package match is how the reading commands let users say which entries they want: sizes, times, globs and types as
// words on a command line, and the filter that they make together.
//
// It follows find(1) where find has an answer: globs match the base name, sizes and times compare the entry's own
// st_size and st_mtim whatever its type, and "newer" and "older" are strict.
package match

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/values"
)

// Filter is what an entry must be. The zero Filter matches everything; every field that is set must hold.
type Filter struct {
	Name      string // a glob on the base name; empty: any
	Types     string // letters of f, d, l, o; empty: any
	MinSize   *Size  // size >= MinSize
	MaxSize   *Size  // size <= MaxSize
	NewerThan *Time  // mtime > NewerThan
	OlderThan *Time  // mtime < OlderThan
	Owner     *uint32
	Group     *uint32
	Perm      *values.Perm
	Empty     bool // a file of size 0, or a directory with nothing in it
	// What the inode tells. Entries of which the view does not know it do not match.
	Links                      *Links
	Inode                      uint64 // of a file with several names; 0: any
	MinAllocated, MaxAllocated *Size
	ChangedAfter               *Time // ctime > ChangedAfter
	ChangedBefore              *Time // ctime < ChangedBefore
}

// Check reports a filter that can never work, such as a broken glob.
func (f *Filter) Check() error {
	if !doublestar.ValidatePattern(glob(f.Name)) {
		return fmt.Errorf("%q is not a valid glob", f.Name)
	}
	return nil
}

// braces are plain characters in find's globs, and alternatives in the library's.
var braces = strings.NewReplacer(`\\`, `\\`, `\{`, `\{`, `\}`, `\}`, "{", `\{`, "}", `\}`)

// glob is find's glob in the library's words.
func glob(name string) string {
	if !strings.ContainsAny(name, "{}") {
		return name
	}
	return braces.Replace(name)
}

// Pattern is the name as a pattern of the server's search, which finds the same entries without reading the others; false if there is no
// name, or none that the server would take for the same. The dialect of globs is the same on both sides; the server takes a pattern for a
// glob if it has *, ? or [, and a slash for one of paths.
func (f *Filter) Pattern() (string, bool) {
	const longest = 1024 // bytes that the server takes
	name := f.Name
	if name == "" || len(name) > longest-2 || !utf8.ValidString(name) || strings.Contains(name, "/") {
		return "", false
	}
	if strings.ContainsAny(name, "*?[") {
		return name, true
	}
	first, n := utf8.DecodeRuneInString(name)
	if strings.ContainsRune(`\]^!-`, first) { // they mean something in a class
		return "", false
	}
	return "[" + string(first) + "]" + name[n:], true
}

// OnlyNames reports whether the filter looks at nothing but names and types.
func (f *Filter) OnlyNames() bool {
	return f.MinSize == nil && f.MaxSize == nil && f.NewerThan == nil && f.OlderThan == nil && f.Owner == nil && f.Group == nil &&
		f.Perm == nil && !f.Empty && !f.ofInode()
}

// ofInode reports whether the filter looks at what the inode tells.
func (f *Filter) ofInode() bool {
	return f.Links != nil || f.Inode != 0 || f.MinAllocated != nil || f.MaxAllocated != nil || f.ChangedAfter != nil || f.ChangedBefore != nil
}

// Match reports whether the entry is wanted.
func (f *Filter) Match(n *client.Node) bool {
	switch {
	case f.Types != "" && strings.IndexByte(f.Types, n.Letter()) < 0,
		f.MinSize != nil && n.Size < f.MinSize.Bytes,
		f.MaxSize != nil && n.Size > f.MaxSize.Bytes,
		f.NewerThan != nil && n.MtimeNs <= f.NewerThan.Ns,
		f.OlderThan != nil && n.MtimeNs >= f.OlderThan.Ns,
		f.Owner != nil && n.UID != *f.Owner,
		f.Group != nil && n.GID != *f.Group,
		f.Perm != nil && !f.Perm.Match(n.Mode),
		f.Empty && !empty(n),
		f.ofInode() && !f.matchInode(n):
		return false
	}
	return f.Name == "" || doublestar.MatchUnvalidated(glob(f.Name), Base(n.Path))
}

func (f *Filter) matchInode(n *client.Node) bool {
	switch {
	case n.Links == 0,
		f.Links != nil && !f.Links.match(n.Links),
		f.Inode != 0 && n.Inode != strconv.FormatUint(f.Inode, 10),
		f.MinAllocated != nil && n.Allocated < f.MinAllocated.Bytes,
		f.MaxAllocated != nil && n.Allocated > f.MaxAllocated.Bytes,
		f.ChangedAfter != nil && n.CtimeNs <= f.ChangedAfter.Ns,
		f.ChangedBefore != nil && n.CtimeNs >= f.ChangedBefore.Ns:
		return false
	}
	return true
}

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
