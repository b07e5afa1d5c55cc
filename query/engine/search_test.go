package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/internal/store"
)

// treeRows are rows of paths in key order, with all directories above them and their sums; those that end with a slash are directories.
func treeRows(paths ...string) (rows []evidence.Row) {
	types := map[string]event.Type{"/": event.Directory}
	for _, path := range paths {
		kind := event.File
		if strings.HasSuffix(path, "/") {
			path, kind = path[:len(path)-1], event.Directory
		}
		types[path] = kind
		for i, c := range path {
			if c == '/' && i > 0 {
				types[path[:i]] = event.Directory
			}
		}
	}
	for path, kind := range types {
		r := evidence.Row{Type: kind, Mode: 0o755, ObservedAt: 1, Evidence: event.Snapshot, Agent: "agent", Source: "fs://host/data"}
		r.Parent, r.Name = event.Split(path)
		rows = append(rows, r)
	}
	slices.SortFunc(rows, byKey)
	directories := map[string]*evidence.Row{} // by the Parent of their entries
	for i := range rows {
		if r := &rows[i]; r.Type == event.Directory {
			r.Sub, directories[r.ChildParent()] = r.Own(), r
		} else {
			r.Sub.LatestMtimeNs = evidence.NoMtime
		}
	}
	for i := len(rows) - 1; i > 0; i-- { // what is in a directory comes after it
		sum := rows[i].Sub
		if rows[i].Type != event.Directory {
			sum = rows[i].Own()
		}
		above := directories[rows[i].Parent]
		above.Sub = above.Sub.Plus(sum)
	}
	return rows
}

