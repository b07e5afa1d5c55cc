package match

import (
	"testing"
	"time"

	"github.com/fustor/fustor/internal/client"
)

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("here", 2*3600)
	now := time.Date(2024, 5, 10, 12, 0, 0, 0, zone)
	for word, want := range map[string]time.Time{
		"7d":                   now.AddDate(0, 0, -7),
		"2h":                   now.Add(-2 * time.Hour),
		"90s":                  now.Add(-90 * time.Second),
		"2024-05-01":           time.Date(2024, 5, 1, 0, 0, 0, 0, zone),
		"2024-05-01 07:30":     time.Date(2024, 5, 1, 7, 30, 0, 0, zone),
		"2024-05-01T07:30:15":  time.Date(2024, 5, 1, 7, 30, 15, 0, zone),
		"2024-05-01T07:30:00Z": time.Date(2024, 5, 1, 7, 30, 0, 0, time.UTC),
		"@1700000000.25":       time.Unix(1700000000, 250_000_000),
		"@-1.5":                time.Unix(-2, 500_000_000),
	} {
		got, err := ParseTime(word, now)
		if err != nil || got.Ns != want.UnixNano() {
			t.Errorf("%s: %d, %v; want %d", word, got.Ns, err, want.UnixNano())
		}
	}
	for _, word := range []string{"", "yesterday", "2024-13-01", "@", "@x", "5", "-5", "0001-01-01", "-2h"} {
		got, err := ParseTime(word, now)
		if plain := word == "5" || word == "-5"; (err == nil) != plain { // Unix seconds, as the API takes them
			t.Errorf("%q: %d, %v", word, got.Ns, err)
		}
	}
}

func TestFilter(t *testing.T) {
	n := &client.Node{Path: "/a/{b}[1].go", Type: "file", Size: 1024, MtimeNs: 100, UID: 7}
	uid, other := uint32(7), uint32(8)
	for name, c := range map[string]struct {
		filter Filter
		want   bool
	}{
		"everything":      {Filter{}, true},
		"type":            {Filter{Types: "df"}, true},
		"other type":      {Filter{Types: "d"}, false},
		"min":             {Filter{MinSize: &Size{1024}}, true},
		"over min":        {Filter{MinSize: &Size{1025}}, false},
		"max":             {Filter{MaxSize: &Size{1024}}, true},
		"under max":       {Filter{MaxSize: &Size{1023}}, false},
		"newer, strictly": {Filter{NewerThan: &Time{100}}, false},
		"newer":           {Filter{NewerThan: &Time{99}}, true},
		"older, strictly": {Filter{OlderThan: &Time{100}}, false},
		"older":           {Filter{OlderThan: &Time{101}}, true},
		"owner":           {Filter{Owner: &uid}, true},
		"other owner":     {Filter{Owner: &other}, false},
		"glob":            {Filter{Name: "*.go"}, true},
		"not the path":    {Filter{Name: "a*"}, false},
		"braces":          {Filter{Name: `{b}?1?.go`}, true},
		"no alternatives": {Filter{Name: `{{b},x}*`}, false},
		"class":           {Filter{Name: `{[a-c]}*`}, true},
	} {
		if err := c.filter.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := c.filter.Match(n); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	broken := Filter{Name: "[a"}
	if broken.Check() == nil {
		t.Error("a broken glob passed")
	}
}

func TestSize(t *testing.T) {
	for word, want := range map[string]int64{"0": 0, "512": 512, "10k": 10240, "10M": 10 << 20, "1GiB": 1 << 30, "1.5G": 3 << 29} {
		var s Size
		if err := s.UnmarshalText([]byte(word)); err != nil || s.Bytes != want {
			t.Errorf("%s: %d, %v", word, s.Bytes, err)
		}
	}
	for _, word := range []string{"", "-1", "1X", "k", "1e3", "99999999999P"} {
		var s Size
		if err := s.UnmarshalText([]byte(word)); err == nil {
			t.Errorf("%q is %d", word, s.Bytes)
		}
	}
}
