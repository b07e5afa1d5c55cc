package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// peer is a tool that people ask such questions. In its words {dir} is the tree, {sub} its largest directory and {data} where indexes are.
type peer struct {
	name string
	// index makes what the tool asks, as {data}/file; without a file it needs none. holds says what that has.
	index []string
	file  string
	holds string
	asks  map[string][]string
}

// The questions, in the order of the tables.
const (
	entries = "every entry with type, size, mtime"
	paths   = "every path"
	glob    = "names by glob"
	few     = "names with a part, few"
	newer   = "files newer than a day"
	whole   = "the size of the whole"
	subtree = "the size of its largest directory"
	each    = "the size of each directory at the top"
	largest = "the 20 largest files"
	owners  = "usage by owner"
)

var questions = []string{entries, paths, glob, few, newer, whole, subtree, each, largest, owners}

// ours is how Fustor is asked.
var ours = map[string][]string{
	entries: {"find", "/", "--json"},
	paths:   {"find", "/"},
	glob:    {"search", "*.so*"},
	few:     {"search", "readme.txt"},
	newer:   {"search", "*", "--type", "f", "--newer-than", "1d", "--json"},
	whole:   {"du", "/"},
	subtree: {"du", "{sub}"},
	each:    {"du", "/", "--depth", "1"},
	largest: {"report", "largest", "--limit", "20"},
	owners:  {"report", "usage"},
}

func shell(command string) []string { return []string{"sh", "-c", command} }

// tableOf are the columns that databases have of a tree, as find writes them.
const tableOf = `find {dir} -printf '%p\t%h\t%f\t%y\t%s\t%T@\t%U\n'`

// sql are the questions, of a table entries(path, parent, name, type, size, mtime, uid). one runs a statement.
func sql(one func(string) []string) map[string][]string {
	return map[string][]string{
		entries: one("SELECT path, type, size, mtime FROM entries"),
		paths:   one("SELECT path FROM entries"),
		glob:    one("SELECT path FROM entries WHERE name GLOB '*.so*'"),
		few:     one("SELECT path FROM entries WHERE name LIKE '%readme.txt%'"),
		newer:   one("SELECT path FROM entries WHERE type = 'f' AND mtime > strftime('%s', 'now') - 86400"),
		whole:   one("SELECT count(*), sum(size) FROM entries WHERE type = 'f'"),
		subtree: one("SELECT count(*), sum(size) FROM entries WHERE type = 'f' AND path >= '{dir}{sub}/' AND path < '{dir}{sub}0'"),
		each:    one("SELECT substr(path, length('{dir}') + 2, instr(substr(path, length('{dir}') + 2), '/') - 1) AS top, sum(size) FROM entries WHERE type = 'f' AND parent <> '{dir}' GROUP BY top"),
		largest: one("SELECT path, size FROM entries WHERE type = 'f' ORDER BY size DESC LIMIT 20"),
		owners:  one("SELECT uid, count(*), sum(size) FROM entries WHERE type = 'f' GROUP BY uid ORDER BY 3 DESC"),
	}
}

