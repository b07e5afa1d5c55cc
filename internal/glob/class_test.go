package glob_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/glob"
)

// TestClassesAsFind: bracket expressions match what find(1) matches.
func TestClassesAsFind(t *testing.T) {
	version, err := exec.Command("find", "--version").Output()
	if err != nil || !strings.Contains(string(version), "GNU") {
		t.Skip("GNU find is missing")
	}
	dir := t.TempDir()
	names := []string{"1", "2x", "a", "Z", "]", "]x", "[", "[x", "-", "-x", "!", "!x", "^", "^x", "_", "a b", "\t", "\n", "{", "}", "~", "b-c", `\`, "\x01", "9", "f", "G", "#", "@", "`"}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	patterns := []string{"[]]*", "[!]]*", "[^]]*", "[]a]*", "[!]a-c]*", "[a-]*", "[-a]*", "[!-a]*", "[a-c]*", "[[]*", "[[x]*", "[a!]*", "[a^]*", `[\]]*`, `[a\-c]*`,
		"[[:digit:]]*", "[![:digit:]]*", "[[:digit:]a-c_]*", "[_[:upper:]-]*", "[]-a]*", "[{}]*", "[+--]*", `\[*`}
	for _, class := range []string{"alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"} {
		patterns = append(patterns, "[[:"+class+":]]*", "[^[:"+class+":]]*")
	}
	for _, pattern := range patterns {
		find := exec.Command("find", ".", "-mindepth", "1", "-name", pattern, "-printf", `%f\0`)
		find.Dir, find.Env = dir, append(os.Environ(), "LC_ALL=C")
		out, err := find.Output()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		if len(out) == 0 {
			want = nil
		}
		globs, err := glob.Expand(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		var got []string
		for _, name := range names {
			if glob.Match(globs[0], name) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s (%q): %q, find has %q", pattern, globs[0], got, want)
		}
	}
	for _, bad := range []string{"[[:nothing:]]", "[a", "[[:digit:]", "[]"} {
		if _, err := glob.Expand(bad); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}
