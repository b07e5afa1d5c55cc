package v2agent

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watcher has the kernel report what is done in the agent's tree, as V2's agents do: a watch for each directory, and a report for
// each notice.
type watcher struct {
	agent *Agent
	file  *os.File
	paths map[int32]string
	moved moved // half of a rename, whose other half may follow
	out   func(Change)
}

type moved struct {
	from   string
	cookie uint32
}

const notices = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR

// WatchDisk is Watch for Dir.
func (a *Agent) WatchDisk(ctx context.Context, report func(Change)) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return err
	}
	w := &watcher{agent: a, file: os.NewFile(uintptr(fd), "inotify"), paths: map[int32]string{}, out: report}
	w.add("/", nil)
	context.AfterFunc(ctx, func() { _ = w.file.Close() })
	go w.read()
	return nil
}

// add watches a directory and all below, and calls found with what is there.
func (w *watcher) add(path string, found func(path string)) {
	id, err := unix.InotifyAddWatch(int(w.file.Fd()), filepath.Join(w.agent.Dir, path), notices)
	if err != nil {
		return // gone meanwhile
	}
	w.paths[int32(id)] = path
	entries, err := os.ReadDir(filepath.Join(w.agent.Dir, path))
	if err != nil {
		return
	}
	for _, e := range entries {
		below := join(path, e.Name())
		if found != nil {
			found(below)
		}
		if e.IsDir() {
			w.add(below, found)
		}
	}
}

func (w *watcher) read() {
	buffer := make([]byte, 64<<10)
	for {
		if w.moved != (moved{}) {
			_ = w.file.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		} else {
			_ = w.file.SetReadDeadline(time.Time{})
		}
		n, err := w.file.Read(buffer)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.movedAway()
			continue
		case err != nil:
			return
		}
		for b := buffer[:n]; len(b) >= unix.SizeofInotifyEvent; {
			length := binary.NativeEndian.Uint32(b[12:])
			name, _, _ := strings.Cut(string(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+length]), "\x00")
			w.notice(int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[8:]), name)
			b = b[unix.SizeofInotifyEvent+length:]
		}
	}
}

// movedAway takes the half of a rename for a deletion: the entry went out of the tree.
func (w *watcher) movedAway() {
	if w.moved == (moved{}) {
		return
	}
	from := w.moved.from
	w.moved = moved{}
	for id, path := range w.paths {
		if path == from || strings.HasPrefix(path, from+"/") {
			_, _ = unix.InotifyRmWatch(int(w.file.Fd()), uint32(id))
			delete(w.paths, id)
		}
	}
	w.out(Change{Path: from})
}

func (w *watcher) notice(id int32, mask, cookie uint32, name string) {
	dir, known := w.paths[id]
	if mask&unix.IN_MOVED_TO == 0 || cookie != w.moved.cookie {
		w.movedAway()
	}
	switch {
	case mask&unix.IN_IGNORED != 0:
		delete(w.paths, id)
		return
	case !known || mask&unix.IN_Q_OVERFLOW != 0: // what is lost, audits find
		return
	case name == "":
		w.out(Change{Path: dir})
		return
	}
	path, isDirectory := join(dir, name), mask&unix.IN_ISDIR != 0
	switch {
	case mask&unix.IN_MOVED_FROM != 0:
		w.moved = moved{path, cookie}
		w.out(Change{Path: dir})
		return
	case mask&unix.IN_MOVED_TO != 0 && w.moved != (moved{}):
		from := w.moved.from
		w.moved = moved{}
		for id, watched := range w.paths {
			if watched == from || strings.HasPrefix(watched, from+"/") {
				w.paths[id] = path + strings.TrimPrefix(watched, from)
			}
		}
		w.out(Change{Path: path, From: from})
	case isDirectory && mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		w.out(Change{Path: path})
		w.add(path, func(found string) { w.out(Change{Path: found}) })
	default:
		w.out(Change{Path: path, Writing: mask&(unix.IN_CREATE|unix.IN_MODIFY) != 0})
	}
	if mask&(unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVED_TO) != 0 {
		w.out(Change{Path: dir}) // its mtime has changed
	}
}

// ctime is when the inode last changed, ns.
func ctime(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ctim.Nano()
	}
	return info.ModTime().UnixNano()
}