// isWithin reports whether a path is another or lies below it.
func isWithin(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func byKey(a, b evidence.Row) int {
	return cmp.Or(strings.Compare(a.Parent, b.Parent), strings.Compare(a.Name, b.Name))
}

// open publishes layers as a version, and opens it: several of the base and one delta, in small row groups.
func (p *publisher) open(base []evidence.Row, delta ...evidence.Row) *Version {
	p.t.Helper()
	written := func(rows []evidence.Row) layer.Info {
		w := layer.NewWriter(layer.WriterOptions{ID: ulid.Make().String(), RowsPerGroup: 4, SearchSpan: 1})
		for i := range rows {
			if err := w.Append(&rows[i]); err != nil {
				p.t.Fatal(err)
			}
		}
		built, err := w.Finish()
		if err == nil {
			err = layer.Publish(p.t.Context(), p, testView, built)
		}
		if err != nil {
			p.t.Fatal(err)
		}
		return built.Info
	}
	m := &manifest.Manifest{Format: manifest.Format, View: testView, Reason: "fold", Nonce: ulid.Make().String(), Version: 1}
	m.Scan.SnapshotDone = 1
	for part := range slices.Chunk(base, len(base)/3+1) {
		m.Base = append(m.Base, written(part))
	}
	if slices.SortFunc(delta, byKey); len(delta) > 0 {
		m.Deltas = []layer.Info{written(delta)}
	}
	if _, err := manifest.Commit(p.t.Context(), p, m, ""); err != nil {
		p.t.Fatal(err)
	}
	v, err := New(Options{Store: p, Now: time.Now, MemoryBytes: 64 << 20, CacheBytes: 16 << 20}).Newest(p.t.Context(), testView)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// searched are the paths that a search finds from a position on, page by page.
func searched(t *testing.T, v *Version, s *Search, after *Position, limit int) (paths []string, err error) {
	t.Helper()
	for {
		n := 0
		after, err = v.Search(t.Context(), s, after, limit, func(r *evidence.Row) error {
			n++
			paths = append(paths, r.Path())
			return nil
		})
		if err != nil || after == nil {
			return paths, err
		}
		if n != limit {
			t.Fatalf("a page of %d hits has %d, and another follows", limit, n)
		}
	}
}

// TestSearch: a search finds what lies at or below its path and matches, the path itself first and then in the order of keys, however long
// its pages are.
func TestSearch(t *testing.T) {
	paths := []string{"/a/b/deep/", "/a/b", "/a/b.txt", "/a/b0", "/a/gone.txt", "/a/spec-one/spec-two/x.txt", "/a/spec-one/x.txt", "/a/spec-one/y", "/empty/", "/spec.txt", "/z/a special file.txt"}
	for i := range 30 {
		paths = append(paths, fmt.Sprintf("/a/b/x%02d.txt", i), fmt.Sprintf("/z/%02d/x.dat", i))
		paths = append(paths, fmt.Sprintf("/a/spec-one/w/x%02d.txt", i), fmt.Sprintf("/zz-spec/w/x%02d.txt", i))
	}
	rows := treeRows(paths...)
	gone := slices.IndexFunc(rows, func(r evidence.Row) bool { return r.Path() == "/a/gone.txt" })
	removed, added := rows[gone], treeRows("/a/new.txt")
	removed.Removed, removed.Sub = true, evidence.Totals{}
	v := newPublisher(t).open(rows, removed, added[len(added)-1])
	rows = append(slices.Delete(rows, gone, gone+1), added[len(added)-1])
	slices.SortFunc(rows, byKey)

	name := func(pattern, path string) *Search {
		s, err := NewSearch(pattern, path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	only := func(s *Search, types string) *Search {
		s.OfTypes(types)
		return s
	}
	whole := func(pattern string) *Search {
		s, err := NewPathSearch(pattern)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct {
		what    string
		s       *Search
		path    string
		matches string // a regular expression, of paths
	}{
		{"names", name("*.txt", "/"), "/", `\.txt$`},
		{"everything", name("*", "/"), "/", `/.`},
		{"everything below a directory", name("*", "/a"), "/a", ``},
		{"a directory that does not match itself", name("x*", "/a/b"), "/a/b", `/x[^/]*$`},
		{"a directory alone", name("empty", "/empty"), "/empty", ``},
		{"a file", name("*.txt", "/a/b.txt"), "/a/b.txt", ``},
		{"a file that does not match", name("*.dat", "/a/b.txt"), "/a/b.txt", `none`},
		{"paths within the path", name("/a/b/x0*", "/a"), "/a", `^/a/b/x0[^/]*$`},
		{"paths elsewhere", name("/z/**", "/a"), "/a", `none`},
		{"a directory of which everything matches", name("/a/**", "/a/b"), "/a/b", ``},
		{"a directory of another type", only(name("*", "/a"), "f"), "/a", `\.txt$|b0$|/y$`},
		{"whole paths", whole("/a/*.txt"), "/", `^/a/.*\.txt$`},
		{"whole paths by a piece", whole("*spec*.txt"), "/", `spec.*\.txt$`},
		{"whole paths below one", whole("/a/*spec*"), "/", `^/a/.*spec`},
		{"whole paths by two pieces", whole("*spec*/x*"), "/", `spec.*/x`},
		{"whole paths of nowhere", whole("/nowhere/*spec*"), "/", `none`},
		{"whole paths without a piece", whole("*/x*"), "/", `/x`},
	} {
		var want []string
		for _, r := range rows {
			if path := r.Path(); r.Parent != "" && isWithin(path, c.path) && regexp.MustCompile(c.matches).MatchString(path) {
				want = append(want, path)
			}
		}
		if i := slices.Index(want, c.path); i > 0 {
			want = slices.Insert(slices.Delete(want, i, i+1), 0, c.path)
		}
		for _, limit := range []int{0, 1, 3, len(want), 1000} {
			if got, err := searched(t, v, c.s, nil, limit); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, %d on a page: %q, %v; not %q", c.what, limit, got, err, want)
			}
		}
		if len(want) == 0 {
			continue
		}
		// A page begins at a key that another view had last, or behind it.
		for i, path := range want {
			at := Position{Key: layer.KeyOf(path)}
			if got, err := searched(t, v, c.s, &at, 0); err != nil || !slices.Equal(got, want[i+1:]) {
				t.Errorf("%s, after %s: %q, %v; not %q", c.what, path, got, err, want[i+1:])
			}
			at.Including = true
			if got, err := searched(t, v, c.s, &at, 0); err != nil || !slices.Equal(got, want[i:]) {
				t.Errorf("%s, at %s: %q, %v; not %q", c.what, path, got, err, want[i:])
			}
		}
	}
	for _, path := range []string{"/nowhere", "/a/gone.txt"} {
		var unknown *NoPathError
		if got, err := searched(t, v, name("*", path), nil, 0); !errors.As(err, &unknown) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if !name("*", "/a").Everything() || name("*.txt", "/a").Everything() || whole("*").Everything() {
		t.Error("not everything that says so is a search for everything")
	}
	if _, err := NewPathSearch(strings.Repeat("x", maxPattern)); err != nil {
		t.Error(err)
	}
	var long *PatternError
	if _, err := NewPathSearch(strings.Repeat("x", maxPattern+1)); !errors.As(err, &long) {
		t.Errorf("a pattern that is too long: %v", err)
	}
}

// TestSearchOfManySubtrees: a search by path does without the subtrees whose directories have its piece where there are too many of them.
func TestSearchOfManySubtrees(t *testing.T) {
	var paths []string
	for i := range maxSubtrees + 1 {
		paths = append(paths, fmt.Sprintf("/spec%04d/x.txt", i))
	}
	for _, n := range []int{maxSubtrees, maxSubtrees + 1} {
		v := newPublisher(t).open(treeRows(paths[:n]...))
		s, err := NewPathSearch("*spec*/x.t*")
		if err != nil {
			t.Fatal(err)
		}
		complete, err := v.withSubtrees(t.Context(), s)
		if want := n; err != nil || complete == nil || len(complete.subtrees) != want && n <= maxSubtrees || n > maxSubtrees && complete.subtrees != nil {
			t.Errorf("%d directories: %v", n, err)
		}
		if got, err := searched(t, v, s, nil, 0); err != nil || len(got) != n {
			t.Errorf("%d directories: %d hits, %v", n, len(got), err)
		}
	}
}

// TestSearchAsAReader: a reader finds what file permissions show, is told no sums that count what they hide, and does not know which directories
// are empty that may not be listed. An owner whom nobody knows is one whose files are not shown.
func TestSearchAsAReader(t *testing.T) {
	rows := treeRows("/dir/closed/secret.txt", "/dir/open.txt", "/empty/", "/shut/")
	for i := range rows {
		switch r := &rows[i]; r.Path() {
		case "/dir/closed":
			r.Mode = 0o700
		case "/shut":
			r.Mode = 0o711
		}
	}
	v := newPublisher(t).open(rows)
	reader := WithReader(t.Context(), permission.NewIdentity(1001, 100))
	find := func(ctx context.Context, path string, change func(*Search)) (found []string, hidden bool, err error) {
		t.Helper()
		s, err := NewSearch("*", path)
		if err != nil {
			t.Fatal(err)
		}
		change(s)
		_, err = v.Search(ctx, s, nil, 0, func(r *evidence.Row) error {
			found, hidden = append(found, r.Path()), hidden || r.Type == event.Directory && r.Hidden&evidence.HiddenTotals != 0
			return nil
		})
		return found, hidden, err
	}
	all := func(*Search) {}
	empty := func(s *Search) { s.Empty = true }
	for _, c := range []struct {
		what, path          string
		change              func(*Search)
		whole, shown        string // what is found without a reader, and as one
		hidden, unknownName bool
	}{
		{"a directory", "/dir", all, "/dir /dir/closed /dir/open.txt /dir/closed/secret.txt", "/dir /dir/closed /dir/open.txt", true, false},
		{"an empty directory", "/empty", empty, "/empty", "/empty", true, false},
		{"one that may not be listed", "/shut", empty, "/shut", "", false, false},
		{"empty ones", "/", empty, "/dir/closed/secret.txt /dir/open.txt /empty /shut", "/dir/open.txt /empty", true, false},
		{"an owner whom nobody knows", "/", func(s *Search) { s.OfOwners("nobody-here", "") }, "", "", false, true},
	} {
		var unknown *NoOwnerError
		found, hidden, err := find(t.Context(), c.path, c.change)
		if !slices.Equal(sorted(found), sorted(strings.Fields(c.whole))) || hidden || errors.As(err, &unknown) != c.unknownName || err != nil && !c.unknownName {
			t.Errorf("%s: %q, sums hidden: %v, %v", c.what, found, hidden, err)
		}
		found, hidden, err = find(reader, c.path, c.change)
		if !slices.Equal(sorted(found), sorted(strings.Fields(c.shown))) || hidden != c.hidden || err != nil {
			t.Errorf("%s, as a reader: %q, sums hidden: %v, %v", c.what, found, hidden, err)
		}
	}
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// TestSearchesReadLittle: what a name must have is looked up in the search indexes, and so are the directories that whole paths must have, lest
// all row groups be read.
func TestSearchesReadLittle(t *testing.T) {
	var paths []string
	for i := range 1000 {
		paths = append(paths, fmt.Sprintf("/d%02d/%03d-%x.dat", i/50, i, 7919*i))
	}
	p := newPublisher(t)
	p.open(treeRows(append(paths, "/d10/special/x.txt", "/d11/special-offer.txt")...))
	counted := store.Count(p.Store)
	read := func(s *Search, err error) (hits int, bytes uint64) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		v, err := New(Options{Store: counted, Now: time.Now, MemoryBytes: 64 << 20, CacheBytes: 16 << 20}).Newest(t.Context(), testView)
		if err != nil {
			t.Fatal(err)
		}
		before := counted.Counts().BytesIn
		got, err := searched(t, v, s, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(got), counted.Counts().BytesIn - before
	}
	_, all := read(NewSearch("*", "/"))
	hits, byName := read(NewSearch("*special*", "/"))
	inPaths, byPath := read(NewPathSearch("*special*t"))
	t.Log(all, byName, byPath)
	if hits != 2 || inPaths != 2 || byName > all/3 || byPath > all/3 {
		t.Errorf("all: %d bytes; a name: %d hits, %d bytes; a piece of paths: %d hits, %d bytes", all, hits, byName, inPaths, byPath)
	}
}
