package v2api

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Text is a JSON string that stands for bytes, as Python's surrogateescape has it (PEP 383): a byte 0xXX that is no part of
// UTF-8 is the lone surrogate U+DCXX, written as an escape or in the three bytes that UTF-8 would have for it.
// Other lone surrogates stand for nothing and become a question mark.
type Text string

// UnmarshalJSON implements json.Unmarshaler. null leaves the text as it is.
func (t *Text) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if len(b) < 2 || b[0] != '"' {
		return wrongType(b, reflect.TypeFor[string]())
	}
	b = b[1 : len(b)-1]
	if plain(b) {
		*t = Text(b)
		return nil
	}
	*t = Text(unquote(b))
	return nil
}

// plain reports whether what stands between the quotes is the text itself.
func plain(b []byte) bool {
	for _, c := range b {
		if c == '\\' || c >= utf8.RuneSelf {
			return utf8.Valid(b) && !strings.Contains(string(b), `\`)
		}
	}
	return true
}

// unquote reads what stands between the quotes of a JSON string that is known to be well-formed.
func unquote(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		switch {
		case b[i] == '\\' && b[i+1] == 'u':
			r := hex4(b[i+2:])
			i += 6
			if utf16.IsSurrogate(r) && i+6 <= len(b) && b[i] == '\\' && b[i+1] == 'u' {
				if pair := utf16.DecodeRune(r, hex4(b[i+2:])); pair != utf8.RuneError {
					out = utf8.AppendRune(out, pair)
					i += 6
					continue
				}
			}
			out = appendRune(out, r)
		case b[i] == '\\':
			out = append(out, unescaped(b[i+1]))
			i += 2
		case i+3 <= len(b) && b[i] == 0xed && b[i+1] >= 0xa0 && b[i+1] < 0xc0 && b[i+2] >= 0x80 && b[i+2] < 0xc0:
			out = appendRune(out, 0xd000|rune(b[i+1]&0x3f)<<6|rune(b[i+2]&0x3f))
			i += 3
		default:
			out = append(out, b[i])
			i++
		}
	}
	return out
}

// appendRune appends a character, or what a lone surrogate stands for.
func appendRune(out []byte, r rune) []byte {
	switch {
	case r >= 0xdc80 && r <= 0xdcff:
		return append(out, byte(r))
	case utf16.IsSurrogate(r):
		return append(out, '?')
	}
	return utf8.AppendRune(out, r)
}

func hex4(b []byte) rune {
	n, err := strconv.ParseUint(string(b[:4]), 16, 32)
	if err != nil {
		return utf8.RuneError
	}
	return rune(n)
}

func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // a quote, a slash, a backslash
}

// MarshalJSON implements json.Marshaler, in ASCII alone, as Python's json does.
func (t Text) MarshalJSON() ([]byte, error) {
	out := append(make([]byte, 0, len(t)+2), '"')
	return append(t.Append(out), '"'), nil
}

// Append appends what stands between the quotes of the JSON string.
func (t Text) Append(out []byte) []byte {
	const digits = "0123456789abcdef"
	escape := func(r rune) {
		out = append(out, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
	}
	for i := 0; i < len(t); {
		if c := t[i]; c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(string(t[i:]))
		switch {
		case r == utf8.RuneError && n == 1:
			escape(0xdc00 | rune(t[i]))
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			escape(high)
			escape(low)
		default:
			escape(r)
		}
		i += n
	}
	return out
}

// wrongType is the error of a value that cannot be what its field is; encoding/json adds the field's name.
func wrongType(b []byte, want reflect.Type) error {
	what := "number"
	switch b[0] {
	case '"':
		what = "string"
	case '{':
		what = "object"
	case '[':
		what = "array"
	case 't', 'f':
		what = "bool"
	case 'n':
		what = "null"
	}
	if what == "number" && want.Kind() != reflect.String {
		what = "number " + excerpt(string(b))
	}
	return &json.UnmarshalTypeError{Value: what, Type: want}
}

// excerpt keeps messages about hostile input short.
func excerpt(s string) string {
	const limit = 60
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "?")
	}
	return strings.ToValidUTF8(s[:limit], "?") + "…"
}
