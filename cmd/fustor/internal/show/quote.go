// Package show is how the reading commands print: names, sizes, times, tables, colours and JSON.
//
// What goes to a terminal is made for eyes and can never drive the terminal; what goes elsewhere is made for programs,
// names byte for byte. Nothing here decides which of the two it is: the caller says so.
package show

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quote is a name as GNU ls prints it on a terminal: as it is if all of it can be printed, otherwise quoted for a
// shell, 'like'$'\n”this'. Bytes that are not UTF-8 come out as \ooo.
func Quote(name string) string {
	if printable(name) {
		return name
	}
	var b strings.Builder
	mode := byte(0) // what is open: 0 nothing yet, p plain quotes, e $'…'
	open := func(want byte) {
		if mode == want {
			return
		}
		if mode != 0 || want == 'e' {
			if mode == 0 {
				b.WriteByte('\'')
			}
			b.WriteByte('\'')
		}
		if want == 'e' {
			b.WriteByte('$')
		}
		b.WriteByte('\'')
		mode = want
	}
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		switch {
		case r == '\'':
			open('p')
			b.WriteString(`'\''`)
		case printableRune(r, n):
			open('p')
			b.WriteString(name[i : i+n])
		default:
			open('e')
			for _, c := range []byte(name[i : i+n]) {
				b.WriteString(escape(c))
			}
		}
		i += n
	}
	b.WriteByte('\'')
	return b.String()
}

func printable(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if !printableRune(r, n) {
			return false
		}
		i += n
	}
	return true
}

func printableRune(r rune, n int) bool {
	return (r != utf8.RuneError || n > 1) && unicode.IsPrint(r)
}

func escape(c byte) string {
	const letters = "abtnvfr" // 7 to 13
	if c >= 7 && c <= 13 {
		return `\` + letters[c-7:c-6]
	}
	return fmt.Sprintf(`\%03o`, c)
}
