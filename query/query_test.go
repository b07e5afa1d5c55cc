package query

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/testkit/fault"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/maypok86/otter/v2.(*cache[...]).periodicCleanUp"))
}

// b64 is a path as path_b64 has it.
func b64(path string) string { return base64.RawURLEncoding.EncodeToString([]byte(path)) }

// sample is a small tree with every type and nasty names.
func sample() []evidence.Row {
	link := entry("/docs/link", event.Symlink, 7)
	link.Target = "../a\xff"
	blind := file("/data/blind", 11)
	blind.AgentMissing = true
	return treeOf(
		file("/readme.txt", 10), file("/docs/a.log", 20), file("/docs/b.LOG", 30), link, entry("/docs/socket", event.Other, 0),
		file("/data/x/y/deep.dat", 1<<40), file("/data/fresh.bin", 9), blind, file("/data/b\xff\xfed.txt", 3),
		file("/data/new\nline", 1), entry("/empty", event.Directory, 4096), file("/data-2/z", 5), file("/data/x y&<b>'\"", 2),
	)
}

func TestMetadata(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	for _, c := range []struct{ params, want string }{
		{"/data/fresh.bin", `{"name":"fresh.bin","path":"/data/fresh.bin","content_type":"file","type":"f","size":9,` +
			`"modified_time":1699999999.999999991,"mtime_ns":1699999999999999991,"created_time":null,"integrity_suspect":false,` +
			`"agent_missing":false,"audit_skipped":false,"last_agent_id":"agent-1","source_uri":"fs://host/data","mode":416,"uid":1000,"gid":100,"owner":"1000","group":"100"}`},
		{"/docs/link", `{"name":"link","path":"/docs/link","content_type":"symlink","type":"l","size":7,` +
			`"modified_time":1699999999.999999993,"mtime_ns":1699999999999999993,"created_time":null,"integrity_suspect":false,` +
			`"agent_missing":false,"audit_skipped":false,"last_agent_id":"agent-1","source_uri":"fs://host/data","mode":416,"uid":1000,"gid":100,"owner":"1000","group":"100",` +
			`"target":"../a` + "\ufffd" + `","target_b64":"Li4vYf8"}`},
		{"/empty/", `{"name":"empty","path":"/empty","content_type":"directory","type":"d","size":4096,` +
			`"modified_time":1699999999.999995904,"mtime_ns":1699999999999995904,"created_time":null,"integrity_suspect":false,` +
			`"agent_missing":false,"audit_skipped":false,"last_agent_id":"agent-1","source_uri":"fs://host/data","mode":416,"uid":1000,"gid":100,"owner":"1000","group":"100",` +
			`"subtree":{"files":0,"directories":1,"others":0,"bytes":0,"allocated":0,"linked_allocated":0,"unmeasured":1,"latest_mtime":null,"latest_mtime_ns":null}}`},
	} {
		if got := string(f.call("metadata", "path", c.params).is(200).body); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.params, got, c.want)
		}
	}
	nasty := f.call("metadata", "path_b64", b64("/data/b\xff\xfed.txt")).is(200).object()
	if nasty["path"] != "/data/b\ufffdd.txt" || nasty["path_b64"] != b64("/data/b\xff\xfed.txt") || nasty["size"] != 3.0 {
		t.Errorf("a name that is not UTF-8: %v", nasty)
	}
	root := f.call("metadata").is(200).object()
	if root["path"] != "/" || root["name"] != "" || root["subtree"].(map[string]any)["files"] != 10.0 {
		t.Errorf("the root: %v", root)
	}
	f.call("metadata", "path", "/nothing").problem(404, `"/nothing"`)
	f.call("metadata", "path", "/readme.txt/below").problem(404)
	if p := f.call("metadata", "path_b64", b64("/\xff")).problem(404); p["path_b64"] != b64("/\xff") {
		t.Errorf("the problem does not say which path: %v", p)
	}
}

