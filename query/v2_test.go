package query

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/v2api"
)

// v2Client asks a server over HTTP as a client of Fustor V2 does, whose base URL ends in /v2.
type v2Client struct {
	t    testing.TB
	base string
	key  string
}

func (f *fixture) v2(base string) *v2Client {
	server := httptest.NewServer(f.server.Handler())
	f.t.Cleanup(server.Close)
	return &v2Client{f.t, server.URL + base, queryKey}
}

func (c *v2Client) do(method, call, body string, headers ...string) *answer {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.base+call, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.key != "" {
		r.Header.Set("X-API-Key", c.key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	answered, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return &answer{c.t, method + " " + call, response.StatusCode, response.Header, answered}
}

// view asks a call on the test's view, with parameters name, value, …
func (c *v2Client) view(name string, params ...string) *answer {
	c.t.Helper()
	return c.do(http.MethodGet, strings.TrimPrefix(viewURL(name, params...), "/api/v1"), "")
}

// detail checks that the answer is V2's error, and returns its detail.
func (a *answer) detail(status int) any {
	a.t.Helper()
	a.is(status)
	body := a.object()
	if kind := a.header.Get("Content-Type"); len(body) != 1 || body["detail"] == nil || kind != "application/json" {
		a.t.Fatalf("%s: %s is no error of V2 (%s)", a.what, a.body, kind)
	}
	return body["detail"]
}

func v2Node(a *answer) v2api.Node {
	a.t.Helper()
	a.is(200)
	var n v2api.Node
	if err := json.Unmarshal(a.body, &n); err != nil {
		a.t.Fatalf("%s: %v in %s", a.what, err, a.body)
	}
	return n
}

// pathsOf are the paths of a node and of all below it, sorted.
func pathsOf(n v2api.Node) []string {
	out := []string{string(n.Path)}
	for _, c := range n.Children {
		out = append(out, pathsOf(c)...)
	}
	slices.Sort(out)
	return out
}

func TestV2Tree(t *testing.T) {
	f := newFixture(t)
	suspect := file("/data/fresh.bin", 9)
	suspect.SuspectUntil = f.now.UnixNano() + 1e12
	rows := treeOf(append(sample(), suspect)...)
	f.base(testView, rows)
	want := []string{}
	for _, r := range rows {
		want = append(want, r.Path())
	}
	slices.Sort(want)
	for _, base := range []string{"/v2/api/v1", "/v2"} {
		c := f.v2(base)
		equal(t, base, pathsOf(v2Node(c.view("tree"))), want)
	}
	c := f.v2("/v2/api/v1")
	for _, p := range []struct {
		params []string
		want   string
	}{
		{[]string{"path", "/data/fresh.bin"}, `{"name":"fresh.bin","content_type":"file","path":"/data/fresh.bin","size":9,"modified_time":1699999999.999999991,` +
			`"created_time":1699999999.999999991,"integrity_suspect":true,"agent_missing":false,"audit_skipped":false,"last_agent_id":"agent-1","source_uri":"fs://host/data"}`},
		{[]string{"path", "/docs/", "recursive", "False"}, `{"name":"docs","content_type":"directory","path":"/docs","size":4096,"modified_time":1699999999.999995904,` +
			`"created_time":1699999999.999995904,"integrity_suspect":false,"agent_missing":false,"audit_skipped":false,"last_agent_id":"agent-1","source_uri":"fs://host/data","children":[]}`},
		{[]string{"path", "/docs", "only_path", "TRUE"}, `{"name":"docs","content_type":"directory","path":"/docs","children":[` +
			`{"name":"a.log","content_type":"file","path":"/docs/a.log"},{"name":"b.LOG","content_type":"file","path":"/docs/b.LOG"},` +
			`{"name":"link","content_type":"file","path":"/docs/link"},{"name":"socket","content_type":"file","path":"/docs/socket"}]}`},
		{[]string{"path", "/data/../docs/a.log", "only_path", "yes"}, `{"name":"a.log","content_type":"file","path":"/docs/a.log"}`},
		{[]string{"path", "/empty", "only_path", "1", "max_depth", "-1"}, `{"name":"empty","content_type":"directory","path":"/empty","children":[]}`},
		{[]string{"path", "/data/x", "only_path", "1", "max_depth", "1"}, `{"name":"x","content_type":"directory","path":"/data/x","children":[` +
			`{"name":"y","content_type":"directory","path":"/data/x/y"}]}`},
		{[]string{"path", "/data/x", "only_path", "1", "max_depth", "0"}, `{"name":"x","content_type":"directory","path":"/data/x"}`},
		{[]string{"path", "/data/x", "only_path", "1", "max_depth", "2", "recursive", "false"}, `{"name":"x","content_type":"directory","path":"/data/x","children":[` +
			`{"name":"y","content_type":"directory","path":"/data/x/y","children":[{"name":"deep.dat","content_type":"file","path":"/data/x/y/deep.dat"}]}]}`},
		{[]string{"dry_run", "True", "path", "nothing"}, `{"message":"dry-run","view_id":"research"}`},
		{[]string{"path", "/empty", "only_path", "on", "unknown", "1", "recursive", "x", "recursive", "1"}, `{"name":"empty","content_type":"directory","path":"/empty","children":[]}`},
	} {
		if got := strings.TrimSpace(string(c.view("tree", p.params...).is(200).body)); got != p.want {
			t.Errorf("%q:\n got %s\nwant %s", p.params, got, p.want)
		}
	}
	if body := string(c.view("tree", "path", "/data", "only_path", "1").is(200).body); !strings.Contains(body, `"b\udcff\udcfed.txt"`) {
		t.Errorf("a name that is not UTF-8: %s", body)
	}
	for _, path := range []string{"/nothing", "docs", "", "/docs/a.log/x", "/a\x00b"} {
		c.view("tree", "path", path).detail(404)
	}
	for _, wrong := range [][]string{{"recursive", "maybe"}, {"max_depth", "1.5"}, {"max_depth", ""}, {"only_path", ""}} {
		list, ok := c.view("tree", wrong...).detail(422).([]any)
		if !ok || len(list) != 1 || fmt.Sprint(list[0].(map[string]any)["loc"]) != "[query "+wrong[0]+"]" {
			t.Errorf("%v: %v", wrong, list)
		}
	}
}

// TestV2TreeOrder: directories whose names have bytes below a slash come in another order as parents, and every depth is right.
func TestV2TreeOrder(t *testing.T) {
	f := newFixture(t)
	rows := treeOf(file("/a/x", 1), file("/a-b/y", 1), file("/a.c/z/q", 1), file("/a0/w", 1), entry("/a!", event.Directory, 1), entry("/a/b", event.Directory, 1),
		entry("/z", event.Directory, 1), file("/b", 1))
	f.base(testView, rows)
	f.delta(testView, change(rows, treeOf(append(rows, file("/a!/new", 1), file("/zz/new/file", 1))...)))
	all := treeOf(append(rows, file("/a!/new", 1), file("/zz/new/file", 1))...)
	c := f.v2("/v2/api/v1")
	for depth := range 5 {
		want := []string{}
		for _, r := range all {
			if n := strings.Count(r.Path(), "/"); r.Path() == "/" || n <= depth {
				want = append(want, r.Path())
			}
		}
		slices.Sort(want)
		equal(t, fmt.Sprint(depth), pathsOf(v2Node(c.view("tree", "max_depth", fmt.Sprint(depth)))), want)
	}
	var check func(v2api.Node)
	check = func(n v2api.Node) {
		for _, below := range n.Children {
			if want := strings.TrimSuffix(string(n.Path), "/") + "/" + string(below.Name); string(below.Path) != want {
				t.Errorf("%s is among the children of %s", below.Path, n.Path)
			}
			check(below)
		}
	}
	check(v2Node(c.view("tree")))
}

func TestV2Scan(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	c := f.v2("/v2/api/v1")
	if a := c.view("tree", "path", "/docs", "on_demand_scan", "true", "recursive", "false").object(); a["job_id"] != nil || a["job_pending"] != false || a["path"] != "/docs" {
		t.Errorf("without a leader: %v", a)
	}
	c.view("tree", "path", "/new", "on_demand_scan", "true").detail(404)
	if a := c.view("jobs").is(200).object(); len(a) != 1 || len(a["jobs"].([]any)) != 0 {
		t.Errorf("no jobs: %v", a)
	}
	f.begin("s1")
	asked := c.view("tree", "path", "/docs", "on_demand_scan", "true").is(200).object()
	id, _ := asked["job_id"].(string)
	if id == "" || asked["job_pending"] != true || len(asked["children"].([]any)) != 4 {
		t.Fatalf("a scan of what is known: %v", asked)
	}
	unknown := c.view("tree", "path", "/new", "on_demand_scan", "true").is(200).object()
	if unknown["job_pending"] != true || unknown["job_id"] == nil || unknown["message"] == nil || len(unknown) != 3 {
		t.Errorf("a scan of what is not: %v", unknown)
	}
	shape := func(status, completed string, percentage int) {
		t.Helper()
		want := fmt.Sprintf(`{"job_id":"%s","view_id":"research","path":"/docs","status":"%s","progress":{"completed_pipes":%d,"total_pipes":1,"percentage":%d},"created_at":`,
			id, status, percentage/100, percentage)
		if got := string(c.view("jobs/" + id).is(200).body); !strings.HasPrefix(got, want) || !strings.Contains(got, `"completed_at":`+completed) {
			t.Errorf("the job is %s, not %s…", got, want)
		}
	}
	report := func(r job.Report) {
		t.Helper()
		r.For = "s1"
		if _, err := job.Apply(t.Context(), f.st, testView, id, "s1", r, f.now.UnixNano(), randomReader{}); err != nil {
			t.Fatal(err)
		}
	}
	shape("RUNNING", "null", 0)
	report(job.Report{State: job.Running})
	shape("RUNNING", "null", 0)
	seq := int64(7)
	report(job.Report{State: job.Done, LastSeq: &seq})
	f.commit(testView, func(m *manifest.Manifest) { m.Sessions = map[string]manifest.Progress{"s1": {Next: 7}} })
	shape("RUNNING", "null", 0) // its last segment is not folded
	f.commit(testView, func(m *manifest.Manifest) { m.Sessions = map[string]manifest.Progress{"s1": {Next: 8}} })
	shape("COMPLETED", "1", 100)
	if list := c.view("jobs").is(200).object()["jobs"].([]any); len(list) != 2 {
		t.Errorf("the jobs are %v", list)
	}
	c.view("jobs/nothing").detail(404)
}

// TestV2Limit: a tree that is too large is an error, and says so in V2's words before anything is sent.
func TestV2Limit(t *testing.T) {
	f := newFixture(t)
	rows := []evidence.Row{entry("/", event.Directory, 0), entry("/d", event.Directory, 0)}
	rows[0].Parent, rows[0].Name = "", ""
	for i := range maxTreeLimit - 2 {
		rows = append(rows, file(fmt.Sprintf("/d/f%06d", i), 1))
	}
	rows[1].Sub = evidence.Totals{Files: maxTreeLimit - 2, Directories: 1}
	rows[0].Sub = evidence.Totals{Files: maxTreeLimit - 2, Directories: 2}
	sortRows(rows)
	info := f.layerOf(testView, rows, layer.WriterOptions{})
	f.commit(testView, func(m *manifest.Manifest) { m.Base, m.Totals = []layer.Info{info}, rows[0].Sub })
	c := f.v2("/v2/api/v1")
	var before, peak runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	server := httptest.NewServer(f.server.Handler())
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v2/api/v1/views/research/tree", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", queryKey)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	size, chunk, nodes := int64(0), make([]byte, 1<<20), 0
	for {
		n, err := response.Body.Read(chunk)
		size += int64(n)
		nodes += strings.Count(string(chunk[:n]), "\x7b") // each node has one brace that opens
		if size>>20 != (size-int64(n))>>20 {
			runtime.GC()
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			if now.HeapAlloc > peak.HeapAlloc {
				peak = now
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if response.StatusCode != 200 || nodes != maxTreeLimit {
		t.Fatalf("%d with %d nodes", response.StatusCode, nodes)
	}
	held := int64(peak.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("an answer of %d bytes held %d bytes", size, held)
	if held > 24<<20 { // the rows that are decoded in the cache, which it may keep
		t.Errorf("an answer of %d bytes held %d bytes of memory", size, held)
	}

	more := treeOf(file("/e", 1))[1]
	root := rows[0]
	root.Sub.Files++
	f.delta(testView, []evidence.Row{root, more})
	detail, ok := c.view("tree").detail(400).(map[string]any)
	if !ok || detail["error"] != "Metadata retrieval limit exceeded" || detail["current_count"] != float64(maxTreeLimit+1) || detail["limit"] != float64(maxTreeLimit) {
		t.Errorf("too large: %v", detail)
	}
	c.view("tree", "max_depth", "2").detail(400)
	if n := v2Node(c.view("tree", "max_depth", "1")); len(n.Children) != 2 {
		t.Errorf("of limited depth: %v", n.Children)
	}
	if n := v2Node(c.view("tree", "recursive", "false")); len(n.Children) != 0 {
		t.Errorf("not recursive: %v", n.Children)
	}
	v2Node(c.view("tree", "path", "/d", "max_depth", "1")) // as many as there may be
}

type randomReader struct{}

func (randomReader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(time.Now().UnixNano() >> (i % 8))
	}
	return len(b), nil
}

// TestV2Search holds searches, over small row groups, against what Python says of every path.
func TestV2Search(t *testing.T) {
	f := newFixture(t)
	rows := treeOf(sample()...)
	for i := range 300 {
		rows = append(rows, file(fmt.Sprintf("/runs/sample-%d/lane%d/reads_%d.bam", i%20, i%3, i), int64(i)), file(fmt.Sprintf("/runs/other/x%d/sample.txt", i), 1))
	}
	rows = treeOf(rows...)
	f.base(testView, rows)
	gone := treeOf(slices.DeleteFunc(slices.Clone(rows), func(r evidence.Row) bool { return strings.HasSuffix(r.Name, "_7.bam") })...)
	f.delta(testView, change(rows, gone))
	files := []string{}
	for _, r := range gone {
		if r.Type != event.Directory {
			files = append(files, r.Path())
		}
	}
	patterns := []string{"*", "*.bam", "/docs/*.log", "*.LOG", "/docs/*", "*sample-1*", "*/sample-1/*", "*/sample.txt", "sample.txt", "*reads_1?.bam", "*[!0-9].txt",
		"/runs/*lane2*.bam", "/data/b??d.txt", "*new\nline", "*other/x1[0-3]/*", "/runs/sample-3*", "*a-2/z", "/readme.txt", "*e*", "*nothing-has-this*", "", "/*/*/*/deep.dat", "*sample-7*_127.bam"}
	c := f.v2("/v2/api/v1")
	for i, want := range pythonMatches(t, patterns, files) {
		var found []v2api.Node
		if err := json.Unmarshal(c.view("search", "pattern", patterns[i]).is(200).body, &found); err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, n := range found {
			if n.ContentType != "file" || n.Children != nil || n.Size == nil {
				t.Errorf("%q finds %v", patterns[i], n)
			}
			got = append(got, string(n.Path))
		}
		slices.Sort(got)
		slices.Sort(want)
		equal(t, fmt.Sprintf("%q", patterns[i]), got, want)
	}
	if list, ok := c.view("search").detail(422).([]any); !ok || fmt.Sprint(list[0].(map[string]any)["loc"]) != "[query pattern]" {
		t.Errorf("without a pattern: %v", list)
	}
}

// pythonMatches are the paths that match each pattern: by Python, or where it is missing by regular expressions.
func pythonMatches(t *testing.T, patterns, files []string) [][]string {
	t.Helper()
	input, err := json.Marshal(map[string]any{"patterns": patterns, "files": asText(files)})
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]string, len(patterns))
	command := exec.Command("python3", "-c", "import fnmatch,json,sys\nq=json.load(sys.stdin)\njson.dump([[i for i,f in enumerate(q['files']) if fnmatch.fnmatch(f,p)] for p in q['patterns']],sys.stdout)")
	command.Stdin = strings.NewReader(string(input))
	var found [][]int
	if output, err := command.Output(); err == nil && json.Unmarshal(output, &found) == nil {
		for i, numbers := range found {
			for _, n := range numbers {
				out[i] = append(out[i], files[n])
			}
		}
		return out
	}
	for i, p := range patterns {
		expression := regexp.MustCompile(`(?s)^` + strings.NewReplacer(`\*`, `.*`, `\?`, `.`, `\[`, `[`, `\]`, `]`, `!`, `^`).Replace(regexp.QuoteMeta(p)) + `$`)
		for _, file := range files {
			if expression.MatchString(strings.ReplaceAll(file, "\xff\xfe", "..")) {
				out[i] = append(out[i], file)
			}
		}
	}
	return out
}

func asText(paths []string) (out []v2api.Text) {
	for _, p := range paths {
		out = append(out, v2api.Text(p))
	}
	return out
}

// TestV2SearchReadsLittle: a selective pattern is answered from the search index, wherever in the path its text is.
func TestV2SearchReadsLittle(t *testing.T) {
	f := newFixture(t)
	rows := []evidence.Row{}
	for i := range 4000 {
		rows = append(rows, file(fmt.Sprintf("/%02d/project-%03d/f%04d.dat", i/100, i/10, i), 1))
	}
	rows = treeWithDirectories(append(rows, file("/17/needles/inner/one.dat", 1), file("/33/x/needles.txt", 1)))
	info := f.layer(testView, rows)
	f.commit(testView, func(m *manifest.Manifest) { m.Base, m.Totals = []layer.Info{info}, rows[0].Sub })
	c := f.v2("/v2/api/v1")
	for pattern, want := range map[string]int{"*needles*": 2, "/17/*needles/*": 1, "*needles.txt": 1, "*f123?.dat": 10, "*project-123*": 10, "/05/project-050/*": 10} {
		a := c.view("search", "pattern", pattern).is(200)
		var found []v2api.Node
		if err := json.Unmarshal(a.body, &found); err != nil || len(found) != want {
			t.Errorf("%q: %d, %v: %s", pattern, len(found), err, a.body)
		}
		var gets, bytes, read, skipped int
		if _, err := fmt.Sscanf(regexp.MustCompile(`ms=[0-9.]+, rows=\d+, `).ReplaceAllString(a.header.Get("Fustor-Cost"), ""),
			"gets=%d, bytes=%d, groups_read=%d, groups_skipped=%d", &gets, &bytes, &read, &skipped); err != nil && pattern != "" {
			t.Fatalf("%q: %v", a.header.Get("Fustor-Cost"), err)
		}
		if read > 40 {
			t.Errorf("%q reads %d row groups: %s", pattern, read, a.header.Get("Fustor-Cost"))
		}
	}
}

// treeWithDirectories is treeOf for many rows, without sums.
func treeWithDirectories(rows []evidence.Row) []evidence.Row {
	have := map[string]bool{}
	for _, r := range rows {
		for parent := r.Parent; parent != "/" && !have[parent]; {
			have[parent] = true
			d := entry(strings.TrimSuffix(parent, "/"), event.Directory, 0)
			rows = append(rows, d)
			parent = d.Parent
		}
	}
	root := entry("/", event.Directory, 0)
	root.Parent, root.Name = "", ""
	rows = append(rows, root)
	sortRows(rows)
	return rows
}

func TestV2StatsAndDoubts(t *testing.T) {
	f := newFixture(t)
	suspect := file("/data/fresh.bin", 9)
	suspect.SuspectUntil = f.now.UnixNano() + 60e9
	rows := treeOf(append(sample(), suspect)...)
	f.base(testView, rows)
	gone := treeOf(slices.DeleteFunc(slices.Clone(rows), func(r evidence.Row) bool { return r.Path() == "/readme.txt" })...)
	deletion := change(rows, gone)
	for i := range deletion {
		deletion[i].AgentMissing = deletion[i].AgentMissing || deletion[i].Removed
	}
	f.delta(testView, deletion)
	c := f.v2("/v2/api/v1")
	stats := c.view("stats").is(200).object()
	for name, want := range map[string]any{"total_files": 11.0, "total_directories": 7.0, "item_count": 18.0, "suspect_file_count": 1.0, "has_blind_spot": true,
		"oldest_item_path": nil, "last_audit_finished_at": nil, "audit_cycle_count": 0.0, "is_auditing": false} {
		if got, given := stats[name]; !given || got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
	for _, name := range []string{"latency_ms", "staleness_seconds", "logical_now"} {
		if _, ok := stats[name].(float64); !ok {
			t.Errorf("%s is %v", name, stats[name])
		}
	}
	if len(stats) != 12 {
		t.Errorf("the stats are %v", stats)
	}
	var suspects []v2api.Suspect
	if err := json.Unmarshal(c.view("suspect-list", "source_id", "3").is(200).body, &suspects); err != nil || len(suspects) != 1 ||
		suspects[0].Path != "/data/fresh.bin" || int64(suspects[0].Until) != suspect.SuspectUntil {
		t.Errorf("suspects: %v, %v", suspects, err)
	}
	var spots v2api.BlindSpots
	if err := json.Unmarshal(c.view("blind-spots").is(200).body, &spots); err != nil || spots.AdditionsCount != 1 || len(spots.Additions) != 1 ||
		spots.Additions[0].Path != "/data/blind" || !*spots.Additions[0].AgentMissing || spots.DeletionCount != 1 || !slices.Equal(spots.Deletions, []v2api.Text{"/readme.txt"}) {
		t.Errorf("blind spots: %v, %v", spots, err)
	}
	put := func(body string) *answer { return c.do(http.MethodPut, "/views/research/suspect-list", body) }
	if got := put(`{"updates":[{"path":"/data/fresh.bin","mtime":1700000000.5,"extra":1}]}`).is(200).object(); got["updated_count"] != 1.0 || got["view_id"] != testView || got["status"] != "ok" {
		t.Errorf("an update: %v", got)
	}
	if got := put(`{"updates":[{"path":"/a","current_mtime":1},{"path":"/b"},{"mtime":2}]}`).is(200).object(); got["updated_count"] != 1.0 {
		t.Errorf("updates: %v", got)
	}
	put(`{`).detail(422)
	put(`{}`).detail(422)
	put(`{"updates":[{"path":1}]}`).detail(422)
	put(`{"updates":"` + strings.Repeat("x", 2<<20) + `"}`).detail(413)
}

func TestV2Sessions(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	c := f.v2("/v2/api/v1")
	if a := c.view("sessions").is(200).object(); a["count"] != 0.0 || len(a["active_sessions"].([]any)) != 0 {
		t.Errorf("no sessions: %v", a)
	}
	f.lead("s1")
	f.putJSON(layout.Session(testView, "s1"), `{"session_id":"s1","view_id":"research","task_id":"agent:pipe","agent_id":"agent","client_ip":"10.0.0.1",`+
		`"source_uri":"fs:///data","timeout_s":3600,"nonce":"n"}`)
	a := c.view("sessions").is(200).object()
	live := a["active_sessions"].([]any)
	if len(live) != 1 || a["view_id"] != testView {
		t.Fatalf("one session: %v", a)
	}
	got := live[0].(map[string]any)
	for name, want := range map[string]any{"session_id": "s1", "role": "leader", "can_snapshot": true, "can_audit": true, "can_send": true} {
		if got[name] != want {
			t.Errorf("%s is %v in %v", name, got[name], got)
		}
	}
	if len(got) != 13 {
		t.Errorf("a session is %v", got)
	}
}

// TestV2Frame: errors, keys, the greeting, and pages of other sites.
func TestV2Frame(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	f.commit("scanning", func(m *manifest.Manifest) { m.Scan.SnapshotDone = 0 })
	c := f.v2("/v2")
	f.register(administrator, "admin")
	for _, path := range []string{"", "/", "/api/v1", "/api/v1/"} {
		(&v2Client{t, c.base, ""}).do(http.MethodGet, path, "").is(200)
	}
	tree := "/api/v1/views/research/tree"
	(&v2Client{t, c.base, ""}).do(http.MethodGet, tree, "").detail(401)
	(&v2Client{t, c.base, ""}).do(http.MethodGet, tree, "", "Cookie", "fustor_key=dGVzdC1rZXktZm9yLXJlYWRpbmc").detail(401) // any site may ask, so that a cookie is no key
	(&v2Client{t, c.base, "wrong"}).do(http.MethodGet, tree, "").detail(401)
	(&v2Client{t, c.base, otherKey}).do(http.MethodGet, tree, "").detail(403)
	(&v2Client{t, c.base, ingestKey}).do(http.MethodGet, tree, "").detail(403)
	c.do(http.MethodGet, "/api/v1/views/nothing/tree", "").detail(404)
	c.do(http.MethodGet, "/api/v1/views/No%20View/tree", "").detail(400)
	c.do(http.MethodGet, "/api/v1/views/research/nothing", "").detail(404)
	c.do(http.MethodGet, "/api/v2", "").detail(404)
	c.do(http.MethodPost, tree, "{}").detail(405)
	if a := c.do(http.MethodGet, "/api/v1/views/scanning/tree", ""); a.detail(503) == nil || a.header.Get("Retry-After") == "" {
		t.Errorf("before the first snapshot: %v", a.header)
	}
	anonymous := &v2Client{t, c.base, ""}
	preflight := anonymous.do(http.MethodOptions, tree, "", "Origin", "https://a.example", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "x-api-key").is(200)
	for name, want := range map[string]string{"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "x-api-key", "Access-Control-Allow-Credentials": ""} {
		if got := preflight.header.Get(name); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
	if a := c.do(http.MethodGet, tree, "", "Origin", "https://a.example").is(200); a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a page of another site: %v", a.header)
	}
	anonymous.do(http.MethodOptions, tree, "").detail(405)
	reset := "/api/v1/views/research/reset"
	c.do(http.MethodDelete, reset, "").detail(403)
	if a := (&v2Client{t, c.base, administrator}).do(http.MethodDelete, reset, "").is(204); len(a.body) > 0 {
		t.Errorf("204 with %q", a.body)
	}
	c.do(http.MethodGet, tree, "").detail(503)
	f.get("/api/v1/views/research/tree").problem(503) // native calls keep their errors
}

// TestV2Damage: an object that cannot be read is an error of V2's before the answer begins. Later the connection breaks, so that
// nobody takes a part for the whole.
func TestV2Damage(t *testing.T) {
	f := newFixture(t)
	rows := []evidence.Row{}
	for i := range 99_000 {
		rows = append(rows, file(fmt.Sprintf("/d/f%06d", i), int64(i*7919%10007)))
	}
	rows = treeWithDirectories(rows)
	rows[0].Sub = evidence.Totals{Files: 99_000, Directories: 2}
	info := f.layerOf(testView, rows, layer.WriterOptions{})
	f.commit(testView, func(m *manifest.Manifest) { m.Base, m.Totals = []layer.Info{info}, rows[0].Sub })
	key := layout.Layer(testView, info.ID)
	object, err := f.st.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	damage := func(from int) *httptest.Server {
		t.Helper()
		body := slices.Clone(object.Body)
		for i := from; i < from+len(body)/4; i++ {
			body[i] ^= 0x55
		}
		if _, err := f.st.Put(t.Context(), key, body); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(serveAgain(f).server.Handler())
		t.Cleanup(server.Close)
		return server
	}
	for _, call := range []string{"tree", "search?pattern=*"} {
		(&v2Client{t, damage(0).URL + "/v2/views/research/", queryKey}).do(http.MethodGet, call, "").detail(502)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, damage(len(object.Body)/3*2).URL+"/v2/views/research/"+call, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-API-Key", queryKey)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != 200 || n == 0 || err == nil {
			t.Errorf("%s: %d, %d bytes, %v", call, response.StatusCode, n, err)
		}
	}
}

// serveAgain is another server over the same store, with nothing in its cache.
func serveAgain(f *fixture) *fixture {
	again := serve(f.t, f.st)
	again.now = f.now
	return again
}

// BenchmarkV2Tree asks for whole trees over HTTP, as a client of Fustor V2 does: directories of 10 files, warm.
func BenchmarkV2Tree(b *testing.B) {
	for _, nodes := range []int{1000, maxTreeLimit} {
		b.Run(fmt.Sprint("nodes=", nodes), func(b *testing.B) {
			f := newFixture(b)
			rows := []evidence.Row{}
			for i := range (nodes - 1) / 11 * 10 {
				rows = append(rows, file(fmt.Sprintf("/project-%05d/reads_%06d.fastq.gz", i/10, i), int64(i)))
			}
			rows = treeWithDirectories(rows)
			rows[0].Sub = evidence.Totals{Files: int64(len(rows)) / 11 * 10, Directories: int64(len(rows))/11 + 1}
			info := f.layerOf(testView, rows, layer.WriterOptions{})
			f.commit(testView, func(m *manifest.Manifest) { m.Base, m.Totals = []layer.Info{info}, rows[0].Sub })
			server := httptest.NewServer(f.server.Handler())
			b.Cleanup(server.Close)
			r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL+"/v2/api/v1/views/research/tree", nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("X-API-Key", queryKey)
			size := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				response, err := http.DefaultClient.Do(r)
				if err != nil {
					b.Fatal(err)
				}
				if size, err = io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != 200 {
					b.Fatal(response.StatusCode, err)
				}
				response.Body.Close()
			}
			b.ReportMetric(float64(size), "bytes")
			b.ReportMetric(float64(len(rows)), "nodes")
		})
	}
}
