package permission

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/cases"
)

// The kernel is the oracle: random trees with random owners, groups, modes and ACLs, in which find(1) and stat(1) run as random users. What
// they are shown is what the rules say.

const (
	firstID = 70_000 // ids that no one has on this machine
	ids     = 5
)

func randomID(rng *rand.Rand) uint32 { return firstID + uint32(rng.IntN(ids)) }

// randomMode has, more often than not, bits that let somebody in, so that trees are not closed at the top.
func randomMode(rng *rand.Rand) uint32 {
	mode := rng.Uint32N(0o10000)
	if rng.IntN(3) > 0 {
		mode |= [...]uint32{0o555, 0o550, 0o500, 0o055, 0o111, 0o005, 0o444}[rng.IntN(7)]
	}
	return mode
}

// randomACL is a valid access ACL.
func randomACL(rng *rand.Rand) event.ACL {
	b := []byte(event.NoACL)
	add := func(tag, permissions uint16, id uint32) {
		b = append(b, byte(tag), 0, byte(permissions), 0, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
	}
	any := func() uint16 {
		if rng.IntN(2) == 0 {
			return 5
		}
		return uint16(rng.IntN(8))
	}
	named := func(tag uint16) {
		for id := range uint32(ids) {
			if rng.IntN(3) == 0 {
				add(tag, any(), firstID+id)
			}
		}
	}
	const none = 0xffffffff
	add(event.ACLUserObject, any(), none)
	named(event.ACLUser)
	add(event.ACLGroupObject, any(), none)
	named(event.ACLGroup)
	add(event.ACLMask, any(), none)
	add(event.ACLOther, any(), none)
	return event.ACL(b)
}

// makeTree makes directories, each with a file, and their rights from the leaves up. It needs root, and a file system with ACLs.
func makeTree(t *testing.T, rng *rand.Rand, root string) {
	t.Helper()
	dirs := []string{root}
	for range 12 {
		dir := filepath.Join(dirs[rng.IntN(len(dirs))], fmt.Sprintf("d%d", len(dirs)))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	for _, dir := range slices.Backward(dirs) {
		if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, int(randomID(rng)), int(randomID(rng))); err != nil {
			t.Fatal(err)
		}
		if err := unix.Chmod(dir, randomMode(rng)); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(2) == 0 {
			if err := unix.Setxattr(dir, "system.posix_acl_access", []byte(randomACL(rng)), 0); err != nil {
				t.Skip("the temporary directory has no POSIX ACLs:", err)
			}
		}
	}
}

// tree is what root sees of a tree: the rights that decide, by directory, and all paths.
type tree struct {
	directories map[string]Directory
	paths       []string
}

func readTree(t *testing.T, root string) (of tree) {
	t.Helper()
	of.directories = map[string]Directory{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		of.paths = append(of.paths, path)
		if !e.IsDir() {
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		d := Directory{UID: st.Uid, GID: st.Gid, Mode: st.Mode & 0o7777, ACL: event.NoACL}
		value := make([]byte, 4096)
		if n, err := unix.Lgetxattr(path, "system.posix_acl_access", value); err == nil {
			d.ACL = event.ACL(value[:n])
		}
		of.directories[path] = d
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return of
}

// shown are the paths whose names find shows from the root of the tree on, and those whose attributes stat shows.
func (of tree) shown(root string, rights func(Directory) Rights) (names, attributes []string) {
	for _, path := range of.paths {
		listed, known := true, true
		for dir := filepath.Dir(path); len(dir) >= len(root); dir = filepath.Dir(dir) {
			r := rights(of.directories[dir])
			known = known && r.Has(Search)
			listed = listed && r.Has(Read) && (dir == filepath.Dir(path) || r.Has(Search))
		}
		if listed {
			names = append(names, path)
		}
		if known {
			attributes = append(attributes, path)
		}
	}
	return names, attributes
}

// as runs a command as a user, and returns the paths that it prints, each ended by a NUL.
func as(t *testing.T, i Identity, input []string, name string, args ...string) []string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(strings.Join(input, "\x00"))
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: i.UID, Gid: i.Groups[0], Groups: i.Groups[1:]}}
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil && !strings.Contains(complaints.String(), "denied") {
		t.Fatalf("%s: %v: %s", name, err, complaints.String())
	}
	var paths []string
	for p := range strings.SplitSeq(out.String(), "\x00") {
		if p != "" {
			paths = append(paths, p)
		}
	}
	return paths
}

func randomIdentity(rng *rand.Rand) Identity {
	groups := []uint32{randomID(rng)}
	for range rng.IntN(3) {
		groups = append(groups, randomID(rng))
	}
	return NewIdentity(randomID(rng), groups...)
}

func TestRulesAreTheKernels(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make trees of other users")
	}
	rounds := cases.Of(60)
	rng := rand.New(rand.NewPCG(23, 0))
	top, err := os.MkdirTemp("/tmp", "permission") // others must be able to get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	hidden, seen := 0, 0
	for round := range rounds {
		root := filepath.Join(top, fmt.Sprint(round))
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		makeTree(t, rng, root)
		if rng.IntN(4) > 0 { // most trees are open at the top
			_ = unix.Removexattr(root, "system.posix_acl_access")
			_ = os.Chmod(root, 0o755)
		}
		of := readTree(t, root)
		for range 4 {
			who := randomIdentity(rng)
			names, attributes := of.shown(root, func(d Directory) Rights { return Rules{}.Rights(who, d) })
			found := as(t, who, nil, "find", root, "-print0")
			stated := as(t, who, of.paths, "xargs", "-0", "stat", "--printf", `%n\0`)
			slices.Sort(found)
			slices.Sort(names)
			if !slices.Equal(found, names) {
				t.Fatalf("round %d, %v: find shows\n%q, not\n%q\n%v", round, who, found, names, of.directories)
			}
			if !slices.Equal(stated, attributes) {
				t.Fatalf("round %d, %v: stat shows\n%q, not\n%q\n%v", round, who, stated, attributes, of.directories)
			}
			seen, hidden = seen+len(attributes), hidden+len(of.paths)-len(attributes)
		}
	}
	if seen < hidden/10 || hidden < seen/10 {
		t.Errorf("%d shown and %d hidden: the trees are not of both kinds", seen, hidden)
	}
	t.Logf("%d rounds: %d paths were shown, %d hidden", rounds, seen, hidden)
}
