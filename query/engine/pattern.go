package engine

import (
	"errors"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/fustor/fustor/internal/casefold"
	"github.com/fustor/fustor/internal/glob"
	"github.com/fustor/fustor/internal/layer"
)

// maxPattern bounds a search pattern, in bytes.
const maxPattern = 1024

var (
	errPatternEmpty = errors.New("it is empty")
	errPatternLong  = errors.New("it is longer than 1024 bytes")
	errPatternSlash = errors.New("it has a slash, and names have none")
)

// pattern decides which rows match by their paths. A search asks it once for each directory, and then, if that does not decide, once
// for each name. So it need not build paths.
//
// A pattern with *, ? or [ is a glob, case-sensitive: on the name, or where it has a slash on the path (from the view's
// root if it starts with one, otherwise from any directory). ** spans directories, \ makes the next character literal, and {bam,gz} has alternatives.
// Any other pattern is a case-insensitive part of the name or, if it has a slash, of the path: both are folded (casefold), so that
// "é" is one character, however it is written.
//
// Example: for logs/*.gz the directories /logs/ and /a/logs/ are matchesByName, and others matchesNone. For "a/b" the directory
// /a/b/c/ is matchesAll, and /x/a/ is matchesByName: its entries match that begin with b.
type pattern interface {
	// directory says whether the entries of a directory ("/", "/a/b/") match.
	directory(parent string) directoryMatch
	// name reports whether an entry matches, in a directory ("/a/b/") that is matchesByName.
	name(parent, name string) bool
	// literal is a text that is part of the name of every match; nil if there is none.
	literal() *literal
	// needles are the same for search indexes, which can use several texts: every match has all texts of one of them. None: it may
	// have any name.
	needles() []*layer.Needle
	// inside is a directory, with a slash at its end, that all matches are below.
	inside() string
}

// directoryMatch is what a pattern says of the entries of a directory.
type directoryMatch uint8

const (
	matchesNone directoryMatch = iota
	matchesByName
	matchesAll
)

func compilePattern(s string) (pattern, error) {
	switch {
	case s == "":
		return nil, errPatternEmpty
	case len(s) > maxPattern:
		return nil, errPatternLong
	case strings.ContainsAny(s, "*?["):
		return compileGlob(s)
	}
	slash := strings.LastIndexByte(s, '/')
	if slash < 0 {
		return namePart{newFolded(s)}, nil
	}
	return pathPart{whole: newFolded(s), end: newFolded(s[:slash+1]), start: newFolded(s[slash+1:])}, nil
}

