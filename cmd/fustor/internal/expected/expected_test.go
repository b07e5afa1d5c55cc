package expected

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hostile are names that tools write in their own ways, and where the forms of lines could be mistaken for each other.
var hostile = []string{"plain", "with blank", " leading", "trailing ", "back\\slash", "two\\\\", `\n as text`, "tab\tinside", "tab\t7", "12 looks sized",
	"*star", "--dash", "'quoted\"", "caf\xc3\xa9", "not utf-8 \xff\xfe", "\u202eright to left", strings.Repeat("x", 255), "new\nline", "cr\rinside",
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  x"}

// TestListsOfTools reads what sha256sum, md5sum and find write of files with such names.
func TestListsOfTools(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for i, name := range append(slices.Clone(hostile), "sub/below") {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, make([]byte, i), 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	oneLine := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.ContainsAny(n, "\n") })
	for _, c := range []struct {
		tool  string
		args  []string
		names []string // those that the form can tell
		sizes bool
	}{
		{"sha256sum", append([]string{"--"}, names...), names, false},
		{"md5sum", append([]string{"-b", "--"}, names...), names, false},
		{"find", []string{".", "-type", "f", "-not", "-name", "*\n*", "-printf", `%s %p\n`}, oneLine, true},
		{"find", []string{".", "-type", "f", "-not", "-name", "*\n*", "-printf", `%P\t%s\n`}, oneLine, true},
	} {
		t.Run(c.tool+" "+c.args[len(c.args)-1], func(t *testing.T) {
			if about, err := exec.Command(c.tool, "--version").Output(); err != nil || !bytes.Contains(about, []byte("GNU")) {
				t.Skipf("GNU %s is not installed: %v", c.tool, err)
			}
			cmd := exec.Command(c.tool, c.args...)
			cmd.Dir = dir
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			l, err := Read(bytes.NewReader(out))
			if err != nil {
				t.Fatal(err)
			}
			got := slices.Clone(l.order)
			if slices.Sort(got); !slices.Equal(got, c.names) {
				t.Fatalf("names %q\n  not %q", got, c.names)
			}
			l.Begin()
			for _, name := range names {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				l.Found(name, info.Size())
			}
			if r := l.End(); r.Missing+r.OtherSize != 0 {
				t.Errorf("of what is there it lacks %+v", r)
			}
			l.Begin()
			for _, name := range names[1:] {
				l.Found(name, 1<<40)
			}
			want := 0
			if c.sizes {
				want = len(c.names) - 1
			}
			if r := l.End(); r.Missing != 1 || r.OtherSize != want || r.First[0] != names[0] {
				t.Errorf("with one gone and others too large: %+v", r)
			}
		})
	}
}

// TestNoLists are refused, and the error names the line.
func TestNoLists(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "names no file",
		"\n\n":                       "names no file",
		"3 a\nnonsense\n":            "line 2",
		"99999999999999999999999 a":  "line 1",
		"3 ./":                       "line 1",
		"abc123  too short a sum\n":  "line 1",
		strings.Repeat("x", 2<<20):   "too long",
		"/\t3\n":                     "line 1",
		"7 a\n\\e3b0c442  escaped\n": "line 2",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, not an error with %q", text, err, want)
		}
	}
}
