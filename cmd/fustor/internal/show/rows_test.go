package show

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestCells: whatever a text is, a CSV reader gets it back by dropping one leading apostrophe, and a spreadsheet finds no formula.
func TestCells(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringOfN(rapid.RuneFrom([]rune("=+-@'\t\n,\"＝ a;")), 0, 6, -1),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 6), func(b []byte) string { return string(b) }),
		).Draw(t, "text")
		var out bytes.Buffer
		r := &Rows{Output: NewOutput(&out, false, false), Form: CSV, Columns: []string{"name", "n", "after"}}
		if err := r.End(r.Record(text, int64(-1), "x")); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(bytes.NewReader(out.Bytes())).ReadAll()
		if err != nil || len(rows) != 2 || !slices.Equal(rows[0], r.Columns) || rows[1][1] != "-1" || rows[1][2] != "x" {
			t.Fatalf("%q, %v", rows, err)
		}
		got := rows[1][0]
		if first, _ := utf8.DecodeRuneInString(got); got != "" && strings.ContainsRune(formulas, first) {
			t.Fatalf("%q is a formula", got)
		}
		want := strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\r\n", "\n") // Go's reader does that, whatever was written
		if got := strings.TrimPrefix(got, "'"); got != want {
			t.Fatalf("%q came back as %q", want, got)
		}
	})
}

// TestRowsAreWhole: every form of no, one and two rows is what it says it is, and an array that broke off is none.
func TestRowsAreWhole(t *testing.T) {
	for n := range 3 {
		print := func(form Form, err error) []byte {
			var out bytes.Buffer
			r := &Rows{Output: NewOutput(&out, false, false), Form: form, Columns: []string{"n"}}
			for i := range n {
				if form == CSV {
					_ = r.Record(i)
				} else {
					_ = r.Object([]byte(`{"n":1}`))
				}
			}
			if got := r.End(err); got != err && err == nil {
				t.Fatal(got)
			}
			return out.Bytes()
		}
		var list []map[string]int
		if err := json.Unmarshal(print(JSON, nil), &list); err != nil || len(list) != n || list == nil {
			t.Errorf("%d objects: %v, %v", n, list, err)
		}
		if json.Valid(print(JSON, csv.ErrQuote)) {
			t.Error("an array that broke off is valid")
		}
		if lines := print(NDJSON, nil); bytes.Count(lines, []byte("}\n")) != n {
			t.Errorf("%q", lines)
		}
		if rows, err := csv.NewReader(bytes.NewReader(print(CSV, nil))).ReadAll(); err != nil || len(rows) != n+1 {
			t.Errorf("%q, %v", rows, err)
		}
	}
	r := &Rows{Output: NewOutput(&bytes.Buffer{}, false, false), Form: CSV, Columns: []string{"a", "b"}}
	if r.Record("one") == nil {
		t.Error("a row without all columns passed")
	}
}
