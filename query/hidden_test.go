package query

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/query/engine"
)

// toUsers is how a call answers a key of a user.
type toUsers string

const (
	// ofPaths: as permissions allow, about a path.
	ofPaths toUsers = "of paths"
	// ofJobs: those of the user alone.
	ofJobs toUsers = "of jobs"
	// ofAll: what anybody is told who may read the view, with nothing of what is in it.
	ofAll toUsers = "of all"
	// refused: 403, whatever is asked.
	refused toUsers = "refused"
)

// callsToUsers has every call of the OpenAPI document. A call that is not in it fails TestHiddenAndAbsentAreTheSame.
var callsToUsers = map[string]toUsers{
	"GET /healthz": ofAll, "GET /api/v1/views": ofAll,
	"GET /readyz": refused, "GET /metrics": refused, "GET /openapi.json": refused,
	"GET /api/v1/views/{view_id}/access": ofPaths, "GET /api/v1/views/{view_id}/blind-spots": ofPaths, "GET /api/v1/views/{view_id}/changes": ofPaths,
	"GET /api/v1/views/{view_id}/complete": ofPaths, "GET /api/v1/views/{view_id}/diff": ofPaths, "GET /api/v1/views/{view_id}/list": ofPaths,
	"GET /api/v1/views/{view_id}/log": ofPaths, "GET /api/v1/views/{view_id}/metadata": ofPaths, "GET /api/v1/views/{view_id}/search": ofPaths,
	"GET /api/v1/views/{view_id}/stats": ofPaths, "GET /api/v1/views/{view_id}/suspect-list": ofPaths, "GET /api/v1/views/{view_id}/tree": ofPaths,
	"GET /api/v1/views/{view_id}/reports/duplicates": ofPaths, "GET /api/v1/views/{view_id}/reports/empty-directories": ofPaths,
	"GET /api/v1/views/{view_id}/reports/growth": ofPaths, "GET /api/v1/views/{view_id}/reports/histogram": ofPaths,
	"GET /api/v1/views/{view_id}/reports/largest": ofPaths, "GET /api/v1/views/{view_id}/reports/odd": ofPaths,
	"GET /api/v1/views/{view_id}/reports/trend": ofPaths, "GET /api/v1/views/{view_id}/reports/usage": ofPaths,
	"GET /api/v1/views/{view_id}/versions": ofAll, "GET /api/v1/views/{view_id}/jobs": ofJobs, "GET /api/v1/views/{view_id}/jobs/{job_id}": ofJobs,
	"GET /api/v1/views/{view_id}/sessions": refused, "PUT /api/v1/views/{view_id}/suspect-list": refused, "DELETE /api/v1/views/{view_id}/reset": refused,
	"GET /api/v1/admin/views": refused, "POST /api/v1/admin/views": refused, "GET /api/v1/admin/views/{view_id}": refused, "PATCH /api/v1/admin/views/{view_id}": refused,
	"DELETE /api/v1/admin/views/{view_id}": refused, "POST /api/v1/admin/views/{view_id}/reset": refused, "GET /api/v1/admin/views/{view_id}/sessions": refused,
	"DELETE /api/v1/admin/views/{view_id}/sessions/{session_id}": refused, "GET /api/v1/admin/views/{view_id}/versions": refused,
	"PUT /api/v1/admin/views/{view_id}/pins/{pin}": refused, "DELETE /api/v1/admin/views/{view_id}/pins/{pin}": refused, "POST /api/v1/admin/views/{view_id}/retention": refused,
	"GET /api/v1/admin/settings": refused, "GET /api/v1/admin/cost": refused, "GET /api/v1/admin/keys": refused, "POST /api/v1/admin/keys": refused, "DELETE /api/v1/admin/keys/{key_id}": refused,
	"GET /iceberg/v1/config": refused, "GET /iceberg/v1/namespaces": refused, "GET /iceberg/v1/namespaces/{namespace}": refused,
	"GET /iceberg/v1/namespaces/{namespace}/tables": refused, "GET /iceberg/v1/namespaces/{namespace}/tables/{table}": refused,
	"GET /iceberg/v1/namespaces/{namespace}/tables/{table}/credentials": refused, "POST /iceberg/v1/namespaces/{namespace}/tables/{table}/metrics": refused,
	"GET /iceberg/v1/namespaces/{namespace}/views": refused, "GET /iceberg/v1/namespaces/{namespace}/views/{view}": refused,
}

