package query

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
)

// vast is a tree whose sums exceed 64 bits, signed and unsigned: five files of 8 EiB, as sparse files may be.
func vast(more ...evidence.Row) []evidence.Row {
	rows := append([]evidence.Row{file("/sparse/a", math.MaxInt64), file("/sparse/b", math.MaxInt64), file("/sparse/c/a", math.MaxInt64),
		file("/sparse/c/b", math.MaxInt64), file("/sparse/e/a", math.MaxInt64), file("/x", 5)}, more...)
	for i := range rows {
		rows[i].Inode = event.Inode{Links: 1, Allocated: rows[i].Size}
	}
	return treeOf(rows...)
}

// TestSumsAreSaturated: where 64 bits do not hold a sum of bytes, every answer has the largest number that they hold, and says so.
func TestSumsAreSaturated(t *testing.T) {
	f := newFixture(t)
	first := f.base(testView, vast())
	const most = float64(values.MaxSum)
	saturated := func(what string, e any, field string) {
		t.Helper()
		if sums := e.(map[string]any); sums[field] != most || sums["saturated"] != true {
			t.Errorf("%s: %v", what, sums)
		}
	}
	saturated("metadata", f.call("metadata", "path", "/sparse").is(200).object()["subtree"], "bytes")
	saturated("stats", f.call("stats", "path", "/sparse").is(200).object(), "total_size")
	saturated("views", f.get("/api/v1/views").is(200).object()["views"].([]any)[0], "total_size")
	saturated("views", f.get("/api/v1/views").is(200).object()["views"].([]any)[0], "total_allocated")
	list := func(call string, params ...string) []any {
		t.Helper()
		return f.call(call, params...).is(200).object()["entries"].([]any)
	}
	saturated("list", list("list", "sort", "size")[0].(map[string]any)["subtree"], "bytes")
	saturated("usage", list("reports/usage")[0].(map[string]any)["totals"], "allocated")
	saturated("usage", list("reports/usage", "by", "extension")[0].(map[string]any)["totals"], "bytes")
	across := list("reports/usage", "across", "size")[0].(map[string]any)["across"].([]any)
	saturated("a cross table", across[len(across)-1], "bytes")
	sizes := list("reports/histogram")
	saturated("histogram", sizes[len(sizes)-1], "bytes")
	saturated("duplicates", list("reports/duplicates")[0], "wasted")
	if e := list("reports/largest", "type", "directory"); len(e) != 3 || e[0].(map[string]any)["path"] != "/sparse" {
		t.Errorf("the largest directories: %v", e)
	}
	if s := f.call("metadata", "path", "/x").is(200).object(); strings.Contains(fmt.Sprint(s), "saturated") {
		t.Errorf("a file of 5 bytes: %v", s)
	}

	// Totals of /sparse and of / stay the same, yet something differs below them.
	f.delta(testView, change(vast(), vast(file("/sparse/c/d/small", 7))))
	growth := list("reports/growth", "depth", "3", "since", fmt.Sprint(first.Version))
	if len(growth) != 3 {
		t.Errorf("growth: %v", growth)
	}
	for _, e := range growth {
		g := e.(map[string]any)
		if exact := g["path"] == "/sparse/c/d"; (g["saturated"] == nil) != exact || exact && g["bytes"] != 7.0 {
			t.Errorf("growth: %v", g)
		}
	}
}

