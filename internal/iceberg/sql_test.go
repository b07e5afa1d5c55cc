package iceberg

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
)

// sqlScript makes a view by the SQL and prints a row of it for each path.
const sqlScript = `
import sys, duckdb
from importlib.resources import files
d = duckdb.connect(config={"allow_unsigned_extensions": True})
for e in ("avro", "iceberg"):
    d.load_extension(str(next(p for p in files("duckdb_extension_" + e).rglob("*.duckdb_extension"))))
d.sql("\n".join(l for l in sys.argv[1].splitlines() if l not in ("INSTALL iceberg;", "LOAD iceberg;")))
for r in d.sql('select path, modified, allocated, extension, depth, size, owner, "group" from "v" order by path').fetchall():
    print(*r)
`

// TestDuckDBView: the SQL that is printed makes a view with the columns that people ask for.
func TestDuckDBView(t *testing.T) {
	w := newWorld(t)
	for _, r := range []evidence.Row{
		{Type: event.Directory, Inode: event.Inode{Links: 2, Allocated: 4096}, Size: 4096},
		{Parent: "/", Name: "it's.TAR.gz", Type: event.File, Size: 5, MtimeNs: 1_700_000_000_123_456_789, UID: 7, GID: 8, Source: "fs://a/x", Inode: event.Inode{Links: 1, Allocated: 8192}},
		{Parent: "/", Name: "of b", Type: event.Symlink, UID: 7, Source: "fs://b/x"},
		{Parent: "/a/b/", Name: "Makefile", Type: event.File, Size: 7},
	} {
		w.rows[layer.Key{Parent: r.Parent, Name: r.Name}] = r
	}
	w.merge(1, false)
	w.publish(nil, w.versions...)
	table, err := Load(t.Context(), w.st, testView)
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("python3", "-c", "import duckdb, duckdb_extension_iceberg, duckdb_extension_avro").Run(); err != nil {
		t.Skipf("python3 with DuckDB and its iceberg extension is not here: %v", err)
	}
	names, _ := (*manifest.Names)(nil).With(map[string][]event.OwnerName{
		"fs://b/x": {{ID: 7, Name: "b's", ResolvedAt: 1}}, "fs://a/x": {{ID: 7, Name: "ada", ResolvedAt: 2}, {ID: 8, Name: "lab", Group: true, ResolvedAt: 2}},
	})
	for _, c := range []struct {
		names *manifest.Names
		want  string
	}{
		{nil, "0 0|0 0|7 8|7 0"}, {names, "0 0|0 0|ada lab|b's 0"},
	} {
		out, err := exec.Command("python3", "-c", sqlScript, table.View(DuckDB, testView, w.st.String(), "", c.names)).CombinedOutput()
		owners := strings.Split(c.want, "|")
		want := "/ 1970-01-01 00:00:00 4096 None 0 4096 " + owners[0] + "\n" +
			"/a/b/Makefile 1970-01-01 00:00:00 None  3 7 " + owners[1] + "\n" +
			"/it's.TAR.gz 2023-11-14 22:13:20.123456 8192 gz 1 5 " + owners[2] + "\n" +
			"/of b 1970-01-01 00:00:00 None None 1 0 " + owners[3] + "\n"
		if err != nil || string(out) != want {
			t.Errorf("%v: %s\nwant %s", err, out, want)
		}
	}
	for url, words := range map[string][]string{
		"s3://b/p?region=eu-west-1":    {"REGION 'eu-west-1')"},
		"minio://h:9000/b/p?tls=false": {"ENDPOINT 'h:9000', USE_SSL false, URL_STYLE 'path'"},
	} {
		root, err := Root(url)
		if err != nil {
			t.Fatal(err)
		}
		table.Metadata.Location = locationOf(root, layout.Iceberg(testView))
		sql := table.View(DuckDB, testView, url, "", nil)
		for _, word := range append(words, "iceberg_scan('s3://b/p/views/v/iceberg')") {
			if !strings.Contains(sql, word) {
				t.Errorf("%s lacks %s:\n%s", url, word, sql)
			}
		}
	}
}

// TestViewsOfCatalogs: the SQL for Spark and Trino names the table of their catalog, and has texts in their own quotes.
func TestViewsOfCatalogs(t *testing.T) {
	names, _ := (*manifest.Names)(nil).With(map[string][]event.OwnerName{"fs://a/x": {{ID: 7, Name: `l\b's`, ResolvedAt: 1}}})
	for of, words := range map[Dialect][]string{
		Spark: {"TEMPORARY VIEW `a-b` AS", "FROM lake.fustor.`a-b` t", `'l\\b\'s'`, "AS `group`", "timestamp_micros(t.mtime_ns div 1000)", "CAST(t.gid AS string)"},
		Trino: {`CREATE OR REPLACE VIEW "a-b" AS`, `FROM lake.fustor."a-b" t`, `'l\b''s'`, `AS "group"`, "from_unixtime_nanos(t.mtime_ns)", "coalesce(users.name, CAST(t.uid AS varchar))"},
	} {
		sql := (&Table{}).View(of, "a-b", "file:///srv", "lake", names)
		for _, word := range words {
			if !strings.Contains(sql, word) {
				t.Errorf("%s lacks %s:\n%s", of, word, sql)
			}
		}
	}
}
