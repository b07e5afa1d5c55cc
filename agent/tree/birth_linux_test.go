package tree

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/internal/event"
)

// TestBirthsAreThoseOfStat holds births against stat(1), of a tree with a time long before it.
func TestBirthsAreThoseOfStat(t *testing.T) {
	if _, err := exec.LookPath("stat"); err != nil {
		t.Skip("stat(1) is not installed")
	}
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "a/f"), []byte("x"), 0o644))
	must(t, os.Symlink("f", filepath.Join(dir, "a/l")))
	must(t, unix.Mkfifo(filepath.Join(dir, "a/p"), 0o600))
	look := openRoot(t, dir).Looker()
	defer look.Close()
	for _, path := range []string{"/", "/a", "/a/f", "/a/l", "/a/p"} {
		info, err := look.Lstat(path)
		must(t, err)
		out, err := exec.Command("stat", "-c", "%W", filepath.Join(dir, path)).Output()
		must(t, err)
		if got, want := fmt.Sprint(info.Entry.BirthS), strings.TrimSpace(string(out)); got != want {
			t.Errorf("%s was born at %s, stat says %s", path, got, want)
		}
	}
}

// TestACLsAreThoseOfGetfacl holds ACLs against getfacl(1): of directories, of the root, and of files in directories with ACLs, read
// by both system calls. Files elsewhere tell of none.
func TestACLsAreThoseOfGetfacl(t *testing.T) {
	for _, tool := range []string{"setfacl", "getfacl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + "(1) is not installed")
		}
	}
	dir := t.TempDir()
	for _, d := range []string{"plain", "shared", "shared/deep"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o750))
	}
	for _, f := range []string{"plain/with", "plain/without", "shared/with", "shared/without"} {
		must(t, os.WriteFile(filepath.Join(dir, f), nil, 0o640))
	}
	for path, spec := range map[string]string{"": "u:12345:rx", "shared": "u:1000:rwx,g:54321:r-x,m::rx", "plain/with": "u:7:r", "shared/with": "g:8:rw"} {
		if out, err := exec.Command("setfacl", "-m", spec, filepath.Join(dir, path)).CombinedOutput(); err != nil {
			t.Skipf("setfacl: %s", out) // the file system has no ACLs
		}
	}
	check := func(t *testing.T) {
		root := openRoot(t, dir)
		look := root.Looker()
		defer look.Close()
		for _, path := range []string{"/", "/plain", "/shared", "/shared/deep", "/shared/with", "/shared/without"} {
			info, err := look.Lstat(path)
			must(t, err)
			same(t, path, info.Entry.ACL, getfacl(t, filepath.Join(dir, path)))
		}
		for _, path := range []string{"/plain/with", "/plain/without"} {
			if info, err := look.Lstat(path); err != nil || info.Entry.ACL != "" {
				t.Errorf("%s: ACL %q, %v", path, info.Entry.ACL, err)
			}
		}
		same(t, "the root as it was opened", root.Info().Entry.ACL, getfacl(t, dir))
		d, err := root.OpenDir("/shared")
		must(t, err)
		defer d.Close()
		var names Names
		must(t, d.Read(&names))
		for i := range names.Len() {
			info, err := d.Lstat(&names, i)
			must(t, err)
			same(t, "listed "+names.At(i), info.Entry.ACL, getfacl(t, filepath.Join(dir, "shared", names.At(i))))
		}
		own, err := d.ACL()
		must(t, err)
		same(t, "the open directory", own, getfacl(t, filepath.Join(dir, "shared")))
	}
	t.Run("as the kernel has it", check)
	withoutGetxattrat(t)
	t.Run("without getxattrat", check)
}

func same(t *testing.T, what string, got event.ACL, want string) {
	t.Helper()
	if got.String() != want {
		t.Errorf("%s: ACL %q, getfacl says %q", what, got, want)
	}
}

// getfacl is what getfacl says of a path, in one line; none where that is no more than the mode.
func getfacl(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("getfacl", "--absolute-names", "--numeric", "--omit-header", "--no-effective", "--skip-base", path).Output()
	must(t, err)
	if text := strings.Join(strings.Fields(string(out)), ","); text != "" {
		return text
	}
	return "none"
}

// TestFileSystemsWithoutACLsAreAskedOnce: proc has none.
func TestFileSystemsWithoutACLsAreAskedOnce(t *testing.T) {
	var acls aclDevices
	fd, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Skip("there is no /proc")
	}
	defer unix.Close(fd)
	if acl := acls.readACL(fd, []byte("sys\x00"), 7); acl != "" || acls.has(7) || !acls.has(8) {
		t.Errorf("ACL %q, asked again: %v, others asked: %v", acl, acls.has(7), acls.has(8))
	}
}
