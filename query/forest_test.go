package query

import (
	"cmp"
	cryptorand "crypto/rand"

	"fmt"
	"math/rand/v2"
	"net/http"

	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/query/forest"
	"github.com/fustor/fustor/testkit/cases"
	"github.com/fustor/fustor/testkit/fault"
	"github.com/fustor/fustor/testkit/sim"
	"github.com/fustor/fustor/testkit/wait"
)

// forest gives a view members.
func (f *fixture) forest(view string, members ...string) {
	f.t.Helper()
	c := viewconfig.Default(view)
	c.Members = members
	if err := viewconfig.Save(f.t.Context(), f.st, c); err != nil {
		f.t.Fatal(err)
	}
}

// of is get of a call on any view.
func (f *fixture) of(view, name string, params ...string) *answer {
	f.t.Helper()
	return f.get(strings.Replace(viewURL(name, params...), "/"+testView+"/", "/"+view+"/", 1))
}

// statuses are the members of an answer about a forest: view=status.
func (a *answer) statuses() (out []string) {
	a.t.Helper()
	members, _ := a.object()["members"].([]any)
	for _, m := range members {
		m := m.(map[string]any)
		out = append(out, fmt.Sprint(m["view"], "=", m["status"]))
	}
	return out
}

// memberRows are the rows of an answer, or of lines: member:path.
func memberRows(t testing.TB, nodes []any) (out []string) {
	t.Helper()
	for _, n := range nodes {
		n := n.(map[string]any)
		if n["path"] != nil && n["name"] != nil {
			out = append(out, fmt.Sprint(n["member"], ":", pathOf(t, n)))
		}
	}
	return out
}

// union is what the answer of a forest is to be: the answers of its members, in the order of paths, and by member.
func (f *fixture) union(members []string, call, of string, params ...string) (out []string) {
	f.t.Helper()
	type row struct {
		key    [2]string
		member string
		path   string
	}
	var rows []row
	for _, m := range members {
		a := f.of(m, call, params...)
		if a.status == http.StatusNotFound {
			continue
		}
		for _, n := range a.is(200).object()[of].([]any) {
			path := pathOf(f.t, n.(map[string]any))
			parent, name := event.Split(path)
			rows = append(rows, row{[2]string{parent, name}, m, path})
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(strings.Compare(a.key[0], b.key[0]), strings.Compare(a.key[1], b.key[1]), strings.Compare(a.member, b.member))
	})
	for _, r := range rows {
		out = append(out, r.member+":"+r.path)
	}
	return out
}

// forestPages reads all pages of a call on a forest, and returns its rows and how many pages there were.
func (f *fixture) forestPages(view, call string, limit int, params ...string) (out []string, n int) {
	f.t.Helper()
	cursor := ""
	for {
		p := append(slices.Clone(params), "limit", fmt.Sprint(limit))
		if cursor != "" {
			p = append(p, "cursor", cursor)
		}
		page := f.of(view, call, p...).is(200).object()
		rows := memberRows(f.t, page["entries"].([]any))
		if n++; len(rows) > limit {
			f.t.Fatalf("%d rows on a page of %d", len(rows), limit)
		}
		out = append(out, rows...)
		if cursor, _ = page["next_cursor"].(string); cursor == "" {
			return out, n
		}
	}
}

// grow publishes a random tree as a view; names repeat from view to view.
func (f *fixture) grow(view string, random *rand.Rand) {
	var rows []evidence.Row
	for range 5 + random.IntN(120) {
		path := ""
		for range 1 + random.IntN(3) {
			path += fmt.Sprintf("/d%d", random.IntN(4))
		}
		rows = append(rows, file(fmt.Sprintf("%s/f%02d.%s", path, random.IntN(30), []string{"bam", "txt", "h5"}[random.IntN(3)]), int64(random.IntN(5000))))
	}
	f.base(view, treeOf(rows...))
}

