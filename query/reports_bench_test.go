package query

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/gentree"
)

// reportCalls are the reports as people ask for them.
var reportCalls = map[string][]string{
	"largest/files":       {"reports/largest"},
	"largest/directories": {"reports/largest", "type", "directory"},
	"usage/owner":         {"reports/usage"},
	"usage/extension":     {"reports/usage", "by", "extension"},
	"histogram/size":      {"reports/histogram"},
	"histogram/mtime":     {"reports/histogram", "of", "mtime"},
	"empty":               {"reports/empty-directories"},
	"duplicates/1M":       {"reports/duplicates"},
	"duplicates/all":      {"reports/duplicates", "min_size", "1"},
	"growth":              {"reports/growth", "depth", "3"},
}

// BenchmarkReports asks each report of the benchmarks' view, of -rows rows, whole; nothing of the layers is cached.
func BenchmarkReports(b *testing.B) {
	f, _, _ := benchView(b)
	for name, call := range reportCalls {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ask(b, benchServer(b, f, f.st, 64<<20), viewURL(call[0], call[1:]...), "")
			}
			b.ReportMetric(float64(*benchRows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		})
	}
}

const duckdbReports = `
import duckdb, json, sys, time
f = sys.argv[1]
duckdb.sql("set threads to 1")
ext = r"regexp_extract(lower(name), '^.+\.([a-z0-9+_~-]{1,16})$', 1)"
queries = {
  "usage/owner": f"select uid::varchar, count(*) filter (type='file'), sum(size) filter (type='file') from '{f}' where not removed and parent <> '' group by 1",
  "usage/extension": f"select {ext}, count(*), sum(size) from '{f}' where not removed and type='file' group by 1",
  "largest/files": f"select parent || name, 1, size from '{f}' where not removed and type='file' order by size desc, parent, name limit 100",
  "duplicates/all": f"select name || '#' || size, count(*), size * (count(*) - 1) from '{f}' where not removed and type='file' and size >= 1 group by name, size having count(*) > 1",
}
out = {}
for name, q in queries.items():
    start = time.time()
    rows = duckdb.sql(q).fetchall()
    out[name] = {"seconds": time.time() - start, "rows": {r[0]: [int(r[1]), int(r[2] or 0)] for r in rows}}
print(json.dumps(out))
`

// TestDuckDBAgreesWithReports: SQL on the layers as they are says the same as the reports do. With -v it says how long both took;
// -rows=20000000 makes it a million rows.
func TestDuckDBAgreesWithReports(t *testing.T) {
	if err := exec.Command("python3", "-c", "import duckdb").Run(); err != nil {
		t.Skipf("python3 with duckdb is not here: %v", err)
	}
	dir := t.TempDir()
	st, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := serve(t, st)
	tree := gentree.New(gentree.Options{Seed: 5, Rows: min(*benchRows/20, 1_000_000)})
	w := layer.NewWriter(layer.WriterOptions{ID: "01J00000000000000000000000"})
	for r := range tree.Rows() {
		if err := w.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	built, err := w.Finish()
	if err == nil {
		err = layer.Publish(t.Context(), st, testView, built)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.commit(testView, func(m *manifest.Manifest) { m.Base, m.Totals = []layer.Info{built.Info}, tree.Totals() })
	file := filepath.Join(t.TempDir(), "layer.parquet")
	if err := os.WriteFile(file, built.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("python3", "-c", duckdbReports, file).Output()
	if err != nil {
		t.Fatalf("duckdb: %v: %s", err, err.(*exec.ExitError).Stderr)
	}
	var sql map[string]struct {
		Seconds float64
		Rows    map[string][2]int64
	}
	if err := json.Unmarshal(out, &sql); err != nil {
		t.Fatal(err)
	}
	for name, want := range sql {
		call := reportCalls[name]
		start := time.Now()
		f.call(call[0], append(call[1:], "limit", "1000")...).is(200)
		took := time.Since(start).Seconds()
		t.Logf("%s: %.3f s, duckdb with one thread %.3f s: ratio %.2f", name, took, want.Seconds, took/want.Seconds)
		limit := "1000"
		if name == "largest/files" {
			limit = "100"
		}
		list, _ := f.entries(call[0], append(call[1:], "limit", limit)...)
		least := int64(math.MaxInt64)
		for _, e := range list {
			key, files, bytes := reportLine(t, e)
			got, ok := want.Rows[key]
			if !ok || got != [2]int64{files, bytes} {
				t.Errorf("%s: %q has %d files and %d bytes; duckdb says %v", name, key, files, bytes, got)
			}
			delete(want.Rows, key)
			least = min(least, bytes)
		}
		for key, row := range want.Rows { // beyond the limit
			if row[1] > least || len(list) < 1000 && name != "largest/files" {
				t.Errorf("%s lacks %q with %v", name, key, row)
			}
		}
	}
}

// reportLine is an entry as the SQL has it.
func reportLine(t *testing.T, e map[string]any) (key string, files, bytes int64) {
	whole := func(v any) int64 { return int64(v.(float64)) }
	switch totals, _ := e["totals"].(map[string]any); {
	case e["uid"] != nil && totals != nil:
		return fmt.Sprint(whole(e["uid"])), whole(totals["files"]), whole(totals["bytes"])
	case e["extension"] != nil:
		return e["extension"].(string), whole(totals["files"]), whole(totals["bytes"])
	case e["wasted"] != nil:
		path := pathOf(t, e["paths"].([]any)[0].(map[string]any))
		return fmt.Sprintf("%s#%d", path[strings.LastIndexByte(path, '/')+1:], whole(e["size"])), whole(e["count"]), whole(e["wasted"])
	}
	return pathOf(t, e), 1, whole(e["size"])
}
