package yamltree

import (
	"strings"
	"testing"
)

// TestText: what editors on Windows write is read, or named.
func TestText(t *testing.T) {
	for body, says := range map[string]string{
		"a: 1\n":                       "",
		"\ufeffa: 1\r\n":               "",
		"\xff\xfea\x00:\x00 \x001\x00": "UTF-16",
		"\xfe\xff\x00a":                "UTF-16",
		"a: 1\nb: M\xfcller\n":         "line 2 is not UTF-8",
	} {
		tree, problems := Parse([]byte(body))
		switch {
		case says == "" && (len(problems) > 0 || tree.Root == nil || tree.Root.String() != "a: 1"):
			t.Errorf("%q: %v", body, problems)
		case says != "" && (len(problems) != 1 || !strings.Contains(problems[0].Text, says)):
			t.Errorf("%q: %v, want %q", body, problems, says)
		}
	}
}