// TestForestIsItsMembers: whatever is asked, and however it is cut into pages, a forest answers what its members answer.
func TestForestIsItsMembers(t *testing.T) {
	for seed := range uint64(cases.Of(3)) {
		random := rand.New(rand.NewPCG(seed, 1))
		f := newFixture(t)
		var members []string
		for i := range 2 + random.IntN(7) {
			members = append(members, fmt.Sprintf("nfs%02d", i))
			f.grow(members[i], random)
		}
		f.forest("all", "nfs*")
		for _, search := range [][]string{{"pattern", "*.bam"}, {"pattern", "f1"}, {"pattern", "/d1/**/f*"}, {"pattern", "*", "path", "/d2"}, {"pattern", "nothing"},
			{"pattern", "d*", "type", "d"}, {"pattern", "*", "path", "/d1/d1"}} {
			want := f.union(members, "search", "entries", append(search, "limit", "10000")...)
			if len(want) == 0 && slices.Contains(search, "path") {
				continue // perhaps the path is nowhere
			}
			for _, limit := range []int{1, 3, 17, 10000} {
				got, _ := f.forestPages("all", "search", limit, search...)
				equal(t, fmt.Sprintf("seed %d: %v in pages of %d", seed, search, limit), got, want)
			}
			stream := f.get(strings.Replace(viewURL("search", search...), testView, "all", 1), "Accept", ndjson).is(200).lines()
			nodes := make([]any, len(stream))
			for i := range stream {
				nodes[i] = stream[i]
			}
			equal(t, fmt.Sprintf("seed %d: %v as a stream", seed, search), memberRows(t, nodes), want)
			if last := stream[len(stream)-1]; last["complete"] != true || len(last["members"].([]any)) != len(members) {
				t.Fatalf("the last line is %v", last)
			}
		}
		want := f.union(members, "list", "entries", "path", "/d1")
		got, _ := f.forestPages("all", "list", 2, "path", "/d1")
		equal(t, "list", got, want)
		want = f.union(members, "reports/empty-directories", "entries")
		got, _ = f.forestPages("all", "reports/empty-directories", 3)
		equal(t, "empty directories", got, want)
		f.sameSorted(members, random)
		f.sameTrees(members)
		f.sameSums(members)
	}
}

// sameSorted holds sorted listings, and the largest files, against those of the members.
func (f *fixture) sameSorted(members []string, random *rand.Rand) {
	f.t.Helper()
	rank := func(n map[string]any, order string) float64 {
		if order == "mtime" {
			return -n["size"].(float64) // entry makes the mtimes of the sizes, and a float64 is too coarse for ns
		}
		if sub, ok := n["subtree"].(map[string]any); ok {
			return sub["bytes"].(float64)
		}
		return n["size"].(float64)
	}
	for _, order := range []string{"size", "mtime"} {
		var want []map[string]any
		for _, m := range members {
			if a := f.of(m, "list", "path", "/d1", "sort", order, "limit", "10000"); a.status == 200 {
				for _, n := range a.object()["entries"].([]any) {
					n.(map[string]any)["member"] = m
					want = append(want, n.(map[string]any))
				}
			}
		}
		slices.SortStableFunc(want, func(a, b map[string]any) int {
			return cmp.Or(cmp.Compare(rank(b, order), rank(a, order)), strings.Compare(a["name"].(string), b["name"].(string)), strings.Compare(a["member"].(string), b["member"].(string)))
		})
		var paths []string
		for _, n := range want {
			paths = append(paths, fmt.Sprint(n["member"], ":", n["path"]))
		}
		if len(paths) == 0 {
			continue
		}
		got, _ := f.forestPages("all", "list", 1+random.IntN(5), "path", "/d1", "sort", order)
		equal(f.t, "list by "+order, got, paths)
	}
	largest := f.of("all", "reports/largest", "limit", "7").is(200).object()["entries"].([]any)
	var sizes, all []float64
	for _, n := range largest {
		sizes = append(sizes, n.(map[string]any)["size"].(float64))
	}
	for _, m := range members {
		for _, n := range f.of(m, "reports/largest", "limit", "7").is(200).object()["entries"].([]any) {
			all = append(all, n.(map[string]any)["size"].(float64))
		}
	}
	slices.SortFunc(all, func(a, b float64) int { return cmp.Compare(b, a) })
	if !slices.Equal(sizes, all[:min(7, len(all))]) {
		f.t.Fatalf("largest: %v, not %v", sizes, all)
	}
}

