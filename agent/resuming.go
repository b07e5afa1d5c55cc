package agent

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/agent/known"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/pipeapi"
)

// openDirs takes the files into use that say what was listed into this view.
func (a *Agent) openDirs(s pipeapi.Session) {
	a.closeDirs()
	w := a.watcher.Load()
	if a.o.StateFile == "" || s.Epoch == "" || w == nil {
		return
	}
	root := w.Root()
	l, err := known.Open(strings.TrimSuffix(a.o.StateFile, ".json")+".dirs", known.Identity{
		View: a.o.View, Epoch: s.Epoch, Root: a.o.Root, Ino: root.Ino, Dev: tree.LastingDevice(root.Dev),
		Excludes: a.patterns, Cross: a.o.CrossFilesystems,
	}, s.Broken)
	if err != nil {
		a.o.Logger.Warn("what was listed before is not known; the whole tree is scanned", "error", err)
	}
	a.dirs.Store(l)
}

func (a *Agent) closeDirs() {
	if l := a.dirs.Swap(nil); l != nil {
		l.Close()
	}
}

// dirsAlive takes in that the session was found alive by a request that began at that time.
func (a *Agent) dirsAlive(session string, began time.Time) {
	if l := a.dirs.Load(); l != nil {
		l.Alive(session, began)
	}
}

// dirsOf is the files, if they are of this root and the agent leads: listings of others may be fenced.
func (a *Agent) dirsOf(j wholeScan, root tree.Root) *known.Log {
	key, leads := a.leading()
	l := a.dirs.Load()
	if id := root.Info().ID; !leads || key != j.key || l == nil || !l.Root(id.Ino, tree.LastingDevice(id.Dev)) {
		return nil
	}
	return l
}

// listed is what a scan tells of the directories that it has listed.
func (a *Agent) listed(j wholeScan, root tree.Root) func(string, int64, iter.Seq[string]) {
	l := a.dirsOf(j, root)
	return func(path string, mtime int64, subdirectories iter.Seq[string]) {
		if !a.seen.listed(path, mtime, a.clock.Now()-a.stream.Skew()) {
			mtime = 0
		}
		if session, seq := a.stream.Position(); l != nil && session == j.key.session {
			l.Listed(session, seq, path, mtime, subdirectories)
		}
	}
}

// catchUp is to look again at directories that a snapshot has left out, as an earlier process had listed them: files in
// them may have been written in place while no agent ran, which leaves no trace in a directory. A share at a time, each
// once, behind all else, and at most half of the time.
type catchUp struct {
	key   scanKey
	known *scan.Known
	share uint64 // the next
	left  int    // shares
	at    time.Time
	began time.Time
}

// of reports whether there is one of this leadership.
func (c *catchUp) of(key scanKey) bool { return c != nil && c.key == key }

// resumeFrom has a scan leave out what an earlier process has listed and what is as it was since.
func (a *Agent) resumeFrom(cfg *scan.Config, j wholeScan, root tree.Root) {
	l := a.dirsOf(j, root)
	if l == nil {
		return
	}
	from, err := l.Load()
	if err != nil {
		a.o.Logger.Warn("what was listed before cannot be read; the whole tree is scanned", "error", err)
	}
	if from == nil {
		return
	}
	cfg.Known, cfg.Kept = from, a.seen.trust
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scans.catchUp = &catchUp{key: j.key, known: from, share: rand.Uint64N(restatShare), left: restatShare}
}

// scanShare lists a share of the directories.
func (a *Agent) scanShare(ctx context.Context, cfg scan.Config, c *catchUp) error {
	a.mu.Lock()
	share := c.share
	c.began = time.Now()
	a.mu.Unlock()
	paths := shareOf(nil, c.known, "/", share)
	if len(paths) == 0 {
		return nil
	}
	cfg.Shallow, cfg.Workers = true, 2
	return scan.RunAll(ctx, cfg, paths)
}

// shareOf adds the directories of a share, by the hash that the audits' shares go by.
func shareOf(paths []string, k *scan.Known, path string, share uint64) []string {
	if k.Mtime != 0 && xxhash.Sum64String(path)%restatShare == share {
		paths = append(paths, path)
	}
	for _, c := range k.Dirs {
		paths = shareOf(paths, c, event.Join(path, c.Name), share)
	}
	return paths
}

// caughtUp takes in how a share ended. a.mu is held.
func (a *Agent) caughtUp(j wholeScan, err error) {
	sc, c := &a.scans, j.catchUp
	if err != nil || sc.catchUp != c {
		return
	}
	sc.failed = backoff{}
	now := time.Now()
	c.share, c.left, c.at = (c.share+1)%restatShare, c.left-1, now.Add(now.Sub(c.began))
	if c.left == 0 {
		sc.catchUp, sc.audited = nil, j.key // all that is in the tree was listed in this leadership
		a.o.Logger.Info("all that was known from before was looked at again")
	}
}

// compactDirs writes the files anew after a scan, if they have grown.
func (a *Agent) compactDirs() {
	if l := a.dirs.Load(); l != nil {
		if err := l.Compact(); err != nil {
			a.o.Logger.Warn("what was listed cannot be remembered; a restart scans it again", "error", err)
		}
	}
}

// answered has a path looked at again that a call hung at.
func (a *Agent) answered(path string) {
	a.o.Logger.Info("a path that hung answers again and is scanned", "path", fmt.Sprintf("%q", path))
	if path == "/" {
		a.needRescan()
		return
	}
	a.overflowed([]string{path})
}
