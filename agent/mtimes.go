package agent

import (
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/schedule"
)

const (
	// maxMtimes bounds the directories whose mtimes are remembered: about 500 MB. Those beyond are listed by every audit.
	maxMtimes = 8 << 20
	// provenLocal and provenRemote are how old a directory's mtime must be, when it is listed, to prove something: what
	// happens after the listing within the clock's grain, or a cache's lag, leaves the mtime as it is.
	provenLocal  = 2 * time.Second
	provenRemote = 2 * time.Minute
)

// mtimes is the directories' mtimes, and what was in them, as they were when this process last listed them, by a hash of their
// paths. It is safe for concurrent use.
type mtimes struct {
	proven time.Duration // age of an mtime that proves something

	mu     sync.Mutex
	atimes bool   // the days of the last access are followed
	round  uint32 // of the scan of the whole tree that runs, or ran last
	byPath map[uint64]listedDirectory
}

// listedDirectory is a directory as it was listed last.
type listedDirectory struct {
	mtime int64
	// content is the sum of its entries, where those may change while the mtime stays and an audit is to find that: all directories if
	// atimes are followed, else those where files have several names. 0: it is not known.
	content uint64
	met     uint32 // round of the last scan that has met it
}

// newMtimes makes an empty one. proven is for tests; 0: by the file system.
func newMtimes(remote bool, proven time.Duration) *mtimes {
	switch {
	case proven > 0:
	case remote:
		proven = provenRemote
	default:
		proven = provenLocal
	}
	return &mtimes{proven: proven, byPath: map[uint64]listedDirectory{}}
}

// share is the one of the schedule's shares that a directory is in.
func share(path string) uint64 { return xxhash.Sum64String(path) % schedule.Shares }

// listed remembers a directory that was listed, if its mtime proves something, and reports whether it does. Both times are
// ns, of the file server's clock; an mtime of 0 proves nothing.
func (m *mtimes) listed(path string, mtime int64, content scan.Content, now int64) (proves bool) {
	if proves = mtime != 0 && now-mtime >= int64(m.proven); proves {
		m.set(path, listedDirectory{mtime: mtime, content: content.Sum}, content.Linked)
		return true
	}
	h := xxhash.Sum64String(path)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byPath, h)
	return false
}

// remember takes in the mtime of a directory that proves something.
func (m *mtimes) remember(path string, mtime int64) {
	m.set(path, listedDirectory{mtime: mtime}, false)
}

func (m *mtimes) set(path string, d listedDirectory, linked bool) {
	h := xxhash.Sum64String(path)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !linked && !m.atimes {
		d.content = 0
	}
	d.met = m.round
	if _, ok := m.byPath[h]; ok || len(m.byPath) < maxMtimes {
		m.byPath[h] = d
	}
}

// at is a directory as it was listed last. A new one was not.
func (m *mtimes) at(path string) (listedDirectory, bool) {
	h := xxhash.Sum64String(path)
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.byPath[h]
	return d, ok
}

// look is what an audit wants of a directory with this mtime: to list it, unless it has not changed.
func (m *mtimes) look(path string, mtime int64) scan.Look {
	h := xxhash.Sum64String(path)
	m.mu.Lock()
	defer m.mu.Unlock()
	last, ok := m.byPath[h]
	if ok && last.met != m.round {
		last.met = m.round
		m.byPath[h] = last
	}
	switch {
	case !ok || last.mtime != mtime:
		return scan.List
	case last.content != 0:
		return scan.Compare
	case m.atimes: // an earlier process has listed it
		return scan.List
	}
	return scan.Skip
}

// follow takes in whether the days of the last access are followed.
func (m *mtimes) follow(atimes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.atimes = atimes
}

// begin is called before a scan of the whole tree, and end after one that was complete. A directory that it has not met was gone, or
// hidden by a mount: what comes to its path later is another one, even with the same mtime, or was not looked at for a while.
func (m *mtimes) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.round++
}

func (m *mtimes) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for h, d := range m.byPath {
		if d.met != m.round {
			delete(m.byPath, h)
		}
	}
}

// forget has everything listed again.
func (m *mtimes) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.byPath)
}
