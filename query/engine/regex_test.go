package engine

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/values"
)

// TestRegexLosesNothing: a search finds what the pattern finds and the expression matches, whatever it rules out by directories and
// fixed texts; the names have its literal, and the paths lie inside its directory.
func TestRegexLosesNothing(t *testing.T) {
	parts := rapid.SampledFrom([]string{"a", "ab", "/", "/a/", ".", ".*", "(a|b)", "[^/]*", "b?", "(?i:a)", "\\.b", "(/a|)", "$"})
	patterns := rapid.SampledFrom([]string{"*", "a", "*b", "/a/**", "a/b", "/a/b/*"})
	letters := rapid.StringOfN(rapid.SampledFrom([]rune("abA.")), 1, 3, -1)
	rapid.Check(t, func(t *rapid.T) {
		regex, err := values.ParseRegex(strings.Join(rapid.SliceOfN(parts, 1, 6).Draw(t, "regex"), ""))
		if err != nil {
			t.Skip(err)
		}
		pattern := patterns.Draw(t, "pattern")
		parent, name := "/", letters.Draw(t, "name")
		for _, d := range rapid.SliceOfN(letters, 0, 3).Draw(t, "directories") {
			parent += d + "/"
		}
		finds := func(s *Search) bool {
			verdict := s.pattern.directory(parent)
			return verdict == matchesAll || verdict == matchesByName && s.pattern.name(parent, name)
		}
		s, err := NewSearch(pattern, "/")
		if err != nil {
			t.Fatal(err)
		}
		want := finds(s) && regex.Match(parent+name)
		s.OfRegex(regex)
		if got := finds(s); got != want {
			t.Fatalf("%q with %s finds %q: %v", pattern, regex, parent+name, got)
		}
		if !want {
			return
		}
		if l := s.literal; l != nil && !l.in(name) {
			t.Fatalf("%q with %s finds %q, which lacks %q", pattern, regex, parent+name, l.part)
		}
		if inside := s.pattern.inside(); !strings.HasPrefix(parent, inside) {
			t.Fatalf("%q with %s finds %q, which is not inside %q", pattern, regex, parent+name, inside)
		}
	})
}
