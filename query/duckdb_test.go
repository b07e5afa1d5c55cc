package query

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/gentree"
)

// duckdbScript prints, for each query of its second argument, what it took and its rows: a key, then numbers.
const duckdbScript = `
import duckdb, json, sys, time
duckdb.sql("set threads to 1")
duckdb.sql("set enable_progress_bar = false")
duckdb.sql(f"create view layer as from '{sys.argv[1]}'")
out = {}
for name, query in json.loads(sys.argv[2]).items():
    start = time.time()
    rows = duckdb.sql(query).fetchall()
    out[name] = {"seconds": time.time() - start, "rows": {str(r[0]): [int(n or 0) for n in r[1:]] for r in rows}}
print(json.dumps(out))
`

// sqlReport is a report in SQL. A filter of rows takes the place of %s.
type sqlReport struct {
	call []string
	sql  string
	top  int // how many entries the report has at most
}

// What the columns of a layer say, in SQL.
const (
	sqlAllocated = "(case when links > 0 then (size + 4095) // 4096 * 4096 + allocated_excess else 0 end)"
	sqlExtension = `regexp_extract(lower(name), '^.+\.([a-z0-9+_~-]{1,16})$', 1)`
	sqlTotals    = "count(*) filter (type='file'), count(*) filter (type='directory'), sum(size) filter (type='file'), sum(" + sqlAllocated + "), " +
		"sum(" + sqlAllocated + ") filter (links > 1 and type <> 'directory'), count(*) filter (links = 0)"
	sqlRows = " from layer where not removed and parent <> '' and %s"
)

// sqlBucket is the lower bound of the bucket that a row is in; the first has none, or 0.
func sqlBucket(value, bounds, least string) string {
	return fmt.Sprintf("(select coalesce(max(b)::varchar, '%s') from unnest(%s) t(b) where b <= %s)", least, bounds, value)
}

// sqlReports are the reports that DuckDB makes, by name. Ages count from now, ns.
func sqlReports(now int64) map[string]sqlReport {
	var sizes []string
	for n := 0; n <= 42; n += 2 {
		if n == 0 || n >= 10 {
			sizes = append(sizes, strconv.FormatInt(1<<n, 10))
		}
	}
	var days []string
	for _, d := range []int{0, 1, 7, 30, 90, 180, 365, 2 * 365, 3 * 365, 5 * 365, 10 * 365} {
		days = append(days, strconv.Itoa(d*86400))
	}
	bounds, ages := "["+strings.Join(sizes, ",")+"]::bigint[]", "["+strings.Join(days, ",")+"]::bigint[]"
	modified := fmt.Sprintf("(case when mtime_ns > %d and mtime_ns // 1000000000 = %d then -1 else %d - mtime_ns // 1000000000 end)", now, now/1e9, now/1e9)
	read := fmt.Sprintf("(case when atime_day > date '1970-01-01' + %d then -1 else (%d - date_diff('day', date '1970-01-01', atime_day)) * 86400 end)", now/86400e9, now/86400e9)
	buckets := map[string]string{"size": sqlBucket("size", bounds, "0"), "mtime": sqlBucket(modified, ages, "-"), "atime": sqlBucket(read, ages, "-")}
	reports := map[string]sqlReport{
		"usage/owner":     {[]string{"reports/usage"}, "select uid, " + sqlTotals + sqlRows + " group by 1", 1000},
		"usage/group":     {[]string{"reports/usage", "by", "group"}, "select gid, " + sqlTotals + sqlRows + " group by 1", 1000},
		"usage/extension": {[]string{"reports/usage", "by", "extension"}, "select " + sqlExtension + ", " + sqlTotals + sqlRows + " and type='file' group by 1", 1000},
		"largest/files":   {[]string{"reports/largest"}, "select parent || name, size" + sqlRows + " and type='file' order by size desc, parent, name limit 100", 100},
		"duplicates/all": {[]string{"reports/duplicates"},
			"select name || '#' || size, size * (count(*) - 1), count(*) from (select name, size, min(parent)" + sqlRows + " and type='file' and size > 0 " +
				"group by name, size, case when inode = 0 then parent else inode::varchar end) group by name, size having count(*) > 1", 1000},
		"empty": {[]string{"reports/empty-directories"}, "select parent || name, 0" + sqlRows + " and type='directory' and sub_files + sub_directories + sub_others = 1", 10_000},
	}
	for of, bucket := range buckets {
		reports["histogram/"+of] = sqlReport{[]string{"reports/histogram", "of", of}, "select " + bucket + ", sum(size), count(*)" + sqlRows + " and type='file' group by 1", 1000}
		reports["owner × "+of] = sqlReport{[]string{"reports/usage", "across", of},
			"select uid || '@' || " + bucket + ", sum(size), count(*)" + sqlRows + " and type='file' group by 1", 1000}
		reports["extension × "+of] = sqlReport{[]string{"reports/usage", "by", "extension", "across", of},
			"select " + sqlExtension + " || '@' || " + bucket + ", sum(size), count(*)" + sqlRows + " and type='file' group by 1", 1000}
	}
	return reports
}

