package layer

import (
	"math/bits"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/fustor/fustor/internal/casefold"
)

// The search index of a layer says which row groups may have a name with a given text in it. It is a matrix of bits:
//
//	                     column 0   column 1   column 2  …   a column is a row group, or a few small neighbours (span)
//	slot 0                   1          0          1         a slot is a row of the matrix: all trigrams, pairs and bytes with one hash
//	…
//	slot gramSlots           0          1          1         from here on: parts, the texts of partLen bytes
//	…
//	slot gramSlots+partSlots 0          0          1         from here on: bridges (bridge.go)
//	…
//
// A bit is set if a name in the column's row groups has a gram, part or bridge that hashes to the slot. Names are indexed
// in lower case, those beyond ASCII also folded, with a slash, which no name has, before and after them: so "/con" is the
// beginning of a name and "cm/" an end. The slots are cut into pages, each compressed by itself, so that a search reads the few pages of its slots.
//
// Why three kinds: trigrams are few and common. A large row group has all those of "cell_000123.png", from other names.
// Parts of seven bytes are rare; so many share a slot that most bits are set, but a name has ten of them and all have to
// be set. Bridges find names of which each part is common, but not in one name.
//
// Example: "config_000024.dcm" in a row group of column 2 is indexed as "/config_000024.dcm/" and sets in column 2
//
//	16 trigrams  /co con onf nfi … dcm cm/    beside them 2 slots for each pair (/c co on …), 4 for each byte
//	13 parts     /config config_ onfig_0 … 24.dcm/
//	 3 bridges   ig_.dc (two slots) nfig_.dc     the number between does not count
//
// A search for *fig_000024* asks for the slots of 7 trigrams (fig, ig_, … 024) and 4 parts (fig_000 … _000024), and for no
// bridge, as none is whole in it. It reads the pages of the trigrams and takes the columns that have all 7 bits. If that
// leaves more than fewColumns, it reads the pages of the parts and keeps those that have all 4 bits, too. The names of
// the row groups that are left are read and compared. The steps are Needle.Add and Layer.MayHave.
//
// The answer is a superset. A false positive (a bit that another name or another text of the same hash has set) costs
// reading a row group for nothing. A false negative would hide a file without an error, so there must be none: whatever
// a Needle asks for has to be in every name that matches. Add to the index freely; ask only for what is certain.

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
	// fewColumns is how many columns are read rather than narrowed by parts, whose pages may be as long as the columns.
	fewColumns = 8
)

// searchAreas are the slots of each kind and the pages that they are cut into, in order.
var searchAreas = [...]struct{ slots, pages int }{{gramSlots, gramPages}, {partSlots, partPages}, {bridgeSlots, bridgePages}}

// pageSlots are the first slot of a page, and how many it has.
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

// pageOf is the page that has a slot.
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

// slotSet is one column of the index while it is built: a bit per slot.
type slotSet [searchSlots / 64]uint64

func (s *slotSet) add(slot uint32) { s[slot>>6] |= 1 << (slot & 63) }

func (s *slotSet) merge(o *slotSet) {
	for i := range s {
		s[i] |= o[i]
	}
}

// pairSet has a bit for each pair of bytes that the names have, the first byte lowest. Pairs are few, so they are collected
// and then hashed once.
type pairSet [1 << 16 / 64]uint64

func (s *pairSet) add(pair uint32) { s[pair>>6&1023] |= 1 << (pair & 63) }

// addPairs adds pairs, and all bytes that are the second one of a pair: every byte of a name is.
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

// pairGrams and byteGrams distinguish pairs and single bytes from trigrams, which have 24 bits. Each has several slots, all
// of which have to be set: many trigrams share a slot, and one that is in every row group would make a pair seem to be.
var (
	pairGrams = [...]uint32{1 << 24, 2 << 24}
	byteGrams = [...]uint32{3 << 24, 4 << 24, 5 << 24, 6 << 24}
)

// slotOf is the slot of a trigram, its first byte lowest, or of a pair or byte with one of pairGrams or byteGrams.
func slotOf(gram uint32) uint32 {
	h := gram * 0x9e3779b1
	h ^= h >> 15
	h *= 0x85ebca77
	return h >> 17
}

// lowerASCII is each byte in lower case; bytes beyond ASCII stay as they are.
var lowerASCII = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// partSlot is the slot of a part, its first byte lowest.
func partSlot(part uint64) uint32 { return gramSlots + hashed(part, partSlots) }

// hashed is a number below n that depends on all of v.
func hashed(v uint64, n uint32) uint32 {
	v *= 0x9e3779b97f4a7c15
	v ^= v >> 32
	v *= 0xbf58476d1ce4e5b9
	return uint32(v >> 32 * uint64(n) >> 32)
}

// nextPart is the part that ends with c and overlaps the one before by all but one byte.
func nextPart(part uint64, c byte) uint64 { return part>>8 | uint64(c)<<(8*(partLen-1)) }