// compileGlob compiles what one glob stands for.
func compileGlob(s string) (pattern, error) {
	globs, err := glob.Expand(s)
	if err != nil {
		return nil, err
	}
	var all alternatives
	for _, g := range globs {
		all = append(all, compileExpanded(g))
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// compileExpanded compiles a glob without alternatives.
func compileExpanded(glob string) pattern {
	if !strings.Contains(glob, "/") {
		return newNameGlob(glob)
	}
	if glob[0] != '/' {
		glob = "**/" + glob
	}
	// The library does not accept ** twice in a row.
	segments := slices.CompactFunc(strings.Split(strings.TrimPrefix(glob, "/"), "/"), func(a, b string) bool {
		return a == "**" && b == "**"
	})
	last := segments[len(segments)-1]
	return pathGlob{
		dir:     strings.Join(segments[:len(segments)-1], "/"),
		last:    newNameGlob(last),
		subtree: last == "**",
	}
}

// namePart matches a case-insensitive part of the name.
type namePart struct{ part folded }

func (p namePart) directory(string) directoryMatch { return matchesByName }
func (p namePart) name(_, name string) bool        { return p.part.in(name) }

func (p namePart) literal() *literal {
	if !p.part.ascii {
		return nil
	}
	return newLiteral(p.part.part, true)
}

func (p namePart) needles() []*layer.Needle {
	n := &layer.Needle{}
	n.AddFolded(p.part.part)
	return []*layer.Needle{n}
}

func (p namePart) inside() string { return "/" }

// pathPart matches a case-insensitive part of the path. It has a slash, so it either lies within the path of the
// directory, or begins at the end of that path and continues in the name.
type pathPart struct{ whole, end, start folded }

func (p pathPart) directory(parent string) directoryMatch {
	switch {
	case p.whole.in(parent):
		return matchesAll
	case p.end.endOf(parent):
		return matchesByName
	}
	return matchesNone
}

func (p pathPart) name(_, name string) bool { return p.start.startOf(name) }
func (p pathPart) literal() *literal        { return nil } // a directory may match by itself
func (p pathPart) needles() []*layer.Needle { return nil }
func (p pathPart) inside() string           { return "/" }

// nameGlob matches the name.
type nameGlob struct {
	glob   string
	suffix string // every match ends with it
	exact  bool   // the glob is * and the suffix
}

func newNameGlob(glob string) nameGlob {
	suffix := glob[strings.LastIndexAny(glob, `*?[]\{}`)+1:]
	return nameGlob{glob: glob, suffix: suffix, exact: glob == "*"+suffix}
}

func (p nameGlob) directory(string) directoryMatch { return matchesByName }

func (p nameGlob) name(_, name string) bool {
	return strings.HasSuffix(name, p.suffix) && (p.exact || glob.Match(p.glob, name))
}

func (p nameGlob) literal() *literal { return literalOf(p.glob) }
func (p nameGlob) needles() []*layer.Needle {
	return []*layer.Needle{needleOf(p.glob)}
}
func (p nameGlob) inside() string { return "/" }

// pathGlob matches the path: the directory by one glob, the name by another.
type pathGlob struct {
	dir     string // without a slash at its ends; empty is the root
	last    nameGlob
	subtree bool // last is **: whatever lies below dir, at any depth
}

func (p pathGlob) directory(parent string) directoryMatch {
	path := strings.Trim(parent, "/")
	switch {
	case p.subtree && doublestar.MatchUnvalidated(strings.TrimPrefix(p.dir+"/**", "/"), path):
		return matchesAll
	case !p.subtree && doublestar.MatchUnvalidated(p.dir, path):
		return matchesByName
	}
	return matchesNone
}

func (p pathGlob) name(parent, name string) bool { return p.last.name(parent, name) }
func (p pathGlob) literal() *literal             { return p.last.literal() }
func (p pathGlob) needles() []*layer.Needle      { return p.last.needles() }

func (p pathGlob) inside() string {
	path := "/"
	for segment := range strings.SplitSeq(p.dir, "/") {
		if segment == "" || strings.ContainsAny(segment, `*?[]\{}`) {
			break
		}
		path += segment + "/"
	}
	return path
}

// folded is a text to find in any case, in whatever form its characters are written (casefold).
type folded struct {
	part  string // folded
	ascii bool
}

func newFolded(s string) folded {
	part := casefold.String(s)
	return folded{part: part, ascii: isASCII(part)}
}

func (f folded) in(s string) bool {
	switch {
	case !isASCII(s):
		return strings.Contains(casefold.String(s), f.part)
	case !f.ascii:
		return false
	case len(f.part) == 0:
		return true
	}
	first := f.part[0]
	other := first
	if first >= 'a' && first <= 'z' {
		other = first - 'a' + 'A'
	}
	for i := 0; i+len(f.part) <= len(s); i++ {
		if c := s[i]; (c == first || c == other) && beginsInAnyCase(s[i:], f.part) {
			return true
		}
	}
	return false
}

func (f folded) startOf(s string) bool {
	if !isASCII(s) {
		return strings.HasPrefix(casefold.String(s), f.part)
	}
	return f.ascii && beginsInAnyCase(s, f.part)
}

func (f folded) endOf(s string) bool {
	if !isASCII(s) {
		return strings.HasSuffix(casefold.String(s), f.part)
	}
	return f.ascii && len(s) >= len(f.part) && beginsInAnyCase(s[len(s)-len(f.part):], f.part)
}

func isASCII(s string) bool { return casefold.IndexNonASCII(s, 0) == len(s) }

// beginsInAnyCase reports whether s begins with a text of ASCII in lower case.
func beginsInAnyCase(s, part string) bool {
	if len(s) < len(part) {
		return false
	}
	for j := 0; j < len(part); j++ {
		c := s[j]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != part[j] {
			return false
		}
	}
	return true
}