// TestBirthsAndACLs are in nodes where they are known, and missing where they are not.
func TestBirthsAndACLs(t *testing.T) {
	const acl = event.NoACL + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x05\x00\xe8\x03\x00\x00"
	known, shared, plain := file("/known", 1), entry("/shared", event.Directory, 4096), entry("/plain", event.Directory, 4096)
	known.Inode = event.Inode{Links: 1, CtimeNs: 5e18, BirthS: 1_700_000_000}
	shared.Inode = event.Inode{Links: 2, CtimeNs: 5e18, BirthS: -7, ACL: acl}
	plain.Inode = event.Inode{Links: 2, CtimeNs: 5e18, ACL: event.NoACL}
	f := newFixture(t)
	f.base(testView, treeOf(known, shared, plain, file("/unknown", 1)))
	for _, c := range []struct {
		path                string
		created, birth, acl any
	}{
		{"/known", 1.7e9, 1.7e18, nil}, {"/shared", -7.0, -7e9, "user::rwx,user:1000:r-x"}, {"/plain", nil, nil, "none"}, {"/unknown", nil, nil, nil},
	} {
		node := f.call("metadata", "path", c.path).is(200).object()
		if node["created_time"] != c.created || node["birth_ns"] != c.birth || node["acl"] != c.acl {
			t.Errorf("%s: created %v, born %v, ACL %v", c.path, node["created_time"], node["birth_ns"], node["acl"])
		}
	}
}

// TestParameters: what a call does not know or cannot read is a 400 that says what.
func TestParameters(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	for _, c := range []struct {
		call   string
		params []string
		word   string
	}{
		{"tree", []string{"depth", "1"}, `"depth"`}, {"tree", []string{"max_depth", "-1"}, `"max_depth"`}, {"tree", []string{"max_depth", ""}, `"max_depth"`},
		{"tree", []string{"recursive", "yes"}, `"recursive"`}, {"tree", []string{"only_path", "2"}, `"only_path"`},
		{"tree", []string{"limit", "0"}, `"limit"`}, {"tree", []string{"limit", "100001"}, `"limit"`}, {"tree", []string{"path", "docs"}, `"path"`},
		{"tree", []string{"path", "/a/../b"}, `"path"`}, {"tree", []string{"path", "/a\x00"}, `"path"`}, {"tree", []string{"path", "/a", "path", "/b"}, `"path"`},
		{"tree", []string{"path", "/", "path_b64", b64("/")}, "path_b64"}, {"tree", []string{"path_b64", "*"}, "path_b64"}, {"tree", []string{"cursor", "x"}, "cursor"},
		{"tree", []string{"cursor", ""}, "cursor"}, {"list", []string{"sort", "age"}, `"sort"`}, {"list", []string{"recursive", "true"}, `"recursive"`},
		{"list", []string{"limit", "ten"}, `"limit"`}, {"list", []string{"limit", "10001"}, `"limit"`}, {"list", []string{"path", "/readme.txt"}, "not a directory"},
		{"metadata", []string{"name", "x"}, `"name"`}, {"search", nil, "pattern"}, {"search", []string{"pattern", "a", "query", "a"}, "pattern"},
		{"search", []string{"pattern", ""}, "pattern"}, {"search", []string{"pattern", "[a"}, "pattern"}, {"search", []string{"pattern", "a", "type", "x"}, `"type"`},
		{"search", []string{"pattern", "a", "type", ""}, `"type"`}, {"search", []string{"pattern", "a", "min_size", "big"}, `"min_size"`},
		{"search", []string{"pattern", "a", "max_size", "-1"}, `"max_size"`}, {"search", []string{"pattern", "a", "newer_than", "soon"}, `"newer_than"`},
		{"search", []string{"pattern", "a", "older_than", ""}, `"older_than"`}, {"search", []string{"pattern", "a", "owner", "alice"}, `user "alice"`},
		{"search", []string{"pattern", "a", "owner", "-1"}, `"owner"`}, {"search", []string{"pattern", "a", "perm", "u+q"}, `"perm"`},
		{"search", []string{"pattern", "a", "inode", "0"}, `"inode"`}, {"search", []string{"pattern", "a", "min_links", "many"}, `"min_links"`},
		{"search", []string{"pattern", "a", "group", "staff"}, `group "staff"`}, {"search", []string{"pattern", "a", "changed_after", "soon"}, `"changed_after"`},
		{"search", []string{"pattern", "a", "born_before", "soon"}, `"born_before"`},
		{"search", []string{"regex", ""}, `"regex"`}, {"search", []string{"regex", "(a"}, `"regex"`}, {"search", []string{"regex", "(?:a{100}){100}"}, `"regex"`},
		{"search", []string{"pattern", "a", "max_allocated", "much"}, `"max_allocated"`}, {"search", []string{"pattern", "a", "empty", "very"}, `"empty"`}, {"search", []string{"pattern", "a", "sort", "name"}, `"sort"`},
		{"stats", []string{"recursive", "true"}, `"recursive"`}, {"stats", []string{"path", ""}, `"path"`}, {"sessions", []string{"path", "/"}, `"path"`},
	} {
		f.call(c.call, c.params...).problem(400, c.word)
	}
	f.call("tree", "on_demand_scan", "false", "recursive", "False", "only_path", "1").is(200)
	f.do("POST", viewURL("tree"), "", "X-API-Key", queryKey).problem(405)
	f.get("/api/v1/views/" + testView + "/nothing").problem(404)
	f.get("/api/v1/views/UPPER/tree").problem(400)
}

