//go:build !linux

package watch

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"

	"github.com/fustor/fustor/agent/tree"
)

// portable is fsnotify. It knows paths, not directories, so a directory that is renamed is watched anew at its new
// place, and it does not tell when a file is closed.
type portable struct {
	watcher  *fsnotify.Watcher
	finished chan struct{}
	once     sync.Once

	mu     sync.Mutex
	byPath map[string]watchID
	byID   map[watchID]string
	last   watchID
}

func newNotifier(string) (notifier, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("start watching: %w", err)
	}
	return &portable{watcher: w, finished: make(chan struct{}), byPath: map[string]watchID{}, byID: map[watchID]string{}}, nil
}

func (n *portable) add(root string, _ *tree.Dir, path string) (watchID, error) {
	full := filepath.Join(root, filepath.FromSlash(path))
	n.mu.Lock()
	defer n.mu.Unlock()
	if id, ok := n.byPath[full]; ok {
		return id, nil
	}
	if err := n.watcher.Add(full); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			return noWatch, fmt.Errorf("%w: %w", errLimit, err)
		}
		return noWatch, fmt.Errorf("watch: %w", err)
	}
	n.last++
	n.byPath[full], n.byID[n.last] = n.last, full
	return n.last, nil
}

func (n *portable) remove(id watchID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if full, ok := n.byID[id]; ok {
		_ = n.watcher.Remove(full) // it may be gone already
		delete(n.byPath, full)
		delete(n.byID, id)
	}
}

func (n *portable) closes() bool { return false }

func (n *portable) close() { _ = n.watcher.Close() }

func (n *portable) finish() { n.once.Do(func() { close(n.finished) }) }

func (n *portable) read() ([]notice, error) {
	select {
	case <-n.finished:
		select {
		case ev, ok := <-n.watcher.Events:
			if ok {
				return n.translate(ev), nil
			}
		default:
		}
		return nil, errFinished
	case err, ok := <-n.watcher.Errors:
		switch {
		case !ok:
			return nil, errors.New("the watcher was closed")
		case errors.Is(err, fsnotify.ErrEventOverflow):
			return []notice{{op: opOverflow}}, nil
		}
		return nil, fmt.Errorf("read notices of the system: %w", err)
	case ev, ok := <-n.watcher.Events:
		if !ok {
			return nil, errors.New("the watcher was closed")
		}
		return n.translate(ev), nil
	}
}

func (n *portable) translate(ev fsnotify.Event) []notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	var notices []notice
	if self, ok := n.byPath[ev.Name]; ok {
		switch {
		case ev.Has(fsnotify.Chmod):
			notices = append(notices, notice{watch: self, op: opAttrib})
		case ev.Has(fsnotify.Remove), ev.Has(fsnotify.Rename):
			_ = n.watcher.Remove(ev.Name) // the name may soon be another directory's
			delete(n.byPath, ev.Name)
			delete(n.byID, self)
			notices = append(notices, notice{watch: self, op: opSelfGone}, notice{watch: self, op: opIgnored})
		}
	}
	above, ok := n.byPath[filepath.Dir(ev.Name)]
	if !ok {
		return notices
	}
	for _, m := range [...]struct {
		from fsnotify.Op
		to   op
	}{{fsnotify.Remove, opDelete}, {fsnotify.Rename, opMovedFrom}, {fsnotify.Create, opCreate}, {fsnotify.Write, opModify}, {fsnotify.Chmod, opAttrib}} {
		if ev.Has(m.from) {
			notices = append(notices, notice{watch: above, op: m.to, name: filepath.Base(ev.Name)})
		}
	}
	return notices
}