// sameTrees holds the nested trees, in pages and whole, against those of the members.
func (f *fixture) sameTrees(members []string) {
	f.t.Helper()
	var walk func(n map[string]any, out *[]string)
	walk = func(n map[string]any, out *[]string) {
		if n["continued"] == nil {
			*out = append(*out, n["path"].(string))
		}
		children, _ := n["children"].([]any)
		for _, c := range children {
			walk(c.(map[string]any), out)
		}
	}
	for _, limit := range []string{"1", "5", "100000"} {
		got := map[string][]string{}
		for cursor := ""; ; {
			params := []string{"limit", limit}
			if cursor != "" {
				params = append(params, "cursor", cursor)
			}
			a := f.of("all", "tree", params...).is(200).object()
			for _, tree := range a["trees"].([]any) {
				tree := tree.(map[string]any)
				list := got[tree["member"].(string)]
				walk(tree, &list)
				got[tree["member"].(string)] = list
			}
			if cursor, _ = a["next_cursor"].(string); cursor == "" {
				break
			}
		}
		for _, m := range members {
			var want []string
			walk(f.of(m, "tree", "limit", "100000").is(200).object(), &want)
			slices.Sort(want)
			slices.Sort(got[m])
			equal(f.t, "the tree of "+m+" in pages of "+limit, got[m], want)
		}
	}
}

// sameSums holds stats, usage and the histogram against the sums over the members.
func (f *fixture) sameSums(members []string) {
	f.t.Helper()
	stats := f.of("all", "stats", "best", "total_size").is(200).object()
	files, bytes, most, best := 0.0, 0.0, -1.0, ""
	for _, m := range members {
		one := f.of(m, "stats").is(200).object()
		files, bytes = files+one["total_files"].(float64), bytes+one["total_size"].(float64)
		if one["total_size"].(float64) > most {
			most, best = one["total_size"].(float64), m
		}
	}
	if stats["total_files"] != files || stats["total_size"] != bytes || stats["best"].(map[string]any)["member"] != best || stats["best"].(map[string]any)["value"] != most {
		f.t.Fatalf("stats %v; want %v files, %v bytes, %s with %v the best", stats, files, bytes, best, most)
	}
	for _, call := range [][]string{{"reports/usage", "by", "extension"}, {"reports/histogram"}} {
		count := func(e map[string]any) float64 {
			if t, ok := e["totals"].(map[string]any); ok {
				return t["files"].(float64)
			}
			return e["files"].(float64)
		}
		sum, parts := 0.0, 0.0
		for _, e := range f.of("all", call[0], call[1:]...).is(200).object()["entries"].([]any) {
			e := e.(map[string]any)
			sum += count(e)
			shares, _ := e["members"].([]any)
			for _, m := range shares {
				parts += count(m.(map[string]any))
			}
		}
		if sum != files || parts != files {
			f.t.Fatalf("%v: %v files, %v by member; want %v", call, sum, parts, files)
		}
	}
}

// twenty is a forest of twenty views in a store of its own; the store's requests go through a plan.
func twenty(t *testing.T, plan fault.Plan) (f *fixture, members []string) {
	t.Helper()
	st := sim.NewStore(time.Now)
	f = serve(t, st)
	random := rand.New(rand.NewPCG(20, 20))
	for i := range 20 {
		members = append(members, fmt.Sprintf("nfs%02d", i))
		f.grow(members[i], random)
	}
	f.forest("all", "nfs*")
	if plan != nil {
		served := serve(t, fault.New(st, plan))
		served.heads, served.last = f.heads, f.last
		f = served
	}
	return f, members
}

// without are the members but some.
func without(members []string, out ...string) (left []string) {
	for _, m := range members {
		if !slices.Contains(out, m) {
			left = append(left, m)
		}
	}
	return left
}

// TestForestOfTwenty: one member is damaged and one does not answer. The others answer all the same, no later than the deadline of the
// slow one; the pages after the first do not wait for it again.
func TestForestOfTwenty(t *testing.T) {
	newFixture(t).get("/openapi.json") // the document that answers are held against is made outside of the bubbles
	for name, slow := range map[string]func(fault.Call) bool{
		"all of its objects": func(c fault.Call) bool { return strings.HasPrefix(c.Key, layout.View("nfs11")) },
		"its layers":         func(c fault.Call) bool { return strings.HasPrefix(c.Key, layout.View("nfs11")+"layers/") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { forestOfTwenty(t, slow) })
		})
	}
}

