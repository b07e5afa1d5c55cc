package query

import (
	"unicode/utf8"

	"github.com/fustor/fustor/internal/values"
)

// appendString appends s as a JSON string. Bytes that are not UTF-8 come out as one U+FFFD for each run of them, as
// values.PathFields has it; the exact bytes are in the member that ends in _b64.
func appendString(b []byte, s string) []byte {
	return append(appendText(append(b, '"'), s), '"')
}

// appendText is appendString without the quotes.
func appendText(b []byte, s string) []byte {
	plain := 0
	for plain < len(s) && isPlain[s[plain]] {
		plain++
	}
	b = append(b, s[:plain]...)
	if plain == len(s) {
		return b
	}
	return appendEscaped(b, s[plain:])
}

// isPlain has the bytes that JSON strings need not escape.
var isPlain = func() (plain [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	wasBad := false
	for i := 0; i < len(s); {
		c, bad := s[i], false
		switch {
		case isPlain[c]:
			b = append(b, c)
			i++
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < utf8.RuneSelf:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if bad = r == utf8.RuneError && n == 1; !bad || !wasBad {
				b = utf8.AppendRune(b, r)
			}
			i += n
		}
		wasBad = bad
	}
	return b
}

// appendSeconds appends ns since 1970 as Unix seconds: 1700001234500000000 is 1700001234.5.
func appendSeconds(b []byte, ns int64) []byte { return values.Seconds(ns).Append(b) }