// TestAuthorization: every call but the health check and the style sheet needs a key that may read, for that view.
func TestAuthorization(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	for _, route := range f.server.mux.Routes() {
		target := strings.NewReplacer("{view_id}", testView, "/{path...}", "/docs").Replace(route.Pattern)
		if target == "/healthz" || strings.HasPrefix(target, "/web/") {
			f.do(route.Method, target, "").is(200)
			continue
		}
		if route.Method != http.MethodGet {
			continue // the forms, which TestBrowser fills in
		}
		if strings.HasSuffix(target, "/search") {
			target += "?pattern=a"
		}
		if got := f.do(route.Method, target, "").is(401); !isPage(target) {
			got.problem(401)
		}
		f.do(route.Method, target, "", "X-API-Key", "wrong").is(401)
		f.do(route.Method, target, "", "X-API-Key", ingestKey).is(403)
		f.do(route.Method, target, "", "Authorization", "Bearer "+ingestKey).is(403)
		// What is for administrators is refused to those who only read; its pages do not exist for them.
		reader, refused := queryKey, http.StatusForbidden
		switch {
		case strings.HasPrefix(target, admin.Prefix):
			f.do(route.Method, target, "", "X-API-Key", queryKey).problem(403, "does not allow")
			reader = adminKey
		case target == "/admin" || strings.HasPrefix(target, "/admin/"):
			f.do(route.Method, target, "", "X-API-Key", queryKey).is(404)
			reader, refused = adminKey, http.StatusNotFound
		}
		if strings.Contains(target, testView) {
			f.do(route.Method, target, "", "X-API-Key", otherKey).is(refused)
		}
		if strings.HasSuffix(target, "/access") { // the key sees everything
			f.do(route.Method, target, "", "X-API-Key", queryKey).problem(400, "nothing to explain")
			continue
		}
		if got := f.do(route.Method, target, "", "X-API-Key", reader); got.status != 200 && got.status != 303 && !strings.Contains(target, "{job_id}") {
			t.Errorf("%s: %d %s", target, got.status, got.body)
		}
	}
	f.do("GET", viewURL("tree"), "", "Authorization", "Bearer "+queryKey).is(200)
}

// TestUnknownAndUnready: a view that is not there, one that nobody has fed yet, and one whose first scan is under way.
func TestUnknownAndUnready(t *testing.T) {
	f := newFixture(t)
	calls := []string{"tree", "list", "metadata", "search?pattern=a", "stats"}
	for _, call := range append(calls, "sessions") {
		f.get("/api/v1/views/nothing/"+call).problem(404, `"nothing"`)
	}
	f.putJSON(layout.Roster("new"), `{"sessions":{},"nonce":"n"}`)
	info := f.layer("scanning", treeOf(file("/a", 5)))
	f.commit("scanning", func(m *manifest.Manifest) {
		m.Scan.SnapshotDone, m.Deltas = 0, []layer.Info{info}
		m.Totals = evidence.Totals{Files: 12, Directories: 3, Bytes: 4567}
	})
	for _, call := range calls {
		for view, files := range map[string]float64{"new": 0, "scanning": 12} {
			a := f.get("/api/v1/views/" + view + "/" + call)
			progress := a.problem(503, view)["progress"].(map[string]any)
			if a.header.Get("Retry-After") != "2" || a.header.Get("ETag") != "" || progress["files"] != files {
				t.Errorf("%s of %s: %v %v", call, view, a.header, progress)
			}
		}
	}
	f.get("/api/v1/views/new/sessions").is(200)
	f.get("/api/v1/views/scanning/sessions").is(200)
	f.get("/api/v1/views/scanning/tree", "If-None-Match", (&subject{version: &engine.Version{Manifest: f.last["scanning"]}}).etag(0)).problem(503)
}

