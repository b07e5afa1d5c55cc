package engine

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/fustor/fustor/internal/layer"
)

// maxPattern bounds a search pattern, in bytes.
const maxPattern = 1024

var (
	errPatternEmpty = errors.New("it is empty")
	errPatternLong  = errors.New("it is longer than 1024 bytes")
	errPatternGlob  = errors.New("as a glob, every [ needs a ], and \\ must not be the last character")
)

// pattern decides which rows match a search. It is asked once per directory and then once per name, so that a scan need
// not build paths.
//
// A pattern with *, ? or [ is a glob, case-sensitive: on the name, or where it has a slash on the path (from the view's
// root if it starts with one, otherwise from any directory). ** spans directories, \ takes the next character as it is.
// Any other pattern is a case-insensitive part of the name, or where it has a slash of the path.
type pattern interface {
	// directory says what the entries of a directory ("/", "/a/b/") need to match.
	directory(parent string) verdict
	// name reports whether an entry of a directory whose verdict was byName matches.
	name(name string) bool
	// literal is a text that the names of all matches have; nil if there is none.
	literal() *literal
	// needle is what the names of all matches have, for the search indexes; nil if there is nothing.
	needle() *layer.Needle
	// inside is the directory, with a slash at its end, that all matches are somewhere below.
	inside() string
}

type verdict uint8

const (
	none verdict = iota
	byName
	every
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

func compileGlob(s string) (pattern, error) {
	// Braces are plain characters here, alternatives to the library.
	glob := strings.NewReplacer(`\\`, `\\`, `\{`, `\{`, `\}`, `\}`, "{", `\{`, "}", `\}`).Replace(s)
	if !doublestar.ValidatePattern(glob) {
		return nil, errPatternGlob
	}
	if !strings.Contains(glob, "/") {
		return newNameGlob(glob), nil
	}
	if glob[0] != '/' {
		glob = "**/" + glob
	}
	// The library wants no two ** in a row.
	segments := slices.CompactFunc(strings.Split(strings.TrimPrefix(glob, "/"), "/"), func(a, b string) bool {
		return a == "**" && b == "**"
	})
	last := segments[len(segments)-1]
	return pathGlob{
		dir:     strings.Join(segments[:len(segments)-1], "/"),
		last:    newNameGlob(last),
		subtree: last == "**",
	}, nil
}

// namePart matches a case-insensitive part of the name.
type namePart struct{ part folded }

func (p namePart) directory(string) verdict { return byName }
func (p namePart) name(name string) bool    { return p.part.in(name) }

func (p namePart) literal() *literal {
	if p.part.fold != nil {
		return nil
	}
	return newLiteral(p.part.part, true)
}

func (p namePart) needle() *layer.Needle {
	n := &layer.Needle{}
	n.Add(p.part.part, false, false)
	return n
}

func (p namePart) inside() string { return "/" }

// pathPart matches a case-insensitive part of the path. As it has a slash, it either lies in the directory's path, or
// ends it and goes on in the name.
type pathPart struct{ whole, end, start folded }

func (p pathPart) directory(parent string) verdict {
	switch {
	case p.whole.in(parent):
		return every
	case p.end.endOf(parent):
		return byName
	}
	return none
}

func (p pathPart) name(name string) bool { return p.start.startOf(name) }
func (p pathPart) literal() *literal     { return nil } // a directory may match by itself
func (p pathPart) needle() *layer.Needle { return nil }
func (p pathPart) inside() string        { return "/" }

// nameGlob matches the name.
type nameGlob struct {
	glob   string
	suffix string // what every match ends in
	exact  bool   // the glob is * and the suffix
}

func newNameGlob(glob string) nameGlob {
	suffix := glob[strings.LastIndexAny(glob, `*?[]\{}`)+1:]
	return nameGlob{glob: glob, suffix: suffix, exact: glob == "*"+suffix}
}

func (p nameGlob) directory(string) verdict { return byName }

func (p nameGlob) name(name string) bool {
	return strings.HasSuffix(name, p.suffix) && (p.exact || doublestar.MatchUnvalidated(p.glob, name))
}

func (p nameGlob) literal() *literal     { return literalOf(p.glob) }
func (p nameGlob) needle() *layer.Needle { return needleOf(p.glob) }
func (p nameGlob) inside() string        { return "/" }

// pathGlob matches the path: the directory by one glob, the name by another.
type pathGlob struct {
	dir     string // without a slash at its ends; empty is the root
	last    nameGlob
	subtree bool // last is **: whatever lies below dir, at any depth
}

func (p pathGlob) directory(parent string) verdict {
	path := strings.Trim(parent, "/")
	switch {
	case p.subtree && doublestar.MatchUnvalidated(strings.TrimPrefix(p.dir+"/**", "/"), path):
		return every
	case !p.subtree && doublestar.MatchUnvalidated(p.dir, path):
		return byName
	}
	return none
}

func (p pathGlob) name(name string) bool { return p.last.name(name) }
func (p pathGlob) literal() *literal     { return p.last.literal() }
func (p pathGlob) needle() *layer.Needle { return p.last.needle() }

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

// folded is a part to look for without regard to case.
type folded struct {
	part string              // lower case
	fold func(string) string // of what is not plain ASCII; nil: startOf folds
}

func newFolded(s string) folded {
	if !utf8.ValidString(s) {
		return folded{part: s, fold: func(s string) string { return s }} // bytes have no case
	}
	f := folded{part: strings.ToLower(s)}
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			f.fold = strings.ToLower
		}
	}
	return f
}

func (f folded) in(s string) bool {
	if f.fold != nil {
		return strings.Contains(f.fold(s), f.part)
	}
	if len(f.part) == 0 {
		return true
	}
	first := f.part[0]
	other := first
	if first >= 'a' && first <= 'z' {
		other = first - 'a' + 'A'
	}
	for i := 0; i+len(f.part) <= len(s); i++ {
		if c := s[i]; (c == first || c == other) && f.startOf(s[i:]) {
			return true
		}
	}
	return false
}

func (f folded) startOf(s string) bool {
	if f.fold != nil {
		return strings.HasPrefix(f.fold(s), f.part)
	}
	if len(s) < len(f.part) {
		return false
	}
	for j := 0; j < len(f.part); j++ {
		c := s[j]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != f.part[j] {
			return false
		}
	}
	return true
}

func (f folded) endOf(s string) bool {
	if f.fold != nil {
		return strings.HasSuffix(f.fold(s), f.part)
	}
	return len(s) >= len(f.part) && f.startOf(s[len(s)-len(f.part):])
}
