package layer

import (
	"math/bits"
	"strings"
	"unicode/utf8"
)

// The search index of a layer: which row groups may have a name with a given part. It is a matrix of bits. A row stands
// for the trigrams with one hash, of which there are searchSlots; a column for a row group, or for several small ones
// that follow each other. A bit is set if a name there has such a trigram. Names are looked at in lower case, with a
// slash, which no name has, before and after them. The rows are cut into searchPages pages, each compressed by itself.
//
// What it says is a superset: a group that it rules out has no such name, one that it leaves has to be looked at.

const (
	searchSlots = 1 << 15
	searchPages = 32
	pageSlots   = searchSlots / searchPages
	// minSearchColumns is from how many columns on a layer has the index: of fewer, it would save less than it costs.
	minSearchColumns = 4
)

// gramSet is one column: a bit per slot.
type gramSet [searchSlots / 64]uint64

func (s *gramSet) add(slot uint16) { s[slot>>6] |= 1 << (slot & 63) }

func (s *gramSet) merge(o *gramSet) {
	for i := range s {
		s[i] |= o[i]
	}
}

// slotOf is the row of a trigram: its first byte lowest.
func slotOf(gram uint32) uint16 {
	h := gram * 0x9e3779b1
	h ^= h >> 15
	h *= 0x85ebca77
	return uint16(h >> 17)
}

// lowerASCII is each byte in lower case, those beyond ASCII as they are.
var lowerASCII = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// addNames adds the trigrams of names that lie one after the other.
func (s *gramSet) addNames(names string, offsets []uint32) {
	before := ""
	for i := 0; i+1 < len(offsets); i++ {
		name := names[offsets[i]:offsets[i+1]]
		shared := 0
		for shared < len(name) && shared < len(before) && name[shared] == before[shared] {
			shared++
		}
		s.addName(name, shared)
		before = name
	}
}

// addName adds the trigrams of a name whose first shared bytes were the beginning of the name before.
func (s *gramSet) addName(name string, shared int) {
	gram, at := uint32('/')<<16, 0
	if shared > 2 { // all trigrams up to there were added, but for those that end the name
		at = shared
		gram = uint32(lowerASCII[name[at-1]])<<16 | uint32(lowerASCII[name[at-2]])<<8
	}
	high := byte(0)
	for i := at; i < len(name); i++ {
		c := name[i]
		high |= c
		gram = gram>>8 | uint32(lowerASCII[c])<<16
		if i > 0 {
			s.add(slotOf(gram))
		}
	}
	if len(name) > 0 {
		s.add(slotOf(endGram(name)))
	}
	for i := range at {
		high |= name[i]
	}
	if high >= utf8.RuneSelf {
		s.addText(strings.ToLower(name))
	}
}

// endGram is the trigram of a name's last two bytes and the slash after them.
func endGram(name string) uint32 {
	first := byte('/')
	if len(name) > 1 {
		first = lowerASCII[name[len(name)-2]]
	}
	return uint32(first) | uint32(lowerASCII[name[len(name)-1]])<<8 | uint32('/')<<16
}

// addText adds the trigrams of a name that is in lower case.
func (s *gramSet) addText(name string) {
	text := "/" + name + "/"
	for i := 0; i+3 <= len(text); i++ {
		s.add(slotOf(gramAt(text, i)))
	}
}

func gramAt(s string, i int) uint32 { return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 }

// Needle is what all names that are looked for have: the row groups whose names cannot have it need not be read. The
// zero Needle rules nothing out. It must not change while it is used.
type Needle struct{ slots []uint16 }

// Add says that names have a part, in whatever case; start and end say that they begin or end with it, both that it is all of them. A part of less
// than three bytes, the name's start and end counted as one each, says nothing.
func (n *Needle) Add(part string, start, end bool) {
	// The index has names by the lower case of Unicode. A part that is not whole characters, or has the character that
	// stands for what is none, may match names of which it has other bytes: of those only plain ASCII is looked for.
	exact := utf8.ValidString(part) && !strings.ContainsRune(part, utf8.RuneError)
	if exact {
		part = strings.ToLower(part)
	}
	if start {
		part = "/" + part
	}
	if end {
		part += "/"
	}
	for i := 0; i+3 <= len(part); i++ {
		a, b, c := lowerASCII[part[i]], lowerASCII[part[i+1]], lowerASCII[part[i+2]]
		if !exact && a|b|c >= utf8.RuneSelf {
			continue
		}
		slot := slotOf(uint32(a) | uint32(b)<<8 | uint32(c)<<16)
		if !contains(n.slots, slot) {
			n.slots = append(n.slots, slot)
		}
	}
}

func contains(slots []uint16, slot uint16) bool {
	for _, s := range slots {
		if s == slot {
			return true
		}
	}
	return false
}

// Empty reports whether n rules nothing out.
func (n *Needle) Empty() bool { return n == nil || len(n.slots) == 0 }

// GroupSet is a set of row groups of a layer. The nil GroupSet has all of them.
type GroupSet struct {
	span    int // row groups of a column
	columns []byte
}

// Has reports whether the set has row group i.
func (s *GroupSet) Has(i int) bool {
	if s == nil {
		return true
	}
	c := i / s.span
	return s.columns[c/8]>>(c%8)&1 == 1
}

// searchSection is what a layer's index says of its search index; none if span is 0.
type searchSection struct {
	span  int
	pages [searchPages]searchPage
}

// searchPage is where a page is in the layer's object.
type searchPage struct {
	offset, bytes int64
	hash          uint64
}

func (s *searchSection) columns(groups int) int { return (groups + s.span - 1) / s.span }

// transposed is a page before compression: a row of bits for each of its slots, columns from the lowest bit on.
func transposed(columns []*gramSet, page int) []byte {
	width := (len(columns) + 7) / 8
	out := make([]byte, pageSlots*width)
	words := len(columns[0]) / searchPages
	for c, set := range columns {
		bit := byte(1) << (c % 8)
		for w, word := range set[page*words : (page+1)*words] {
			for ; word != 0; word &= word - 1 {
				out[(64*w+bits.TrailingZeros64(word))*width+c/8] |= bit
			}
		}
	}
	return out
}

// addPage is the reverse of transposed.
func addPage(columns []*gramSet, page int, plain []byte) {
	width := (len(columns) + 7) / 8
	for i := range pageSlots {
		slot := uint16(page*pageSlots + i)
		for j, b := range plain[i*width : (i+1)*width] {
			for ; b != 0; b &= b - 1 {
				if c := 8*j + bits.TrailingZeros8(b); c < len(columns) {
					columns[c].add(slot)
				}
			}
		}
	}
}
