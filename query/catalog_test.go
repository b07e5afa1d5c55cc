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
	if a := get("config?warehouse=w", queryKey).is(200).object(); len(a["endpoints"].([]any)) != 6 {
		t.Errorf("config: %v", a)
	}
	if a := get("namespaces", queryKey).is(200); string(a.body) != `{"namespaces":[["fustor"]]}`+"\n" {
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
	f.do(http.MethodDelete, "/iceberg/v1/namespaces/fustor/tables/research", "", "Authorization", "Bearer "+queryKey).refusal(t, 405, "UnsupportedOperationException")
	for _, r := range f.server.catalog.Routes() {
		target := strings.NewReplacer("{namespace}", "fustor", "{table}", "research").Replace(r.Pattern)
		f.do(r.Method, target, "").refusal(t, 401, "NotAuthorizedException")
		f.do(r.Method, target, "", "X-API-Key", "unknown").refusal(t, 401, "NotAuthorizedException")
		f.do(r.Method, target, "", "X-API-Key", ingestKey).refusal(t, 403, "ForbiddenException")
		if a := f.do(r.Method, target, "", "X-API-Key", adminKey); a.status != 200 {
			t.Errorf("%s: %d for an administrator", target, a.status)
		}
	}
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
