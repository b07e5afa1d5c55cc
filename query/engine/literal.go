package engine

import (
	"math/bits"
	"strings"
	"unicode/utf8"

	"github.com/fustor/fustor/internal/casefold"
	"github.com/fustor/fustor/internal/layer"
)

// literal is a text that is part of every name that a pattern matches. The names of a block lie one after the other in one string. A
// search for the literal in that string passes over all names without it at once.
//
// A name may also have it in its folded form only: "straße" has "strasse". Such names have a special character (casefold.Special), so a
// literal in any case is taken to be where a special character is, too, and the pattern decides.
type literal struct {
	part string // not empty; folded if fold
	fold bool   // in any case; part is ASCII
	rare int    // index in part of its rarest byte, which is searched for first
}

// rarity lists bytes of file names, the most common first. Other bytes are rare.
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

// literalOf is the longest text that every match of a glob must have; nil if there is none.
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

// classEnd is the end of the class that begins at i; the end of the glob if the class does not end.
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

// literalFinder looks for a literal in one text, from the front to the back.
type literalFinder struct {
	literal *literal
	text    string
	// where the rare byte comes next, in lower and in upper case; len(text) if not again
	lower, upper int
	special      int // where a special character comes next; len(text) if none does, or they do not matter
}

// finder begins to look for a literal in a text; ascii says that the text is known to be ASCII.
func (l *literal) finder(text string, ascii bool) *literalFinder {
	f := &literalFinder{literal: l, text: text, lower: -1, upper: -1, special: len(text)}
	if l.fold && !ascii {
		f.special = casefold.IndexSpecial(text, 0)
	}
	return f
}

// next is where the literal, or a special character, comes next, at or after an index; len(text) if none does.
func (p *literalFinder) next(at int) int {
	if p.special < at {
		p.special = casefold.IndexSpecial(p.text, at)
	}
	return min(p.special, p.nextLiteral(at))
}

func (p *literalFinder) nextLiteral(at int) int {
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
		if start := first - l.rare; l.beginsText(p.text[start:]) {
			return start
		}
		from = first + 1
	}
}

// in reports whether a text has the literal.
func (l *literal) in(text string) bool { return l.finder(text, false).next(0) < len(text) }

// inCoded reports whether one of the names may have the literal. False is exact, true is not.
//
// Names are stored front-coded: each as the number of leading bytes that it shares with the name before, and the rest. Of the names
// that have the literal at the same position, the first has the literal's last byte in its rest, as later names may share it. So
// either a rest has the whole literal, or the shared bytes of a name end with its beginning and the rest begins with its end.
//
// Example: "sample.bam", "samples.csv" are (0, "sample.bam"), (6, "s.csv"). The literal "les" is in no rest, but the second name
// shares 6 bytes that end with "le", and its rest begins with "s".
func (l *literal) inCoded(names *layer.CodedNames) bool {
	if l.fold && !isASCII(names.Rest) && hasSpecial(names) {
		return true
	}
	// From here on, only the literal itself counts.
	if l.finder(names.Rest, true).next(0) < len(names.Rest) { // perhaps across the end of a name
		return true
	}
	part := l.part
	if len(part) > 64 {
		return true
	}
	var splits [256]uint64 // by byte: bit i is set if the literal has that byte at i; i = 0 is left out
	for i := 1; i < len(part); i++ {
		c := part[i]
		splits[c] |= 1 << i
		if l.fold && c >= 'a' && c <= 'z' {
			splits[c-'a'+'A'] |= 1 << i
		}
	}
	last := uint64(1) << (len(part) - 1)
	steps := 2 * len(names.Shared) // how far mayEndWith goes back in all; beyond that, decoding the names is cheaper
	for row, shared := range names.Shared {
		start := int(names.Starts[row])
		// at has a bit for each i at which the literal may continue with the first four bytes of the rest, or with fewer if it
		// ends there. Mostly it has none, so the processor predicts the next branch well. Bytes of the next name do no harm.
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
			if i <= int(shared) && len(part)-i <= len(rest) && l.equal(rest[:len(part)-i], part[i:]) && l.mayEndWith(names, row, i, &steps) {
				return true
			}
		}
	}
	return false
}

// specials are the special characters as literals.
var specials = func() (all []*literal) {
	for _, r := range casefold.Special {
		all = append(all, newLiteral(string(r), false))
	}
	return all
}()

// hasSpecial reports whether a name may have a special character: in its rest, or with only its last bytes there.
func hasSpecial(names *layer.CodedNames) bool {
	if casefold.IndexSpecial(names.Rest, 0) < len(names.Rest) {
		return true
	}
	steps := 2 * len(names.Shared)
	for row := range names.Shared {
		rest := names.Rest[names.Starts[row]:names.Starts[row+1]]
		if rest == "" || utf8.RuneStart(rest[0]) {
			continue
		}
		for _, l := range specials {
			for i := 1; i < len(l.part); i++ {
				if i <= int(names.Shared[row]) && strings.HasPrefix(rest, l.part[i:]) && l.mayEndWith(names, row, i, &steps) {
					return true
				}
			}
		}
	}
	return false
}

// mayEndWith reports whether the bytes that a name shares with the name before may end with the first i bytes of the literal.
func (l *literal) mayEndWith(names *layer.CodedNames, row, i int, steps *int) bool {
	end := int(names.Shared[row]) // up to there the name equals the names before
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

// equal compares a text with a part of the literal.
func (l *literal) equal(s, piece string) bool {
	if l.fold {
		return beginsInAnyCase(s, piece)
	}
	return s == piece
}

// beginsText reports whether s begins with the literal.
func (l *literal) beginsText(s string) bool {
	if l.fold {
		return beginsInAnyCase(s, l.part)
	}
	return strings.HasPrefix(s, l.part)
}

// indexFrom is where c comes next at or after an index; len(s) if it does not.
func indexFrom(s string, from int, c byte) int {
	if from < len(s) {
		if i := strings.IndexByte(s[from:], c); i >= 0 {
			return from + i
		}
	}
	return len(s)
}

// needleOf are the texts that every match of a glob must have, and whether one begins or ends the name.
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
	if n := len(glob); n > 0 && glob[n-1] != ']' { // after a class that classEnd may have taken for too long, the end is not known
		cut(true)
	}
	return n
}
