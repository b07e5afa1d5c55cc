package unixsocket

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var quiet = slog.New(slog.DiscardHandler)

// inDirectory is the path of a socket in a new directory of a mode.
func inDirectory(t *testing.T, mode fs.FileMode) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "q.sock")
}

func listen(t *testing.T, path string, mode fs.FileMode) *Listener {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	l, err := Listen(t.Context(), path, mode, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestPeersAreKnown(t *testing.T) {
	path := inDirectory(t, 0o755)
	l := listen(t, path, 0o660)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Fatalf("%v, %v", info, err)
	}
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	peer := accepted.(*Conn).Peer
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, g := range peer.Groups {
		got = append(got, int(g))
	}
	slices.Sort(got)
	slices.Sort(groups)
	if int(peer.UID) != os.Geteuid() || int(peer.GID) != os.Getegid() || !slices.Equal(got, groups) {
		t.Errorf("%+v, but this process has groups %v", peer, groups)
	}
	if of, ok := PeerOf(WithPeer(t.Context(), peer)); !ok || of.UID != peer.UID {
		t.Error("a context does not keep its peer")
	}
	if _, ok := PeerOf(t.Context()); ok {
		t.Error("a context has a peer that nobody gave it")
	}
}

func TestRestart(t *testing.T) {
	path := inDirectory(t, 0o755)
	first := listen(t, path, 0o666)
	if _, err := Listen(t.Context(), path, 0o666, quiet); !errors.Is(err, ErrInUse) {
		t.Fatalf("a second server: %v", err)
	}
	if !Exists(path) {
		t.Fatal("the second server took the socket of the first")
	}
	first.Close()
	if Exists(path) {
		t.Error("a server that ended leaves its socket")
	}
	// A server that was killed leaves its socket, and no lock.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	if !Exists(path) {
		t.Fatal("no stale socket")
	}
	second := listen(t, path, 0o666)
	if c, err := Dial(t.Context(), path); err != nil {
		t.Errorf("the new server does not answer: %v", err)
	} else {
		c.Close()
	}
	second.Close()
	// Another program that listens there without our lock keeps its socket; so does a file that is no socket.
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Listen(t.Context(), path, 0o666, quiet); !errors.Is(err, ErrInUse) {
		t.Errorf("the socket of another program: %v", err)
	}
	file := filepath.Join(filepath.Dir(path), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), file, 0o666, quiet); err == nil || !strings.Contains(err.Error(), "not replaced") {
		t.Errorf("a file: %v", err)
	}
	if body, err := os.ReadFile(file); err != nil || string(body) != "mine" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestSocketsThatOthersCouldReplace(t *testing.T) {
	for _, tc := range []struct {
		name string
		mode fs.FileMode
		safe bool
	}{
		{"everybody may read", 0o755, true}, {"closed", 0o700, true}, {"a group may write", 0o775, false}, {"others may write", 0o757, false},
		{"everybody may write, to their own", 0o777 | fs.ModeSticky, true}, // the socket is ours
	} {
		path := inDirectory(t, 0o755)
		l := listen(t, path, 0o666)
		if err := os.Chmod(filepath.Dir(path), tc.mode); err != nil {
			t.Fatal(err)
		}
		var unsafe *UnsafeError
		err := Check(path)
		if tc.safe != (err == nil) || err != nil && !errors.As(err, &unsafe) {
			t.Errorf("%s: the client says %v", tc.name, err)
		}
		if c, err := Dial(t.Context(), path); (err == nil) != tc.safe {
			t.Errorf("%s: Dial: %v", tc.name, err)
		} else if err == nil {
			c.Close()
		}
		l.Close()
		again, err := Listen(t.Context(), path, 0o666, quiet)
		if (err == nil) != tc.safe || err != nil && !errors.As(err, &unsafe) {
			t.Errorf("%s: the server says %v", tc.name, err)
		}
		if err == nil {
			again.Close()
		}
	}
	// A directory further up counts as well, also behind a symlink.
	path := inDirectory(t, 0o755)
	listen(t, path, 0o666)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Dir(path), link); err != nil {
		t.Fatal(err)
	}
	through := filepath.Join(link, "q.sock")
	if err := Check(through); err != nil {
		t.Errorf("a symlink to a safe directory: %v", err)
	}
	above := filepath.Dir(filepath.Dir(path))
	if err := os.Chmod(above, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, through} {
		if err := Check(p); err == nil || !strings.Contains(err.Error(), above) {
			t.Errorf("%s: the directory above may be written: %v", p, err)
		}
	}
}

// Of a socket that somebody else made in a directory where everybody may, the client learns nothing about who that is.
func TestSocketsOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make files of others")
	}
	for _, tc := range []struct {
		name       string
		dir        fs.FileMode
		dirOf, sof int
		why        string
	}{
		{"a server's own directory", 0o755, 4321, 4321, ""},
		{"root's directory", 0o755, 0, 4321, ""},
		{"another user's directory", 0o755, 4322, 4321, "uid 4322"},
		{"another user's socket among everybody's", 0o777 | fs.ModeSticky, 0, 4321, "everybody may write"},
	} {
		path := inDirectory(t, 0o755)
		listen(t, path, 0o666)
		if err := errors.Join(os.Chown(path, tc.sof, tc.sof), os.Chown(filepath.Dir(path), tc.dirOf, tc.dirOf), os.Chmod(filepath.Dir(path), tc.dir)); err != nil {
			t.Fatal(err)
		}
		if err := Check(path); tc.why == "" && err != nil || tc.why != "" && (err == nil || !strings.Contains(err.Error(), tc.why)) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.why)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, path := range []string{"", "q.sock", "/", "/run/../q.sock", "/run/q.sock/", "@abstract", "/" + strings.Repeat("x", maxPath)} {
		if CheckPath(path) == nil {
			t.Errorf("%q is taken", path)
		}
		if _, err := Dial(context.Background(), path); err == nil {
			t.Errorf("%q is dialled", path)
		}
	}
	if path, is := PathOf("unix:/run/q.sock"); !is || path != "/run/q.sock" {
		t.Error(path, is)
	}
	if _, is := PathOf("http://host"); is {
		t.Error("a URL of a host is taken for one of a socket")
	}
	if err := Check(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Check(file); err == nil {
		t.Error("a file is taken for a socket")
	}
}
