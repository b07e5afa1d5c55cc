package glob

import "strings"

// posix are the classes of POSIX as the library writes them, in ASCII. No name has a slash, and none is here: it would make the glob one of
// paths.
var posix = map[string]string{
	"alnum": "0-9A-Za-z", "alpha": "A-Za-z", "blank": " \t", "cntrl": "\x00-\x1f\x7f", "digit": "0-9", "graph": `\!-~`, "lower": "a-z",
	"print": " -~", "punct": `\!-.:-@\[-` + "`" + `\{-~`, "space": " \t\n\v\f\r", "upper": "A-Z", "xdigit": "0-9A-Fa-f",
}

// classes writes a glob's bracket expressions, which are those of fnmatch, as the library has them: a ] that comes first is meant itself,
// and so are a - at either end and a [; [:digit:] is a class.
//
// Example: "[!]-]" is `[!\]\-]`.
func classes(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			b.WriteString(s[i : i+2])
			i++
		case s[i] == '[':
			end, err := class(&b, s, i)
			if err != nil {
				return "", err
			}
			i = end
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}

// class writes the bracket expression that begins at i, and returns where it ends.
func class(b *strings.Builder, s string, i int) (end int, err error) {
	b.WriteByte('[')
	i++
	if i < len(s) && (s[i] == '!' || s[i] == '^') {
		b.WriteByte(s[i])
		i++
	}
	for first := i; i < len(s); i++ {
		switch c := s[i]; {
		case c == ']' && i > first:
			b.WriteByte(']')
			return i, nil
		case c == '[' && strings.HasPrefix(s[i:], "[:"):
			name, _, closed := strings.Cut(s[i+2:], ":]")
			members, known := posix[name]
			if !closed || !known {
				return 0, ErrSyntax
			}
			b.WriteString(members)
			i += len(name) + 3
		case c == '\\' && i+1 < len(s):
			b.WriteString(s[i : i+2])
			i++
		case c == '-' && (i == first || strings.HasPrefix(s[i+1:], "]")), c == ']', c == '[', c == '!', c == '^':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return 0, ErrSyntax
}
