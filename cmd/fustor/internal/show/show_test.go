package show

import (
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/client"
)

func TestQuote(t *testing.T) {
	for name, want := range map[string]string{
		"/plain name":  "/plain name",
		"/it's":        "/it's",
		"/caf\u00e9":   "/caf\u00e9",
		"a\nb":         `'a'$'\n''b'`,
		"\nb":          `''$'\n''b'`,
		"a\x1b[31m":    `'a'$'\033''[31m'`,
		"\xff":         `''$'\377'`,
		"it's\t":       `'it'\''s'$'\t'`,
		"bidi\u202e.x": `'bidi'$'\342\200\256''.x'`,
	} {
		if got := Quote(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

// TestQuoteIsForShells: bash reads what was quoted back to the same bytes, and nothing in it drives a terminal.
func TestQuoteIsForShells(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash to read it back with")
	}
	rapid.Check(t, func(t *rapid.T) {
		name := string(rapid.SliceOfN(rapid.ByteRange(1, 255), 1, 30).Draw(t, "name")) + "\n" // quoted, for certain
		quoted := Quote(name)
		if !printable(quoted) {
			t.Fatalf("%q", quoted)
		}
		got, err := exec.Command(bash, "-c", "printf '%s' "+quoted).Output()
		if err != nil || string(got) != name {
			t.Fatalf("%q was quoted %s and read %q, %v", name, quoted, got, err)
		}
	})
}

func TestHuman(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 10189: "10 KiB", 10 << 20: "10 MiB", 1<<20 - 1: "1.0 MiB", 1 << 62: "4.0 EiB",
	} {
		if got := Size(bytes); got != want {
			t.Errorf("%d: %s, want %s", bytes, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := Count(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for mode, want := range map[uint32]string{0o755: "-rwxr-xr-x", 0o4755: "-rwsr-xr-x", 0o4644: "-rwSr--r--", 0o2070: "----rws---", 0o1777: "-rwxrwxrwt", 0o1000: "---------T"} {
		if got := Mode('f', mode); got != want {
			t.Errorf("%o: %s, want %s", mode, got, want)
		}
	}
	if got := Time(-1, time.UTC); got != "1969-12-31 23:59" {
		t.Error(got)
	}
}

// TestEntryIsJSON: for any name, what is printed is JSON, and says the name exactly.
func TestEntryIsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := "/" + string(rapid.SliceOf(rapid.Byte()).Draw(t, "name"))
		line := AppendDetails(nil, &client.Node{Path: name, Type: "symlink", Target: name, Size: -1, Subtree: &client.Subtree{}})
		var got struct {
			Path   string  `json:"path"`
			B64    *string `json:"path_b64"`
			Target string  `json:"target"`
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got.B64 == nil && (got.Path != name || got.Target != name) {
			t.Fatalf("%q became %q", name, got.Path)
		}
	})
}
