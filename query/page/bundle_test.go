package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// mostCompressed bounds what a browser loads for the pages, compressed.
const mostCompressed = 150 << 10

// TestBundleIsSmall: what is bundled stays small enough for a slow line.
func TestBundleIsSmall(t *testing.T) {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	for _, name := range staticFiles {
		body, err := webFiles.ReadFile("web/" + name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(body) // into memory
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if compressed.Len() > mostCompressed {
		t.Errorf("the pages' files have %d bytes compressed, more than %d", compressed.Len(), mostCompressed)
	}
}

// TestBundle: what is checked in is what its sources make. The first run compiles esbuild, which takes a minute or two.
func TestBundle(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles esbuild")
	}
	bundler, err := bundlerOf(filepath.Join("..", "..", "tools", "web"))
	if err != nil {
		t.Fatalf("cannot build tools/web: %v", err)
	}
	out := t.TempDir()
	if said, err := exec.Command(bundler, "-root", filepath.Join("..", ".."), "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, name := range []string{"app.js", "plot.css"} {
		made, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		if checkedIn, err := webFiles.ReadFile("web/" + name); err != nil || !bytes.Equal(made, checkedIn) {
			t.Errorf("web/%s is not what app/ makes: run make web, and commit what it writes (%v)", name, err)
		}
	}
}

// bundlerOf builds the bundler, unless that was done before of the same sources.
func bundlerOf(module string) (string, error) {
	sum := sha256.New()
	for _, name := range []string{"main.go", "go.mod", "go.sum"} {
		body, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		sum.Write(body)
	}
	at, err := filepath.Abs(filepath.Join("..", "..", ".cache", "bin", "web-"+hex.EncodeToString(sum.Sum(nil))[:16]))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(at); err == nil {
		return at, nil
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return "", err
	}
	building := at + ".building"
	build := exec.Command("go", "build", "-o", building, ".")
	build.Dir = module
	if said, err := build.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: "go build: " + string(said), Err: err}
	}
	return at, os.Rename(building, at)
}