// hiddenAndAbsent are paths that are hidden from alice, each with one that does not exist.
var hiddenAndAbsent = [][2]string{
	{"/closed/hidden-dir", "/closed/absent-dir"}, {"/closed/hidden-dir/run.bam", "/closed/absent-dir/run.bam"}, {"/closed/hidden.log", "/closed/absent.log"},
	{"/closed/hidden-old", "/closed/absent-old"}, {"/project/locked/hidden.log", "/project/locked/absent.log"}, {"/listed/known-by-name", "/listed/known-by-nome"},
}

// asked is an answer, and what it cost: requests to the store, bytes, rows and row groups.
type asked struct {
	status int
	answer string
	work   string
	cost   engine.Figures
}

// asks asks a server that has just started, twice, so that the second answer comes from its caches.
func (f *fixture) asks(key, method, target, accept string) (out [2]asked) {
	f.t.Helper()
	counted := store.Count(dated{f.st, f.server.now})
	s, err := New(Options{Store: counted, Authenticator: f.keys, Administer: true, HeadTTL: -1, Now: f.server.now})
	if err != nil {
		f.t.Fatal(err)
	}
	for i := range out {
		before := counted.Counts()
		r := httptest.NewRequest(method, target, nil)
		r.Header.Set("X-API-Key", key)
		r.Header.Set("Accept", accept)
		ctx, cost := engine.WithCost(r.Context())
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r.WithContext(ctx))
		w.Header().Del("Request-Id")
		work := cost.Figures()
		work.CacheHits = 0 // two reads of one row group at a time may both find it in the cache, or one of them
		out[i] = asked{w.Code, fmt.Sprint(w.Code, w.Header(), w.Body), fmt.Sprintf("%+v %+v", counted.Counts().Sub(before), work), work}
	}
	return out
}

