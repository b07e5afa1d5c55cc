package layer

import (
	"slices"
	"unicode/utf8"
)

// Bridges help where each part of a name is common, but not all of them in one name. Example: a search for
// "label_000010.dcm" in row groups that have "label_000010.json" and "image_000010.dcm". A bridge spans a number: it is the
// end of what comes before the number and the beginning of what comes after it. Of "label_000010.dcm" the bridges are
// "el_" and "abel_", each with ".dc". All files of a series have the same bridges, so there are few of them.
//
// A boundary is a byte of ASCII that is neither a letter nor a digit, slashes included. A bridge goes from one boundary to
// another; each stretch between boundaries in it has a digit. It ends at the first full stop, or at the first boundary
// whose next two bytes are no digits. So a bridge depends on nothing outside it, and a part of a name has no bridge that
// the name lacks: a search for the part rules no such name out.

const (
	bridgeSlots = 8 << 10
	bridgePages = 32
)

// bridgeKinds are how many bytes of a bridge come before its first boundary. The short kind, the only one that a name like
// "v1_07.jpg" has, has two slots, distinguished by a mark: one slot may be that of a bridge which is everywhere.
var bridgeKinds = [...]struct {
	before int
	mark   uint64
}{{2, 0}, {2, 1 << 56}, {4, 0}}

const bridgeAfter = 2 // bytes after the last boundary

// What a byte is to a bridge.
const (
	inWord = iota
	inNumber
	boundary
)

var bridgeClass = func() (t [256]uint8) {
	for c := range utf8.RuneSelf {
		switch {
		case c >= '0' && c <= '9':
			t[c] = inNumber
		case c < 'A' || c > 'z' || c > 'Z' && c < 'a':
			t[c] = boundary
		}
	}
	return t
}()

// bridgeByte is a byte as bridges have it: in lower case, digits as 0.
var bridgeByte = func() [256]byte {
	t := lowerASCII
	for c := '0'; c <= '9'; c++ {
		t[c] = '0'
	}
	return t
}()

// appendBridges appends the slot of each bridge of a text.
func appendBridges[T string | []byte](to []uint32, text T) []uint32 {
	first := -1        // the first boundary after which all stretches have digits and no bridge has ended
	digits := uint8(0) // inNumber once there was one since the last boundary
	for i := range len(text) {
		if class := bridgeClass[text[i]]; class != boundary {
			digits |= class
			continue
		}
		if ends := digits != 0 && i+bridgeAfter < len(text) && endsBridge(text, i); ends && first >= 0 {
			for a := first; a < i; a++ {
				if bridgeClass[text[a]] == boundary {
					to = appendBridge(to, text, a, i)
				}
			}
			first = i
		} else if ends || digits == 0 || first < 0 {
			first = i
		}
		digits = 0
	}
	return to
}

// endsBridge reports whether a bridge that has come to boundary i ends there.
func endsBridge[T string | []byte](text T, i int) bool {
	return text[i] == '.' || bridgeClass[text[i+1]] != inNumber && bridgeClass[text[i+2]] != inNumber
}

// appendBridge appends the slots of the bridges from one boundary to another.
func appendBridge[T string | []byte](to []uint32, text T, first, last int) []uint32 {
	for _, kind := range bridgeKinds {
		if first < kind.before {
			break
		}
		bridge := uint64(0)
		for i := first - kind.before; i <= first; i++ {
			bridge = bridge<<8 | uint64(bridgeByte[text[i]])
		}
		for i := last; i <= last+bridgeAfter; i++ {
			bridge = bridge<<8 | uint64(bridgeByte[text[i]])
		}
		to = append(to, gramSlots+partSlots+hashed(bridge|kind.mark, bridgeSlots))
	}
	return to
}

// addBridges adds the bridges of a text that is a name between slashes.
func (s *slotSet) addBridges(text []byte) {
	var buffer [16]uint32
	for _, slot := range appendBridges(buffer[:0], text) {
		s.add(slot)
	}
}

// sameBridges reports whether a name has no bridges but those of the name before, with which it shares the first bytes: the
// next of a series mostly differs in digits alone.
func sameBridges(name, before string, shared int) bool {
	if len(name) != len(before) {
		return false
	}
	for i := shared; i < len(name); i++ {
		if a, b := name[i], before[i]; a != b && bridgeByte[a] != bridgeByte[b] {
			return false
		}
	}
	return true
}

// addBridges adds the bridges of a text.
func (n *needleSlots) addBridges(part string, sure func(i int) bool) {
	for from := 0; from < len(part); {
		to := from
		for to < len(part) && sure(to) {
			to++
		}
		for _, slot := range appendBridges(nil, part[from:to]) {
			if !slices.Contains(n.bridges, slot) {
				n.bridges = append(n.bridges, slot)
			}
		}
		from = to + 1
	}
}
