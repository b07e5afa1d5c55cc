package engine

import (
	"errors"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/glob"
	"github.com/fustor/fustor/internal/layer"
)

// alternatives match what one of several patterns matches.
type alternatives []pattern

func (a alternatives) directory(parent string) directoryMatch {
	best := matchesNone
	for _, p := range a {
		best = max(best, p.directory(parent))
	}
	return best
}

func (a alternatives) name(parent, name string) bool {
	return slices.ContainsFunc(a, func(p pattern) bool { return p.directory(parent) == matchesByName && p.name(parent, name) })
}

func (a alternatives) literal() *literal { return nil } // a name has that of one of them

func (a alternatives) needles() (all []*layer.Needle) {
	for _, p := range a {
		of := p.needles()
		if len(of) == 0 {
			return nil
		}
		all = append(all, of...)
	}
	return all
}

func (a alternatives) inside() string {
	inside := a[0].inside()
	for _, p := range a[1:] {
		for other := p.inside(); !strings.HasPrefix(other, inside); {
			inside = inside[:strings.LastIndexByte(strings.TrimSuffix(inside, "/"), '/')+1]
		}
	}
	return inside
}

// ofNames matches what a pattern matches if its name is one of some, and none of others.
type ofNames struct {
	pattern
	names alternatives // globs of names; none: any
	not   alternatives // globs of names
}

func (p ofNames) directory(parent string) directoryMatch {
	return min(p.pattern.directory(parent), matchesByName)
}

func (p ofNames) name(parent, name string) bool {
	return (len(p.names) == 0 || p.names.name(parent, name)) && !p.not.name(parent, name) &&
		(p.pattern.directory(parent) == matchesAll || p.pattern.name(parent, name))
}

func (p ofNames) literal() *literal {
	if len(p.names) == 1 {
		return p.names[0].literal()
	}
	return p.pattern.literal()
}

func (p ofNames) needles() []*layer.Needle {
	if len(p.names) > 0 {
		return p.names.needles()
	}
	return p.pattern.needles()
}

var errNameSlash = errors.New("a name has no slash")

// OfNames restricts the search to entries whose names match one of the globs in names, if there are any, and none of those in not.
func (s *Search) OfNames(names, not []string) error {
	if len(names) == 0 && len(not) == 0 {
		return nil
	}
	p := ofNames{pattern: s.pattern}
	for _, part := range []struct {
		globs []string
		to    *alternatives
	}{{names, &p.names}, {not, &p.not}} {
		for _, text := range part.globs {
			if err := part.to.add(text); err != nil {
				return &PatternError{err}
			}
		}
	}
	s.pattern, s.anyName, s.literal, s.needles = p, false, p.literal(), p.needles()
	return nil
}

// add adds a glob of names.
func (a *alternatives) add(text string) error {
	switch {
	case text == "":
		return errPatternEmpty
	case len(text) > maxPattern:
		return errPatternLong
	case strings.Contains(text, "/"):
		return errNameSlash
	}
	globs, err := glob.Expand(text)
	for _, g := range globs {
		*a = append(*a, newNameGlob(g))
	}
	return err
}
