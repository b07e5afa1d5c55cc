package agent_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t testing.TB, path string, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotAndRealtime(t *testing.T) {
	root := t.TempDir()
	mkdir(t, filepath.Join(root, "a/b"))
	write(t, filepath.Join(root, "a/b/f"), "hello")
	write(t, filepath.Join(root, "odd\n\xff name"), "x")
	r := start(t, newServer(t), root, nil)
	r.snapshotted()
	r.settles(3 * time.Second)
	mkdir(t, filepath.Join(root, "c/d/e/f/g"))
	write(t, filepath.Join(root, "c/d/e/f/g/h"), "deep")
	if err := os.Rename(filepath.Join(root, "a"), filepath.Join(root, "c/a2")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "c/a2/b/f"), "changed after the move")
	r.settles(3 * time.Second)
	if err := os.RemoveAll(filepath.Join(root, "c")); err != nil {
		t.Fatal(err)
	}
	r.settles(3 * time.Second)
}
