//go:build unix

package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
)

// TestStoreOfAnEarlierBuild takes over a store that the build of November 2026 wrote, whose rows have histories without a version
// byte: all it knew is answered, and folds, merges and a new agent go on from there. testdata/README.md says how it was made.
func TestStoreOfAnEarlierBuild(t *testing.T) {
	t.Parallel()
	dir := earlierStore(t)
	storeDir, disk := filepath.Join(dir, "store"), filepath.Join(dir, "disk")
	old := earlierHistories(t, "file://"+storeDir)
	if old < 5 {
		t.Fatalf("only %d rows have a history without a version byte: the test shows nothing", old)
	}

	p := startParts(t, "file://"+storeDir)
	view, err := p.find(t)
	if err != nil {
		t.Fatal(err)
	}
	if d := difference(view, earlierEntries(t, filepath.Join(dir, "find.json"))); d != "" {
		t.Fatalf("the view is not what the earlier build answered: %s", d)
	}
	if got, want := blindPaths(t, p.ask(t, "blind-spots", "--json").stdout), blindPaths(t, readAll(t, filepath.Join(dir, "blind-spots.json"))); !slices.Equal(got, want) || len(want) == 0 {
		t.Fatalf("blind spots %q, not %q", got, want)
	}

	// A new host takes over, with what changed while nobody watched.
	for _, change := range []error{
		os.Remove(filepath.Join(disk, "a", "file7.dat")), os.WriteFile(filepath.Join(disk, "a", "afterwards"), []byte("1"), 0o644),
		os.RemoveAll(filepath.Join(disk, "moved")), os.Rename(filepath.Join(disk, "new"), filepath.Join(disk, "newer")),
	} {
		if change != nil {
			t.Fatal(change)
		}
	}
	since := time.Now()
	p.startAgent(disk, "nas2", "")
	p.equal(t, disk, since, patience(60*time.Second))
	if n := earlierHistories(t, "file://"+storeDir); n >= old {
		t.Errorf("%d rows still have a history without a version byte, of %d", n, old)
	}
}

// earlierStore unpacks the earlier build's store, the tree that it is of, and what that build answered.
func earlierStore(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.Command("tar", "-xzf", filepath.Join("testdata", "earlier.tar.gz"), "-C", dir, "--no-same-owner").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	return dir
}

// earlierHistories is how many rows of the view's version have a history of the earlier form.
func earlierHistories(t *testing.T, storeURL string) (n int) {
	t.Helper()
	st := openStore(t, storeURL)
	m, _, err := manifest.Load(t.Context(), st, viewID)
	if err != nil {
		t.Fatal(err)
	}
	v, err := layer.OpenView(st, viewID, m.Base, m.Deltas, layer.NewCache(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	var row evidence.Row
	c := v.Cursor(t.Context())
	for ok := c.Seek(layer.Key{}); ok; ok = c.Next() {
		if err := c.Row(&row); err != nil {
			t.Fatal(err)
		}
		if row.History != "" && row.History[0] < 0x40 {
			n++
		}
	}
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

func earlierEntries(t *testing.T, file string) tree {
	t.Helper()
	found := tree{}
	for line := range strings.Lines(readAll(t, file)) {
		path, e, err := parseEntry([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		found[path] = e
	}
	return found
}

func readAll(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// blindPaths are the paths of `fustor blind-spots --json`, with a minus before those that are gone.
func blindPaths(t *testing.T, text string) (paths []string) {
	t.Helper()
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		var spot struct {
			Path    string `json:"path"`
			Deleted bool   `json:"deleted"`
		}
		if err := json.Unmarshal(lines.Bytes(), &spot); err != nil {
			t.Fatal(err)
		}
		if spot.Deleted {
			spot.Path = "-" + spot.Path
		}
		paths = append(paths, spot.Path)
	}
	slices.Sort(paths)
	return paths
}
