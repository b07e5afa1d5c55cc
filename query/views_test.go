package query

import (
	"fmt"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
)

// TestViews: a key sees the views that it may read, each with its state, and what is damaged does not hide the others.
func TestViews(t *testing.T) {
	f := newFixture(t)
	f.base("lab", treeOf(file("/a", 5)))
	f.forest("all", "lab", "nfs-*")
	f.commit("young", func(m *manifest.Manifest) { m.Scan.SnapshotDone = 0; m.Totals.Files = 7 })
	f.put(layout.Lease("lab"), session.Lease{Term: 1, Session: "gone", TTLSeconds: 30}, time.Hour)
	f.putJSON(layout.Head("torn"), "no head")

	states := func(a *answer) string {
		o := a.is(200).object()
		text := ""
		for _, v := range o["views"].([]any) {
			v := v.(map[string]any)
			text += fmt.Sprintf("%s %s %v %v; ", v["view_id"], v["state"], v["has_leader"], v["total_files"])
		}
		return text
	}
	if got, want := states(f.get("/api/v1/views")), "all forest false 0; lab ready false 1; torn damaged false 0; young scanning false 7; "; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	key := access.GenerateKey()
	if err := access.Register(t.Context(), f.st, key, access.Record{Name: "some", Roles: []access.Role{access.Query},
		Views: access.Views{Names: []string{"young", "lab", "missing"}}}); err != nil {
		t.Fatal(err)
	}
	if got, want := states(f.get("/api/v1/views", "X-API-Key", key)), "lab ready false 1; young scanning false 7; "; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	// A user is told neither counts, nor that nobody leads it.
	if got, want := states(f.get("/api/v1/views", "X-API-Key", f.userKey(alice))), "all forest <nil> <nil>; lab ready <nil> <nil>; torn damaged <nil> <nil>; young scanning <nil> <nil>; "; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	f.get("/api/v1/views", "X-API-Key", "").is(401)
	f.get("/api/v1/views?color=red").is(400)
}
