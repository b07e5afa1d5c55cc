package values

import "testing"

func TestPlural(t *testing.T) {
	for n, want := range map[int64]string{0: "0 files", 1: "1 file", 2: "2 files", 999: "999 files", 1000: "1,000 files", -1: "-1 files", 1234567: "1,234,567 files"} {
		if got := Plural(n, "file", "files"); got != want {
			t.Errorf("%d: %q, not %q", n, got, want)
		}
	}
}
