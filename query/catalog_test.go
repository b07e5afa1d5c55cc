package query

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/iceberg"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
)

// publish publishes the newest version of a view as its table.
func (f *fixture) publish(view string) {
	f.t.Helper()
	root, err := iceberg.Root(f.st.String())
	if err != nil {
		f.t.Fatal(err)
	}
	p := iceberg.Publisher{Store: f.st, Root: root, Cache: layer.NewCache(8 << 20), Now: func() int64 { return observed + 3e9 }, Random: rand.Reader}
	if _, err := p.Publish(f.t.Context(), view, func(*iceberg.Table) ([]*manifest.Manifest, error) {
		return []*manifest.Manifest{f.last[view]}, nil
	}, nil); err != nil {
		f.t.Fatal(err)
	}
}

// refusal holds an error of the catalog against the form of Iceberg's specification.
func (a *answer) refusal(t *testing.T, status int, kind string) {
	t.Helper()
	var body struct {
		Error struct {
			Message, Type string
			Code          int
		}
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != status || body.Error.Code != status || body.Error.Type != kind || body.Error.Message == "" {
		t.Errorf("%d: %s, want %d %s", a.status, a.body, status, kind)
	}
}

func TestCatalog(t *testing.T) {
	f := newFixture(t)
	f.base("research", sample())
	f.base("unpublished", sample())
	f.base("other", sample())
	f.publish("research")
	f.publish("other")
	get := func(path, key string) *answer {
		t.Helper()
		return f.do(http.MethodGet, "/iceberg/v1/"+path, "", "Authorization", "Bearer "+key)
	}
	var endpoints []string
	for _, e := range get("config?warehouse=fustor", queryKey).is(200).object()["endpoints"].([]any) {
		endpoints = append(endpoints, e.(string))
	}
	equal(t, "endpoints", endpoints, []string{
		"GET /v1/{prefix}/namespaces", "GET /v1/{prefix}/namespaces/{namespace}", "HEAD /v1/{prefix}/namespaces/{namespace}",
		"GET /v1/{prefix}/namespaces/{namespace}/tables", "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}", "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
		"GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials", "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
		"GET /v1/{prefix}/namespaces/{namespace}/views", "GET /v1/{prefix}/namespaces/{namespace}/views/{view}", "HEAD /v1/{prefix}/namespaces/{namespace}/views/{view}",
	})
	get("config", queryKey).is(200)
	get("config?warehouse=w", queryKey).refusal(t, 400, "BadRequestException")
	if a := get("namespaces", queryKey).is(200); string(a.body) != `{"namespaces":[["changes"],["fustor"],["named"]]}`+"\n" {
		t.Errorf("namespaces: %s", a.body)
	}
	if a := get("namespaces?parent=fustor", queryKey).is(200); string(a.body) != `{"namespaces":[]}`+"\n" {
		t.Errorf("namespaces below: %s", a.body)
	}
	get("namespaces/fustor", queryKey).is(200)
	names := func(key string) (out []string) {
		for _, i := range get("namespaces/fustor/tables", key).is(200).object()["identifiers"].([]any) {
			out = append(out, i.(map[string]any)["name"].(string))
		}
		return out
	}
	if all, own := names(queryKey), names(otherKey); !slices.Equal(all, []string{"other", "research"}) || !slices.Equal(own, []string{"other"}) {
		t.Errorf("tables: %q, of another key %q", all, own)
	}
	table := get("namespaces/fustor/tables/research?snapshots=refs", queryKey).is(200).object()
	metadata := table["metadata"].(map[string]any)
	if metadata["current-snapshot-id"] != 1.0 || table["metadata-location"] != metadata["location"].(string)+"/metadata/v1.metadata.json" {
		t.Errorf("table: %v", table)
	}
	for path, status := range map[string]int{"namespaces/fustor/tables/research": 204, "namespaces/fustor": 204, "namespaces/fustor/tables/unpublished": 404, "namespaces/none": 404} {
		if a := f.do(http.MethodHead, "/iceberg/v1/"+path, "", "Authorization", "Bearer "+queryKey); a.status != status {
			t.Errorf("HEAD %s: %d", path, a.status)
		}
	}
	get("namespaces/none", queryKey).refusal(t, 404, "NoSuchNamespaceException")
	get("namespaces/none/tables", queryKey).refusal(t, 404, "NoSuchNamespaceException")
	get("namespaces?parent=none", queryKey).refusal(t, 404, "NoSuchNamespaceException")
	get("namespaces/fustor/tables/unpublished", queryKey).refusal(t, 404, "NoSuchTableException")
	get("namespaces/fustor/tables/No%20View", queryKey).refusal(t, 404, "NoSuchTableException")
	get("namespaces/fustor/tables/research?nonsense=1", queryKey).refusal(t, 400, "BadRequestException")
	get("namespaces/fustor/tables/research", otherKey).refusal(t, 403, "ForbiddenException")
	get("nothing", queryKey).refusal(t, 404, "NotFoundException")
	f.do(http.MethodPut, "/iceberg/v1/namespaces/fustor/tables/research", "", "Authorization", "Bearer "+queryKey).refusal(t, 405, "UnsupportedOperationException")
	refused := 0
	for _, r := range f.server.catalog.Routes() {
		namespace := "fustor"
		if strings.HasSuffix(r.Pattern, "/views/{view}") {
			namespace = "named"
		}
		target := strings.NewReplacer("{namespace}", namespace, "{table}", "research", "{view}", "research").Replace(r.Pattern)
		f.do(r.Method, target, "").refusal(t, 401, "NotAuthorizedException")
		f.do(r.Method, target, "", "X-API-Key", "unknown").refusal(t, 401, "NotAuthorizedException")
		f.do(r.Method, target, "", "X-API-Key", ingestKey).refusal(t, 403, "ForbiddenException")
		if r.Operation == nil { // it would write
			refused++
			f.do(r.Method, target, "{}", "X-API-Key", adminKey).refusal(t, 406, "UnsupportedOperationException")
			continue
		}
		if a := f.do(r.Method, target, `{"report-type":"scan-report"}`, "X-API-Key", adminKey); a.status != 200 && !(a.status == 204 && r.Method == http.MethodPost) {
			t.Errorf("%s: %d for an administrator", target, a.status)
		}
	}
	if refused != 16 {
		t.Errorf("%d calls that write are refused", refused)
	}
	if a := f.do(http.MethodPost, "/iceberg/v1/oauth/tokens", "grant_type=client_credentials").is(400).object(); a["error"] != "unsupported_grant_type" {
		t.Errorf("a token: %v", a)
	}
}

// TestCatalogHasChangesAndViews: a view whose changes are published has a table of them, and each view that is published one of SQL,
// with the names of its owners, in namespaces of their own; keys count there, too.
func TestCatalogHasChangesAndViews(t *testing.T) {
	f := newFixture(t)
	f.base("research", sample())
	f.base("unpublished", sample())
	f.base("other", sample())
	f.publish("research")
	f.publish("other")
	root, err := iceberg.Root(f.st.String())
	if err != nil {
		t.Fatal(err)
	}
	p := iceberg.Publisher{Store: f.st, Root: root, Cache: layer.NewCache(8 << 20), Now: func() int64 { return observed + 3e9 }, Random: rand.Reader}
	if _, err := p.PublishChanges(t.Context(), "research", []*manifest.Manifest{f.last["research"]}, 0); err != nil {
		t.Fatal(err)
	}
	f.tell(f.last["research"], "01KBS2M3QXTB1V6X2Y8Z9A0B1C", map[string][]event.OwnerName{"": {{ID: 1000, Name: "o'hara", ResolvedAt: 1}}})
	get := func(path, key string) *answer {
		t.Helper()
		return f.do(http.MethodGet, "/iceberg/v1/namespaces/"+path, "", "Authorization", "Bearer "+key)
	}
	for path, want := range map[string]string{
		"changes/tables": `{"identifiers":[{"namespace":["changes"],"name":"research"}]}`, "named/tables": `{"identifiers":[]}`, "fustor/views": `{"identifiers":[]}`,
		"named/views": `{"identifiers":[{"namespace":["named"],"name":"other"},{"namespace":["named"],"name":"research"}]}`, "changes/views": `{"identifiers":[]}`,
		"named": `{"namespace":["named"],"properties":{}}`,
	} {
		if a := get(path, queryKey).is(200); strings.TrimSpace(string(a.body)) != want {
			t.Errorf("%s: %s, want %s", path, a.body, want)
		}
	}
	table := get("changes/tables/research", queryKey).is(200).object()["metadata"].(map[string]any)
	if location := table["location"].(string); !strings.HasSuffix(location, "/views/research/iceberg/changes") || table["current-snapshot-id"] != 1.0 {
		t.Errorf("changes: %v", table)
	}
	get("changes/tables/other", queryKey).refusal(t, 404, "NoSuchTableException")
	get("changes/tables/research", otherKey).refusal(t, 403, "ForbiddenException")
	get("named/views/research", otherKey).refusal(t, 403, "ForbiddenException")
	get("named/tables/research", queryKey).refusal(t, 404, "NoSuchTableException")
	for _, path := range []string{"fustor/views/research", "named/views/unpublished", "named/views/No%20View", "none/views/research"} {
		get(path, queryKey).refusal(t, 404, "NoSuchViewException")
	}
	get("none/views", queryKey).refusal(t, 404, "NoSuchNamespaceException")
	view := get("named/views/research", queryKey).is(200).object()["metadata"].(map[string]any)
	said := map[string]string{}
	for _, r := range view["versions"].([]any)[0].(map[string]any)["representations"].([]any) {
		r := r.(map[string]any)
		said[r["dialect"].(string)] = r["sql"].(string)
	}
	for dialect, want := range map[string]string{"spark": "'o\\'hara'", "trino": "FROM lake.fustor.\"research\" t", "duckdb": "'o''hara'"} {
		if !strings.Contains(said[dialect], want) || strings.Contains(said[dialect], "CREATE") {
			t.Errorf("%s has no %s: %s", dialect, want, said[dialect])
		}
	}
	var columns []string
	for _, c := range view["schemas"].([]any)[0].(map[string]any)["fields"].([]any) {
		columns = append(columns, c.(map[string]any)["name"].(string))
	}
	equal(t, "columns", columns[:11], []string{"path", "modified", "observed", "owner", "group", "allocated", "extension", "depth", "parent", "name", "type"})
}

// TestCatalogByTheSpecification: what Iceberg's REST specification says of pages, of namespaces in parts, of validators, of reports and of
// credentials.
func TestCatalogByTheSpecification(t *testing.T) {
	f := newFixture(t)
	want := []string{"a", "b", "d", "e", "research"}
	for _, view := range append([]string{"c-unpublished"}, want...) {
		f.base(view, sample())
		if view != "c-unpublished" {
			f.publish(view)
		}
	}
	do := func(method, path, body string, headers ...string) *answer {
		t.Helper()
		return f.do(method, "/iceberg/v1/"+path, body, append([]string{"Authorization", "Bearer " + queryKey}, headers...)...)
	}
	get := func(path string, headers ...string) *answer {
		t.Helper()
		return do(http.MethodGet, path, "", headers...)
	}

	for size := range 7 {
		var names []string
		path, pages := "namespaces/fustor/tables?pageToken=", 0
		for token := ""; pages < 9; pages++ {
			at := path + token
			if size > 0 {
				at += fmt.Sprintf("&pageSize=%d", size)
			}
			a := get(at).is(200).object()
			for _, i := range a["identifiers"].([]any) {
				names = append(names, i.(map[string]any)["name"].(string))
			}
			next, more := a["next-page-token"].(string)
			if !more {
				break
			}
			token = next
		}
		equal(t, fmt.Sprintf("tables in pages of %d", size), names, want)
		if most := map[int]int{0: 0, 1: 5, 2: 2, 3: 1}[size]; size < 4 && pages != most {
			t.Errorf("pages of %d: %d follow the first", size, pages)
		}
	}
	if a := get("namespaces/fustor/tables").is(200).object(); a["next-page-token"] != nil || len(a["identifiers"].([]any)) != len(want) {
		t.Errorf("without a page: %v", a)
	}
	get("namespaces/fustor/tables?pageSize=0").refusal(t, 400, "BadRequestException")
	get("namespaces/fustor/tables?pageToken=!").refusal(t, 400, "BadRequestException")
	if a := get("namespaces?pageToken=&pageSize=1").is(200).object(); a["next-page-token"] == nil || len(a["namespaces"].([]any)) != 1 {
		t.Errorf("a page of namespaces: %v", a)
	}

	for _, path := range []string{"namespaces/fustor%1Fdeep", "namespaces/fustor%1Fdeep/tables", "namespaces?parent=fustor%1Fdeep"} {
		a := get(path)
		a.refusal(t, 404, "NoSuchNamespaceException")
		if !strings.Contains(string(a.body), "fustor.deep") {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	get("namespaces/fustor%1Fresearch/tables/snapshots").refusal(t, 404, "NoSuchTableException") // Spark then asks for fustor.research
	if a := get("namespaces?parent=").is(200).object(); len(a["namespaces"].([]any)) != 3 {      // as if it were absent
		t.Errorf("an empty parent: %v", a)
	}

	const table = "namespaces/fustor/tables/research"
	whole := get(table).is(200)
	tag := whole.header.Get("ETag")
	if a := get(table, "If-None-Match", tag); a.status != 304 || len(a.body) > 0 || a.header.Get("ETag") != tag {
		t.Errorf("unchanged: %d %s", a.status, a.body)
	}
	get(table, "If-None-Match", `"other", `+strings.TrimPrefix(tag, "W/")).is(304)
	rows := treeOf(file("/data/a", 5))
	f.delta("research", change(rows, treeOf(file("/data/a", 50))))
	f.publish("research")
	changed := get(table, "If-None-Match", tag).is(200)
	refs := get(table+"?snapshots=refs&referenced-by=x", "If-None-Match", changed.header.Get("ETag")).is(200) // another answer
	snapshots := func(a *answer) (ids []float64) {
		for _, s := range a.object()["metadata"].(map[string]any)["snapshots"].([]any) {
			ids = append(ids, s.(map[string]any)["snapshot-id"].(float64))
		}
		return ids
	}
	if all, some := snapshots(changed), snapshots(refs); !slices.Equal(all, []float64{1, 2}) || !slices.Equal(some, []float64{2}) {
		t.Errorf("snapshots: %v, of references %v", all, some)
	}
	get(table+"?snapshots=some").refusal(t, 400, "BadRequestException")

	if a := get(table + "/credentials").is(200); string(a.body) != `{"storage-credentials":[]}`+"\n" {
		t.Errorf("credentials: %s", a.body)
	}
	get("namespaces/fustor/tables/none/credentials").refusal(t, 404, "NoSuchTableException")
	do(http.MethodPost, table+"/metrics", `{"report-type":"scan-report","table-name":"fustor.research","snapshot-id":1,"metrics":{}}`).is(204)
	do(http.MethodPost, table+"/metrics", `nonsense`).refusal(t, 400, "BadRequestException")
	do(http.MethodPost, table+"/metrics", `{"report-type":"`+strings.Repeat("x", 1<<20)+`"}`).refusal(t, 413, "BadRequestException")
	do(http.MethodPost, "namespaces/fustor/tables/none/metrics", `{"report-type":"scan-report"}`).refusal(t, 404, "NoSuchTableException")
}

// catalogScript reads a table through the catalog.
const catalogScript = `
import json, sys
engine, uri, token = sys.argv[1:4]
columns = ["parent", "parent_raw", "name", "name_raw", "type", "size", "mtime_ns", "uid"]
if engine == "pyiceberg":
    from pyiceberg.catalog.rest import RestCatalog
    c = RestCatalog("fustor", uri=uri, token=token)
    assert c.list_namespaces() == [("fustor",)], c.list_namespaces()
    assert c.list_tables("fustor") == [("fustor", "research")], c.list_tables("fustor")
    assert c.table_exists("fustor.research") and not c.table_exists("fustor.none")
    t = c.load_table("fustor.research")
    rows = [tuple(r.values()) for r in t.scan(selected_fields=tuple(columns)).to_arrow().select(columns).to_pylist()]
    some = [tuple(r.values()) for r in t.scan(row_filter="parent = '/data/'", selected_fields=tuple(columns)).to_arrow().select(columns).to_pylist()]
else:
    import duckdb
    from importlib.resources import files
    d = duckdb.connect(config={"allow_unsigned_extensions": True})
    for e in ("httpfs", "avro", "iceberg"):
        d.load_extension(str(next(p for p in files("duckdb_extension_" + e).rglob("*.duckdb_extension"))))
    d.sql(f"attach '' as lake (type iceberg, endpoint '{uri}', token '{token}')")
    rows = d.sql(f"select {','.join(columns)} from lake.fustor.research").fetchall()
    some = d.sql(f"select {','.join(columns)} from lake.fustor.research where parent = '/data/'").fetchall()
def lines(rows):
    return sorted(f"{(p_raw or p.encode()).hex()} {(n_raw or n.encode()).hex()} {t} {s} {m} {u}" for p, p_raw, n, n_raw, t, s, m, u in rows)
print(json.dumps({"rows": lines(rows), "some": lines(some)}))
`

// TestEnginesReadTheCatalog: PyIceberg and DuckDB find a view's table through the catalog, with the key as their token, and read what the
// view shows.
func TestEnginesReadTheCatalog(t *testing.T) {
	f := newFixture(t)
	rows := treeOf(file("/data/a", 5), file("/data/b\xff", 6), file("/data/gone", 7), file("/data/deep/er", 1<<40))
	f.base("research", rows)
	f.delta("research", change(rows, treeOf(file("/data/a", 50), file("/data/b\xff", 6), file("/data/new", 8), file("/data/deep/er", 1<<40))))
	f.publish("research")
	server := httptest.NewServer(f.server.Handler())
	defer server.Close()
	var want, some []string
	view, err := layer.OpenView(f.st, "research", f.last["research"].Base, f.last["research"].Deltas, layer.NewCache(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	c := view.Cursor(t.Context())
	for ok := c.Seek(layer.Key{}); ok; ok = c.Next() {
		var r evidence.Row
		if err := c.Row(&r); err != nil {
			t.Fatal(err)
		}
		if r.Removed {
			continue
		}
		line := fmt.Sprintf("%x %x %s %d %d %d", r.Parent, r.Name, event.Type(r.Type), r.Size, r.MtimeNs, r.UID)
		if want = append(want, line); r.Parent == "/data/" {
			some = append(some, line)
		}
	}
	slices.Sort(want)
	slices.Sort(some)
	if len(some) != 4 || f.last["research"].Deltas[0].Removed == 0 {
		t.Fatalf("the view has %q", want)
	}
	for engine, modules := range map[string]string{"pyiceberg": "pyiceberg.table, pyarrow", "duckdb": "duckdb, duckdb_extension_iceberg, duckdb_extension_avro, duckdb_extension_httpfs"} {
		t.Run(engine, func(t *testing.T) {
			if err := exec.Command("python3", "-c", "import "+modules).Run(); err != nil {
				t.Skipf("python3 with %s is not here: %v", modules, err)
			}
			cmd := exec.Command("python3", "-W", "ignore", "-c", catalogScript, engine, server.URL+"/iceberg", queryKey)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, stderr.String())
			}
			var got struct{ Rows, Some []string }
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			equal(t, "rows", got.Rows, want)
			equal(t, "rows of a directory", got.Some, some)
		})
	}
}
