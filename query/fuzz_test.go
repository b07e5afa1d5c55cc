package query

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzIceberg: whatever a client of the catalog asks, the answer is JSON of the form that Iceberg's specification has, and never a fault
// of the server.
func FuzzIceberg(f *testing.F) {
	x := newFixture(f)
	x.base("research", sample())
	x.publish("research")
	for _, c := range [][3]string{
		{"GET", "v1/config?warehouse=fustor", ""}, {"GET", "v1/fustor/namespaces?parent=fustor&pageToken=&pageSize=1", ""}, {"GET", "v1/fustor/namespaces/fustor/tables?pageToken=cmVzZWFyY2g", ""},
		{"GET", "v1/namespaces/fustor/tables/research?snapshots=refs", ""}, {"HEAD", "v1/namespaces/named/views/research", ""}, {"GET", "v1/namespaces/fustor%1Fx/tables/a%00b", ""},
		{"POST", "v1/namespaces/fustor/tables/research/metrics", `{"report-type":"scan-report"}`}, {"POST", "v1/oauth/tokens", "grant_type=client_credentials"}, {"DELETE", "v1/namespaces/fustor", ""},
		{"POST", "v1/transactions/commit", `{"table-changes":[]}`}, {"PATCH", "v1/..//config", ""},
	} {
		f.Add(c[0], c[1], c[2])
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		if len(method) > 20 || len(target) > 1000 || len(body) > 1<<12 {
			t.Skip()
		}
		at, err := url.ParseRequestURI("/iceberg/" + target)
		if err != nil {
			return
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://localhost/", strings.NewReader(body))
		if err != nil {
			return
		}
		r.URL, r.RequestURI, r.RemoteAddr = at, at.RequestURI(), "192.0.2.1:1234"
		r.Header.Set("Authorization", "Bearer "+queryKey)
		w := httptest.NewRecorder()
		x.server.Handler().ServeHTTP(w, r)
		switch {
		case w.Code >= 500:
			t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
		case w.Code < 400 || method == http.MethodHead || !strings.HasPrefix(at.Path, "/iceberg/v1/") || strings.HasPrefix(w.Header().Get("Location"), "/"):
			return
		case strings.HasSuffix(at.Path, "/oauth/tokens"): // its errors are those of OAuth
			return
		}
		var refusal struct {
			Error struct {
				Message, Type string
				Code          int
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &refusal); err != nil || refusal.Error.Code != w.Code || refusal.Error.Type == "" || refusal.Error.Message == "" {
			t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
		}
	})
}
