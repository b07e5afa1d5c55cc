package values

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestPermRefuses(t *testing.T) {
	for _, text := range []string{"", "-", "/", "8", "10000", "-u", "u+q", "q+r", "a+rw,", "0x1", " 644"} {
		if p, err := ParsePerm(text); err == nil {
			t.Errorf("%q is %o", text, p.bits)
		}
	}
}

// TestPermIsFinds: a condition keeps the files that find -perm keeps.
func TestPermIsFinds(t *testing.T) {
	if _, err := exec.LookPath("find"); err != nil {
		t.Skip("no find(1) here")
	}
	dir := t.TempDir()
	modes := []uint32{0, 0o644, 0o640, 0o600, 0o4755, 0o2755, 0o1777, 0o666, 0o222, 0o111, 0o7777}
	for _, mode := range modes {
		name := filepath.Join(dir, fmt.Sprintf("%04o", mode))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		bits := os.FileMode(mode & 0o777)
		for bit, of := range map[uint32]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
			if mode&bit != 0 {
				bits |= of
			}
		}
		if err := os.Chmod(name, bits); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"644", "0644", "-644", "/644", "-4000", "/6000", "-0", "/0", "0", "u=rw,go=r", "-u+w", "/go+w", "a=rwx", "-g+s", "/u+s,g+s",
		"-o+t", "/a+x", "u=rwxs,go=rx", "-u+rw,g+r", "=", "/+t", "-a+rwx,o-w"} {
		p, err := ParsePerm(text)
		if err != nil {
			t.Error(text, err)
			continue
		}
		out, err := exec.Command("find", dir, "-type", "f", "-perm", text, "-printf", "%f\n").CombinedOutput()
		if err != nil {
			t.Fatalf("find -perm %s: %v: %s", text, err, out)
		}
		for _, mode := range modes {
			if want := strings.Contains(string(out), fmt.Sprintf("%04o\n", mode)); p.Match(mode) != want {
				t.Errorf("-perm %s and %04o: %v, find says %v", text, mode, !want, want)
			}
		}
	}
}
