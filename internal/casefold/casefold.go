// Package casefold writes names as a search in any case compares them: by Unicode's full case folding and in its composed
// normal form (NFC), so that ΣΊΣΥΦΟΣ is σίσυφος, "straße" is "STRASSE", and "café" is itself however its é is made up. It is
// pure. A name matches a text if its folded form has the folded text in it, as bytes; the engine compares names so, and
// layers index names so. A change here needs a new version of the search index.
package casefold

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// dotAbove is what makes İ of I. It is left out behind an i: İstanbul is istanbul.
const dotAbove = "\u0307"

// String is s folded. Bytes that are not UTF-8 stay as they are. Canonically equivalent texts have one folded form.
func String(s string) string {
	if folded, ok := quick(s); ok {
		return folded
	}
	if utf8.ValidString(s) {
		return valid(s)
	}
	var b strings.Builder
	start := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b.WriteString(valid(s[start:i]))
			b.WriteByte(s[i])
			start = i + 1
		}
		i += n
	}
	b.WriteString(valid(s[start:]))
	return b.String()
}

// valid folds what is UTF-8. The order is that of Unicode's canonical caseless matching: decompose, fold, normalize.
func valid(s string) string {
	s = cases.Fold().String(norm.NFD.String(s))
	return norm.NFC.String(strings.ReplaceAll(s, "i"+dotAbove, "i"))
}

// tabled is how many characters, from the first on, are folded by table: Latin, Greek and Cyrillic.
const tabled = 0x530

// table is each character folded; empty for marks, which may combine with what is before them.
var table = sync.OnceValue(func() *[tabled]string {
	var t [tabled]string
	for r := range rune(tabled) {
		if norm.NFC.PropertiesString(string(r)).CCC() == 0 {
			t[r] = valid(string(r))
		}
	}
	return &t
})

// quick folds what needs no look at neighbours; not ok: valid has to.
func quick(s string) (folded string, ok bool) {
	high := IndexNonASCII(s, 0)
	if high == len(s) {
		return strings.ToLower(s), true
	}
	t := table()
	b := make([]byte, 0, len(s)+4)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r < tabled && t[r] != "":
			b = append(b, t[r]...)
		case alone(r):
			b = append(b, s[i:i+n]...)
		default:
			return "", false
		}
		i += n
	}
	return string(b), true
}

// alone reports whether a character has no case and, without marks or jamo beside it, no other normal form: kana, ideographs and
// the syllables of Hangul.
func alone(r rune) bool {
	return r >= 0x3041 && r <= 0x30ff && r != 0x3099 && r != 0x309a || r >= 0x3400 && r <= 0x9fff || r >= 0xac00 && r <= 0xd7a3
}

// IndexNonASCII is where the first byte beyond ASCII is, at or after from; len(s) if there is none.
func IndexNonASCII(s string, from int) int {
	b := unsafe.Slice(unsafe.StringData(s), len(s)) // read alone; eight bytes of it are one load
	i := from
	for ; i+32 <= len(b); i += 32 {
		w := b[i : i+32 : i+32]
		if (word(w)|word(w[8:])|word(w[16:])|word(w[24:]))&highBits != 0 {
			break
		}
	}
	for ; i+8 <= len(b); i += 8 {
		if high := word(b[i:]) & highBits; high != 0 {
			return i + bits.TrailingZeros64(high)/8
		}
	}
	for i < len(b) && b[i] < utf8.RuneSelf {
		i++
	}
	return min(i, len(b))
}

const highBits = 0x8080808080808080

func word(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// Special are the characters beyond ASCII whose folded form has ASCII in it, or which fold away: only names with one of them can have
// a text of ASCII in their folded form that they do not have themselves, in whatever case.
var Special = [...]rune{'ß', 'İ', 'ŉ', 'ſ', 0x307, 0x37e, 'ẚ', 'ẞ', 0x1fef, 0x212a, 'ﬀ', 'ﬁ', 'ﬂ', 'ﬃ', 'ﬄ', 'ﬅ', 'ﬆ'}

// IsSpecial reports whether r is Special.
func IsSpecial(r rune) bool {
	switch {
	case r < 0x530:
		return r == 'ß' || r == 'İ' || r == 'ŉ' || r == 'ſ' || r == 0x307 || r == 0x37e
	case r < 0x2000:
		return r == 'ẚ' || r == 'ẞ' || r == 0x1fef
	}
	return r == 0x212a || r >= 'ﬀ' && r <= 'ﬆ'
}

// IndexSpecial is where the first special character is, at or after from; len(s) if there is none.
func IndexSpecial(s string, from int) int {
	for i := IndexNonASCII(s, from); i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if IsSpecial(r) {
			return i
		}
		if i += n; i < len(s) && s[i] < utf8.RuneSelf {
			i = IndexNonASCII(s, i)
		}
	}
	return len(s)
}
