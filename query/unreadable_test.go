package query

import (
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/manifest"
)

// TestUnreadable: a directory says how many paths at or below it could not be read, and one beside them says nothing; so does every
// answer with sums or lists, in its body and its header.
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
	reports := [][]string{{"reports/usage"}, {"reports/histogram"}, {"reports/duplicates"}, {"reports/growth"}, {"reports/largest"}, {"reports/empty-directories"},
		{"reports/odd"}, {"list"}, {"search", "pattern", "x"}, {"stats"}}
	for _, call := range append(reports, []string{"metadata"}, []string{"tree"}) {
		for path, want := range map[string]any{"/a": 3.0, "/ab": nil} {
			got := f.call(call[0], append(call[1:], "path", path)...).is(200)
			header := map[any]string{3.0: "3", nil: ""}[want]
			if got.object()["unreadable"] != want || got.header.Get("Fustor-Unreadable") != header {
				t.Errorf("%v of %s: %v paths, header %q", call, path, got.object()["unreadable"], got.header.Get("Fustor-Unreadable"))
			}
			if call[0] == "stats" || call[0] == "metadata" {
				continue // they have no stream
			}
			if got := f.get(viewURL(call[0], append(call[1:], "path", path)...), "Accept", ndjson).is(200).header.Get("Fustor-Unreadable"); got != header {
				t.Errorf("a stream of %v of %s: header %q", call, path, got)
			}
		}
	}
	for path, want := range map[string]string{"/a": "3 paths could not be read", "/a?q=x": "3 paths could not be read", "": "3 paths could not be read", "/a/none": "1 path could not be read", "/ab": ""} {
		page := string(f.get("/browse/"+testView+path, "Accept", "text/html").is(200).body)
		if strings.Contains(page, "could not be read") != (want != "") || !strings.Contains(page, want) {
			t.Errorf("the page of %s: %s", path, page)
		}
	}
}

// TestUnreadableInAForest: sums of a forest say how much of all members could not be read, and each row how much of its member.
func TestUnreadableInAForest(t *testing.T) {
	f := newFixture(t)
	f.base("nfs1", treeOf(file("/a/x", 1)))
	f.base("nfs2", treeOf(file("/a/x", 1)))
	for view, path := range map[string]string{"nfs1": "/", "nfs2": "/a/none"} { // the root itself, too
		f.commit(view, func(m *manifest.Manifest) {
			m.Scan.Errors = []manifest.ScanError{{Path: []byte(path), Message: "permission denied"}}
		})
	}
	f.forest("all", "nfs*")
	for _, call := range []string{"stats?", "reports/usage?", "reports/duplicates?", "list?", "metadata?"} {
		a := f.get("/api/v1/views/all/" + call + "path=/").is(200)
		if a.object()["unreadable"] != 2.0 || a.header.Get("Fustor-Unreadable") != "2" {
			t.Errorf("%s: %s", call, a.body)
		}
		if got := f.get("/api/v1/views/all/" + call + "path=/a").is(200).object()["unreadable"]; got != 1.0 {
			t.Errorf("%s of /a: %v", call, got)
		}
	}
	for _, page := range []string{"/browse/all", "/browse/all?q=x"} {
		if got := string(f.get(page, "Accept", "text/html").is(200).body); !strings.Contains(got, "1 path could not be read") {
			t.Errorf("%s: %s", page, got)
		}
	}
}