// TestWhatPassesIsNoErrorInTheLog: that a first scan is under way, or that nobody leads a view, is a state; a damaged view is an
// error.
func TestWhatPassesIsNoErrorInTheLog(t *testing.T) {
	f := newFixture(t)
	info := f.layer("scanning", treeOf(file("/a", 5)))
	f.commit("scanning", func(m *manifest.Manifest) { m.Scan.SnapshotDone, m.Deltas = 0, []layer.Info{info} })
	f.base(testView, treeOf(file("/a", 5)))
	f.base("damaged", treeOf(file("/a", 5)))
	f.putJSON(layout.Layer("damaged", f.last["damaged"].Base[0].ID), "not a layer")
	var log bytes.Buffer
	var err error
	f.server, err = New(Options{Store: f.st, Authenticator: f.server.keys, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		target string
		status int
		level  string
	}{
		{"/api/v1/views/scanning/list", 503, "INFO"},
		{"/browse/scanning", 503, "INFO"},
		{viewURL("tree", "on_demand_scan", "true"), 503, "INFO"},
		{"/api/v1/views/damaged/list", 502, "ERROR"},
	} {
		log.Reset()
		f.get(c.target).is(c.status)
		if said := log.String(); !strings.Contains(said, "level="+c.level) || strings.Count(said, "level=") != 1 || !strings.Contains(said, "error=") {
			t.Errorf("%s is logged as %q, not at %s", c.target, said, c.level)
		}
	}
}

func (f *fixture) putJSON(key, body string) {
	f.t.Helper()
	if _, err := f.st.Put(context.Background(), key, []byte(body)); err != nil {
		f.t.Fatal(err)
	}
}

// TestETag: 304 while the version stands, without a look at any layer.
func TestETag(t *testing.T) {
	f := newFixture(t)
	first := f.base(testView, sample())
	calls := []string{"tree", "list", "metadata", "search?pattern=a", "reports/usage"}
	tags := map[string]string{}
	for _, call := range calls {
		a := f.get("/api/v1/views/" + testView + "/" + call).is(200)
		if tags[call] = a.header.Get("ETag"); !strings.Contains(tags[call], "."+first.Nonce) {
			t.Fatalf("%s: ETag %q", call, tags[call])
		}
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimPrefix(f.st.String(), "file://"), "views", testView, "layers", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	f = serve(t, f.st) // nothing is cached
	for _, call := range calls {
		target := "/api/v1/views/" + testView + "/" + call
		a := f.get(target, "If-None-Match", `"other", `+tags[call]).is(304)
		if len(a.body) != 0 || a.header.Get("ETag") != tags[call] || !strings.HasPrefix(a.header.Get("Fustor-Cost"), "gets=1,") {
			t.Errorf("%s: %v %s", call, a.header, a.body)
		}
		f.get(target, "If-None-Match", strings.TrimPrefix(tags[call], "W/")).is(304)
		if call != "metadata" { // a stream has more than the page
			f.get(target, "If-None-Match", tags[call], "Accept", ndjson).problem(502)
		}
		f.get(target, "If-None-Match", `W/"research.1.x"`).problem(502)
		f.get(target, "If-None-Match", `W/"research.1.`+first.Nonce+`x"`).problem(502)
	}
}

// TestSuspect: an entry is suspect until its time is over, without a new version, and an ETag holds no longer.
func TestSuspect(t *testing.T) {
	f := newFixture(t)
	rows := sample()
	end := f.now.Add(30 * time.Second)
	for i := range rows {
		if rows[i].Name == "fresh.bin" {
			rows[i].SuspectUntil = end.UnixNano()
		}
	}
	f.base(testView, rows)
	suspect := func() (bool, float64, string) {
		a := f.call("metadata", "path", "/data/fresh.bin").is(200)
		s := f.call("stats").is(200).object()
		return a.object()["integrity_suspect"].(bool), s["suspect_file_count"].(float64), a.header.Get("ETag")
	}
	is, n, tag := suspect()
	if !is || n != 1 {
		t.Fatalf("fresh: %v, %v suspects", is, n)
	}
	get := func() int { return f.call2("metadata", "/data/fresh.bin", tag).status }
	if got := get(); got != 304 {
		t.Fatalf("while suspect: %d", got)
	}
	f.now = end.Add(-time.Nanosecond)
	if is, n, _ = suspect(); !is || n != 1 {
		t.Fatalf("just before its end: %v, %v suspects", is, n)
	}
	f.now = end
	if got := get(); got != 200 {
		t.Fatalf("after its end: %d", got)
	}
	if is, n, tag = suspect(); is || n != 0 || strings.Contains(tag, "until") {
		t.Fatalf("after its end: %v, %v suspects, %s", is, n, tag)
	}
}

func (f *fixture) call2(name, path, tag string) *answer {
	f.t.Helper()
	return f.get(viewURL(name, "path", path), "If-None-Match", tag)
}

// TestVersionMoves: pages continue on the version they began with while the head moves on, and say so when it is gone.
func TestVersionMoves(t *testing.T) {
	f := newFixture(t)
	before := sample()
	first := f.base(testView, before)
	after := treeOf(file("/data/other", 1), file("/zzz", 2))
	for _, call := range [][]string{
		{"tree", "limit", "3"}, {"list", "path", "/data", "limit", "2"}, {"list", "path", "/data", "limit", "2", "sort", "size"},
		{"list", "path", "/data", "limit", "2", "sort", "mtime"}, {"search", "pattern", "*", "limit", "4"},
	} {
		whole := f.pages(call[0], call[1:], func() {})
		moved := false
		again := f.pages(call[0], call[1:], func() {
			if !moved {
				f.delta(testView, change(before, after))
				moved = true
			}
		})
		equal(t, strings.Join(call, " "), again, whole)
		f.delta(testView, change(after, before))
	}
	cursor := f.call("tree", "limit", "3").is(200).object()["next_cursor"].(string)
	f.call("tree", "limit", "3", "path", "/data", "cursor", cursor).problem(400, "cursor")
	f.call("list", "limit", "3", "cursor", cursor).problem(400, "cursor")
	f.call("tree", "limit", "5", "cursor", cursor).is(200)

	f.base(testView, before)
	old := forged(t, cursor, 1, first.Nonce)
	f.call("tree", "cursor", old).is(200)
	if err := f.st.Delete(context.Background(), first.Key()); err != nil {
		t.Fatal(err)
	}
	f = serve(t, f.st)
	f.call("tree", "cursor", old).problem(410, "version 1")
	f.call("tree", "cursor", forged(t, old, 1, "no-such-nonce")).problem(410)
	f.call("tree", "cursor", forged(t, old, 1, "../../head")).problem(400, "cursor")
}

// forged is a cursor of another version, made from one that the server gave out.
func forged(t *testing.T, cursor string, version uint64, nonce string) string {
	t.Helper()
	body, err := base64.RawURLEncoding.DecodeString(cursor)
	var members map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(body, &members)
	}
	if err != nil || members["v"] == nil || members["n"] == nil {
		t.Fatalf("%s: %v", body, err)
	}
	members["v"], _ = json.Marshal(version)
	members["n"], _ = json.Marshal(nonce)
	body, _ = json.Marshal(members)
	return base64.RawURLEncoding.EncodeToString(body)
}

// TestGoneLayer: a page of an old version whose layers retention has removed is 410, not a damaged view.
func TestGoneLayer(t *testing.T) {
	f := newFixture(t)
	first := f.base(testView, sample())
	cursor := f.call("tree", "limit", "3").is(200).object()["next_cursor"].(string)
	f.base(testView, sample())
	if err := f.st.Delete(context.Background(), layout.Layer(testView, first.Base[0].ID)); err != nil {
		t.Fatal(err)
	}
	f = serve(t, f.st)
	f.call("tree", "limit", "3", "cursor", cursor).problem(410, "version 1")
	f.call("tree").is(200)
}

// pages reads all pages of a call and returns the paths on them, in order; between is called after each.
func (f *fixture) pages(call string, params []string, between func()) (out []string) {
	f.t.Helper()
	next := ""
	for range 1000 {
		all := params
		if next != "" {
			all = append(slices.Clone(params), "cursor", next)
		}
		o := f.call(call, all...).is(200).object()
		if call == "tree" {
			out = append(out, newNodes(f.t, o)...)
		} else {
			out = append(out, paths(f.t, o["entries"].([]any))...)
		}
		next, _ = o["next_cursor"].(string)
		if next == "" {
			return out
		}
		between()
	}
	f.t.Fatalf("%s %v: no end of pages", call, params)
	return nil
}

// newNodes are the paths of a nested tree's nodes, its root and those that are only repeated aside, in key order.
func newNodes(t testing.TB, node map[string]any) (out []string) {
	t.Helper()
	children, _ := node["children"].([]any)
	for _, c := range children {
		child := c.(map[string]any)
		if child["continued"] != true {
			out = append(out, pathOf(t, child))
		}
		out = append(out, newNodes(t, child)...)
	}
	slices.SortFunc(out, func(a, b string) int { return layer.KeyOf(a).Compare(layer.KeyOf(b)) })
	return out
}

// TestDamaged: an object that is not what it should be is named, fails only the calls that need it, and no other view.
func TestDamaged(t *testing.T) {
	ctx := context.Background()
	for name, damage := range map[string]struct {
		do   func(t *testing.T, f *fixture, m *manifest.Manifest)
		word string
	}{
		"head is garbage": {func(t *testing.T, f *fixture, m *manifest.Manifest) { f.putJSON(layout.Head(testView), "{") }, "head"},
		"head is empty":   {func(t *testing.T, f *fixture, m *manifest.Manifest) { f.putJSON(layout.Head(testView), "") }, "head"},
		"head is of another": {func(t *testing.T, f *fixture, m *manifest.Manifest) {
			f.putHead(m, func(m *manifest.Manifest) { m.View = "other" })
		}, "other"},
		"head is newer": {func(t *testing.T, f *fixture, m *manifest.Manifest) {
			f.putHead(m, func(m *manifest.Manifest) { m.Format = 99 })
		}, "99"},
		"partitions overlap": {func(t *testing.T, f *fixture, m *manifest.Manifest) {
			f.putHead(m, func(m *manifest.Manifest) { m.Base = append(m.Base, m.Base[0]) })
		}, "overlap"},
		"the index is garbage": {func(t *testing.T, f *fixture, m *manifest.Manifest) {
			f.putHead(m, func(m *manifest.Manifest) { m.Base[0].Index = []byte("garbage") })
		}, "layers/"},
		"the layer is gone": {func(t *testing.T, f *fixture, m *manifest.Manifest) {
			if err := f.st.Delete(ctx, layout.Layer(testView, m.Base[0].ID)); err != nil {
				t.Fatal(err)
			}
		}, "missing"},
		"the layer is short": {func(t *testing.T, f *fixture, m *manifest.Manifest) {
			f.putJSON(layout.Layer(testView, m.Base[0].ID), "PAR1")
		}, "layers/"},
		"the layer is flipped": {func(t *testing.T, f *fixture, m *manifest.Manifest) {
			o, err := f.st.Get(ctx, layout.Layer(testView, m.Base[0].ID))
			if err != nil {
				t.Fatal(err)
			}
			for i := range o.Body {
				o.Body[i] ^= 0x55
			}
			f.putJSON(layout.Layer(testView, m.Base[0].ID), string(o.Body))
		}, "checksum"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			m := f.base(testView, sample())
			f.base("other", sample())
			damage.do(t, f, m)
			f = serve(t, f.st)
			for _, call := range []string{"tree", "list", "metadata", "search?pattern=a", "stats"} {
				p := f.get("/api/v1/views/"+testView+"/"+call).problem(502, damage.word)
				if p["hint"] == nil {
					t.Errorf("%s: no hint", call)
				}
				f.get("/api/v1/views/other/" + call).is(200)
			}
			f.get("/api/v1/views/"+testView+"/tree", "Accept", ndjson).problem(502, damage.word)
			if page := f.get("/browse/" + testView).is(502); !bytes.Contains(page.body, []byte(damage.word)) {
				t.Errorf("the page: %s", page.body)
			}
		})
	}
}

