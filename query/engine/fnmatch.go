package engine

import (
	"strings"
	"unicode/utf8"

	"github.com/fustor/fustor/internal/layer"
)

// fnmatch matches whole paths by the rules of Python's fnmatch, as clients of Fustor V2 write them: * and ? and [ cross slashes, \ is
// a plain character, and case counts. A [ without its ] is a plain character. A byte that is not UTF-8 is one character.
//
// Names alone decide little here: *sample* matches /sample-1/reads.bam. So a search takes one literal text of the pattern that lies in
// one component of every match. Either the name has it, and the search index knows where; or a directory above has it, and then the
// search looks for those directories first (fnmatch.directories) and reads what is below them.
type fnmatch struct {
	tokens []fnToken
	prefix string // every match begins with it
	// tail ends the name of every match; tailStarts: it is the whole name.
	tail       string
	tailStarts bool
	// piece lies in one component of every match, and may begin or end it; empty if tail is the whole name, or nothing is selective.
	piece                string
	pieceStart, pieceEnd bool
}

// fnToken is one character of a pattern.
type fnToken struct {
	kind fnKind
	char rune
	set  fnSet
}

type fnKind uint8

const (
	fnChar fnKind = iota
	fnAny
	fnStar
	fnClass
)

// selective is from how many bytes on a text is worth a search for directories: a search index holds trigrams.
const selective = 3

func compileFnmatch(s string) *fnmatch {
	f := &fnmatch{}
	text := decodeRunes(s)
	for i := 0; i < len(text); {
		c := text[i]
		i++
		switch c {
		case '*':
			if n := len(f.tokens); n == 0 || f.tokens[n-1].kind != fnStar {
				f.tokens = append(f.tokens, fnToken{kind: fnStar})
			}
		case '?':
			f.tokens = append(f.tokens, fnToken{kind: fnAny})
		case '[':
			set, next, ok := compileSet(text, i)
			if !ok {
				f.tokens = append(f.tokens, fnToken{char: c})
				break
			}
			f.tokens = append(f.tokens, fnToken{kind: fnClass, set: set})
			i = next
		default:
			f.tokens = append(f.tokens, fnToken{char: c})
		}
	}
	f.findTexts()
	return f
}

// findTexts finds the literal texts of the pattern that a search can use.
func (f *fnmatch) findTexts() {
	best := func(run string, first bool) {
		pieces := strings.Split(run, "/")
		for i, piece := range pieces {
			if first && i < len(pieces)-1 { // inside has it
				continue
			}
			if len(piece) >= selective && len(piece) > len(f.piece) {
				f.piece, f.pieceStart, f.pieceEnd = piece, i > 0, i < len(pieces)-1
			}
		}
	}
	var run []byte
	first := true
	for _, t := range f.tokens {
		if t.kind == fnChar {
			run = appendChar(run, t.char)
			continue
		}
		if first {
			f.prefix = string(run)
		}
		best(string(run), first)
		run, first = run[:0], false
	}
	if first {
		f.prefix = string(run)
	}
	f.tail = string(run)
	if slash := strings.LastIndexByte(f.tail, '/'); slash >= 0 {
		f.tail, f.tailStarts = f.tail[slash+1:], true
	}
	if f.tailStarts && f.tail != "" || first {
		f.piece = ""
		return
	}
	best(strings.TrimSuffix(string(run), f.tail), first)
}

// directory implements pattern.
func (f *fnmatch) directory(parent string) directoryMatch {
	if !strings.HasPrefix(parent, f.prefix) && !strings.HasPrefix(f.prefix, parent) {
		return matchesNone
	}
	if n := len(f.tokens); n > 0 && f.tokens[n-1].kind == fnStar && f.match(parent, "") {
		return matchesAll
	}
	return matchesByName
}

// name implements pattern.
func (f *fnmatch) name(parent, name string) bool {
	return strings.HasSuffix(name, f.tail) && (!f.tailStarts || len(name) == len(f.tail)) && f.match(parent, name)
}

func (f *fnmatch) literal() *literal { return newLiteral(f.tail, false) }

func (f *fnmatch) needles() []*layer.Needle {
	n := &layer.Needle{}
	n.Add(f.tail, f.tailStarts, true)
	return []*layer.Needle{n}
}

// pieceNeedle is what the names of matches have, unless they lie below one of the directories.
func (f *fnmatch) pieceNeedle() *layer.Needle {
	n := &layer.Needle{}
	n.Add(f.piece, f.pieceStart, f.pieceEnd)
	return n
}

func (f *fnmatch) inside() string {
	if i := strings.LastIndexByte(f.prefix, '/'); i > 0 && f.prefix[0] == '/' {
		return f.prefix[:i+1]
	}
	return "/"
}

