package values

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// RegexForms says how to write a Regex.
const RegexForms = `a regular expression of RE2 for the whole path from the view's root, as for find -regex: .*/run[0-9]+\.(bam|cram)`

const (
	// MaxRegex is how long a regular expression may be, bytes.
	MaxRegex = 1024
	// maxRegexSteps bounds what it stands for: a{1000} is a thousand steps. Each byte of a path takes a time of this order at most.
	maxRegexSteps = 1000
)

// Regex is a condition on a path: all of it matches a regular expression of RE2. A dot is any character, a line break too. A byte that
// is not UTF-8 is the character U+FFFD.
type Regex struct {
	text           string
	expression     *regexp.Regexp
	prefix, suffix string
}

// ParseRegex reads a regular expression. It wraps ErrMalformed.
func ParseRegex(text string) (*Regex, error) {
	if text == "" || len(text) > MaxRegex {
		return nil, fmt.Errorf("%w: a regular expression has 1 to %d bytes", ErrMalformed, MaxRegex)
	}
	parsed, err := syntax.Parse(text, syntax.Perl|syntax.DotNL)
	var wrong *syntax.Error
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("%w: %q is no regular expression: %s: %q", ErrMalformed, text, wrong.Code, wrong.Expr)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrMalformed, text, err)
	}
	if steps(parsed) > maxRegexSteps {
		return nil, fmt.Errorf("%w: the regular expression stands for more than %d characters and choices: repeat less", ErrMalformed, maxRegexSteps)
	}
	r := &Regex{text: text}
	// The text as it was given could end the group, or have an open \Q.
	if r.expression, err = regexp.Compile(`\A(?:` + parsed.String() + `)\z`); err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrMalformed, text, err)
	}
	r.prefix, _ = fixed(parsed, false)
	r.suffix, _ = fixed(parsed, true)
	return r, nil
}

// UnmarshalText is ParseRegex for flags.
func (r *Regex) UnmarshalText(text []byte) error {
	parsed, err := ParseRegex(string(text))
	if err != nil {
		return fmt.Errorf("%w; write %s", err, RegexForms)
	}
	*r = *parsed
	return nil
}

// String is the expression as it was given.
func (r *Regex) String() string { return r.text }

// Match reports whether a path matches.
func (r *Regex) Match(path string) bool { return r.expression.MatchString(path) }

// Fixed are texts that every path that matches begins and ends with. They may overlap.
func (r *Regex) Fixed() (prefix, suffix string) { return r.prefix, r.suffix }

// steps is about how many instructions an expression compiles to.
func steps(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n += steps(sub)
	}
	if re.Op == syntax.OpRepeat { // the parser allows a thousand repetitions, nested ones multiplied
		n *= max(re.Min, re.Max, 1)
	}
	return n
}

// fixed is a text that every match of an expression begins with, or ends with if atEnd is set. whole: it is all of the match.
//
// Example: /lab/(x|y).*\.bam begins with /lab/ and ends with .bam.
func fixed(re *syntax.Regexp, atEnd bool) (text string, whole bool) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return "", true
	case syntax.OpLiteral: // a replacement character also matches a byte that is not UTF-8
		if re.Flags&syntax.FoldCase != 0 || slices.Contains(re.Rune, utf8.RuneError) {
			return "", false
		}
		return string(re.Rune), true
	case syntax.OpCapture:
		return fixed(re.Sub[0], atEnd)
	case syntax.OpConcat:
		for i := range re.Sub {
			if atEnd {
				i = len(re.Sub) - 1 - i
			}
			part, all := fixed(re.Sub[i], atEnd)
			if atEnd {
				text = part + text
			} else {
				text += part
			}
			if !all {
				return text, false
			}
		}
		return text, true
	}
	return "", false
}
