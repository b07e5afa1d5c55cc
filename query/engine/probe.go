package engine

import (
	"math/bits"
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

// in reports whether a text has the literal.
func (l *literal) in(text string) bool { return l.probe(text).next(0) < len(text) }

// inCoded reports whether a name may have the literal; where it says no, none has. The first of the names that have it at some
// place has the literal's last byte in its rest: the names after it share that with it. So either the literal is in a rest,
// or a rest begins with the end of it and the name's shared bytes end with its beginning.
func (l *literal) inCoded(names *layer.CodedNames) bool {
	if l.in(names.Rest) { // maybe across the end of a name
		return true
	}
	part := l.part
	if len(part) > 64 {
		return true
	}
	var splits [256]uint64 // by byte: bit i is set where the literal has it at i, but not for the first
	for i := 1; i < len(part); i++ {
		c := part[i]
		splits[c] |= 1 << i
		if l.fold && c >= 'a' && c <= 'z' {
			splits[c-'a'+'A'] |= 1 << i
		}
	}
	last := uint64(1) << (len(part) - 1)
	steps := 2 * len(names.Shared) // back through the names; beyond that, looking at them whole takes less
	for row, shared := range names.Shared {
		start := int(names.Starts[row])
		// Where the literal may go on with the first four bytes there, as far as it goes on for so long: mostly nowhere, so
		// that the next branch is foreseen. Bytes of the next name do no harm.
		at := ^uint64(0)
		if start+4 <= len(names.Rest) {
			next := names.Rest[start : start+4]
			at = splits[next[0]] & (splits[next[1]]>>1 | last) & (splits[next[2]]>>2 | last | last>>1) & (splits[next[3]]>>3 | last | last>>1 | last>>2)
		} else if at = last<<1 - 2; start == len(names.Rest) {
			at = 0
		}
		if at == 0 {
			continue
		}
		rest := names.Rest[start:names.Starts[row+1]]
		for ; at != 0; at &= at - 1 {
			i := bits.TrailingZeros64(at)
			if i <= int(shared) && len(part)-i <= len(rest) && l.equal(rest[:len(part)-i], part[i:]) && l.precedes(names, row, i, &steps) {
				return true
			}
		}
	}
	return false
}

// precedes reports whether the bytes that a name shares with the one before may end with the first i of the literal.
func (l *literal) precedes(names *layer.CodedNames, row, i int, steps *int) bool {
	end := int(names.Shared[row]) // up to there the name is as the names before
	for row--; i > 0; row-- {
		if *steps--; row < 0 || *steps < 0 {
			return true
		}
		shared := int(names.Shared[row])
		if shared >= end {
			continue
		}
		n := min(i, end-shared)
		rest, from := names.Rest[names.Starts[row]:names.Starts[row+1]], end-n-shared
		if from+n > len(rest) {
			return true
		}
		if !l.equal(rest[from:from+n], l.part[i-n:i]) {
			return false
		}
		i, end = i-n, end-n
	}
	return true
}

// equal compares a text with a piece of the literal.
func (l *literal) equal(s, piece string) bool {
	if l.fold {
		return folded{part: piece}.startOf(s)
	}
	return s == piece
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
