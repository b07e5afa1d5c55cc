package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// maxPage is how many keys a page has at most, as on S3.
const maxPage = 1000

// List implements store.Store. It reads only directories that may hold keys of the page.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	w := lister{store: s, prefix: prefix, after: after, limit: limit}
	// No key outside the deepest directory that the prefix names can match.
	start := prefix[:strings.LastIndexByte(prefix, '/')+1]
	page := store.Page{Date: time.Now()}
	if start == "" || store.CheckKey(strings.TrimSuffix(start, "/")) == nil {
		if err := w.dir(ctx, start); err != nil && !errors.Is(err, errPageFull) {
			return page, fmt.Errorf("list %s: %w", prefix, err)
		}
	}
	if len(w.items) > limit {
		page.More, w.items = true, w.items[:limit]
	}
	page.Items = w.items
	return page, nil
}

var errPageFull = errors.New("page full")

// lister collects keys in byte order, one more than limit to know whether there are more.
type lister struct {
	store         *Store
	prefix, after string
	limit         int
	items         []store.Item
}

// dir visits a directory; rel is its part of the key, empty or with a slash at its end.
func (w *lister) dir(ctx context.Context, rel string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := readDir(w.store.path(rel))
	if err != nil {
		if err = w.store.missing(err); errors.Is(err, store.ErrNotFound) {
			return nil // removed meanwhile
		}
		return err
	}
	for _, entry := range sorted(entries, rel) {
		switch {
		case strings.HasSuffix(entry.key, "/"):
			if w.mayHold(entry.key) {
				err = w.dir(ctx, entry.key)
			}
		case strings.HasPrefix(entry.key, w.prefix) && entry.key > w.after:
			err = w.add(entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mayHold reports whether a key that starts with dir may have the prefix and come after after.
func (w *lister) mayHold(dir string) bool {
	if !strings.HasPrefix(dir, w.prefix) && !strings.HasPrefix(w.prefix, dir) {
		return false
	}
	return dir > w.after || strings.HasPrefix(w.after, dir)
}

func (w *lister) add(entry named) error {
	info, err := entry.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return explain(err)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	w.items = append(w.items, store.Item{Key: entry.key, Size: info.Size(), LastModified: info.ModTime()})
	if len(w.items) > w.limit {
		return errPageFull
	}
	return nil
}

// named is a directory entry with its key; a directory's ends with a slash.
type named struct {
	fs.DirEntry
	key string
}

// sorted puts entries in the order of the keys at or below them: the directory a sorts as "a/", after the file "a-b".
func sorted(entries []fs.DirEntry, rel string) []named {
	list := make([]named, 0, len(entries))
	for _, entry := range entries {
		key := rel + entry.Name()
		if rel == "" && entry.Name() == store.Reserved || store.CheckKey(key) != nil {
			continue
		}
		if entry.IsDir() {
			key += "/"
		}
		list = append(list, named{entry, key})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].key < list[j].key })
	return list
}

func readDir(path string) ([]fs.DirEntry, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}
