//go:build !reading

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// exportScript compares a Parquet export with what find prints of the tree. It prints the paths that differ.
const exportScript = `
import duckdb, sys
export, found = sys.argv[1:]
rows = []
with open(found, "rb") as f:
    for line in f.read().split(b"\0\n")[:-1]:
        path, kind, size, blocks, links, uid, gid, owner, group, mode, depth, target, mtime = line.split(b"\0")
        rows.append((b"/" + path, {b"d": "directory", b"f": "file", b"l": "symlink"}.get(kind, "other"), int(size), int(blocks) * 512, int(links),
            int(uid), int(gid), owner.decode(), group.decode(), int(mode, 8), int(depth), target, mtime.decode()[:-1]))
columns = """coalesce(path_bytes, path::blob), type, size, allocated, links, uid, gid, owner, "group", mode, depth,
    coalesce(target_bytes, target::blob, ''::blob), printf('%d.%09d', mtime_ns // 1000000000, mtime_ns % 1000000000)"""
got = duckdb.sql(f"select {columns} from '{export}'").fetchall()
print(sorted(r for r in set(got) ^ set(rows)), len(got) - len(rows))
print(duckdb.sql(f"""select count(*) from '{export}' where depth > 0 and (parent || name <> path or epoch_ns(mtime) // 1000 <> mtime_ns // 1000)
    or type = 'file' and extension is null or atime is null""").fetchall())
`

// TestExportIsTheTree: an export has what find(1) and fustor find have of the tree, in each format.
func TestExportIsTheTree(t *testing.T) {
	f := newField(t)
	tree := filepath.Join(f.here, "tree")
	for _, dir := range []string{"old/a", "old/a-b/c", "old/a.b/c", "odd\xff/x"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"old/a/f", "old/a-b/c/f.TAR", "odd\xff/x/\xfe.txt", "odd\xff/new\nline", "old/=1+1", "odd\xff/q\"\\"} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(name), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(tree, "old/a/f"), filepath.Join(tree, "odd\xff/linked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("to\xff", filepath.Join(tree, "old/link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(tree, "old/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if end := f.run(nil, "fustor", "scan", "/", "--wait"); end.code != 0 {
		t.Fatalf("%+v", end)
	}
	run := func(args ...string) string {
		t.Helper()
		end := f.run(nil, args[0], args[1:]...)
		if end.code != 0 {
			t.Fatalf("%s: %+v", args, end)
		}
		return end.stdout
	}
	file := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(f.here, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, filter := range [][]string{nil, {"/old"}, {"--type", "f,l", "--min-size", "2"}, {"/old", "--name", "*.TAR", "--owner", "0"}, {"--type", "d"}} {
		find := append([]string{"fustor", "find", "--format", "csv"}, filter...)
		out := append([]string{"fustor", "export", "--output", "out.csv"}, filter...)
		run(out...)
		if got, want := file("out.csv"), run(find...); got != want {
			t.Errorf("%v:\n%s\nfind:\n%s", filter, got, want)
		}
		find[3], out[3] = "ndjson", "out.ndjson"
		run(out...)
		var days int
		var lines strings.Builder
		for line := range strings.Lines(file("out.ndjson")) {
			before, rest, is := strings.Cut(line, `,"atime_day":"`)
			if is {
				days++
				_, rest, _ = strings.Cut(rest, `"`)
			}
			lines.WriteString(before + rest)
		}
		want := run(find...)
		if lines.String() != want || days < strings.Count(want, "\n")-1 { // a root that is looked at by itself has no day
			t.Errorf("%v: %d days of\n%s\nfind:\n%s", filter, days, &lines, want)
		}
	}
	// The same to a pipe and to the name of a pin, and the number of rows on stderr.
	if got, want := run("fustor", "export", "--format", "csv"), run("fustor", "find", "--format", "csv"); got != want {
		t.Errorf("to a pipe:\n%s\nfind:\n%s", got, want)
	}
	if end := f.run(nil, "fustor", "export", "--output", "out.csv", "default:/old"); end.code != 0 || !strings.Contains(end.stderr, "out.csv: ") {
		t.Errorf("%+v", end)
	}
	t.Run("ncdu", func(t *testing.T) {
		run("fustor", "export", "--output", "out.ncdu")
		type totals struct{ Entries, Apparent, Disk int64 }
		var of func(raw json.RawMessage) totals
		of = func(raw json.RawMessage) totals {
			var inside []json.RawMessage
			if json.Unmarshal(raw, &inside) == nil {
				sum := of(inside[0])
				for _, x := range inside[1:] {
					one := of(x)
					sum = totals{sum.Entries + one.Entries, sum.Apparent + one.Apparent, sum.Disk + one.Disk}
				}
				return sum
			}
			var n struct{ Asize, Dsize int64 }
			if err := json.Unmarshal(raw, &n); err != nil {
				t.Fatal(err)
			}
			return totals{1, n.Asize, n.Dsize}
		}
		sums := func(name string) totals {
			var parts []json.RawMessage
			if err := json.Unmarshal([]byte(file(name)), &parts); err != nil || len(parts) != 4 {
				t.Fatalf("%s: %v", name, err)
			}
			return of(parts[3])
		}
		if _, err := exec.LookPath("ncdu"); err != nil {
			t.Skip("ncdu is not installed")
		}
		for _, args := range [][]string{{"-f", "out.ncdu", "-o", "again.json"}, {"-0", "-o", "real.json", tree}} {
			if end := f.run(nil, "ncdu", args...); end.code != 0 {
				t.Fatalf("ncdu %v: %+v", args, end)
			}
		}
		if got, again, want := sums("out.ncdu"), sums("again.json"), sums("real.json"); got != want || again != want {
			t.Errorf("exported %+v, read by ncdu %+v, ncdu's own scan %+v", got, again, want)
		}
	})
	t.Run("parquet", func(t *testing.T) {
		run("fustor", "export", "--output", "out.parquet")
		if exec.Command("python3", "-c", "import duckdb").Run() != nil {
			t.Skip("python3 with duckdb is not installed")
		}
		if err := os.WriteFile(filepath.Join(f.here, "found"), []byte(run("find", tree, "-printf", `%P\0%y\0%s\0%b\0%n\0%U\0%G\0%u\0%g\0%m\0%d\0%l\0%T@\0\n`)), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := run("python3", "-c", exportScript, "out.parquet", "found"); got != "[] 0\n[(0,)]\n" {
			t.Errorf("other than find's: %s", got)
		}
	})
}

// TestExportIsRefused: what cannot be exported is said before anything is written.
func TestExportIsRefused(t *testing.T) {
	f := newField(t)
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--output out", exitUsage, "pass --format"},
		{"", exitUsage, "pass --format"},
		{"--format csv --resume", exitUsage, "--resume is for files"},
		{"--output s3://bucket/ --format csv", exitUsage, "names no object"},
		{"--output none/out.csv", exitFailure, "no such file"},
		{"/none --output out.csv", exitNotFound, "/none"},
		{"--as-of 1999-01-01 --output out.csv", exitFailure, "versions that old are not kept"},
	} {
		end := f.run(nil, "fustor", append([]string{"export"}, strings.Fields(c.args)...)...)
		if end.code != c.code || !strings.Contains(end.stderr, c.says) {
			t.Errorf("%s: %+v", c.args, end)
		}
		if left, _ := filepath.Glob(filepath.Join(f.here, "out*")); left != nil {
			t.Fatalf("%s: %v are left", c.args, left)
		}
	}
}
