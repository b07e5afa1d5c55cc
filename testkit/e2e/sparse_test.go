//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSparseFilesOfEightExbibytes: sums of a real tree that exceed 64 bits are the largest number of 64 bits and say so. They are exact
// once enough of the files are gone.
func TestSparseFilesOfEightExbibytes(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	sparse := func(name string, size int64) {
		t.Helper()
		path := filepath.Join(dir, name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.WriteFile(path, nil, 0o644))
		if err := os.Truncate(path, size); err != nil {
			t.Skipf("needs tmpfs or xfs, for files of 8 EiB: %v", err)
		}
	}
	sparse("d/below/vast-0", math.MaxInt64)
	for i := range 4 { // with that, more than 2^65
		sparse(fmt.Sprintf("d/vast-%d", i), math.MaxInt64)
	}
	sparse("d/small", 7)
	u := startUp(t, dir, t.TempDir())
	u.await("to have scanned", func() bool { found, err := u.find(t); return err == nil && len(found) == 9 })
	sums := func(path string) (s struct {
		Files, Bytes int64
		Saturated    bool
	}) {
		t.Helper()
		r := u.ask(t, "du", path, "--json")
		if r.code != 0 || json.Unmarshal([]byte(r.stdout), &s) != nil {
			t.Fatalf("du %s: %s%s", path, r.stdout, r.stderr)
		}
		return s
	}
	for _, path := range []string{"/", "/d", "/d/below"} {
		if s := sums(path); s.Bytes != math.MaxInt64 || !s.Saturated {
			t.Errorf("%s: %+v", path, s)
		}
	}
	if r := u.ask(t, "du", "/d"); !strings.Contains(r.stderr, "9,223,372,036,854,775,807 bytes stands for as many or more") {
		t.Errorf("du says on stderr: %s", r.stderr)
	}
	if r := u.ask(t, "report", "histogram"); !strings.Contains(r.stdout, "\t5\t9223372036854775807\n") {
		t.Errorf("histogram: %s", r.stdout)
	}
	must(os.Remove(filepath.Join(dir, "d/vast-0")))
	must(os.Truncate(filepath.Join(dir, "d/below/vast-0"), 100))
	u.await("to follow", func() bool { s := sums("/d/below"); return s.Bytes == 100 && !s.Saturated && sums("/").Files == 5 })
	if s := sums("/"); s.Bytes != math.MaxInt64 || !s.Saturated {
		t.Errorf("with three files of 8 EiB: %+v", s)
	}
	for i := range 3 {
		must(os.Remove(filepath.Join(dir, fmt.Sprintf("d/vast-%d", i+1))))
	}
	u.await("to have exact sums", func() bool { s := sums("/"); return s.Files == 2 && s.Bytes == 107 && !s.Saturated })
	u.Stop()
}
