package house

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ofReading are the modules that fustor-read may be made of beside the standard library and our own packages. Its start is
// most of what a reading command costs, so a module that is added here should have few and cheap initialisers.
var ofReading = []string{
	"github.com/alecthomas/kong", "github.com/bmatcuk/doublestar/v4", "github.com/cespare/xxhash/v2", "github.com/goccy/go-yaml",
	"github.com/lmittmann/tint", "github.com/oklog/ulid/v2", "golang.org/x/sync", "golang.org/x/sys", "golang.org/x/term",
}

// TestReadingProgramStaysSmall holds what fustor-read is made of, and what its start does: counts, not times.
func TestReadingProgramStaysSmall(t *testing.T) {
	see(t)
	const name = module + "cmd/fustor"
	out, err := exec.Command("go", "list", "-tags", "reading", "-deps", "-f", "{{if .Module}}{{.ImportPath}} {{.Module.Path}}{{end}}", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		path, of, _ := strings.Cut(strings.TrimSpace(line), " ")
		if of+"/" != module && !slices.Contains(ofReading, of) {
			t.Errorf("fustor-read has %s: begin the file of cmd/fustor that needs it with //go:build !reading, or see `go list -tags reading -deps`", path)
		}
	}

	program := filepath.Join(t.TempDir(), "fustor-read")
	build := exec.Command("go", "build", "-tags", "reading", "-o", program, name)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cmd/fustor does not build with -tags reading; a file that fustor-read does not need begins with //go:build !reading: %s", out)
	}
	start := exec.Command(program, "du", "--url", "http://127.0.0.1:1")
	start.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	start.Stderr = &trace
	_ = start.Run() // it finds no server
	packages, bytesSum, allocations := 0, 0, 0
	for line := range strings.Lines(trace.String()) {
		var path string
		var at, took float64
		var size, n int
		if got, _ := fmt.Sscanf(line, "init %s @%f ms, %f ms clock, %d bytes, %d allocs", &path, &at, &took, &size, &n); got == 5 {
			packages, bytesSum, allocations = packages+1, bytesSum+size, allocations+n
		}
	}
	t.Logf("%d packages with initialisers, %d bytes in %d allocations", packages, bytesSum, allocations)
	if packages < 20 || packages > 120 || bytesSum > 128<<10 || allocations > 700 {
		t.Errorf("the start of fustor-read runs initialisers of %d packages with %d bytes in %d allocations; 120, 128 KiB and 700 are its bounds", packages, bytesSum, allocations)
	}
}
