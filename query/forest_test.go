package query

import (
	"cmp"

	"fmt"
	"math/rand/v2"
	"net/http"

	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/viewconfig"
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
	for seed := range uint64(3) {
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
