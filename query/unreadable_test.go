package query

import (
	"testing"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
)

// TestUnreadable: a directory says how many paths at or below it could not be read, and one beside them says nothing.
func TestUnreadable(t *testing.T) {
	f := newFixture(t)
	f.base(testView, treeOf(file("/a/b/x", 1), file("/a/none/old", 1), file("/ab/y", 1), file("/a.b/z", 1)))
	f.commit(testView, func(m *manifest.Manifest) {
		for _, path := range []string{"/a/none", "/a/b/\xff", "/a/none", "/a/b"} {
			m.Scan.Errors = append(m.Scan.Errors, manifest.ScanError{Path: []byte(path), Message: "permission denied"})
		}
		m.Scan.ErrorCount = 4
	})
	for path, want := range map[string]any{"/": 3.0, "/a": 3.0, "/a/b": 2.0, "/a/none": 1.0, "/ab": nil, "/a.b": nil, "/ab/y": nil} {
		if got := f.call("metadata", "path", path).is(200).object()["unreadable"]; got != want {
			t.Errorf("%s: %v paths, not %v", path, got, want)
		}
	}
	for _, call := range [][]string{{"tree", "only_path", "true", "max_depth", "1"}, {"tree", "max_depth", "1"}} {
		if got := f.call(call[0], call[1:]...).is(200).object()["unreadable"]; got != 3.0 {
			t.Errorf("%v: %v paths", call, got)
		}
	}
	for _, e := range f.call("list").is(200).object()["entries"].([]any) {
		if entry := e.(map[string]any); (entry["path"] == "/a") != (entry["unreadable"] != nil) {
			t.Errorf("in a list: %v", entry)
		}
	}
	root := unreadable{"": {"/"}}
	if n := root.below("", &evidence.Row{}); n != 1 {
		t.Errorf("the root itself is %d paths", n)
	}
}