func forestOfTwenty(t *testing.T, slow func(fault.Call) bool) {
	late := false
	f, members := twenty(t, func(c fault.Call) fault.Fault {
		if late && slow(c) {
			return fault.Fault{Delay: time.Hour}
		}
		return fault.Fault{}
	})
	if _, err := f.st.Put(t.Context(), layout.Head("nfs05"), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	well := without(members, "nfs05", "nfs11")
	want := f.union(well, "search", "entries", "pattern", "*.bam", "limit", "10000")
	late = true
	took := func(what string, most time.Duration, do func()) {
		t.Helper()
		began := time.Now()
		do()
		if d := time.Since(began); d > most {
			t.Errorf("%s took %s, the deadline is %s", what, d, most)
		}
	}
	most := forest.Deadline + wait.Limit(time.Second)
	var first map[string]any
	took("the first page", most, func() {
		a := f.of("all", "search", "pattern", "*.bam", "limit", "7").is(200)
		first = a.object()
		statuses := strings.Join(a.statuses(), " ")
		if !strings.Contains(statuses, "nfs05=error") || !strings.Contains(statuses, "nfs11=timeout") || strings.Count(statuses, "=ok") != 18 || first["complete"] != false {
			t.Errorf("%s, complete: %v", statuses, first["complete"])
		}
		damaged := first["members"].([]any)[5].(map[string]any)["error"].(string)
		if !strings.Contains(damaged, "nfs05") || !strings.Contains(damaged, "head") {
			t.Errorf("of a damaged member it says %q", damaged)
		}
	})
	got := memberRows(t, first["entries"].([]any))
	took("all other pages", 0, func() {
		for next := first["next_cursor"]; next != nil; {
			a := f.of("all", "search", "pattern", "*.bam", "limit", "7", "cursor", next.(string)).is(200)
			if !strings.Contains(strings.Join(a.statuses(), " "), "nfs11=timeout") {
				t.Errorf("a later page does not say who is out: %v", a.statuses())
			}
			got, next = append(got, memberRows(t, a.object()["entries"].([]any))...), a.object()["next_cursor"]
		}
	})
	equal(t, "all pages", got, want)
	took("a stream", most, func() {
		lines := f.get(strings.Replace(viewURL("search", "pattern", "*.bam"), testView, "all", 1), "Accept", ndjson).is(200).lines()
		if last := lines[len(lines)-1]; last["complete"] != false || len(lines)-1 != len(want) {
			t.Errorf("%d lines, the last %v", len(lines), last)
		}
	})
	took("stats", most, func() {
		a := f.of("all", "stats").is(200).object()
		if members := a["members"].([]any); a["complete"] != false || members[11].(map[string]any)["status"] != "timeout" || members[11].(map[string]any)["stats"] != nil {
			t.Errorf("%v", a)
		}
	})
	took("a report", forest.ReportDeadline+most, func() {
		a := f.of("all", "reports/usage").is(200)
		if statuses := strings.Join(a.statuses(), " "); !strings.Contains(statuses, "nfs11=timeout") {
			t.Error(statuses)
		}
	})
	took("duplicates", 2*forest.ReportDeadline+most, func() { f.of("all", "reports/duplicates", "min_size", "1").is(200) })
	// A forest of which no member is well answers what is wrong with the first.
	f.forest("broken", "nfs05", "nfs11")
	took("a broken forest", most, func() {
		f.of("broken", "search", "pattern", "*").problem(502, "no member of the forest can answer", "nfs05")
	})
}

// TestForestPagesAreOfOneVersion: what is published between two pages of an answer is in none of them.
func TestForestPagesAreOfOneVersion(t *testing.T) {
	f, members := twenty(t, nil)
	want := f.union(members, "search", "entries", "pattern", "*", "limit", "10000")
	tag := f.of("all", "search", "pattern", "*").header.Get("ETag")
	target := strings.Replace(viewURL("search", "pattern", "*"), testView, "all", 1)
	f.get(target, "If-None-Match", tag).is(304)
	var got []string
	for next, n := any(nil), 0; n == 0 || next != nil; n++ {
		params := []string{"pattern", "*", "limit", "100"}
		if next != nil {
			params = append(params, "cursor", next.(string))
		}
		page := f.of("all", "search", params...).is(200).object()
		got, next = append(got, memberRows(t, page["entries"].([]any))...), page["next_cursor"]
		f.base(members[n%20], treeOf(file(fmt.Sprintf("/new%d", n), 1)))
	}
	equal(t, "pages", got, want)
	if a := f.get(target, "If-None-Match", tag).is(200); a.header.Get("ETag") == tag {
		t.Error("another version of a member has the same ETag")
	}
	f.base(members[19], sample())
	for _, bad := range []string{"x", f.of(members[19], "search", "pattern", "*", "limit", "1").object()["next_cursor"].(string)} {
		f.of("all", "search", "pattern", "*", "cursor", bad).problem(400, "cursor")
	}
	cursor := f.of("all", "search", "pattern", "*", "limit", "1").object()["next_cursor"].(string)
	f.of("all", "search", "pattern", "new*", "cursor", cursor).problem(400, "other parameters")
	f.of(members[19], "search", "pattern", "*", "cursor", cursor).problem(400, "cursor")
}

// TestForestFollowsItsMembers: a view that a glob matches is a member soon after it is made, without a LIST for each question, and none
// where nothing was made. Views that are deleted leave, and named ones that do not exist are shown as that.
func TestForestFollowsItsMembers(t *testing.T) {
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	counted := store.Count(st)
	f := serve(t, counted)
	f.base("nfs1", treeOf(file("/a", 1)))
	f.forest("all", "nfs*", "later")
	f.forest("nfs-forest", "nfs1") // forests do not nest: the glob leaves it out
	asks := func(want ...string) {
		t.Helper()
		equal(t, "members", f.of("all", "search", "pattern", "*").is(200).statuses(), want)
	}
	asks("later=error", "nfs1=ok")
	lists := counted.Counts().List
	for range 50 {
		f.now = f.now.Add(7 * time.Second)
		asks("later=error", "nfs1=ok")
	}
	if n := counted.Counts().List - lists; n != 0 {
		t.Errorf("%d LISTs of fifty questions in which nothing was new", n)
	}
	f.base("nfs2", treeOf(file("/a", 1)))
	f.base("later", treeOf(file("/a", 1)))
	if err := viewconfig.Ring(t.Context(), st, cryptorand.Reader); err != nil { // as whoever makes a view does
		t.Fatal(err)
	}
	f.now = f.now.Add(6 * time.Second)
	asks("later=ok", "nfs1=ok", "nfs2=ok")
	if err := st.Delete(t.Context(), layout.Head("nfs2")); err != nil {
		t.Fatal(err)
	}
	asks("later=ok", "nfs1=ok")
	f.forest("all", "nfs1", "nfs-forest")
	f.now = f.now.Add(16 * time.Second)
	asks("nfs-forest=error", "nfs1=ok")
	f.forest("all", "nothing-*")
	f.now = f.now.Add(16 * time.Second)
	f.of("all", "search", "pattern", "*").problem(404, `forest "all" has no members yet`)
	if _, err := st.Put(t.Context(), layout.ViewConfig("all"), []byte(`{"members":`)); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(16 * time.Second)
	f.of("all", "search", "pattern", "*").problem(502, "config/views/all.json")
}

// TestForestAnswersEveryCall: calls whose answers are no pages of rows, and paths that are in some members only.
func TestForestAnswersEveryCall(t *testing.T) {
	f := newFixture(t)
	f.base("nfs1", treeOf(file("/a/big", 5<<20), file("/a/x", 1), entry("/e", event.Directory, 4096)))
	blind := file("/b/blind", 7)
	blind.AgentMissing, blind.SuspectUntil = true, f.now.UnixNano()+1e12
	f.base("nfs2", treeOf(file("/b/big", 5<<20), blind))
	removed := file("/a/gone", 1)
	removed.Removed, removed.AgentMissing = true, true
	f.delta("nfs1", []evidence.Row{removed})
	f.forest("all", "nfs1", "nfs2")

	a := f.of("all", "metadata", "path", "/b").is(200)
	equal(t, "metadata", memberRows(t, a.object()["entries"].([]any)), []string{"nfs2:/b"})
	equal(t, "members", a.statuses(), []string{"nfs1=absent", "nfs2=ok"})
	if a.object()["complete"] != true {
		t.Error("that a member has no such path is an answer")
	}
	for _, call := range []string{"metadata", "list", "tree", "stats", "suspect-list", "blind-spots", "reports/largest", "reports/usage", "reports/histogram",
		"reports/empty-directories", "reports/duplicates", "reports/growth"} {
		f.of("all", call, "path", "/nowhere").problem(404, `there is no "/nowhere"`)
		f.of("all", call, "path", "/b").is(200)
		f.of("all", call).is(200)
	}
	groups := f.of("all", "reports/duplicates").is(200).object()["entries"].([]any)
	paths := groups[0].(map[string]any)["paths"].([]any)
	if len(groups) != 1 || paths[0].(map[string]any)["member"] != "nfs1" || paths[1].(map[string]any)["member"] != "nfs2" {
		t.Errorf("duplicates in two members: %v", groups)
	}
	equal(t, "empty directories", memberRows(t, f.of("all", "reports/empty-directories").object()["entries"].([]any)), []string{"nfs1:/e"})
	suspects := f.of("all", "suspect-list").is(200)
	if !strings.Contains(string(suspects.body), `"member":"nfs2"`) || suspects.header.Get("Fustor-Members") != "nfs1=ok, nfs2=ok" {
		t.Errorf("suspects: %s %v", suspects.body, suspects.header)
	}
	var added, deleted []string
	for next, n := any(nil), 0; n == 0 || next != nil; n++ {
		params := []string{"limit", "1"}
		if next != nil {
			params = append(params, "cursor", next.(string))
		}
		page := f.of("all", "blind-spots", params...).is(200).object()
		if page["additions_count"] != 1.0 || page["deletion_count"] != 1.0 {
			t.Errorf("blind spots: %v", page)
		}
		added, deleted = append(added, memberRows(t, page["additions"].([]any))...), append(deleted, memberRows(t, page["deletion_details"].([]any))...)
		next = page["next_cursor"]
	}
	equal(t, "additions", added, []string{"nfs2:/b/blind"})
	equal(t, "deletions", deleted, []string{"nfs1:/a/gone"})
	versions := f.of("all", "versions").is(200).object()["versions"].([]any)
	if len(versions) != 3 || versions[0].(map[string]any)["member"] != "nfs1" {
		t.Errorf("versions: %v", versions)
	}
	f.of("all", "sessions").is(200)
	f.of("all", "jobs").is(200)
	f.of("all", "jobs/nothing").problem(404, "no such job")
	f.of("all", "tree", "on_demand_scan", "true").problem(400, "is for views")
	f.of("all", "versions", "before", "1").problem(400, "is for views")
	f.of("nfs1", "stats", "best", "file_count").problem(400, "is for forests")
	f.do("DELETE", "/api/v1/views/all/reset", "", "X-API-Key", adminKey).problem(409, "is a forest")
	f.of("all", "search", "pattern", "*").is(200)
	growth := f.of("all", "reports/growth", "since", "1").is(200)
	equal(t, "growth", growth.statuses(), []string{"nfs1=ok", "nfs2=ok"})
}

// TestForestPages: the pages list forests, show how their members fare, and search them, with the member in each row.
func TestForestPages(t *testing.T) {
	f := newFixture(t)
	f.base("nfs1", treeOf(file("/data/run42.bam", 5)))
	f.base("nfs2", treeOf(file("/other/run42.txt", 6), file("/other/run42.bam", 6)))
	f.forest("all", "nfs*", "gone")
	shows := func(target string, words ...string) {
		t.Helper()
		body := string(f.get(target).is(200).body)
		for _, w := range words {
			if !strings.Contains(body, w) {
				t.Errorf("%s lacks %q:\n%s", target, w, body)
			}
		}
	}
	shows("/", `<a href="/browse/all">all</a>`, "forest of nfs*, gone", `<a href="/browse/nfs1">nfs1</a>`)
	shows("/browse/all", `<a href="/browse/nfs1">nfs1</a>`, `<a href="/browse/nfs2">nfs2</a>`, "there is no view &#34;gone&#34;", "<b>3 files</b>", "17 B")
	shows("/browse/all/data", `<a href="/browse/nfs1/data">nfs1</a>`, "no such path")
	shows("/browse/all?q=run42", `<a href="/browse/nfs1">nfs1</a>`, `href="/browse/nfs2/other"`, "3 matches", "Not complete: 1 of 3 members did not answer", "gone: there is no view")
	shows("/browse/all?q=run42&limit=1", "More matches")
	if a := f.get("/state/all").is(303); a.header.Get("Location") != "/browse/all" {
		t.Errorf("the state of a forest: %v", a.header)
	}
	f.get("/browse/all/nowhere").is(404)
	f.of("all", "metadata", "path", "/nowhere").problem(404, "the members that answer have no such path, and not all answer", `gone: there is no view "gone"`)
	f.get("/browse/all?q=x&cursor=x").is(400)
	keyed := access.GenerateKey()
	if err := access.Register(t.Context(), f.st, keyed, access.Record{Name: "one", Roles: []access.Role{access.Query}, Views: access.Views{Names: []string{"all", "nfs1"}}}); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/browse/all", "/browse/all?q=run42", "/"} {
		body := string(f.do("GET", target, "", "X-API-Key", keyed).is(200).body)
		if strings.Contains(body, "run42.txt") || target != "/" && !strings.Contains(body, "not for view") || target == "/" && !strings.Contains(body, "forest of") {
			t.Errorf("%s with a key for one member:\n%s", target, body)
		}
	}
}
