//go:build unix

package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/child"
	"github.com/fustor/fustor/testkit/s3test"
	"github.com/fustor/fustor/testkit/wait"
)

// enginesDir is where testdata/engines/install.sh has put the engines: make engines.
func enginesDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("FUSTOR_ENGINES")
	if dir == "" {
		t.Skip("FUSTOR_ENGINES does not say where the SQL engines are: make engines installs them, and runs this")
	}
	return dir
}

// lake is a view that changes, on a store, and what it showed at the versions that are published.
type lake struct {
	*parts
	work     *workload
	versions []uint64
	shown    map[uint64]tree
	root     string // of the store, as engines name it
	view     string
}

// newLake makes a view with a history: folds, merges, trees that are gone, names that are not UTF-8, and a pin.
func newLake(t *testing.T, storeURL, root string) *lake {
	t.Helper()
	c := viewconfig.Default(viewID)
	c.IcebergIntervalSeconds = 24 * 3600 // the test publishes, and knows what the newest snapshot is
	c.IcebergChangesSeconds = -1
	if err := viewconfig.Save(t.Context(), openStore(t, storeURL), c); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l := &lake{parts: startParts(t, storeURL), work: newWorkload(t, filepath.Join(dir, "work"), 22), shown: map[uint64]tree{}, root: root, view: viewID}
	l.work.run(300)
	l.startAgent(dir, "agent-1", "")
	for round := 0; round < 6 || !l.layered() && round < 30; round++ { // until deltas are merged, and there are newer ones
		if round > 0 {
			l.work.run(120)
		}
		l.parts.equal(t, dir, time.Now(), patience(time.Minute))
		l.publish()
		if round == 2 {
			if r := command(t, l.env, "admin", "version", "pin", viewID, "marked", "--store", l.store, "--version", fmt.Sprint(l.newest())); r.code != 0 {
				t.Fatal(r.stderr)
			}
		}
	}
	raw := 0
	for path := range l.shown[l.newest()] {
		if !utf8.ValidString(path) {
			raw++
		}
	}
	if raw == 0 || !l.layered() {
		h := l.head()
		t.Fatalf("the view is too simple: %d names that are not UTF-8, %d partitions, %d deltas", raw, len(h.Base), len(h.Deltas))
	}
	return l
}

// layered: the view has a base, and deltas over it.
func (l *lake) layered() bool {
	h := l.head()
	return len(h.Base) > 0 && len(h.Deltas) > 0
}

func (l *lake) newest() uint64 { return l.versions[len(l.versions)-1] }

// publish publishes the view, and notes what the published version shows.
func (l *lake) publish() {
	l.t.Helper()
	r := command(l.t, l.env, "admin", "publish", l.view, "--store", l.store, "--json")
	var said struct {
		Version uint64 `json:"version"`
	}
	if r.code != 0 || json.Unmarshal([]byte(r.stdout), &said) != nil || said.Version == 0 {
		l.t.Fatalf("publish: %s %s", r.stdout, r.stderr)
	}
	if l.shown[said.Version] != nil {
		return
	}
	eventually(l.t, 5*time.Second, fmt.Sprintf("find --as-of %d answers", said.Version), func() bool { // the server may know an earlier one yet
		r = l.ask(l.t, "find", "/", "--json", "--as-of", fmt.Sprint(said.Version))
		return r.code == 0
	})
	shown, err := parseTree(r.stdout)
	if err != nil {
		l.t.Fatal(err)
	}
	l.versions, l.shown[said.Version] = append(l.versions, said.Version), shown
}

// metadata is the name of the newest metadata of the table.
func (l *lake) metadata() string {
	l.t.Helper()
	o, err := l.objects().Get(l.t.Context(), layout.IcebergHint(layout.Iceberg(l.view)))
	if err != nil {
		l.t.Fatal(err)
	}
	return fmt.Sprintf("%s/views/%s/iceberg/metadata/v%s.metadata.json", l.root, l.view, o.Body)
}

// sqlEngine is one that is asked.
type sqlEngine struct {
	name string
	ask  func(request map[string]any) ([][]any, error)
	// rows are all columns of the test at a version, with a condition; 0 is the newest. files: by the files alone, without the catalog.
	rows func(version uint64, where string, files bool) map[string]any
	// noFiles: it does not read a table without a catalog here.
	noFiles bool
	// as are further ways to name a version: the pin of the third, and a time.
	marked func() map[string]any
	past   func(time.Time) map[string]any
	clumsy func(t *testing.T) // what else it does with the catalog
	// changes are the columns changesAsked of the table of changes.
	changes func() map[string]any
	// named is the view of SQL, with what fustor sql prints made of it; nil: the engine reads none.
	named func(t *testing.T) map[string]string
	quote string // of names
}

// asked are the columns that are compared.
var asked = []string{"parent", "parent_raw", "name", "name_raw", "type", "size", "mtime_ns", "mode", "uid", "gid", "target", "target_raw"}

// changesAsked are the columns of the table of changes that are compared.
var changesAsked = []string{"version", "since_version", "change", "fields", "parent", "parent_raw", "name", "name_raw", "before_size", "after_size", "after_mtime_ns"}

// selected is the list of asked in SQL; raw bytes come as hex digits.
func selected(toHex string) string { return selectedOf(asked, toHex) }

func selectedOf(columns []string, toHex string) string {
	var out []string
	for _, c := range columns {
		if strings.HasSuffix(c, "_raw") {
			c = toHex + "(" + c + ")"
		}
		out = append(out, c)
	}
	return strings.Join(out, ", ")
}