// TestForestSumsAreSaturated: members whose sums fit may have one that does not.
func TestForestSumsAreSaturated(t *testing.T) {
	f := newFixture(t)
	f.base("nfs1", treeOf(file("/a", math.MaxInt64-1)))
	f.base("nfs2", treeOf(file("/a", math.MaxInt64-1)))
	f.forest("all", "nfs*")
	ask := func(call string) map[string]any {
		t.Helper()
		return f.get("/api/v1/views/all/" + call).is(200).object()
	}
	stats := ask("stats")
	if stats["total_size"] != float64(values.MaxSum) || stats["saturated"] != true {
		t.Errorf("stats: %v", stats)
	}
	usage := ask("reports/usage")["entries"].([]any)[0].(map[string]any)["totals"].(map[string]any)
	if usage["bytes"] != float64(values.MaxSum) || usage["saturated"] != true {
		t.Errorf("usage: %v", usage)
	}
	sizes := ask("reports/histogram")["entries"].([]any)
	last := sizes[len(sizes)-1].(map[string]any)
	if last["saturated"] != true || last["members"].([]any)[0].(map[string]any)["saturated"] != nil {
		t.Errorf("histogram: %v", last)
	}
	page := f.get("/browse/all", "Accept", "text/html").is(200)
	if !strings.Contains(string(page.body), "≥ 8.0 EiB") {
		t.Errorf("the page: %s", page.body)
	}
}

// TestLinksOnceOfSaturatedSums: names of one file count once, also where all names together exceed 64 bits.
func TestLinksOnceOfSaturatedSums(t *testing.T) {
	f := newFixture(t)
	rows := []evidence.Row{file("/a", 1), file("/d/b", 1), file("/d/c", 1)}
	for i := range rows {
		rows[i].Inode = event.Inode{Links: 3, Allocated: 1 << 62, ID: 7}
	}
	f.base(testView, treeOf(rows...))
	got := f.call("metadata", "links_once", "true").is(200).object()["subtree"].(map[string]any)
	if got["allocated"] != float64(1<<62) || got["linked_allocated"] != float64(1<<62) || got["saturated"] != nil {
		t.Errorf("%v", got)
	}
}

// TestSumsThatWrappedAround: layers and manifests of builds whose sums wrapped around show the largest number where a sum is negative.
func TestSumsThatWrappedAround(t *testing.T) {
	f := newFixture(t)
	rows := vast()
	for i := range rows {
		if rows[i].Type == event.Directory {
			rows[i].Sub.Bytes = -2
		}
	}
	info := f.layer(testView, rows)
	f.commit(testView, func(m *manifest.Manifest) {
		m.Base, m.Totals = append(m.Base, info), rows[0].Sub
	})
	for _, call := range []string{"metadata", "stats", "list"} {
		if got := string(f.call(call).is(200).body); !strings.Contains(got, `"saturated":true`) || strings.Contains(got, ":-2,") {
			t.Errorf("%s: %s", call, got)
		}
	}
	if got := string(f.get("/api/v1/views").is(200).body); strings.Contains(got, "-2") {
		t.Errorf("views: %s", got)
	}
}

// TestLinksOnceReadsWhatHasLinks: of a view with many directories, only the row groups on the way to files with several names are read.
func TestLinksOnceReadsWhatHasLinks(t *testing.T) {
	f := newFixture(t)
	var all []evidence.Row
	for d := range 40 {
		for i := range 100 {
			r := file(fmt.Sprintf("/d%02d/sub/f%03d", d, i), 1)
			r.Inode = event.Inode{Links: 1, Allocated: 4096}
			if d == 7 && i >= 98 {
				r.Inode = event.Inode{Links: 2, Allocated: 4096, ID: 7}
			}
			all = append(all, r)
		}
	}
	m := f.base(testView, treeOf(all...))
	reads := func(once string) (bytes uint64) {
		t.Helper()
		st := store.Count(f.st)
		s, err := New(Options{Store: st, Authenticator: f.server.keys})
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest("GET", viewURL("metadata", "links_once", once), nil)
		req.Header.Set("X-API-Key", queryKey)
		answer := httptest.NewRecorder()
		s.Handler().ServeHTTP(answer, req)
		if answer.Code != http.StatusOK {
			t.Fatalf("%d %s", answer.Code, answer.Body)
		}
		return st.Counts().BytesIn
	}
	// 4,081 rows in groups of 16: the root's directories, /d07's and those of /d07/sub take ten of 256.
	plain, once := reads("false"), reads("true")
	if more, layer := once-plain, uint64(m.Base[0].Bytes); more == 0 || more > layer/10 {
		t.Errorf("links_once reads %d bytes more, of a layer of %d", more, layer)
	}
}
