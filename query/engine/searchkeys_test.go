package engine

import (
	"testing"

	"github.com/fustor/fustor/internal/layer"
)

// TestKeysOfASearch: a search reads what lies below its path, or of that only what its pattern leaves; a later page begins behind the last hit, or
// at it where the hit is another view's.
func TestKeysOfASearch(t *testing.T) {
	key := func(parent, name string) layer.Key { return layer.Key{Parent: parent, Name: name} }
	for _, c := range []struct {
		what, pattern, path string
		after               *Position
		from, until         layer.Key
		some                bool
	}{
		{"everything", "*.txt", "/", nil, key("/", ""), key("0", ""), true},
		{"a directory", "*.txt", "/a", nil, key("/a/", ""), key("/a0", ""), true},
		{"a pattern within", "/a/b/*.txt", "/a", nil, key("/a/b/", ""), key("/a/b0", ""), true},
		{"a pattern around", "/a/*.txt", "/a/b", nil, key("/a/b/", ""), key("/a/b0", ""), true},
		{"a pattern of the path itself", "/a/*.txt", "/a", nil, key("/a/", ""), key("/a0", ""), true},
		{"a pattern elsewhere", "/b/*.txt", "/a", nil, key("/a/", ""), key("/a0", ""), false},
		{"after a hit", "*.txt", "/a", &Position{Key: key("/a/b/", "x")}, keyAfter(key("/a/b/", "x")), key("/a0", ""), true},
		{"at another view's hit", "*.txt", "/a", &Position{Key: key("/a/b/", "x"), Including: true}, key("/a/b/", "x"), key("/a0", ""), true},
		{"after the path itself", "*", "/a", &Position{Key: layer.KeyOf("/a")}, key("/a/", ""), key("/a0", ""), true},
		{"after something before", "*.txt", "/b", &Position{Key: key("/a/", "x")}, key("/b/", ""), key("/b0", ""), true},
	} {
		s, err := NewSearch(c.pattern, c.path)
		if err != nil {
			t.Fatal(err)
		}
		if from, until, some := s.keys(c.after); from != c.from || until != c.until || some != c.some {
			t.Errorf("%s: from %q until %q, %v; want from %q until %q, %v", c.what, from, until, some, c.from, c.until, c.some)
		}
	}
}
