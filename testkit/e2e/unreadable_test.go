//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestPermissionsAreTaken takes the rights on a subtree from an agent that has no others, changes what is in it meanwhile, and
// gives them back. No audit comes to help.
func TestPermissionsAreTaken(t *testing.T) {
	t.Parallel()
	as := nobody(t)
	if as == nil {
		t.Skip("needs root: the test must change what the agent cannot read")
	}
	for _, c := range []struct {
		name  string
		audit time.Duration
	}{{"told by the kernel", 0}, {"found by audits", time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			permissionsAreTaken(t, as, c.audit)
		})
	}
}

func permissionsAreTaken(t *testing.T, as *syscall.Credential, audit time.Duration) {
	base, err := os.MkdirTemp("", "fustor-e2e-rights-") // unlike t.TempDir reachable for others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	state, dir := filepath.Join(base, "state"), filepath.Join(base, "tree")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(base, 0o755))
	must(os.Mkdir(state, 0o700))
	must(os.Chown(state, int(as.Uid), int(as.Gid)))
	write := func(path, text string) {
		t.Helper()
		must(os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755))
		must(os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644))
	}
	for _, path := range []string{"open/file", "closed/file", "closed/gone", "closed/below/file", "closed/below/deep/file", "closed/doomed/file"} {
		write(path, path)
	}
	write("never/readable", "x")
	must(os.Chmod(filepath.Join(dir, "never"), 0))

	o := begin(t, observation{dir: dir, audit: audit, state: filepath.Join(state, "session.json"),
		under: launch{with: func(a *syscall.SysProcAttr) { a.Credential = as }}})
	// What nobody has ever been allowed to read is not in the view; that it is there is.
	seen := func() tree {
		t.Helper()
		disk := onDisk(t, dir)
		delete(disk, "/never/readable")
		return disk
	}
	is := func(what string, want tree) {
		t.Helper()
		unlike := ""
		defer func() {
			if t.Failed() {
				t.Log(unlike)
			}
		}()
		eventually(t, patience(20*time.Second), what, func() bool {
			view, err := o.find(t)
			if err != nil {
				unlike = err.Error()
				return false
			}
			unlike = difference(view, want)
			return unlike == ""
		})
	}
	is("the view is what can be read", seen())
	o.says(`msg="cannot read" part=agent (source=[^ ]+ )?path="?[^ ]*/never`, 0)

	// The rights go. What is below stays in the view as it was known.
	want := seen()
	closed := filepath.Join(dir, "closed")
	must(os.Chmod(closed, 0))
	want["/closed"] = onDisk(t, closed)["/"]
	is("the subtree is as it was known", want)
	from := len(o.agent.log.String())
	write("closed/new", "x")
	write("closed/new-below/file", "x")
	write("closed/below/new", "x")
	write("closed/below/deep/file", "and more")
	must(os.Remove(filepath.Join(closed, "gone")))
	must(os.RemoveAll(filepath.Join(closed, "doomed")))
	must(os.Rename(filepath.Join(closed, "file"), filepath.Join(closed, "renamed")))
	write("open/after", "x")
	o.says(`msg="cannot read" part=agent (source=[^ ]+ )?path="?[^ ]*/closed`, from)
	o.reports("of what cannot be read", func(s map[string]any) bool {
		unreadable, _ := s["unreadable"].(float64)
		return unreadable > 1 // one has been from the start
	})
	eventually(t, patience(20*time.Second), "what can be read goes on, and nothing is removed", func() bool {
		view, err := o.find(t)
		if err != nil {
			return false
		}
		for _, path := range []string{"/closed/file", "/closed/gone", "/closed/below/deep/file"} {
			if view[path] != want[path] {
				t.Fatalf("%s is %v while it cannot be read; it was %v", path, view[path], want[path])
			}
		}
		return view["/open/after"].kind == 'f'
	})

	// They come back.
	must(os.Chmod(closed, 0o755))
	is("the view is what can be read again", seen())
	write("closed/new-below/deeper/file", "x")
	write("closed/below/last", "x")
	must(os.Chmod(filepath.Join(dir, "never"), 0o755))
	o.same(20 * time.Second)
	write("never/more/files", "x")
	o.same(20 * time.Second)
}