func (f *fixture) putHead(m *manifest.Manifest, edit func(*manifest.Manifest)) {
	f.t.Helper()
	copied := *m
	copied.Base = slices.Clone(m.Base)
	edit(&copied)
	body, err := copied.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	f.putJSON(layout.Head(m.View), string(body))
}

// brokenInTheMiddle serves a view of 2,000 files whose layer is damaged in the middle.
func brokenInTheMiddle(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	var rows []evidence.Row
	for i := range 2000 {
		rows = append(rows, file("/d/"+strings.Repeat("n", 100)+string(rune('a'+i/100))+string(rune('a'+i%100)), 1))
	}
	m := f.base(testView, treeOf(rows...))
	o, err := f.st.Get(context.Background(), layout.Layer(testView, m.Base[0].ID))
	if err != nil {
		t.Fatal(err)
	}
	for i := len(o.Body) / 2; i < len(o.Body)/2+100; i++ {
		o.Body[i] ^= 0x55
	}
	f.putJSON(layout.Layer(testView, m.Base[0].ID), string(o.Body))
	return serve(t, f.st)
}

// TestBrokenStream: what fails in the middle of a stream ends it with the problem, and cuts the connection.
func TestBrokenStream(t *testing.T) {
	server := httptest.NewServer(brokenInTheMiddle(t).server.Handler())
	defer server.Close()
	req, _ := http.NewRequest("GET", server.URL+viewURL("tree"), nil)
	req.Header.Set("Accept", ndjson)
	req.Header.Set("X-API-Key", queryKey)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err == nil || resp.StatusCode != 200 {
		t.Fatalf("%d, the stream ended as if it were whole", resp.StatusCode)
	}
	all := strings.Split(strings.TrimSpace(body.String()), "\n")
	var last map[string]any
	if err := json.Unmarshal([]byte(all[len(all)-1]), &last); err != nil || last["status"] != 502.0 || !strings.Contains(last["detail"].(string), "checksum") {
		t.Fatalf("the last of %d lines: %v %s", len(all), err, all[len(all)-1])
	}
}

