package query

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/values"
)

// TestAppendString: any bytes come out as JSON that reads as the same text, or as PathFields shows them.
func TestAppendString(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "s")
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		if want, _ := values.PathFields(s); got != want {
			t.Fatalf("%q, not %q", got, want)
		}
		if out := string(appendString(nil, s)); strings.ContainsFunc(out, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatalf("%q has a control character", out)
		}
	})
}

// TestAppendSeconds: as values.Seconds.
func TestAppendSeconds(t *testing.T) {
	for _, ns := range []int64{0, 1, -1, 1e9, -1e9, 1500000000, math.MaxInt64, math.MinInt64, 1700001234500000000} {
		if got, want := string(appendSeconds(nil, ns)), values.Seconds(ns).String(); got != want {
			t.Errorf("%d: %s, not %s", ns, got, want)
		}
	}
}
