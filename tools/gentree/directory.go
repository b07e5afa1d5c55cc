package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/gentree"
)

// makeTree makes the tree as a real directory: files of the generated sizes with nothing in them, and symbolic links.
// About 50 µs an entry.
func makeTree(dir string, o gentree.Options) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	began := time.Now()
	tree := gentree.New(o)
	for r := range tree.Rows() {
		path := filepath.Join(dir, r.Path())
		var err error
		switch {
		case r.Parent == "":
		case r.Type == event.Directory:
			err = os.Mkdir(path, 0o755)
		case r.Type == event.Symlink:
			err = os.Symlink(r.Target, path)
		default:
			err = sparse(path, r.Size)
		}
		if err != nil {
			return err
		}
	}
	fmt.Printf("%s: %d entries after %.1f s\n", dir, tree.Len(), time.Since(began).Seconds())
	return nil
}

func sparse(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(size)
}
