package subtrees

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestReduce(t *testing.T) {
	for _, c := range []struct {
		dirs  string
		limit int
		want  string
	}{
		{"/", 4, "/"},
		{"/a /b/c", 4, "/a /b/c"},
		{"/a /a/b /a.b /a/b/c", 4, "/a.b /a"},
		{"/a/1 /a/2 /a/3 /b/x/y/z", 3, "/a /b"},
		{"/a/1/p /a/1/q /b", 2, "/a/1 /b"},
		{"/a /b /c", 2, "/"},
		{"/a/b/c/d/e/f", 1, "/a/b/c/d/e/f"},
	} {
		if got := strings.Join(Reduce(strings.Fields(c.dirs), c.limit), " "); got != c.want {
			t.Errorf("%s in %d: %s, want %s", c.dirs, c.limit, got, c.want)
		}
	}
}

// TestReduceLaws: whatever is reduced, each directory is in exactly one of at most limit subtrees.
func TestReduceLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dirs := rapid.SliceOfN(rapid.StringMatching(`(/[ab.]{1,2}){1,4}|/`), 1, 20).Draw(t, "dirs")
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		got := Reduce(dirs, limit)
		if len(got) > limit {
			t.Fatalf("%d subtrees, limit %d: %q", len(got), limit, got)
		}
		for _, d := range dirs {
			n := 0
			for _, s := range got {
				if Contains(s, d) {
					n++
				}
			}
			if n != 1 {
				t.Fatalf("%s is in %d of %q", d, n, got)
			}
		}
	})
}
