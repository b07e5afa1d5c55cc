package ingest

import (
	"slices"
	"strings"
	"testing"

	"net/http/httptest"

	"github.com/fustor/fustor/testkit/openapitest"
)

// The document has every route, and what it says of parameters is what the handlers read. The fixture holds every answer of
// this package's tests against it.
func TestOpenAPI(t *testing.T) {
	f := newFixture(t, 1)
	d := openapitest.Read(t, f.document())
	var routes []string
	for _, r := range f.ingests[0].mux.Routes() {
		routes = append(routes, r.Method+" "+r.Pattern)
	}
	documented := d.Calls()
	slices.Sort(routes)
	slices.Sort(documented)
	if !slices.Equal(documented, routes) {
		t.Errorf("documented:\n%s\nserved:\n%s", strings.Join(documented, "\n"), strings.Join(routes, "\n"))
	}
	d.Parameters(t, func(method, target string) (int, []byte) {
		r := httptest.NewRequest(method, target, nil)
		r.Header.Set("X-API-Key", adminKey)
		w := httptest.NewRecorder()
		f.ingests[0].Handler().ServeHTTP(w, r)
		return w.Code, w.Body.Bytes()
	})
}
