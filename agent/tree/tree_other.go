//go:build !linux

package tree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fustor/fustor/internal/event"
)

// osRoot is a Root by its path.
type osRoot struct {
	path string
	info Info
}

// OpenRoot makes sure that the directory with the absolute path is there.
func OpenRoot(path string) (Root, error) {
	info, err := lstat(path)
	if err != nil {
		return nil, err
	}
	return &osRoot{path: path, info: info}, nil
}

func (r *osRoot) Info() Info { return r.info }

func (r *osRoot) Close() {}

// osDir is a Dir by its open file.
type osDir struct {
	file *os.File
	path string
}

func (r *osRoot) OpenDir(path string) (Dir, error) {
	full := filepath.Join(r.path, filepath.FromSlash(path))
	f, err := os.Open(full)
	if err != nil {
		return nil, err
	}
	return &osDir{file: f, path: full}, nil
}

func (d *osDir) Close() { _ = d.file.Close() }

func (d *osDir) Info() (Info, error) {
	info, err := d.file.Stat()
	if err != nil {
		return Info{}, err
	}
	return fromFileInfo(info), nil
}

// ACL implements Dir: package os does not tell it.
func (d *osDir) ACL() (event.ACL, error) { return "", nil }

func (d *osDir) Read(n *Names) error {
	for {
		entries, err := d.file.ReadDir(4096)
		for _, e := range entries {
			hint := IsNoDirectory
			if e.IsDir() {
				hint = IsDirectory
			}
			n.Add([]byte(e.Name()), hint, 0)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
	}
	n.Sort()
	return nil
}

func (d *osDir) Lstat(n *Names, i int) (Info, error) { return lstat(filepath.Join(d.path, n.At(i))) }

// osLooker looks at paths of package os.
type osLooker struct{ root *osRoot }

// Atimes implements Root: package os does not tell them.
func (r *osRoot) Atimes() Atimes { return NotAtime }

func (r *osRoot) Looker() Looker { return &osLooker{root: r} }

func (l *osLooker) Close() {}

func (l *osLooker) Forget() {}

func (l *osLooker) Lstat(path string) (Info, error) {
	return lstat(filepath.Join(l.root.path, filepath.FromSlash(path)))
}

func (l *osLooker) Identify(path string) (ID, error) {
	info, err := l.Lstat(path)
	return info.ID, err
}

func (l *osLooker) Written(string, ID) (written, known bool) { return false, false }

func lstat(full string) (Info, error) {
	fi, err := os.Lstat(full)
	if err != nil {
		return Info{}, err
	}
	info := fromFileInfo(fi)
	if info.Entry.Type == event.Symlink {
		if info.Entry.Target, err = os.Readlink(full); err != nil {
			return Info{}, err
		}
	}
	return info, nil
}

// fromFileInfo takes the day of the last change for that of the last access, which package os does not tell.
func fromFileInfo(fi fs.FileInfo) Info {
	mtime := fi.ModTime()
	mode := uint32(fi.Mode().Perm())
	for _, bit := range [...]struct {
		from fs.FileMode
		to   uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if fi.Mode()&bit.from != 0 {
			mode |= bit.to
		}
	}
	info := Info{Links: 1, Entry: event.Entry{
		Type: event.Other, Mode: mode, Size: max(0, fi.Size()), MtimeNs: mtime.UnixNano(), AtimeDay: int32(mtime.Unix() / 86400),
	}}
	switch {
	case fi.Mode().IsRegular():
		info.Entry.Type = event.File
	case fi.IsDir():
		info.Entry.Type = event.Directory
	case fi.Mode()&fs.ModeSymlink != 0:
		info.Entry.Type = event.Symlink
	}
	fillSystem(&info, fi)
	return info
}
