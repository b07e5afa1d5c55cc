// Package glob says which names a glob matches, for the server's search and for the commands alike: *, ?, [a-z], [!a-z], [[:digit:]], \ before a
// character that is meant itself, and {bam,gz} for alternatives. Braces without a comma are plain characters, as in a shell. It is
// pure. The matching is doublestar's, which Expand translates to.
package glob

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

// maxAlternatives bounds what the braces of one glob stand for.
const maxAlternatives = 64

var (
	// ErrSyntax is of a glob that means nothing.
	ErrSyntax = errors.New(`every [ needs a ], and \ must not be the last character`)
	// ErrAlternatives is of a glob whose braces stand for too many.
	ErrAlternatives = fmt.Errorf("its braces stand for more than %d globs", maxAlternatives)
)

// plain makes braces plain characters; to the library they are alternatives.
var plain = strings.NewReplacer(`\\`, `\\`, `\{`, `\{`, `\}`, `\}`, "{", `\{`, "}", `\}`)

// Expand returns the globs that the braces of a glob stand for, for Match. It is an error if one of them is not a glob.
//
// Example: "*.{bam,b{a,b}i}" is *.bam, *.bai and *.bbi.
func Expand(glob string) (globs []string, err error) {
	if globs, err = Alternatives(glob); err != nil {
		return nil, err
	}
	for i, g := range globs {
		if globs[i], err = classes(plain.Replace(g)); err != nil {
			return nil, err
		}
		if !doublestar.ValidatePattern(globs[i]) {
			return nil, ErrSyntax
		}
	}
	return globs, nil
}

// Alternatives returns what the braces of a glob stand for, as they would be written without braces. Those are for Expand, not for
// Match.
func Alternatives(glob string) ([]string, error) { return expand(nil, glob) }

func expand(globs []string, s string) ([]string, error) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '{':
			choices, end := alternatives(s, i)
			if len(choices) < 2 {
				continue
			}
			for _, choice := range choices {
				var err error
				if globs, err = expand(globs, s[:i]+choice+s[end:]); err != nil {
					return nil, err
				}
			}
			return globs, nil
		}
	}
	if len(globs) == maxAlternatives {
		return nil, ErrAlternatives
	}
	return append(globs, s), nil
}

// alternatives are what stands between the commas of the brace at i; end is behind its end. None if it has no end.
func alternatives(s string, i int) (choices []string, end int) {
	depth, start := 0, i+1
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return append(choices, s[start:i]), i + 1
			}
		case ',':
			if depth == 1 {
				choices, start = append(choices, s[start:i]), i+1
			}
		}
	}
	return nil, 0
}

// Match reports whether a name matches one of Expand's globs.
func Match(glob, name string) bool {
	if utf8.ValidString(glob) {
		return doublestar.MatchUnvalidated(glob, name)
	}
	// The library takes all bytes that are not UTF-8 for the same character, so here each byte is one.
	return doublestar.MatchUnvalidated(bytewise(glob), bytewise(name))
}

// bytewise is a text with a character for each byte.
func bytewise(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}
