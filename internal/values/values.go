// Package values reads and writes the values that people type and JSON carries: paths, times, durations and sizes. The HTTP API,
// the commands and the config file all take the same forms, because they all read them here. It is pure, and knows no HTTP.
package values

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrMalformed is wrapped by the errors of ParseTime, ParseDuration and ParseSize.
var ErrMalformed = errors.New("malformed value")

// MaxText is how long a path, or any text in a request, may be, in bytes.
const MaxText = 64 << 10

// What to tell who wrote a value that cannot be read.
const (
	TimeForms = "how long ago (90s, 5m, 12h, 7d, 2w, 3mo, 1y), a date (2026-01-31, 2026-01, 20260131, today, yesterday), RFC 3339 (2026-01-31T12:00:00Z) or Unix seconds (@1700000000)"
	SizeForms = "bytes, or a number with K, M, G, T or P (powers of 1024), such as 10M"
)

// CleanPath brings a path into the form "/" or "/a/b". It takes away doubled and trailing slashes and "." segments,
// and refuses a path that does not begin with a slash, has a ".." segment or a NUL, or is longer than 64 KiB.
func CleanPath(path string) (string, error) {
	switch {
	case len(path) > MaxText:
		return "", fmt.Errorf("is longer than %d bytes", MaxText)
	case !strings.HasPrefix(path, "/"):
		return "", errors.New("does not begin with a slash")
	case strings.IndexByte(path, 0) >= 0:
		return "", errors.New("contains a NUL byte")
	}
	var b strings.Builder
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "", ".":
		case "..":
			return "", errors.New(`contains ".."`)
		default:
			b.WriteByte('/')
			b.WriteString(segment)
		}
	}
	if b.Len() == 0 {
		return "/", nil
	}
	return b.String(), nil
}

// PathFields are the two faces of a name or path in an answer: readable is valid UTF-8 (with U+FFFD for what is not),
// b64 is base64url of the bytes where readable does not say it all, and otherwise empty.
func PathFields(path string) (readable, b64 string) {
	if utf8.ValidString(path) {
		return path, ""
	}
	return strings.ToValidUTF8(path, "\uFFFD"), base64.RawURLEncoding.EncodeToString([]byte(path))
}

// DecodeB64 reads base64url with or without padding.
func DecodeB64(s string) (string, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(s, "="))
	return string(raw), err
}

// Seconds is a time or duration in ns that JSON shows as Unix seconds in decimal, exactly: 1700001234.5.
type Seconds int64

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) { return []byte(s.String()), nil }

// String is the decimal number, with at least one digit after the point and no more than needed.
func (s Seconds) String() string { return string(s.Append(nil)) }

// Append appends what String returns.
func (s Seconds) Append(b []byte) []byte {
	magnitude := uint64(s)
	if s < 0 {
		b = append(b, '-')
		magnitude = -magnitude
	}
	b = strconv.AppendUint(b, magnitude/1e9, 10)
	b = append(b, '.')
	fraction := magnitude % 1e9
	digits := [9]byte{}
	for i := 8; i >= 0; i-- {
		digits[i] = '0' + byte(fraction%10)
		fraction /= 10
	}
	n := 9
	for n > 1 && digits[n-1] == '0' {
		n--
	}
	return append(b, digits[:n]...)
}

// UnmarshalJSON reads what MarshalJSON writes, to the nanosecond.
func (s *Seconds) UnmarshalJSON(body []byte) error {
	ns, err := parseSeconds(string(body))
	if err != nil {
		return fmt.Errorf("%s is not a time in seconds: %w", body, err)
	}
	*s = Seconds(ns)
	return nil
}

// ParseDuration reads a duration that is not negative: Go's forms (90s, 1h30m), and whole days or weeks (7d, 2w).
func ParseDuration(text string) (time.Duration, error) {
	unit := time.Duration(0)
	switch {
	case strings.HasSuffix(text, "d"):
		unit = 24 * time.Hour
	case strings.HasSuffix(text, "w"):
		unit = 7 * 24 * time.Hour
	}
	if unit > 0 {
		n, err := strconv.ParseUint(text[:len(text)-1], 10, 32)
		if err != nil || n > uint64(math.MaxInt64/unit) {
			return 0, fmt.Errorf("%w: %q is not a duration", ErrMalformed, text)
		}
		return time.Duration(n) * unit, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%w: %q is not a duration", ErrMalformed, text)
	}
	return d, nil
}

// parseSeconds reads a plain decimal number with up to nine decimals; no exponent, no sign but a leading minus.
func parseSeconds(text string) (ns int64, err error) {
	bad := fmt.Errorf("%w: %q", ErrMalformed, text)
	digits, negative := strings.CutPrefix(text, "-")
	whole, fraction, hasPoint := strings.Cut(digits, ".")
	if whole == "" || len(fraction) > 9 || hasPoint && fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return 0, bad
	}
	s, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || s > math.MaxInt64/int64(time.Second)-1 {
		return 0, bad
	}
	f, err := strconv.ParseInt(fraction+strings.Repeat("0", 9-len(fraction)), 10, 64)
	if err != nil {
		return 0, bad
	}
	if ns = s*1e9 + f; negative {
		ns = -ns
	}
	return ns, nil
}

// ParseSize reads a number of bytes: digits, or a decimal number with a unit K, M, G, T or P (powers of 1024; KB, KiB
// and small letters too).
func ParseSize(text string) (int64, error) {
	bad := fmt.Errorf("%w: %q is not a size", ErrMalformed, text)
	number := strings.TrimRight(text, "KMGTPkmgtpiIbB")
	unit := strings.ToUpper(text[len(number):])
	shift := map[string]uint{"": 0, "B": 0}
	for i, u := range []string{"K", "M", "G", "T", "P"} {
		shift[u], shift[u+"B"], shift[u+"IB"] = uint(i+1)*10, uint(i+1)*10, uint(i+1)*10
	}
	by, known := shift[unit]
	if !known || number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, bad
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n > math.MaxInt64>>by {
			return 0, bad
		}
		return n << by, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || by == 0 || f*float64(uint64(1)<<by) >= math.MaxInt64 {
		return 0, bad
	}
	return int64(f * float64(uint64(1)<<by)), nil
}

// MaxSum is the largest sum of sizes, in bytes. It stands for every sum that is as large or larger: such a sum is saturated.
const MaxSum = math.MaxInt64

// Sum adds sizes that are not negative, up to MaxSum. So a sum of sums is that of all sizes, in whatever order they are added.
func Sum(a, b int64) int64 {
	if a > MaxSum-b {
		return MaxSum
	}
	return a + b
}

// Unwrapped is a sum that an earlier build may have let wrap around: what is negative did not fit.
func Unwrapped(sum int64) int64 {
	if sum < 0 {
		return MaxSum
	}
	return sum
}

// Product multiplies numbers that are not negative, up to MaxSum.
func Product(a, b int64) int64 {
	if high, low := bits.Mul64(uint64(a), uint64(b)); high == 0 && low < MaxSum {
		return int64(low)
	}
	return MaxSum
}
