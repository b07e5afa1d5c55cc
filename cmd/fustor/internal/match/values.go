package match

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/values"
)

// Size is a number of bytes as users write it; the words are those of the API: 512, 10M, 1.5GiB.
type Size struct{ Bytes int64 }

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	bytes, err := values.ParseSize(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a size: write bytes, or a number with k, M, G, T or P (powers of 1024)", text)
	}
	s.Bytes = bytes
	return nil
}

// Links is how many links users want: N, more than N (+N), or fewer (-N), as find has it.
type Links struct{ Least, Most *int64 }

// UnmarshalText reads N, +N or -N.
func (l *Links) UnmarshalText(text []byte) error {
	word := string(text)
	n, err := strconv.ParseUint(strings.TrimLeft(word, "+-"), 10, 32)
	if err != nil || len(word) > 1 && strings.ContainsAny(word[1:], "+-") {
		return fmt.Errorf("%q is not a number of links: write N, +N for more, or -N for fewer", word)
	}
	switch least, most := int64(n), int64(n); word[0] {
	case '+':
		least++
		l.Least = &least
	case '-':
		most = max(most-1, 0)
		l.Most = &most
	default:
		l.Least, l.Most = &least, &most
	}
	return nil
}

func (l *Links) match(links uint32) bool {
	return (l.Least == nil || int64(links) >= *l.Least) && (l.Most == nil || int64(links) <= *l.Most)
}

// Time is a point in time as users write it, in ns since 1970.
type Time struct{ Ns int64 }

// ParseTime reads a time in the forms of values.ParseTime. Dates are in the zone of now.
func ParseTime(word string, now time.Time) (Time, error) {
	ns, err := values.ParseTime(word, now)
	switch {
	case errors.Is(err, values.ErrBareNumber):
		return Time{}, fmt.Errorf("%q is a bare number: write @%s for Unix seconds, or %s", word, word, values.TimeForms)
	case err != nil:
		return Time{}, fmt.Errorf("%q is not a time: write %s", word, values.TimeForms)
	}
	return Time{ns}, nil
}
