//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
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
)

// TestQuestionTimes says how long the questions of docs/sql.md take, and what is read for them, by the commands, DuckDB, Trino and Spark on
// one store, whose directory FUSTOR_LAKE names; it has one view. All engines must count the same answers. Lists are counted, with the length of
// their paths, and not fetched; the commands print theirs. FUSTOR_LAKE_ENGINES are the engines that are asked, all by default,
// and FUSTOR_LAKE_QUESTIONS is a regular expression for the questions.
//
// BenchmarkKeptVersions of compactor makes such a store (FUSTOR_BENCH_KEEP), and so does tools/gentree.
func TestQuestionTimes(t *testing.T) {
	dir := enginesDir(t)
	at := os.Getenv("FUSTOR_LAKE")
	if at == "" {
		t.Skip("FUSTOR_LAKE does not name the directory of a store: this measures, and proves little")
	}
	views, err := filepath.Glob(filepath.Join(at, "views", "*"))
	if err != nil || len(views) != 1 {
		t.Fatalf("%s has the views %q, %v", at, views, err)
	}
	view, storeURL := filepath.Base(views[0]), "file://"+at
	l := &lake{parts: &parts{t: t, store: storeURL, env: []string{"FUSTOR_API_KEY=" + apiKey}}, root: storeURL, view: view}
	publish := exec.Command(fustor, "admin", "publish", view, "--store", storeURL, "--json")
	began := time.Now()
	said, err := publish.CombinedOutput()
	if err != nil {
		t.Fatalf("publish: %s", said)
	}
	t.Logf("published in %.1f s, with %d MiB: %s", time.Since(began).Seconds(), publish.ProcessState.SysUsage().(*syscall.Rusage).Maxrss>>10, said)
	l.known(storeURL)
	l.query, l.queryURL = l.startServer("query")
	l.server = server{"--url", l.queryURL, "--api-key", apiKey, "--view", view}

	lines := func(args ...string) []string {
		t.Helper()
		r := l.ask(t, args...)
		if r.code != 0 {
			t.Fatalf("%q: %s", args, r.stderr)
		}
		return slices.Collect(strings.Lines(r.stdout))
	}
	mostBelow := func(path string) string { // its directory with the most files below
		t.Helper()
		most, found := int64(-1), ""
		for _, line := range lines("ls", path, "--json") {
			var e struct {
				Path, Type string
				Subtree    struct{ Files int64 }
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if e.Type == "d" && e.Subtree.Files > most {
				most, found = e.Subtree.Files, e.Path
			}
		}
		if found == "" {
			t.Fatalf("%s has no directory", path)
		}
		return found
	}
	parent := mostBelow("/")
	below := mostBelow(parent)
	var past string // the oldest version that is published, if there is one beside the newest
	if all := l.snapshots(); len(all) > 1 {
		past = fmt.Sprint(all[0].Version)
	}
	here := strings.NewReplacer("/srv/fustor/views/research/", at+"/views/"+view+"/", "412", past, "/projects/mouse", below, "'/projects/'", "'"+parent+"/'", "'mouse'", "'"+filepath.Base(below)+"'",
		"FROM research", "FROM "+view, "JOIN research", "JOIN "+view)

	java := func(e sqlEngine) func(string) (string, error) {
		return func(sql string) (string, error) {
			rows, err := e.ask(map[string]any{"sql": sql})
			return strings.ReplaceAll(fmt.Sprint(rows), "<nil>", "0"), err
		}
	}
	engines := map[string]func() func(string) (string, error){
		"duckdb": func() func(string) (string, error) {
			setup := l.printed(t, "duckdb")
			for _, line := range []string{"INSTALL iceberg;\n", "LOAD iceberg;\n"} {
				setup = strings.ReplaceAll(setup, line, "")
			}
			return java(sqlEngine{ask: driven(t, dir, "duckdb", map[string]any{"setup": []string{setup}})})
		},
		"trino": func() func(string) (string, error) { return java(trinoEngine(t, l, dir, nil)) },
		"spark": func() func(string) (string, error) { return java(sparkEngine(t, l, dir, nil, "1.11.0")) },
	}
	names := strings.Split(os.Getenv("FUSTOR_LAKE_ENGINES"), ",")
	if names[0] == "" {
		names = []string{"duckdb", "trino", "spark"}
	}
	only, err := regexp.Compile(os.Getenv("FUSTOR_LAKE_QUESTIONS"))
	if err != nil {
		t.Fatal(err)
	}
	questions := slices.DeleteFunc(cookbook(t), func(q question) bool { return !only.MatchString(q.text) })
	rows := make([]strings.Builder, len(questions))
	counted, answers := make([]string, len(rows)), make([]string, len(rows))
	note := func(i int, took time.Duration, read int64) {
		fmt.Fprintf(&rows[i], " %.2f s, %.1f MB |", took.Seconds(), float64(read)/1e6)
	}
	for i, q := range questions {
		fmt.Fprintf(&rows[i], "| %s |", q.text)
		line, ok := strings.CutPrefix(here.Replace(q.command), "fustor ")
		if !ok || past == "" && strings.Contains(q.command, "412") {
			rows[i].WriteString(" – |")
			continue
		}
		before, began := readBy(t, func(command string) bool { return strings.HasPrefix(command, fustor) }), time.Now()
		n := len(lines(append(strings.Fields(strings.ReplaceAll(line, "'", "")), "--json")...))
		note(i, time.Since(began), readBy(t, func(command string) bool { return strings.HasPrefix(command, fustor) })-before)
		counted[i] = fmt.Sprint(n)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			ask := engines[name]()
			theirs := func(command string) bool {
				return strings.Contains(command, "engine.py") || strings.Contains(command, "java")
			}
			for i, q := range questions {
				if past == "" && strings.Contains(q.sql, "412") {
					rows[i].WriteString(" – |")
					continue
				}
				sql := countOf(inDialect(here.Replace(q.sql), name, view, past))
				before, began := readBy(t, theirs), time.Now()
				answer, err := ask(sql)
				if err != nil {
					t.Errorf("%s: %v", sql, err)
					rows[i].WriteString(" failed |")
					continue
				}
				note(i, time.Since(began), readBy(t, theirs)-before)
				if answers[i] == "" {
					answers[i] = answer
				}
				if answer != answers[i] {
					t.Errorf("%s answers %s, and another engine %s: %s", name, answer, answers[i], sql)
				}
				t.Logf("%s %s (the command prints %s lines)", q.text, answer, counted[i])
			}
		})
	}
	t.Logf("| question | fustor | %s |", strings.Join(names, " | "))
	for i := range rows {
		t.Log(rows[i].String())
	}
}