// treeOfRows makes a tree of what an engine read. No path may come twice.
func treeOfRows(rows [][]any) (tree, error) {
	found := tree{}
	for _, r := range rows {
		if len(r) != len(asked) {
			return nil, fmt.Errorf("a row has %d columns: %v", len(r), r)
		}
		text := func(i int) string {
			if raw, _ := r[i+1].(string); raw != "" {
				b, err := hex.DecodeString(strings.ToLower(raw))
				if err != nil {
					return "not hex: " + raw
				}
				return string(b)
			}
			s, _ := r[i].(string)
			return s
		}
		number := func(i int) int64 {
			n, err := strconv.ParseInt(fmt.Sprint(r[i]), 10, 64)
			if err != nil {
				return -1
			}
			return n
		}
		path := text(0) + text(2)
		if path == "" {
			path = "/"
		}
		if _, twice := found[path]; twice {
			return nil, fmt.Errorf("%q comes twice", path)
		}
		kind := map[any]byte{"file": 'f', "directory": 'd', "symlink": 'l', "other": 'o'}[r[4]]
		found[path] = entry{kind: kind, size: number(5), mtimeNs: number(6), mode: uint32(number(7)), uid: uint32(number(8)), gid: uint32(number(9)), target: text(10)}
	}
	return found, nil
}

// check holds an engine against what the view showed.
func (l *lake) check(t *testing.T, e sqlEngine, version uint64, where string, files bool, keep func(string, entry) bool) {
	t.Helper()
	of := version
	if of == 0 {
		of = l.newest()
	}
	l.checkRows(t, fmt.Sprintf("version %d, files %t, %s", version, files, where), e, e.rows(version, where, files), of, keep)
}

