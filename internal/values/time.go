package values

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrBareNumber is wrapped, beside ErrMalformed, by the error of ParseTime for a number that may be a year, days or seconds.
var ErrBareNumber = errors.New("a bare number is no time; write @ before Unix seconds")

// zonedForms are dates and times that name no zone, and RFC 3339.
var zonedForms = []string{time.RFC3339Nano, time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01", "20060102"}

// ParseTime reads a time as people write it, as ns since 1970. Dates without a zone are in that of now.
//
//	90s 5m 1h30m 7d 2w      so long before now; a day is 24 h
//	3mo 1y                  the same day and time so many months or years ago
//	today yesterday         when the day began
//	2024-05-01 20240501     when that day began; 2024-05: when that month began
//	2024-05-01 12:30[:00]   with a T, too
//	2024-05-01T12:30:00Z    RFC 3339
//	@1714521600 1714521600.5  Unix seconds: with an @, or with a point as JSON has them
func ParseTime(text string, now time.Time) (ns int64, err error) {
	bad := fmt.Errorf("%w: %q is not a time", ErrMalformed, text)
	if seconds, ok := strings.CutPrefix(text, "@"); ok {
		if ns, err = parseSeconds(seconds); err != nil {
			return 0, bad
		}
		return ns, nil
	}
	if t, ok := dateOf(text, now); ok {
		if t.Year() < 1678 || t.Year() > 2261 {
			return 0, bad // outside what int64 ns can say
		}
		return t.UnixNano(), nil
	}
	if ns, err = parseSeconds(text); err == nil {
		if !strings.Contains(text, ".") {
			return 0, fmt.Errorf("%w: %w", bad, ErrBareNumber)
		}
		return ns, nil
	}
	ago, err := ParseDuration(text)
	if err != nil {
		return 0, bad
	}
	return now.Add(-ago).UnixNano(), nil
}

// CountsFromNow reports whether a text that ParseTime reads is a time that depends on now, such as "7d", "1y" or "today".
func CountsFromNow(text string) bool {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	at, err := ParseTime(text, now)
	later, _ := ParseTime(text, now.AddDate(1, 1, 1))
	return err == nil && later != at
}

// dateOf reads what is counted in days of a calendar.
func dateOf(text string, now time.Time) (time.Time, bool) {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch text {
	case "today":
		return midnight, true
	case "yesterday":
		return midnight.AddDate(0, 0, -1), true
	}
	for _, form := range zonedForms {
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return t, true
		}
	}
	months := 1
	number, ok := strings.CutSuffix(text, "mo")
	if !ok {
		months = 12
		number, ok = strings.CutSuffix(text, "y")
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if !ok || err != nil {
		return time.Time{}, false
	}
	return monthsBefore(now, int(n)*months), true
}

// monthsBefore is the same day and time n months earlier, or the last day of a month that has no such day: a month before 31 March is
// 28 or 29 February.
func monthsBefore(t time.Time, n int) time.Time {
	first := time.Date(t.Year(), t.Month()-time.Month(n), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), last)-1)
}
