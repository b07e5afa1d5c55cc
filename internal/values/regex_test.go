package values

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRegexRefuses(t *testing.T) {
	for _, text := range []string{"", "(", "a)", "a)(b", "[z-a]", "*", `\1`, "(?=a)", "\xff", strings.Repeat("a", MaxRegex+1),
		"(.{1,100}){1,10}x{10}", "(?:(?:a{10}){10}){10}", `(?:\pL{50}){20}`, "a{1001}"} {
		if r, err := ParseRegex(text); err == nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
}

func TestRegexMatchesWholePaths(t *testing.T) {
	for _, c := range []struct {
		text, path     string
		want           bool
		prefix, suffix string
	}{
		{`.*\.bam`, "/a/x.bam", true, "", ".bam"},
		{`.*\.bam`, "/a/x.bam.bai", false, "", ".bam"},
		{`\.bam`, "/a/x.bam", false, ".bam", ".bam"},
		{`/lab/(x|y).*\.bam$`, "/lab/y/1.bam", true, "/lab/", ".bam"},
		{`^/lab/(x)y`, "/lab/xy", true, "/lab/xy", "/lab/xy"},
		{`/a|/b`, "/b", true, "/", ""},
		{`/a|/b`, "/bc", false, "/", ""},
		{`.*line`, "/new\nline", true, "", "line"},
		{`(?i).*\.BAM`, "/x.bam", true, "", ""},
		{`/\Qa.b`, "/a.b", true, "/a.b", "/a.b"},
		{`/\Qa.b`, "/axb", false, "/a.b", "/a.b"},
		{`/.`, "/\xff", true, "/", ""},
		{`/é?.x`, "/éé", false, "/", "x"},
		{`/`, "/", true, "/", "/"},
	} {
		r, err := ParseRegex(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		prefix, suffix := r.Fixed()
		if r.Match(c.path) != c.want || prefix != c.prefix || suffix != c.suffix {
			t.Errorf("%q matches %q: %v; it begins with %q and ends with %q", c.text, c.path, r.Match(c.path), prefix, suffix)
		}
	}
}

// TestRegexFixedTexts: whatever matches begins and ends as Fixed says, and the whole path decides.
func TestRegexFixedTexts(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b/", "/", ".", ".*", "(a|b/)", "[ab]", "x?", "(?i:a)", "\\.", "^", "$", "\\b", "a+", "b{2}", "\uFFFD", "|"})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(part, 1, 6).Draw(t, "text"), "")
		path := rapid.StringOfN(rapid.SampledFrom([]rune("abAB/.x\n\uFFFD")), 0, 8, -1).Draw(t, "path")
		if rapid.Bool().Draw(t, "not UTF-8") {
			path = strings.ReplaceAll(path, "\uFFFD", "\xff")
		}
		r, err := ParseRegex(text)
		if err != nil {
			t.Skip(err)
		}
		if want := regexp.MustCompile(`(?s)\A(?:` + text + `)\z`).MatchString(path); r.Match(path) != want {
			t.Fatalf("%q matches %q: %v", text, path, !want)
		}
		if prefix, suffix := r.Fixed(); r.Match(path) && !(strings.HasPrefix(path, prefix) && strings.HasSuffix(path, suffix)) {
			t.Fatalf("%q matches %q, which does not begin with %q or end with %q", text, path, prefix, suffix)
		}
	})
}
