package match

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/values"
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
	for word, hint := range map[string]string{"": "how long ago", "soon": "how long ago", "2024-13-01": "how long ago", "@x": "how long ago", "1700000000": "write @1700000000 for Unix seconds",
		"0001-01-01": "how long ago", "-2h": "how long ago"} {
		if got, err := ParseTime(word, now); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q: %d, %v", word, got.Ns, err)
		}
	}
}

func TestFilter(t *testing.T) {
	named := func(names, not []string) (f Filter) {
		if err := f.SetNames(names, not); err != nil {
			t.Fatal(err)
		}
		return f
	}
	n := &client.Node{Path: "/a/{b}[1].go", Type: "file", Size: 1024, MtimeNs: 100, UID: 7, GID: 8, Owner: "alice", Group: "LAB\\Domain Users", Mode: 0o4755, Links: 2, Inode: "77",
		Allocated: 4096, CtimeNs: 200, BirthNs: 50e9}
	links := func(word string) *Links {
		l := &Links{}
		if err := l.UnmarshalText([]byte(word)); err != nil {
			t.Fatal(err)
		}
		return l
	}
	regex := func(text string) *values.Regex {
		r, err := values.ParseRegex(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	perm := func(word string) *values.Perm {
		p, err := values.ParsePerm(word)
		if err != nil {
			t.Fatal(err)
		}
		return &p
	}
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
		"owner":           {Filter{Owner: "7"}, true},
		"owner's name":    {Filter{Owner: "alice"}, true},
		"another's name":  {Filter{Owner: "bob"}, false},
		"other owner":     {Filter{Owner: "8"}, false},
		"group":           {Filter{Group: "8"}, true},
		"other group":     {Filter{Group: "7"}, false},
		"perm":            {Filter{Perm: perm("-4000")}, true},
		"other perm":      {Filter{Perm: perm("/022")}, false},
		"empty":           {Filter{Empty: true}, false},
		"links":           {Filter{Links: links("2")}, true},
		"more links":      {Filter{Links: links("+1")}, true},
		"no more links":   {Filter{Links: links("+2")}, false},
		"fewer links":     {Filter{Links: links("-3")}, true},
		"no fewer links":  {Filter{Links: links("-2")}, false},
		"inode":           {Filter{Inode: 77}, true},
		"other inode":     {Filter{Inode: 78}, false},
		"allocated":       {Filter{MinAllocated: &Size{4096}, MaxAllocated: &Size{4096}}, true},
		"less allocated":  {Filter{MinAllocated: &Size{4097}}, false},
		"more allocated":  {Filter{MaxAllocated: &Size{4095}}, false},
		"changed":         {Filter{ChangedAfter: &Time{199}, ChangedBefore: &Time{201}}, true},
		"changed before":  {Filter{ChangedAfter: &Time{200}}, false},
		"changed after":   {Filter{ChangedBefore: &Time{200}}, false},
		"born":            {Filter{BornAfter: &Time{50_999_999_999}, BornBefore: &Time{51e9}}, true},
		"born before":     {Filter{BornAfter: &Time{51e9}}, false},
		"born after":      {Filter{BornBefore: &Time{50_999_999_999}}, false},
		"glob":            {named([]string{"*.go"}, nil), true},
		"not the path":    {named([]string{"a*"}, nil), false},
		"braces":          {named([]string{`{b}?1?.go`}, nil), true},
		"alternatives":    {named([]string{`{{b},x}*`}, nil), true},
		"other braces":    {named([]string{`{c,x}*`}, nil), false},
		"several":         {named([]string{"x", "*.go"}, nil), true},
		"not":             {named(nil, []string{"x*", "*.go"}), false},
		"not another":     {named([]string{"*"}, []string{"x*"}), true},
		"regex":           {Filter{Regex: regex(`/a/.*\.go`)}, true},
		"regex of a part": {Filter{Regex: regex(`a/.*\.go`)}, false},
		"class":           {named([]string{`{[a-c]}*`}, nil), true},
	} {
		if got := c.filter.Match(n); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if (&Filter{}).SetNames([]string{"[a"}, nil) == nil {
		t.Error("a broken glob passed")
	}
}

// TestUnmeasured: an entry of which nothing is known matches no condition on its inode.
func TestUnmeasured(t *testing.T) {
	few, size := int64(0), &Size{0}
	for _, f := range []Filter{{Links: &Links{Least: &few}}, {MinAllocated: size}, {ChangedBefore: &Time{1}}, {BornBefore: &Time{math.MaxInt64}}, {Inode: 1}} {
		if f.Match(&client.Node{Path: "/a", Type: "file"}) {
			t.Errorf("%+v matches", f)
		}
	}
}

func TestEmpty(t *testing.T) {
	f := Filter{Empty: true}
	for n, want := range map[*client.Node]bool{
		{Type: "file"}:          true,
		{Type: "file", Size: 1}: false,
		{Type: "symlink"}:       false,
		{Type: "directory", Subtree: &client.Subtree{Directories: 1}}:            true,
		{Type: "directory", Subtree: &client.Subtree{Directories: 2}}:            false,
		{Type: "directory", Subtree: &client.Subtree{Directories: 1, Others: 1}}: false,
		{Type: "directory", Subtree: &client.Subtree{Directories: 1, Files: 1}}:  false,
	} {
		n.Path = "/a"
		if f.Match(n) != want {
			t.Errorf("%+v: not %v", n, want)
		}
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
