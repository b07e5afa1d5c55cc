package query

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/viewconfig"
)

// reasons are the directories of an answer of /access, with the rights and the entry that decides.
func reasons(of map[string]any, member string) (all []string) {
	for _, d := range of[member].([]any) {
		d := d.(map[string]any)
		all = append(all, fmt.Sprintf("%v read=%v search=%v %v", d["path"], d["read"], d["search"], d["by"]))
	}
	return all
}

func TestAccessExplains(t *testing.T) {
	f := newFixture(t)
	all, _ := shared()
	f.base(testView, all)
	key := f.userKey(alice)
	asAlice := func(path string, more ...string) *answer {
		return f.do(http.MethodGet, viewURL("access", append([]string{"path", path}, more...)...), "", "X-API-Key", adminKey, access.AsHeader, "1001:100")
	}
	// An explanation agrees with what the other calls answer, for every path, and is the same for the user and the administrator who asks
	// as the user, as far as the user sees the path.
	for _, r := range all {
		path := r.Path()
		own := f.as(key, "access", "path", path).is(200).object()
		told := asAlice(path).is(200).object()
		visible := f.as(key, "metadata", "path", path).status == 200
		contents := r.Type == event.Directory && f.as(key, "list", "path", path).status == 200
		for who, a := range map[string]map[string]any{"alice": own, "an administrator": told} {
			if a["visible"] != visible || a["contents"] != contents || visible != (a["denied_at"] == nil) {
				t.Errorf("%s is told of %s: %v, but its metadata is shown: %v, its contents: %v", who, path, a, visible, contents)
			}
		}
		found := f.as(key, "search", "pattern", "*").is(200).object()["entries"].([]any)
		listed := path == "/"
		for _, e := range found {
			listed = listed || e.(map[string]any)["path"] == path
		}
		if own["listed"] != listed {
			t.Errorf("%s: listed is %v, find shows it: %v", path, own["listed"], listed)
		}
	}
	equal(t, "reasons of alice", reasons(f.as(key, "access", "path", "/closed/hidden-dir/run.bam").is(200).object(), "directories"),
		[]string{"/ read=true search=true other::r-x", "/closed read=false search=false other::---"})
	told := asAlice("/closed/hidden-dir/run.bam").is(200).object()
	equal(t, "reasons for an administrator", reasons(told, "directories"), []string{"/ read=true search=true other::r-x", "/closed read=false search=false other::---",
		"/closed/hidden-dir read=true search=true user::rwx"})
	if told["denied_at"] != "/closed" {
		t.Errorf("denied at %v", told["denied_at"])
	}
	equal(t, "by the group", reasons(f.as(key, "access", "path", "/project/data.log").is(200).object(), "directories"),
		[]string{"/ read=true search=true other::r-x", "/project read=true search=true group::r-x"})
	// What is hidden and what does not exist: the user gets one answer, the administrator two.
	hidden, missing := f.as(key, "access", "path", "/closed/hidden.log").is(200), f.as(key, "access", "path", "/closed/nothing000").is(200)
	equal(t, "hidden and missing", reasons(hidden.object(), "directories"), reasons(missing.object(), "directories"))
	asAlice("/closed/nothing").problem(404)
	f.as(key, "access", "path", "/home/nothing").problem(404)
	f.as(key, "access", "path", "/readme/x").problem(404)
	f.call("access", "path", "/").problem(400, "nothing to explain")

	// Root of a view that squashes root is nobody. By the rights of an earlier version and of today, the narrower ones count.
	rows, config := treeOf(all...), viewconfig.Default(testView)
	for i := range rows {
		if rows[i].Path() == "/project" {
			rows[i].Mode = 0o700
		}
	}
	setOpen(rows)
	f.delta(testView, change(all, rows))
	f.now = f.now.Add(2 * viewconfig.KnownFor)
	earlier := f.as(key, "access", "path", "/project/data.log", "version", "1").is(200).object()
	if earlier["visible"] != false || earlier["denied_at"] != "/project" {
		t.Errorf("what was open and is closed: %v", earlier)
	}
	equal(t, "rights of the version", reasons(earlier, "directories"), []string{"/ read=true search=true other::r-x", "/project read=true search=true group::r-x"})
	equal(t, "rights of today", reasons(earlier, "directories_today"), []string{"/ read=true search=true other::r-x", "/project read=false search=false group::---"})
	config.RootSquash = true
	if err := viewconfig.Save(t.Context(), f.st, config); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(2 * viewconfig.KnownFor)
	root := f.do(http.MethodGet, viewURL("access", "path", "/closed"), "", "X-API-Key", adminKey, access.AsHeader, "0:0").is(200).object()
	if root["root_squash"] != true || root["uid"] != 65534.0 || root["contents"] != false {
		t.Errorf("root, squashed: %v", root)
	}
}
