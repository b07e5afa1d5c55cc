package agent_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/internal/event"
)

// row is what the events so far say of a path.
type row struct {
	entry    event.Entry
	observed int64
	gone     bool
	atomic   bool
}

// view applies events as the compactor does, in small: by observation time, without suspicion and blind spots.
type view struct {
	mu    sync.Mutex
	rows  map[string]row
	marks map[event.MarkKind]int
	texts []string
	terms []uint64
	// onEvent, unless nil, sees every event before it is applied.
	onEvent func(*event.Event)
}

func newView() *view { return &view{rows: map[string]row{}, marks: map[event.MarkKind]int{}} }

// applySegment takes in the events of one segment.
func (v *view) applySegment(seg pipe.Segment) error {
	r, err := event.NewReader("segment", bytes.NewReader(seg.Body), event.Limits{})
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.terms = append(v.terms, r.Header().Term)
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		v.apply(ev)
	}
}

func (v *view) apply(ev *event.Event) {
	if v.onEvent != nil {
		v.onEvent(ev)
	}
	switch ev.Kind {
	case event.Put:
		v.set(strings.Clone(ev.Path), ev.Entry, ev.ObservedAt, ev.Atomic)
	case event.Delete:
		v.remove(strings.Clone(ev.Path), ev.ObservedAt)
	case event.Listing:
		v.list(ev)
	case event.Marked:
		v.marks[ev.Mark.Kind]++
		v.texts = append(v.texts, fmt.Sprintf("%s %s %s", ev.Mark.Kind, ev.Path, ev.Mark.Message))
	}
}

func (v *view) set(path string, e event.Entry, at int64, atomic bool) {
	if r, ok := v.rows[path]; ok && r.observed > at {
		return
	}
	if old, ok := v.rows[path]; ok && !old.gone && old.entry.Type == event.Directory && e.Type != event.Directory {
		v.sweep(path, at) // another entry in a directory's place
	}
	v.rows[path] = row{entry: e, observed: at, atomic: atomic}
	v.assume(path)
}

// assume makes directories of what is above a path, as the fold does: something in them was seen.
func (v *view) assume(path string) {
	for path != "/" {
		path, _ = event.Split(path)
		if path = strings.TrimSuffix(path, "/"); path == "" {
			path = "/"
		}
		r, ok := v.rows[path]
		if ok && !r.gone && r.entry.Type == event.Directory {
			return
		}
		_, name := event.Split(path)
		v.rows[path] = row{entry: event.Entry{Name: name, Type: event.Directory}, observed: r.observed}
	}
}

func (v *view) remove(path string, at int64) {
	if r := v.rows[path]; r.observed <= at {
		v.rows[path] = row{observed: at, gone: true}
	}
	v.sweep(path, at)
}

// forget drops what is known of a path.
func (v *view) forget(path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.rows, path)
}

func (v *view) sweep(path string, at int64) {
	for p, r := range v.rows {
		if strings.HasPrefix(p, path+"/") && r.observed <= at {
			v.rows[p] = row{observed: at, gone: true}
		}
	}
}

func (v *view) list(ev *event.Event) {
	v.set(strings.Clone(ev.Path), ev.Entry, ev.ObservedAt, true)
	listed := map[string]bool{}
	for _, e := range ev.Entries {
		path := event.Join(ev.Path, e.Name)
		listed[path] = true
		v.set(path, e, ev.ObservedAt, true)
	}
	for p, r := range v.rows {
		parent, name := event.Split(p)
		if parent != strings.TrimSuffix(ev.Path, "/")+"/" || p == "/" || listed[p] || r.gone || r.observed >= ev.ObservedAt {
			continue
		}
		if name >= ev.From && (ev.To == "" || name < ev.To) {
			v.remove(p, ev.ObservedAt)
		}
	}
}

// present are the rows that a query would show. Something below what is gone is not shown, and is a fault.
func (v *view) present() map[string]event.Entry {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := map[string]event.Entry{}
	for p, r := range v.rows {
		if !r.gone {
			m[p] = r.entry
		}
	}
	return m
}

// onDisk looks at a tree with package os, so with other code than the agent's.
func onDisk(t testing.TB, root string, skip func(path string) bool) map[string]event.Entry {
	t.Helper()
	m := map[string]event.Entry{}
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		path := strings.TrimPrefix(p, root)
		if path == "" {
			path = "/"
		}
		if skip != nil && skip(path) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		fi, err := os.Lstat(p)
		if err != nil {
			return err
		}
		_, name := event.Split(path)
		e := event.Entry{Name: name, Type: event.Other, Size: fi.Size(), MtimeNs: fi.ModTime().UnixNano(), Mode: uint32(fi.Mode().Perm())}
		switch {
		case fi.Mode().IsRegular():
			e.Type = event.File
		case fi.IsDir():
			e.Type = event.Directory
		case fi.Mode()&os.ModeSymlink != 0:
			e.Type = event.Symlink
			if e.Target, err = os.Readlink(p); err != nil {
				return err
			}
		}
		m[path] = e
		return nil
	})
	if err != nil {
		t.Fatalf("walk %s: %v", root, err)
	}
	return m
}

// difference tells the first few paths on which the two disagree; empty if none.
func difference(view, disk map[string]event.Entry) string {
	var lines []string
	for p, want := range disk {
		have, ok := view[p]
		if !ok {
			lines = append(lines, fmt.Sprintf("%q is missing in the view (%s)", p, want.Type))
			continue
		}
		have.UID, have.GID, have.AtimeDay, have.Mode, want.Mode = 0, 0, 0, have.Mode&0o777, want.Mode&0o777
		have.Inode = event.Inode{} // package os does not tell it everywhere; testkit/e2e compares it with lstat(2)
		if have != want {
			lines = append(lines, fmt.Sprintf("%q: view %+v, disk %+v", p, have, want))
		}
	}
	for p := range view {
		if _, ok := disk[p]; !ok {
			lines = append(lines, fmt.Sprintf("%q is in the view and not on disk", p))
		}
	}
	slices.SortFunc(lines, cmp.Compare)
	if n := len(lines); n > 8 {
		lines = append(lines[:8], fmt.Sprintf("and %d more", n-8))
	}
	return strings.Join(lines, "\n")
}
