package values

import (
	"strings"
	"testing"
	"time"
)

// FuzzParameters: what people and clients write as times, sizes, paths and the rest is read, or refused, and nothing that is taken breaks
// the rules of its kind.
func FuzzParameters(f *testing.F) {
	for _, text := range []string{
		"1y", "3mo", "yesterday", "2024-05", "2024-05-06T07:08:09Z", "1.5G", "10KiB", "/a/../b", "/a//b/", "-0644", "u+rwx,g=u", "/022", ".*\\.bam$", "(a|b)+",
		"_w", "9999999999999999999", "-5", "1e400", "NaN", "",
	} {
		f.Add(text)
	}
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			t.Skip()
		}
		_, _ = ParseTime(text, now)
		if size, err := ParseSize(text); err == nil && size < 0 {
			t.Errorf("size %q is %d", text, size)
		}
		if d, err := ParseDuration(text); err == nil && d < 0 {
			t.Errorf("duration %q is %v", text, d)
		}
		if path, err := CleanPath(text); err == nil {
			if again, err := CleanPath(path); err != nil || again != path || !strings.HasPrefix(path, "/") {
				t.Errorf("path %q is %q, and that is %q, %v", text, path, again, err)
			}
			readable, b64 := PathFields(path)
			if b64 != "" {
				readable, _ = DecodeB64(b64)
			}
			if readable != path {
				t.Errorf("path %q is told as %q", path, readable)
			}
		}
		_, _ = ParsePerm(text)
		_, _ = ParseRegex(text)
	})
}
