package values

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestCleanPath(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "//": "/", "/a/b": "/a/b", "/a/b/": "/a/b", "//a///b//": "/a/b", "/./a/.": "/a", "/a b\n\xff": "/a b\n\xff", "/...": "/...",
	} {
		if got, err := CleanPath(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "a", "a/b", "..", "/..", "/a/../b", "/a/..", "/a\x00b", "/" + strings.Repeat("a", MaxText)} {
		if got, err := CleanPath(bad); err == nil {
			t.Errorf("%.20q became %q", bad, got)
		}
	}
}

func TestPathFieldsKeepEveryByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := string(rapid.SliceOf(rapid.Byte()).Draw(t, "path"))
		readable, coded := PathFields(path)
		if !utf8.ValidString(readable) {
			t.Fatalf("%q is not UTF-8", readable)
		}
		if coded == "" && readable != path {
			t.Fatalf("%q became %q", path, readable)
		}
		if coded != "" {
			if back, err := DecodeB64(coded); err != nil || back != path {
				t.Fatalf("%q came back as %q, %v", path, back, err)
			}
			if back, err := DecodeB64(base64.URLEncoding.EncodeToString([]byte(path))); err != nil || back != path {
				t.Fatalf("with padding: %q came back as %q, %v", path, back, err)
			}
		}
	})
}

func TestSecondsAreExact(t *testing.T) {
	for ns, want := range map[int64]string{
		0: "0.0", 1: "0.000000001", -1: "-0.000000001", 1_700_001_234_500_000_000: "1700001234.5", -500_000_000: "-0.5", -1_000_000_000: "-1.0",
		math.MaxInt64: "9223372036.854775807", math.MinInt64: "-9223372036.854775808",
	} {
		if got := Seconds(ns).String(); got != want {
			t.Errorf("%d: %s, want %s", ns, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64Range(-9_223_372_035e9, 9_223_372_034e9).Draw(t, "ns")
		body, err := json.Marshal(Seconds(ns))
		if err != nil {
			t.Fatal(err)
		}
		var back Seconds
		if err := json.Unmarshal(body, &back); err != nil || int64(back) != ns {
			t.Fatalf("%d became %s and %d, %v", ns, body, back, err)
		}
	})
}

func TestParseTimeAsPeopleWriteIt(t *testing.T) {
	zone := time.FixedZone("here", 2*3600)
	day := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 0, 0, 0, 0, zone)
	}
	now := time.Date(2024, 5, 31, 12, 30, 15, 5, zone)
	for text, want := range map[string]time.Time{
		"today": day(2024, 5, 31), "yesterday": day(2024, 5, 30),
		"2024-05": day(2024, 5, 1), "2024-05-01": day(2024, 5, 1), "20240501": day(2024, 5, 1), "19991231": day(1999, 12, 31),
		"2024-05-01 07:30":     day(2024, 5, 1).Add(450 * time.Minute),
		"2024-05-01T07:30":     day(2024, 5, 1).Add(450 * time.Minute),
		"2024-05-01 07:30:15":  day(2024, 5, 1).Add(450*time.Minute + 15*time.Second),
		"2024-05-01T07:30:15":  day(2024, 5, 1).Add(450*time.Minute + 15*time.Second),
		"2024-05-01T07:30:00Z": time.Date(2024, 5, 1, 7, 30, 0, 0, time.UTC),
		"1y":                   now.AddDate(-1, 0, 0),
		"12mo":                 now.AddDate(-1, 0, 0),
		"2mo":                  now.AddDate(0, -2, 0),
		"3mo":                  time.Date(2024, 2, 29, 12, 30, 15, 5, zone), // no 31 February
		"1mo":                  time.Date(2024, 4, 30, 12, 30, 15, 5, zone),
		"0y":                   now,
		"2w":                   now.Add(-14 * 24 * time.Hour),
		"5m":                   now.Add(-5 * time.Minute),
		"@1700000000":          time.Unix(1_700_000_000, 0),
		"@1700000000.25":       time.Unix(1_700_000_000, 250_000_000),
		"@-1.5":                time.Unix(-2, 500_000_000),
	} {
		if got, err := ParseTime(text, now); err != nil || got != want.UnixNano() {
			t.Errorf("%q: %s, %v; want %s", text, time.Unix(0, got).In(zone), err, want)
		}
	}
	for text, bare := range map[string]bool{"1700000000": true, "2024": true, "-5": true, "20241301": true, "soon": false, "": false} {
		if _, err := ParseTime(text, now); !errors.Is(err, ErrMalformed) || errors.Is(err, ErrBareNumber) != bare {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Unix(2_000_000_000, 0)
	for in, want := range map[string]int64{
		"@0": 0, "0.0": 0, "1700001234.5": 1_700_001_234_500_000_000, "-1.5": -1_500_000_000, "1970-01-02": 86400e9, "1970-01-01T00:00:01Z": 1e9,
		"1970-01-01T02:00:00.25+02:00": 250_000_000, "7d": (2_000_000_000 - 7*86400) * 1e9, "2w": (2_000_000_000 - 14*86400) * 1e9,
		"90s": (2_000_000_000 - 90) * 1e9, "1h30m": (2_000_000_000 - 5400) * 1e9,
	} {
		if got, err := ParseTime(in, now); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "x", "1e9", "+1", "--1", "1.", ".5", "1.1234567890", "NaN", "Inf", "7D", "-7d", "-90s", "1.5d", "99999999999999999999",
		"9999999999999", "2026-13-01", "0001-01-01", "9999-12-31", "999999999d", " 1", "0", "5", "-5", "2024", "1700000000", "20241301", "@", "@x", "@@1",
		"1000y", "70000y", "-1y", "1.5y", "y", "mo", "3 mo", "tomorrow"} {
		if got, err := ParseTime(bad, now); err == nil {
			t.Errorf("%q became %d", bad, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "1023": 1023, "1K": 1024, "1k": 1024, "10M": 10 << 20, "1.5G": 3 << 29, "2TiB": 2 << 40, "1PB": 1 << 50, "7B": 7,
		"9223372036854775807": math.MaxInt64} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "-1", "K", "1X", "1KK", "1.5", "1..5K", "1e3", "9223372036854775808", "9007199254740992P", "10 M", "BB", "1bb"} {
		if got, err := ParseSize(bad); err == nil {
			t.Errorf("%q became %d", bad, got)
		}
	}
}
