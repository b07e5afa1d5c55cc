package glob

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	for text, want := range map[string][]string{
		"*.bam":             {"*.bam"},
		"*.{bam,gz}":        {"*.bam", "*.gz"},
		"{a,b}{c,d}":        {"ac", "ad", "bc", "bd"},
		"*.{bam,b{a,b}i}":   {"*.bam", "*.bai", "*.bbi"},
		"x{,y}":             {"x", "xy"},
		"{b}":               {`\{b\}`},
		"{b":                {`\{b`},
		"}{a,b}":            {`\}a`, `\}b`},
		`\{a,b}`:            {`\{a,b\}`},
		`{a\,b}`:            {`\{a\,b\}`},
		`{a\,b,c}`:          {`a\,b`, "c"},
		"{{b},x}*":          {`\{b\}*`, "x*"},
		"\xe6{\xff,\xfe}*":  {"\xe6\xff*", "\xe6\xfe*"},
		"{[a-c],?}[!{d,e}]": {"[a-c][!d]", "[a-c][!e]", "?[!d]", "?[!e]"},
	} {
		if got, err := Expand(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]error{"[a": ErrSyntax, `a\`: ErrSyntax, "{[a,b}": ErrSyntax, strings.Repeat("{a,b}", 7): ErrAlternatives,
		strings.Repeat("{a,b}", 200): ErrAlternatives} {
		if got, err := Expand(text); !errors.Is(err, want) {
			t.Errorf("%q: %q, %v; want %v", text, got, err, want)
		}
	}
}

// TestBracesAreBashs: braces stand for what they stand for in bash.
func TestBracesAreBashs(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash here")
	}
	for _, text := range []string{"x.{bam,gz}", "{a,b}{c,d}", "x{,y}", "a{b}c", "a{b", "{{b},x}", "x.{bam,b{a,b}i}", "}{a,b}", "a{b,c", "{a,b}}", "{,}x"} {
		out, err := exec.Command(bash, "-c", "set -f; printf '%s\\n' "+text).CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		globs, err := Expand(text)
		if err != nil {
			t.Error(text, err)
		}
		got := strings.NewReplacer(`\{`, "{", `\}`, "}").Replace(strings.Join(globs, "\n") + "\n")
		if got != string(out) {
			t.Errorf("%s: %q, bash says %q", text, got, out)
		}
	}
}

func TestMatchIsOfBytes(t *testing.T) {
	if Match("\xe6*", "\xffraw") || !Match("\xe6*", "\xe6raw") || !Match("é?", "éx") {
		t.Error("bytes that are not UTF-8 are taken for each other")
	}
}
