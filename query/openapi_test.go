package query

import (
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/httpapi/openapi"
	"github.com/fustor/fustor/testkit/openapitest"
)

// isPage reports whether a path, or a route's pattern, is a page for people.
func isPage(path string) bool {
	return path == "/" || path == "/admin" || strings.HasPrefix(path, "/admin/") || strings.HasPrefix(path, "/browse/") || strings.HasPrefix(path, "/state/")
}

// The document has every route, the pages for people aside, and what it says of parameters is what the handlers read. The
// fixture holds every answer of this package's tests against it.
func TestOpenAPI(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	d := openapitest.Read(t, documentOf(t, f.server))
	var served []string
	for _, r := range f.server.mux.Routes() {
		isForm := r.Pattern == "/login" || r.Pattern == "/logout"
		if !isPage(r.Pattern) && !isForm && !strings.HasPrefix(r.Pattern, "/web/") {
			served = append(served, r.Method+" "+r.Pattern)
		}
	}
	for _, r := range f.server.catalog.Routes() {
		if r.Operation != nil {
			served = append(served, r.Method+" "+r.Pattern)
		}
	}
	documented := d.Calls()
	slices.Sort(served)
	slices.Sort(documented)
	equal(t, "routes", documented, served)
	d.Parameters(t, func(method, target string) (int, []byte) {
		a := f.do(method, target, "", "X-API-Key", adminKey)
		return a.status, a.body
	}, "explain", "PUT /api/v1/views/{view_id}/suspect-list")
	for _, r := range f.server.mux.Routes() { // every call takes explain, whatever else it knows
		if o := r.Operation; o != nil && o.Tag == tag && r.Method == "GET" &&
			!slices.ContainsFunc(o.Parameters, func(p openapi.Parameter) bool { return p.Name == "explain" }) {
			t.Errorf("%s lacks explain", r.Pattern)
		}
	}
}

// Answers have all that the document has of an entry, though it requires little of it, for only_path.
func TestWholeNodes(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	for _, path := range []string{"/", "/docs/link", "/data/b\xff\xfed.txt", "/readme.txt"} {
		node := f.call("metadata", "path_b64", b64(path)).is(200).object()
		for _, field := range strings.Fields(`name path content_type type size modified_time mtime_ns created_time integrity_suspect agent_missing audit_skipped
			last_agent_id source_uri mode uid gid`) {
			if _, there := node[field]; !there {
				t.Errorf("%q lacks %s", path, field)
			}
		}
	}
}