// countOf asks for how many rows a query has, and how long their paths are.
func countOf(sql string) string {
	what := "count(*)"
	if strings.HasPrefix(sql, "SELECT path") || strings.HasPrefix(sql, "SELECT n.path") {
		what += ", sum(length(path))"
	}
	return "SELECT " + what + " FROM (" + sql + ") counted"
}

var (
	toThePower = regexp.MustCompile(`4 \*\* (least\(21, floor\(log2\(size\) / 2\)\))`)
	masked     = regexp.MustCompile(`mode & (\d+)`)
)

// inDialect is a question of docs/sql.md as an engine takes it.
func inDialect(sql, engine, view, version string) string {
	if engine == "duckdb" {
		return sql
	}
	sql = toThePower.ReplaceAllString(sql, "power(4, $1)")
	sql = regexp.MustCompile(`iceberg_scan\([^)]+\)`).ReplaceAllString(sql, "lake.fustor."+view+map[string]string{
		"trino": " FOR VERSION AS OF BIGINT '" + version + "'", "spark": " VERSION AS OF " + version}[engine])
	sql = regexp.MustCompile(`(FROM|JOIN) `+view+`\b`).ReplaceAllString(sql, "$1 lake.named."+view)
	sql = strings.NewReplacer("FILTER (type", "FILTER (WHERE type", "GROUP BY ALL", "GROUP BY f.uid, d.uid", "d.uid AS of", "d.uid AS owner",
		"regexp_matches(name, '[[:cntrl:]]')", map[string]string{"trino": `regexp_like(name, '\p{Cntrl}')`, "spark": `name rlike '\\p{Cntrl}'`}[engine],
		"octet_length(name_raw)", "length(name_raw)",
		"epoch_ns(now()::TIMESTAMP - INTERVAL 7 DAY)", map[string]string{"trino": "CAST(to_unixtime(now() - INTERVAL '7' DAY) * 1000000000 AS bigint)",
			"spark": "unix_micros(now() - INTERVAL 7 DAY) * 1000"}[engine],
		"current_date - 730", "current_date - INTERVAL '730' DAY").Replace(sql)
	if engine == "spark" {
		return strings.ReplaceAll(sql, `"`, "`")
	}
	return masked.ReplaceAllString(sql, "bitwise_and(mode, $1)")
}

// readBy is how many bytes those processes have read whose command is theirs, by any means but a map of a file.
func readBy(t *testing.T, theirs func(command string) bool) (bytes int64) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		command, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil || !theirs(string(command)) {
			continue
		}
		io, err := os.ReadFile(filepath.Join(p, "io"))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(string(io), "rchar: ")
		n, err := strconv.ParseInt(strings.TrimSpace(strings.SplitN(text, "\n", 2)[0]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		bytes += n
	}
	return bytes
}