func (l *lake) checkRows(t *testing.T, what string, e sqlEngine, request map[string]any, version uint64, keep func(string, entry) bool) {
	t.Helper()
	rows, err := e.ask(request)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	have, err := treeOfRows(rows)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	want := tree{}
	for path, entry := range l.shown[version] {
		if keep == nil || keep(path, entry) {
			want[path] = entry
		}
	}
	if d := difference(have, want); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

// checkChanges holds the table of changes against what fustor diff says of the versions that were published after each other.
func (l *lake) checkChanges(t *testing.T, e sqlEngine) {
	t.Helper()
	rows, err := e.ask(e.changes())
	if err != nil {
		t.Errorf("changes: %v", err)
		return
	}
	var have, want []string
	for _, r := range rows {
		text := func(i int) string {
			if raw, _ := r[i+1].(string); raw != "" {
				b, _ := hex.DecodeString(raw)
				return string(b)
			}
			s, _ := r[i].(string)
			return s
		}
		if n, err := strconv.ParseUint(fmt.Sprint(r[0]), 10, 64); err != nil || n <= l.versions[0] {
			continue
		}
		path := text(4) + text(6)
		if path == "" {
			path = "/"
		}
		have = append(have, fmt.Sprintf("%v %v %v %q [%v] %v %v %v", r[0], r[1], r[2], path, r[3], r[8], r[9], r[10]))
	}
	for i, v := range l.versions[1:] {
		said := l.ask(t, "diff", "/", "--from", fmt.Sprint(l.versions[i]), "--to", fmt.Sprint(v), "--json")
		if said.code != 0 {
			t.Fatal(said.stderr)
		}
		for line := range strings.Lines(said.stdout) {
			var c struct {
				Change        string
				Path          string
				PathB64       string `json:"path_b64"`
				Fields        []string
				Before, After *struct {
					Size  int64
					Mtime int64 `json:"mtime_ns"`
				}
			}
			if err := json.Unmarshal([]byte(line), &c); err != nil {
				t.Fatal(err)
			}
			path, err := bytesOf(c.Path, c.PathB64)
			if err != nil {
				t.Fatal(err)
			}
			var before, after, mtime any
			if c.Before != nil {
				before = c.Before.Size
			}
			if c.After != nil {
				after, mtime = c.After.Size, c.After.Mtime
			}
			want = append(want, fmt.Sprintf("%d %d %s %q [%s] %v %v %v", v, l.versions[i], c.Change, path, strings.Join(c.Fields, ","), before, after, mtime))
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) || len(want) == 0 {
		t.Errorf("the table of changes has %d rows, fustor diff %d\n%.2000q\n%.2000q", len(have), len(want), have, want)
	}
}

// checkNamed holds the view of SQL, and the one that fustor sql prints, against what fustor find shows.
func (l *lake) checkNamed(t *testing.T, e sqlEngine) {
	t.Helper()
	var want []string
	for line := range strings.Lines(l.ask(t, "find", "/", "--json", "--as-of", fmt.Sprint(l.newest())).stdout) {
		var found struct {
			Path, Owner, Group string
			PathB64            string `json:"path_b64"`
			Mtime              int64  `json:"mtime_ns"`
		}
		if err := json.Unmarshal([]byte(line), &found); err != nil {
			t.Fatal(err)
		}
		if found.PathB64 != "" { // as text, a path that is not UTF-8 has other signs in JSON than in the table
			continue
		}
		depth := strings.Count(found.Path, "/")
		if found.Path == "/" {
			depth = 0
		}
		want = append(want, fmt.Sprintf("%q %s %s %d %d", found.Path, found.Owner, found.Group, depth, found.Mtime/1000))
	}
	slices.Sort(want)
	for what, from := range e.named(t) {
		micros := map[string]string{"spark": "unix_micros(modified)", "trino": "CAST(to_unixtime(modified) * 1000000 AS bigint)"}[e.name]
		rows, err := e.ask(sqlRequest("SELECT path, owner, %[1]sgroup%[1]s, depth, %[2]s, mtime_ns FROM %[3]s", e.quote, micros, from))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		var have []string
		for _, r := range rows {
			ns, _ := strconv.ParseInt(fmt.Sprint(r[5]), 10, 64)
			at, _ := strconv.ParseInt(fmt.Sprint(r[4]), 10, 64)
			if d := at - ns/1000; d < -1000 || d > 1000 { // to_unixtime is a float
				t.Errorf("%s: %v is not %d", what, r[4], ns/1000)
			}
			if path, _ := r[0].(string); !strings.ContainsRune(path, utf8.RuneError) {
				have = append(have, fmt.Sprintf("%q %v %v %v %d", path, r[1], r[2], r[3], ns/1000))
			}
		}
		if slices.Sort(have); !slices.Equal(have, want) {
			t.Errorf("%s has %d rows, want %d\n%.1500q\n%.1500q", what, len(have), len(want), have, want)
		}
	}
}

// printed is what fustor sql prints for an engine.
func (l *lake) printed(t *testing.T, engine string) string {
	t.Helper()
	r := command(t, l.env, "sql", "--store", l.store, "--view", l.view, "--print", engine)
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	return strings.TrimSuffix(strings.TrimSpace(r.stdout), ";")
}

// TestEngines: PyIceberg, DuckDB, Spark and Trino read a view through the catalog and from the files, on a directory and on MinIO: every row
// at every published version is what find shows, by number, time and tag, while folds go on, too. They cannot write.
func TestEngines(t *testing.T) {
	dir := enginesDir(t)
	t.Run("file", func(t *testing.T) {
		store := fileStore(t)
		testEngines(t, newLake(t, store, store), dir, nil)
	})
	t.Run("minio", func(t *testing.T) {
		s := s3test.MinIO(t)
		testEngines(t, newLake(t, s.URL("minio", "lake"), "s3://"+s.Bucket+"/lake"), dir, s)
	})
}

func testEngines(t *testing.T, l *lake, dir string, s3 *s3test.Server) {
	spark := func(runtime string) func(*testing.T, *lake, string, *s3test.Server) sqlEngine {
		return func(t *testing.T, l *lake, dir string, s3 *s3test.Server) sqlEngine {
			return sparkEngine(t, l, dir, s3, runtime)
		}
	}
	engines := map[string]func(*testing.T, *lake, string, *s3test.Server) sqlEngine{
		"duckdb": duckdbEngine, "pyiceberg": pyicebergEngine, "trino": trinoEngine, "spark-1.11.0": spark("1.11.0"),
	}
	if s3 == nil { // of the older runtime, only that is another which reads Parquet, whatever the store
		engines["spark-1.10.1"] = spark("1.10.1")
	}
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			e := open(t, l, dir, s3)
			for _, files := range []bool{false, true} {
				if files && e.noFiles {
					continue
				}
				for _, v := range append([]uint64{0}, l.versions...) {
					l.check(t, e, v, "", files, nil)
				}
			}
			parent := ""
			for path := range l.shown[l.newest()] {
				if i := strings.LastIndexByte(path, '/'); i > 0 && !strings.ContainsAny(path, "'\\") && utf8.ValidString(path) && (parent == "" || path[:i+1] < parent) {
					parent = path[:i+1]
				}
			}
			l.check(t, e, 0, "parent = '"+parent+"'", false, func(path string, _ entry) bool {
				return path[:strings.LastIndexByte(path, '/')+1] == parent && path != "/"
			})
			l.check(t, e, 0, "size > 2000 AND type = 'file'", false, func(_ string, e entry) bool { return e.size > 2000 && e.kind == 'f' })
			if e.marked != nil {
				l.checkRows(t, "the tag of a pin", e, e.marked(), l.versions[2], nil)
			}
			if e.past != nil {
				// A snapshot is the newest one from its time on, until that of the next.
				l.checkRows(t, "a time", e, e.past(l.current(1).Add(time.Millisecond)), l.versions[1], nil)
			}
			if e.clumsy != nil {
				e.clumsy(t)
			}
			l.checkChanges(t, e)
			if e.named != nil {
				l.checkNamed(t, e)
			}
			// While the view changes, a reader has one version.
			worked, enough := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(worked)
				for {
					select {
					case <-enough:
						return
					case <-time.After(200 * time.Millisecond): // engines take seconds: the tree must not become another one
						l.work.run(20)
					}
				}
			}()
			for range 3 {
				before := l.newest()
				wait.For(t, 10*time.Second, "another version is published", func() bool {
					l.publish()
					return l.newest() > before
				})
				l.check(t, e, l.newest(), "", false, nil)
			}
			close(enough)
			<-worked
			l.publish()
			l.check(t, e, 0, "", false, nil)
			l.checkChanges(t, e)
			t.Logf("%d versions, %d rows in the newest, %d layers", len(l.versions), len(l.shown[l.newest()]), len(l.head().Base)+len(l.head().Deltas))
		})
	}
}

// A tableSnapshot is one of the table's, the oldest first.
type tableSnapshot struct {
	Version uint64 `json:"snapshot-id"`
	Ms      int64  `json:"timestamp-ms"`
}

// snapshots are those that the catalog tells of.
func (l *lake) snapshots() []tableSnapshot {
	l.t.Helper()
	var answer struct {
		Metadata struct {
			Snapshots []tableSnapshot `json:"snapshots"`
		} `json:"metadata"`
	}
	if err := getJSON(l.t.Context(), l.queryURL+"/iceberg/v1/namespaces/fustor/tables/"+l.view, &answer); err != nil {
		l.t.Fatal(err)
	}
	return answer.Metadata.Snapshots
}

