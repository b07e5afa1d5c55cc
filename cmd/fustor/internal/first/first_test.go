package first

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestRuns has a program with this package run what is beside it, for reading commands alone.
func TestRuns(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "fustor")
	build := func(flags ...string) {
		if out, err := exec.Command("go", append(append([]string{"build", "-o", program}, flags...), "./testdata/whole")...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	check := func(what, want string, env []string, args ...string) {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.Output()
		if err != nil || string(out) != want+"\n" {
			t.Errorf("%s: %q, %v; want %q", what, out, err, want)
		}
	}
	build("-ldflags=-X github.com/fustor/fustor/cmd/fustor/internal/first.Version=v1")
	check("nothing beside it", "whole [du /a b]", nil, "du", "/a b")

	beside := filepath.Join(dir, "fustor-read")
	script := "#!/bin/sh\necho \"read $FUSTOR_READ_BUILD $*\"\n"
	if err := os.WriteFile(beside, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	check("a file that cannot be run", "whole [du /a b]", nil, "du", "/a b")
	if err := os.Chmod(beside, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range Commands {
		check("a reading command", "read v1 "+command+" /a b", nil, command, "/a b")
	}
	check("another command", "whole [query du]", nil, "query", "du")
	check("no command", "whole []", nil)
	check("a command line that was handed back", "whole [du]", []string{WholeEnv + "=1"}, "du")
	build()
	check("a build without a version", "whole [du]", nil, "du")
}
