package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTwoSourcesOfOneView: they must be the same tree, which shows when the second pipe begins.
func TestTwoSourcesOfOneView(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	if err := os.Mkdir(one, 0o755); err != nil {
		t.Fatal(err)
	}
	text := `sources:
  a: {path: ` + one + `, exclude: ["*.tmp"]}
  b: {path: ` + two + `, exclude: ["*.tmp"], workers: 2}
senders:
  up: {type: upload, ingest: "http://x:1"}
pipes:
  a: {source: a, sender: up, view: v, task: host:a}
  b: {source: b, sender: up, view: v, task: host:b}
`
	c, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	first, second := &c.Pipes[0], &c.Pipes[1]
	if err := first.CheckTree(); err != nil {
		t.Errorf("the first pipe must not wait for the second: %v", err)
	}
	check := func(want string) {
		t.Helper()
		switch err := second.CheckTree(); {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%v, want %q", err, want)
		}
	}
	check("no such file")
	if err := os.Mkdir(two, 0o755); err != nil {
		t.Fatal(err)
	}
	check("are different directories at present, and both feed view v: mount the same tree at both")
	if err := os.Remove(two); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(one, two); err != nil {
		t.Skipf("needs symbolic links: %v", err)
	}
	check("")

	for _, change := range []struct{ from, to, want string }{
		{`"*.tmp"], workers: 2`, `"*.bak"], workers: 2`, `8:36: pipes "a" and "b" feed the same view "v" of http://x:1: a view has one source on a host, or several that are the same tree; sources "a" and "b" differ`},
		{`task: host:b`, `task: host:a`, `pipes "a" and "b" feed the same view "v" of http://x:1: each needs a task of its own; both have "host:a"`},
		{`source: b`, `source: a`, `one pipe from a source is enough for a view`},
	} {
		_, err := parse(t, strings.Replace(text, change.from, change.to, 1))
		if err == nil || !strings.Contains(err.Error(), change.want) {
			t.Errorf("%s: %v, want %q", change.to, err, change.want)
		}
	}
}