// current is the time from which on the snapshot of the i-th published version was the newest.
func (l *lake) current(i int) time.Time {
	l.t.Helper()
	for _, s := range l.snapshots() {
		if s.Version == l.versions[i] {
			return time.UnixMilli(s.Ms).UTC()
		}
	}
	l.t.Fatalf("the table has no snapshot of version %d", l.versions[i])
	return time.Time{}
}

// driven starts engine.py, which asks an engine of Python.
func driven(t *testing.T, dir, engine string, config any, env ...string) func(map[string]any) ([][]any, error) {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "venv", "bin", "python"), "-W", "ignore", "testdata/engines/engine.py", engine, string(text))
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") }), env...) // engines have what their set-up gives them
	cmd.WaitDelay = time.Second                                                                                            // Java may hold the pipes for longer
	stderr := &logged{}
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	ended, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Skipf("%s is not here: %v", engine, err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		<-ended
	})
	lines := bufio.NewReaderSize(out, 1<<20)
	return func(request map[string]any) ([][]any, error) {
		line, err := json.Marshal(request)
		if err != nil {
			return nil, err
		}
		if _, err := in.Write(append(line, '\n')); err != nil {
			return nil, fmt.Errorf("%w: %s", err, stderr.tail(20))
		}
		answer, err := lines.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, stderr.tail(20))
		}
		var said struct {
			Rows  [][]any `json:"rows"`
			Error string  `json:"error"`
		}
		d := json.NewDecoder(bytes.NewReader(answer))
		d.UseNumber()
		if err := d.Decode(&said); err != nil {
			return nil, err
		}
		if said.Error != "" {
			return nil, errors.New(said.Error)
		}
		return said.Rows, nil
	}
}

// refuses sends a request that must fail in this way.
func (e sqlEngine) refuses(t *testing.T, request map[string]any, form string) {
	t.Helper()
	if rows, err := e.ask(request); err == nil || !regexp.MustCompile(form).MatchString(err.Error()) {
		t.Errorf("%v: %v %v, want an error like %s", request, rows, err, form)
	}
}

func (e sqlEngine) gives(t *testing.T, request map[string]any, want string) {
	t.Helper()
	if rows, err := e.ask(request); err != nil || fmt.Sprint(rows) != want {
		t.Errorf("%v: %v %v, want %s", request, rows, err, want)
	}
}

func sqlRequest(format string, args ...any) map[string]any {
	return map[string]any{"sql": fmt.Sprintf(format, args...)}
}

func where(condition string) string {
	if condition == "" {
		return ""
	}
	return " WHERE " + condition
}

