package query

import (
	"strings"

	"github.com/fustor/fustor/internal/layer"
)

// literal is a text that every name has which a pattern matches. Names lie one after the other in a block, so that one
// search for the literal passes over all the names that lack it at once.
type literal struct {
	part string // not empty; lower case if fold
	fold bool   // in any case; part is ASCII
	rare int    // where in part the byte is that is looked for first
}

// rarity are bytes of file names, the common ones first; those that are not here are rare.
const rarity = "0e1a_.2ts3rion-4l5d6c7m89pguhfbyvwkxjzq"

func newLiteral(part string, fold bool) *literal {
	if part == "" {
		return nil
	}
	l := &literal{part: part, fold: fold}
	rank := func(c byte) int {
		if i := strings.IndexByte(rarity, c); i >= 0 {
			return i
		}
		return len(rarity)
	}
	for i := range len(part) {
		if rank(part[i]) > rank(part[l.rare]) {
			l.rare = i
		}
	}
	return l
}

// literalOf is the longest text that every match of a glob has; nil if there is none.
func literalOf(glob string) *literal {
	longest, start := "", 0
	cut := func(end, next int) {
		if end-start > len(longest) {
			longest = glob[start:end]
		}
		start = next
	}
	for i := 0; i < len(glob); i++ {
		switch glob[i] {
		case '*', '?':
			cut(i, i+1)
		case '\\':
			cut(i, i+2)
			i++
		case '[':
			end := classEnd(glob, i)
			cut(i, end)
			i = end - 1
		}
	}
	if start < len(glob) {
		cut(len(glob), len(glob))
	}
	return newLiteral(longest, false)
}

// classEnd is the end of the class that begins at i; that of the glob if in doubt.
func classEnd(glob string, i int) int {
	for i += 1; i < len(glob); i++ {
		switch glob[i] {
		case '\\':
			i++
		case ']':
			return i + 1
		}
	}
	return len(glob)
}

// probe looks for a literal in one text, from the front to the back.
type probe struct {
	literal *literal
	text    string
	// where the rare byte comes next in either case; len(text) if no more
	lower, upper int
}

func (l *literal) probe(text string) *probe {
	return &probe{literal: l, text: text, lower: -1, upper: -1}
}

// next is where the literal comes next, at or after a place; len(text) if it does not.
func (p *probe) next(at int) int {
	l := p.literal
	c := l.part[l.rare]
	hasUpper := l.fold && c >= 'a' && c <= 'z'
	for from := at + l.rare; ; {
		if p.lower < from {
			p.lower = indexFrom(p.text, from, c)
		}
		first := p.lower
		if hasUpper {
			if p.upper < from {
				p.upper = indexFrom(p.text, from, c-'a'+'A')
			}
			first = min(first, p.upper)
		}
		if first >= len(p.text) {
			return len(p.text)
		}
		if start := first - l.rare; l.at(p.text[start:]) {
			return start
		}
		from = first + 1
	}
}

// in reports whether rows from to to-1 of a block may have a name with the literal. It decodes the names for a moment.
func (l *literal) in(b *layer.Block, from, to int) (may bool, err error) {
	err = b.LookAtNames(func(text string, offsets []uint32) {
		end := int(offsets[to])
		may = l.probe(text[:end]).next(int(offsets[from])) < end
	})
	return may, err
}

// at reports whether s begins with the literal.
func (l *literal) at(s string) bool {
	if l.fold {
		return folded{part: l.part}.startOf(s)
	}
	return strings.HasPrefix(s, l.part)
}

// indexFrom is where c comes next at or after a place; len(s) if it does not.
func indexFrom(s string, from int, c byte) int {
	if from < len(s) {
		if i := strings.IndexByte(s[from:], c); i >= 0 {
			return from + i
		}
	}
	return len(s)
}

// needleOf are the texts that every match of a glob has, with where they stand if they begin or end it.
func needleOf(glob string) *layer.Needle {
	n, text, start := &layer.Needle{}, "", true
	cut := func(end bool) {
		n.Add(text, start, end)
		text, start = "", false
	}
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*', '?':
			cut(false)
		case '[':
			cut(false)
			i = classEnd(glob, i) - 1
		case '\\':
			if i++; i < len(glob) {
				text += glob[i : i+1]
			}
		default:
			text += glob[i : i+1]
		}
	}
	if n := len(glob); n > 0 && glob[n-1] != ']' { // a class that was taken for longer than it is may have hidden the end
		cut(true)
	}
	return n
}
