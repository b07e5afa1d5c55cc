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
	byPath map[string]WatchID
	byID   map[WatchID]string
	last   WatchID
}

// platform is what there is beside Linux.
var platform = []candidate{{"fsnotify", newPortable}}

func newPortable(string) (Notifier, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("start watching: %w", err)
	}
	return &portable{watcher: w, finished: make(chan struct{}), byPath: map[string]WatchID{}, byID: map[WatchID]string{}}, nil
}

func (n *portable) Add(root string, _ tree.Dir, path string) (WatchID, error) {
	full := filepath.Join(root, filepath.FromSlash(path))
	n.mu.Lock()
	defer n.mu.Unlock()
	if id, ok := n.byPath[full]; ok {
		return id, nil
	}
	if err := n.watcher.Add(full); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			return NoWatch, fmt.Errorf("%w: %w", ErrLimit, err)
		}
		return NoWatch, fmt.Errorf("watch: %w", err)
	}
	n.last++
	n.byPath[full], n.byID[n.last] = n.last, full
	return n.last, nil
}

func (n *portable) Remove(id WatchID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if full, ok := n.byID[id]; ok {
		_ = n.watcher.Remove(full) // it may be gone already
		delete(n.byPath, full)
		delete(n.byID, id)
	}
}

func (n *portable) Closes() bool { return false }

// Method implements Notifier.
func (n *portable) Method() (method, reason string) {
	return "fsnotify", "this system does not tell when a file is closed"
}

func (n *portable) Close() { _ = n.watcher.Close() }

func (n *portable) Finish() { n.once.Do(func() { close(n.finished) }) }

func (n *portable) Read() ([]Notice, error) {
	select {
	case <-n.finished:
		select {
		case ev, ok := <-n.watcher.Events:
			if ok {
				return n.translate(ev), nil
			}
		default:
		}
		return nil, ErrFinished
	case err, ok := <-n.watcher.Errors:
		switch {
		case !ok:
			return nil, errors.New("the watcher was closed")
		case errors.Is(err, fsnotify.ErrEventOverflow):
			return []Notice{{Op: OpOverflow}}, nil
		}
		return nil, fmt.Errorf("read notices of the system: %w", err)
	case ev, ok := <-n.watcher.Events:
		if !ok {
			return nil, errors.New("the watcher was closed")
		}
		return n.translate(ev), nil
	}
}

func (n *portable) translate(ev fsnotify.Event) []Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	var notices []Notice
	if self, ok := n.byPath[ev.Name]; ok {
		switch {
		case ev.Has(fsnotify.Chmod):
			notices = append(notices, Notice{Watch: self, Op: OpAttrib})
		case ev.Has(fsnotify.Remove), ev.Has(fsnotify.Rename):
			_ = n.watcher.Remove(ev.Name) // the name may soon be another directory's
			delete(n.byPath, ev.Name)
			delete(n.byID, self)
			notices = append(notices, Notice{Watch: self, Op: OpSelfGone}, Notice{Watch: self, Op: OpIgnored})
		}
	}
	above, ok := n.byPath[filepath.Dir(ev.Name)]
	if !ok {
		return notices
	}
	for _, m := range [...]struct {
		from fsnotify.Op
		to   Op
	}{{fsnotify.Remove, OpDelete}, {fsnotify.Rename, OpMovedFrom}, {fsnotify.Create, OpCreate}, {fsnotify.Write, OpModify}, {fsnotify.Chmod, OpAttrib}} {
		if ev.Has(m.from) {
			notices = append(notices, Notice{Watch: above, Op: m.to, Name: filepath.Base(ev.Name)})
		}
	}
	return notices
}
