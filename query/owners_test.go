package query

import (
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
	none := (*manifest.Names)(nil)
	names, _ := none.With(map[string][]event.OwnerName{
		"fs://nfs01/data": {{ID: 1000, Name: "alice", ResolvedAt: 1}, {ID: 2000, Name: "bob", ResolvedAt: 1}, {ID: 10, Group: true, Name: `LAB\Domain Users`, ResolvedAt: 1}},
		"fs://nfs02/data": {{ID: 3000, Name: "alice", ResolvedAt: 1}},
	})
	body, err := names.Encode()
	if err != nil {
		t.Fatal(err)
	}
	const id = "01KBS2M3QXTB1V6X2Y8Z9A0B1C"
	if _, err := f.st.Put(t.Context(), layout.Names(testView, id), body); err != nil {
		t.Fatal(err)
	}
	f.commit(testView, func(next *manifest.Manifest) {
		next.Base, next.Deltas, next.Totals, next.Names = m.Base, m.Deltas, m.Totals, id
	})

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
