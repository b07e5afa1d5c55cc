package report

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/store/local"
)

// scopeOf is a view of files in one directory, which are given in order.
func scopeOf(t *testing.T, files []evidence.Row) Scope {
	t.Helper()
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := layer.NewWriter(layer.WriterOptions{ID: ulid.Make().String(), RowsPerGroup: 64})
	for i := range files {
		if err := w.Append(&files[i]); err != nil {
			t.Fatal(err)
		}
	}
	built, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := layer.Publish(context.Background(), st, "v", built); err != nil {
		t.Fatal(err)
	}
	v, err := layer.OpenView(st, "v", []layer.Info{built.Info}, nil, layer.NewCache(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return Scope{View: v, Root: &evidence.Row{Type: event.Directory}}
}

// TestDuplicatesInManyPasses: however few files a pass may hold, the groups are the same.
func TestDuplicatesInManyPasses(t *testing.T) {
	var files []evidence.Row
	for dir := range 20 {
		for i := range 50 {
			if (i+dir)%(i+1) == 0 {
				files = append(files, evidence.Row{Parent: fmt.Sprintf("/d%02d/", dir), Name: fmt.Sprintf("f%02d", i), Type: event.File, Size: int64(i%7 + 1)})
			}
		}
	}
	s := scopeOf(t, files)
	all, err := s.Duplicates(t.Context(), 0, 1000)
	if err != nil || len(all) < 10 {
		t.Fatalf("%d groups, %v", len(all), err)
	}
	for _, most := range []int{1, 7, 100} {
		few, err := scopes{in: []Scope{s}}.duplicates(t.Context(), 1, 1000, most)
		if err != nil || !slices.EqualFunc(few, all, func(a, b Duplicate) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
			t.Fatalf("passes of %d files: %v, %v\nnot %v", most, few, err, all)
		}
	}
	top, err := scopes{in: []Scope{s}}.duplicates(t.Context(), 1, 3, 7)
	if err != nil || len(top) != 3 || top[2].Wasted() != all[2].Wasted() {
		t.Fatalf("the first three: %v, %v, not %v", top, err, all[:3])
	}
}

func TestExtension(t *testing.T) {
	for name, want := range map[string]string{
		"a.txt": "txt", "A.TXT": "txt", "a.tar.gz": "gz", "noext": "", ".bashrc": "", "a.": "", "": "", ".": "", "a.b c": "", "x.\xff": "",
		"lib.so.6": "6", "v." + strings.Repeat("e", 16): strings.Repeat("e", 16), "v." + strings.Repeat("e", 17): "", "notes.txt~": "txt~", "a.c++": "c++",
	} {
		if got := string(extension(name, new([maxExtension]byte))); got != want {
			t.Errorf("extension(%q) = %q, not %q", name, got, want)
		}
	}
}
