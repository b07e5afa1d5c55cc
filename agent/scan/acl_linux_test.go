package scan

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// TestAuditSeesSetfacl: setfacl leaves the mtimes of directories alone. An audit that compares lists the directory of a file, or of a
// subdirectory, whose ACL is another, and no other directory.
func TestAuditSeesSetfacl(t *testing.T) {
	if _, err := exec.LookPath("setfacl"); err != nil {
		t.Skip("there is no setfacl(1)")
	}
	dir := t.TempDir()
	for _, d := range []string{"shared", "above/below", "untouched"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o750))
	}
	for _, f := range []string{"shared/a", "shared/b", "above/below/c", "untouched/d"} {
		must(t, os.WriteFile(filepath.Join(dir, f), nil, 0o640))
	}
	setfacl := func(path, spec string) {
		t.Helper()
		if out, err := exec.Command("setfacl", "-m", spec, filepath.Join(dir, path)).CombinedOutput(); err != nil {
			t.Skipf("setfacl: %s", out) // the file system has no ACLs
		}
	}
	setfacl("shared", "u:7:rx")
	setfacl("untouched", "u:7:rx")
	setfacl("above/below", "u:9:rx")
	a := newAuditor(t, dir)
	a.run(t)
	if listed := a.run(t); len(listed) != 0 {
		t.Fatalf("an audit without a change lists %v", slices.Sorted(maps.Keys(listed)))
	}

	setfacl("shared/b", "g:8:r")
	setfacl("above/below", "u:10:rx") // the mode stays, and of a directory the ctime is not in the content
	listed := a.run(t)
	if got := strings.Join(slices.Sorted(maps.Keys(listed)), " "); got != "/above /shared" {
		t.Fatalf("after setfacl an audit lists %q", got)
	}
	for path, want := range map[string]string{
		"/shared/a": "none", "/shared/b": "user::rw-,group::r--,group:8:r--,mask::r--,other::---",
		"/above/below": "user::rwx,user:9:r-x,user:10:r-x,group::r-x,mask::r-x,other::---",
	} {
		parent, name := event.Split(path)
		for _, e := range listed[strings.TrimSuffix(parent, "/")] {
			if e.Name == name && e.ACL.String() != want {
				t.Errorf("%s has the ACL %q, want %q", path, e.ACL, want)
			}
		}
	}
}

// auditor scans a tree again and again, and compares each directory with what the scan before found.
type auditor struct {
	cfg   Config
	mu    sync.Mutex
	known map[string]Content
}

func newAuditor(t *testing.T, dir string) *auditor {
	root, err := tree.OpenRoot(dir)
	must(t, err)
	t.Cleanup(root.Close)
	excludes, err := tree.NewExcludes(nil)
	must(t, err)
	return &auditor{cfg: Config{Root: root, Excludes: excludes, Now: counter()}, known: map[string]Content{}}
}

// run returns the entries of the directories that are not as they were.
func (a *auditor) run(t *testing.T) map[string][]event.Entry {
	t.Helper()
	listed := map[string][]event.Entry{}
	must(t, Run(t.Context(), a.cfg, &Receiver{
		Evidence: event.Audit, Counts: &Counts{},
		Emit: func(_ context.Context, ev *event.Event, _ Reading) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if ev.Kind == event.Listing {
				listed[ev.Path] = slices.Clone(ev.Entries)
			}
			return nil
		},
		Look: func(string, int64) Look { return Compare },
		Same: func(path string, now Content) bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			was, known := a.known[path]
			a.known[path] = now
			return known && was == now
		},
	}, "/"))
	return listed
}

// TestACLOfADirectoryIsReadOnce: a scan looks at a directory several times while it reads it, for its times, and asks for the ACL once;
// never for one who only wants directories watched.
func TestACLOfADirectoryIsReadOnce(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a/b", "c"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	excludes, err := tree.NewExcludes(nil)
	must(t, err)
	emit := func(context.Context, *event.Event, Reading) error { return nil }
	for _, c := range []struct {
		to   *Receiver
		want map[string]int
	}{
		{&Receiver{Counts: &Counts{}, Emit: emit}, map[string]int{"/": 1, "/a": 1, "/a/b": 1, "/c": 1}},
		{&Receiver{Counts: &Counts{}}, map[string]int{}},
	} {
		var mu sync.Mutex
		asked := map[string]int{}
		root := openSlow(t, dir, func(what, path string) {
			mu.Lock()
			defer mu.Unlock()
			if what == "acl" {
				asked[path]++
			}
		})
		cover := func(tree.Root, tree.Dir, string, tree.Info) (Reading, error) { return freeReading{}, nil }
		must(t, Run(t.Context(), Config{Root: root, Excludes: excludes, Now: counter(), Cover: cover}, c.to, "/"))
		root.Close()
		if !maps.Equal(asked, c.want) {
			t.Errorf("ACLs asked for: %v, want %v", asked, c.want)
		}
	}
}