// setup is a section of docs/sql.md, for this server and key.
func (l *lake) setup(t *testing.T, section string) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/sql.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(doc), "\n## "+section+"\n")
	if !found {
		t.Fatalf("docs/sql.md has no section %q", section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return strings.NewReplacer("https://fustor.example", l.queryURL, "fustor_…", apiKey, "file:///srv/fustor", l.root).Replace(text)
}

func duckdbEngine(t *testing.T, l *lake, dir string, s3 *s3test.Server) sqlEngine {
	setup := []string{regexp.MustCompile(`ATTACH [^;]+`).FindString(l.setup(t, "The catalog"))}
	if s3 != nil {
		setup = append(setup, fmt.Sprintf("CREATE SECRET (TYPE s3, KEY_ID '%s', SECRET '%s', ENDPOINT '%s', URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')",
			s3test.AccessKey, s3test.SecretKey, strings.TrimPrefix(s3.Endpoint(), "http://")))
	}
	e := sqlEngine{name: "duckdb", ask: driven(t, dir, "duckdb", map[string]any{"setup": setup})}
	location := strings.TrimPrefix(l.root, "file://") + "/views/" + l.view + "/iceberg"
	e.rows = func(version uint64, condition string, files bool) map[string]any {
		from := "lake.fustor." + l.view
		switch {
		case files && version > 0:
			from = fmt.Sprintf("iceberg_scan('%s', snapshot_from_id = %d)", location, version)
		case files:
			from = fmt.Sprintf("iceberg_scan('%s')", location)
		case version > 0:
			from += fmt.Sprintf(" AT (VERSION => %d)", version)
		}
		return sqlRequest("SELECT %s FROM %s%s", selected("hex"), from, where(condition))
	}
	e.past = func(at time.Time) map[string]any {
		return sqlRequest("SELECT %s FROM lake.fustor.%s AT (TIMESTAMP => TIMESTAMP '%s')", selected("hex"), l.view, at.Format("2006-01-02 15:04:05.000"))
	}
	e.changes = func() map[string]any {
		return sqlRequest("SELECT %s FROM lake.changes.%s", selectedOf(changesAsked, "hex"), l.view)
	}
	e.clumsy = func(t *testing.T) {
		e.gives(t, sqlRequest("SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'lake' ORDER BY 1"), "[[changes "+l.view+"] [fustor "+l.view+"]]")
		e.refuses(t, sqlRequest("SELECT * FROM lake.fustor.none"), "none")
		e.refuses(t, sqlRequest("DROP TABLE lake.fustor.%s", l.view), "(?i)not support|406|reading")
		e.refuses(t, sqlRequest("CREATE TABLE lake.fustor.new (a INTEGER)"), "(?i)not support|406|reading")
	}
	return e
}

func pyicebergEngine(t *testing.T, l *lake, dir string, s3 *s3test.Server) sqlEngine {
	properties := map[string]string{"uri": l.queryURL + "/iceberg", "token": apiKey}
	if s3 != nil {
		properties["s3.access-key-id"], properties["s3.secret-access-key"], properties["s3.endpoint"] = s3test.AccessKey, s3test.SecretKey, s3.Endpoint()
	}
	e := sqlEngine{name: "pyiceberg", ask: driven(t, dir, "pyiceberg", map[string]any{"properties": properties})}
	e.rows = func(version uint64, condition string, files bool) map[string]any {
		request := map[string]any{"table": "fustor." + l.view, "columns": asked}
		if files {
			request["metadata"] = l.metadata()
		}
		if version > 0 {
			request["snapshot"] = version
		}
		if condition != "" {
			request["filter"] = condition
		}
		return request
	}
	e.marked = func() map[string]any {
		return map[string]any{"table": "fustor." + l.view, "columns": asked, "tag": "marked"}
	}
	e.changes = func() map[string]any {
		return map[string]any{"table": "changes." + l.view, "columns": changesAsked}
	}
	e.clumsy = func(t *testing.T) {
		if s3 == nil { // a store of S3's kind needs properties, as docs/sql.md says below its block
			l.runsPython(t, e)
		}
		e.gives(t, map[string]any{"do": "names"}, "[[[[changes] [fustor] [named]] [[fustor "+l.view+"]] false true false]]")
		e.refuses(t, map[string]any{"do": "drop", "table": "fustor." + l.view}, "(?i)not support|reading")
	}
	return e
}

// runsPython runs the blocks of docs/sql.md in Python as they are there, for this server and a directory that the view has, and counts what
// they find. What the first gives as a table of Arrow is also asked for as one of pandas and one of Polars.
func (l *lake) runsPython(t *testing.T, e sqlEngine) {
	t.Helper()
	parents := map[string]int{}
	for path := range l.shown[l.newest()] {
		if parent := path[:strings.LastIndexByte(path, '/')+1]; path != "/" && utf8.ValidString(parent) && !strings.ContainsAny(parent, "'\\\"\n") {
			parents[parent]++ // the others cannot stand in a block as they are
		}
	}
	parent := slices.MaxFunc(slices.Collect(maps.Keys(parents)), func(a, b string) int { return cmp.Or(parents[a]-parents[b], strings.Compare(a, b)) })
	block := func(section string) string {
		_, code, found := strings.Cut(l.setup(t, section), "```python\n")
		if !found {
			t.Fatalf("%s has no block of Python", section)
		}
		code, _, _ = strings.Cut(code, "```")
		return strings.NewReplacer("fustor.research", "fustor."+l.view, "/projects/mouse/", parent,
			"/srv/fustor/views/research/iceberg/metadata/v17.metadata.json", l.metadata()).Replace(code)
	}
	catalog := block("The catalog")
	for _, code := range []string{
		catalog, strings.ReplaceAll(catalog, ".to_arrow()", ".to_pandas()"), strings.ReplaceAll(catalog, ".to_arrow()", ".to_polars()"),
		block("PyIceberg, from files"),
	} {
		e.gives(t, map[string]any{"do": "run", "code": code}, fmt.Sprintf("[[%d]]", parents[parent]))
	}
}

// javaHome is a Java of a version from lowest to highest.
func javaHome(t *testing.T, lowest, highest int) string {
	t.Helper()
	homes, _ := filepath.Glob("/usr/lib/jvm/*")
	for _, home := range append([]string{os.Getenv("JAVA_HOME")}, homes...) {
		if home == "" {
			continue
		}
		out, err := exec.Command(filepath.Join(home, "bin", "java"), "-version").CombinedOutput()
		found := regexp.MustCompile(`version "(\d+)`).FindSubmatch(out)
		if err != nil || found == nil {
			continue
		}
		if v, _ := strconv.Atoi(string(found[1])); lowest <= v && v <= highest {
			return home
		}
	}
	t.Skipf("no Java from %d to %d is here: neither JAVA_HOME nor /usr/lib/jvm has it", lowest, highest)
	return ""
}

func sparkEngine(t *testing.T, l *lake, dir string, s3 *s3test.Server, runtime string) sqlEngine {
	java := javaHome(t, 17, 21)
	jars := filepath.Join(dir, "iceberg-spark-"+runtime+".jar")
	if _, err := os.Stat(jars); err != nil {
		t.Skipf("iceberg-spark-runtime is not here: %v", err)
	}
	config := map[string]string{
		"spark.driver.memory": "1200m", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "1", "spark.sql.session.timeZone": "UTC", "spark.driver.host": "127.0.0.1",
		"spark.driver.bindAddress":             "127.0.0.1",
		"spark.sql.catalog.lake.cache-enabled": "false", "spark.sql.catalog.files.cache-enabled": "false", // what is published is read at once
	}
	for _, setting := range regexp.MustCompile(`--conf (\S+?)=(\S+)`).FindAllStringSubmatch(l.setup(t, "Spark"), -1) {
		if setting[1] == "spark.sql.iceberg.vectorization.enabled" && !strings.HasPrefix(runtime, "1.10") || strings.HasSuffix(setting[1], ".io-impl") && s3 == nil {
			continue
		}
		config[setting[1]] = setting[2]
	}
	if s3 != nil {
		jars += "," + filepath.Join(dir, "iceberg-aws-"+runtime+".jar")
	}
	config["spark.jars"] = jars
	e := sqlEngine{name: "spark", noFiles: s3 != nil, ask: driven(t, dir, "spark", map[string]any{"spark": config}, "JAVA_HOME="+java, "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID="+s3test.AccessKey, "AWS_SECRET_ACCESS_KEY="+s3test.SecretKey)}
	e.rows = func(version uint64, condition string, files bool) map[string]any {
		from := "lake.fustor." + l.view
		if files {
			from = "files." + l.view + ".iceberg"
		}
		if version > 0 {
			from += fmt.Sprintf(" VERSION AS OF %d", version)
		}
		return sqlRequest("SELECT %s FROM %s%s", selected("hex"), from, where(condition))
	}
	e.marked = func() map[string]any {
		return sqlRequest("SELECT %s FROM lake.fustor.%s VERSION AS OF 'marked'", selected("hex"), l.view)
	}
	e.changes = func() map[string]any {
		return sqlRequest("SELECT %s FROM lake.changes.%s", selectedOf(changesAsked, "hex"), l.view)
	}
	e.quote = "`"
	e.named = func(t *testing.T) map[string]string {
		t.Helper()
		if _, err := e.ask(sqlRequest("%s", l.printed(t, "spark"))); err != nil {
			t.Errorf("fustor sql --print spark: %v", err)
		}
		return map[string]string{"the view of SQL": "lake.named." + l.view, "fustor sql": l.view}
	}
	e.past = func(at time.Time) map[string]any {
		return sqlRequest("SELECT %s FROM lake.fustor.%s TIMESTAMP AS OF '%s'", selected("hex"), l.view, at.Format("2006-01-02 15:04:05.000"))
	}
	e.clumsy = func(t *testing.T) {
		e.gives(t, sqlRequest("SHOW NAMESPACES IN lake"), "[[changes] [fustor] [named]]")
		e.gives(t, sqlRequest("SHOW VIEWS IN lake.named"), "[[named "+l.view+" false]]")
		e.gives(t, sqlRequest("SHOW TABLES IN lake.fustor"), "[[fustor "+l.view+" false]]")
		e.gives(t, sqlRequest("SELECT count(*) > 4 FROM lake.fustor.%s.snapshots", l.view), "[[true]]")
		e.gives(t, sqlRequest("SELECT snapshot_id FROM lake.fustor.%s.refs WHERE name = 'marked'", l.view), fmt.Sprintf("[[%d]]", l.versions[2]))
		e.refuses(t, sqlRequest("SELECT * FROM lake.fustor.none"), "TABLE_OR_VIEW_NOT_FOUND")
		e.refuses(t, sqlRequest("DROP TABLE lake.fustor.%s", l.view), "does not support endpoint")
		e.refuses(t, sqlRequest("DELETE FROM lake.fustor.%s WHERE size > 0", l.view), "does not support endpoint")
	}
	return e
}

func trinoEngine(t *testing.T, l *lake, dir string, s3 *s3test.Server) sqlEngine {
	if _, err := os.Stat(filepath.Join(dir, "trino", "lib")); err != nil {
		t.Skipf("Trino's server is not here: %v", err)
	}
	java := javaHome(t, 24, 99)
	etc := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(address)
	var catalog []string
	for line := range strings.Lines(l.setup(t, "Trino")) {
		file, s3Line := strings.HasPrefix(line, "fs.native-local.") || strings.HasPrefix(line, "local."), strings.HasPrefix(line, "fs.native-s3.") || strings.HasPrefix(line, "s3.")
		if regexp.MustCompile(`^[a-z0-9.-]+=`).MatchString(line) && !(file && s3 != nil) && !(s3Line && s3 == nil) {
			catalog = append(catalog, strings.TrimSpace(line))
		}
	}
	if s3 != nil {
		catalog = append(catalog, "s3.endpoint="+s3.Endpoint(), "s3.path-style-access=true", "s3.aws-access-key="+s3test.AccessKey, "s3.aws-secret-key="+s3test.SecretKey)
	}
	for name, lines := range map[string][]string{
		"catalog/lake.properties": catalog,
		"log.properties":          {"io.trino=WARN"},
		"config.properties": {"coordinator=true", "node-scheduler.include-coordinator=true", "http-server.http.port=" + port, "discovery.uri=http://" + address,
			"query.max-memory=600MB", "query.max-memory-per-node=400MB", "plugin.dir=" + filepath.Join(absolute(t, dir), "trino", "plugin")},
	} {
		path := filepath.Join(etc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(java, "bin", "java"), "-Xmx1500m", "-XX:ReservedCodeCacheSize=256M", "-Djdk.attach.allowAttachSelf=true",
		"-cp", filepath.Join(absolute(t, dir), "trino", "lib", "*"), "-Dnode.environment=test", "-Dnode.id=test", "-Dnode.data-dir="+filepath.Join(etc, "data"),
		"-Dcatalog.config-dir="+filepath.Join(etc, "catalog"), "-Dconfig="+filepath.Join(etc, "config.properties"), "-Dlog.levels-file="+filepath.Join(etc, "log.properties"),
		"io.trino.server.TrinoServer")
	cmd.Dir = etc // it writes a log there
	log := &logged{}
	cmd.Stdout, cmd.Stderr = log, log
	ended, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("Trino said:\n%s", log.tail(40))
		}
	})
	e := sqlEngine{name: "trino", noFiles: true, ask: func(request map[string]any) ([][]any, error) {
		return askTrino(t, "http://"+address, request["sql"].(string))
	}}
	wait.For(t, 2*time.Minute, "Trino reads the view", func() bool { // SELECT 1 is answered before there is a node that reads tables
		_, err := e.ask(sqlRequest("SELECT count(*) FROM lake.fustor.%s", l.view))
		return err == nil
	})
	e.rows = func(version uint64, condition string, _ bool) map[string]any {
		from := "lake.fustor." + l.view
		if version > 0 {
			from += fmt.Sprintf(" FOR VERSION AS OF BIGINT '%d'", version)
		}
		return sqlRequest("SELECT %s FROM %s%s", selected("to_hex"), from, where(condition))
	}
	e.marked = func() map[string]any {
		return sqlRequest("SELECT %s FROM lake.fustor.%s FOR VERSION AS OF 'marked'", selected("to_hex"), l.view)
	}
	e.changes = func() map[string]any {
		return sqlRequest("SELECT %s FROM lake.changes.%s", selectedOf(changesAsked, "to_hex"), l.view)
	}
	e.quote = `"`
	e.named = func(t *testing.T) map[string]string {
		t.Helper()
		_, selects, _ := strings.Cut(l.printed(t, "trino"), " AS\n") // this Trino has no catalog that keeps views
		return map[string]string{"the view of SQL": "lake.named." + l.view, "fustor sql": "(" + selects + ")"}
	}
	e.past = func(at time.Time) map[string]any {
		return sqlRequest("SELECT %s FROM lake.fustor.%s FOR TIMESTAMP AS OF TIMESTAMP '%s UTC'", selected("to_hex"), l.view, at.Format("2006-01-02 15:04:05.000"))
	}
	e.clumsy = func(t *testing.T) {
		e.gives(t, sqlRequest("SHOW TABLES FROM lake.fustor"), "[["+l.view+"]]")
		e.gives(t, sqlRequest(`SELECT count(*) > 4 FROM lake.fustor."%s$snapshots"`, l.view), "[[true]]")
		e.refuses(t, sqlRequest("SELECT * FROM lake.fustor.none"), "does not exist")
		e.refuses(t, sqlRequest("DROP TABLE lake.fustor.%s", l.view), "(?i)not support|Failed to drop")
		e.refuses(t, sqlRequest("CREATE TABLE lake.fustor.new (a INTEGER)"), "(?i)not support")
	}
	return e
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	p, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// askTrino speaks Trino's protocol of HTTP: a statement is posted, and its pages are fetched.
func askTrino(t *testing.T, address, sql string) (rows [][]any, err error) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/v1/statement", strings.NewReader(sql))
	if err != nil {
		return nil, err
	}
	for {
		r.Header.Set("X-Trino-User", "test")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return nil, err
		}
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s", response.Status, body)
		}
		var page struct {
			Data  [][]any `json:"data"`
			Next  string  `json:"nextUri"`
			Error struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&page); err != nil {
			return nil, err
		}
		if rows = append(rows, page.Data...); page.Error.Message != "" {
			return nil, errors.New(page.Error.Message)
		}
		if page.Next == "" {
			return rows, nil
		}
		if r, err = http.NewRequestWithContext(t.Context(), http.MethodGet, page.Next, nil); err != nil {
			return nil, err
		}
	}
}

