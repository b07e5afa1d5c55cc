package query

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/v2api"
)

// TestV2Forest: the tree and the stats of a view that has members, by member; what one fails at is its status.
func TestV2Forest(t *testing.T) {
	f := newFixture(t)
	f.base("nfs01", treeOf(file("/lab/a.bam", 10), file("/lab/b.bam", 20), file("/other", 1)))
	f.base("nfs02", treeOf(file("/lab/c.bam", 500), file("/lab/old/d", 1)))
	f.base("nfs03", treeOf(file("/elsewhere", 3)))
	f.commit("nfs04", func(m *manifest.Manifest) { m.Scan.SnapshotDone = 0 })
	f.forest("all", "nfs*", "gone")
	c := f.v2("/v2/api/v1")
	get := func(call string) *answer { return c.do(http.MethodGet, "/views/all/"+call, "") }

	var stats v2api.ForestStats
	if err := json.Unmarshal(get("stats?path=/lab").is(200).body, &stats); err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, m := range stats.Members {
		got += m.View + " " + m.Status
		if m.Error == "" {
			got += fmt.Sprintf(" %d %d %d %s", *m.Files, *m.Directories, *m.Bytes, m.LatestMtime)
		}
		got += "; "
	}
	if want := "gone error; nfs01 ok 2 1 30 1699999999.99999999; nfs02 ok 2 2 501 1699999999.999999999; nfs03 error; nfs04 error; "; got != want {
		t.Errorf("the members are\n%s, not\n%s", got, want)
	}
	if b := stats.Best; b == nil || *b != (v2api.Best{View: "nfs01", Reason: "file_count", Value: 2}) || stats.Path != "/lab" {
		t.Errorf("the best is %v", b)
	}
	if best := get("stats?path=/lab&best=total_size").object()["best"]; fmt.Sprint(best) != "map[reason:total_size value:501 view_id:nfs02]" {
		t.Errorf("the largest is %v", best)
	}
	if best := get("stats?path=/nowhere").object()["best"]; best != nil {
		t.Errorf("the best of none is %v", best)
	}

	var tree struct {
		Path    string
		Members map[string]struct {
			Status, Error string
			Data          *v2api.Node
		}
		Best *v2api.Best `json:"best_view_selected"`
	}
	read := func(call string) {
		t.Helper()
		tree.Members, tree.Best = nil, nil
		if a := get(call).is(200); json.Unmarshal(a.body, &tree) != nil {
			t.Fatalf("%s: %s", call, a.body)
		}
	}
	read("tree?path=/lab&only_path=true&max_depth=1")
	if len(tree.Members) != 5 || tree.Best != nil || tree.Members["nfs03"].Error == "" || tree.Members["nfs04"].Status != "error" {
		t.Errorf("the trees are %v", tree)
	}
	equal(t, "nfs01", pathsOf(*tree.Members["nfs01"].Data), []string{"/lab", "/lab/a.bam", "/lab/b.bam"})
	equal(t, "nfs02", pathsOf(*tree.Members["nfs02"].Data), []string{"/lab", "/lab/c.bam", "/lab/old"})
	read("tree?path=/lab&best=total_size&recursive=false")
	if len(tree.Members) != 1 || *tree.Best != (v2api.Best{View: "nfs02", Reason: "total_size", Value: 501}) || len(tree.Members["nfs02"].Data.Children) != 0 {
		t.Errorf("the best tree is %v", tree)
	}
	if none := get("tree?path=/nowhere&best=file_count").is(200).object(); len(none["members"].(map[string]any)) != 0 || none["detail"] == nil {
		t.Errorf("the best of none is %v", none)
	}
	if dry := get("tree?dry_run=1").is(200).object(); dry["message"] != "dry-run" {
		t.Errorf("a dry run: %v", dry)
	}
	get("tree?best=most").detail(422)
	get("stats?best=most").detail(422)
	get("tree?path=lab").detail(404)
	get("search?pattern=*").detail(400)
	(&v2Client{t, c.base, otherKey}).do(http.MethodGet, "/views/all/tree", "").detail(403)
	for key, views := range map[string][]string{"key-for-the-forest-alone": {"all"}, "key-for-one-member": {"all", "nfs01"}} {
		if err := access.Register(t.Context(), f.st, key, access.Record{Name: key, Roles: []access.Role{access.Query}, Views: access.Views{Names: views}}); err != nil {
			t.Fatal(err)
		}
	}
	(&v2Client{t, c.base, "key-for-the-forest-alone"}).do(http.MethodGet, "/views/all/tree", "").detail(403)
	(&v2Client{t, c.base, "key-for-the-forest-alone"}).do(http.MethodGet, "/views/all/stats", "").detail(403)
	one := (&v2Client{t, c.base, "key-for-one-member"}).do(http.MethodGet, "/views/all/stats", "").is(200)
	stats = v2api.ForestStats{}
	if err := json.Unmarshal(one.body, &stats); err != nil || len(stats.Members) != 5 || stats.Members[1].Status != "ok" || stats.Members[2].Status != "error" || stats.Members[2].Files != nil {
		t.Errorf("with a key for one member: %s", one.body)
	}
}
