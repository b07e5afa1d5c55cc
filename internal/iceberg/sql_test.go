package iceberg

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// sqlScript makes a view by the SQL and prints a row of it for each path.
const sqlScript = `
import sys, duckdb
from importlib.resources import files
d = duckdb.connect(config={"allow_unsigned_extensions": True})
for e in ("avro", "iceberg"):
    d.load_extension(str(next(p for p in files("duckdb_extension_" + e).rglob("*.duckdb_extension"))))
d.sql("\n".join(l for l in sys.argv[1].splitlines() if l not in ("INSTALL iceberg;", "LOAD iceberg;")))
for r in d.sql('select path, modified, allocated, extension, depth, size from "v" order by path').fetchall():
    print(*r)
`

// TestDuckDBView: the SQL that is printed makes a view with the columns that people ask for.
func TestDuckDBView(t *testing.T) {
	w := newWorld(t)
	for _, r := range []evidence.Row{
		{Type: event.Directory, Inode: event.Inode{Links: 2, Allocated: 4096}, Size: 4096},
		{Parent: "/", Name: "it's.TAR.gz", Type: event.File, Size: 5, MtimeNs: 1_700_000_000_123_456_789, Inode: event.Inode{Links: 1, Allocated: 8192}},
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
	out, err := exec.Command("python3", "-c", sqlScript, table.DuckDB(testView, w.st.String())).CombinedOutput()
	const want = "/ 1970-01-01 00:00:00 4096 None 0 4096\n" +
		"/a/b/Makefile 1970-01-01 00:00:00 None  3 7\n" +
		"/it's.TAR.gz 2023-11-14 22:13:20.123456 8192 gz 1 5\n"
	if err != nil || string(out) != want {
		t.Errorf("%v: %s", err, out)
	}
	for url, words := range map[string][]string{
		"s3://b/p?region=eu-west-1":    {"REGION 'eu-west-1')"},
		"minio://h:9000/b/p?tls=false": {"ENDPOINT 'h:9000', USE_SSL false, URL_STYLE 'path'"},
	} {
		root, err := Root(url)
		if err != nil {
			t.Fatal(err)
		}
		table.Metadata.Location = Location(root, testView)
		sql := table.DuckDB(testView, url)
		for _, word := range append(words, "iceberg_scan('s3://b/p/views/v/iceberg')") {
			if !strings.Contains(sql, word) {
				t.Errorf("%s lacks %s:\n%s", url, word, sql)
			}
		}
	}
}
