package layer

import (
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

// The search index of a layer: which row groups may have a name with a given part. It is a matrix of bits. Each of the
// first gramSlots rows stands for the trigrams, pairs of bytes and single bytes with one hash; each of the partSlots
// after them for parts of partLen bytes, each of the bridgeSlots after those for bridges. A column stands for a row group,
// or for several small ones that follow each other. A bit is set if a name there has one of them. Names are looked at in
// lower case, with a slash, which no name has, before and after them. The rows are cut into searchPages pages, each
// compressed by itself.
//
// Trigrams are few and common: "cell_000123.png" has only such as every large row group has, though from other names.
// Parts of seven bytes tell these apart. They are so many that most of their bits are set; a name has some ten of them,
// all of which have to be.
//
// What it says is a superset: a group that it rules out has no such name, one that it leaves has to be looked at.

const (
	gramSlots = 1 << 15
	gramPages = 32
	partSlots = 15 << 11 // almost four bits for each row of a row group
	partPages = 120
	partLen   = 7

	searchSlots = gramSlots + partSlots + bridgeSlots
	searchPages = gramPages + partPages + bridgePages
	// minSearchColumns is from how many columns on a layer has the index: of fewer, it would save less than it costs.
	minSearchColumns = 4
	// fewColumns is how many are looked at rather than asked about again: the pages of parts that it takes may be as long.
	fewColumns = 8
)

// searchAreas are the rows of each kind and the pages that they are cut into, in order.
var searchAreas = [...]struct{ slots, pages int }{{gramSlots, gramPages}, {partSlots, partPages}, {bridgeSlots, bridgePages}}

// pageSlots are how many rows a page has, and which is its first.
func pageSlots(page int) (first, n int) {
	for _, a := range searchAreas {
		n = a.slots / a.pages
		if page < a.pages {
			return first + page*n, n
		}
		page -= a.pages
		first += a.slots
	}
	return first, n
}

// pageOf is the page that has a row.
func pageOf(slot uint32) (page int) {
	at := int(slot)
	for _, a := range searchAreas {
		if at < a.slots {
			return page + at/(a.slots/a.pages)
		}
		at -= a.slots
		page += a.pages
	}
	return page
}

// slotSet is one column: a bit per slot.
type slotSet [searchSlots / 64]uint64

func (s *slotSet) add(slot uint32) { s[slot>>6] |= 1 << (slot & 63) }

func (s *slotSet) merge(o *slotSet) {
	for i := range s {
		s[i] |= o[i]
	}
}

// pairSet has a bit for each pair of bytes that names have, the first byte lowest. It gathers what is then hashed once,
// as the pairs are few.
type pairSet [1 << 16 / 64]uint64

func (s *pairSet) add(pair uint32) { s[pair>>6&1023] |= 1 << (pair & 63) }

// addPairs adds pairs, and the bytes that are the second of one: all but the slash are.
func (s *slotSet) addPairs(pairs *pairSet) {
	for i, word := range pairs {
		for ; word != 0; word &= word - 1 {
			pair := uint32(64*i + bits.TrailingZeros64(word))
			for _, kind := range pairGrams {
				s.add(slotOf(pair | kind))
			}
			if second := pair >> 8; second != '/' {
				for _, kind := range byteGrams {
					s.add(slotOf(second | kind))
				}
			}
		}
	}
}

// pairGrams and byteGrams tell pairs and single bytes from trigrams, which have 24 bits. Each has several rows, all of
// which have to be set: a row is shared by many trigrams, and one that is in every row group would make a pair seem to be.
var (
	pairGrams = [...]uint32{1 << 24, 2 << 24}
	byteGrams = [...]uint32{3 << 24, 4 << 24, 5 << 24, 6 << 24}
)

// slotOf is the row of a trigram, its first byte lowest, or of less with one of pairGrams or byteGrams.
func slotOf(gram uint32) uint32 {
	h := gram * 0x9e3779b1
	h ^= h >> 15
	h *= 0x85ebca77
	return h >> 17
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

// partSlot is the row of a part, its first byte lowest.
func partSlot(part uint64) uint32 { return gramSlots + hashed(part, partSlots) }

// hashed is a number below n that follows from v.
func hashed(v uint64, n uint32) uint32 {
	v *= 0x9e3779b97f4a7c15
	v ^= v >> 32
	v *= 0xbf58476d1ce4e5b9
	return uint32(v >> 32 * uint64(n) >> 32)
}

// nextPart is the part that ends with c, after the one before.
func nextPart(part uint64, c byte) uint64 { return part>>8 | uint64(c)<<(8*(partLen-1)) }

// addNames adds what names have that lie one after the other.
func (s *slotSet) addNames(names string, offsets []uint32) {
	var pairs pairSet
	before, text := "", []byte(nil)
	for i := 0; i+1 < len(offsets); i++ {
		name := names[offsets[i]:offsets[i+1]]
		shared := 0
		for shared < len(name) && shared < len(before) && name[shared] == before[shared] {
			shared++
		}
		s.addName(&pairs, name, shared)
		s.addParts(name, shared)
		if !sameBridges(name, before, shared) {
			text = append(append(append(text[:0], '/'), name...), '/')
			s.addBridges(text)
		}
		before = name
	}
	s.addPairs(&pairs)
}

// addName adds the trigrams of a name whose first shared bytes were the beginning of the name before, and its pairs to pairs.
func (s *slotSet) addName(pairs *pairSet, name string, shared int) {
	gram, at := uint32('/')<<16, 0
	if shared > 2 { // all up to there were added, but for what ends the name
		at = shared
		gram = uint32(lowerASCII[name[at-1]])<<16 | uint32(lowerASCII[name[at-2]])<<8
	}
	high := byte(0)
	for i := at; i < len(name); i++ {
		c := name[i]
		high |= c
		gram = gram>>8 | uint32(lowerASCII[c])<<16
		pairs.add(gram >> 8)
		if i > 0 {
			s.add(slotOf(gram))
		}
	}
	if len(name) > 0 {
		end := endGram(name)
		s.add(slotOf(end))
		pairs.add(end >> 8)
	}
	for i := range at {
		high |= name[i]
	}
	if high >= utf8.RuneSelf {
		s.addText(pairs, strings.ToLower(name))
	}
}

// addParts adds the parts of a name whose first shared bytes were the beginning of the name before.
func (s *slotSet) addParts(name string, shared int) {
	if len(name)+2 < partLen {
		return
	}
	part := uint64(0)
	at, whole := shared-(partLen-1), shared // where to begin, and the end of the first part that is new
	if at < 0 {
		at, whole = 0, max(shared, partLen-2)
		part = nextPart(part, '/')
	}
	for ; at < len(name); at++ {
		part = nextPart(part, lowerASCII[name[at]])
		if at >= whole {
			s.add(partSlot(part))
		}
	}
	s.add(partSlot(nextPart(part, '/')))
}

// endGram is the trigram of a name's last two bytes and the slash after them.
func endGram(name string) uint32 {
	first := byte('/')
	if len(name) > 1 {
		first = lowerASCII[name[len(name)-2]]
	}
	return uint32(first) | uint32(lowerASCII[name[len(name)-1]])<<8 | uint32('/')<<16
}

// addText is addName of a name that is in lower case.
func (s *slotSet) addText(pairs *pairSet, name string) {
	text := "/" + name + "/"
	for i := 0; i+3 <= len(text); i++ {
		s.add(slotOf(gramAt(text, i)))
	}
	for i := 0; i+2 <= len(text); i++ {
		pairs.add(uint32(text[i]) | uint32(text[i+1])<<8)
	}
	part := uint64(0)
	for i := range len(text) {
		if part = nextPart(part, text[i]); i+1 >= partLen {
			s.add(partSlot(part))
		}
	}
	s.addBridges([]byte(text))
}

func gramAt(s string, i int) uint32 { return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 }

// Needle is what all names that are looked for have: the row groups whose names cannot have it need not be read. The
// zero Needle rules nothing out. It must not change while it is used.
type Needle struct {
	slots   []uint32 // of trigrams
	short   []uint32 // of pairs and single bytes, which not every search index has
	parts   []uint32 // of parts, which not every search index has
	bridges []uint32 // of bridges, which not every search index has
}

// Add says that names have a part, in whatever case; start and end say that they begin or end with it, both that it is
// all of them.
func (n *Needle) Add(part string, start, end bool) {
	// The index has names by the lower case of Unicode. A part that is not whole characters, or has the character that
	// stands for what is none, may match names of which it has other bytes: of those only plain ASCII is looked for.
	exact := utf8.ValidString(part) && !strings.ContainsRune(part, utf8.RuneError)
	if exact {
		part = strings.ToLower(part)
	}
	if part == "" {
		return
	}
	if start {
		part = "/" + part
	}
	if end {
		part += "/"
	}
	size, kinds, to := 3, []uint32{0}, &n.slots
	switch len(part) {
	case 2:
		size, kinds, to = 2, pairGrams[:], &n.short
	case 1:
		size, kinds, to = 1, byteGrams[:], &n.short
	}
	for i := 0; i+size <= len(part); i++ {
		gram, high := uint32(0), byte(0)
		for j := range size {
			c := lowerASCII[part[i+j]]
			gram |= uint32(c) << (8 * j)
			high |= c
		}
		if !exact && high >= utf8.RuneSelf {
			continue
		}
		for _, kind := range kinds {
			if slot := slotOf(gram | kind); !slices.Contains(*to, slot) {
				*to = append(*to, slot)
			}
		}
	}
	n.addParts(part, exact)
	n.addBridges(part, exact)
}

// addParts says that names have a part, with slashes where it is at an end.
func (n *Needle) addParts(part string, exact bool) {
	last, have := uint64(0), 0
	for i := range len(part) {
		c := lowerASCII[part[i]]
		if have++; !exact && c >= utf8.RuneSelf {
			have = 0
		}
		last = nextPart(last, c)
		if have < partLen {
			continue
		}
		if slot := partSlot(last); !slices.Contains(n.parts, slot) {
			n.parts = append(n.parts, slot)
		}
	}
}

// Empty reports whether n rules nothing out.
func (n *Needle) Empty() bool { return n == nil || len(n.slots)+len(n.short) == 0 }

// in are the rows of a search index that say something of n: the few that are asked first, and those that are asked
// where these leave much.
func (n *Needle) in(s *searchSection) (first, more []uint32) {
	first = slices.Clone(n.slots)
	if s.version >= shortVersion {
		first = append(first, n.short...)
	}
	if s.version >= partVersion {
		more = slices.Clone(n.parts)
	}
	if s.version >= bridgeVersion {
		more = append(more, n.bridges...)
	}
	// page by page
	slices.Sort(first)
	slices.Sort(more)
	return first, more
}

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

// count is how many columns are in the set.
func (s *GroupSet) count() (n int) {
	for _, b := range s.columns {
		n += bits.OnesCount8(b)
	}
	return n
}

// searchSection is what a layer's index says of its search index; none if span is 0.
type searchSection struct {
	span    int
	version byte // of the index
	pages   [searchPages]searchPage
}

// The versions of the index from which on its search index has pairs and single bytes, parts, and bridges.
const (
	shortVersion  = 3
	partVersion   = 4
	bridgeVersion = 5
)

// pagesIn is how many pages a search index has in a version of the index.
func pagesIn(version byte) int {
	switch {
	case version < partVersion:
		return gramPages
	case version < bridgeVersion:
		return gramPages + partPages
	}
	return searchPages
}

// searchPage is where a page is in the layer's object.
type searchPage struct {
	offset, bytes int64
	hash          uint64
}

func (s *searchSection) columns(groups int) int { return (groups + s.span - 1) / s.span }

// transposed is a page before compression: a row of bits for each of its slots, columns from the lowest bit on.
func transposed(columns []*slotSet, page int) []byte {
	width := (len(columns) + 7) / 8
	first, n := pageSlots(page)
	out := make([]byte, n*width)
	for c, set := range columns {
		bit := byte(1) << (c % 8)
		for w, word := range set[first/64 : (first+n)/64] {
			for ; word != 0; word &= word - 1 {
				out[(64*w+bits.TrailingZeros64(word))*width+c/8] |= bit
			}
		}
	}
	return out
}

// addPage is the reverse of transposed.
func addPage(columns []*slotSet, page int, plain []byte) {
	width := (len(columns) + 7) / 8
	first, n := pageSlots(page)
	for i := range n {
		slot := uint32(first + i)
		for j, b := range plain[i*width : (i+1)*width] {
			for ; b != 0; b &= b - 1 {
				if c := 8*j + bits.TrailingZeros8(b); c < len(columns) {
					columns[c].add(slot)
				}
			}
		}
	}
}
