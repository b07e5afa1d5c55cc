package query

import (
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/testkit/accesstest"
)

// Every call of the reading side is refused to whoever it is not for.
func TestAccess(t *testing.T) {
	f := newFixture(t)
	f.base(accesstest.Asked, sample())
	keys := accesstest.NewKeys(t, f.st)
	if n := accesstest.Check(t, documentOf(t, f.server), f.server.Handler(), keys); n < 16 {
		t.Errorf("only %d calls are documented", n)
	}
	if n := accesstest.CheckRoutes(t, f.server.v2.Routes(), f.server.Handler(), keys); n < 22 {
		t.Errorf("only %d calls of Fustor V2", n)
	}
}

// A forest is refused to whoever may read its members but not its name, and shows the members that the key is for, and nothing of others.
func TestAccessToForests(t *testing.T) {
	f := newFixture(t)
	f.base(accesstest.Member, treeOf(file("/shown", 5)))
	f.base("research-2", treeOf(file("/secret-name", 7<<20), file("/d/secret-name", 7<<20)))
	f.base(accesstest.Other, sample())
	keys := accesstest.NewKeys(t, f.st)
	f.forest(accesstest.Asked, "research-*")
	f.server.Invalidate(accesstest.Asked)
	partly := keys["query/"+accesstest.Asked]
	accesstest.CheckSecret(t, documentOf(t, f.server), f.server.Handler(), partly, "secret-name")
	a := f.do("GET", viewURL("search", "pattern", "*"), "", "X-API-Key", partly).is(200)
	equal(t, "members", a.statuses(), []string{"research-1=ok", "research-2=forbidden"})
	equal(t, "rows", memberRows(t, a.object()["entries"].([]any)), []string{"research-1:/shown"})
	if m := a.object()["members"].([]any)[1].(map[string]any); m["version"] != nil || m["error"] == "" {
		t.Errorf("of a member that the key is not for: %v", m)
	}
	// A cursor gives no access, either: it was made with another key.
	first := f.call("search", "pattern", "*", "limit", "1").is(200).object()
	rest := f.do("GET", viewURL("search", "pattern", "*", "limit", "10", "cursor", first["next_cursor"].(string)), "", "X-API-Key", partly).is(200)
	if strings.Contains(string(rest.body), "secret-name") {
		t.Errorf("the pages after another key's: %s", rest.body)
	}
	only := access.GenerateKey()
	if err := access.Register(t.Context(), f.st, only, access.Record{Name: "only", Roles: []access.Role{access.Query}, Views: access.Views{Names: []string{accesstest.Asked}}}); err != nil {
		t.Fatal(err)
	}
	f.do("GET", viewURL("search", "pattern", "*"), "", "X-API-Key", only).problem(403, "no member of the forest can answer", `not for view "research-1"`)

	f.forest(accesstest.Asked, accesstest.Member)
	f.server.Invalidate(accesstest.Asked)
	accesstest.Check(t, documentOf(t, f.server), f.server.Handler(), keys) // at last, as it resets and removes views
}