func peers() []peer {
	duckdb := sql(func(s string) []string {
		s = strings.Replace(s, "strftime('%s', 'now')", "epoch(now())", 1)
		return []string{"duckdb", "-readonly", "-noheader", "-list", "{data}/duckdb.db", s}
	})
	return []peer{
		{name: "find", asks: map[string][]string{
			entries: {"find", "{dir}", "-printf", `%p %y %s %T@\n`},
			paths:   {"find", "{dir}"},
			glob:    {"find", "{dir}", "-name", "*.so*"},
			few:     {"find", "{dir}", "-name", "*readme.txt*"},
			newer:   {"find", "{dir}", "-type", "f", "-mtime", "-1"},
			largest: shell(`find {dir} -type f -printf '%s %p\n' | sort -rn | head -20`),
			owners:  shell(`find {dir} -type f -printf '%U %s\n' | awk '{n[$1]++; s[$1]+=$2} END {for (u in n) print u, n[u], s[u]}'`),
		}},
		{name: "fdfind", asks: map[string][]string{
			paths: {"fdfind", "--unrestricted", ".", "{dir}"},
			glob:  {"fdfind", "--unrestricted", "--glob", "*.so*", "{dir}"},
			few:   {"fdfind", "--unrestricted", "--fixed-strings", "--case-sensitive", "readme.txt", "{dir}"},
			newer: {"fdfind", "--unrestricted", "--type", "f", "--changed-within", "1d", ".", "{dir}"},
		}},
		{name: "plocate", holds: "names alone", file: "plocate.db",
			index: []string{"updatedb.plocate", "-l", "no", "-U", "{dir}", "-o", "{data}/plocate.db", "--prunepaths", "", "--prunefs", "", "--prunenames", "", "--prune-bind-mounts", "no"},
			asks: map[string][]string{
				paths: {"plocate", "--database", "{data}/plocate.db", "/"},
				glob:  {"plocate", "--database", "{data}/plocate.db", "--basename", "*.so*"},
				few:   {"plocate", "--database", "{data}/plocate.db", "--basename", "readme.txt"},
			}},
		{name: "du", asks: map[string][]string{
			whole:   {"du", "-s", "--apparent-size", "{dir}"},
			subtree: {"du", "-s", "--apparent-size", "{dir}{sub}"},
			each:    {"du", "-d", "1", "--apparent-size", "{dir}"},
		}},
		{name: "dua", asks: map[string][]string{
			whole:   {"dua", "--apparent-size", "aggregate", "{dir}"},
			subtree: {"dua", "--apparent-size", "aggregate", "{dir}{sub}"},
		}},
		{name: "pdu", asks: map[string][]string{
			whole:   {"pdu", "--quantity", "apparent-size", "--max-depth", "1", "{dir}"},
			subtree: {"pdu", "--quantity", "apparent-size", "--max-depth", "1", "{dir}{sub}"},
			each:    {"pdu", "--quantity", "apparent-size", "--max-depth", "2", "--min-ratio", "0", "{dir}"},
		}},
		{name: "gdu", asks: map[string][]string{
			whole: {"gdu", "--non-interactive", "--no-progress", "--show-apparent-size", "--summarize", "{dir}"},
			each:  {"gdu", "--non-interactive", "--no-progress", "--show-apparent-size", "{dir}"},
		}},
		{name: "duc", holds: "sizes of directories and files", file: "duc.db",
			index: []string{"duc", "index", "--quiet", "--database", "{data}/duc.db", "{dir}"},
			asks: map[string][]string{
				whole:   {"duc", "ls", "--apparent", "--bytes", "--directory", "--database", "{data}/duc.db", "{dir}"},
				subtree: {"duc", "ls", "--apparent", "--bytes", "--directory", "--database", "{data}/duc.db", "{dir}{sub}"},
				each:    {"duc", "ls", "--apparent", "--bytes", "--dirs-only", "--database", "{data}/duc.db", "{dir}"},
			}},
		{name: "sqlite3", holds: "a table, with indexes of path, size and mtime", file: "sqlite.db",
			index: shell(tableOf + ` | sqlite3 {data}/sqlite.db "CREATE TABLE entries(path TEXT PRIMARY KEY, parent TEXT, name TEXT, type TEXT, size INTEGER, mtime REAL, uid INTEGER) WITHOUT ROWID" ` +
				`".mode tabs" ".import /dev/stdin entries" "CREATE INDEX by_size ON entries(size)" "CREATE INDEX by_mtime ON entries(mtime)" "ANALYZE"`),
			asks: sql(func(s string) []string { return []string{"sqlite3", "-readonly", "{data}/sqlite.db", s} })},
		{name: "duckdb", holds: "a table", file: "duckdb.db",
			index: shell(tableOf + ` | duckdb {data}/duckdb.db "CREATE TABLE entries AS FROM read_csv('/dev/stdin', delim = '\t', quote = '', escape = '', header = false, strict_mode = false, ` +
				`columns = {'path': 'VARCHAR', 'parent': 'VARCHAR', 'name': 'VARCHAR', 'type': 'VARCHAR', 'size': 'BIGINT', 'mtime': 'DOUBLE', 'uid': 'BIGINT'}) ORDER BY path"`),
			asks: duckdb},
	}
}

// fill sets the places in some words.
func fill(words []string, dir, sub, data string) []string {
	r := strings.NewReplacer("{dir}", dir, "{sub}", sub, "{data}", data)
	filled := make([]string, len(words))
	for i, w := range words {
		filled[i] = r.Replace(w)
	}
	return filled
}

// make makes a peer's index. It returns how long that took, and how large it is.
func (p *peer) make(dir, sub, data string) (took time.Duration, bytes int64, err error) {
	began := time.Now()
	words := fill(p.index, dir, sub, data)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("%w: %s", err, out)
	}
	took = time.Since(began)
	info, err := os.Stat(filepath.Join(data, p.file))
	if err != nil {
		return 0, 0, err
	}
	return took, info.Size(), nil
}

// largestIn is the directory at the top of a tree that has most entries in it, as "/name"; "" if there is none.
func largestIn(dir string) (sub string, err error) {
	most := 0
	top, err := os.ReadDir(dir)
	for _, d := range top {
		n := 0
		if !d.IsDir() {
			continue
		}
		_ = filepath.WalkDir(filepath.Join(dir, d.Name()), func(string, fs.DirEntry, error) error { n++; return nil })
		if n > most {
			most, sub = n, "/"+d.Name()
		}
	}
	return sub, err
}
