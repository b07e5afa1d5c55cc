package query

import (
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
)

// TestOwnersByName: searches and reports filter by what the hosts of the view call owners and groups, or by their numbers. Two uids may have
// one name, and a name that nobody knows is an error.
func TestOwnersByName(t *testing.T) {
	f := newFixture(t)
	a, b, c := file("/a", 1), file("/b", 2), file("/c", 3)
	a.UID, b.UID, c.UID = 1000, 2000, 3000
	a.GID, b.GID, c.GID = 10, 10, 20
	m := f.base(testView, treeOf(a, b, c))
	told := map[string][]event.OwnerName{
		"fs://nfs01/data": {{ID: 1000, Name: "alice", ResolvedAt: 1}, {ID: 2000, Name: "bob", ResolvedAt: 1}, {ID: 10, Group: true, Name: `LAB\Domain Users`, ResolvedAt: 1}},
		"fs://nfs02/data": {{ID: 3000, Name: "alice", ResolvedAt: 1}},
	}
	f.tell(m, "01KBS2M3QXTB1V6X2Y8Z9A0B1C", told)

	hits := func(params ...string) (paths []string) {
		for _, e := range f.call("search", append([]string{"pattern", "*", "type", "f"}, params...)...).is(200).object()["entries"].([]any) {
			paths = append(paths, e.(map[string]any)["path"].(string))
		}
		return paths
	}
	equal(t, "two uids of one name", hits("owner", "alice"), []string{"/a", "/c"})
	equal(t, "one", hits("owner", "bob"), []string{"/b"})
	equal(t, "a number", hits("owner", "2000"), []string{"/b"})
	equal(t, "a number that nobody has", hits("owner", "7"), nil)
	equal(t, "a group", hits("group", `LAB\Domain Users`), []string{"/a", "/b"})
	equal(t, "a number and a name", hits("owner", "1000", "group", `LAB\Domain Users`), []string{"/a"})
	equal(t, "both", hits("owner", "alice", "group", "10"), []string{"/a"})
	if n := f.call("reports/usage", "owner", "alice", "by", "group").is(200).object()["count"]; n != 2.0 {
		t.Errorf("a report has %v groups of alice's files, want 2", n)
	}
	f.call("search", "pattern", "*", "owner", "mallory").is(400)
	f.call("reports/largest", "group", "alice").is(400)
	f.call("search", "pattern", "*", "owner", "").is(400)
	f.call("search", "pattern", "*", "owner", "4294967296").is(400)

	// In a forest, a member whose hosts do not know the name has nothing of that owner.
	f.base("nfs09", treeOf(file("/z", 9)))
	f.forest("all", "nfs09", testView)
	equal(t, "a forest", memberRows(t, f.of("all", "search", "pattern", "*", "type", "f", "owner", "bob").is(200).object()["entries"].([]any)), []string{testView + ":/b"})
	f.of("all", "search", "pattern", "*", "owner", "mallory").is(400)
}

// tell publishes a version with the same rows as m, and names of owners in an object of that id.
func (f *fixture) tell(m *manifest.Manifest, id string, told map[string][]event.OwnerName) {
	f.t.Helper()
	names, _ := (*manifest.Names)(nil).With(told)
	body, err := names.Encode(layout.Names(m.View, id))
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.st.Put(f.t.Context(), layout.Names(testView, id), body); err != nil {
		f.t.Fatal(err)
	}
	f.commit(testView, func(next *manifest.Manifest) {
		next.Base, next.Deltas, next.Totals, next.Names = m.Base, m.Deltas, m.Totals, id
	})
}

// TestNewNamesAreNoOldAnswer: after an owner has another name, no call answers 304 to the ETag of an answer with the old one.
func TestNewNamesAreNoOldAnswer(t *testing.T) {
	f := newFixture(t)
	m := f.base(testView, treeOf(file("/d/a", 1)))
	name := func(id, name string) {
		f.tell(m, id, map[string][]event.OwnerName{"fs://host/data": {{ID: 1000, Name: name, ResolvedAt: 1}}})
	}
	name("01KBS2M3QXTB1V6X2Y8Z9A0B1C", "alice")
	calls := [][]string{{"metadata", "path", "/d/a"}, {"tree"}, {"list", "path", "/d"}, {"search", "pattern", "a"}, {"reports/usage"}, {"reports/largest"}}
	var tags []string
	for _, call := range calls {
		a := f.call(call[0], call[1:]...).is(200)
		tags = append(tags, a.header.Get("ETag"))
		if !strings.Contains(string(a.body), `"alice"`) || a.header.Get("ETag") == "" {
			t.Errorf("%v: %s", call, a.body)
		}
		f.get(viewURL(call[0], call[1:]...), "If-None-Match", a.header.Get("ETag")).is(304)
	}
	name("01KBS2M3QXTB1V6X2Y8Z9A0B1D", "carol")
	for i, call := range calls {
		if a := f.get(viewURL(call[0], call[1:]...), "If-None-Match", tags[i]).is(200); !strings.Contains(string(a.body), `"carol"`) {
			t.Errorf("%v: %s", call, a.body)
		}
	}
}
