package engine

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/glob"

	"github.com/fustor/fustor/internal/event"
)

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"log", []string{"/log", "/a/LOGS", "/a/catalog.txt"}, []string{"/log/x", "/lo/g"}},
		{"straße", []string{"/STRASSE/Straße 1", "/STRASSE"}, []string{"/strase"}},
		{"strasse", []string{"/x/Straße 1"}, []string{"/Strase"}},
		{"ΣΊΣΥΦΟΣ", []string{"/x σίσυφος", "/Σίσυφος"}, []string{"/σισυφος"}},
		{"istanbul", []string{"/İstanbul", "/ISTANBUL", "/I\u0307stanbul"}, []string{"/ıstanbul"}},
		{"İSTANBUL", []string{"/x istanbul"}, nil},
		{"café", []string{"/cafe\u0301", "/CAFÉ.txt"}, []string{"/cafe"}},
		{"cafe\u0301/x", []string{"/Café/xy"}, []string{"/cafe/x"}},
		{"cafe", []string{"/Cafe 1"}, []string{"/café", "/cafe\u0301"}},
		{"*café*", []string{"/x café"}, []string{"/cafe\u0301", "/CAFÉ"}},
		{"ÄÖ", []string{"/xäöx"}, []string{"/ao"}},
		{"*.log", []string{"/x.log", "/a/.log"}, []string{"/x.LOG", "/x.log.gz", "/a.log/x"}},
		{"a?c", []string{"/abc", "/x/aéc", "/x/a\xffc"}, []string{"/ac", "/abbc"}},
		{"[ab]*", []string{"/a", "/bcd"}, []string{"/c", "/A"}},
		{"[!ab]*", []string{"/c"}, []string{"/a", "/b"}},
		{"a{b,c}*", []string{"/ab", "/x/acd"}, []string{"/a{b,c}d", "/ad"}},
		{"/{a,b}/**/*.{x,y}", []string{"/a/1.x", "/b/c/1.y"}, []string{"/c/1.x", "/a/1.z"}},
		{"*{a,/b/**}", []string{"/a", "/x/b/c/d"}, []string{"/b", "/c/d"}},
		{"a{b}*", []string{"/a{b}d"}, []string{"/ab"}},
		{"a{b,c}", []string{"/xa{B,c}d"}, []string{"/ab"}},
		{`a\{b*`, []string{"/a{bc"}, []string{"/ab"}},
		{`\**`, []string{"/*x", "/*"}, []string{"/x"}},
		{"**", []string{"/a", "/a/b"}, nil},
		{"**/config.yaml", []string{"/config.yaml", "/a/b/config.yaml"}, []string{"/a/xconfig.yaml", "/config.yaml/b"}},
		{"b/*.txt", []string{"/b/x.txt", "/a/b/x.txt"}, []string{"/b/c/x.txt", "/ab/x.txt", "/x.txt"}},
		{"/b/*.txt", []string{"/b/x.txt"}, []string{"/a/b/x.txt"}},
		{"/*", []string{"/x", "/y z"}, []string{"/x/y"}},
		{"/a/**/z?", []string{"/a/z1", "/a/b/z1", "/a/b/c/z1"}, []string{"/z1", "/b/a/z1"}},
		{"/a/**", []string{"/a/x", "/a/b/c"}, []string{"/b", "/b/a/x", "/ab/x"}},
		{"a/**", []string{"/a/x", "/q/a/b/c"}, []string{"/ba/x"}},
		{"/**", []string{"/a", "/a/b"}, nil},
		{"A/b", []string{"/a/b", "/x/a/bc", "/xa/b/c/d"}, []string{"/a/xb", "/ab"}},
		{"/a/", []string{"/a/x", "/q/A/y/z"}, []string{"/a", "/xa/b"}},
		{"\xff", []string{"/a\xffb"}, []string{"/a\xfeb", "/\uFFFD"}},
		{"é/x", []string{"/É/xy"}, []string{"/e/x"}},
	} {
		p, err := compilePattern(c.pattern)
		if err != nil {
			t.Fatalf("%s: %v", c.pattern, err)
		}
		matches := func(path string) bool {
			parent, name := event.Split(path)
			v := p.directory(parent)
			return v == matchesAll || v == matchesByName && p.name(parent, name)
		}
		for _, path := range c.yes {
			if !matches(path) {
				t.Errorf("%s does not match %q", c.pattern, path)
			}
		}
		for _, path := range c.no {
			if matches(path) {
				t.Errorf("%s matches %q", c.pattern, path)
			}
		}
	}
}

func TestPatternRefused(t *testing.T) {
	for pattern, want := range map[string]error{
		"": errPatternEmpty, "[a": glob.ErrSyntax, `*\`: glob.ErrSyntax, string(make([]byte, maxPattern+1)): errPatternLong,
	} {
		if _, err := compilePattern(pattern); !errors.Is(err, want) {
			t.Errorf("%.20q: %v, not %v", pattern, err, want)
		}
	}
}

// TestLiteral: a name that matches has the pattern's literal, and next finds the literal wherever it is.
func TestLiteral(t *testing.T) {
	for glob, want := range map[string]string{
		"*.log": ".log", "ab*cde?f": "cde", "[abc]*x": "x", `a\*bc*`: "bc", `[\]abc]y*`: "y", "x[!a]": "x",
	} {
		if l := literalOf(glob); l == nil || l.part != want {
			t.Errorf("%s: %v, not %q", glob, l, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		glob := rapid.StringOfN(rapid.SampledFrom([]rune(`aabb*?[]!^-\`)), 1, 8, -1).Draw(t, "glob")
		name := rapid.StringOfN(rapid.SampledFrom([]rune(`aabb]!^-[\`)), 1, 6, -1).Draw(t, "name")
		p, err := compilePattern("*" + glob)
		if err != nil || !p.name("/", name) {
			return
		}
		if l := p.literal(); l != nil && !strings.Contains(name, l.part) {
			t.Fatalf("%q matches %q, which lacks %q", "*"+glob, name, l.part)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SampledFrom([]rune("aAbBzZ0._"))
		text := rapid.StringOfN(letters, 0, 60, -1).Draw(t, "text")
		part := strings.ToLower(rapid.StringOfN(letters, 1, 4, -1).Draw(t, "part"))
		for _, fold := range []bool{true, false} {
			in := text
			if fold {
				in = strings.ToLower(text)
			}
			p := newLiteral(part, fold).finder(text, false)
			for at := 0; at < len(text); at++ {
				want := strings.Index(in[at:], part) + at
				if want < at {
					want = len(text)
				}
				if got := p.next(at); got != want {
					t.Fatalf("%q in %q from %d: %d, not %d (fold %v)", part, text, at, got, want, fold)
				}
			}
		}
	})
}