// question is one of docs/sql.md, with the SQL of DuckDB and the command that answers it, which is – if there is none.
type question struct{ text, sql, command string }

// cookbook are the questions of docs/sql.md.
func cookbook(t *testing.T) (questions []question) {
	t.Helper()
	doc, err := os.ReadFile("../../docs/sql.md")
	if err != nil {
		t.Fatal(err)
	}
	_, doc, _ = bytes.Cut(doc, []byte("## Questions"))
	doc, _, _ = bytes.Cut(doc, []byte("\n## "))
	for _, row := range regexp.MustCompile("(?m)^\\| (.+) \\| `(SELECT [^|]+)` \\| (.+) \\|$").FindAllStringSubmatch(string(doc), -1) {
		questions = append(questions, question{row[1], row[2], strings.Trim(row[3], "`")})
	}
	if len(questions) < 20 {
		t.Fatalf("docs/sql.md has %d questions", len(questions))
	}
	return questions
}

// TestCookbook asks each question of docs/sql.md in DuckDB, and compares its rows with those of the command beside it.
func TestCookbook(t *testing.T) {
	python := "python3"
	if dir := os.Getenv("FUSTOR_ENGINES"); dir != "" {
		python = filepath.Join(dir, "venv", "bin", "python")
	}
	if err := exec.Command(python, "-c", "import duckdb, duckdb_extension_iceberg, duckdb_extension_avro").Run(); err != nil {
		t.Skipf("%s with DuckDB and its iceberg extension is not here: %v", python, err)
	}
	t.Parallel()
	dir, data := t.TempDir(), inMemory(t)
	cookbookTree(t, dir)
	u := startUp(t, dir, data)
	u.equal(t, dir, time.Now(), patience(settle))
	storeURL := "file://" + filepath.Join(data, "store")
	publish := func() (version string) {
		t.Helper()
		r := command(t, nil, "admin", "publish", "--store", storeURL, "--json")
		var said struct {
			Version uint64 `json:"version"`
		}
		if r.code != 0 || json.Unmarshal([]byte(r.stdout), &said) != nil {
			t.Fatalf("publish: %s %s", r.stdout, r.stderr)
		}
		return fmt.Sprint(said.Version)
	}
	first := publish()
	if err := os.WriteFile(filepath.Join(dir, "projects", "mouse", "grown"), make([]byte, 5000), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "home", "ann", "big.bam")); err != nil {
		t.Fatal(err)
	}
	u.equal(t, dir, time.Now(), patience(settle))
	publish()
	r := command(t, nil, "sql", "--store", storeURL, "--view", "default")
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	here := strings.NewReplacer("/srv/fustor/views/research/", data+"/store/views/default/", "412", first)
	var queries, commands []string
	questions := cookbook(t)
	for _, q := range questions {
		queries, commands = append(queries, here.Replace(q.sql)), append(commands, here.Replace(q.command))
	}
	asked, err := json.Marshal(append([]string{strings.NewReplacer("INSTALL iceberg;\n", "", "LOAD iceberg;\n", "", `"default"`, "research").Replace(r.stdout)}, queries...))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-W", "ignore", "-c", cookbookScript, string(asked)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var answers []struct {
		Columns []string   `json:"columns"`
		Rows    [][]string `json:"rows"`
		Error   string     `json:"error"`
	}
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for i, q := range questions {
		question, a := q.text, answers[i]
		if a.Error != "" || len(a.Rows) == 0 {
			t.Errorf("%s %s: %d rows, %s", question, queries[i], len(a.Rows), a.Error)
			continue
		}
		line, ok := strings.CutPrefix(commands[i], "fustor ")
		if !ok {
			continue
		}
		var have, want []string
		for _, row := range a.Rows {
			have = append(have, strings.Join(row, " "))
		}
		args := strings.Fields(strings.ReplaceAll(line, "'", ""))
		said := u.ask(t, append(args, "--json")...)
		if said.code != 0 {
			t.Errorf("%s: %s", commands[i], said.stderr)
			continue
		}
		for text := range strings.Lines(said.stdout) {
			members := map[string]string{}
			d := json.NewDecoder(strings.NewReader(text))
			d.UseNumber()
			var object map[string]any
			if err := d.Decode(&object); err != nil {
				t.Fatalf("%s prints %q: %v", commands[i], text, err)
			}
			leaves(members, object)
			if members["from"] != "" && members["files"] == "0" { // SQL has no empty buckets
				continue
			}
			var row []string
			for _, c := range a.Columns {
				row = append(row, members[c])
			}
			want = append(want, strings.Join(row, " "))
		}
		slices.Sort(have)
		slices.Sort(want)
		if !slices.Equal(have, want) {
			t.Errorf("%s\n%s\n  %q\n%s\n  %q", question, queries[i], have, commands[i], want)
		}
	}
	t.Logf("%d questions", len(questions))
}