// addNames adds names that lie one after the other. What a name shares with the beginning of the one before is added already.
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
	if shared > 2 { // all trigrams up to there were added, but for the name's end
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
		s.addText(pairs, casefold.String(name))
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

// addText adds a folded name. Of a name beyond ASCII both forms are added: this one, which searches in any case ask for, and that of
// addName, which globs ask for.
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

// Needle is a set of texts that every name searched for has in it. Row groups whose names cannot have all of them need not
// be read. The zero Needle rules nothing out. It must not change while it is used.
type Needle struct {
	now    needleSlots
	before needleSlots // what to ask indexes of before foldVersion for
}

// needleSlots are the slots that a Needle asks for, by kind.
type needleSlots struct {
	grams   []uint32 // of trigrams
	short   []uint32 // of pairs and single bytes; indexes of before shortVersion have none
	parts   []uint32 // of parts; indexes of before partVersion have none
	bridges []uint32 // of bridges; indexes of before bridgeVersion have none
}

// Add says that every name has this text in it, byte for byte; start and end say that names begin or end with it, both
// that it is the whole name.
func (n *Needle) Add(part string, start, end bool) {
	if part == "" {
		return
	}
	if start {
		part = "/" + part
	}
	if end {
		part += "/"
	}
	// A text with incomplete characters, or with the replacement character, may match names with other bytes there: of such
	// a text only plain ASCII is asked for.
	if utf8.ValidString(part) && !strings.ContainsRune(part, utf8.RuneError) {
		n.now.add(part, always)
		n.before.add(strings.ToLower(part), always)
		return
	}
	ascii := func(i int) bool { return part[i] < utf8.RuneSelf }
	n.now.add(part, ascii)
	n.before.add(part, ascii)
}

func always(int) bool { return true }

// AddFolded says that every name has this text, which is folded, in its folded form (casefold).
func (n *Needle) AddFolded(part string) {
	if part == "" {
		return
	}
	n.now.add(part, always)
	// Earlier indexes have names beyond ASCII as they are, and in the lower case of Unicode. In both, only such bytes of the
	// text are certain that no other character folds to.
	unsure := foldedFrom(part)
	n.before.add(part, func(i int) bool { return part[i] < utf8.RuneSelf && !unsure[i] })
}

// foldedFrom marks the bytes of a folded text that may come of a special character rather than of that letter itself.
//
// Example: in "config" f and i are marked, as the name may have "ﬁ" there.
func foldedFrom(part string) []bool {
	unsure := make([]bool, len(part))
	mark := func(piece string) {
		for at := 1 - len(piece); at < len(part); at++ { // pieces may stand out at both ends
			from, to := max(at, 0), min(at+len(piece), len(part))
			if part[from:to] == piece[from-at:to-at] {
				for i := from; i < to; i++ {
					unsure[i] = true
				}
			}
		}
	}
	for _, piece := range fromSpecial() {
		mark(piece)
	}
	return unsure
}

// fromSpecial are the texts that special characters fold to, and "i", behind which a dot above is left out.
var fromSpecial = sync.OnceValue(func() []string {
	pieces := []string{"i"}
	for _, r := range casefold.Special {
		pieces = append(pieces, casefold.String(string(r)))
	}
	return pieces
})

// add adds the slots of a text between slashes where it is at an end of the name. Only bytes that are sure are asked for.
func (n *needleSlots) add(part string, sure func(i int) bool) {
	size, kinds, to := 3, []uint32{0}, &n.grams
	switch len(part) {
	case 2:
		size, kinds, to = 2, pairGrams[:], &n.short
	case 1:
		size, kinds, to = 1, byteGrams[:], &n.short
	}
	run := 0 // bytes in a row that are sure
	for i := range len(part) {
		if run++; !sure(i) {
			run = 0
		}
		if run < size {
			continue
		}
		gram := uint32(0)
		for j := range size {
			gram |= uint32(lowerASCII[part[i+1-size+j]]) << (8 * j)
		}
		for _, kind := range kinds {
			if slot := slotOf(gram | kind); !slices.Contains(*to, slot) {
				*to = append(*to, slot)
			}
		}
	}
	n.addParts(part, sure)
	n.addBridges(part, sure)
}

// addParts adds the parts of a text.
func (n *needleSlots) addParts(part string, sure func(i int) bool) {
	last, have := uint64(0), 0
	for i := range len(part) {
		if have++; !sure(i) {
			have = 0
		}
		last = nextPart(last, lowerASCII[part[i]])
		if have < partLen {
			continue
		}
		if slot := partSlot(last); !slices.Contains(n.parts, slot) {
			n.parts = append(n.parts, slot)
		}
	}
}

// Empty reports whether n rules nothing out.
func (n *Needle) Empty() bool { return n == nil || len(n.now.grams)+len(n.now.short) == 0 }

// in are the slots to ask a search index for: those that are asked first, and those that are asked where these leave many
// columns. Both are in order, so page by page.
func (n *Needle) in(s *searchSection) (first, more []uint32) {
	asked := &n.now
	if s.version < foldVersion {
		asked = &n.before
	}
	first = slices.Clone(asked.grams)
	if s.version >= shortVersion {
		first = append(first, asked.short...)
	}
	if s.version >= partVersion {
		more = slices.Clone(asked.parts)
	}
	if s.version >= bridgeVersion {
		more = append(more, asked.bridges...)
	}
	slices.Sort(first)
	slices.Sort(more)
	return first, more
}

// GroupSet is a set of row groups of a layer. The nil GroupSet has all of them.
type GroupSet struct {
	span    int // row groups per column
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

// count is how many columns the set has.
func (s *GroupSet) count() (n int) {
	for _, b := range s.columns {
		n += bits.OnesCount8(b)
	}
	return n
}

// searchSection is what a layer's index says about its search index; there is none if span is 0.
type searchSection struct {
	span    int
	version byte // of the index
	pages   [searchPages]searchPage
}

// The versions of the index from which on its search index has pairs and single bytes, parts, bridges, and names folded
// rather than in lower case.
const (
	shortVersion  = 3
	partVersion   = 4
	bridgeVersion = 5
	foldVersion   = 6
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

// searchPage is where a page is in the layer's object, and the xxHash64 of its bytes.
type searchPage struct {
	offset, bytes int64
	hash          uint64
}

func (s *searchSection) columns(groups int) int { return (groups + s.span - 1) / s.span }

// transposed is a page before compression: one row of bits for each of its slots, columns from the lowest bit on.
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
