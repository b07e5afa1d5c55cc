package query

import (
	"errors"
	"testing"

	"github.com/fustor/fustor/internal/event"
)

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"log", []string{"/log", "/a/LOGS", "/a/catalog.txt"}, []string{"/log/x", "/lo/g"}},
		{"straße", []string{"/STRASSE/Straße 1"}, []string{"/strasse"}},
		{"ÄÖ", []string{"/xäöx"}, []string{"/ao"}},
		{"*.log", []string{"/x.log", "/a/.log"}, []string{"/x.LOG", "/x.log.gz", "/a.log/x"}},
		{"a?c", []string{"/abc", "/x/aéc", "/x/a\xffc"}, []string{"/ac", "/abbc"}},
		{"[ab]*", []string{"/a", "/bcd"}, []string{"/c", "/A"}},
		{"[!ab]*", []string{"/c"}, []string{"/a", "/b"}},
		{"a{b,c}*", []string{"/a{b,c}d"}, []string{"/ab", "/ac"}},
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
			return v == every || v == byName && p.name(name)
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
		"": errPatternEmpty, "[a": errPatternGlob, `*\`: errPatternGlob, string(make([]byte, maxPattern+1)): errPatternLong,
	} {
		if _, err := compilePattern(pattern); !errors.Is(err, want) {
			t.Errorf("%.20q: %v, not %v", pattern, err, want)
		}
	}
}