// leaves are the members of an object, and of those in it, that are no objects themselves; of two of a name, the outer one.
func leaves(into map[string]string, object map[string]any) {
	for _, v := range object {
		if below, ok := v.(map[string]any); ok {
			leaves(into, below)
		}
	}
	for name, v := range object {
		switch v := v.(type) {
		case map[string]any, []any, nil:
		default:
			into[name] = fmt.Sprint(v)
		}
	}
}

// cookbookTree makes a tree in which no question has an empty answer.
func cookbookTree(t *testing.T, dir string) {
	t.Helper()
	now := time.Now()
	for name, size := range map[string]int{
		"projects/mouse/run1/a.bam": 3000, "projects/mouse/run1/b.bam": 6000, "projects/mouse/run1/c": 9000, "projects/mouse/same.h5": 2_000_000, "projects/rat/same.h5": 2_000_000,
		"projects/rat/old.csv": 0, "projects/rat/tool.SH": 80, "home/ann/open.txt": 3, "home/ann/big.bam": 70_000, "home/ann/future": 1, "home/ann/blank ": 1, "projects/raw\xff": 1,
		strings.Repeat("long/", 60) + "file": 20,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	years := func(n int) time.Time { return now.AddDate(-n, 0, 0) }
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "empty", "one"), 0o755), os.Symlink("../../projects", filepath.Join(dir, "home", "ann", "link")),
		os.Link(filepath.Join(dir, "home", "ann", "big.bam"), filepath.Join(dir, "projects", "hard")), os.Chmod(filepath.Join(dir, "projects", "rat", "tool.SH"), os.ModeSetuid|0o755),
		os.Chmod(filepath.Join(dir, "home", "ann", "open.txt"), 0o666), os.Link(filepath.Join(dir, "projects", "rat", "old.csv"), filepath.Join(dir, "projects", "rat", "older.csv")),
		os.Chtimes(filepath.Join(dir, "projects", "rat", "old.csv"), years(3), years(4)), os.Chtimes(filepath.Join(dir, "home", "ann", "future"), now, years(-20)),
		os.Chown(filepath.Join(dir, "home", "ann", "open.txt"), 1234, 77),
	} {
		if err != nil && !(errors.Is(err, syscall.EPERM) && os.Getuid() != 0) {
			t.Fatal(err)
		}
	}
}

// cookbookScript makes the view and prints the rows of each query.
const cookbookScript = `
import json, sys, duckdb
from importlib.resources import files
d = duckdb.connect(config={"allow_unsigned_extensions": True})
for e in ("avro", "iceberg"):
    d.load_extension(str(next(files("duckdb_extension_" + e).rglob("*.duckdb_extension"))))
d.sql("SET threads TO 1")
view, *queries = json.loads(sys.argv[1])
d.sql(view)
answers = []
def text(v):
    return str(int(v)) if isinstance(v, float) else str(v)
for q in queries:
    try:
        r = d.sql(q)
        answers.append({"columns": r.columns, "rows": [[text(v) for v in row] for row in r.fetchall()]})
    except Exception as e:
        answers.append({"error": str(e)})
print(json.dumps(answers))
`
