package scan

import (
	"strings"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// LeavesOut reports whether a directory at a path, on this device, is not to be entered: it is on another file system, or on one
// that holds no stored files.
func (c *Config) LeavesOut(path string, dev uint64) bool {
	if dev == c.Root.Info().ID.Dev {
		return false
	}
	if !c.CrossFilesystems {
		return true
	}
	_, pseudo := c.Mounts.Pseudo(path, dev)
	return pseudo
}

// mountPoint emits that a directory which is left out has nothing in it: what was there before is hidden, as from find -xdev. If a
// directory above is left out too, that one is meant: a scan may begin below it.
func (w *worker) mountPoint(observed int64, path string) (changed bool, err error) {
	path, info, err := w.boundary(path)
	if err != nil || info.Entry.Type != event.Directory {
		return false, err
	}
	if !w.cfg.LeavesOut(path, info.ID.Dev) {
		return true, nil // it was unmounted just now
	}
	w.readers.reset()
	for _, p := range w.parts {
		if p.to.Emit != nil {
			w.readers.list = append(w.readers.list, p)
		}
	}
	_, info.Entry.Name = event.Split(path)
	w.event = event.Event{Kind: event.Listing, ObservedAt: observed, Path: path, Entry: info.Entry}
	w.entries, w.holes = w.entries[:0], w.holes[:0]
	w.content.reset()
	if err := w.emit(nil); err != nil {
		return false, err
	}
	kind, pseudo := w.cfg.Mounts.Pseudo(path, info.ID.Dev)
	for _, p := range w.readers.list {
		p.to.Counts.Directories.Add(1)
		p.listed(path, 0, w.content.get(), w.subdirectories)
		if w.cfg.CrossFilesystems && pseudo {
			p.pseudo(path, kind)
		}
	}
	return false, nil
}

// boundary is the uppermost directory at or above path that is left out.
func (w *worker) boundary(path string) (string, tree.Info, error) {
	for end := 1; end < len(path); end++ {
		next := strings.IndexByte(path[end:], '/')
		if next < 0 {
			break
		}
		end += next
		info, err := w.lstat(path[:end])
		if err != nil || w.cfg.LeavesOut(path[:end], info.ID.Dev) {
			return path[:end], info, err
		}
	}
	info, err := w.lstat(path)
	return path, info, err
}