// directories is the search for the directories whose names have the piece, so that anything below them may match; nil without a
// piece.
func (f *fnmatch) directories() *Search {
	if f.piece == "" {
		return nil
	}
	glob := escapeGlob(f.piece)
	if !f.pieceStart {
		glob = "*" + glob
	}
	if !f.pieceEnd {
		glob += "*"
	}
	above := strings.TrimSuffix(f.inside(), "/")
	if above == "" {
		above = "/"
	}
	s := newSearch(newNameGlob(glob), above)
	s.OfTypes("d")
	return s
}

// escapeGlob is a text as a glob that matches it alone.
func escapeGlob(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(`*?[]\{}`, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// match reports whether the path that parent and name make up matches. A star takes as little as it can, and one more character each
// time that the rest does not fit; only the last star has to be tried again.
func (f *fnmatch) match(parent, name string) bool {
	at := func(i int) (rune, int) {
		if i < len(parent) {
			return decodeRune(parent[i:])
		}
		return decodeRune(name[i-len(parent):])
	}
	end := len(parent) + len(name)
	token, i := 0, 0
	star, from := -1, 0 // the last star, and where what it does not take begins
	for i < end {
		if token < len(f.tokens) && f.tokens[token].kind == fnStar {
			star, from = token, i
			token++
			continue
		}
		r, n := at(i)
		if token < len(f.tokens) && f.tokens[token].takes(r) {
			token++
			i += n
			continue
		}
		if star < 0 {
			return false
		}
		_, n = at(from)
		from += n
		token, i = star+1, from
	}
	for token < len(f.tokens) && f.tokens[token].kind == fnStar {
		token++
	}
	return token == len(f.tokens)
}

func (t *fnToken) takes(r rune) bool {
	switch t.kind {
	case fnChar:
		return t.char == r
	case fnAny:
		return true
	case fnClass:
		return t.set.has(r)
	}
	return false
}

// fnSet is what stands in brackets.
type fnSet struct {
	ranges [][2]rune
	not    bool
}

func (s *fnSet) has(r rune) bool {
	for _, pair := range s.ranges {
		if r >= pair[0] && r <= pair[1] {
			return !s.not
		}
	}
	return s.not
}

// compileSet compiles the brackets whose contents begin at i. next is behind the ]; not ok: there is none.
func compileSet(text []rune, i int) (set fnSet, next int, ok bool) {
	end := i
	if end < len(text) && text[end] == '!' {
		end++
	}
	if end < len(text) && text[end] == ']' {
		end++
	}
	for end < len(text) && text[end] != ']' {
		end++
	}
	if end == len(text) {
		return set, 0, false
	}
	items := setItems(text[i:end])
	if len(items) > 0 && items[0] == (setItem{char: '!'}) {
		set.not = true
		items = items[1:]
	}
	for k := 0; k < len(items); k++ {
		low := items[k].char
		if k+2 < len(items) && items[k+1].dash {
			set.ranges = append(set.ranges, [2]rune{low, items[k+2].char})
			k += 2
			continue
		}
		set.ranges = append(set.ranges, [2]rune{low, low})
	}
	return set, end + 1, true
}

// setItem is one character of a set; dash: it makes a range of its neighbours.
type setItem struct {
	char rune
	dash bool
}

// setItems reads the contents of brackets as Python does (fnmatch.translate): which hyphens make ranges, and that a range whose end
// comes before its beginning is left out.
func setItems(s []rune) (items []setItem) {
	var chunks [][]rune
	begin, k := 0, 1
	if len(s) > 0 && s[0] == '!' {
		k = 2
	}
	for k < len(s) {
		if s[k] != '-' {
			k++
			continue
		}
		chunks = append(chunks, s[begin:k:k])
		begin, k = k+1, k+3
	}
	if rest := s[begin:]; len(rest) > 0 || len(chunks) == 0 {
		chunks = append(chunks, rest)
	} else {
		last := len(chunks) - 1
		chunks[last] = append(chunks[last], '-')
	}
	for k := len(chunks) - 1; k > 0; k-- {
		before, after := chunks[k-1], chunks[k]
		if before[len(before)-1] > after[0] {
			chunks[k-1] = append(before[:len(before)-1:len(before)-1], after[1:]...)
			chunks = append(chunks[:k], chunks[k+1:]...)
		}
	}
	for k, chunk := range chunks {
		if k > 0 {
			items = append(items, setItem{'-', true})
		}
		for _, c := range chunk {
			items = append(items, setItem{char: c})
		}
	}
	return items
}

// decodeRune is the first character of s. A byte that is not UTF-8 is a lone surrogate, as Python has it.
func decodeRune(s string) (rune, int) {
	if s[0] < utf8.RuneSelf {
		return rune(s[0]), 1
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return 0xdc00 | rune(s[0]), 1
	}
	return r, n
}

func decodeRunes(s string) (out []rune) {
	for i := 0; i < len(s); {
		r, n := decodeRune(s[i:])
		out = append(out, r)
		i += n
	}
	return out
}

// appendChar undoes decodeRune.
func appendChar(b []byte, r rune) []byte {
	if r >= 0xdc80 && r <= 0xdcff {
		return append(b, byte(r))
	}
	return utf8.AppendRune(b, r)
}
