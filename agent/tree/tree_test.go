package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openRoot(t testing.TB, dir string) Root {
	t.Helper()
	root, err := OpenRoot(dir)
	must(t, err)
	t.Cleanup(root.Close)
	return root
}

func TestNothingBelowTheRootFollowsALink(t *testing.T) {
	base := t.TempDir()
	for _, p := range []string{"root/a", "outside/b"} {
		must(t, os.MkdirAll(filepath.Join(base, p), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(base, "outside/f"), nil, 0o644))
	must(t, os.Symlink("../outside", filepath.Join(base, "root/link")))
	root := openRoot(t, filepath.Join(base, "root"))
	if _, err := root.OpenDir("/link"); err == nil || !Gone(err) {
		t.Errorf("open a link: %v", err)
	}
	look := root.Looker()
	defer look.Close()
	if _, err := look.Lstat("/link/f"); err == nil || !Gone(err) {
		t.Errorf("look through a link: %v", err)
	}
	info, err := look.Lstat("/link")
	if err != nil || info.Entry.Type != event.Symlink || info.Entry.Target != "../outside" {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := look.Lstat("/a/missing"); !Gone(err) {
		t.Errorf("missing: %v", err)
	}
	if _, err := look.Lstat("/outside/../../outside/f"); err == nil {
		t.Error("looked outside of the root")
	}
}

func TestNamesAreInByteOrder(t *testing.T) {
	dir := t.TempDir()
	want := []string{"\x01", "A", "a", "a b", "a-", "a.b", "aaaaaaaa", "aaaaaaaa\x02", "aaaaaaaab", "b", "ä", "\xff", strings.Repeat("\xff", 20)}
	for _, n := range want {
		must(t, os.WriteFile(filepath.Join(dir, n), nil, 0o644))
	}
	d, err := openRoot(t, dir).OpenDir("/")
	must(t, err)
	defer d.Close()
	var names Names
	must(t, d.Read(&names))
	if names.Len() != len(want) {
		t.Fatalf("%d names", names.Len())
	}
	for i, n := range want {
		if names.At(i) != n {
			t.Errorf("name %d is %q, not %q", i, names.At(i), n)
		}
	}
	names.Add([]byte("a"), UnknownType, 0)
	names.Sort()
	if names.Len() != len(want) {
		t.Error("a double name was kept")
	}
}

func TestExcludes(t *testing.T) {
	x, err := NewExcludes([]string{"plain", "*.tmp", "/only/here", "deep/**/x", "with\xffbyte"})
	must(t, err)
	for _, c := range []struct {
		dir, name string
		want      bool
	}{
		{"/", "plain", true}, {"/a/b", "plain", true}, {"/", "plainer", false}, {"/a", "x.tmp", true}, {"/", ".tmp", true},
		{"/only", "here", true}, {"/a/only", "here", false}, {"/", "here", false}, {"/deep/a/b", "x", true}, {"/deep", "x", true},
		{"/a", "with\xffbyte", true}, {"/a", "\xff.tmp", true},
	} {
		if got := x.Match(c.dir, c.name, false); got != c.want {
			t.Errorf("%q in %q: %v", c.name, c.dir, got)
		}
	}
	for _, bad := range []string{"", "/", "[", "a/[b"} {
		if _, err := NewExcludes([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestCheck(t *testing.T) {
	if err := Check(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestNamesStay valid when the same Names take those of other directories, small and large.
func TestNamesStay(t *testing.T) {
	type kept struct{ name, want string }
	var all []kept
	var names Names
	for directory := range 300 {
		names.Reset()
		count := directory % 7
		if directory%100 == 50 {
			count = 2 * namesText / 10 // more than is got at once
		}
		for i := range count {
			names.Add(fmt.Appendf(nil, "%03d-%05d", directory, i), UnknownType, 0)
		}
		names.Sort()
		if names.Len() != count {
			t.Fatalf("%d names, not %d", names.Len(), count)
		}
		for i := range count {
			all = append(all, kept{names.At(i), fmt.Sprintf("%03d-%05d", directory, i)})
		}
	}
	for _, k := range all {
		if k.name != k.want {
			t.Fatalf("%q has become %q", k.want, k.name)
		}
	}
}
