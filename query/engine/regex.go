package engine

import (
	"strings"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/values"
)

// ofRegex matches what a pattern matches if its whole path matches a regular expression, too.
//
// An index knows nothing of expressions. What a search uses are the texts that every match begins and ends with: /lab/.*\.bam is
// looked for below /lab/ alone, and in the row groups that have a name which ends with .bam.
type ofRegex struct {
	pattern
	regex *values.Regex
	// prefix begins the path of every match.
	prefix string
	// tail ends the name of every match; tailStarts: it is the whole name.
	tail       string
	tailStarts bool
}

// OfRegex restricts the search to entries whose paths match a regular expression.
func (s *Search) OfRegex(regex *values.Regex) {
	p := ofRegex{pattern: s.pattern, regex: regex}
	p.prefix, p.tail = regex.Fixed()
	if slash := strings.LastIndexByte(p.tail, '/'); slash >= 0 {
		p.tail, p.tailStarts = p.tail[slash+1:], true
	}
	s.pattern, s.anyName, s.literal, s.needles = p, false, p.literal(), p.needles()
}

func (p ofRegex) directory(parent string) directoryMatch {
	if !strings.HasPrefix(parent, p.prefix) && !strings.HasPrefix(p.prefix, parent) {
		return matchesNone
	}
	return min(p.pattern.directory(parent), matchesByName)
}

func (p ofRegex) name(parent, name string) bool {
	return strings.HasSuffix(name, p.tail) && (!p.tailStarts || len(name) == len(p.tail)) &&
		(p.pattern.directory(parent) == matchesAll || p.pattern.name(parent, name)) && p.regex.Match(parent+name)
}

func (p ofRegex) literal() *literal {
	if l := p.pattern.literal(); l != nil {
		return l
	}
	return newLiteral(p.tail, false)
}

func (p ofRegex) needles() []*layer.Needle {
	all := p.pattern.needles()
	if len(all) == 0 {
		all = []*layer.Needle{{}}
	}
	for _, n := range all {
		n.Add(p.tail, p.tailStarts, true)
	}
	return all
}

func (p ofRegex) inside() string {
	inside := p.pattern.inside()
	if slash := strings.LastIndexByte(p.prefix, '/'); slash >= 0 && strings.HasPrefix(p.prefix[:slash+1], inside) {
		return p.prefix[:slash+1]
	}
	return inside
}
