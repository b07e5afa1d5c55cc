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

// Root is a root directory.
type Root struct {
	path string
	info Info
}

// OpenRoot makes sure that the directory with the absolute path is there.
func OpenRoot(path string) (*Root, error) {
	info, err := lstat(path)
	if err != nil {
		return nil, err
	}
	return &Root{path: path, info: info}, nil
}

// Info is the root itself as it was when it was opened.
func (r *Root) Info() Info { return r.info }

// Close does nothing here.
func (r *Root) Close() {}

// Dir is an open directory.
type Dir struct {
	file *os.File
	path string
}

// OpenDir opens the directory at path, for reading.
func (r *Root) OpenDir(path string) (*Dir, error) {
	full := filepath.Join(r.path, filepath.FromSlash(path))
	f, err := os.Open(full)
	if err != nil {
		return nil, err
	}
	return &Dir{file: f, path: full}, nil
}

// FD is the descriptor.
func (d *Dir) FD() int { return int(d.file.Fd()) }

// Close gives the descriptor back.
func (d *Dir) Close() { _ = d.file.Close() }

// Info is the directory itself as it is now.
func (d *Dir) Info() (Info, error) {
	info, err := d.file.Stat()
	if err != nil {
		return Info{}, err
	}
	return fromFileInfo(info), nil
}

// Read adds the directory's names to n and sorts them.
func (d *Dir) Read(n *Names) error {
	for {
		entries, err := d.file.ReadDir(4096)
		for _, e := range entries {
			hint := isNoDirectory
			if e.IsDir() {
				hint = isDirectory
			}
			n.add([]byte(e.Name()), hint)
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

// Lstat looks at the i-th name.
func (d *Dir) Lstat(n *Names, i int) (Info, error) { return lstat(filepath.Join(d.path, n.At(i))) }

// Looker looks at single paths.
type Looker struct{ root *Root }

// Looker returns one; close it.
func (r *Root) Looker() *Looker { return &Looker{root: r} }

// Close does nothing here.
func (l *Looker) Close() {}

// Forget does nothing here.
func (l *Looker) Forget() {}

// Lstat looks at path now.
func (l *Looker) Lstat(path string) (Info, error) {
	return lstat(filepath.Join(l.root.path, filepath.FromSlash(path)))
}

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