// TestDuckDBAgreesWithReports: SQL on the layers as they are says the same as the reports do, whatever the filter. With -v it says how
// long both took; -rows=20000000 makes it a million rows.
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
	newest := int64(0)
	for r := range tree.Rows() {
		newest = max(newest, r.ObservedAt)
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
	f.commit(testView, func(m *manifest.Manifest) {
		m.Base, m.Totals, m.ObservedAt = []layer.Info{built.Info}, tree.Totals(), newest
	})
	file := filepath.Join(t.TempDir(), "layer.parquet")
	if err := os.WriteFile(file, built.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	yearAgo := newest/1e9 - 365*86400
	filters := map[string]struct {
		params []string
		sql    string
	}{
		"everything": {nil, "true"},
		"owner":      {[]string{"owner", "1003"}, "uid = 1003"},
		"older":      {[]string{"older_than", time.Unix(yearAgo, 0).UTC().Format(time.RFC3339)}, fmt.Sprintf("mtime_ns < %d", yearAgo*1e9)},
		"not read": {[]string{"accessed_before", time.Unix(yearAgo/86400*86400, 0).UTC().Format(time.DateOnly)},
			fmt.Sprintf("atime_day < date '1970-01-01' + %d", yearAgo/86400)},
		"sizes":            {[]string{"min_size", "4096", "max_size", "1000000"}, "size between 4096 and 1000000"},
		"several names":    {[]string{"min_links", "2", "type", "f"}, "links >= 2 and type = 'file'"},
		"allocated":        {[]string{"min_allocated", "65536"}, "links > 0 and " + sqlAllocated + " >= 65536"},
		"owner, age, size": {[]string{"owner", "1003", "older_than", time.Unix(yearAgo, 0).UTC().Format(time.RFC3339), "min_size", "1000"}, fmt.Sprintf("uid = 1003 and mtime_ns < %d and size >= 1000", yearAgo*1e9)},
	}
	reports := sqlReports(newest)
	queries := map[string]string{}
	for filter, where := range filters {
		for name, r := range reports {
			queries[filter+": "+name] = strings.Replace(r.sql, "%s", "("+where.sql+")", 1)
		}
	}
	asked, err := json.Marshal(queries)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("python3", "-c", duckdbScript, file, string(asked)).Output()
	if err != nil {
		t.Fatalf("duckdb: %v: %s", err, err.(*exec.ExitError).Stderr)
	}
	var sql map[string]sqlAnswer
	if err := json.Unmarshal(out, &sql); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, filter := range slices.Sorted(maps.Keys(filters)) {
		for _, name := range slices.Sorted(maps.Keys(reports)) {
			r, want := reports[name], sql[filter+": "+name]
			params := append(append([]string{"limit", strconv.Itoa(r.top)}, r.call[1:]...), filters[filter].params...)
			if strings.HasPrefix(name, "histogram") {
				params = params[2:]
			}
			if name == "duplicates/all" && !slices.Contains(params, "min_size") {
				params = append(params, "min_size", "1")
			}
			start := time.Now()
			answer := f.call(r.call[0], params...).is(200)
			took := time.Since(start).Seconds()
			lines += len(want.Rows)
			t.Logf("%s: %s: %d rows of SQL; %.3f s, duckdb with one thread %.3f s", filter, name, len(want.Rows), took, want.Seconds)
			want.compare(t, filter+": "+name, r.top, answer.object()["entries"].([]any))
		}
	}
	t.Logf("%d reports equal, in %d rows of SQL over %d rows of the layer", len(sql), lines, built.Info.Rows)
}

// sqlAnswer is what DuckDB says of a query: numbers by key, the first of which decides which entries a report leaves out.
type sqlAnswer struct {
	Seconds float64
	Rows    map[string][]int64
}

// compare holds the entries of a report against the rows.
func (a sqlAnswer) compare(t *testing.T, name string, top int, entries []any) {
	t.Helper()
	least := int64(math.MaxInt64)
	for _, e := range entries {
		for key, numbers := range reportLines(t, e.(map[string]any), strings.Contains(name, "×")) {
			if got := a.Rows[key]; !slices.Equal(got, numbers) {
				t.Errorf("%s: %q has %d; duckdb says %d", name, key, numbers, got)
			}
			delete(a.Rows, key)
			least = min(least, numbers[0])
		}
	}
	for key, row := range a.Rows { // beyond the limit
		if len(entries) < top || row[0] > least {
			t.Errorf("%s lacks %q with %d", name, key, row)
		}
	}
}

// reportLines is an entry as the SQL has it: one row, or one for each bucket of a cross table.
func reportLines(t *testing.T, e map[string]any, cross bool) map[string][]int64 {
	whole := func(in map[string]any, names ...string) (out []int64) {
		for _, name := range names {
			out = append(out, int64(in[name].(float64)))
		}
		return out
	}
	bucket := func(e any) (from string, numbers []int64) {
		b := e.(map[string]any)
		if from = "-"; b["from"] != nil {
			from = fmt.Sprint(whole(b, "from")[0])
		}
		return from, whole(b, "bytes", "files")
	}
	totals, _ := e["totals"].(map[string]any)
	switch {
	case totals != nil:
		key, named := e["extension"].(string)
		for _, id := range []string{"uid", "gid"} {
			if !named && e[id] != nil {
				key = fmt.Sprint(whole(e, id)[0])
			}
		}
		across, _ := e["across"].([]any)
		if !cross {
			return map[string][]int64{key: whole(totals, "files", "directories", "bytes", "allocated", "linked_allocated", "unmeasured")}
		}
		out := map[string][]int64{}
		for _, b := range across {
			from, numbers := bucket(b)
			out[key+"@"+from] = numbers
		}
		return out
	case e["wasted"] != nil:
		path := pathOf(t, e["paths"].([]any)[0].(map[string]any))
		return map[string][]int64{fmt.Sprintf("%s#%d", path[strings.LastIndexByte(path, '/')+1:], whole(e, "size")[0]): whole(e, "wasted", "count")}
	case e["files"] != nil:
		from, numbers := bucket(e)
		if numbers[1] == 0 {
			return nil
		}
		return map[string][]int64{from: numbers}
	case e["type"] == "d":
		return map[string][]int64{pathOf(t, e): {0}}
	}
	return map[string][]int64{pathOf(t, e): whole(e, "size")}
}