// A path that is hidden and one that does not exist have the same answer, byte for byte, for the same work, in every call of the document;
// and who may see the hidden one is answered something else.
func TestHiddenAndAbsentAreTheSame(t *testing.T) {
	f := newFixture(t)
	all, _ := shared()
	// Each row is a row group of its own, so that a look at what is hidden is a read that what is absent does not have.
	one := layer.WriterOptions{RowsPerGroup: 1, SearchSpan: 1}
	before := treeOf(append(slices.Clone(all), file("/closed/hidden-old", 5))...)
	f.commit(testView, func(m *manifest.Manifest) {
		m.Base, m.Totals = []layer.Info{f.layerOf(testView, before, one)}, before[0].Sub
	})
	f.commit(testView, func(m *manifest.Manifest) {
		m.Deltas, m.Totals = []layer.Info{f.layerOf(testView, change(before, all), one)}, all[0].Sub
	})
	f.lead("s1")
	key, bob := f.userKey(alice), f.userKey(permission.NewIdentity(1002, 101))
	others := f.call("tree", "path", "/closed", "on_demand_scan", "true").is(200).object()["job"].(map[string]any)["job_id"].(string)

	var document struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(documentOf(t, f.server), &document); err != nil {
		t.Fatal(err)
	}
	unknown, questions := maps.Clone(callsToUsers), 0
	same := func(call, method, hidden, absent, target string, accept string) {
		t.Helper()
		questions++
		// Two reads of one row group at a time are one request, or two. So where the work differs it is asked again: what is hidden must
		// never take what what is absent does not take at times.
		var works [2][2]map[string]bool // of what is hidden and of what is absent, cold and warm
		for tries := 0; ; tries++ {
			one, other := f.asks(key, method, target, accept), f.asks(key, method, strings.ReplaceAll(target, escaped(hidden), escaped(absent)), accept)
			differs := ""
			for i, when := range [2]string{"cold", "warm"} {
				if x, y := one[i].answer, strings.ReplaceAll(other[i].answer, absent, hidden); x != y {
					t.Errorf("%s %s: what is hidden is answered\n%s\nwhat is absent\n%s", call, target, x, y)
				}
				for n, a := range [2]asked{one[i], other[i]} {
					if works[n][i] == nil {
						works[n][i] = map[string]bool{}
					}
					works[n][i][a.work] = true
				}
				if !meet(works[0][i], works[1][i]) {
					differs = fmt.Sprintf("%s %s, %s: what is hidden takes %s, what is absent %s", call, target, when, one[i].work, other[i].work)
				}
			}
			if differs == "" {
				break
			}
			if tries == 4 {
				t.Error(differs)
				break
			}
		}
	}
	for path, methods := range document.Paths {
		for method := range methods {
			method = strings.ToUpper(method)
			name := method + " " + path
			how, known := callsToUsers[name]
			if !known {
				t.Errorf("%s is new: say in callsToUsers how it answers users", name)
			}
			delete(unknown, name)
			call := strings.TrimPrefix(path, "/api/v1/views/{view_id}/")
			target := strings.NewReplacer("{view_id}", testView, "{namespace}", "fustor", "{table}", testView, "{view}", testView).Replace(path)
			if reads := how == ofPaths || how == ofJobs || call == "versions"; reads != (method == http.MethodGet && forReaders[call]) {
				t.Errorf("%s is here %q, and forReaders says otherwise", name, how)
			}
			switch how {
			case ofPaths:
				for n, paths := range hiddenAndAbsent {
					for i, params := range questionsAt(call, paths[0]) {
						if n > 0 && i > 1 { // all questions about one path, and two about each of the others
							break
						}
						accept := []string{"application/json", ndjson}[i%2]
						same(name, method, paths[0], paths[1], viewURL(call, params...), accept)
					}
				}
				params := questionsAt(call, "/closed/hidden-dir")[0]
				seen := f.asks(bob, method, viewURL(call, params...), "application/json")[0]
				absent := f.asks(bob, method, strings.ReplaceAll(viewURL(call, params...), "hidden", "absent"), "application/json")[0]
				if seen.status != http.StatusOK || seen.answer == strings.ReplaceAll(absent.answer, "absent", "hidden") {
					t.Errorf("%s: who may see it is answered %s, and of nothing %s", name, seen.answer, absent.answer)
				}
			case ofJobs:
				same(name, method, others, "01J00000000000000000000000", strings.ReplaceAll(target, "{job_id}", others), "application/json")
			case ofAll:
				if a := f.asks(key, method, target, "application/json")[0]; a.status != http.StatusOK || regexp.MustCompile("hidden|closed|run.bam").MatchString(a.answer) {
					t.Errorf("%s: %s", name, a.answer)
				}
			case refused:
				same(name, method, "hidden", "absent", target+"?path=%2Fclosed%2Fhidden-dir", "application/json")
				if a := f.asks(key, method, target, "application/json")[0]; a.status != http.StatusForbidden {
					t.Errorf("%s answers a user: %s", name, a.answer)
				}
			}
		}
	}
	for name := range unknown {
		t.Errorf("%s is no call of the document", name)
	}
	if questions < 300 {
		t.Errorf("only %d questions were asked", questions)
	}
	t.Logf("%d questions", questions)
}

// meet reports whether two sets have something in common.
func meet(a, b map[string]bool) bool {
	for x := range a {
		if b[x] {
			return true
		}
	}
	return false
}

// escaped is a path as it stands in a query.
func escaped(path string) string { return strings.ReplaceAll(path, "/", "%2F") }