// TestStoreFails: what the store cannot do now is 503 with Retry-After, and over once the store is back.
func TestStoreFails(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	broken := fault.New(f.st, nil)
	f = serve(t, broken)
	broken.Partition(true)
	for _, call := range []string{"tree", "stats", "sessions"} {
		a := f.get("/api/v1/views/" + testView + "/" + call)
		a.problem(503, "object store")
		if a.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", call)
		}
	}
	f.get("/readyz").problem(503)
	f.get("/browse/" + testView).is(503)
	f.get("/healthz").is(200)
	broken.Partition(false)
	f.call("tree").is(200)
	f.get("/readyz").is(200)
}

// TestClientGoes: whoever goes away ends what is done for him, and nothing else.
func TestClientGoes(t *testing.T) {
	f := newFixture(t)
	f.base(testView, randomTree(rand.New(rand.NewPCG(3, 3)), 300))
	for _, call := range []string{"tree", "search?pattern=*", "stats", "list"} {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		req := httptest.NewRequest("GET", "/api/v1/views/"+testView+"/"+call, nil).WithContext(ctx)
		req.Header.Set("X-API-Key", queryKey)
		rec := httptest.NewRecorder()
		f.server.Handler().ServeHTTP(rec, req)
		if rec.Code != 499 {
			t.Errorf("%s: %d %s", call, rec.Code, rec.Body)
		}
		f.get("/api/v1/views/" + testView + "/" + call).is(200)
	}
}

// TestCursorOfVersionThatWent: a page of a version that was current when the server opened it, and that retention has removed since, is 410
// also where the server has that version open.
func TestCursorOfVersionThatWent(t *testing.T) {
	f := newFixture(t)
	server, err := New(Options{Store: f.st, Authenticator: f.server.keys, HeadTTL: -1, CacheBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	f.server = server
	rows := treeOf(file("/a/one", 1), file("/b/two", 2))
	half := len(rows) / 2
	parts := []layer.Info{f.layer(testView, rows[:half]), f.layer(testView, rows[half:])}
	old := f.commit(testView, func(m *manifest.Manifest) { m.Base, m.Totals = parts, rows[0].Sub })
	cursor := f.call("tree", "limit", "1").is(200).object()["next_cursor"].(string)
	f.base(testView, rows)
	for _, key := range []string{old.Key(), layout.Layer(testView, parts[1].ID)} {
		if err := f.st.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	f.call("tree", "limit", "10", "cursor", cursor).problem(410, "version 1")
}
