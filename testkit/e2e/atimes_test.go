//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// atimeOf is the time of the last access, in seconds.
func atimeOf(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Atim.Sec
}

// readLongAgo is how many files were not accessed for a year, as report histogram says.
func (s server) readLongAgo(t *testing.T) (n int64) {
	t.Helper()
	r := s.ask(t, "report", "histogram", "/", "--of", "atime", "--json")
	if r.code != 0 {
		t.Fatalf("report histogram: %d %s", r.code, r.stderr)
	}
	const year = 365 * 86400
	for line := range strings.Lines(r.stdout) {
		var ages struct {
			From  *int64 `json:"from"`
			Files int64  `json:"files"`
		}
		if err := json.Unmarshal([]byte(line), &ages); err != nil {
			t.Fatalf("report histogram prints %q: %v", line, err)
		}
		if ages.From != nil && *ages.From >= year {
			n += ages.Files
		}
	}
	return n
}

// TestReadsShowWithinAnAudit: files that were read have the day in the view after the next audit, although their directories did not
// change; and what the agent does moves no such time.
func TestReadsShowWithinAnAudit(t *testing.T) {
	t.Parallel()
	const directories = 40
	dir := t.TempDir()
	var files, dirs []string
	for i := range directories {
		d := filepath.Join(dir, fmt.Sprint("d", i))
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		dirs, files = append(dirs, d), append(files, filepath.Join(d, "f"))
		if err := os.WriteFile(files[i], []byte("content"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	longAgo := time.Now().Add(-3 * 365 * 24 * time.Hour)
	setBack := func(paths ...string) {
		t.Helper()
		for _, path := range paths {
			if err := os.Chtimes(path, longAgo, longAgo); err != nil {
				t.Fatal(err)
			}
		}
	}
	setBack(slices.Concat(files, dirs, []string{dir})...) // directories last: an mtime of just now proves nothing
	o := observe(t, observation{dir: dir, audit: patience(time.Second)})
	audits := func(n uint64) {
		to := o.head().Scan.Audits + n
		eventually(t, patience(60*time.Second), fmt.Sprint(n, " more audits"), func() bool { return o.head().Scan.Audits >= to })
	}
	setBack(dirs...) // the test has read them
	audits(3)
	if n := o.readLongAgo(t); n != directories {
		t.Fatalf("%d files were not accessed for a year, of %d", n, directories)
	}
	for _, path := range slices.Concat(files, dirs) {
		if atimeOf(t, path) != longAgo.Unix() {
			t.Errorf("the agent has set the time of the last access of %s", path)
		}
	}
	for _, path := range files {
		if _, err := os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if atimeOf(t, files[0]) == longAgo.Unix() {
		t.Skip("the file system of the tests does not keep times of the last access")
	}
	audits(2)
	eventually(t, patience(10*time.Second), "the files count as read lately", func() bool { return o.readLongAgo(t) == 0 })
	o.reports("whether reads are followed", func(status map[string]any) bool {
		return status["atimes"] == "relatime" || status["atimes"] == "strictatime"
	})
}
