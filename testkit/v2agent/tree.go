package v2agent

import (
	"os"
	"path/filepath"
)

// Tree is a tree as an agent sees it. Paths are those of V2's rows: "/" is the root.
type Tree interface {
	Lstat(path string) (Seen, error)
	// Names are the names in a directory.
	Names(path string) ([]Name, error)
}

// Seen is what is at a path, as far as V2 reports it. Times are ns.
type Seen struct {
	Directory              bool
	Size, MtimeNs, CtimeNs int64
}

// Name is a name in a directory.
type Name struct {
	Name      string
	Directory bool
}

// Change is what the kernel says of a path.
type Change struct {
	Path    string
	Writing bool   // the file is still being written
	From    string // renamed from there; empty: not renamed
}

// disk is a directory of this machine.
type disk string

func (d disk) Lstat(path string) (Seen, error) {
	info, err := os.Lstat(filepath.Join(string(d), path))
	if err != nil {
		return Seen{}, err
	}
	return Seen{info.IsDir(), info.Size(), info.ModTime().UnixNano(), ctime(info)}, nil
}

func (d disk) Names(path string) (names []Name, err error) {
	entries, err := os.ReadDir(filepath.Join(string(d), path))
	for _, e := range entries {
		names = append(names, Name{e.Name(), e.IsDir()})
	}
	return names, err
}

func join(dir, name string) string {
	if dir == "/" {
		return "/" + name
	}
	return dir + "/" + name
}
