// Package unixsocket is the socket by which users of a host ask the server there without a key: the kernel tells the server who they are.
//
// It owns the socket's path, its checks and the credentials of its peers. Invariants: nobody but root, the server's own user and the user
// who asks may be able to replace the socket, or both sides refuse it; a peer whose uid or groups are not known for certain is refused; a
// socket that a server answers is never taken away from it. `fustor query` and `fustor up` listen, the reading commands dial.
package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// DefaultPath is where the reading commands look for a server if nothing names one.
const DefaultPath = "/run/fustor/query.sock"

// Scheme begins the URL of a server at a socket: unix:/run/fustor/query.sock.
const Scheme = "unix:"

// maxPath is how long a path the kernel takes, bytes.
const maxPath = 107

// PathOf is the path of a URL such as unix:/run/fustor/query.sock; false: it is none of a socket.
func PathOf(url string) (path string, is bool) { return strings.CutPrefix(url, Scheme) }

// CheckPath says what keeps a path from being one of a socket.
func CheckPath(path string) error {
	switch {
	case !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/":
		return fmt.Errorf("the path of a socket must be absolute and clean, such as %s, not %q", DefaultPath, path)
	case len(path) > maxPath:
		return fmt.Errorf("the path of a socket has at most %d bytes, and %q has %d", maxPath, path, len(path))
	}
	return nil
}

// UnsafeError: others could replace the socket by one of theirs.
type UnsafeError struct {
	Path string // of the socket
	Why  string
}

func (e *UnsafeError) Error() string {
	return fmt.Sprintf("the socket %s is not safe: %s", e.Path, e.Why)
}

// Check refuses a path that is no socket, and one at which others could put a socket of theirs: UnsafeError. Those may who are root, the
// user who asks, and the owner of the socket. fs.ErrNotExist: there is nothing.
func Check(path string) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return &UnsafeError{path, "it is no socket"}
	}
	return checkAbove(path, owner(info))
}

// checkAbove checks all directories above a socket of the user serving, as the kernel finds them.
func checkAbove(path string, serving uint32) error {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return err
	}
	me := uint32(os.Geteuid())
	below, entry := serving, path
	for {
		info, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		of := owner(info)
		switch {
		case !info.IsDir():
			return &UnsafeError{path, dir + " is no directory"}
		case of != 0 && of != me && of != serving:
			return &UnsafeError{path, fmt.Sprintf("the directory %s belongs to uid %d, who could replace it", dir, of)}
		case info.Mode().Perm()&0o022 == 0:
		case info.Mode()&fs.ModeSticky == 0:
			return &UnsafeError{path, fmt.Sprintf("the directory %s may be written by others (mode %04o), who could replace it", dir, info.Mode().Perm())}
		case below != 0 && below != me:
			// Anybody may have made this entry, so that it says nothing of who serves.
			return &UnsafeError{path, fmt.Sprintf("everybody may write to the directory %s, and %s belongs to uid %d", dir, entry, below)}
		}
		if dir == "/" {
			return nil
		}
		below, entry, dir = of, dir, filepath.Dir(dir)
	}
}

// nobody is the owner of a file of which it is not known.
const nobody = 1<<32 - 1

// Exists reports whether there is a socket at the path.
func Exists(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() == fs.ModeSocket
}

// ErrInUse: another server answers at the path.
var ErrInUse = errors.New("another server answers there")
