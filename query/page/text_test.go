package page

import "testing"

func TestParts(t *testing.T) {
	for name, want := range map[string]string{
		"plain é 日": "plain é 日", "a\nb\t": `a\nb\t`, "\xff\xfe": `\xff\xfe`, "a\u202eb": `a\u202eb`, "\u00a0": `\u00a0`, "\ufffd": "\ufffd", "\x1b[31m": `\x1b[31m`, "": "",
	} {
		if got := readable(name); got != want {
			t.Errorf("%q: %q, not %q", name, got, want)
		}
	}
}
