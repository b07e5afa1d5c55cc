package page

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// textPart is a part of a name as a page shows it: as text, or as an escape sequence for what readers cannot see or would misread: bytes
// that are not UTF-8, control characters, marks that change the direction of writing.
type textPart struct {
	Text string
	Raw  bool
}

// parts splits a name into text and escape sequences.
func parts(s string) (out []textPart) {
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			out = append(out, textPart{Text: plain.String()})
			plain.Reset()
		}
	}
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if unicode.IsPrint(r) && (r != utf8.RuneError || n > 1) {
			plain.WriteRune(r)
		} else {
			flush()
			out = append(out, textPart{Text: escape(r, s[:n]), Raw: true})
		}
		s = s[n:]
	}
	flush()
	return out
}

func escape(r rune, raw string) string {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		return fmt.Sprintf(`\x%02x`, raw[0])
	case r == '\n':
		return `\n`
	case r == '\t':
		return `\t`
	case r < ' ' || r == 0x7f:
		return fmt.Sprintf(`\x%02x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// readable is a name in one line of plain text.
func readable(s string) string {
	var b strings.Builder
	for _, p := range parts(s) {
		b.WriteString(p.Text)
	}
	return b.String()
}
