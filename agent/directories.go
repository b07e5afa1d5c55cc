package agent

import (
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/agent/known"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/schedule"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/pipeapi"
)

// directories is what the agent remembers of the directories that it has listed, so that later scans can leave those out
// that did not change: their mtimes in memory, for the audits of this process, and a log of them on disk, for the first
// snapshot of the next process.
type directories struct {
	path     string         // of the log; empty: there is none
	identity known.Identity // of the log, but for the view's epoch and the root's numbers
	log      *slog.Logger
	now      func() int64 // the store's time, ns
	stream   *pipe.Stream
	leads    func() (schedule.Leadership, bool)

	remote   bool                        // the tree is on a file system of other hosts, too
	noAtimes bool                        // the days of the last access are not to be followed
	atimes   atomic.Pointer[tree.Atimes] // what becomes of them; nil: no scan has found out yet

	mtimes *mtimes
	file   atomic.Pointer[known.Log] // nil: there is none at present
}

// findAtimes finds out whether reads set the times of the last access, and says so where that is new.
func (d *directories) findAtimes(root tree.Root) {
	now := tree.ServerAtime
	if !d.remote {
		now = root.Atimes()
	}
	d.mtimes.follow(now.Kept() && !d.noAtimes)
	if before := d.atimes.Swap(&now); before != nil && *before == now {
		return
	}
	switch {
	case d.noAtimes:
		d.log.Info("days of last access are not followed: atimes is off")
	case now == tree.ServerAtime:
		d.log.Info("days of last access are followed; whether reads set them is up to the file server", "mount", now)
	case now.Kept():
		d.log.Info("days of last access are followed", "mount", now)
	default:
		d.log.Info("days of last access are not followed: reads do not set them", "mount", now)
	}
}

// atimesWord is what the status says of the times of the last access.
func (d *directories) atimesWord() string {
	if d.noAtimes {
		return "off"
	}
	if now := d.atimes.Load(); now != nil {
		return string(*now)
	}
	return ""
}

// open takes the log into use that belongs to the session's view and this root.
func (d *directories) open(s pipeapi.Session, root tree.ID) {
	d.close()
	if d.path == "" || s.Epoch == "" {
		return
	}
	id := d.identity
	id.Epoch, id.Ino, id.Dev, id.Birth = s.Epoch, root.Ino, tree.LastingDevice(root.Dev), root.Birth
	l, err := known.Open(d.path, id, s.Broken)
	if err != nil {
		d.log.Warn("the record of listed directories cannot be used; the whole tree is scanned", "error", err)
	}
	d.file.Store(l)
}

func (d *directories) close() {
	if l := d.file.Swap(nil); l != nil {
		l.Close()
	}
}

// alive takes in that the session was found alive by a request that began at that time.
func (d *directories) alive(session string, began time.Time) {
	if l := d.file.Load(); l != nil {
		l.Alive(session, began)
	}
}

// sent takes in that the session's segments up to seq are durable.
func (d *directories) sent(session string, seq uint64) {
	if l := d.file.Load(); l != nil {
		l.Sent(session, seq)
	}
}

// usable is the log, if it is of this root and the agent still leads as the scan's task says: what others list may never
// become part of the view. Otherwise nil.
func (d *directories) usable(of schedule.Leadership, root tree.Root) *known.Log {
	now, leads := d.leads()
	l := d.file.Load()
	if id := root.Info().ID; !leads || now != of || l == nil || !l.Root(id.Ino, tree.LastingDevice(id.Dev), id.Birth) {
		return nil
	}
	return l
}

// recorder is what a scan calls with each directory that it has listed.
func (d *directories) recorder(of schedule.Leadership, root tree.Root) func(string, int64, scan.Content, iter.Seq[string]) {
	l := d.usable(of, root)
	return func(path string, mtime int64, content scan.Content, subdirectories iter.Seq[string]) {
		if !d.mtimes.listed(path, mtime, content, d.now()-d.stream.Skew()) {
			mtime = 0
		}
		if session, seq := d.stream.Position(); l != nil && session == of.Session {
			l.Listed(session, seq, path, mtime, subdirectories)
		}
	}
}

// load is what an earlier process has listed of this root; nil if that is not known.
func (d *directories) load(of schedule.Leadership, root tree.Root) *scan.Known {
	l := d.usable(of, root)
	if l == nil {
		return nil
	}
	from, err := l.Load()
	if err != nil {
		d.log.Warn("the record of listed directories cannot be read; the whole tree is scanned", "error", err)
	}
	return from
}

// compact writes the log anew, if it has grown.
func (d *directories) compact() {
	if l := d.file.Load(); l != nil {
		if err := l.Compact(); err != nil {
			d.log.Warn("the record of listed directories cannot be written; a restart scans the whole tree", "error", err)
		}
	}
}

// auditLook is what an audit asks of each directory. If it has not changed, and is not of the share that this audit lists all the
// same, its entries may be left out, or compared with what they were. unheard reports whether no notice tells of a directory's
// changes: it is listed. changed is called for each directory that has changed.
func auditLook(m *mtimes, listed uint64, unheard func(path string) bool, changed func()) func(path string, mtime int64) scan.Look {
	return func(path string, mtime int64) scan.Look {
		look := m.look(path, mtime)
		switch {
		case look == scan.List:
			changed()
		case share(path) == listed, unheard(path):
			return scan.List
		}
		return look
	}
}

// auditSame reports of a directory that auditLook has compared whether its entries are as they were. changed is called if not.
func auditSame(m *mtimes, changed func()) func(path string, content scan.Content) bool {
	return func(path string, content scan.Content) bool {
		last, ok := m.at(path)
		if !ok || last.content != content.Sum {
			changed()
			return false
		}
		return true
	}
}

// inShare appends the directories of a share of a known tree, whose top is at path.
func inShare(paths []string, k *scan.Known, path string, wanted uint64) []string {
	if k.Mtime != 0 && share(path) == wanted {
		paths = append(paths, path)
	}
	for _, c := range k.Dirs {
		paths = inShare(paths, c, event.Join(path, c.Name), wanted)
	}
	return paths
}
